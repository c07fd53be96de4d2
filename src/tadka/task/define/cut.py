"""A task on its way to another process: without the depths of what it was made from."""

from collections.abc import Iterator, Mapping
from typing import Any, Never, TypeVar

from tadka.core.error import ConfigError
from tadka.task.define.field import param
from tadka.task.define.frozen import Input, ordered, path_of, replaced
from tadka.task.define.task import Part, Task, needs_of, part_of, whole_of

K = TypeVar("K", bound=Task[Any])


class TooFar(ConfigError, AttributeError):
    """A field was read of a task that stands too far above the one that runs."""


class StandIn(Task[Any]):
    """A task of which only the id is known.

    Args:
        path: Of its class: "shop.features.Features".
        known_id: Its id.
        counts: Whether it is significant.
    """

    path: str
    known_id: str = param(significant=False)
    counts: bool = param(significant=False)

    def run(self) -> Never:
        raise TooFar(_message(self, "run"))

    @property
    def id(self) -> str:
        """The id of the task that it stands for."""
        return self.__dict__["known_id"]  # type: ignore[no-any-return]

    @property
    def is_significant(self) -> bool:
        """Whether the task that it stands for is."""
        return self.__dict__["counts"]  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Never:
        if name.startswith("_"):
            raise AttributeError(name)
        raise TooFar(_message(self, name))

    def __repr__(self) -> str:
        return f"{self.__dict__['path'].rpartition('.')[2]}#{self.id[:6]}"


def cut(task: K, levels: int = 2) -> K:
    """The same task, with stand-ins for what is far above it.

    Args:
        task: Any.
        levels: Up to which tasks are kept: 1 keeps what a field holds, 2 also what that was made
            from.

    Returns:
        A task of the same id, or the task itself where it has no more levels.
    """
    depths = _depths(task, levels)
    if max(depths.values()) <= levels:
        return task
    made: dict[int, Task[Any]] = {}

    def near(one: Task[Any]) -> Iterator[Task[Any]]:
        return (other for other in needs_of(one) if depths[id(other)] <= levels)

    def change(item: Input[Any]) -> Input[Any]:
        whole = whole_of(item)
        new = made.get(id(whole))
        if new is None:
            new = made[id(whole)] = _stand_in(whole)
        return part_of(new, item.output) if isinstance(item, Part) else new

    root: Task[Any] = task
    for one in ordered([root], near, id):
        new = type(one).__new__(type(one))
        new.__dict__.update(one.__dict__)
        for name in _fields_with_tasks(one):
            new.__dict__[name] = replaced(one.__dict__[name], change)
        made[id(one)] = new
    return made[id(task)]  # type: ignore[return-value]


def _depths(task: Task[Any], levels: int) -> Mapping[int, int]:
    """The least number of steps to each task, up to one more than `levels`."""
    depths = {id(task): 0}
    layer = [task]
    for depth in range(1, levels + 2):
        found = []
        for one in layer:
            for other in needs_of(one):
                if id(other) not in depths:
                    depths[id(other)] = depth
                    found.append(other)
        layer = found
    return depths


def _fields_with_tasks(task: Task[Any]) -> list[str]:
    return [name for name, field in task.fields.items() if field.holds_tasks]


def _stand_in(task: Task[Any]) -> Task[Any]:
    if isinstance(task, StandIn):
        return task
    new = StandIn.__new__(StandIn)  # without the settings of a project
    new.__dict__.update(path=path_of(type(task)), known_id=task.id, counts=task.is_significant)
    return new


def _message(task: StandIn, name: str) -> str:
    return (
        f"{name!r} of {task!r} cannot be read here: the task stands too far above the one that "
        "runs, and only its id was sent to this process. Give the running task a field for it."
    )
