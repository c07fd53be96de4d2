"""Rows: instances of a feature class whose fields hold exactly the types that they say."""

import operator
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np

from tadka.core.error import DataError
from tadka.features.annotation import Shape
from tadka.features.declaration import Member
from tadka.features.wire import naive_utc

MIN_INT, MAX_INT = -(2**63), 2**63 - 1


class PropertyError(DataError):
    """A property of a feature class raises, or gives what its annotation does not say."""


def at_row(row: int | None) -> str:
    """Head of a message about a row; empty where the row has no number."""
    return "" if row is None else f"Row {row}: "


def type_of(value: Any) -> str:
    """How a message names the type of a value."""
    return "None" if value is None else type(value).__name__


def show(value: Any) -> str:
    """How a message shows a value: its start, whatever its own repr does."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - of the user's class, or of an int of over 4300 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


class Rows:
    """Makes rows of a feature class, and gives their fields.

    Args:
        cls: The feature class.
        fields: Of the class.
    """

    def __init__(self, cls: type, fields: Sequence[Member]) -> None:
        self._cls = cls
        self._names = [field.name for field in fields]
        self._checks = [_check(field) for field in fields]

    def make(self, values: Sequence[Any], row: int | None = None) -> Any:
        """The instance with these values.

        Args:
            values: Of the fields in the order of the class, of their exact types.
            row: Its number, for messages.

        Raises:
            DataError: The class's own `__post_init__` refuses it.
        """
        try:
            return self._cls(**dict(zip(self._names, values, strict=True)))
        except Exception as error:  # the user's own code, of any kind
            raise DataError(
                f"{at_row(row)}{self._cls.__name__} cannot be made of {show(list(values))}: "
                f"{type(error).__name__}: {error}."
            ) from error

    def exact(self, instance: Any, row: int | None = None) -> tuple[Any, list[Any]]:
        """A row whose fields hold exactly their types, and the values of these fields.

        Args:
            instance: What the user made; returned as it is if nothing needs to change.
            row: Its number, for messages.

        Raises:
            DataError: A value cannot be that of its field.
        """
        if type(instance) is not self._cls:  # a subclass may compute its properties otherwise
            raise DataError(
                f"{at_row(row)}{show(instance)} is no {self._cls.__name__} but "
                f"{type_of(instance)}; give all rows as messages (bytes) or as instances."
            )
        given = [getattr(instance, name) for name in self._names]
        try:
            values = [check(value) for check, value in zip(self._checks, given, strict=True)]
        except DataError as error:
            raise DataError(f"{at_row(row)}{error}") from error
        if any(now is not before for now, before in zip(values, given, strict=True)):
            return self.make(values, row), values
        return instance, values


def _check(field: Member) -> Callable[[Any], Any]:
    """A function that gives a field's value in its exact type."""
    shape, name = field.shape, field.name
    convert = _CONVERT[shape.type]

    def refuse(value: Any) -> DataError:
        return DataError(f"field {name!r} is {show(value)} ({type_of(value)}); it must be {shape}.")

    def scalar(value: Any) -> Any:
        try:
            return convert(value)
        except (TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise DataError(f"field {name!r} is {show(value)}: {error}") from error
            raise refuse(value) from error

    def optional(value: Any) -> Any:
        return None if value is None else scalar(value)

    def several(value: Any) -> Any:
        if not isinstance(value, list | tuple | np.ndarray):
            raise refuse(value)
        items = [scalar(item) for item in value]
        if type(value) is list and all(a is b for a, b in zip(items, value, strict=True)):
            return value
        return items

    return several if shape.is_list else optional if shape.is_optional else scalar


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return value if type(value) is bool else bool(value)
    raise TypeError


def _to_int(value: Any) -> int:
    if isinstance(value, bool | np.bool_) or not isinstance(value, SupportsIndex):
        raise TypeError
    number = value if type(value) is int else int(operator.index(value))
    if not MIN_INT <= number <= MAX_INT:
        raise DataError("an int must lie within 64 bits, -2**63 to 2**63 - 1.")
    return number


def _to_float(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, bool | np.bool_ | str) or not isinstance(
        value, float | np.floating | SupportsIndex
    ):
        raise TypeError
    assert isinstance(value, SupportsFloat | SupportsIndex)
    try:
        return float(value)
    except OverflowError as error:
        raise DataError("it is beyond the largest float.") from error


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError("a lone surrogate cannot be UTF-8.") from error
    return value if type(value) is str else str.__str__(value)


def _to_datetime(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError
    value = naive_utc(value)
    if type(value) is datetime:
        return value
    # a subclass, such as pandas' Timestamp; its NaT has no year
    return datetime(  # noqa: DTZ001 - naive is UTC
        value.year,
        value.month,
        value.day,
        value.hour,
        value.minute,
        value.second,
        value.microsecond,
    )


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "bool": _to_bool,
    "datetime": _to_datetime,
    "float": _to_float,
    "int": _to_int,
    "str": _to_str,
}


def property_value(value: Any, shape: Shape) -> Any:
    """A property's value in the exact type of its annotation.

    Args:
        value: What the property gave.
        shape: What its annotation says.

    Raises:
        TypeError: It is of another type.
        DataError: It is text that cannot be UTF-8.
    """
    if shape.is_list:
        if not isinstance(value, list | tuple | np.ndarray):
            raise TypeError
        return [_item(item, shape.type) for item in value]
    if value is None and shape.is_optional:
        return None
    return _item(value, shape.type)


def _item(value: Any, kind: str) -> Any:
    if type(value) is int and kind == "int":
        return value  # of any size: it is hashed as text
    return _CONVERT[kind](value)
