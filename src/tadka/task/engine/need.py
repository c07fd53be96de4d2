"""Tasks that a body asked for while it ran, written down with its result and read back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tadka.core.error import TadkaError
from tadka.task.define.frozen import ordered, path_of
from tadka.task.define.restore import Classes, task_of
from tadka.task.define.task import Task, needs_of

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
    classes = Classes()
    try:
        for row in found["tasks"]:
            cls = classes.of(row["task"])
            tasks[row["id"]] = task_of(cls, row["id"], row["fields"], tasks)
    except (TadkaError, KeyError):
        return None
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
