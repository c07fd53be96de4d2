"""Tasks that run although their results are stored: by themselves, by class, or below others."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tadka.core.error import ConfigError
from tadka.task.define.declaration import closest
from tadka.task.define.frozen import path_of
from tadka.task.define.task import Part, Task
from tadka.task.graph import Graph, Node

Forced = Any
"""A task; a class; its path or the end of that, `"features.Features"`; the beginning of a task's
id, alone or after its class: `"Features#1a2b3c"`; or `below` of any of these."""

_SHORTEST = 6  # letters of an id that stands alone


@dataclass(frozen=True)
class Below:
    """Everything that needs something, directly or not; `below` makes it."""

    selectors: tuple[Forced, ...]


def below(*selectors: Forced) -> Below:
    """Everything downstream of some tasks, without them: `build(..., force=below(Clicks))`.

    Args:
        selectors: Tasks, classes of tasks, or names of such.
    """
    return Below(selectors)


def selectors_of(force: Forced | Iterable[Forced]) -> tuple[Forced, ...]:
    """What a user gave as `force`, one or many.

    Args:
        force: As in `build`.
    """
    is_one = isinstance(force, str | type | Task | Part | Below)
    return (force,) if is_one else tuple(force)


def forced(graph: Graph, force: Forced | Iterable[Forced]) -> set[Node]:
    """The tasks of a graph that are forced to run.

    Args:
        graph: Of a build.
        force: One or several.

    Raises:
        ConfigError: No task of the graph is meant, or what is given is no such thing.
    """
    found: set[Node] = set()
    for one in selectors_of(force):
        if isinstance(one, Below):
            found |= graph.below(forced(graph, one.selectors))
        else:
            found |= _meant(graph, one)
    return found


def is_meant(task: Task[Any], selector: Forced) -> bool:
    """Whether a selector, which is not `below`, means a task.

    Args:
        task: Any.
        selector: As in `build`.
    """
    if isinstance(selector, Part):
        selector = selector.task
    if isinstance(selector, Task):
        return task.id == selector.id
    if isinstance(selector, type):
        return isinstance(task, selector)
    if not isinstance(selector, str) or not selector:
        return False
    name, _, id_ = selector.replace(":", ".").partition("#")
    if f".{path_of(type(task))}".endswith(f".{name}"):
        return task.id.startswith(id_)
    return not id_ and len(name) >= _SHORTEST and task.id.startswith(name)


def _meant(graph: Graph, selector: Forced) -> set[Node]:
    if not isinstance(selector, Task | Part | type | str):
        raise ConfigError(
            f"force has {selector!r}; it takes tasks, classes, names of classes as text, and "
            "below(...) of these."
        )
    found = {node for node in graph if is_meant(node.task, selector)}
    if not found:
        names = sorted({type(node.task).__name__ for node in graph})
        text = selector if isinstance(selector, str) else getattr(selector, "__name__", selector)
        hint = closest(str(text).partition("#")[0], names, "Its classes are ")
        raise ConfigError(f"force has {selector!r}, which is no task of the build.{hint}")
    return found
