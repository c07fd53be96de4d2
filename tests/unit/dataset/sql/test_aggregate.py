"""Aggregates on each engine."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.dataset.expression import Aggregate, Column, Relation
from tadka.dataset.kind import DATE, FLOAT, INT, STRING, UTC, Kind
from tests.unit.dataset.sql.engines import TestEngine
from tests.unit.dataset.sql.hostile import MOST, arrow_of, is_same, plain

NAN, INF = math.nan, math.inf


class Window(Relation):
    alias = "w"
    is_window = True


KINDS = {"i": INT, "b": Kind("int8"), "x": FLOAT, "f": Kind("float32"), "s": STRING}
W: dict[str, Column[Any]] = {
    name: Column(name, kind, relation=Window())
    for name, kind in {**KINDS, "d": DATE, "u": UTC}.items()
}
for column in W.values():
    column.relation = W["i"].relation

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
    "opposite": {"sum": NAN, "min": -INF, "max": INF},
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
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [(group, name, value) for group, (name, values) in GROUPS.items() for value in values]
    columns = {
        name: arrow_of([value if name == own else None for _, own, value in rows], column.kind)
        for name, column in W.items()
    }
    path = tmp_path_factory.mktemp("groups") / "rows.parquet"
    pq.write_table(pa.table({"g": [group for group, _, _ in rows], **columns}), path)
    return path


def _aggregate(name: str, function: str) -> Aggregate[Any]:
    method, _, nan = function.partition(" ")
    found: Aggregate[Any] = getattr(W[name], method)(**({"nan": nan} if nan else {}))
    return found


def _sql(engine: TestEngine, aggregate: Aggregate[Any]) -> str:
    return engine.dialect.aggregate_call(aggregate, column=engine.column, parameters={})


def _answer(
    engine: TestEngine, groups: Path, wanted: Mapping[str, Aggregate[Any]], where: str
) -> dict[str, Any]:
    selected = ", ".join(f"{_sql(engine, a)} AS c{k}" for k, a in enumerate(wanted.values()))
    table = engine.query(f"SELECT {selected} FROM {engine.scan(groups)} WHERE {where}")
    for aggregate, column in zip(wanted.values(), table.columns, strict=True):
        assert aggregate.kind.arrow == column.type, str(aggregate)
    return {
        function: plain(column, aggregate.kind)[0]
        for (function, aggregate), column in zip(wanted.items(), table.columns, strict=True)
    }


@pytest.mark.parametrize("group", GROUPS)
def test_an_aggregate_is_the_same_on_every_engine(
    engine: TestEngine, groups: Path, group: str
) -> None:
    name, _ = GROUPS[group]
    expected = {f: value for f, value in EXPECTED[group].items() if value is not ERROR}
    wanted = {function: _aggregate(name, function) for function in expected}

    found = _answer(engine, groups, wanted, f"g = '{group}'")

    assert [] == [f"{f}: {found[f]}" for f in expected if not is_same(expected[f], found[f])]
    # a group shows 0.0, never -0.0
    assert all(math.copysign(1, x) == 1 for x in found.values() if x == 0 and isinstance(x, float))


@pytest.mark.parametrize(
    ("group", "function"),
    [(g, f) for g, values in EXPECTED.items() for f, value in values.items() if value is ERROR],
)
def test_an_overflow_and_nan_are_errors(
    engine: TestEngine, groups: Path, group: str, function: str
) -> None:
    aggregate = _aggregate(GROUPS[group][0], function)
    said = "nan='drop'" if "nan" in group else "(?i)overflow|out of range"

    with pytest.raises(engine.error, match=said):
        _answer(engine, groups, {function: aggregate}, f"g = '{group}'")


def test_no_rows_give_null_and_counts_give_zero(engine: TestEngine, groups: Path) -> None:
    functions = ("count", "count_distinct", "sum", "mean", "min", "max")
    wanted = {f"{f} {name}": _aggregate(name, f) for f in functions for name in ("i", "x", "f")}
    wanted["rows"] = Aggregate("count", Window(), None, INT)

    found = _answer(engine, groups, wanted, "g = 'none'")

    expected = {f: 0 if f.startswith("count") or f == "rows" else None for f in wanted}
    assert expected == found


def test_an_operand_may_be_an_expression(engine: TestEngine, groups: Path) -> None:
    wanted = {"doubled": (W["i"] * 2).sum(), "positive": W["i"].to(float).max()}

    assert {"doubled": 6, "positive": 5.0} == _answer(engine, groups, wanted, "g = 'ints'")
