"""Tasks made again from what is stored of them: their classes by path, their fields from JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

from tadka.core.error import ConfigError, DataError, MissingExtra, NotFound
from tadka.core.extra import require
from tadka.task.define.frozen import Input, path_of
from tadka.task.define.task import Task


class Classes:
    """Classes of tasks by their paths, each looked for once."""

    def __init__(self) -> None:
        self._known = {path_of(cls): cls for cls in all_classes()}

    def of(self, path: str) -> type[Task[Any]]:
        """The class of a path; its module is imported unless this process has the class.

        Args:
            path: Module and name: `"shop.features.Features"`.

        Raises:
            NotFound: There is no such class, or its module cannot be imported.
        """
        found = self._known.get(path)
        if found is None:
            found = self._known[path] = _imported(path)
        return found


def all_classes(base: type[Task[Any]] = Task) -> Iterator[type[Task[Any]]]:
    """All classes of tasks that this process has.

    Args:
        base: Only those below this one.

    Returns:
        Of a path that was defined again, as in a notebook, the last one is last.
    """
    for cls in base.__subclasses__():
        yield cls
        yield from all_classes(cls)


def task_of(
    cls: type[Task[Any]], id_: str, fields: Mapping[str, Any], tasks: Mapping[str, Task[Any]]
) -> Task[Any]:
    """The task of stored fields.

    Args:
        cls: Its class.
        id_: What it was.
        fields: Values as plain JSON.
        tasks: Those that fields hold, by id.

    Raises:
        DataError: The class changed so that the task would be another one.
    """
    what, path = f"The task {cls.__name__}#{id_[:8]}", path_of(cls)

    def held(task_id: str, part: str | None) -> Input[Any]:
        task = tasks[task_id]
        return task if part is None else task[part]

    gone = [name for name in fields if name not in cls.fields]
    if gone:
        raise DataError(
            f"{what} has a value for {gone[0]!r}, which is no field of {path} any more, so that "
            "the task cannot be made again. Its result can be loaded."
        )
    try:
        task = cls(
            **{
                name: cls.fields[name].from_json(value, cls.__name__, held)
                for name, value in fields.items()
            }
        )
    except ConfigError as error:
        raise DataError(
            f"{what} cannot be made again: {error} Its result can be loaded."
        ) from error
    if task.id != id_:
        raise DataError(
            f"{what} would be another task, {task!r}: fields of {path} changed since it was made. "
            "Its result can be loaded."
        )
    return task


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


def _imported(path: str) -> type[Task[Any]]:
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:end])
        try:
            found: Any = require(name)
        except Exception as error:  # noqa: BLE001 - user code raises anything
            reason = error.__cause__ if isinstance(error, MissingExtra) else error
            absent = reason.name if isinstance(reason, ModuleNotFoundError) else None
            if absent and (name == absent or name.startswith(f"{absent}.")):
                continue
            raise NotFound(
                f"Class {path!r} cannot be imported: {name!r} raises {type(reason).__name__}: "
                f"{reason}."
            ) from reason
        for part in parts[end:]:
            found = getattr(found, part, None)
        if isinstance(found, type) and issubclass(found, Task) and path_of(found) == path:
            return found
    raise NotFound(
        f"There is no class {path!r} of tasks. It was renamed or moved, or its module is not on "
        "the path; import it first."
    )
