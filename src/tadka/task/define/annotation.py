"""From the annotation of a field to its kind."""

import datetime as dt
import re
import types
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum, Flag
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NewType, TypeVar, Union

from tadka.core.error import ConfigError
from tadka.task.define.frozen import Input
from tadka.task.define.kind import (
    DataclassKind,
    DictKind,
    EnumKind,
    FloatKind,
    InputKind,
    Kind,
    ListKind,
    LiteralKind,
    TextKind,
    UnionKind,
    WrittenKind,
)
from tadka.task.define.result import shown

ACCEPTED = (
    "str, int, float, bool, None, date, datetime, timedelta, Path, Enum, Literal, frozen "
    "dataclasses, tasks, list, tuple, set and dict of these, and unions of them with |"
)
_SPAN = re.compile(
    r"(?:(?P<weeks>-?\d+)w)?(?:(?P<days>-?\d+)d)?(?:(?P<hours>-?\d+)h)?(?:(?P<minutes>-?\d+)m)?"
    r"(?:(?P<seconds>-?\d+)(?:\.(?P<fraction>\d{1,6}))?s)?"
)


def kind_of(annotation: Any, what: str) -> Kind:
    """The kind of values that an annotation accepts.

    Args:
        annotation: Evaluated.
        what: The field, for messages: "Field 'user' of Clicks".

    Raises:
        ConfigError: Values of that type cannot be parameters.
    """
    annotation = _bare(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return Kind(types.NoneType)
    if origin in {Union, types.UnionType}:
        return UnionKind([kind_of(argument, what) for argument in arguments])
    if origin is Literal:
        return LiteralKind(arguments)
    type_ = origin or annotation
    if not isinstance(type_, type):
        raise _refused(annotation, what)
    if issubclass(type_, Input):
        return _input_kind(type_, arguments)
    if type_ in {list, tuple, Sequence, set, frozenset, AbstractSet, dict, Mapping}:
        return _container_kind(annotation, type_, arguments, what)
    return _plain_kind(type_, annotation, what)


def _plain_kind(type_: type, annotation: Any, what: str) -> Kind:
    if type_ in _KINDS:
        return _KINDS[type_]
    if issubclass(type_, Enum) and not issubclass(type_, Flag):
        return EnumKind(type_)
    if is_dataclass(type_):
        return _dataclass_kind(type_, what)
    raise _refused(annotation, what)


def _container_kind(annotation: Any, type_: type, arguments: tuple[Any, ...], what: str) -> Kind:
    if not arguments:
        example = "dict[str, int]" if type_ in {dict, Mapping} else f"{type_.__name__}[int]"
        raise ConfigError(
            f"{what} is a {type_.__name__} of anything; say of what, as in {example}."
        )
    name = shown(annotation)
    if type_ in {dict, Mapping}:
        key, item = (kind_of(argument, what) for argument in arguments)
        if isinstance(key, UnionKind | ListKind | DictKind | DataclassKind | InputKind):
            raise ConfigError(
                f"{what} is a {name}, whose keys are {key.name}; keys can be str, int, float, "
                "bool, date, datetime, timedelta, Path, Enum or Literal."
            )
        return DictKind(name, key, item)
    if type_ is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        items = [kind_of(argument, what) for argument in arguments if argument != ()]
        return ListKind(name, items, (tuple, list), by_place=True)
    item = kind_of(arguments[0], what)
    if type_ in {list, tuple, Sequence}:
        return ListKind(name, [item], (tuple, list))
    if item.holds_tasks:
        raise ConfigError(f"{what} is a {name}: tasks in a set have no order. Write list[...].")
    return ListKind(name, [item], (set, frozenset), frozenset)


def _input_kind(type_: type, arguments: tuple[Any, ...]) -> Kind:
    result = arguments[0] if arguments else Any
    if isinstance(result, TypeVar):  # whatever a subclass makes of it
        result = Any
    return InputKind(type_, result)


def _dataclass_kind(type_: type, what: str) -> Kind:
    settings: Any = type_
    if not settings.__dataclass_params__.frozen:
        raise ConfigError(
            f"{what} is the dataclass {type_.__name__}, which can change; write "
            "@dataclass(frozen=True)."
        )
    hints = typing.get_type_hints(type_)
    kinds = {}
    for field in fields(settings):
        inner = f"{what}: field {field.name!r} of {type_.__name__}"
        kinds[field.name] = kind_of(hints[field.name], inner)
        if kinds[field.name].holds_tasks:
            raise ConfigError(
                f"{inner} holds tasks; they stand in fields of a task, or in lists and dicts there."
            )
    return DataclassKind(type_, kinds)


def _bare(annotation: Any) -> Any:
    """What is meant by Annotated, NewType and type aliases."""
    while True:
        if typing.get_origin(annotation) is Annotated:
            annotation = annotation.__origin__
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":  # type X = ..., from Python 3.12
            annotation = annotation.__value__
        else:
            return annotation


def _refused(annotation: Any, what: str) -> ConfigError:
    hint = ""
    if annotation is Any or annotation is object:
        hint = " Say which values it takes."
    elif isinstance(annotation, TypeVar):
        hint = " A type variable stands only inside Task[...]."
    return ConfigError(
        f"{what} has the type {shown(annotation)}, which is no parameter.{hint} Accepted are "
        f"{ACCEPTED}. Data comes from a task: Task[{shown(annotation)}]."
    )


def _read_span(text: str) -> dt.timedelta:
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None or not text.strip():
        raise ValueError(text)
    parts = {name: int(part) for name, part in match.groupdict().items() if part is not None}
    fraction = match["fraction"] or ""
    parts.pop("fraction", None)
    return dt.timedelta(**parts, microseconds=int(fraction.ljust(6, "0")) if fraction else 0)


def _write_span(value: dt.timedelta) -> str:
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{value.days}d{value.seconds}{fraction}s"


_KINDS: dict[type, Kind] = {
    str: TextKind(str),
    int: Kind(int),
    float: FloatKind(float),
    bool: Kind(bool),
    dt.date: WrittenKind(
        dt.date, dt.date.fromisoformat, dt.date.isoformat, "a date such as 2026-01-31"
    ),
    dt.datetime: WrittenKind(
        dt.datetime,
        dt.datetime.fromisoformat,
        dt.datetime.isoformat,
        "a time such as 2026-01-31T12:00:00",
    ),
    dt.timedelta: WrittenKind(
        dt.timedelta, _read_span, _write_span, "a span of time such as 90s, 15m, 2h or 1d12h"
    ),
    Path: WrittenKind(Path, Path, str, "a path"),
    PurePath: WrittenKind(Path, Path, str, "a path"),
}
