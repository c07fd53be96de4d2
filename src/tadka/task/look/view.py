"""A task as people look at it: its name, how it stands, and its figures."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from tadka.task.define.task import Task
from tadka.task.graph import Graph, Node
from tadka.task.look.word import plain
from tadka.task.store.row import Entry, Execution

STATUSES = {
    "failed": "failed",
    "runs": "to run",
    "waits": "waiting",
    "other code": "other code",
    "stored": "stored",
}
"""Words by status, what needs a look first."""

MEANINGS = {
    "failed": "the last run of it failed",
    "runs": "runs in the next build",
    "waits": "runs if what it needs turns out different",
    "other code": "stored; its code changed since",
    "stored": "the result is there",
}

_LONGEST_VALUE = 40  # letters of a parameter in a name
_DEEPEST_LABEL = 4  # tasks that are looked through for a label
_MOST_PARENTS = 8  # of a task that may give its label
_NUM_LOOKED_AT = 300  # tasks of a class, for what tells them apart


class StepLike(Protocol):
    """How a task stands, as `tadka.task.plan.Step` says it."""

    @property
    def status(self) -> str:
        """One of `STATUSES`, but for "failed"."""

    @property
    def entry(self) -> Entry | None:
        """Its result, or the newest of the same id."""

    @property
    def reasons(self) -> Sequence[str]:
        """Why it is to run."""


class PlanLike(Protocol):
    """What a build would do, as `tadka.task.plan.Plan` says it."""

    @property
    def graph(self) -> Graph:
        """The tasks."""

    @property
    def steps(self) -> Mapping[str, StepLike]:
        """How each stands, by its id."""


@dataclass(frozen=True, eq=False)
class View:
    """A task with all that a page says of it.

    Args:
        node: Of the graph.
        status: One of `STATUSES`.
        reasons: Why it is to run.
        entry: Its result, or the newest result of a task of the same id.
        execution: What the last run that met it did with it.
        name: Of the class; with the module where two classes share a name.
        label: What tells it from others of its class: parameters such as `day=2026-01-31`, or the
            beginning of its id.
    """

    node: Node
    status: str
    reasons: Sequence[str]
    entry: Entry | None
    execution: Execution | None
    name: str
    label: str

    @property
    def task(self) -> Task[Any]:
        """It."""
        return self.node.task

    @property
    def anchor(self) -> str:
        """The name of its card in a page."""
        return f"t-{self.node.id[:12]}"

    @property
    def is_stored(self) -> bool:
        """Whether its result is there, and `entry` is of it."""
        return self.entry is not None and self.status in {"stored", "other code"}

    @property
    def seconds(self) -> float | None:
        """That it took; of the failed run where it failed."""
        if self.status == "failed" and self.execution is not None:
            return self.execution.seconds
        return None if self.entry is None else self.entry.seconds

    @property
    def num_bytes(self) -> int | None:
        """Of all its outputs."""
        if self.entry is None or self.status == "failed":
            return None
        return sum(output.num_bytes for output in self.entry.outputs)

    @property
    def num_rows(self) -> int | None:
        """Of all its outputs that have rows."""
        if self.entry is None or self.status == "failed":
            return None
        counts = [output.description.get("num_rows") for output in self.entry.outputs]
        known = [number for number in counts if isinstance(number, int)]
        return sum(known) if known else None

    @property
    def peak_bytes(self) -> int | None:
        """Of memory; of the failed run where it failed."""
        row = self.execution if self.status == "failed" else self.entry
        return None if row is None else row.peak_bytes


def views_of(plan: PlanLike, executions: Mapping[str, Execution] | None = None) -> list[View]:
    """The tasks of a plan, each after what it needs.

    Args:
        plan: What is stored and what is to run.
        executions: What the last run that met a task did with it, by the task's id.
    """
    executions = executions or {}
    names = names_of({type(node.task) for node in plan.graph})
    labels = _Labels(plan.graph)
    found = []
    for node in plan.graph:
        step, execution = plan.steps[node.id], executions.get(node.id)
        status = step.status if step.status in STATUSES else "runs"
        if execution is not None and execution.status == "failed" and status in {"runs", "waits"}:
            status = "failed"
        task = node.task
        found.append(
            View(
                node=node,
                status=status,
                reasons=step.reasons,
                entry=step.entry,
                execution=execution,
                name=names[type(task)],
                label=labels.of(node),
            )
        )
    return found


def names_of(classes: Iterable[type]) -> dict[type, str]:
    """A short name for each class: its own, with as much of the module as tells it from others.

    Args:
        classes: Of tasks.
    """
    paths = {cls: f"{cls.__module__}.{cls.__qualname__}".split(".") for cls in classes}
    names: dict[type, str] = {}
    by_name: dict[str, list[type]] = {}
    for cls in paths:
        by_name.setdefault(cls.__name__, []).append(cls)
    for same in by_name.values():
        length = 1
        longest = max(len(paths[cls]) for cls in same)
        while length < longest and len({tuple(paths[c][-length:]) for c in same}) < len(same):
            length += 1
        names.update({cls: plain(".".join(paths[cls][-length:])) for cls in same})
    return names


def parameters_of(task: Task[Any], names: Iterable[str] | None = None) -> str:
    """Parameters as `day=2026-01-31, window=7`, without the tasks among them.

    Args:
        task: Any.
        names: Of those that are wanted; all where it is None.
    """
    cls = type(task)
    chosen = cls.fields if names is None else names
    texts = []
    for name in chosen:
        if cls.fields[name].holds_tasks:
            continue
        text = value_text(getattr(task, name, None))
        text = text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
        texts.append(f"{plain(name)}={text}")
    return ", ".join(texts)


def value_text(value: Any) -> str:
    """A parameter as people write it: dates as ISO, Enum by name, text without quotes.

    Args:
        value: What a field holds.
    """
    if isinstance(value, Enum):
        return plain(value.name)
    if isinstance(value, str):
        return plain(value) if value else "''"
    if hasattr(value, "isoformat"):
        return plain(value.isoformat())
    if isinstance(value, tuple):
        return f"[{', '.join(map(value_text, value))}]"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(value_text, value)))}}}"
    if isinstance(value, dict):
        pairs = (f"{value_text(key)}: {value_text(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    return plain(value)


class _Labels:
    """What tells the tasks of a class apart: the parameters in which they differ."""

    def __init__(self, graph: Iterable[Node]) -> None:
        seen: dict[type, dict[str, set[str]]] = {}
        self._numbers = numbers = Counter[type]()
        for node in graph:
            cls = type(node.task)
            numbers[cls] += 1
            if numbers[cls] > _NUM_LOOKED_AT:
                continue
            values = seen.setdefault(cls, {})
            for name, field in cls.fields.items():
                if not field.holds_tasks:
                    values.setdefault(name, set()).add(repr(getattr(node.task, name, None)))
        self._names = {
            cls: [name for name, found in values.items() if len(found) > 1]
            for cls, values in seen.items()
        }

    def of(self, node: Node) -> str:
        """Its parameters, else those of the one task that it needs of a class with several."""
        if self._numbers[type(node.task)] == 1:
            return parameters_of(node.task)
        below = node
        for _ in range(_DEEPEST_LABEL):
            label = parameters_of(below.task, self._names[type(below.task)])
            if label:
                return label
            parents = below.parents[:_MOST_PARENTS]
            several = [parent for parent in parents if self._numbers[type(parent.task)] > 1]
            if len(several) != 1:
                break
            below = several[0]
        return f"#{node.id[:8]}"
