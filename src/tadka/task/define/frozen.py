"""What fields hold: values that cannot change, and the bytes that are hashed for them.

The bytes of a value are records, each `<type> ":" <number of payload bytes> ":" <payload>`; a
container's payload is the records of its parts. No value of one type can imitate another. Changing
a record changes every id and every key: add a type, never alter one.
"""

import datetime as dt
import functools
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, Generic, Never, TypeVar

from tadka.core.error import ConfigError

T_co = TypeVar("T_co", covariant=True)
N = TypeVar("N")


class Input(Generic[T_co]):
    """What stands in a field for a result of type T: a task, or one output of a task."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """What it is, as hexadecimal digits."""
        raise NotImplementedError

    @property
    def is_significant(self) -> bool:
        """Whether what takes it in is another task because of it."""
        raise NotImplementedError

    def as_json(self) -> dict[str, str]:
        """What stands for it in JSON."""
        return {"task": self.id}


class FrozenDict(dict[Any, Any]):
    """A dict that stays as it is, so that the id of the task that holds it does."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> Never:
        raise TypeError("The dict of a task's field cannot change. Copy it: dict(...).")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


def inputs(value: object, place: str) -> Iterator[tuple[str, Input[Any]]]:
    """The tasks and parts in a frozen value, each with its place: `"days[3]"`, `"by_name['x']"`."""
    if isinstance(value, Input):
        yield place, value
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from inputs(item, f"{place}[{index}]")
    elif isinstance(value, FrozenDict):
        for key, item in value.items():
            yield from inputs(item, f"{place}[{_shown(key)}]")


def gather(value: object, found: list[Input[Any]]) -> None:
    """Appends the tasks and parts in a frozen value; `inputs` without the places."""
    if isinstance(value, Input):
        found.append(value)
    elif isinstance(value, tuple | FrozenDict):
        for item in value if isinstance(value, tuple) else value.values():
            gather(item, found)


def replaced(value: Any, change: Callable[[Input[Any]], Any]) -> Any:
    """A frozen value with each task and part in it changed to something else."""
    if isinstance(value, Input):
        return change(value)
    if type(value) is tuple:
        return tuple([replaced(item, change) for item in value])
    if isinstance(value, FrozenDict):
        return FrozenDict({key: replaced(item, change) for key, item in value.items()})
    return value


def loaded(value: Any, load: Callable[[Input[Any]], Any]) -> Any:
    """What `run` receives for a frozen value: lists and dicts with results in place of tasks."""
    if isinstance(value, Input):
        return load(value)
    if isinstance(value, tuple):
        return [loaded(item, load) for item in value]
    if isinstance(value, FrozenDict):
        return {key: loaded(item, load) for key, item in value.items()}
    return value


def record(kind: bytes, payload: bytes) -> bytes:
    """One record of the pre-image of a hash."""
    return b"%b:%d:%b" % (kind, len(payload), payload)


def canonical(value: Any, part: Callable[[Input[Any]], bytes]) -> bytes:
    """The record of a frozen value.

    Tasks that are not significant are absent from lists and dicts, and None elsewhere. The order
    of a dict counts, because `run` can see it; that of a set does not.

    Args:
        value: What a field holds.
        part: The payload that stands for a task or for one output of it.
    """
    encode = _RECORDS.get(type(value))
    if encode is not None:
        return encode(value, part)
    if isinstance(value, Input):
        return record(b"task", part(value)) if value.is_significant else _NONE
    if isinstance(value, Enum):
        name = record(b"str", _text(f"{path_of(type(value))}.{value.name}"))
        plain = _RECORDS.get(type(value.value))  # a value of another kind is seen in the code
        return record(b"enum", name + (plain(value.value, part) if plain else b""))
    if isinstance(value, PurePath):
        return record(b"path", _text(value.as_posix()))
    if is_dataclass(value):
        chosen = sorted(f.name for f in fields(value) if (f.compare if f.hash is None else f.hash))
        parts = [
            record(b"str", name.encode()) + canonical(getattr(value, name), part) for name in chosen
        ]
        name = record(b"str", _text(path_of(type(value))))
        return record(b"dataclass", name + b"".join(parts))
    raise ConfigError(f"A {type(value).__name__!r}, {value!r}, has no canonical form.")


def path_of(cls: type) -> str:
    """Module and name of a class: the same whether its file is run as a script or imported."""
    module = cls.__module__
    if module in {"__main__", "__mp_main__"}:
        module = _main_module(module)
    return f"{module}.{cls.__qualname__}"


