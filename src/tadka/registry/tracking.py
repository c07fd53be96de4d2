"""The only module that talks to MLflow: a server or an SQLite file behind typed calls and errors.

MLflow is imported when a `Tracking` is made, with its telemetry off. Its waiting is kept short
(5 seconds a request, no repetition) unless the environment says otherwise
(MLFLOW_HTTP_REQUEST_TIMEOUT, MLFLOW_HTTP_REQUEST_MAX_RETRIES): a training must not wait for it.
"""

import fcntl
import json
import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tadka.core.error import ConfigError, DataError, NotFound, TadkaError, Unreachable
from tadka.core.extra import require
from tadka.registry.record import DatasetRef

DEFAULT_URI = "sqlite:///runs/registry.db"
VARIABLE = "TADKA_TRACKING"

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_MOST_METRICS = 1000  # a request, of MLflow
_MOST_TAGS = 100  # the same for params
_MOST_DIGEST = 36  # characters of a dataset's digest
# Else the page of MLflow opens on traces of language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_MOST_TAG_LETTERS = 8000
_LOCKED_S = 30.0  # how long another writer of the same SQLite file is waited for
_MOST_EQUAL = 5  # how often a row may have been made by another writer meanwhile
_ALL = 1000  # rows a page
_REFUSED = {  # errors that say something of the request; others say that the server is unwell
    "ALREADY_EXISTS",
    "BAD_REQUEST",
    "CUSTOMER_UNAUTHORIZED",
    "ENDPOINT_NOT_FOUND",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
}
_OFFLINE = (
    "To train without it set tracking.offline to true: the run is kept in its folder, and "
    "`tadka model send FOLDER` sends it later"
)


