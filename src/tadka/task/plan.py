"""What a build would do, and why: each task compared with the results that are stored."""

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadka.task.define.explanation import Explanation, Line, Status, table_of
from tadka.task.define.frozen import Input, path_of
from tadka.task.define.task import Task, arguments_of, inputs_of, whole_of
from tadka.task.engine.need import NEEDS, restored
from tadka.task.force import Forced, forced
from tadka.task.graph import Graph, Node
from tadka.task.key import KeyParts, differences, field_differences, parts_of
from tadka.task.look.table import shown_fields
from tadka.task.look.word import duration, many, moment, size
from tadka.task.lookup import Codes, Found, OnCodeChange, find
from tadka.task.settings import current, open_store
from tadka.task.store.row import Entry
from tadka.task.store.store import Store

_MOST_LINES = 20
_MOST_INPUTS = 3  # that are told one by one
_MOST_REASONS = 6  # of one task, in a list of tasks
_MOST_COMPARED = 200
"""Tasks of a class that was never built with their parameters which are compared with another."""
_NUM_RECENT = 50
"""Newest results of a class, among which the one with the nearest parameters is looked for."""

STATUSES: tuple[Status, ...] = ("runs", "waits", "other code", "stored")


@dataclass(frozen=True, slots=True)
class Step:
    """One task of a plan.

    Args:
        node: It, in the graph.
        status: `"stored"`; `"runs"`; `"waits"`: an input is made again, and only its content will
            tell; `"other code"`: served although its code changed.
        entry: The result that is served, else the newest one of the same id.
        reasons: Why it runs or waits, one sentence each.
        key: Of the result that is asked for; None where inputs are made first.
    """

    node: Node
    status: Status
    entry: Entry | None
    reasons: tuple[str, ...]
    key: str | None = None

    @property
    def line(self) -> Line:
        """As text."""
        reasons = self.reasons
        if len(reasons) > _MOST_REASONS:
            rest = f"and {len(reasons) - _MOST_REASONS + 1} more"
            reasons = (*reasons[: _MOST_REASONS - 1], rest)
        name = f"{_fitted(name_of(self.node.task))}  #{self.node.id[:8]}"
        return Line(name, self.status, reasons)


