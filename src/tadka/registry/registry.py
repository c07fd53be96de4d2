"""`Registry`: runs are begun here and found again, models are published and named.

registry = Registry()
run = registry.begin("fm", params={"dim": 16}, directory="runs/fm-1", code=hash_of_code)
run.log({"loss": 0.5}, step=1)
run.finish(metrics={"rmse": 0.94})
version = registry.publish(run.id, "fm", {"inputs": {"user": "int64"}})
registry.set_alias("fm", "champion", version.version)
"""

import json
import secrets
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tadka.core.document import write_yaml
from tadka.core.error import ConfigError, NotFound, TadkaError
from tadka.registry.finding import (
    all_versions,
    find_run,
    find_version,
    record_of,
    run_id,
    version_of,
)
from tadka.registry.journal import Journal, now_ms
from tadka.registry.lineage import fed, made
from tadka.registry.naming import flat, metric_key, metric_value, plain, step_number
from tadka.registry.record import DatasetRef, Lineage, ModelVersion, RunRecord
from tadka.registry.spool import deliver
from tadka.registry.tracking import Tracking, equals, full_uri

_FLUSH_METRICS = 1000
_FLUSH_S = 5.0
_AWAY_S = 30.0  # how long a server that failed is left alone, at first
_AWAY_MOST_S = 600.0
_MOST_NAME_BYTES = 200
_KINDS = {  # of MLflow's column types, by NumPy's names
    "bool": "boolean",
    "int32": "integer",
    "int64": "long",
    "float32": "float",
    "float64": "double",
    "string": "string",
    "binary": "binary",
    "datetime64[us]": "datetime",
}


