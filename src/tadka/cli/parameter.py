"""The task that a command line names: `shop.tasks:Train --lr 0.1 --features.clicks.day 2026-01-31`.

Parameters of the task have their names, those of a task that it needs stand behind a dot. A task
that a field asks for by its class is made of these; another one is named: `--model shop.more:Old`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import ConfigError
from tadka.core.locate import locate_value
from tadka.task.define.declaration import closest
from tadka.task.define.field import Field
from tadka.task.define.frozen import Input
from tadka.task.define.kind import InputKind, Kind, UnionKind
from tadka.task.define.task import Part, Task
from tadka.task.settings import current

_NOUN, _EXAMPLE = "task", "shop:Report"


@dataclass
class Given:
    """What a command line says of one field, or of the fields of a task in it.

    Args:
        option: As it is typed: `"--clicks.day"`.
        text: The value; None where nothing was said of the field itself.
        is_flag: Whether the option came without a value.
        below: Of the fields of the task.
    """

    option: str
    text: str | None = None
    is_flag: bool = False
    below: "dict[str, Given]" = field(default_factory=dict)

    @property
    def is_given(self) -> bool:
        """Whether a value was given, or the option alone."""
        return self.text is not None or self.is_flag


def find_tasks(name: str, words: Sequence[str], options: Iterable[str] = ()) -> list[Task[Any]]:
    """The tasks of a command line.

    Args:
        name: `MODULE:NAME` of a class of tasks, a task, or a list of tasks.
        words: Parameters, as in `--lr 0.1 --days.start=2026-01-31 --is-deep`.
        options: Of the command, for what is misspelt.

    Returns:
        One, unless it is a list.

    Raises:
        ConfigError: There is none of that name, or a parameter is wrong.
        NotFound: There is no such module.
    """
    module, value = locate_value(name, _NOUN, _EXAMPLE)
    given = parse(words)
    if isinstance(value, Part):
        value = value.task
    if isinstance(value, Task):
        tasks = [_made(type(value), given, value, options)]
    elif isinstance(value, type) and issubclass(value, Task) and value is not Task:
        tasks = [_made(value, given, None, options)]
    elif isinstance(value, list | tuple) and value and all(isinstance(v, Task) for v in value):
        if given.below:
            option = next(iter(given.below.values())).option
            raise ConfigError(f"{name!r} is a list of tasks, which has no parameter {option}.")
        tasks = list(value)
    else:
        names = [n for n, one in vars(module).items() if _is_task(one)]
        wanted = name.rpartition(":")[2]
        hint = closest(wanted, names) + (f" It has: {', '.join(names)}." if names else "")
        what = "" if value is None else f", but {type(value).__name__!r} of that name"
        raise ConfigError(f"{module.__name__!r} has no task {wanted!r}{what}.{hint}")
    current().check()
    return tasks


def parse(words: Sequence[str]) -> Given:
    """Words as options with values, by place.

    Args:
        words: What the command line has besides its own options.

    Returns:
        Of the task itself; its parameters are below.

    Raises:
        ConfigError: A word is no option, or an option is given twice.
    """
    root = Given("")
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, text = word.partition("=")
        steps = option.removeprefix("--").replace("-", "_").split(".")
        if not option.startswith("--") or not all(steps):
            raise ConfigError(
                f"{word!r} is not understood; parameters are written --name value, and those of a "
                "task in a field --field.name value."
            )
        place = root
        for depth, step in enumerate(steps):
            known = "--" + ".".join(steps[: depth + 1])
            place = place.below.setdefault(step, Given(known))
        if place.is_given:
            raise ConfigError(f"Parameter {option} was given twice.")
        place.option = option
        if equals:
            place.text = text
        elif left and not left[0].startswith("--"):
            place.text = left.pop(0)
        else:
            place.is_flag = True
    return root


def _made(
    cls: type[Task[Any]], given: Given, start: Task[Any] | None, options: Iterable[str] = ()
) -> Task[Any]:
    """A task of a class, of what is given and, for the rest, as another one is."""
    values: dict[str, Any] = {}
    if start is not None:
        if not given.below:
            return start
        values = {name: getattr(start, name) for name in cls.fields}
    for name, one in given.below.items():
        known = cls.fields.get(name)
        if known is None:
            raise _unknown(cls, one, options)
        if known.holds_tasks:
            values[name] = _needed(cls, known, one, values.get(name))
        elif one.below:
            below = next(iter(one.below.values())).option
            raise ConfigError(f"{below}: {cls.__name__}.{name} is no task; it has no parameters.")
        else:
            values[name] = _plain(cls, known, one)
    of_settings = current().fields_of(cls)
    prefix = f"{given.option}." if given.option else "--"
    for name, known in cls.fields.items():
        if known.is_required and name not in values and name not in of_settings:
            option = f"{prefix}{name.replace('_', '-')}"
            if not known.holds_tasks:
                raise ConfigError(f"{cls.__name__} needs {option} ({known.kind.name}).")
            values[name] = _needed(cls, known, Given(option), None)
    return cls(**values)


def _plain(cls: type[Task[Any]], known: Field, given: Given) -> Any:
    if given.text is not None:
        return known.from_text(given.text, cls.__name__)
    if any(kind.name == "bool" for kind in _members(known.kind)):
        return True
    raise ConfigError(f"Parameter {given.option} has no value; it must be {known.kind.name}.")


def _needed(cls: type[Task[Any]], known: Field, given: Given, now: Any) -> Any:
    """The value of a field that holds tasks."""
    kinds = _members(known.kind)
    if given.is_flag:
        raise ConfigError(f"Parameter {given.option} has no value; name one as MODULE:NAME.")
    if given.text is not None:
        if given.text == "null" and any(kind.name == "None" for kind in kinds) and not given.below:
            return None
        module, value = locate_value(given.text, _NOUN, _EXAMPLE)
        if value is None:
            names = [n for n, one in vars(module).items() if _is_task(one)]
            wanted = given.text.rpartition(":")[2]
            raise ConfigError(
                f"{given.option}: {module.__name__!r} has no {wanted!r}.{closest(wanted, names)}"
            )
        if isinstance(value, type) and issubclass(value, Task):
            value = _made(value, given, None)
        elif isinstance(value, Task):
            value = _made(type(value), given, value)
        elif given.below:
            below = next(iter(given.below.values())).option
            raise ConfigError(f"{below}: {given.text!r} is no task; it has no parameters.")
        return known.value_of(value, cls.__name__)
    now = known.default if now is None and isinstance(known.default, Task) else now
    if isinstance(now, Task):
        return known.value_of(_made(type(now), given, now), cls.__name__)
    classes = [kind.type for kind in kinds if isinstance(kind, InputKind)]
    made = [one for one in classes if issubclass(one, Task) and one.run is not Task.run]
    if len(made) == 1 and len(classes) == 1:
        return known.value_of(_made(made[0], given, None), cls.__name__)
    option = given.option
    if not classes:
        raise ConfigError(
            f"{option}: {cls.__name__}.{known.name} is {known.kind.name}, which cannot be written "
            "on a command line. Name one that a module has, as MODULE:NAME; or make the whole task "
            "in a module and run that."
        )
    raise ConfigError(
        f"{cls.__name__} needs {option}, a task ({known.kind.name}); name its class, or a task "
        f"that a module has: {option} MODULE:NAME."
    )


def _members(kind: Kind) -> Sequence[Kind]:
    return kind.members if isinstance(kind, UnionKind) else (kind,)


def _is_task(value: Any) -> bool:
    is_class = isinstance(value, type) and issubclass(value, Input) and value is not Part
    return isinstance(value, Task) or (is_class and getattr(value, "run", None) is not Task.run)


def _unknown(cls: type[Task[Any]], given: Given, options: Iterable[str]) -> ConfigError:
    name = given.option.removeprefix("--")
    known = {f"--{one}" for one in cls.fields} if "." not in name else set()
    prefix = given.option.rpartition(".")[0]
    known |= {f"{prefix}.{one}" for one in cls.fields} if prefix else set()
    hint = closest(given.option, sorted({*known, *options}))
    fields = ", ".join(cls.fields) or "none"
    return ConfigError(
        f"{given.option} is no parameter of {cls.__name__}.{hint} Its parameters: {fields}."
    )