def full_uri(uri: str | None) -> str:
    """The address meant: given, else $TADKA_TRACKING, else the file `runs/registry.db`.

    Args:
        uri: `sqlite:///FILE`, `http://...`, `https://...` or None.

    Returns:
        The same with an absolute path, without a slash at the end.

    Raises:
        ConfigError: It is none of these, or holds a password, which journals would keep.
    """
    given = uri or os.environ.get(VARIABLE) or DEFAULT_URI
    if given.startswith("sqlite:///"):
        path = given.removeprefix("sqlite:///")
        if path:
            return f"sqlite:///{Path(path).resolve()}"
    parts = urlsplit(given)
    if parts.scheme in {"http", "https"} and parts.hostname:
        if parts.username or parts.password:
            raise ConfigError(
                f"The tracking URI for {parts.hostname!r} holds a user or a password. Leave them "
                "out, and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )
        return given.rstrip("/")
    hint = ""
    if not parts.scheme or parts.scheme == "file":
        hint = f" Did you mean 'sqlite:///{parts.path or 'runs'}/registry.db'?"
        if parts.path.endswith(".db"):
            hint = f" Did you mean 'sqlite:///{parts.path}'?"
    raise ConfigError(
        f"Tracking URI {given!r} is not understood: it needs sqlite:///FILE, http://HOST:PORT or "
        f"https://HOST.{hint}"
    )


class Tracking:
    """MLflow at one address.

    Args:
        uri: As `full_uri` gives it.

    Raises:
        MissingExtra: MLflow is not installed.
        Unreachable: The server does not answer.
        ConfigError: It refuses us, or is not MLflow.
        DataError: The SQLite file cannot be used.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._file = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:") else None
        self._experiments: dict[str, str] = {}
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        with warnings.catch_warnings(), self._alone():
            warnings.simplefilter("ignore")  # of SQLAlchemy, at what MLflow still uses
            require("mlflow", extra="mlflow")
            for noisy in ("mlflow", "alembic"):
                logging.getLogger(noisy).setLevel(logging.CRITICAL)  # we raise what they log
            self._entities: Any = require("mlflow.entities", extra="mlflow")
            self._exception = require("mlflow.exceptions", extra="mlflow").MlflowException
            self._damage: tuple[type[Exception], ...] = ()  # what MLflow lets through
            if self._file:
                require("alembic", extra="mlflow")
                self._damage = (require("sqlalchemy.exc", extra="mlflow").SQLAlchemyError,)
            tracking = require("mlflow.tracking", extra="mlflow")
            self._client = self._asked(lambda: tracking.MlflowClient(uri, uri))
        self.experiments(limit=1)

    # ---------------------------------------------------------------- runs

    def open_run(self, begin: Mapping[str, Any]) -> str:
        """MLflow's id of a run: of the one that bears our id already, else of a new one.

        Args:
            begin: Line of the journal.
        """
        experiment = self._experiment(begin["experiment"])
        found = self.search([experiment], equals("tags.`tadka.run`", begin["run"]), limit=1)
        if found:
            return str(found[0].info.run_id)
        made = self._call(
            "create_run",
            experiment,
            start_time=begin["time"],
            tags=_tags(begin),
            run_name=f"{begin['model']} {begin['run'][:8]}",
        )
        return str(made.info.run_id)

    def write(
        self,
        mlflow_id: str,
        *,
        metrics: Iterable[tuple[str, float, int, int]] = (),
        params: Mapping[str, str] | None = None,
        begin: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds to a run, in as few requests as MLflow allows. Doing it twice changes nothing.

        Args:
            mlflow_id: Of the run.
            metrics: Key, value, time in milliseconds and step of each.
            params: Text by key.
            begin: Line of the journal whose tags are set.
        """
        entities = self._entities
        rows = [entities.Metric(*metric) for metric in metrics]
        for start in range(0, len(rows), _MOST_METRICS):
            self._call("log_batch", mlflow_id, metrics=rows[start : start + _MOST_METRICS])
        pairs = [entities.Param(*pair) for pair in (params or {}).items()]
        for start in range(0, len(pairs), _MOST_TAGS):
            self._call("log_batch", mlflow_id, params=pairs[start : start + _MOST_TAGS])
        if begin:
            tags = [entities.RunTag(*pair) for pair in _tags(begin).items()]
            for start in range(0, len(tags), _MOST_TAGS):
                self._call("log_batch", mlflow_id, tags=tags[start : start + _MOST_TAGS])

    def write_dataset(self, mlflow_id: str, dataset: DatasetRef) -> None:
        """Notes what a run was trained on, as the MLflow UI shows it.

        Args:
            mlflow_id: Of the run.
            dataset: The data.
        """
        entities = self._entities
        made = entities.Dataset(
            name=dataset.name[:500],
            digest=dataset.fingerprint[:_MOST_DIGEST],
            source_type=urlsplit(dataset.uri).scheme.replace("file", "local") or "local",
            source=json.dumps({"uri": dataset.uri}),
            profile=json.dumps({"num_rows": dataset.num_rows, "fingerprint": dataset.fingerprint}),
        )
        context = entities.InputTag("mlflow.data.context", "training")
        self._call("log_inputs", mlflow_id, [entities.DatasetInput(made, [context])])

    def write_file(self, mlflow_id: str, name: str, path: Path) -> None:
        """Keeps a file or a folder with a run, in place of what has that name.

        Args:
            mlflow_id: Of the run.
            name: Among the run's artifacts, with slashes.
            path: What is copied.

        Raises:
            DataError: It cannot be kept.
        """
        folder, _, file = name.rpartition("/")
        if path.is_dir():
            self._stored("log_artifacts", mlflow_id, str(path), name)
        else:
            with tempfile.TemporaryDirectory() as aside:
                link = Path(aside, file)  # MLflow keeps the file's own name
                link.symlink_to(path.resolve())
                self._stored("log_artifact", mlflow_id, str(link), folder or None)

    def write_text(self, mlflow_id: str, name: str, text: str) -> None:
        """Keeps a text as a file of a run.

        Args:
            mlflow_id: Of the run.
            name: Among the run's artifacts.
            text: Its content.

        Raises:
            DataError: It cannot be kept.
        """
        self._stored("log_text", mlflow_id, text, name)

    def read_text(self, mlflow_id: str, name: str) -> str | None:
        """A file of a run; None where there is none, or its store does not answer.

        Args:
            mlflow_id: Of the run.
            name: Among the run's artifacts.
        """
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = self._stored("download_artifacts", mlflow_id, name, folder)
            except TadkaError:
                return None
            return Path(str(found)).read_text(encoding="utf-8")

    def end(self, mlflow_id: str, status: str, time_ms: int) -> None:
        """Ends a run.

        Args:
            mlflow_id: Of the run.
            status: `"finished"` or `"failed"`.
            time_ms: When, in milliseconds since 1970.
        """
        self._call("set_terminated", mlflow_id, status.upper(), time_ms)

    def reopen(self, mlflow_id: str) -> None:
        """Makes a run a running one again.

        Args:
            mlflow_id: Of the run.
        """
        self._call("update_run", mlflow_id, "RUNNING")

    def get(self, mlflow_id: str) -> Any:
        """A run as MLflow has it.

        Args:
            mlflow_id: Of the run.

        Raises:
            NotFound: There is none.
        """
        return self._call("get_run", mlflow_id)

    def history(self, mlflow_id: str, key: str) -> list[tuple[int, float]]:
        """Steps and values of a metric, in order.

        Args:
            mlflow_id: Of the run.
            key: The metric's.
        """
        rows = self._call("get_metric_history", mlflow_id, key)
        ordered = sorted(rows, key=lambda row: (row.step, row.timestamp))
        return [(int(row.step), float(row.value)) for row in ordered]

    def search(
        self, experiments: Sequence[str], condition: str = "", limit: int | None = None
    ) -> list[Any]:
        """Runs as MLflow has them, the newest first.

        Args:
            experiments: Their ids.
            condition: In MLflow's filter language.
            limit: How many at most; None: all.
        """
        found: list[Any] = []
        token = None
        while experiments and (limit is None or len(found) < limit):
            size = _ALL if limit is None else min(_ALL, limit - len(found))
            page = self._call(
                "search_runs",
                list(experiments),
                condition,
                max_results=size,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            found.extend(page)
            token = page.token
            if not token:
                break
        return found

    def experiments(self, limit: int = _ALL) -> dict[str, str]:
        """Names of experiments by id.

        Args:
            limit: How many at most.
        """
        found = self._call("search_experiments", max_results=limit)
        return {str(one.experiment_id): str(one.name) for one in found}

    def experiment_id(self, name: str) -> str | None:
        """Id of an experiment; None where there is none.

        Args:
            name: Its name.

        Raises:
            ConfigError: It was deleted.
        """
        found = self._call("get_experiment_by_name", name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise ConfigError(
                f"Experiment {name!r} was deleted. Restore it with 'mlflow experiments restore "
                f"--experiment-id {found.experiment_id}', or choose another name."
            )
        return None if found is None else str(found.experiment_id)

    # ---------------------------------------------------------------- models

    def add_version(self, name: str, mlflow_id: str, source: str, tags: Mapping[str, str]) -> Any:
        """A new version of a model, which is registered where it is new.

        Args:
            name: Of the model.
            mlflow_id: Of the run.
            source: URI of its files.
            tags: Of the version.
        """
        try:
            self._call("create_registered_model", name)
        except ConfigError as error:
            if "already exists" not in str(error):
                raise
        return self._call(
            "create_model_version",
            name,
            source,
            run_id=mlflow_id,
            tags=dict(tags),
            await_creation_for=0,
        )

    def versions(self, condition: str = "") -> list[Any]:
        """Versions of models as MLflow has them, without aliases.

        Args:
            condition: In MLflow's filter language.
        """
        return self._pages("search_model_versions", filter_string=condition, max_results=_ALL)

    def models(self) -> list[Any]:
        """Registered models as MLflow has them, with their aliases."""
        return self._pages("search_registered_models", max_results=_ALL)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Points an alias to a version.

        Args:
            name: Of the model.
            alias: Such as `"champion"`.
            version: Of that model.
        """
        self._call("set_registered_model_alias", name, alias, str(version))

    # ---------------------------------------------------------------- calls

    def _experiment(self, name: str) -> str:
        """Id of an experiment, which is made where it is missing."""
        if name not in self._experiments:
            found = self.experiment_id(name)
            if found is None:
                place = (self._file.parent / "artifacts").as_uri() if self._file else None
                try:
                    found = str(self._call("create_experiment", name, place, _KIND))
                except ConfigError:  # another process was first
                    found = self.experiment_id(name)
                    if found is None:
                        raise
            self._experiments[name] = found
        return self._experiments[name]

    def _pages(self, call: str, **arguments: Any) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._call(call, page_token=token, **arguments)
            found.extend(page)
            token = page.token
            if not token:
                return found

    def _call(self, call: str, *arguments: Any, **options: Any) -> Any:
        return self._asked(lambda: getattr(self._client, call)(*arguments, **options))

    def _stored(self, call: str, *arguments: Any) -> Any:
        try:
            return self._call(call, *arguments)
        except TadkaError:
            raise
        except Exception as error:  # each store of artifacts has errors of its own
            raise DataError(f"An artifact cannot be kept or read: {error}.") from error

    def _asked(self, ask: Any) -> Any:
        """What a call of MLflow gives, with our errors; repeated where another writer was first.

        Then SQLite is locked, or a row exists that MLflow looked for a moment before.
        """
        until = time.monotonic() + _LOCKED_S
        pause_s = 0.01
        num_equal = 0
        while True:
            try:
                return ask()
            except self._damage as error:
                raise DataError(
                    f"Tracking database {str(self._file)!r} cannot be used: "
                    f"{_reason(str(error))}. {_OFFLINE}."
                ) from error
            except self._exception as error:
                is_locked = self._file is not None and "database is locked" in str(error)
                num_equal += "IntegrityError" in str(error)
                is_first_of_two = not is_locked and 0 < num_equal <= _MOST_EQUAL
                if not (is_locked or is_first_of_two) or time.monotonic() > until:
                    raise self._told(error) from error
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.5)

    def _told(self, error: Any) -> TadkaError:
        code = str(error.error_code)
        reason = _reason(str(error))
        if self._file and "out-of-date database schema" in reason:
            return ConfigError(
                f"{str(self._file)!r} was written by another version of MLflow. Copy it, then run: "
                f"mlflow db upgrade {self.uri}."
            )
        if code == "RESOURCE_DOES_NOT_EXIST":
            return NotFound(f"{reason}. It was looked for at {self.uri!r}.")
        if code in _REFUSED and "database is locked" not in reason:
            return ConfigError(f"MLflow at {self.uri!r} refuses this: {reason}.")
        if self._file:
            return DataError(
                f"Tracking database {str(self._file)!r} cannot be used: {reason}. {_OFFLINE}."
            )
        return Unreachable(
            f"The tracking server {self.uri!r} does not answer: {reason}. Start it, or name "
            f"another ({VARIABLE}). {_OFFLINE}.",
            "UNAVAILABLE",
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds the folder of an SQLite file: two processes must not make its tables at once.

        What MLflow would retry for minutes is told at once: a file that is no database, a folder
        that cannot be written.
        """
        if self._file is None:
            yield
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab+") as file:
                file.seek(0)
                head = file.read(16)
            folder = os.open(self._file.parent, os.O_RDONLY)
        except OSError as error:
            raise DataError(
                f"Tracking database {str(self._file)!r} cannot be used: {error}. Choose another "
                "file: sqlite:///FILE."
            ) from error
        if head and head != b"SQLite format 3\0":
            os.close(folder)
            raise DataError(
                f"{str(self._file)!r} is no SQLite database. Choose another file: sqlite:///FILE."
            )
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def equals(column: str, value: str) -> str:
    """A condition of MLflow's filter language.

    Args:
        column: What is compared, quoted where it must be.
        value: Any text that has not both kinds of quotes.

    Raises:
        ConfigError: It has both.
    """
    return f"{column} = {_quoted(value)}"


def begins_with(column: str, value: str) -> str:
    """The same for texts that begin so.

    Args:
        column: What is compared.
        value: The beginning; `%` and `_` stand for others, so a caller compares once more.

    Raises:
        ConfigError: It has both kinds of quotes.
    """
    return f"{column} LIKE {_quoted(value + '%')}"


def _quoted(value: str) -> str:
    if "'" not in value:
        return f"'{value}'"
    if '"' not in value:
        return f'"{value}"'
    raise ConfigError(f"{value!r} has both kinds of quotes, which MLflow cannot look for.")


def _tags(begin: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a run: what lineage asks for later, and what the MLflow UI shows by itself."""
    tags = {
        "tadka.run": begin["run"],
        "tadka.model": begin["model"],
        "tadka.code": begin["code"],
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": f"tadka {begin['model']}",
    }
    if begin["parent"]:
        tags["tadka.parent"] = begin["parent"]
    if "directory" in begin:  # not in journals of earlier versions
        tags["tadka.directory"] = begin["directory"]
    for key, value in (begin["dataset"] or {}).items():
        if value is not None:
            tags[f"tadka.dataset.{key}"] = str(value)
    for key, value in begin["environment"].items():
        if isinstance(value, str | int | float):
            tags[f"tadka.environment.{key}"] = str(value)
    if "commit" in begin["environment"]:
        tags["mlflow.source.git.commit"] = str(begin["environment"]["commit"])
    return {key: value[:_MOST_TAG_LETTERS] for key, value in tags.items()}


def _reason(text: str) -> str:
    """The first line of MLflow's message, without its code and the addresses in memory."""
    first = text.strip().splitlines()[0] if text.strip() else "no reason given"
    cause = re.search(r"Caused by \w+\((.*)\)\)$", first)  # of requests, behind all that it tried
    if cause:
        first = cause[1].rpartition(": ")[2].strip("\"'")
    first = re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>:? ?", "", first)
    return first.removeprefix("RESOURCE_DOES_NOT_EXIST: ").rstrip(". ")