class TrackedRun:
    """A run that is going on. `Registry.begin` makes it.

    Args:
        journal: Its file.
        tracking: Where it goes to; None offline.

    Everything is written to the run's folder first. A server that fails warns once and stops
    nothing: it is asked again from time to time and by `finish`, and `send` does the rest later.
    """

    def __init__(self, journal: Journal, tracking: Tracking | None) -> None:
        begin = journal.begun()
        assert begin is not None
        self.id: str = begin["run"]
        self.directory = journal.path.parent
        self._journal = journal
        self._tracking = tracking
        self._num_waiting = 0
        self._last_step = 0
        self._last_ms = 0
        self._flushed_at = time.monotonic()
        self._away_s = 0.0
        self._is_warned = False
        self._is_finished = False
        # A run that goes on tells its numbers from the first epoch again.
        self._known = dict(journal.numbers())
        self.is_sent = False
        self._flush()

    def log(self, metrics: Mapping[str, Any], step: int = 0) -> None:
        """Keeps numbers of a step or an epoch.

        They are in the run's folder when this returns, and on the server within five seconds of
        the next call, or when 1,000 have come together. Those that the run had when it was gone
        on with are left out.

        Args:
            metrics: Numbers by name, such as `{"loss": 0.5, "recall@20": 0.11}`.
            step: Which step or epoch.

        Raises:
            ConfigError: A value or the step is no number, a name cannot be kept, or the run is
                finished.
            DataError: The run's folder cannot be written.
        """
        self._check_open()
        rows = {metric_key(name): metric_value(name, value) for name, value in metrics.items()}
        step = step_number(step)
        self._last_step = max(self._last_step, step)
        rows = {key: value for key, value in rows.items() if self._known.get((step, key)) != value}
        if not rows:
            return
        self._last_ms = now_ms()
        self._journal.append("log", time=self._last_ms, step=step, metrics=rows)
        self._num_waiting += len(rows)
        waited_s = time.monotonic() - self._flushed_at
        is_due = self._num_waiting >= _FLUSH_METRICS or waited_s > _FLUSH_S
        if is_due and waited_s > self._away_s:
            self._flush()

    def finish(
        self,
        *,
        metrics: Mapping[str, Any] | None = None,
        status: Literal["finished", "failed"] = "finished",
        artifacts: Mapping[str, str | Path] | None = None,
    ) -> None:
        """Ends the run. Whether its server has all of it, `is_sent` tells.

        Args:
            metrics: Numbers of the whole run; they count for the last step that was logged.
            status: How it ended.
            artifacts: Files and folders to keep with the run, by the name they get there. They are
                copied (to `artifacts/` beside an SQLite file), so name manifests, not tables.

        Raises:
            ConfigError: A name or value cannot be kept, or the run is finished already.
            NotFound: An artifact does not exist.
            DataError: The run's folder cannot be written.
        """
        self._check_open()
        if status not in {"finished", "failed"}:
            raise ConfigError(f"Status {status!r} is not known: it is 'finished' or 'failed'.")
        paths = {}
        for name, path in (artifacts or {}).items():
            found = Path(path).resolve()
            if not found.exists():
                raise NotFound(f"Artifact {name!r} of run {self.id} is not there: {str(path)!r}.")
            _check_artifact(name)
            inside = found.is_relative_to(self.directory)  # so that the folder may be moved
            paths[name] = str(found.relative_to(self.directory) if inside else found)
        if metrics:
            rows = {metric_key(name): metric_value(name, value) for name, value in metrics.items()}
            # later than what the last step logged, else MLflow takes the larger of the two
            later = max(now_ms(), self._last_ms + 1)
            self._journal.append("log", time=later, step=self._last_step, metrics=rows)
        self._journal.append("finish", is_durable=True, status=status, artifacts=paths)
        self._is_finished = True
        self._flush()
        self._journal.close()

    def _check_open(self) -> None:
        if self._is_finished:
            raise ConfigError(f"Run {self.id} is finished. Begin another one in another folder.")

    def _flush(self) -> None:
        if self._tracking is None:
            return
        try:
            deliver(self._journal, self._tracking)
        except TadkaError as error:
            self._away_s = min(2 * self._away_s or _AWAY_S, _AWAY_MOST_S)
            if not self._is_warned:
                self._is_warned = True
                warnings.warn(
                    f"Run {self.id} goes on without its tracking: {error} All of it is kept in "
                    f"{str(self._journal.path)!r}; if this is still so at its end, send it with "
                    f"tadka.registry.send({str(self.directory)!r}).",
                    RuntimeWarning,
                    stacklevel=3,
                )
        else:
            self._away_s = 0.0
            self._num_waiting = 0
            self.is_sent = self._is_finished
        self._flushed_at = time.monotonic()


