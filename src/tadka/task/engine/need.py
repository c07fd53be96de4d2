"""Tasks that a body asked for while it ran, written down with its result and read back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tadka.core.error import TadkaError
from tadka.core.extra import require
from tadka.task.define.frozen import Input, ordered, path_of
from tadka.task.define.task import Part, Task, needs_of

NEEDS = "needs"
"""Their name among the parts of an entry; they are no part of its key."""


def recorded(calls: Iterable[Sequence[Task[Any]]], contents: Mapping[str, str]) -> dict[str, Any]:
    """Tasks, with all that they need, as JSON.

    Args:
        calls: What was asked for, one call after the other.
        contents: What each of them was, by id.
    """
    calls = list(calls)
    needs = [task for call in calls for task in call]
    rows = [
        {
            "id": task.id,
            "task": path_of(type(task)),
            "fields": {n: f.to_json(task.__dict__[n]) for n, f in task.fields.items()},
        }
        for task in ordered(needs, needs_of, lambda task: task.id)
    ]
    return {
        "tasks": rows,
        "contents": {task.id: contents[task.id] for task in needs},
        "calls": [[task.id for task in call] for call in calls],
    }


def restored(found: Mapping[str, Any]) -> dict[str, tuple[Task[Any], str]] | None:
    """The tasks that `recorded` wrote, by id, each with what it was.

    Args:
        found: As JSON.

    Returns:
        None where one cannot be made any more: its class is gone, or has other fields.
    """
    tasks: dict[str, Task[Any]] = {}

    def task_of(id_: str, part: str | None) -> Input[Any]:
        return tasks[id_] if part is None else Part(tasks[id_], part)

    known = {path_of(cls): cls for cls in _subclasses(Task)}
    for row in found["tasks"]:
        cls = known.get(row["task"]) or _imported(row["task"])
        if cls is None:
            return None
        try:
            values = {
                name: cls.fields[name].from_json(value, cls.__name__, task_of)
                for name, value in row["fields"].items()
            }
            task = cls(**values)
        except (TadkaError, KeyError):
            return None
        if task.id != row["id"]:
            return None
        tasks[task.id] = task
    return {id_: (tasks[id_], content) for id_, content in found["contents"].items()}


def restored_calls(found: Mapping[str, Any]) -> list[list[tuple[Task[Any], str]]] | None:
    """As `restored`, what was asked for by one call after the other.

    Args:
        found: As JSON; what an early tadka wrote tells no calls apart.
    """
    needs = restored(found)
    if needs is None:
        return None
    return [[needs[id_] for id_ in call] for call in found.get("calls", [list(needs)])]


def _subclasses(cls: type[Task[Any]]) -> Iterator[type[Task[Any]]]:
    """All that are known to this process; of a name that was defined again the last one is last."""
    for one in cls.__subclasses__():
        yield one
        yield from _subclasses(one)


def _imported(path: str) -> type[Task[Any]] | None:
    names = path.split(".")
    for length in range(len(names) - 1, 0, -1):
        try:
            value: Any = require(".".join(names[:length]))
        except ImportError:
            continue
        for name in names[length:]:
            value = getattr(value, name, None)
        return value if isinstance(value, type) and issubclass(value, Task) else None
    return None
