"""A task on its way to another process: without the depths of what it was made from."""

from collections.abc import Iterator
from typing import Any, Never, TypeVar

from tadka.core.error import ConfigError
from tadka.task.define.frozen import FrozenDict, Input, gather, ordered, replaced
from tadka.task.define.task import Part, Task, needs_of, part_of, whole_of

K = TypeVar("K", bound=Task[Any])

_MOST_PLACES = 1000
"""Of tasks in fields of one level; where layer upon layer holds all of the one above, it is cut."""


class TooFar(ConfigError, AttributeError):
    """Something was asked of a task that stands too far above the one that runs."""


class StandIn(Task[Any]):
    """What a field holds in the place of a task, or of a list or dict of tasks, that was cut off.

    Args:
        what: It, for people.
        known_id: Of a task; empty for many.
    """

    what: str
    known_id: str = ""

    def run(self) -> Never:
        self._refuse()

    @property
    def id(self) -> str:
        """The id of the task that it stands for."""
        return self.__dict__["known_id"]  # type: ignore[no-any-return]

    def _refuse(self, *_: object) -> Never:
        raise TooFar(_message(self.__dict__["what"]))

    __iter__ = __len__ = __getitem__ = __contains__ = _refuse  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return True  # as what it stands for, which is not empty

    def __getattr__(self, name: str) -> Never:
        if name.startswith("_"):
            raise AttributeError(name)
        raise TooFar(_message(f"{self.__dict__['what']}.{name}"))

    def __repr__(self) -> str:
        return str(self.__dict__["what"])


def cut(task: K, levels: int = 2) -> K:
    """The same task, with stand-ins for what is far above it.

    Args:
        task: Any.
        levels: Up to which tasks are kept: 1 keeps what a field holds, 2 also what that was made
            from, if it is not very much.

    Returns:
        A task of the same id, or the task itself where it has no more levels.
    """
    last = _last(task, levels)
    if not last:
        return task
    made: dict[int, Task[Any]] = {}

    def before(one: Task[Any]) -> list[Task[Any]]:
        return [] if id(one) in last else needs_of(one)

    def change(item: Input[Any]) -> Input[Any]:
        new = made[id(whole_of(item))]
        return part_of(new, item.output) if isinstance(item, Part) else new

    root: Task[Any] = task
    for one in ordered([root], before, id):
        new = made[id(one)] = type(one).__new__(type(one))
        new.__dict__.update(one.__dict__)
        is_last = id(one) in last
        for name in _fields_with_tasks(one):
            value = one.__dict__[name]
            new.__dict__[name] = _stand_in(value) if is_last else replaced(value, change)
        if is_last:
            new.__dict__.update(_id=one.id, _is_cut=True)
    return made[id(task)]  # type: ignore[return-value]


def _last(task: Task[Any], levels: int) -> set[int]:
    """The tasks of the last level that is kept, as far as they need any."""
    known = {id(task)}
    layer = [task]
    for level in range(levels):
        found: list[Task[Any]] = []
        for one in layer:
            found += needs_of(one)
            if level > 0 and len(found) > _MOST_PLACES:
                return {id(other) for other in layer if _needs_any(other)}
        new = {id(other): other for other in found if id(other) not in known}
        known |= new.keys()
        layer = list(new.values())
    return {id(other) for other in layer if _needs_any(other)}


def _needs_any(task: Task[Any]) -> bool:
    return not isinstance(task, StandIn) and any(map(_holds_any, _values_with_tasks(task)))


def _values_with_tasks(task: Task[Any]) -> Iterator[Any]:
    return (task.__dict__[name] for name in _fields_with_tasks(task))


def _holds_any(value: Any) -> bool:
    if isinstance(value, Input):
        return not isinstance(whole_of(value), StandIn)
    if isinstance(value, tuple | FrozenDict):
        return any(map(_holds_any, value if isinstance(value, tuple) else value.values()))
    return False


def _fields_with_tasks(task: Task[Any]) -> list[str]:
    return [name for name, field in task.fields.items() if field.holds_tasks]


def _stand_in(value: Any) -> Any:
    """In the place of what a field holds."""
    if not _holds_any(value):
        return value
    new = StandIn.__new__(StandIn)  # without the settings of a project
    if isinstance(value, Input):
        whole = whole_of(value)
        what = f"{type(whole).__name__}#{whole.id[:6]}"
        new.__dict__.update(what=what, known_id=whole.id)
        return part_of(new, value.output) if isinstance(value, Part) else new
    found: list[Input[Any]] = []
    gather(value, found)
    new.__dict__.update(what=f"[{len(found)} tasks]", known_id="")
    return new


def _message(what: str) -> str:
    return (
        f"{what} cannot be read here: it stands too far above the task that runs, and only its id "
        "was sent to this process. Give the running task a field for it."
    )
