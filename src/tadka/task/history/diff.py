"""What is different between two runs: tasks, parameters, code, metrics, statistics, figures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tadka.task.code.digest import differences as code_differences
from tadka.task.history.lineage import num_bytes_of, plain_fields_of
from tadka.task.history.results import Workspace
from tadka.task.history.runs import LAST, Run, RunDetails, details_of, find_run, numbers_of
from tadka.task.key import field_differences
from tadka.task.look.table import num_rows_of, shown_fields
from tadka.task.look.word import duration, many, moment, number, size
from tadka.task.plan import opened
from tadka.task.store.row import Entry, Execution
from tadka.task.store.store import Store

_MOST_TASKS = 20
_MOST_LINES = 12  # of one task
_MOST_PAIRS = 1_000_000  # of tasks of a class that are compared to find the nearest
_MOST_COLUMNS = 200
_STATISTICS = ("nulls", "min", "max", "mean", "distinct")
_SLOWER = 1.2
"""From this ratio on seconds are another number, and not the same one measured twice."""
_LEAST_S = 0.05


@dataclass(frozen=True)
class TaskDiff:
    """One task in two runs, or two tasks of a class that are nearest to each other.

    Args:
        task: Path of the class.
        before: Id in the first run; empty where it is only in the second.
        after: Id in the second run; empty where it is only in the first.
        name: Of it, with the fields that it has now.
        changes: One sentence each, by what changed: `"fields"`, `"code"`, `"version"`, `"outs"`,
            `"inputs"`, `"status"`, `"metrics"`, `"columns"`, `"figures"`.
    """

    task: str
    before: str
    after: str
    name: str
    changes: Mapping[str, Sequence[str]]

    @property
    def sentences(self) -> list[str]:
        """All changes."""
        return [sentence for found in self.changes.values() for sentence in found]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "task": self.task,
            "before": self.before,
            "after": self.after,
            "name": self.name,
            "changes": {name: list(found) for name, found in self.changes.items()},
        }


@dataclass(frozen=True)
class RunDiff:
    """What is different between two runs.

    Args:
        before: The first.
        after: The second.
        only_before: Tasks of the first alone.
        only_after: Tasks of the second alone.
        changed: Tasks that are not the same in both.
        num_same: Tasks that are the same in both.
        environment: What changed around them: `"python 3.11.7 -> 3.12.1"`.
    """

    before: Run
    after: Run
    only_before: Sequence[TaskDiff]
    only_after: Sequence[TaskDiff]
    changed: Sequence[TaskDiff]
    num_same: int
    environment: Sequence[str] = ()

    def __str__(self) -> str:
        lines = [_head("before", self.before), _head("after ", self.after), ""]
        lines += [f"  {sentence}" for sentence in self.environment[:_MOST_LINES]]
        told = [f"{many(len(self.changed), 'task')} changed", f"{self.num_same:,} the same"]
        for what, found in (("before", self.only_before), ("after", self.only_after)):
            if found:
                told.append(f"{len(found):,} only {what}")
        lines.append(", ".join(told))
        for diff in self.changed[:_MOST_TASKS]:
            lines += ["", diff.name]
            lines += [f"  {sentence}" for sentence in diff.sentences[:_MOST_LINES]]
            if len(diff.sentences) > _MOST_LINES:
                lines.append(f"  and {len(diff.sentences) - _MOST_LINES:,} more")
        if len(self.changed) > _MOST_TASKS:
            lines += ["", f"and {many(len(self.changed) - _MOST_TASKS, 'task')} more"]
        for what, found in (("before", self.only_before), ("after", self.only_after)):
            if found:
                lines += ["", f"only {what}"]
                lines += [f"  {diff.name}" for diff in found[:_MOST_TASKS]]
            if len(found) > _MOST_TASKS:
                lines.append(f"  and {many(len(found) - _MOST_TASKS, 'task')} more")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "environment": list(self.environment),
            "num_same": self.num_same,
            "changed": [diff.to_json() for diff in self.changed],
            "only_before": [diff.to_json() for diff in self.only_before],
            "only_after": [diff.to_json() for diff in self.only_after],
        }


def diff(before: str = f"{LAST}~1", after: str = LAST, *, workspace: Workspace = None) -> RunDiff:
    """What is different between two runs.

    A task with other parameters is another task; it is compared with the one of its class, in the
    other run, whose parameters are nearest.

    Args:
        before: A run, as in `run`.
        after: Another.
        workspace: As in `build`.

    Raises:
        NotFound: There is no such run.
        ConfigError: Several runs are meant.
        DataError: The index cannot be read.
    """
    with opened(workspace) as store:
        first, second = (details_of(find_run(name, store), store) for name in (before, after))
        return _Differ(first, second, store).diff()


@dataclass(frozen=True)
class _Side:
    """A task in one run."""

    id: str
    task: str
    entry: Entry | None
    execution: Execution | None

    @property
    def name(self) -> str:
        fields = "" if self.entry is None else f"({shown_fields(self.entry.fields)})"
        return f"{self.task.rpartition('.')[2]}{fields}  #{self.id[:8]}"


class _Differ:
    """Compares two runs.

    Args:
        before: The first.
        after: The second.
        store: Where they are of.
    """

    def __init__(self, before: RunDetails, after: RunDetails, store: Store) -> None:
        self._before, self._after = before, after
        self._store = store
        self._logged: dict[str, dict[str | None, Mapping[str, Any]]] = {}

    def diff(self) -> RunDiff:
        first, second = _sides(self._before), _sides(self._after)
        same_ids = [id_ for id_ in second if id_ in first]
        pairs = [(first.pop(id_), second.pop(id_)) for id_ in same_ids]
        nearest, only_before, only_after = _nearest(list(first.values()), list(second.values()))
        found = [self._of_pair(one, other) for one, other in [*nearest, *pairs]]
        changed = [one for one in found if one.changes]
        return RunDiff(
            self._before.run,
            self._after.run,
            [TaskDiff(side.task, side.id, "", side.name, {}) for side in only_before],
            [TaskDiff(side.task, "", side.id, side.name, {}) for side in only_after],
            changed,
            len(found) - len(changed),
            list(_of_environments(self._before.environment, self._after.environment)),
        )

    def _of_pair(self, one: _Side, other: _Side) -> TaskDiff:
        changes: dict[str, list[str]] = {"fields": _fields_changed(one, other)}
        before, after = one.entry, other.entry
        statuses = [_status(side) for side in (one, other)]
        if statuses[0] != statuses[1] and "failed" in statuses:
            changes["status"] = [f"{statuses[0]} -> {statuses[1]}"]
        if before is not None and after is not None and before != after:
            changes |= _of_entries(before, after)
            metrics = [self._metrics(side) for side in (one, other)]
            changes["metrics"] = list(_of_metrics(*metrics))
            changes["figures"] = list(_of_figures(before, after))
        told = {name: found for name, found in changes.items() if found}
        return TaskDiff(other.task, one.id, other.id, other.name, told)

    def _metrics(self, side: _Side) -> Mapping[str, Any]:
        """What the run logged that made a result, which may be an earlier one."""
        assert side.entry is not None
        run = side.entry.run
        if run not in self._logged:
            executions = self._store.index.executions(run)
            self._logged[run] = {e.key: numbers_of(e.metrics) for e in executions}
        return self._logged[run].get(side.entry.key, {})


def _sides(details: RunDetails) -> dict[str, _Side]:
    last = {execution.task_id: execution for execution in details.executions}
    tasks = {**{id_: e.task for id_, e in last.items()}}
    tasks |= {id_: entry.task for id_, entry in details.entries.items()}
    return {
        id_: _Side(id_, task, details.entries.get(id_), last.get(id_))
        for id_, task in tasks.items()
    }


def _nearest(
    first: list[_Side], second: list[_Side]
) -> tuple[list[tuple[_Side, _Side]], list[_Side], list[_Side]]:
    """Pairs of one class with the fewest different fields; and what is left of both."""
    pairs: list[tuple[_Side, _Side]] = []
    rest: list[_Side] = []
    left: dict[str, list[_Side]] = {}
    for side in first:
        left.setdefault(side.task, []).append(side)
    is_large = len(first) * len(second) > _MOST_PAIRS
    for side in second:
        candidates = left.get(side.task)
        if not candidates:
            rest.append(side)
        elif is_large:
            pairs.append((candidates.pop(0), side))
        else:
            best = min(candidates, key=lambda one: len(_fields_changed(one, side)))
            candidates.remove(best)
            pairs.append((best, side))
    return pairs, [side for found in left.values() for side in found], rest


def _fields_changed(one: _Side, other: _Side) -> list[str]:
    if one.entry is None or other.entry is None:
        return []
    return field_differences(plain_fields_of(one.entry), plain_fields_of(other.entry))


def _of_entries(before: Entry, after: Entry) -> dict[str, list[str]]:
    first, second = before.parts, after.parts
    changes: dict[str, list[str]] = {}
    if first.get("code") != second.get("code"):
        told = code_differences(first.get("code_parts", {}), second.get("code_parts", {}))
        changes["code"] = [f"code: {sentence}" for sentence in told or ["it changed"]]
    if first.get("version") != second.get("version"):
        changes["version"] = [f"version {first.get('version')!r} -> {second.get('version')!r}"]
    changes["outs"] = _of_outs(first.get("outs", {}), second.get("outs", {}))
    changes["inputs"] = list(_of_inputs(first.get("inputs", {}), second.get("inputs", {})))
    changes["columns"] = list(_of_columns(before, after))
    return changes


def _of_outs(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"output {name}: {sentence}".replace("output :", "output:")
        for name in dict.fromkeys((*before, *after))
        for sentence in field_differences(before.get(name, {}), after.get(name, {}))
    ]


def _of_inputs(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    by_field: dict[str, int] = {}
    for place in dict.fromkeys((*before, *after)):
        if before.get(place) != after.get(place):
            name = place.partition("[")[0]
            by_field[name] = by_field.get(name, 0) + 1
    for name, count in by_field.items():
        yield f"input {name} changed" if count == 1 else f"inputs {name}: {count:,} changed"


def _of_columns(before: Entry, after: Entry) -> Iterator[str]:
    earlier = {output.name: output for output in before.outputs}
    for output in after.outputs:
        if output.name not in earlier or output.content == earlier[output.name].content:
            continue
        prefix = f"{output.name}." if output.name else ""
        old, new = earlier[output.name].description, output.description
        types, now = old.get("columns") or {}, new.get("columns") or {}
        statistics, current = old.get("statistics") or {}, new.get("statistics") or {}
        for name in list(dict.fromkeys((*types, *now)))[:_MOST_COLUMNS]:
            what = f"column {prefix}{name}".rstrip(" .")
            if name not in now or name not in types:
                yield f"{what} is {'new' if name in now else 'gone'}"
                continue
            if types[name] != now[name]:
                yield f"{what}: type {types[name]} -> {now[name]}"
            told = _of_statistics(statistics.get(name) or {}, current.get(name) or {})
            if told:
                yield f"{what}: {', '.join(told)}"


def _of_statistics(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {_shown(before.get(name))} -> {_shown(after.get(name))}"
        for name in _STATISTICS
        if (name in before or name in after) and not _is_close(before.get(name), after.get(name))
    ]


def _of_metrics(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        if name not in before:
            yield f"metric {name} is new: {_shown(after[name])}"
        elif name not in after:
            yield f"metric {name} is gone; it was {_shown(before[name])}"
        elif not _is_close(before[name], after[name]):
            yield f"metric {name} {_shown(before[name])} -> {_shown(after[name])}"


def _of_figures(before: Entry, after: Entry) -> Iterator[str]:
    rows = [num_rows_of(o.description for o in entry.outputs) for entry in (before, after)]
    if rows[0] != rows[1]:
        yield f"rows {_shown(rows[0])} -> {_shown(rows[1])}"
    num_bytes = [num_bytes_of(entry) for entry in (before, after)]
    if num_bytes[0] != num_bytes[1]:
        yield f"size {size(num_bytes[0])} -> {size(num_bytes[1])}"
    slow, fast = max(before.seconds, after.seconds), min(before.seconds, after.seconds)
    if slow - fast > _LEAST_S and slow > _SLOWER * fast:
        yield f"seconds {duration(before.seconds)} -> {duration(after.seconds)}"
    peaks = before.peak_bytes, after.peak_bytes
    if peaks[0] and peaks[1] and max(peaks) > _SLOWER * min(peaks):  # type: ignore[type-var, operator]
        yield f"memory {size(peaks[0])} -> {size(peaks[1])}"


def _of_environments(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for library in dict.fromkeys((*old, *new)):
                if library in old and library in new and old[library] != new[library]:
                    yield f"{library} {old[library]} -> {new[library]}"
        else:
            yield f"{name} {old} -> {new}"


def _status(side: _Side) -> str:
    if side.execution is not None:
        return side.execution.status
    return "stored"


def _is_close(one: Any, other: Any) -> bool:
    """Equal, but for what is lost where sums are made in another order."""
    if isinstance(one, float) and isinstance(other, float):
        return (
            math.isclose(one, other, rel_tol=1e-12) or math.isnan(one) is math.isnan(other) is True
        )
    return bool(one == other)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) < 10**15 else number(value)
    return "none" if value is None else str(value)


def _head(word: str, run: Run) -> str:
    figures = f"{run.status}, {moment(run.row.started_at)}, {duration(run.seconds)}"
    return f"{word}  {run.id}  {figures}"
