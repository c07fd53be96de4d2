"""What an annotation of a field or property says: its type, and how it is encoded."""

import types
import typing
from dataclasses import InitVar, dataclass
from datetime import datetime
from typing import Annotated, Any, Union

from tadka.core.error import ConfigError
from tadka.features.encoding import Buckets, Encoding, Hashed, Log, Number, Skip, Vocabulary

ACCEPTED = (
    "str, int, float, bool and datetime, `| None` of these, and list of these "
    "(list[str], not list[str] | None)"
)

_NAMES = {bool: "bool", datetime: "datetime", float: "float", int: "int", str: "str"}
_ENCODINGS = (Buckets, Hashed, Log, Number, Skip, Vocabulary)


@dataclass(frozen=True)
class Shape:
    """The type of a field or property.

    Args:
        type: One of "bool", "datetime", "float", "int", "str".
        is_list: Whether it holds any number of values.
        is_optional: Whether it may be missing; never together with `is_list`.
    """

    type: str
    is_list: bool = False
    is_optional: bool = False

    def __str__(self) -> str:
        if self.is_list:
            return f"list[{self.type}]"
        return f"{self.type} | None" if self.is_optional else self.type


def read_annotation(annotation: Any, what: str) -> tuple[Shape, Encoding | None]:
    """Type and encoding that an annotation gives.

    Args:
        annotation: Evaluated, with its extras.
        what: The field or property, for messages: "Field 'user' of Impression".

    Returns:
        The shape, and the encoding; None for what is no feature.

    Raises:
        ConfigError: The type is not supported, or the encoding does not take it.
    """
    given: list[Any] = []
    shape = _shape(annotation, what, given)
    for item in given:
        if isinstance(item, type):
            raise ConfigError(
                f"{what} is annotated with the class {item.__name__}; write {item.__name__}()."
            )
    if len(given) > 1:
        raise ConfigError(f"{what} has {len(given)} encodings, {given}; it can have one.")
    return shape, _encoding(shape, given[0] if given else None, what)


def _shape(annotation: Any, what: str, given: list[Any]) -> Shape:
    annotation = _bare(annotation, given)
    if isinstance(annotation, InitVar) or annotation is InitVar:
        raise ConfigError(f"{what} is an InitVar; a row has plain fields only.")
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Union or origin is types.UnionType:
        kinds = [arg for arg in args if arg is not types.NoneType]
        if len(kinds) == 1 and len(args) == 2:
            inner = _shape(kinds[0], what, given)
            if inner.is_list:
                raise ConfigError(
                    f"{what} is {inner} | None; a list cannot be missing. Write {inner}: an "
                    "empty list says that there is nothing."
                )
            return Shape(inner.type, is_optional=True)
    elif origin is list and len(args) == 1:
        item = _shape(args[0], what, given)
        if not item.is_list and not item.is_optional:
            return Shape(item.type, is_list=True)
    elif isinstance(annotation, type) and annotation in _NAMES:
        return Shape(_NAMES[annotation])
    shown = getattr(annotation, "__name__", annotation) if origin is None else annotation
    raise ConfigError(f"{what} has the type {shown}; supported are {ACCEPTED}.")


def _bare(annotation: Any, given: list[Any]) -> Any:
    """The type inside `Annotated`; encodings found are added to `given`."""
    while typing.get_origin(annotation) is Annotated:
        given.extend(
            item
            for item in annotation.__metadata__
            if isinstance(item, _ENCODINGS) or (isinstance(item, type) and item in _ENCODINGS)
        )
        annotation = annotation.__origin__
    return annotation


def _encoding(shape: Shape, given: Any, what: str) -> Encoding | None:
    if isinstance(given, Skip):
        return None
    if shape.type == "datetime":
        if given is None:
            return None
        raise ConfigError(
            f"{what} is a datetime, which is never a feature, but has the encoding {given}. "
            "Write properties of it, such as the hour."
        )
    if given is None:
        if shape.type != "float":
            return Hashed()
        if not shape.is_list:
            return Number()
        raise ConfigError(
            f"{what} is list[float], which has no encoding of its own; write "
            "Annotated[list[float], Buckets([...])] or Annotated[list[float], Skip()]."
        )
    takes = {
        Buckets: ("int", "float"),
        Hashed: ("str", "int", "bool"),
        Log: ("int", "float", "bool"),
        Number: ("int", "float", "bool"),
        Vocabulary: ("str", "int", "bool"),
    }[type(given)]
    if shape.type not in takes or (shape.is_list and isinstance(given, Number | Log)):
        also = "" if isinstance(given, Number | Log) else " and lists of these"
        raise ConfigError(
            f"{what} is {shape}, which {type(given).__name__} does not take; it takes "
            f"{', '.join(takes)}{also}."
        )
    return typing.cast("Encoding", given)
