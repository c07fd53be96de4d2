"""Types of columns, in one vocabulary for Python, numpy, pandas, polars and Arrow.

A type is a family (`int`) and a detail (`int32`); a declared Python type has no detail and takes
every column of its family. Details are the names that Arrow and numpy share; those of pandas'
nullable types begin with a capital, as pandas writes them.
"""

import datetime as dt
import decimal
import re
import types
import typing
from dataclasses import dataclass
from typing import Any

from tadka.core.error import ConfigError
from tadka.core.extra import require

_PYTHON: dict[Any, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    dt.date: "date",
    dt.datetime: "datetime",
    dt.timedelta: "duration",
    dt.time: "time",
    decimal.Decimal: "decimal",
    list: "list",
    dict: "struct",
    object: "any",
    Any: "any",
}
_FAMILIES = sorted({*_PYTHON.values(), "category", "object", "null"})

# What libraries call a type -> (family, detail); `\1` and so on are taken from the match.
_NAMES: tuple[tuple[str, str, str], ...] = (
    (r"bool|bool_|Boolean", "bool", "bool"),
    (r"boolean", "bool", "boolean"),
    (r"(u?int(?:8|16|32|64|128))", "int", r"\1"),
    (r"(U?Int(?:8|16|32|64|128))", "int", r"\1"),
    (r"(float(?:16|32|64))|(Float(?:16|32|64))", "float", r"\1\2"),
    (r"halffloat", "float", "float16"),
    (r"double", "float", "float64"),
    (r"string|large_string|string_view|String|Utf8|str_?", "str", ""),
    (r"string\[.*\]|<U\d*", "str", ""),
    (r"binary|large_binary|Binary|bytes_?", "bytes", ""),
    (r"date32\[day\]|date64\[ms\]|Date", "date", ""),
    (r"datetime64\[(\w+)\]|timestamp\[(\w+)\]", "datetime", r"\1\2"),
    (r"datetime64\[(\w+), ([^\]]+)\]", "datetime", r"\1, \2"),
    (r"timestamp\[(\w+), tz=([^\]]+)\]", "datetime", r"\1, \2"),
    (r"Datetime\(time_unit='(.s|s)', time_zone=None\)", "datetime", r"\1"),
    (r"Datetime\(time_unit='(.s|s)', time_zone='([^']+)'\)", "datetime", r"\1, \2"),
    (r"Datetime|datetime64|timestamp", "datetime", ""),
    (r"timedelta64\[(\w+)\]|duration\[(\w+)\]", "duration", r"\1\2"),
    (r"Duration\(time_unit='(.s|s)'\)", "duration", r"\1"),
    (r"Duration|timedelta64|timedelta", "duration", ""),
    (r"time(?:32|64)\[\w+\]|Time", "time", ""),
    (r"decimal(?:32|64|128|256)?\((\d+), (\d+)\)", "decimal", r"\1, \2"),
    (r"Decimal\(precision=(\d+), scale=(\d+)\)", "decimal", r"\1, \2"),
    (r"Decimal", "decimal", ""),
    (r"category|Categorical.*|dictionary<.*", "category", ""),
    (r"Enum(?:\((.*)\))?", "category", r"\1"),
    (r"((?:large_|fixed_size_)?list<.*>.*|List\(.*\)|Array\(.*\))", "list", r"\1"),
    (r"List|Array", "list", ""),
    (r"(struct<.*>|map<.*>|Struct\(.*\))", "struct", r"\1"),
    (r"Struct", "struct", ""),
    (r"object_?|Object", "object", ""),
    (r"null|Null", "null", ""),
)
_COMPILED = tuple((re.compile(name, re.DOTALL), family, to) for name, family, to in _NAMES)


@dataclass(frozen=True)
class Kind:
    """A column's type.

    Args:
        family: What it is: `int`, `float`, `str`, `datetime`, `category` ...
        detail: Which one, such as `int32`; empty for any of the family.
    """

    family: str
    detail: str = ""

    def __str__(self) -> str:
        if self.family in {"datetime", "duration", "decimal", "category"} and self.detail:
            return f"{self.family}[{self.detail}]"
        return self.detail or self.family

    def holds(self, seen: "Kind", *, is_pandas: bool) -> bool:
        """Whether a column of the type `seen` is of this declared type."""
        if self.family == "any":
            return True
        if self.family != seen.family:
            return False
        if is_pandas:  # int64 and Int64 are two types there, and nowhere else
            return self.detail in {"", seen.detail}
        return self.detail.lower() in {"", seen.detail.lower()}