class Plan:
    """What a build would do.

    Args:
        graph: The tasks.
        steps: How each stands, by its id.
    """

    def __init__(self, graph: Graph, steps: Mapping[str, Step]) -> None:
        self.graph = graph
        self.steps = steps
        found = Counter(step.status for step in steps.values())
        self.counts: Mapping[Status, int] = {name: found[name] for name in STATUSES}

    @property
    def num_to_run(self) -> int:
        """Tasks that run for certain; those that wait come to them."""
        return self.counts["runs"]

    def __getitem__(self, task: Task[Any] | str) -> Step:
        """How a task, or that of an id, stands.

        Raises:
            KeyError: It is not in the plan.
        """
        return self.steps[task if isinstance(task, str) else task.id]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps.values())

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        return f"Plan({', '.join(f'{number} {name}' for name, number in self.counts.items())})"

    def __str__(self) -> str:
        lines = [self._summary()]
        by_class: dict[str, Counter[Status]] = {}
        for step in self:
            by_class.setdefault(type(step.node.task).__name__, Counter())[step.status] += 1
        if len(by_class) > 1:
            lines += ["", *self._by_class(by_class)]
        changing = [step for name in STATUSES[:3] for step in self if step.status == name]
        if changing:
            lines += ["", *table_of([step.line for step in changing[:_MOST_LINES]])]
        if len(changing) > _MOST_LINES:
            lines.append(f"  and {many(len(changing) - _MOST_LINES, 'task')} more")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, all tasks in the order in which they would run."""
        return {
            "counts": dict(self.counts),
            "tasks": [
                {
                    "task": path_of(type(step.node.task)),
                    "id": step.node.id,
                    "name": name_of(step.node.task),
                    "status": step.status,
                    "reasons": list(step.reasons),
                    "key": step.key,
                    "needs": [parent.id for parent in step.node.parents],
                }
                for step in self
            ],
        }

    def explanation(self, task: Task[Any] | str) -> Explanation:
        """Why a task of the plan runs, or does not.

        Args:
            task: It, or its id.

        Raises:
            KeyError: It is not in the plan.
        """
        step = self[task]
        above = {node.id for node in self.graph.above([step.node])} - {step.node.id}
        found = Counter(self.steps[id_].status for id_ in above)
        changing = [s for s in self if s.node.id in above and s.status != "stored"]
        changing.sort(key=lambda s: STATUSES.index(s.status))
        return Explanation(
            task=name_of(step.node.task),
            id=step.node.id,
            status=step.status,
            reasons=step.reasons,
            result=_told(step),
            counts={name: found[name] for name in STATUSES if found[name]},
            upstream=[s.line for s in changing[:_MOST_LINES]],
            key=step.key,
        )

    def _summary(self) -> str:
        counts, total = self.counts, len(self)
        if counts["stored"] == total:
            return f"Nothing to run: {many(total, 'task')}, all stored."
        told = [f"{counts['runs']:,} of {many(total, 'task')} to run"]
        if counts["waits"]:
            told.append(f"{counts['waits']:,} if what they need turns out different")
        if counts["other code"]:
            told.append(f"{counts['other code']:,} served although their code changed")
        return ", ".join(told) + (f", {counts['stored']:,} stored." if counts["stored"] else ".")

    def _by_class(self, by_class: Mapping[str, Counter[Status]]) -> list[str]:
        names = [name for name in STATUSES if self.counts[name]]
        busy = sorted(by_class, key=lambda name: by_class[name]["stored"] == by_class[name].total())
        wide = max(len(name) for name in busy[:_MOST_LINES])
        lines = [f"  {'':{wide}}  " + "  ".join(f"{name:>10}" for name in ("tasks", *names))]
        for class_name in busy[:_MOST_LINES]:
            found = by_class[class_name]
            cells = (found.total(), *(found[name] for name in names))
            lines.append(f"  {class_name:{wide}}  " + "  ".join(f"{n:>10,}" for n in cells))
        if len(busy) > _MOST_LINES:
            lines.append(f"  and {many(len(busy) - _MOST_LINES, 'class', 'classes')} more")
        return lines


def plan(
    tasks: Input[Any] | Iterable[Input[Any]],
    *,
    workspace: str | Path | Store | None = None,
    store: Store | None = None,
    force: Forced | Iterable[Forced] = (),
    on_code_change: OnCodeChange | None = None,
) -> Plan:
    """What a build of tasks would do now. Nothing runs and nothing is written.

    A task whose parameters were never built counts as one that runs, although equal content of an
    input may spare it in the end.

    Args:
        tasks: One or several; of parts of tasks, the tasks.
        workspace: As in `build`.
        store: In the place of a workspace.
        force: As in `build`.
        on_code_change: As in `build`.

    Raises:
        ConfigError: Tasks need each other in a circle, or nothing is what `force` names.
        DataError: The index cannot be read.
    """
    given = [tasks] if isinstance(tasks, Input) else list(tasks)
    graph = Graph([whole_of(item) for item in given])
    mode = on_code_change or current().on_code_change or "rerun"
    nodes = forced(graph, force)
    with opened(workspace if store is None else store) as used, _no_collection():
        planner = _Planner(graph, used if used.exists else None, mode, nodes)
        return Plan(graph, {node.id: planner.step(node) for node in graph})


def explain(
    task: Task[Any],
    *,
    workspace: str | Path | Store | None = None,
    force: Forced | Iterable[Forced] = (),
    on_code_change: OnCodeChange | None = None,
) -> Explanation:
    """Whether a task runs if it is built now, and what changed since its last result.

    Args:
        task: It.
        workspace: As in `build`.
        force: As in `build`.
        on_code_change: As in `build`.

    Raises:
        DataError: The index cannot be read.
    """
    found = plan(task, workspace=workspace, force=force, on_code_change=on_code_change)
    return found.explanation(task)


@contextmanager
def opened(workspace: str | Path | Store | None) -> Iterator[Store]:
    """A store for the length of a block; one that was given stays open.

    Args:
        workspace: As in `open_store`.
    """
    store = open_store(workspace)
    try:
        yield store
    finally:
        if store is not workspace:
            store.close()


@contextmanager
def _no_collection() -> Iterator[None]:
    """A block without garbage collection, which would walk through all that is found, repeatedly.

    That takes as long as finding it, and frees nothing.
    """
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


class _FingerprintError(Exception):
    """What a task reads that no task made cannot be looked at."""


class _Planner:
    """Looks at the tasks of a graph, each after what it needs.

    Args:
        graph: The tasks.
        store: Where results are; None where nothing is stored yet.
        on_code_change: As in `lookup`.
        forced: Tasks that run in any case.
    """

    def __init__(
        self, graph: Graph, store: Store | None, on_code_change: OnCodeChange, forced: set[Node]
    ) -> None:
        self._graph = graph
        self._store = store
        self._on_code_change = on_code_change
        self._forced = forced
        self._codes = Codes()
        self._steps: dict[str, Step] = {}
        self._recent: dict[str, list[Entry]] = {}
        self._num_compared: Counter[str] = Counter()
        if store is not None and next(store.index.entries(limit=1), None) is None:
            self._store = None

    def step(self, node: Node) -> Step:
        """How a task stands.

        Args:
            node: All that it needs was looked at before.
        """
        try:
            found = self._step(node, self._store)
        except _FingerprintError as error:
            assert self._store is not None
            found = Step(node, "runs", self._store.index.newest(node.id), (str(error),))
        self._steps[node.id] = found
        return found

    def _step(self, node: Node, store: Store | None) -> Step:
        if store is None:
            reason = "forced" if node in self._forced else "never built"
            return Step(node, "runs", None, (reason,))
        contents, unknown = self._contents(node)
        if unknown:
            newest = store.index.newest(node.id)
            return Step(node, *self._of_unknown(node, newest, contents, unknown))
        parts = self._parts_of(node.task, contents)
        found = find(node.task, parts, store, self._on_code_change)
        if node in self._forced:
            entry = found.entry or store.index.newest(node.id)
            return Step(node, "runs", entry, ("forced",), found.key)
        if found.entry is not None and not found.is_other_code:
            status, reasons = self._of_needs(node.task, found.entry)
            return Step(node, status, found.entry, reasons, found.key)
        newest = found.entry or store.index.newest(node.id)
        reasons = self._of_known(node, found, newest, store)
        return Step(
            node, "runs" if found.entry is None else "other code", newest, reasons, found.key
        )

    def _parts_of(self, task: Task[Any], contents: Mapping[str, str]) -> KeyParts:
        code = self._codes.of(type(task))
        try:
            return parts_of(task, code, contents)
        except Exception as error:
            raise _FingerprintError(
                f"its fingerprint fails: {type(error).__name__}: {error}"
            ) from error

    def _contents(self, node: Node) -> tuple[dict[str, str], list[str]]:
        """Content of each input by place, and the places of those that will be made."""
        contents, unknown = {}, []
        fields = type(node.task).fields
        for place, item in inputs_of(node.task):
            step = self._steps[whole_of(item).id]
            if step.status in ("stored", "other code"):
                assert step.entry is not None
                contents[place] = self._codes.content(item, step.entry.outputs)
            elif item.is_significant and fields[place.partition("[")[0]].is_significant:
                unknown.append(place)
        return contents, unknown

    def _of_needs(self, task: Task[Any], entry: Entry) -> tuple[Status, tuple[str, ...]]:
        """How a stored result stands by the tasks that its body asked for while it ran."""
        if not any(argument.is_run for argument in arguments_of(type(task))):
            return "stored", ()
        written = entry.parts.get(NEEDS)
        if not written:
            return "stored", ()
        needs = restored(written)
        if needs is None:
            return "runs", ("a task that it asked for cannot be made any more",)
        changed, waiting = [], []
        for node in Graph([needed for needed, _ in needs.values()]):
            if node.id not in self._steps:
                self.step(node)
        for needed, content in needs.values():
            step = self._steps[needed.id]
            if step.status not in ("stored", "other code") or step.entry is None:
                waiting.append(f"{name_of(needed)}, which it asked for, is made before")
            elif self._codes.content(needed, step.entry.outputs) != content:
                changed.append(f"{name_of(needed)}, which it asked for, changed")
        return "runs" if changed else "waits" if waiting else "stored", (*changed, *waiting)

    def _of_known(
        self, node: Node, found: Found, newest: Entry | None, store: Store
    ) -> tuple[str, ...]:
        if store.index.find(found.key) is not None:
            return ("its output is gone, or damaged",)
        if newest is None:
            return self._of_new(node)
        before = _parts(newest)
        if before is None:
            return (f"the result of {moment(newest.created_at)} was not made by tadka",)
        return tuple(differences(before, found.parts))

    def _of_unknown(
        self, node: Node, newest: Entry | None, contents: Mapping[str, str], unknown: Sequence[str]
    ) -> tuple[Status, Entry | None, tuple[str, ...]]:
        is_forced = node in self._forced
        waiting = tuple(_waiting(unknown))
        if newest is None:
            return "runs", None, ("forced",) if is_forced else self._of_new(node)
        if is_forced:
            return "runs", newest, ("forced",)
        before = _parts(newest)
        if before is None:
            return "runs", newest, waiting
        as_before = {**contents, **{place: before.inputs.get(place, "") for place in unknown}}
        changes = tuple(differences(before, self._parts_of(node.task, as_before)))
        is_certain = any(not change.startswith("input") for change in changes)
        return "runs" if is_certain else "waits", newest, (*changes, *waiting)

    def _of_new(self, node: Node) -> tuple[str, ...]:
        """Where nothing of the id is stored: how its parameters differ from stored ones."""
        assert self._store is not None
        cls = type(node.task)
        self._num_compared[cls._path] += 1
        if self._num_compared[cls._path] > _MOST_COMPARED:
            return ("never built with these parameters",)
        recent = self._recent.get(cls._path)
        if recent is None:
            entries = self._store.index.entries(task=cls._path, limit=_NUM_RECENT)
            recent = self._recent[cls._path] = list(entries)
        if not recent:
            return ("never built",)
        now = plain_fields(node.task)
        told = [field_differences({n: e.fields.get(n) for n in now}, now) for e in recent]
        changes = min(told, key=len)
        if not changes:
            return ("never built with these inputs",)
        return ("never built with these parameters", *(f"nearest: {change}" for change in changes))


def name_of(task: Task[Any]) -> str:
    """A task in a line, with its fields as they are written in files and on the command line.

    Args:
        task: Any.
    """
    fields = {name: field.to_json(task.__dict__[name]) for name, field in task.fields.items()}
    return f"{type(task).__name__}({shown_fields(fields)})"


def plain_fields(task: Task[Any]) -> dict[str, Any]:
    """The significant fields of a task that hold no tasks, as plain JSON.

    Args:
        task: Any.
    """
    return {
        field.name: field.to_json(getattr(task, field.name))
        for field in type(task).fields.values()
        if field.is_significant and not field.holds_tasks
    }


def _parts(entry: Entry) -> KeyParts | None:
    """What a result was made from; None of one that was taken over from elsewhere."""
    parts = dict(entry.parts)  # of the index, which reads them now
    return KeyParts.from_json(parts) if "values" in parts else None


def _waiting(places: Sequence[str]) -> Iterator[str]:
    by_field: dict[str, list[str]] = {}
    for place in places:
        by_field.setdefault(place.partition("[")[0], []).append(place)
    for name, found in by_field.items():
        if len(found) <= _MOST_INPUTS:
            yield from (f"input {place} is made before" for place in found)
        else:
            yield f"inputs {name}: {len(found):,} are made before"


def _told(step: Step) -> str:
    entry = step.entry
    if entry is None:
        return ""
    rows = [output.description.get("num_rows") for output in entry.outputs]
    known = [number for number in rows if isinstance(number, int)]
    figures = [
        duration(entry.seconds),
        *([many(sum(known), "row")] if known else []),
        size(sum(output.num_bytes for output in entry.outputs)),
    ]
    of = "made" if step.status in ("stored", "other code") else "compared with the result made"
    approved = ", approved for this code" if entry.approved_from else ""
    run = f" by run {entry.run}" if entry.run else ""
    return f"{of} {moment(entry.created_at)}{run} ({', '.join(figures)}{approved})"


def _fitted(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
