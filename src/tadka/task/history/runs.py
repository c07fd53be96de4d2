"""What builds did: their runs, one of them with all its tasks."""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import ConfigError, NotFound
from tadka.task.history.lineage import Lineage
from tadka.task.history.results import Workspace
from tadka.task.look.table import Table, aligned, shown_fields
from tadka.task.look.word import duration, many, moment, size
from tadka.task.plan import opened
from tadka.task.store.row import Entry, Execution, RunRow
from tadka.task.store.store import Store

LAST = "last"
_MOST_ROWS = 20
_ORDER = ("failed", "lost", "ran", "skipped")


@dataclass(frozen=True)
class Run:
    """A build, in figures.

    Args:
        row: It, as the index has it.
        is_running: Whether its process lives.
    """

    row: RunRow
    is_running: bool = False

    @property
    def id(self) -> str:
        """Of the run."""
        return self.row.id

    @property
    def status(self) -> str:
        """`"ok"`, `"failed"`, `"running"`, or `"killed"`: its process ended without a word."""
        is_lost = self.row.status == "running" and not self.is_running
        return "killed" if is_lost else self.row.status

    @property
    def seconds(self) -> float | None:
        """From its begin to its end; None where it has none."""
        return None if self.row.ended_at is None else self.row.ended_at - self.row.started_at

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "id": self.row.id,
            "status": self.status,
            "task": self.row.task,
            "task_id": self.row.task_id,
            "started_at": self.row.started_at,
            "ended_at": self.row.ended_at,
            "seconds": self.seconds,
            "environment": self.row.environment,
            "details": dict(self.row.details),
        }

    def cells(self) -> dict[str, str]:
        """As text for people, by column."""
        counts = self.row.details.get("counts") or {}
        return {
            "run": self.row.id,
            "status": self.status,
            "task": self.row.task.rpartition(".")[2],
            "started": moment(self.row.started_at),
            "seconds": duration(self.seconds),
            "tasks": ", ".join(f"{number:,} {name}" for name, number in counts.items() if number),
        }


class Runs(Table[Run]):
    """Builds, the one that began last first; printed as a table."""


@dataclass(frozen=True)
class RunDetails:
    """A build with all that is known of it.

    Args:
        run: It.
        executions: What it did with tasks whose results were not stored.
        entries: Results that it made or took as they were, by the task's id, as far as they are
            still stored.
        environment: Host, versions and what else was written down.
    """

    run: Run
    executions: Sequence[Execution]
    entries: Mapping[str, Entry]
    environment: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        run = self.run
        lines = [
            f"Run {run.id}: {run.status}, {moment(run.row.started_at)}, {duration(run.seconds)}",
            f"  of {run.row.task or 'no task'}  #{run.row.task_id[:8]}",
        ]
        counts = run.row.details.get("counts") or Counter(e.status for e in self.executions)
        if counts:
            lines.append(f"  {', '.join(f'{n:,} {name}' for name, n in counts.items() if n)}")
        for name in ("host", "python", "git", "commit", "user"):
            if self.environment.get(name):
                lines.append(f"  {name} {self.environment[name]}")
        shown = sorted(self.executions, key=_place)[:_MOST_ROWS]
        if shown:
            lines += ["", *aligned([self._cells(execution) for execution in shown])]
        if len(self.executions) > _MOST_ROWS:
            lines.append(f"and {many(len(self.executions) - _MOST_ROWS, 'task')} more")
        for execution in shown:
            if execution.error:
                last = execution.error.strip().splitlines()[-1]
                lines += ["", f"{_name(execution)}  #{execution.task_id[:8]}: {last}"]
                lines += [f"  log: {execution.log}"] if execution.log else []
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            **self.run.to_json(),
            "environment": dict(self.environment),
            "executions": [execution.to_json() for execution in self.executions],
            "entries": [
                {"id": id_, "key": entry.key, "task": entry.task, "run": entry.run}
                for id_, entry in self.entries.items()
            ],
        }

    def _cells(self, execution: Execution) -> dict[str, str]:
        entry = self.entries.get(execution.task_id)
        metrics = numbers_of(execution.metrics)
        return {
            "task": _name(execution),
            "id": execution.task_id[:8],
            "status": execution.status,
            "fields": "" if entry is None else shown_fields(entry.fields),
            "seconds": duration(execution.seconds),
            "memory": size(execution.peak_bytes),
            "metrics": ", ".join(f"{name}={value:.6g}" for name, value in metrics.items()),
        }


def runs(*, workspace: Workspace = None, limit: int | None = None) -> Runs:
    """Builds of a workspace.

    Args:
        workspace: As in `build`.
        limit: At most so many.

    Returns:
        The one that began last first. It prints as a table, and has `to_pandas()`.

    Raises:
        DataError: The index cannot be read.
    """
    with opened(workspace) as store:
        if not store.exists:
            return Runs()
        return Runs(Run(row, store.is_running(row)) for row in store.index.runs(limit=limit))


def run(id_: str = LAST, *, workspace: Workspace = None) -> RunDetails:
    """A build with all that is known of it.

    Args:
        id_: Of the run, or the beginning of it; `"last"` for the one that began last, `"last~1"`
            for the one before.
        workspace: As in `build`.

    Raises:
        NotFound: There is no such run.
        ConfigError: Several runs are meant.
        DataError: The index cannot be read.
    """
    with opened(workspace) as store:
        return details_of(find_run(id_, store), store)


def find_run(id_: str, store: Store) -> RunRow:
    """The run of a name, as in `run`.

    Args:
        id_: As in `run`.
        store: Where to look.

    Raises:
        NotFound: There is no such run.
        ConfigError: Several runs are meant.
    """
    if not store.exists:
        raise NotFound(f"Workspace {store.workspace!r} does not exist, so it has no runs.")
    name, _, back = id_.partition("~")
    if name == LAST and (back.isdecimal() or back == ""):
        number = int(back or 0)
        found = store.index.runs(limit=number + 1)
        if len(found) <= number:
            raise NotFound(
                f"Workspace {store.workspace!r} has {many(len(found), 'run')}, so there is no "
                f"{id_!r}."
            )
        return found[number]
    try:
        return store.index.run(id_)
    except NotFound:
        found = [row for row in store.index.runs() if id_ and row.id.startswith(id_)]
    if not found:
        raise NotFound(
            f"Workspace {store.workspace!r} has no run {id_!r}. See: tadka task runs."
        ) from None
    if len(found) > 1:
        names = ", ".join(row.id for row in found[:3])
        raise ConfigError(f"{id_!r} is the beginning of {len(found)} runs: {names}. Write more.")
    return found[0]


def details_of(row: RunRow, store: Store) -> RunDetails:
    """All that is known of a run.

    Args:
        row: Of the index.
        store: Where it is of.
    """
    executions = store.index.executions(row.id)
    environment: Mapping[str, Any] = {}
    if row.environment:
        with contextlib.suppress(NotFound):
            environment = store.index.environment(row.environment)
    entries = Lineage(store).of_run(row, executions)
    return RunDetails(Run(row, store.is_running(row)), executions, entries, environment)


def _place(execution: Execution) -> tuple[int, float]:
    known = execution.status in _ORDER
    return _ORDER.index(execution.status) if known else len(_ORDER), execution.started_at


def _name(execution: Execution) -> str:
    return execution.task.rpartition(".")[2]


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What a task logged, without what else an execution keeps there.

    Args:
        metrics: Of an execution.
    """
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
