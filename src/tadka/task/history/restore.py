"""A task made again from what is stored of its result: its class by path, its fields from JSON."""

import pkgutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.task.define.frozen import Input, ordered, path_of
from tadka.task.define.task import Task
from tadka.task.store.row import Entry
from tadka.task.store.store import Store


def restored(entry: Entry, store: Store) -> Task[Any]:
    """The task of a result, with all that it needs, as deep as memory reaches.

    Args:
        entry: The result.
        store: Where those are that it was made from.

    Raises:
        NotFound: A class, or the result of a task that it needs, is gone.
        DataError: A class changed so that the task would be another one.
    """
    entries: dict[str, Entry] = {entry.task_id: entry}

    def needs(one: Entry) -> list[Entry]:
        found = []
        for task_id in ids_in_fields(one.fields):
            if task_id not in entries:
                newest = store.index.newest(task_id)
                if newest is None:
                    raise NotFound(
                        f"{_name(one)} needs the task {task_id[:8]}, of which nothing is stored "
                        f"in {store.workspace!r} any more, so that it cannot be made again. Its "
                        "own result can be loaded."
                    )
                entries[task_id] = newest
            found.append(entries[task_id])
        return found

    tasks: dict[str, Task[Any]] = {}
    classes = _Classes()
    for one in ordered([entry], needs, lambda one: one.task_id):
        tasks[one.task_id] = _made(one, classes.of(one.task), tasks)
    return tasks[entry.task_id]


def class_of(path: str) -> type[Task[Any]]:
    """The class of tasks of a path; its module is imported.

    Args:
        path: Module and name: `"shop.features.Features"`.

    Raises:
        NotFound: There is no such class, or its module cannot be imported.
    """
    return _Classes().of(path)


def ids_in_fields(fields: Mapping[str, Any]) -> Iterator[str]:
    """Ids of the tasks that fields hold.

    Args:
        fields: As plain JSON.
    """
    for value in fields.values():
        yield from ids_in(value)


def ids_in(value: Any) -> Iterator[str]:
    """Ids of the tasks in the value of a field.

    Args:
        value: As plain JSON.
    """
    if isinstance(value, Mapping):
        if isinstance(value.get("task"), str) and value.keys() <= {"task", "part"}:
            yield value["task"]
        else:
            for item in value.values():
                yield from ids_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from ids_in(item)


def _made(entry: Entry, cls: type[Task[Any]], tasks: Mapping[str, Task[Any]]) -> Task[Any]:
    def task_of(task_id: str, part: str | None) -> Input[Any]:
        task = tasks[task_id]
        return task if part is None else task[part]

    gone = [name for name in entry.fields if name not in cls.fields]
    if gone:
        raise DataError(
            f"{_name(entry)} has a value for {gone[0]!r}, which is no field of {entry.task} any "
            "more, so that the task cannot be made again. Its result can be loaded."
        )
    try:
        task = cls(
            **{
                name: cls.fields[name].from_json(value, cls.__name__, task_of)
                for name, value in entry.fields.items()
            }
        )
    except ConfigError as error:
        raise DataError(
            f"{_name(entry)} cannot be made again: {error} Its result can be loaded."
        ) from error
    if task.id != entry.task_id:
        raise DataError(
            f"{_name(entry)} would be another task, {task!r}: fields of {entry.task} changed since "
            "it was made. Its result can be loaded."
        )
    return task


def _name(entry: Entry) -> str:
    return f"The task {entry.task.rpartition('.')[2]}#{entry.task_id[:8]}"


class _Classes:
    """Classes by path, each looked for once."""

    def __init__(self) -> None:
        self._known: dict[str, type[Task[Any]]] = {}

    def of(self, path: str) -> type[Task[Any]]:
        found = self._known.get(path)
        if found is None:
            found = self._known[path] = _imported(path) or _alive(path) or _absent(path)
        return found


def _imported(path: str) -> type[Task[Any]] | None:
    """The class in its module, which is imported unless it is the script that runs."""
    main = sys.modules.get("__main__")
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        is_main = main is not None and _path_in(main, parts[end:]) == path
        try:
            module = main if is_main else pkgutil.resolve_name(f"{name}:")
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            raise _broken(path, name, error) from error
        except Exception as error:  # the user's own code, of any kind
            raise _broken(path, name, error) from error
        found: Any = module
        for part in parts[end:]:
            found = getattr(found, part, None)
        if isinstance(found, type) and issubclass(found, Task) and path_of(found) == path:
            return found
    return None


def _path_in(module: Any, names: list[str]) -> str | None:
    found: Any = module
    for name in names:
        found = getattr(found, name, None)
    return path_of(found) if isinstance(found, type) and issubclass(found, Task) else None


def _alive(path: str) -> type[Task[Any]] | None:
    """A class that no module has under its name: of a function, or of a notebook's cell."""
    waiting: list[type[Task[Any]]] = [Task]
    found: list[type[Task[Any]]] = []
    while waiting:
        cls = waiting.pop()
        if path_of(cls) == path:
            found.append(cls)
        waiting.extend(reversed(cls.__subclasses__()))
    return found[-1] if found else None


def _absent(path: str) -> type[Task[Any]]:
    raise NotFound(
        f"There is no class {path!r} of tasks. It was renamed or moved, or its module is not on "
        "the path; import it first."
    )


def _broken(path: str, module: str, error: Exception) -> NotFound:
    return NotFound(
        f"Class {path!r} cannot be imported: {module!r} raises {type(error).__name__}: {error}."
    )