class Registry:
    """Runs and models at one address.

    Args:
        uri: `sqlite:///FILE`, or the address of an MLflow server (`http://HOST:5000`). None: that
            of $TADKA_TRACKING, else `sqlite:///runs/registry.db`.
        experiment: Name of the experiment that runs belong to; made by the first of them.
        offline: Keep runs in their folders only, to be sent later; nothing is asked of `uri`.

    Raises:
        ConfigError: The URI is not understood, or the server refuses us.
        Unreachable: The server does not answer.
        DataError: The SQLite file cannot be used.
        MissingExtra: MLflow is not installed.
    """

    def __init__(
        self, uri: str | None = None, *, experiment: str = "tadka", offline: bool = False
    ) -> None:
        self.uri = full_uri(uri)
        self.experiment = experiment
        if not experiment or not experiment.strip():
            raise ConfigError(f"Experiment {experiment!r} needs a name of at least one letter.")
        self._tracking = None if offline else Tracking(self.uri)

    # ---------------------------------------------------------------- runs

    def begin(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        dataset: DatasetRef | None = None,
        code: str = "",
        environment: Mapping[str, Any] | None = None,
        parent: str | None = None,
        directory: str | Path,
    ) -> TrackedRun:
        """Begins a run, or goes on with the one that its folder holds unfinished.

        Args:
            name: Of the model.
            params: Plain values; nested mappings get dotted names.
            dataset: What it is trained on.
            code: Hash of the code.
            environment: What runs it, as `tadka.registry.environment.environment` gives it.
            parent: Id of the run that it goes on from.
            directory: Where `tracking.jsonl` is kept.

        Returns:
            The run. Its `id` never changes, also where it is sent later.

        Raises:
            ConfigError: A name cannot be kept, or the folder holds a run that is finished or has
                another model, params or data.
            DataError: The folder cannot be written.
        """
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"Model name {name!r} needs at least one letter.")
        values = {
            "uri": self.uri,
            "experiment": self.experiment,
            "model": plain(name),
            "params": plain(dict(params or {})),
            "dataset": asdict(dataset) if dataset else None,
            "code": code,
            "environment": plain(dict(environment or {})),
            "parent": parent,
        }
        names = [key for key, _ in flat(values["params"])]  # checked before anything is written
        if twice := sorted({key for key in names if names.count(key) > 1}):
            raise ConfigError(f"The param {twice[0]!r} is given twice. Rename one.")
        journal = Journal(directory, is_new=True)
        before = journal.begun()
        try:
            if before and journal.is_finished():
                raise ConfigError(
                    f"Folder {str(directory)!r} holds run {before['run']}, which is finished. "
                    "Choose another folder."
                )
            for key in ("model", "params", "dataset"):
                if before and before[key] != values[key]:
                    raise ConfigError(
                        f"Folder {str(directory)!r} holds run {before['run']}, whose {key} was "
                        f"{before[key]!r} and not {values[key]!r}. Choose another folder."
                    )
        except ConfigError:
            journal.close()
            raise
        run = before["run"] if before else secrets.token_hex(8)
        values["directory"] = str(journal.path.parent)
        journal.append("begin", is_durable=True, run=run, **values)
        return TrackedRun(journal, self._tracking)

    def run(self, ref: str) -> RunRecord:
        """A run with everything that is known of it.

        Args:
            ref: Its id, or as much of it as no other has; MLflow's id; `model@alias`; `model/3`.

        Raises:
            NotFound: There is none, or there are several.
            ConfigError: The registry is offline.
        """
        tracking = self._online()
        found = find_run(tracking, ref)
        return record_of(tracking, found, tracking.experiments(), is_whole=True)

    def runs(
        self, model: str | None = None, limit: int = 100, *, everywhere: bool = False
    ) -> list[RunRecord]:
        """Runs of the experiment, the newest first.

        Args:
            model: Those of one model only.
            limit: How many at most, at least 1.
            everywhere: Whether those of all experiments are meant.

        Raises:
            ConfigError: The registry is offline.
        """
        tracking = self._online()
        if everywhere:
            names = tracking.experiments()
        else:
            experiment = tracking.experiment_id(self.experiment)
            names = {} if experiment is None else {experiment: self.experiment}
        condition = equals("tags.`tadka.model`", model) if model else ""
        found = tracking.search(list(names), condition, limit)
        return [record_of(tracking, run, names) for run in found]

    # ---------------------------------------------------------------- models

    def publish(
        self, ref: str, name: str, signature: Mapping[str, Any] | None = None
    ) -> ModelVersion:
        """A finished run's model under a name, with the next number.

        A run has one version of a name: publishing it again gives that version.

        Args:
            ref: The run, as for `run`.
            name: Of the registered model; without `/`, `:` and `@`.
            signature: What it takes and gives: `{"inputs": {"user": "int64"}, "outputs":
                {"score": "float32"}}`.

        Raises:
            NotFound: There is no such run.
            ConfigError: It is not finished, or the name cannot be used.
        """
        tracking = self._online()
        if not name or set(name) & set("/:@"):
            raise ConfigError(
                f"Model name {name!r} cannot be used: it needs a letter and no '/', ':' or '@'."
            )
        run = find_run(tracking, ref)
        if run.info.status != "FINISHED":
            raise ConfigError(
                f"Run {run_id(run)} is {run.info.status.lower()}, so it has no model to publish. "
                "End it with finish() first; tadka.registry.send sends one that was kept locally."
            )
        mlflow_id = run.info.run_id
        signature = plain(dict(signature or {}))
        both = f"{equals('name', name)} and {equals('run_id', mlflow_id)}"
        found = tracking.versions(both)
        if not found:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "MLmodel")
                file.write_text(_mlmodel(mlflow_id, signature), encoding="utf-8")
                tracking.write_file(mlflow_id, "model/MLmodel", file)
            tags = {"tadka.run": run_id(run), "tadka.signature": json.dumps(signature)}
            source = f"{run.info.artifact_uri}/model"
            found = [tracking.add_version(name, mlflow_id, source, tags)]
        return version_of(found[0], self._aliases(name))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Points an alias of a model to a version, away from another one.

        Args:
            name: Of the registered model.
            alias: `"champion"`, `"challenger"`, or another word.
            version: Of that model.

        Raises:
            NotFound: There is no such model or version.
            ConfigError: The word cannot be an alias.
        """
        tracking = self._online()
        find_version(tracking, f"{name}/{version}")
        tracking.set_alias(name, alias, version)

    def models(self) -> list[ModelVersion]:
        """Every version of every model, by name and the newest first.

        Raises:
            ConfigError: The registry is offline.
        """
        return all_versions(self._online())

    def resolve(self, ref: str) -> str:
        """The id of the run meant, to be asked once, before work starts: an alias may be moved.

        Args:
            ref: As for `run`.

        Raises:
            NotFound: There is none.
        """
        return run_id(find_run(self._online(), ref))

    # ---------------------------------------------------------------- lineage

    def made(self, ref: str) -> Lineage:
        """What made this model: run, data, code, environment, and the runs that it goes on from.

        Args:
            ref: As for `run`.

        Raises:
            NotFound: There is no such run. A parent that is not there is told in the result.
        """
        return made(self._online(), ref)

    def fed(self, dataset: str) -> tuple[list[RunRecord], list[ModelVersion]]:
        """What this data set fed: runs trained on it or going on from one, and their versions.

        Args:
            dataset: Its fingerprint (six characters of it are enough), version or URI.

        Returns:
            Runs, the newest first, and model versions; both empty where it fed nothing.
        """
        return fed(self._online(), dataset)

    def _online(self) -> Tracking:
        if self._tracking is None:
            raise ConfigError(
                "This registry is offline, so it cannot look anything up. Make one without "
                "offline=True."
            )
        return self._tracking

    def _aliases(self, name: str) -> dict[str, str]:
        return next(
            (dict(model.aliases) for model in self._online().models() if model.name == name), {}
        )


def _check_artifact(name: str) -> None:
    parts = name.split("/")
    is_long = any(len(part.encode("utf-8", "replace")) > _MOST_NAME_BYTES for part in parts)
    if {"", ".", ".."} & set(parts) or is_long or not name.isprintable():
        raise ConfigError(
            f"Artifact name {name!r} cannot be used: it is a relative path such as 'report.html' "
            f"or 'checkpoint/manifest.json', of at most {_MOST_NAME_BYTES} bytes a part."
        )


def _mlmodel(mlflow_id: str, signature: Mapping[str, Any]) -> str:
    """The file that MLflow reads a model's signature from (its MLmodel format)."""
    columns = {
        side: json.dumps(
            [
                {"name": name, "type": _KINDS.get(str(kind), "string"), "required": True}
                for name, kind in signature[side].items()
            ]
        )
        for side in ("inputs", "outputs")
        if isinstance(signature.get(side), Mapping)
    }
    model: dict[str, Any] = {"flavors": {"tadka": {"signature": dict(signature)}}}
    return write_yaml({**model, "run_id": mlflow_id, "signature": columns})
