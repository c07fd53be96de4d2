import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from enum import Enum, Flag
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypeVar

import numpy as np
import pytest

from tadka.core.error import ConfigError
from tadka.task.define.field import Field, param
from tadka.task.define.frozen import FrozenDict, Input

User = NewType("User", int)
V = TypeVar("V")
NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)


class Mode(Enum):
    FAST = "f"
    EXACT = "e"


class Bits(Flag):
    A = 1


@dataclass(frozen=True)
class Window:
    days: int
    names: list[str]
    scale: float = 1.0


@dataclass
class Loose:
    days: int


class Text(str):
    __slots__ = ()


def field(annotation: Any, declared: Any = MISSING) -> Field:
    return Field.of("x", annotation, declared, "Clicks")


GOOD: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (int, 5, 5),
    (float, 1, 1.0),
    (float, 0.1, 0.1),
    (float, float("inf"), float("inf")),
    (bool, True, True),
    (None, None, None),
    (dt.date, dt.date(2026, 1, 31), dt.date(2026, 1, 31)),
    (dt.datetime, NOON, NOON),
    (dt.timedelta, dt.timedelta(-1, 5, 7), dt.timedelta(-1, 5, 7)),
    (Path, Path("a/b"), Path("a/b")),
    (Mode, Mode.FAST, Mode.FAST),
    (Literal["a", 1, True], True, True),
    (Literal["a", 1, True], 1, 1),
    (User, 5, 5),
    (Annotated[int, "of something"], 5, 5),
    (int | None, None, None),
    (float | int, 1, 1),
    (dt.date | str, "2026-01-31", "2026-01-31"),
    (dt.date | str, dt.date(2026, 1, 31), dt.date(2026, 1, 31)),
    (list[int], [1, 2], (1, 2)),
    (Sequence[float], (1, 2), (1.0, 2.0)),
    (tuple[int, ...], [], ()),
    (tuple[int, str], (1, "a"), (1, "a")),
    (set[str], {"b", "a"}, frozenset({"a", "b"})),
    (dict[str, list[int]], {"a": [1]}, {"a": (1,)}),
    (Mapping[dt.date, int], {dt.date(2026, 1, 31): 1}, {dt.date(2026, 1, 31): 1}),
    (dict[int, str], {1: "a"}, {1: "a"}),
    (dict[float, Mode], {0.5: Mode.EXACT}, {0.5: Mode.EXACT}),
    (dict[str, str] | None, {"type": "None", "value": "x"}, {"type": "None", "value": "x"}),
    (Window, Window(1, ["a"]), Window(1, ("a",))),  # type: ignore[arg-type]
    (list[tuple[str, Window | None]], [("a", None)], (("a", None),)),
]


@pytest.mark.parametrize(("annotation", "given", "kept"), GOOD)
def test_a_value_is_checked_frozen_and_survives_json(
    annotation: Any, given: Any, kept: Any
) -> None:
    tested = field(annotation)
    value = tested.value_of(given, "Clicks")

    assert kept == value
    assert type(kept) is type(value) or isinstance(value, FrozenDict)
    assert value == tested.value_of(value, "Clicks")
    data = json.loads(json.dumps(tested.to_json(value), allow_nan=False))
    back = tested.from_json(data, "Clicks")
    assert value == back
    assert type(value) is type(back)
    assert canonical(tested, value) == canonical(tested, back)


def canonical(tested: Field, value: Any) -> bytes:
    def part(item: Input[Any]) -> bytes:
        return item.id.encode()

    return tested.canonical(tested.value_of(value, "Clicks"), part)


