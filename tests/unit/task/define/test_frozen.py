import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.task.define.frozen import FrozenDict, Input, canonical, inputs, loaded, ordered, replaced
from tests.unit.task.shop import Link, Mode, Note

ONE, TWO = Link(number=1), Link(number=2)
HELD = (ONE, FrozenDict({"x": TWO, Mode.FAST: (ONE, 5)}))


def part(item: Input[Any]) -> bytes:
    return b"?"


def test_tasks_are_found_changed_and_loaded_in_place() -> None:
    places = [("a[0]", ONE), ("a[1]['x']", TWO), ("a[1][FAST][0]", ONE)]

    assert places == list(inputs(HELD, "a"))
    assert [1, {"x": 2, Mode.FAST: [1, 5]}] == loaded(HELD, lambda item: getattr(item, "number"))  # noqa: B009
    assert (TWO, FrozenDict({"x": TWO, Mode.FAST: (TWO, 5)})) == replaced(HELD, lambda _: TWO)


@pytest.mark.parametrize(
    ("value", "record"),
    [
        (None, b"none:0:"),
        (True, b"bool:1:1"),
        (-255, b"int:3:-ff"),
        (0.1, b"float:3:0.1"),
        (float("nan"), b"float:3:nan"),
        ("\u00e9\udcff", b"str:5:\xc3\xa9\xed\xb3\xbf"),
        (dt.date(2026, 1, 31), b"date:10:2026-01-31"),
        (dt.datetime(2026, 1, 31, tzinfo=dt.UTC), b"datetime:27:2026-01-31T00:00:00+00:00#0"),
        (dt.timedelta(1, 2, 3), b"timedelta:5:1:2:3"),
        (Path("a/b"), b"path:3:a/b"),
        (("a", ()), b"list:14:str:1:alist:0:"),
        (frozenset({"b", "a"}), b"set:14:str:1:astr:1:b"),
        (FrozenDict({"b": 1, "a": 2}), b"dict:28:str:1:bint:1:1str:1:aint:1:2"),
        (ONE, b"task:1:?"),
        (Note(), b"none:0:"),
        ((Note(), 1), b"list:7:int:1:1"),
        (Mode.FAST, b"enum:44:str:30:tests.unit.task.shop.Mode.FASTstr:1:f"),
    ],
)
def test_records_never_change(value: Any, record: bytes) -> None:
    assert record == canonical(value, part)


def test_what_has_no_record_is_refused() -> None:
    with pytest.raises(ConfigError, match="A 'bytes', b'x', has no canonical form"):
        canonical(b"x", part)


def test_nodes_come_after_what_they_need() -> None:
    needs = {"a": ["b", "c"], "b": ["d"], "c": ["d", "d"], "d": []}

    assert ["d", "b", "c", "a"] == list(ordered(["a", "b"], needs.__getitem__, str))
    with pytest.raises(ConfigError, match="need each other in a circle"):
        list(ordered(["a"], {**needs, "d": ["a"]}.__getitem__, str))