def name_main(name: str) -> None:
    """Says what module the program is, to a process that runs parts of another's program.

    Args:
        name: As `main_name` gave it there.
    """
    global _main_name
    _main_name = name


def main_name() -> str:
    """The name under which the program that runs would be imported; `"__main__"` of a notebook."""
    return _main_module("__main__")


def ordered(
    roots: Iterable[N], needs: Callable[[N], Iterable[N]], key: Callable[[N], Hashable]
) -> Iterator[N]:
    """Every node once, each after what it needs; as deep as memory reaches.

    Args:
        roots: Where to begin; what they need is found from them.
        needs: What must come before a node.
        key: Nodes of one key are one node, the first met.

    Raises:
        ConfigError: Nodes need each other.
    """
    done: set[Hashable] = set()
    is_open: dict[Hashable, N] = {}  # the way from a root to here
    for root in roots:
        stack = [(key(root), root)]
        while stack:
            name, node = stack[-1]
            if name in done:
                stack.pop()
            elif name in is_open:
                del is_open[name]
                done.add(name)
                stack.pop()
                yield node
            else:
                is_open[name] = node
                before = []
                for other in needs(node):
                    other_name = key(other)
                    if other_name in is_open:
                        raise _cycle(is_open, other_name)
                    if other_name not in done:
                        before.append((other_name, other))
                stack.extend(reversed(before))


def _shown(key: object) -> str:
    if isinstance(key, Enum):
        return str(key.name)
    return repr(key) if isinstance(key, str) else str(key)


def _cycle(is_open: dict[Hashable, Any], name: Hashable) -> ConfigError:
    names = list(is_open)
    classes = [type(node).__name__ for node in list(is_open.values())[names.index(name) :]]
    if len(classes) > 6:
        classes[3:-2] = ["..."]
    return ConfigError(
        f"Tasks need each other in a circle: {' -> '.join([*classes, classes[0]])}. A field was "
        "changed after its task was made; make the tasks anew."
    )


_main_name: str | None = None


def _main_module(module: str) -> str:
    if _main_name is not None:
        return _main_name
    started = sys.modules.get(module)
    spec = getattr(started, "__spec__", None)
    if spec is not None:  # python -m
        return str(spec.name)
    file = getattr(started, "__file__", None)
    return module if file is None else _module_of_file(file)  # no file: a notebook or a prompt


@functools.cache
def _module_of_file(file: str) -> str:
    path = Path(file).resolve()
    names = [path.stem]
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            break
        names.insert(0, folder.name)
    return ".".join(names)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a file name may hold lone surrogates


def _timedelta(value: dt.timedelta, _: object) -> bytes:
    return record(b"timedelta", b"%d:%d:%d" % (value.days, value.seconds, value.microseconds))


def _tuple(value: tuple[Any, ...], part: Callable[[Input[Any]], bytes]) -> bytes:
    return record(b"list", b"".join([canonical(item, part) for item in value if _counts(item)]))


def _frozen_set(value: frozenset[Any], part: Callable[[Input[Any]], bytes]) -> bytes:
    return record(b"set", b"".join(sorted([canonical(item, part) for item in value])))


def _dict(value: FrozenDict, part: Callable[[Input[Any]], bytes]) -> bytes:
    pairs = [
        canonical(key, part) + canonical(item, part) for key, item in value.items() if _counts(item)
    ]
    return record(b"dict", b"".join(pairs))


def _counts(value: object) -> bool:
    return not isinstance(value, Input) or value.is_significant


_NONE = record(b"none", b"")
_BOOLS = {True: record(b"bool", b"1"), False: record(b"bool", b"0")}
_RECORDS: dict[type, Callable[[Any, Callable[[Input[Any]], bytes]], bytes]] = {
    type(None): lambda _value, _: _NONE,
    bool: lambda value, _: _BOOLS[value],
    int: lambda value, _: record(b"int", b"%x" % value),  # decimals have a limit of 4,300 digits
    float: lambda value, _: record(b"float", repr(value).encode()),
    str: lambda value, _: record(b"str", _text(value)),
    dt.date: lambda value, _: record(b"date", value.isoformat().encode()),
    dt.datetime: lambda value, _: record(b"datetime", f"{value.isoformat()}#{value.fold}".encode()),
    dt.timedelta: _timedelta,
    tuple: _tuple,
    frozenset: _frozen_set,
    FrozenDict: _dict,
}
