"""The task that a command line names: `shop.tasks:Train --lr 0.1 --features.clicks.day 2026-01-31`.

Parameters of the task have their names, those of a task that it needs stand behind a dot. A task
that a field asks for by its class is made of these; another one is named: `--model shop.more:Old`.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any, get_type_hints

from tadka.core.error import ConfigError
from tadka.core.locate import locate_value
from tadka.task.define.declaration import closest
from tadka.task.define.field import Field, param
from tadka.task.define.frozen import Input
from tadka.task.define.kind import InputKind, Kind, UnionKind
from tadka.task.define.task import Part, Task, whole_of
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
        name: `MODULE:NAME` of a class of tasks, a task, a list of tasks, or a function that makes
            one of these; its arguments are parameters, by their annotations.
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
    if inspect.isfunction(value):
        value, given = _called(value, given, options), Given("")
    if isinstance(value, Input):
        value = whole_of(value)
    if isinstance(value, Task):
        tasks = [_made(type(value), given, value, options)]
    elif isinstance(value, type) and issubclass(value, Task) and value is not Task:
        tasks = [_made(value, given, None, options)]
    elif _is_list(value):
        if given.below:
            option = next(iter(given.below.values())).option
            raise ConfigError(f"{name!r} is a list of tasks, which has no parameter {option}.")
        tasks = [whole_of(item) for item in value]
    else:
        names = [n for n, one in vars(module).items() if _is_task(one) or _is_list(one)]
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


def _called(function: Callable[..., Any], given: Given, options: Iterable[str]) -> Any:
    """What a function makes, given its arguments by their names."""
    name = function.__name__
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise ConfigError(f"Function {name} has an annotation that is unknown: {error}.") from None
    fields = {}
    for argument in inspect.signature(function).parameters.values():
        if argument.kind in {argument.VAR_POSITIONAL, argument.VAR_KEYWORD}:
            continue
        if argument.name not in hints:
            raise ConfigError(
                f"Argument {argument.name!r} of function {name} has no type, and what a command "
                f"line says is text; write {argument.name}: TYPE."
            )
        has_default = argument.default is not argument.empty
        declared = param(default=argument.default) if has_default else MISSING
        fields[argument.name] = Field.of(argument.name, hints[argument.name], declared, name)
    values = {}
    for word, one in given.below.items():
        known = fields.get(word)
        if known is None or one.below:
            option = one.option or next(iter(one.below.values())).option
            hint = closest(option, sorted({f"--{field}" for field in fields} | set(options)))
            raise ConfigError(
                f"{option} is no argument of {name}.{hint} It has: {', '.join(fields) or 'none'}."
            )
        values[word] = _plain(name, known, one)
    for word, known in fields.items():
        if known.is_required and word not in values:
            raise ConfigError(f"{name} needs --{word.replace('_', '-')} ({known.kind.name}).")
    made = function(**values)
    is_list = isinstance(made, list | tuple) and made
    if not all(isinstance(task, Input) for task in (made if is_list else [made])):
        raise ConfigError(
            f"Function {name} returned {type(made).__name__!r}; it must return a task, or a list "
            "of tasks."
        )
    return made


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
            values[name] = _plain(cls.__name__, known, one)
    of_settings = current().fields_of(cls)
    prefix = f"{given.option}." if given.option else "--"
    for name, known in cls.fields.items():
        if known.is_required and name not in values and name not in of_settings:
            option = f"{prefix}{name.replace('_', '-')}"
            if not known.holds_tasks:
                raise ConfigError(f"{cls.__name__} needs {option} ({known.kind.name}).")
            values[name] = _needed(cls, known, Given(option), None)
    return cls(**values)


def _plain(where: str, known: Field, given: Given) -> Any:
    if given.text is not None:
        return known.from_text(given.text, where)
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
        if ":" not in given.text:
            raise ConfigError(
                f"{given.option} is {given.text!r}; what a module has is named with it, as "
                f"MODULE:NAME: {given.option} {cls.__module__}:{given.text}."
            )
        module, value = locate_value(given.text, _NOUN, _EXAMPLE)
        if value is None:
            names = [n for n, one in vars(module).items() if _is_task(one) or _is_list(one)]
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


def _is_list(value: Any) -> bool:
    is_sequence = isinstance(value, list | tuple) and len(value) > 0
    return is_sequence and all(isinstance(item, Input) for item in value)


def _unknown(cls: type[Task[Any]], given: Given, options: Iterable[str]) -> ConfigError:
    name = given.option.removeprefix("--")
    known = {f"--{one}" for one in cls.fields} if "." not in name else set()
    prefix = given.option.rpartition(".")[0]
    known |= {f"{prefix}.{one}" for one in cls.fields} if prefix else set()
    hint = closest(given.option, sorted({*known, *options}))
    place, dot, word = name.replace("_", "-").rpartition(".")
    denied = cls.fields.get(word.removeprefix("no-").replace("-", "_"))
    if denied is not None and any(kind.name == "bool" for kind in _members(denied.kind)):
        hint = f" Write --{place}{dot}{word.removeprefix('no-')} false."
    fields = ", ".join(cls.fields) or "none"
    return ConfigError(
        f"{given.option} is no parameter of {cls.__name__}.{hint} Its parameters: {fields}."
    )
