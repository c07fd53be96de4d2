"""Rows that come as names and values, of JSON or of tensors, as messages of the feature class.

A row takes the same way as an instance that a client makes: what comes out is its message, so that
one row scores the same by every door.
"""

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tadka.core.error import DataError
from tadka.features.definition import Field
from tadka.features.features import Features
from tadka.features.row import show
from tadka.features.wire import from_time, naive_utc

_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How proto3's JSON writes the floats that JSON has no numbers for."""


class Intake:
    """Makes messages of one feature class.

    Args:
        features: The class.
    """

    def __init__(self, features: type[Features]) -> None:
        self._features = features
        self.fields: Sequence[Field] = features.definition().fields
        self.by_name: Mapping[str, Field] = {field.name: field for field in self.fields}
        self._defaults = _defaults(features)

    def message(self, values: Mapping[str, Any]) -> bytes:
        """The message of a row.

        Args:
            values: By field. One that is left out takes the default of the class, or is None where
                it is optional; others must be there. Floats may be the texts `"NaN"`,
                `"Infinity"` and `"-Infinity"`; times are ISO 8601 (without zone: UTC) or integers
                of microseconds since 1970.

        Raises:
            DataError: A field is unknown or missing, or its value cannot be.
        """
        for name in values:
            if name not in self.by_name:
                raise DataError(self.unknown(name))
        # Not by the constructor: a __post_init__ runs where the message is read, and only there.
        row = self._features.__new__(self._features)
        for field in self.fields:
            if field.name in values:
                setattr(row, field.name, _value(field, values[field.name]))
            elif field.name in self._defaults:
                setattr(row, field.name, self._defaults[field.name]())
            elif field.is_optional:
                setattr(row, field.name, None)
            else:
                raise DataError(f"field {field.name!r} is missing; it must be {field}.")
        return row.to_message()

    def unknown(self, name: str) -> str:
        """What is said of a field that the class has not."""
        close = difflib.get_close_matches(name, self.by_name, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return (
            f"field {show(name)} is unknown.{hint} {self._features.__name__} has: "
            f"{', '.join(self.by_name)}."
        )


def _defaults(features: type[Features]) -> dict[str, Callable[[], Any]]:
    """What makes the default of each field that has one."""
    made: dict[str, Callable[[], Any]] = {}
    for field in dataclasses.fields(features):  # type: ignore[arg-type]  # every subclass is one
        if field.default_factory is not dataclasses.MISSING:
            made[field.name] = field.default_factory
        elif field.default is not dataclasses.MISSING:
            made[field.name] = functools.partial(_same, field.default)
    return made


def _same(value: Any) -> Any:
    return value


def _value(field: Field, value: Any) -> Any:
    """A value in a type that the feature class takes; what it is not the class refuses."""
    if field.type not in ("datetime", "float"):
        return value
    convert = _time if field.type == "datetime" else _float
    if field.is_list and isinstance(value, list):
        return [convert(field, item) for item in value]
    return convert(field, value)


def _time(field: Field, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    try:
        if isinstance(value, int):
            return from_time(value)
        return naive_utc(datetime.fromisoformat(value)) if isinstance(value, str) else value
    except DataError as error:
        raise DataError(f"field {field.name!r}: {str(error).rstrip('.')}.") from error
    except ValueError as error:
        raise DataError(
            f"field {field.name!r} is {show(value)}; a time is ISO 8601, such as "
            '"2024-01-01T09:00:00Z", or an integer of microseconds since 1970.'
        ) from error


def _float(_: Field, value: Any) -> Any:
    return _FLOATS.get(value, value) if isinstance(value, str) else value
