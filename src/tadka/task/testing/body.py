"""Runs the body of one task with given inputs."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from tadka.core.error import ConfigError
from tadka.task.define.declaration import closest
from tadka.task.define.frozen import FrozenDict, Input, inputs
from tadka.task.define.task import Part, Task, arguments_of, whole_of
from tadka.task.testing.bench import Bench

T = TypeVar("T")


def run_with(task: Task[T], needed: Mapping[Any, Any] | None = None, /, **stubs: Any) -> T:
    """Runs the body of one task with given inputs, without a store; nothing else is run.

    The result is looked at as in a build: its type, columns, number of rows, and checks. A failed
    check of severity "warn" is a warning.

    Args:
        task: What to run.
        needed: Values of what the body asks for with `run.need`, by task.
        stubs: What the body gets for each field that holds tasks: a value for a task, a list for a
            list of tasks, a dict for a dict.

    Returns:
        What `run` returned; a dict of all outputs where there are several.

    Raises:
        ConfigError: A stub is missing, or does not fit the field.
        DataError: The result is not as declared, or a check failed.
        Exception: Whatever the body raises.
    """
    cls = type(task)
    holding = [name for name, field in cls.fields.items() if field.holds_tasks]
    for name in stubs:
        if name not in holding:
            hint = closest(name, holding, "Inputs are ") or " The class has no field with tasks."
            raise ConfigError(
                f"run_with has a value for {name!r}, which is no input of {cls.__name__}.{hint}"
            )
    values: dict[Input[Any], Any] = {}
    for name, stub in stubs.items():
        values.update(_pairs(task.__dict__[name], stub, name))
    for argument in arguments_of(cls):
        name = argument.name
        if not argument.is_run and name not in stubs and any(inputs(task.__dict__[name], name)):
            raise ConfigError(
                f"run_with has no value for the input {name!r} of {cls.__name__}. Give {name}=..."
            )

    def load(item: Input[Any]) -> Any:
        if item in values:
            return values[item]
        whole = whole_of(item)
        if isinstance(item, Part) and whole in values:
            return _part(values[whole], item)
        raise ConfigError(f"{cls.__name__}.run loads {item!r}, of which run_with has no value.")

    def need(item: Input[Any]) -> Any:
        given = needed or {}
        if item in given:
            return given[item]
        if isinstance(item, Part) and item.task in given:
            return _part(given[item.task], item)
        raise ConfigError(
            f"{cls.__name__}.run needs {item!r}, of which run_with has no value. Give it by task: "
            "run_with(task, {needed: value}, ...)."
        )

    with Bench(task, load, need) as bench:
        outputs = bench.outputs(stubs)
        bench.check(outputs)
    value: Any = outputs.get("", outputs)
    return value  # type: ignore[no-any-return]


def _pairs(held: Any, stub: Any, place: str) -> Iterator[tuple[Input[Any], Any]]:
    """Each task that a field holds, with its stub."""
    if isinstance(held, Input):
        yield held, stub
    elif isinstance(held, tuple):
        if not isinstance(stub, list | tuple) or len(stub) != len(held):
            raise ConfigError(
                f"run_with has {_shown(stub)} for {place}, which holds {len(held)} tasks; give a "
                "list with a value for each."
            )
        for i, (item, one) in enumerate(zip(held, stub, strict=True)):
            yield from _pairs(item, one, f"{place}[{i}]")
    elif isinstance(held, FrozenDict):
        if not isinstance(stub, Mapping) or stub.keys() != held.keys():
            raise ConfigError(
                f"run_with has {_shown(stub)} for {place}, which holds tasks by "
                f"{', '.join(map(repr, held))}; give a dict with a value for each."
            )
        for key, item in held.items():
            yield from _pairs(item, stub[key], f"{place}[{key!r}]")
    elif stub is not None:
        raise ConfigError(
            f"run_with has {_shown(stub)} for {place}, which holds {held!r}, no task."
        )


def _part(value: Any, item: Part[Any]) -> Any:
    if not isinstance(value, Mapping) or item.output not in value:
        raise ConfigError(
            f"{item!r} is asked for, and the value given for its task is {_shown(value)}; give a "
            f"dict with {item.output!r}."
        )
    return value[item.output]


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__!r}"
