"""Names of results for people: what a task's class says, or class and beginning of the key."""

import posixpath
import string
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from tadka.core.error import ConfigError
from tadka.task.define.declaration import closest
from tadka.task.define.frozen import Input
from tadka.task.define.task import Task
from tadka.task.store.row import Output
from tadka.task.store.store import RESERVED

_LENGTH = 8
"""Of the part of a key or id in a name."""


def names_of(task: Task[Any], key: str, outputs: Iterable[Output]) -> list[tuple[str, Output]]:
    """The name of each output, below the workspace.

    Args:
        task: It.
        key: Of the result.
        outputs: Of it.
    """
    cls = type(task)
    found = []
    for output in outputs:
        path = cls.outs[output.name].path
        if path is not None:
            found.append((filled(task, output.name), output))
        else:
            name = f"-{output.name}" if output.name else ""
            found.append((f"{cls.__name__}/{key[:_LENGTH]}{name}{output.suffix}", output))
    return found


def has_path(cls: type[Task[Any]]) -> bool:
    """Whether a class names the file of an output.

    Args:
        cls: A class of tasks.
    """
    return any(out.path is not None for out in cls.outs.values())


def filled(task: Task[Any], output: str) -> str:
    """The path that a task's class gives an output, its fields put in.

    Args:
        task: It.
        output: Its name; one with a path.

    Raises:
        ConfigError: The path has a field in braces that the class has not, or a value of one leads
            out of the workspace.
    """
    cls = type(task)
    template = cls.outs[output].path
    assert template is not None
    where = f"{cls.__name__}.out" + (f"[{output!r}]" if output else "")
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        values = {name: _text(getattr(task, name)) for name in cls.fields if name in names}
        path = template.format(**values, id=task.id[:_LENGTH])
    except KeyError as error:
        hint = closest(str(error.args[0]), cls.fields, "Its fields are ")
        raise ConfigError(
            f"{where} has the path {template!r}, and {cls.__name__} has no field "
            f"{error.args[0]!r}.{hint}"
        ) from None
    except (ValueError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"{where} has the path {template!r}, which cannot be filled in: {error}. Fields stand "
            "in braces by their names."
        ) from None
    path = posixpath.normpath(path)
    if path.startswith(("/", "../")) or path in ("..", ".") or "\0" in path:
        raise ConfigError(
            f"{where} of {task!r} has the path {path!r}, which leads out of the workspace. Choose "
            "another value, or another path."
        )
    if path.split("/")[0] in RESERVED:
        raise ConfigError(
            f"{where} of {task!r} has the path {path!r}, and the workspace needs "
            f"{path.split('/')[0]!r} for itself. Choose another path."
        )
    return path


def refuse_doubles(
    tasks: Iterable[Task[Any]], taken: Mapping[str, tuple[Task[Any], str]]
) -> dict[str, tuple[Task[Any], str]]:
    """Refuses tasks whose classes give them one path.

    Args:
        tasks: That a build takes in.
        taken: Paths of those that it has, each with its task and output.

    Returns:
        Paths of the new ones, in the same way.

    Raises:
        ConfigError: Two have one, or a path cannot be filled in.
    """
    owners: dict[str, tuple[Task[Any], str]] = {}
    known: dict[type, list[str]] = {}
    for task in tasks:
        for name, path in _paths(task, known):
            other, other_name = taken.get(path) or owners.setdefault(path, (task, name))
            if other is not task:
                raise ConfigError(
                    f"{task!r} and {other!r} would both write {path!r}. Put a field that differs "
                    "in the path of out, or leave the path out."
                )
            if name != other_name:
                raise ConfigError(
                    f"Outputs {other_name!r} and {name!r} of {task!r} have one path, {path!r}. "
                    "Give each its own."
                )
    return owners


def _paths(task: Task[Any], known: dict[type, list[str]]) -> Iterator[tuple[str, str]]:
    cls = type(task)
    names = known.get(cls)
    if names is None:
        names = known[cls] = [name for name, out in cls.outs.items() if out.path is not None]
    for name in names:
        yield name, filled(task, name)


def _text(value: Any) -> Any:
    """A value of a field for a path; formats such as `{day:%Y}` work as they do elsewhere."""
    if isinstance(value, Input):
        return value.id[:_LENGTH]
    if isinstance(value, Enum):
        return value.name
    return value
