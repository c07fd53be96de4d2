# ruff: noqa: DTZ001 - the times of a row are naive UTC

"""Rows for compiled properties, classes made from text, and Python as the judge of both."""

import datetime as dt
import itertools
import linecache
import math
import random
import struct
import warnings
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tadka.core.resource import parse_bytes as dt_module_function  # noqa: F401
from tadka.features.definition import Field
from tadka.features.program import Program

native = pytest.importorskip("tadka.features.native")

FIELDS = (
    Field("time", "datetime", 1),
    Field("seen", "datetime", 2, is_optional=True),
    Field("site", "str", 3),
    Field("user", "str", 4, is_optional=True),
    Field("count", "int", 5),
    Field("category", "int", 6, is_optional=True),
    Field("price", "float", 7),
    Field("bid", "float", 8, is_optional=True),
    Field("is_new", "bool", 9),
    Field("is_app", "bool", 10, is_optional=True),
    Field("tags", "str", 11, is_list=True),
    Field("ids", "int", 12, is_list=True),
    Field("sizes", "float", 13, is_list=True),
)
NAMES = [field.name for field in FIELDS]

NAN, INF = math.nan, math.inf
TIMES = [
    datetime(2024, 5, 17, 13, 4, 5, 678901),
    datetime(1970, 1, 1),
    datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime(1, 1, 1),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime(2000, 2, 29, 12),
    datetime(1900, 3, 1),
    datetime(2023, 12, 31, 0, 0, 0, 1),
]
TEXTS = [
    "", "a", "site", "Example.com", " x ", "日本語サイト", "é", "İ", "ß", "ab日本", "\u3000a",
    "a\u00a0", "\x1ca\x85", "\U0001f600b", "None", "12", "-7", "+3", "1_0", " 5", "٣", "0" * 19,
    "-", "9" * 18, "x" * 300, "a\x00b",
]  # fmt: skip
INTS = [
    0, 1, -1, 2, 3, 7, -7, 10, 42, 60, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63),
    10**18, 999_999_999_999_999_999,
]  # fmt: skip
FLOATS = [
    0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 0.1, 1e300, -1e300, 5e-324, 1e18, 9.3e18, -9.3e18,
    2.0**53, 2.0**63, -(2.0**63), NAN, INF, -INF, 3.7, -3.7, 1e16, 0.49999999999999994,
]  # fmt: skip


def some_row(chance: random.Random) -> list[Any]:
    """A row that is hostile as often as not."""

    def optional(values: list[Any]) -> Any:
        return None if chance.random() < 0.3 else chance.choice(values)

    def several(values: list[Any]) -> list[Any]:
        return chance.choices(values, k=chance.choice([0, 0, 1, 2, 3]))

    return [
        chance.choice(TIMES),
        optional(TIMES),
        chance.choice(TEXTS),
        optional(TEXTS),
        chance.choice(INTS),
        optional(INTS),
        chance.choice(FLOATS),
        optional(FLOATS),
        chance.random() < 0.5,
        optional([False, True]),
        several(TEXTS),
        several(INTS),
        several(FLOATS),
    ]


USUAL = [
    datetime(2024, 5, 17, 13, 4, 5),
    datetime(2024, 5, 16, 1, 2, 3),
    "Example.com",
    "u12",
    42,
    3,
    12.5,
    0.25,
    True,
    False,
    ["a", "b"],
    [7, 8],
    [0.5],
]
ROWS = [USUAL, *(some_row(random.Random(seed)) for seed in range(400))]


class Row:
    """Stands for an instance of the feature class."""

    def __init__(self, cls: type, values: list[Any]) -> None:
        self.__class__ = type("Row", (cls,), {})
        for name, value in zip(NAMES, values, strict=True):
            setattr(self, name, value)


def bits(value: Any) -> Any:
    """Equal for values that are the same to the last bit and of the same type."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, list):
        return [bits(item) for item in value]
    return type(value), value


def properties_of(cls: type) -> dict[str, property]:
    return {name: value for name, value in vars(cls).items() if isinstance(value, property)}


def check(program: Program, cls: type, name: str, values: list[Any]) -> bool:
    """Whether the machine answered; if so, it was right."""
    is_known, value = native.run_program(program, values)
    try:
        expected = getattr(cls, name).fget(Row(cls, values))
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError):
        expected = None
        assert not is_known, f"{name} raises but gave {value!r} for {values}\n{program}"
    if not is_known:
        return False
    assert bits(expected) == bits(value), f"{name} for {values}\n{program}"
    return True


# What the properties refer to.
JST = timedelta(hours=9)
LAUNCH = datetime(2024, 1, 1)
AWARE = datetime(2024, 1, 1, tzinfo=dt.UTC)
LIMIT = 10
RATE = 0.1
SITES = ("Example.com", "site", "日本語サイト")
CODES = frozenset({1, 2, 3, 42, 2.5})
MANY = frozenset(str(i) for i in range(600)) | {"site"}
NAME = "日本"
BELOW_ZERO = -273.15
CHANGING = ["a"]
SETTINGS = SimpleNamespace(limit=3)


def band(x: float, width: float) -> str:
    if x < width:
        return "low"
    elif x < 10 * width:
        return f"mid{int(x // width)}"
    return "high"


def add_one(x: Any) -> Any:
    x += 1
    return x


def takes_any(x: Any, *more: Any) -> Any:
    return x


def forever(x: Any) -> Any:
    return forever(x)


_numbers = itertools.count()


def from_source(lines: list[str]) -> type:
    """A class whose source inspect can find, without a file."""
    name = f"<rows {next(_numbers)}>"
    text = "\n".join(lines) + "\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(compile(text, name, "exec", dont_inherit=True), globals(), scope)
    made = scope["Made"]
    assert isinstance(made, type)
    return made
