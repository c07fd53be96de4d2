"""Aggregates over windows on each engine, as the queries of datasets have them."""

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import Aggregate, Column, days, hours, seconds
from tadka.dataset.expression.kind import Utc
from tadka.dataset.sql.query import select
from tests.unit.dataset.sql.engines import TestEngine
from tests.unit.dataset.sql.hostile import MOST, arrow_of, is_same, plain

NAN, INF = math.nan, math.inf
MORNING = dt.datetime(2026, 1, 1, 6, tzinfo=dt.UTC)


class Event(Table, source="event.parquet", time="at"):
    g: Column[str]
    i: Column[int | None]
    b: Column[np.int8 | None]
    x: Column[float | None]
    f: Column[np.float32 | None]
    s: Column[str | None]
    d: Column[dt.date | None]
    u: Column[Utc | None]
    at: Column[Utc]


class Group(Table, source="group.parquet", time="at"):
    g: Column[str]
    at: Column[Utc]


# values of one column by group; every other column is null there
GROUPS: dict[str, tuple[str, list[Any]]] = {
    "ints": ("i", [5, -7, None, 5]),
    "passing": ("i", [MOST, 1, -1]),
    "passing_low": ("i", [-MOST - 1, -1, 1, None]),
    "many": ("i", [MOST, MOST, -MOST, -MOST - 1, 1, 2**32, -(2**32)]),
    "over": ("i", [MOST, 1]),
    "under": ("i", [-MOST - 1, -1]),
    "bytes": ("b", [127, 127, -128, None]),
    "floats": ("x", [1.5, -2.5, None, 0.25]),
    "zeros": ("x", [-0.0, -0.0, None]),
    "signs": ("x", [0.0, -0.0, 1.0, 1.0]),
    "nan": ("x", [1.0, NAN, None, NAN]),
    "only_nan": ("x", [NAN, NAN]),
    "infinite": ("x", [INF, 1.0]),
    "opposite": ("x", [INF, -INF]),
    "narrow": ("f", [0.5, 16_777_216.0, 1.0]),
    "narrow_nan": ("f", [0.5, NAN]),
    "texts": ("s", ["", "a", "é", "\uffff", "😀", None, "a"]),
    "dates": ("d", [-719_162, 0, None, 2_932_896]),
    "times": ("u", [-62_135_596_800_000_000, -1, None, 253_402_300_799_999_999]),
}
ERROR = "error"
NOTHING: dict[str, Any] = {"count": 0, "count_distinct": 0}
# what each function gives, where it is not asked of a kind that it does not take
EXPECTED: dict[str, dict[str, Any]] = {
    "ints": {"count": 3, "count_distinct": 2, "sum": 3, "mean": 1.0, "min": -7, "max": 5},
    "passing": {"sum": MOST, "min": -1, "max": MOST},
    "passing_low": {"sum": -MOST - 1, "count": 3},
    "many": {"sum": 0, "count_distinct": 6},
    "over": {"sum": ERROR, "max": MOST},
    "under": {"sum": ERROR, "min": -MOST - 1},
    "bytes": {"sum": 126, "mean": 42.0, "min": -128, "max": 127, "count_distinct": 2},
    "floats": {"count": 3, "sum": -0.75, "mean": -0.25, "min": -2.5, "max": 1.5},
    "zeros": {"count_distinct": 1, "sum": 0.0, "min": 0.0, "max": 0.0},
    "signs": {"count_distinct": 2, "min": 0.0, "max": 1.0},
    "nan": {
        "count": 3,
        "count_distinct": 2,
        "sum": ERROR,
        "mean": ERROR,
        "min": ERROR,
        "max": ERROR,
        "sum drop": 1.0,
        "mean drop": 1.0,
        "min drop": 1.0,
        "max drop": 1.0,
    },
    "only_nan": {"sum": ERROR, "sum drop": None, "mean drop": None, "max drop": None, "count": 2},
    "infinite": {"sum": INF, "mean": INF, "min": 1.0, "max": INF, "sum drop": INF},
    "opposite": {"sum": ERROR, "mean": ERROR, "sum drop": NAN, "min": -INF, "max": INF},
    "narrow": {"sum": 16_777_217.5, "min": 0.5, "max": 16_777_216.0},
    "narrow_nan": {"max": ERROR, "max drop": 0.5, "min drop": 0.5, "sum drop": 0.5},
    "texts": {"count": 6, "count_distinct": 5, "min": "", "max": "😀"},
    "dates": {"count": 3, "min": -719_162, "max": 2_932_896, "count_distinct": 3},
    "times": {
        "min": -62_135_596_800_000_000,
        "max": 253_402_300_799_999_999,
        "count_distinct": 3,
        "count": 3,
    },
}


