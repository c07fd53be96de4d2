"""NaN in files: readers skip by bounds that leave NaN out, and engines take it for the greatest.

One infinite value in a column would hide it all, so there is none here.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.dataset.expression.expression import Column, Expression
from tadka.dataset.expression.kind import FLOAT
from tests.unit.dataset.sql.engines import TestEngine
from tests.unit.dataset.sql.oracle import value_of

X: Column[Any] = Column("x", FLOAT)
CONSTANTS = (5.5, 100)  # of row groups that hold it alone, and of none
Writer = Callable[[pa.Table, Path], None]


def _with_arrow(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, row_group_size=500)


def _with_duckdb(table: pa.Table, path: Path) -> None:
    connection = duckdb.connect()
    connection.register("rows", table)
    connection.execute(f"COPY rows TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")


def _table(*, has_nulls: bool) -> pa.Table:
    """4,000 rows of 0 to 10 of which 191 are NaN; some row groups are of one value and NaN."""
    values = np.random.default_rng(0).uniform(0, 10, 4000).round(1)
    values[1000:1500] = 5.5
    values[np.arange(191) * 20] = math.nan
    nulls = np.zeros(4000, bool)
    if has_nulls:
        nulls[::7] = True
    return pa.table({"x": pa.array(values, mask=nulls, from_pandas=False)})


def _conditions() -> list[Expression[Any]]:
    found: list[Expression[Any]] = [X.is_nan(), ~X.is_nan(), X.is_in([5.5, 7]), ~X.is_in([5.5])]
    for value in CONSTANTS:
        compared = [X > value, X >= value, X < value, X <= value, X == value, X != value]
        found += [*compared, *(~each for each in compared)]
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("write", "has_nulls"), [(_with_arrow, False), (_with_arrow, True), (_with_duckdb, False)]
)
def test_conditions_keep_the_right_rows(
    engine: TestEngine, tmp_path: Path, write: Writer, *, has_nulls: bool
) -> None:
    table, path = _table(has_nulls=has_nulls), tmp_path / "rows.parquet"
    write(table, path)

    _check(engine, table, path)


@pytest.mark.needs_spark
@pytest.mark.timeout(300)
def test_conditions_keep_the_right_rows_of_what_spark_wrote(
    engine: TestEngine, spark: Any, tmp_path: Path
) -> None:
    table, path = _table(has_nulls=False), tmp_path / "rows"
    spark.createDataFrame(table).coalesce(1).write.parquet(str(path))

    (file,) = path.glob("*.parquet")
    _check(engine, table, file)


def _check(engine: TestEngine, table: pa.Table, path: Path) -> None:
    conditions = _conditions()
    rows = [{"x": value} for value in table["x"].to_pylist()]
    expected = [sum(value_of(each, row) is True for row in rows) for each in conditions]

    # no count(*): a filter beside the scan is what readers skip by, and an exchange costs seconds
    kept = " UNION ALL ".join(
        f"SELECT {k} AS k FROM {engine.scan(path)} WHERE {engine.sql(each)}"
        for k, each in enumerate(conditions)
    )
    numbers = engine.query(kept).column(0).to_numpy()
    found = np.bincount(numbers, minlength=len(conditions)).tolist()

    assert expected == found


def test_a_total_meets_the_nan_that_bounds_do_not_show(engine: TestEngine, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    _with_arrow(_table(has_nulls=False), path)
    has_nan = engine.sql(X.is_nan())

    counted = engine.query(
        f"SELECT sum(CASE WHEN {has_nan} THEN 1 ELSE 0 END) AS n, "
        f"max(CASE WHEN {has_nan} THEN 1 ELSE 0 END) AS m FROM {engine.scan(path)}"
    )

    assert [191, 1] == [int(column[0].as_py()) for column in counted.columns]