def kind_of(dtype: Any) -> Kind | None:
    """The type that a library's type, or its name, means.

    Args:
        dtype: A dtype of numpy, pandas, polars or Arrow, a class of one, or its name.

    Returns:
        None where it means no type of a column.
    """
    if isinstance(dtype, str):
        return _of_name(dtype.strip())
    root = _library(dtype)
    if root == "numpy":
        try:
            return _of_name(require("numpy").dtype(dtype).name)
        except TypeError:
            return None
    if root == "pandas":
        arrow = getattr(dtype, "pyarrow_dtype", None)
        return _of_name(str(dtype if arrow is None else arrow)) or Kind("object", str(dtype))
    if root == "polars":  # the same names as pandas' nullable types, but another meaning
        kind = _of_name(str(dtype)) or Kind("object", str(dtype))
        is_number = kind.family in {"int", "float"}
        return Kind(kind.family, kind.detail.lower()) if is_number else kind
    if root == "pyarrow":
        if str(dtype) == "float":  # what Arrow calls float32
            return Kind("float", "float32")
        return _of_name(str(dtype)) or Kind("object", str(dtype))
    return None


def _library(dtype: Any) -> str:
    cls = dtype if isinstance(dtype, type) else type(dtype)
    return str(cls.__module__).partition(".")[0]


def _of_name(name: str) -> Kind | None:
    if name in _FAMILIES:
        return Kind(name)
    for pattern, family, to in _COMPILED:
        if match := pattern.fullmatch(name):
            detail = "".join(
                match[int(part[1:])] or "" if part.startswith("\\") else part
                for part in re.split(r"(\\\d)", to)
            )
            return Kind(family, detail)
    return None


@dataclass(frozen=True)
class Column:
    """A declared column.

    Args:
        name: Its name.
        kind: Its type.
        is_nullable: Whether it may hold nulls.
    """

    name: str
    kind: Kind
    is_nullable: bool

    @classmethod
    def of(cls, name: Any, declared: Any) -> "Column":
        """A column from what the user wrote.

        Args:
            name: Its name.
            declared: A type; a union with None, or a tuple of a type and None, allows nulls.

        Raises:
            ConfigError: The name is no text, or the type is none.
        """
        if not isinstance(name, str):
            raise ConfigError(f"Out has a column named {name!r}; names of columns must be text.")
        type_, is_nullable = _without_none(declared)
        if isinstance(type_, str) and type_.endswith("| None"):
            type_, is_nullable = type_.removesuffix("| None").strip(), True
        kind = _python_kind(type_) or kind_of(type_)
        if kind is None or kind.family == "null":
            raise ConfigError(
                f"Out has the column {name!r} with the type {declared!r}, which is none; it must "
                "be a type of Python (int, float, str, bool, date, datetime ...), numpy, pandas, "
                "polars or Arrow, or its name, each with `| None` where nulls are allowed."
            )
        # nulls are what pandas' nullable types are for
        is_masked = re.fullmatch(r"boolean|U?Int\d+|Float\d+", kind.detail) is not None
        return cls(name, kind, is_nullable or is_masked or kind.family == "any")

    @property
    def text(self) -> str:
        """The type in one form, however it was written."""
        return f"{self.kind} | None" if self.is_nullable else str(self.kind)


def _python_kind(type_: Any) -> Kind | None:
    try:
        family = _PYTHON.get(type_)
    except TypeError:  # unhashable: no type of Python
        return None
    return None if family is None else Kind(family)


def _without_none(declared: Any) -> tuple[Any, bool]:
    if isinstance(declared, tuple) and len(declared) == 2 and declared[1] is None:
        return declared[0], True
    if typing.get_origin(declared) in {typing.Union, types.UnionType}:
        others = [part for part in typing.get_args(declared) if part is not type(None)]
        if len(others) == 1:
            return others[0], len(others) < len(typing.get_args(declared))
    return declared, False