@pytest.fixture(scope="module")
def groups(engine: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Views of a row for each group, and of events before it with the group's values."""
    rows = [(group, name, value) for group, (name, values) in GROUPS.items() for value in values]
    columns = {
        name: arrow_of([value if name == own else None for _, own, value in rows], column.kind)
        for name, column in Event.columns.items()
        if name not in ("g", "at")
    }
    # at different times, so that sums come about step by step
    times = [MORNING + seconds(number) for number in range(len(rows))]
    tables = {
        "Event": {"g": [group for group, _, _ in rows], **columns, "at": times},
        "Group": {"g": [*GROUPS, "none"], "at": [MORNING + hours(1)] * (len(GROUPS) + 1)},
    }
    folder = tmp_path_factory.mktemp("groups")
    for name, content in tables.items():
        pq.write_table(pa.table(content), folder / f"{name}.parquet")
        quoted = engine.dialect.quote(name)
        scan = engine.scan(folder / f"{name}.parquet")
        engine.execute(f"CREATE OR REPLACE TEMPORARY VIEW {quoted} AS SELECT * FROM {scan}")


def _aggregate(window: Rows, name: str, function: str) -> Aggregate[Any]:
    method, _, nan = function.partition(" ")
    found: Aggregate[Any] = getattr(window[name], method)(**({"nan": nan} if nan else {}))
    return found


def _answer(
    engine: TestEngine, group: str, make: Callable[[Rows], Mapping[str, Aggregate[Any]]]
) -> dict[str, Any]:
    """What aggregates of a window give for the row of a group."""
    row = Group.where(Group.g == group)
    window = Event.last(days(1), on="g")
    wanted = make(window)
    body = {"row": row, "rows": row, "window": window, "features": dict(wanted)}
    definition = type("Made", (Dataset,), body).definition  # type: ignore[attr-defined]
    table = engine.query(select(definition.bind(), engine.dialect))
    assert 1 == table.num_rows
    for aggregate, column in zip(wanted.values(), table.columns, strict=True):
        assert aggregate.kind.arrow == column.type, str(aggregate)
    return {
        function: plain(column, aggregate.kind)[0]
        for (function, aggregate), column in zip(wanted.items(), table.columns, strict=True)
    }


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("group", GROUPS)
def test_an_aggregate_is_the_same_on_every_engine(engine: TestEngine, group: str) -> None:
    name, _ = GROUPS[group]
    expected = {f: value for f, value in EXPECTED[group].items() if value is not ERROR}

    found = _answer(
        engine, group, lambda window: {f: _aggregate(window, name, f) for f in expected}
    )

    assert [] == [f"{f}: {found[f]}" for f in expected if not is_same(expected[f], found[f])]
    # a group shows 0.0, never -0.0
    assert all(math.copysign(1, x) == 1 for x in found.values() if x == 0 and isinstance(x, float))


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    ("group", "function"),
    [(g, f) for g, values in EXPECTED.items() for f, value in values.items() if value is ERROR],
)
def test_an_overflow_and_nan_are_errors(engine: TestEngine, group: str, function: str) -> None:
    name, _ = GROUPS[group]
    said = "nan='drop'" if name in "xf" else "(?i)overflow|out of range"

    with pytest.raises(engine.error, match=said):
        _answer(engine, group, lambda window: {function: _aggregate(window, name, function)})


@pytest.mark.usefixtures("groups")
def test_no_rows_give_null_and_counts_give_zero(engine: TestEngine) -> None:
    functions = ("count", "count_distinct", "sum", "mean", "min", "max")

    found = _answer(
        engine,
        "none",
        lambda window: {
            "rows": window.count(),
            **{f"{f} {n}": _aggregate(window, n, f) for f in functions for n in ("i", "x", "f")},
        },
    )

    expected = {f: 0 if f.startswith("count") or f == "rows" else None for f in found}
    assert expected == found


@pytest.mark.usefixtures("groups")
def test_an_operand_may_be_an_expression(engine: TestEngine) -> None:
    found = _answer(
        engine,
        "bytes",
        lambda window: {"doubled": (window.b * 2).sum(), "greatest": window.b.to(float).max()},
    )

    assert {"doubled": 252, "greatest": 127.0} == found