@pytest.mark.parametrize(
    ("annotation", "given", "message"),
    [
        (int, "7", r"Field 'x' of Clicks is '7'; it must be int\.$"),
        (int, True, r"is True; it must be int\.$"),
        (bool, 1, r"is 1; it must be bool\."),
        (str, Text("a"), r"it must be str. It is of a subclass of str; write str\(...\)\."),
        (float, 2**53 + 1, "too large to be a float unchanged"),
        (float, 10**400, "too large to be a float unchanged"),
        (int, np.int64(5), r"it must be int. Make it a value of Python: \.item\(\)\."),
        (float, np.float64(5), r"Make it a value of Python: \.item\(\)\."),
        (list[int], np.zeros(2), r"Make it a value of Python: \.tolist\(\)\."),
        (list[int], [1, [2], "3"], r"Field 'x\[1\]' of Clicks is \[2\]; it must be int\."),
        (dict[str, list[int]], {"a": [0, "b"]}, r"""Field "x\['a'\]\[1\]" of Clicks is 'b'"""),
        (tuple[int, str], (1,), r"it must be tuple\[int, str\], with 2 items"),
        (dt.date, NOON, r"it must be date\. A date of it is \.date\(\)\."),
        (dt.date, "2026-01-31", r"it must be date. Write date.fromisoformat\('2026-01-31'\)\."),
        (Path, "a", r"it must be Path. Write Path\('a'\)\."),
        (Mode, "f", r"it must be a member of Mode. Write Mode.FAST\."),
        (Literal["a", 1], True, r"is True; it must be one of 'a', 1\."),
        (int | None, "a", r"is 'a'; it must be int or None\."),
        (list[int] | None, ["a"], r"Field 'x\[0\]' of Clicks is 'a'; it must be int\."),
        (Window, Window("a", []), r"Field 'x.days' of Clicks is 'a'; it must be int\."),  # type: ignore[arg-type]
        (str, 5 * [10**30], r"\.\.\.; it must be str"),
        (set[int], [1], r"is \[1\]; it must be set\[int\]\."),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(annotation: Any, given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        field(annotation).value_of(given, "Clicks")


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Any, "has the type Any, which is no parameter. Say which values"),
        (bytes, "has the type bytes, which is no parameter. Accepted are str, int"),
        (np.ndarray, r"Data comes from a task: Task\[ndarray\]\."),
        (list, r"is a list of anything; say of what, as in list\[int\]"),
        (dict, r"as in dict\[str, int\]"),
        (Loose, r"is the dataclass Loose, which can change; write @dataclass\(frozen=True\)"),
        (Bits, "has the type Bits"),
        (V, "A type variable stands only inside"),
        (dict[str | int, int], r"whose keys are str \| int; keys can be str"),
    ],
)
def test_a_type_that_is_no_parameter_is_refused(annotation: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"Field 'x' of Clicks .*{message}"):
        field(annotation)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "null", "null"),
        (str | None, "null", None),
        (str | None, "a", "a"),
        (int, "-5", -5),
        (float, "1e-3", 0.001),
        (float, "5", 5.0),
        (bool, "true", True),
        (int | str, "5", 5),
        (int | str, "five", "five"),
        (dt.date, "2026-01-31", dt.date(2026, 1, 31)),
        (dt.timedelta, "1d12h", dt.timedelta(1, 12 * 3600)),
        (dt.timedelta, "1.5s", dt.timedelta(0, 1, 500_000)),
        (dt.timedelta, "90m", dt.timedelta(0, 5400)),
        (Path, "a/b", Path("a/b")),
        (Mode, "FAST", Mode.FAST),
        (Literal["a", 1], "1", 1),
        (list[dt.date], '["2026-01-31"]', (dt.date(2026, 1, 31),)),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Window, '{"days": 1, "names": []}', Window(1, ())),  # type: ignore[arg-type]
    ],
)
def test_a_value_is_read_from_text(annotation: Any, text: str, value: Any) -> None:
    assert value == field(annotation).from_text(text, "Clicks")


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        (int, "5.5", r"Field 'x' of Clicks is 5.5; it must be int\."),
        (int, "a", "is 'a'; it must be a whole number"),
        (float, "a", "it must be a number"),
        (bool, "yes", "it must be true or false"),
        (dt.date, "31.1.", "it must be a date such as 2026-01-31"),
        (dt.timedelta, "", "it must be a span of time such as 90s"),
        (Mode, "f", "it must be one of FAST, EXACT"),
        (Literal["a", 1], "2", "it must be one of 'a', 1"),
        (list[int], "1,2", r"it must be list\[int\], as JSON"),
        (list[int], "5", r"is 5; it must be a list, for list\[int\]"),
        (dict[str, int], "[]", "it must be an object"),
        (Window, '{"day": 1}', "it must be Window, which has days, names, scale"),
        (Window, '{"days": 1}', "missing 1 required positional argument: 'names'"),
    ],
)
def test_a_text_that_is_no_value_is_refused(annotation: Any, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        field(annotation).from_text(text, "Clicks")


def test_values_of_different_types_are_never_one() -> None:
    anything = field(str | int | float | bool | dt.date | Path | list[str] | dict[str, str] | None)
    values = [
        "1", 1, 1.0, True, None, "", [], {}, [""], ["", ""], ["1"], {"1": "1"}, ["1", "1"],
        dt.date(2026, 1, 1), "2026-01-01", Path("1"), float("nan"), 0.0, -0.0, 0, False, "None",
    ]  # fmt: skip

    assert len(values) == len({canonical(anything, value) for value in values})


def test_the_order_of_a_dict_counts_and_that_of_a_set_does_not() -> None:
    dicts, sets = field(dict[str, int]), field(set[str])

    assert canonical(dicts, {"a": 1, "b": 2}) != canonical(dicts, {"b": 2, "a": 1})
    assert canonical(sets, {"a", "b", "c"}) == canonical(sets, {"c", "b", "a"})


def test_a_frozen_dict_cannot_change() -> None:
    value = field(dict[str, int]).value_of({"a": 1}, "Clicks")
    changes: list[Callable[[], object]] = [
        lambda: value.update(b=1),
        lambda: value.pop("a"),
        lambda: value.__setitem__("a", 2),
        lambda: value.__ior__({"b": 2}),
    ]

    for change in changes:
        with pytest.raises(TypeError, match=r"cannot change\. Copy it"):
            change()
    assert {"a": 1} == value


def test_a_default_is_checked() -> None:
    assert (1.0, False) == (field(float, 1).default, field(float, 1).is_required)
    assert () == field(list[int], param(default_factory=list)).made_default("Clicks")
    assert not field(int, param(default=1, significant=False)).is_significant
    with pytest.raises(ConfigError, match="Field 'x' of Clicks has as default 'a'; it must be int"):
        field(int, "a")
    with pytest.raises(ConfigError, match=r"all tasks of the class would share; write param\(def"):
        field(list[int], [])
    with pytest.raises(ConfigError, match="Field 'x' of Clicks is 5; it must be list"):
        field(list[int], param(default_factory=lambda: 5)).made_default("Clicks")
    with pytest.raises(ConfigError, match=r"Clicks needs field 'x' \(int\)\."):
        field(int).made_default("Clicks")


def test_param_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="both `default` and `default_factory`"):
        param(default=1, default_factory=list)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="default_factory=5; it must be a function"):
        param(default_factory=5)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="significant=0; it must be bool"):
        param(significant=0)  # type: ignore[call-overload]
