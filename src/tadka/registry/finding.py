"""Runs and model versions found in MLflow, as our records."""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tadka.core.error import NotFound
from tadka.registry.naming import known_metric, metric_key, metric_name, value_of
from tadka.registry.record import DatasetRef, ModelVersion, RunRecord
from tadka.registry.spool import ENVIRONMENT
from tadka.registry.tracking import Tracking, begins_with, equals

_ID = re.compile(r"\w[\w\-]*", re.ASCII)
_NEAR = 200  # ids that an unknown one is compared with


def find_run(tracking: Tracking, ref: str) -> Any:
    """The run meant, as MLflow has it.

    Args:
        tracking: Where to look.
        ref: An id of ours or of MLflow, or the beginning of one; `model@alias`; `model/3`.

    Raises:
        NotFound: There is none, or the beginning is that of several.
    """
    if "@" in ref or "/" in ref:
        return tracking.get(find_version(tracking, ref).run_id)
    experiments = list(tracking.experiments())
    found: dict[str, Any] = {}
    if _ID.fullmatch(ref):
        for column in ("tags.`tadka.run`", "attributes.run_id"):
            for run in tracking.search(experiments, begins_with(column, ref), limit=10):
                ids = (run_id(run), run.info.run_id)
                if ref in ids:
                    return run
                if any(one.startswith(ref) for one in ids):  # `_` in LIKE is any character
                    found[run.info.run_id] = run
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        each = ", ".join(sorted(run_id(run) for run in found.values()))
        raise NotFound(f"Run {ref!r} may be each of {each}. Write more of it.")
    known = [run_id(run) for run in tracking.search(experiments, limit=_NEAR)]
    names = [model.name for model in tracking.models()]
    if ref in names:
        raise NotFound(f"{ref!r} is a model, not a run. Name a version of it: '{ref}/1'.")
    raise NotFound(
        f"There is no run {ref!r} at {tracking.uri!r}.{_near(ref, known)} "
        "`tadka model runs` lists all; accepted are the beginning of an id, MODEL@ALIAS and "
        "MODEL/NUMBER."
    )


def find_version(tracking: Tracking, ref: str) -> Any:
    """The version meant, as MLflow has it.

    Args:
        tracking: Where to look.
        ref: `model@alias` or `model/3`.

    Raises:
        NotFound: There is no such model, alias or version.
    """
    by_alias = "@" in ref
    name, _, which = ref.partition("@" if by_alias else "/")
    models = {model.name: model for model in tracking.models()}
    if name not in models:
        raise NotFound(
            f"There is no model {name!r} at {tracking.uri!r}.{_near(name, list(models))} "
            "Registry.publish makes one."
        )
    aliases = dict(models[name].aliases)
    number = str(aliases.get(which, "")) if by_alias else which
    versions = {str(one.version): one for one in tracking.versions(equals("name", name))}
    if number in versions:
        return versions[number]
    if by_alias:
        has = ", ".join(sorted(aliases)) or "none"
        raise NotFound(f"Model {name!r} has no alias {which!r}. It has: {has}.")
    has = ", ".join(sorted(versions, key=int)) or "none"
    raise NotFound(f"Model {name!r} has no version {which!r}. It has: {has}.")


def run_id(run: Any) -> str:
    """Our id of a run of MLflow, or its own where another program logged it.

    Args:
        run: As MLflow has it.
    """
    return str(run.data.tags.get("tadka.run", run.info.run_id))


def record_of(
    tracking: Tracking, run: Any, experiments: Mapping[str, str], *, is_whole: bool = False
) -> RunRecord:
    """A run as we tell it.

    Args:
        tracking: Where it was found.
        run: As MLflow has it.
        experiments: Names by id.
        is_whole: Whether to fetch the environment with all packages, which is a file.
    """
    tags, info = run.data.tags, run.info
    environment: dict[str, Any] = _below(tags, "tadka.environment.")
    if is_whole and "tadka.run" in tags:
        text = tracking.read_text(info.run_id, ENVIRONMENT)
        environment = json.loads(text) if text else environment
    return RunRecord(
        id=run_id(run),
        mlflow_id=info.run_id,
        model=tags.get("tadka.model", info.run_name or ""),
        experiment=experiments.get(info.experiment_id, info.experiment_id),
        status=info.status.lower(),
        started=_time(info.start_time),
        seconds=None if info.end_time is None else (info.end_time - info.start_time) / 1000,
        params={key: value_of(value) for key, value in sorted(run.data.params.items())},
        metrics={
            metric_name(key): known_metric(value) for key, value in sorted(run.data.metrics.items())
        },
        dataset=_dataset(tags),
        code=tags.get("tadka.code", ""),
        # runs of earlier versions have it in their environment
        directory=tags.get("tadka.directory") or tags.get("tadka.environment.folder", ""),
        environment=environment,
        parent=tags.get("tadka.parent"),
        tags={k: v for k, v in tags.items() if not k.startswith(("tadka.", "mlflow."))},
        artifacts=info.artifact_uri,
        read_history=_history(tracking, info.run_id),
    )


def version_of(version: Any, aliases: Mapping[str, str]) -> ModelVersion:
    """A model version as we tell it.

    Args:
        version: As MLflow has it.
        aliases: Version by alias, of that model.
    """
    number = str(version.version)
    return ModelVersion(
        name=version.name,
        version=int(number),
        run=version.tags.get("tadka.run", version.run_id),
        signature=json.loads(version.tags.get("tadka.signature", "{}")),
        aliases=tuple(sorted(alias for alias, one in aliases.items() if str(one) == number)),
        created=_time(version.creation_timestamp),
    )


def all_versions(tracking: Tracking) -> list[ModelVersion]:
    """Every version of every model, by name and the newest first.

    Args:
        tracking: Where to look.
    """
    aliases = {model.name: dict(model.aliases) for model in tracking.models()}
    found = [version_of(one, aliases.get(one.name, {})) for one in tracking.versions()]
    return sorted(found, key=lambda one: (one.name, -one.version))


def _history(tracking: Tracking, mlflow_id: str) -> Callable[[str], list[tuple[int, float]]]:
    def read(metric: str) -> list[tuple[int, float]]:
        rows = tracking.history(mlflow_id, metric_key(metric))
        return [(step, known_metric(value)) for step, value in rows]

    return read


def _below(tags: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in tags.items() if k.startswith(prefix)}


def _dataset(tags: Mapping[str, str]) -> DatasetRef | None:
    found = _below(tags, "tadka.dataset.")
    if not found:
        return None
    return DatasetRef(
        name=found["name"],
        uri=found["uri"],
        fingerprint=found["fingerprint"],
        version=found.get("version"),
        num_rows=int(found["num_rows"]) if "num_rows" in found else None,
    )


def _near(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not close:  # the beginning of a long id is far from the whole
        heads = {one[: len(name)]: one for one in reversed(known)}
        close = [heads[head] for head in difflib.get_close_matches(name, heads, n=1, cutoff=0.6)]
    return f" Did you mean {close[0]!r}?" if close else ""


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
