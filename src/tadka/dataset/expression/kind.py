"""Types of columns, and what they are called in Python, in Arrow, in DuckDB and in Spark."""

import types
import typing
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from tadka.core.error import ConfigError
from tadka.core.extra import require

if TYPE_CHECKING:
    import pyarrow as pa


class Utc(datetime):
    """Annotation of a point in time: a timestamp in UTC, where `datetime` is one without a zone.

    The two are different types: comparing one with the other is an error of the definition.
    """


@dataclass(frozen=True)
class Kind:
    """The type of a column or an expression.

    Args:
        name: `"bool"`, `"int8"` to `"int64"`, `"float32"`, `"float64"`, `"string"`, `"bytes"`,
            `"date"`, `"time"` (a timestamp in microseconds without a zone), `"utc"` (one in UTC) or
            `"list"`.
        item: Of a list's items; None for any other.
    """

    name: str
    item: "Kind | None" = None

    def __str__(self) -> str:
        return f"list[{self.item}]" if self.item is not None else self.name

    @property
    def is_int(self) -> bool:
        """Whether it holds whole numbers."""
        return self.name in _INT_BITS

    @property
    def is_float(self) -> bool:
        """Whether it holds floating-point numbers, and so may hold NaN."""
        return self.name in ("float32", "float64")

    @property
    def is_number(self) -> bool:
        """Whether one can calculate with it."""
        return self.is_int or self.is_float

    @property
    def is_time(self) -> bool:
        """Whether it is a timestamp, with or without zone."""
        return self.name in ("time", "utc")

    @property
    def num_bits(self) -> int:
        """Width of a whole number."""
        return _INT_BITS[self.name]

    @cached_property
    def arrow(self) -> "pa.DataType":
        """The type in Arrow, in which versions are written and read."""
        pa = require("pyarrow", extra="dataset")
        if self.item is not None:
            return pa.list_(self.item.arrow)
        if self.is_time:
            return pa.timestamp("us", tz="UTC" if self.name == "utc" else None)
        return getattr(pa, _ARROW.get(self.name, self.name))()

    @property
    def duckdb(self) -> str:
        """The type in DuckDB's SQL."""
        return f"{self.item.duckdb}[]" if self.item is not None else _DUCKDB[self.name]

    @property
    def spark(self) -> str:
        """The type in Spark's SQL."""
        return f"ARRAY<{self.item.spark}>" if self.item is not None else _SPARK[self.name]


_INT_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
_ARROW = {"bool": "bool_", "bytes": "binary", "date": "date32"}
_DUCKDB = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "bytes": "BLOB",
    "date": "DATE",
    "time": "TIMESTAMP",
    "utc": "TIMESTAMP WITH TIME ZONE",
}
_SPARK = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INT",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "STRING",
    "bytes": "BINARY",
    "date": "DATE",
    "time": "TIMESTAMP_NTZ",
    "utc": "TIMESTAMP_LTZ",  # TIMESTAMP alone is the one or the other by a setting
}

BOOL, INT, FLOAT, STRING, BYTES, DATE, TIME, UTC = (
    Kind(name) for name in ("bool", "int64", "float64", "string", "bytes", "date", "time", "utc")
)

_BY_TYPE: dict[Any, Kind] = {
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: STRING,
    bytes: BYTES,
    date: DATE,
    datetime: TIME,
    Utc: UTC,
    np.int8: Kind("int8"),
    np.int16: Kind("int16"),
    np.int32: Kind("int32"),
    np.int64: INT,
    np.float32: Kind("float32"),
    np.float64: FLOAT,
}
ACCEPTED = (
    "bool, int, float, str, bytes, date, datetime (without zone), Utc, numpy's int8 to int64, "
    "float32 and float64, or a list of one of these; `| None` where nulls are expected"
)


def kind_of(annotation: Any, where: str) -> tuple[Kind, bool]:
    """The kind that an annotation stands for, and whether it admits nulls.

    Args:
        annotation: As a user writes it: `int`, `float | None`, `list[np.int32]`.
        where: Whose it is, for the message: `"Column 'price' of table 'Imp'"`.

    Raises:
        ConfigError: It stands for no kind.
    """
    if typing.get_origin(annotation) in (Union, types.UnionType):
        members = [m for m in typing.get_args(annotation) if m is not type(None)]
        if len(members) == 1:
            return kind_of(members[0], where)[0], True
    elif typing.get_origin(annotation) is list:
        kind, _ = kind_of(typing.get_args(annotation)[0], where)
        if kind.item is None:
            return Kind("list", kind), False
    elif isinstance(annotation, type) and annotation in _BY_TYPE:
        return _BY_TYPE[annotation], False
    is_plain = isinstance(annotation, type) and typing.get_origin(annotation) is None
    shown = annotation.__name__ if is_plain else repr(annotation)
    raise ConfigError(f"{where} has type {shown}, which no column has; accepted are {ACCEPTED}.")


def annotation_of(kind: Kind) -> Any:
    """The type that a user would annotate a column of a kind with.

    Args:
        kind: Any.
    """
    if kind.item is not None:
        return list[annotation_of(kind.item)]  # type: ignore[misc]
    return next(type_ for type_, known in _BY_TYPE.items() if known == kind)


def named_kind(text: str, where: str) -> Kind:
    """The kind of a name as `str(kind)` gives it.

    Args:
        text: `"int64"`, `"list[string]"`.
        where: Whose it is, for the message.

    Raises:
        ConfigError: There is no such kind.
    """
    if text.startswith("list[") and text.endswith("]") and text[5:-1] in _DUCKDB:
        return Kind("list", Kind(text[5:-1]))
    if text not in _DUCKDB:
        raise ConfigError(
            f"{where} has type {text!r}; it must be one of {', '.join(_DUCKDB)} or list[...] of it."
        )
    return Kind(text)
