"""A run as its folder has it, without asking any server."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tadka.core.error import DataError
from tadka.registry.journal import Journal
from tadka.registry.naming import flat, known_metric, metric_name
from tadka.registry.record import DatasetRef, RunRecord


def read_kept(directory: str | Path) -> RunRecord:
    """What a run's folder kept of it: the same record that the registry gives once it is sent.

    Args:
        directory: That the run was begun with.

    Returns:
        The record. `mlflow_id` and `artifacts` are empty where nothing was sent.

    Raises:
        NotFound: The folder holds no journal.
        DataError: Nothing was begun there, or the journal is damaged.
    """
    with _opened(directory) as (journal, begin):
        lines = [line for _, line in journal.lines()]
        mark = next(iter(journal.marks.values()), None)
    values: dict[str, dict[int, float]] = {}
    for line in lines:
        if line["kind"] == "log":
            for key, value in line["metrics"].items():
                values.setdefault(metric_name(key), {})[line["step"]] = known_metric(value)
    started = next(line["time"] for line in lines if line["kind"] == "begin")
    ends = [line for line in lines if line["kind"] == "finish"]
    return RunRecord(
        id=begin["run"],
        mlflow_id=mark.mlflow_id if mark else "",
        model=begin["model"],
        experiment=begin["experiment"],
        status=ends[-1]["status"] if ends else "running",
        started=datetime.fromtimestamp(started / 1000, UTC),
        seconds=(ends[-1]["time"] - started) / 1000 if ends else None,
        params=dict(sorted(flat(begin["params"]))),
        metrics={name: steps[max(steps)] for name, steps in sorted(values.items())},
        dataset=DatasetRef(**begin["dataset"]) if begin["dataset"] else None,
        code=begin["code"],
        # runs of earlier versions have it in their environment
        directory=begin.get("directory") or begin["environment"].get("folder", ""),
        environment=begin["environment"],
        parent=begin["parent"],
        tags={},
        artifacts="",
        read_history=_history(values),
    )


def address_of(directory: str | Path) -> str:
    """Where a run's folder sends it to.

    Args:
        directory: That the run was begun with.

    Raises:
        NotFound: The folder holds no journal.
        DataError: Nothing was begun there.
    """
    with _opened(directory) as (_, begin):
        return str(begin["uri"])


@contextmanager
def _opened(directory: str | Path) -> Iterator[tuple[Journal, dict[str, Any]]]:
    """The journal and the line that began its run."""
    journal = Journal(directory)
    try:
        begin = journal.begun()
        if begin is None:
            raise DataError(f"{str(journal.path)!r} holds no run: it ended before one was begun.")
        yield journal, begin
    finally:
        journal.close()


def _history(values: Mapping[str, Mapping[int, float]]) -> Callable[[str], list[tuple[int, float]]]:
    return lambda metric: sorted(values.get(metric, {}).items())
