"""What the class statement of a task says, read and checked once."""

import dataclasses
import difflib
import inspect
import re
import types
import typing
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, ClassVar, Final

from tadka.core.error import ConfigError
from tadka.core.resource import Resources
from tadka.task.define.field import Field, Param
from tadka.task.define.frozen import Input
from tadka.task.define.kind import InputKind, ListKind
from tadka.task.define.result import fits, shown
from tadka.task.define.run import Run
from tadka.task.output.out import Out

_NAME_OF_OUTPUT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PLAIN = (bool, int, float, str, bytes, list, tuple, dict, set, frozenset, types.NoneType)
_LAZY = (Iterator, Iterable, Generator)
_ON_CODE_CHANGE = ("rerun", "warn", "ignore", None)


@dataclass(frozen=True)
class Argument:
    """One argument of `run`.

    Args:
        name: A field that holds tasks; any name for the `Run`.
        is_run: Whether it receives the `Run`.
        is_lazy: Whether it receives an iterator that loads results one by one.
    """

    name: str
    is_run: bool = False
    is_lazy: bool = False


def closest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A sentence with the nearest of the known names; where none is near, with all of them."""
    names = [str(one) for one in known]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" {otherwise}{', '.join(names)}." if names and otherwise else ""


def read_fields(cls: type, root: type, names: Mapping[str, Any]) -> dict[str, Field]:
    """The fields of a class, those of its bases first.

    Args:
        cls: The new class.
        root: `Task`, whose own names are taken.
        names: What is known where the class statement stands, beside its module's names.

    Raises:
        ConfigError: A field cannot be.
    """
    fields: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        if issubclass(base, root):
            fields.update(vars(base).get("fields", {}))
    inherited = dict(fields)
    own = vars(cls)
    hints = _hints(cls, {**names, cls.__name__: cls})
    for name in (*hints, *own):
        _check_name(cls, root, name, inherited, is_field=name in hints)
    for name, annotation in hints.items():
        fields[name] = Field.of(name, annotation, own.get(name, MISSING), cls.__name__)
    for name, value in own.items():
        if name not in hints and name in inherited:  # another default for a base's field
            fields[name] = (
                Field.of(name, inherited[name].annotation, value, cls.__name__)
                if isinstance(value, Param)
                else inherited[name].with_default(value, cls.__name__)
            )
        elif name not in hints and isinstance(value, Param):
            raise ConfigError(
                f"{cls.__name__}.{name} is a param without a type; write {name}: TYPE = param(...)."
            )
    return fields


def _check_name(
    cls: type, root: type, name: str, inherited: Mapping[str, Field], *, is_field: bool
) -> None:
    what = f"Field {name!r} of {cls.__name__}"
    if is_field and (name.startswith("_") or not name.isidentifier()):
        raise ConfigError(f"{what} begins with _; parameters have public names.")
    if is_field and name in vars(root) and not name.startswith("_"):
        value = inspect.getattr_static(root, name)
        is_setting = not callable(value) and not isinstance(value, property)
        hint = f"A setting has no type: {name} = ..." if is_setting else "Choose another name."
        kind = "setting" if is_setting else "method"
        raise ConfigError(f"{what} has the name of a {kind} of Task. {hint}")
    if is_field and name not in inherited:
        for base in cls.__mro__[1:]:
            if callable(vars(base).get(name)) or isinstance(vars(base).get(name), property):
                raise ConfigError(f"{what} hides a method of {base.__name__}. Rename one.")
    value = vars(cls).get(name)
    if (is_field or name in inherited) and (
        inspect.isroutine(value) or isinstance(value, property)
    ):
        raise ConfigError(f"{what} has the name of a method. Rename one.")
    if not is_field and name in {"__init__", "__new__", "__setattr__", "__eq__", "__hash__"}:
        raise ConfigError(
            f"{cls.__name__} defines {name}; the fields of a task are all it has. Checks of them "
            "stand in __post_init__(self)."
        )
    if not is_field and isinstance(value, Out | Resources) and name not in {"out", "resources"}:
        raise ConfigError(
            f"{cls.__name__}.{name} is {type(value).__name__}(...), which means nothing there; "
            f"the setting is called {'out' if isinstance(value, Out) else 'resources'!r}."
        )


def _hints(cls: type, names: Mapping[str, Any]) -> dict[str, Any]:
    """Own annotations that are fields, evaluated."""
    own = {k: v for k, v in inspect.get_annotations(cls).items() if not _is_constant(v)}
    hints = {}
    for name, annotation in own.items():
        body = {"__annotations__": {name: annotation}, "__module__": cls.__module__}
        holder = type("holder", (), body)
        try:
            hint = typing.get_type_hints(holder, localns=dict(names), include_extras=True)[name]
        except (NameError, TypeError, SyntaxError, AttributeError) as error:
            raise ConfigError(
                f"Field {name!r} of {cls.__name__} has an annotation that cannot be evaluated: "
                f"{error}. Names in it must be known when the class is made, and not only under "
                "TYPE_CHECKING. A class stands below those that it needs; tasks cannot need each "
                "other in a circle."
            ) from error
        hints[name] = hint
        if hint is dataclasses.InitVar or isinstance(hint, dataclasses.InitVar):
            raise ConfigError(
                f"Field {name!r} of {cls.__name__} is an InitVar; all that makes a task is a field."
            )
    return hints


def _is_constant(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return re.match(r"(\w+\.)?(ClassVar|Final)\b", annotation) is not None
    bare = typing.get_origin(annotation) or annotation
    return bare is ClassVar or bare is Final


def read_arguments(cls: Any, fields: Mapping[str, Field]) -> tuple[Argument, ...]:
    """What `run` asks for.

    Args:
        cls: The new class, which has a `run` of its own or of a base.
        fields: Its fields.

    Raises:
        ConfigError: An argument is no field that holds tasks.
    """
    where = f"{cls.__name__}.run"
    if not inspect.isfunction(inspect.getattr_static(cls, "run")):
        raise ConfigError(f"{where} is {cls.run!r}; it must be a method: def run(self, ...).")
    if inspect.iscoroutinefunction(cls.run):
        raise ConfigError(f"{where} is async; it must be an ordinary method: def run(self, ...).")
    parameters = list(inspect.signature(cls.run).parameters.values())
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise ConfigError(f"{where} has no argument for the task; write def run(self, ...).")
    hints = _argument_types(cls.run)
    return tuple(
        _argument(where, parameter, hints.get(parameter.name, parameter.annotation), fields)
        for parameter in parameters[1:]
    )


def _argument(
    where: str, parameter: inspect.Parameter, type_: Any, fields: Mapping[str, Field]
) -> Argument:
    name = parameter.name
    if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
        raise ConfigError(
            f"{where} has the argument {str(parameter)!r}; name each input that it loads."
        )
    if _is_run(type_) or (name == "run" and type_ is parameter.empty):
        return Argument(name, is_run=True)
    inputs = [field.name for field in fields.values() if field.holds_tasks]
    if name in inputs:
        _check_type(where, name, type_, fields[name])
        return Argument(name, is_lazy=_is_lazy(type_) and isinstance(fields[name].kind, ListKind))
    if name in fields:
        raise ConfigError(
            f"{where} has the argument {name!r}, which is a field and no task; read self.{name}."
        )
    hint = closest(name, inputs, "Inputs are ") or " The class has no field that holds tasks."
    raise ConfigError(
        f"{where} has the argument {name!r}, which is no input of {where.removesuffix('.run')}."
        f"{hint}"
    )


def _check_type(where: str, name: str, type_: Any, field: Field) -> None:
    """Refuses an argument of a type that the result it gets cannot have; says nothing in doubt."""
    kind = field.kind
    if not isinstance(kind, InputKind):
        return
    is_any_task = kind.type.__base__ is Input  # Task[T] or Part[T], and no class of tasks
    result = kind.result if is_any_task else getattr(field.annotation, "result_type", Any)
    found, wanted = typing.get_origin(result) or result, typing.get_origin(type_) or type_
    if found in _PLAIN and wanted in _PLAIN and not fits(found, wanted):
        raise ConfigError(
            f"{where} has the argument {name!r} of type {shown(type_)}, and the result of "
            f"{kind.name} is {shown(result)}."
        )


def _argument_types(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 names may be there for type checkers only; texts then do
        return {}


def _is_run(type_: Any) -> bool:
    if isinstance(type_, str):
        return type_.rpartition(".")[2] == "Run"
    return isinstance(type_, type) and issubclass(type_, Run)


def _is_lazy(type_: Any) -> bool:
    if isinstance(type_, str):
        return type_.partition("[")[0].rpartition(".")[2] in {one.__name__ for one in _LAZY}
    return (typing.get_origin(type_) or type_) in _LAZY


def read_outs(cls: Any) -> dict[str, Out]:
    """The outputs of a class by name; a single one is called `""`.

    Args:
        cls: The new class.

    Raises:
        ConfigError: `out` is no Out and no dict of them.
    """
    out = cls.out
    if isinstance(out, Out):
        return {"": out}
    if not isinstance(out, Mapping) or not out:
        raise ConfigError(
            f"{cls.__name__}.out is {out!r}; it must be Out(...), or a dict of one Out for each "
            "output by name."
        )
    for name, one in out.items():
        if not isinstance(name, str) or not _NAME_OF_OUTPUT.fullmatch(name):
            raise ConfigError(
                f"{cls.__name__}.out has the name {name!r}; names of outputs are letters, digits, "
                "'_', '-' and '.', as they name files."
            )
        if not isinstance(one, Out):
            raise ConfigError(f"{cls.__name__}.out has {name!r}: {one!r}; it must be Out(...).")
    return dict(out)


def check_settings(cls: Any, root: type) -> None:
    """Refuses settings of a wrong type, and attributes that are misspelt settings.

    Args:
        cls: The new class.
        root: `Task`.

    Raises:
        ConfigError: A setting is not what it must be.
    """

    def is_whole(value: object) -> bool:
        return type(value) is int and value >= 0

    def is_sequence(value: object) -> bool:
        return isinstance(value, Sequence) and not isinstance(value, str)

    rules = {
        "version": (type(cls.version) is str, "text, such as '2'"),
        "resources": (isinstance(cls.resources, Resources), "Resources(...)"),
        "retries": (is_whole(cls.retries), "a whole number, at least 0"),
        "seed": (cls.seed is None or is_whole(cls.seed), "a whole number from 0, or None"),
        "on_code_change": (
            cls.on_code_change in _ON_CODE_CHANGE,
            "'rerun', 'warn', 'ignore' or None",
        ),
        "code_files": (
            is_sequence(cls.code_files) and all(isinstance(f, str) for f in cls.code_files),
            "a list of paths as text",
        ),
        "uses": (
            is_sequence(cls.uses) and not any(isinstance(one, str) for one in cls.uses),
            "a list of the functions, classes and modules themselves: [helpers.clean], not text",
        ),
        "significant": (type(cls.significant) is bool, "True or False"),
    }
    for name, (is_fine, accepted) in rules.items():
        if not is_fine:
            value = getattr(cls, name)
            text = shown(value) if isinstance(value, type) else repr(value)
            raise ConfigError(f"{cls.__name__}.{name} is {text}; it must be {accepted}.")
    _refuse_misspelt(cls, root, (*rules, "out"))


def _refuse_misspelt(cls: Any, root: type, settings: Iterable[str]) -> None:
    """Refuses attributes that nearly have the name of a setting, and that no method reads."""
    words = {"retry": "retries", **{name: name for name in settings}}
    constants = inspect.get_annotations(cls)
    for name, value in vars(cls).items():
        if name in words.values() or name.startswith("_") or name in constants:
            continue
        if name in cls.fields or callable(value) or hasattr(value, "__get__"):
            continue
        close = difflib.get_close_matches(name.lower(), words, n=1, cutoff=0.8)
        if close and not _is_read(cls, root, name):
            raise ConfigError(
                f"{cls.__name__}.{name} is no setting, and no method reads it. Did you mean "
                f"{words[close[0]]!r}? A constant is annotated: {name}: ClassVar = ..."
            )


def _is_read(cls: type, root: type, name: str) -> bool:
    """Whether the code of a method of a class, or of a base below the root, has a name."""
    bases = [base for base in cls.__mro__ if base not in root.__mro__]
    methods = [value for base in bases for value in vars(base).values()]
    codes = [
        inspect.unwrap(getattr(method, "fget", None) or getattr(method, "__func__", method))
        for method in methods
    ]
    waiting = [code for one in codes if (code := getattr(one, "__code__", None)) is not None]
    while waiting:
        code = waiting.pop()
        if name in code.co_names:
            return True
        waiting += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return False
