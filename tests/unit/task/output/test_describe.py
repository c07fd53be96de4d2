# ruff: noqa: DTZ001 - frames hold naive times, too
"""Results in figures."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tadka.task.output.describe import describe

_DATA = {
    "n": [1, 2, 3, 4],
    "x": [0.0, 1.0, 2.0, 5.0],
    "s": ["a", None, "a", "b"],
    "t": [dt.datetime(2020, 1, day) for day in (3, 1, 2, 4)],
}


def _frames() -> list[Any]:
    return [pd.DataFrame(_DATA), pa.table(_DATA), pl.DataFrame(_DATA)]


@pytest.mark.parametrize("frame", _frames(), ids=lambda frame: type(frame).__module__)
def test_columns_of_frames_are_described(frame: Any) -> None:
    found = describe(frame)
    plain = json.loads(json.dumps(found.to_json()))

    assert 4 == found.num_rows
    assert ["n", "x", "s", "t"] == list(found.columns)
    n, s, t = (plain["statistics"][name] for name in ("n", "s", "t"))
    assert (0, 1, 4, 2.5, 4) == (n["nulls"], n["min"], n["max"], n["mean"], n["distinct"])
    assert 20 == len(n["histogram"]["counts"]) == len(n["histogram"]["edges"]) - 1
    assert 4 == sum(n["histogram"]["counts"])
    assert (1, 2) == (s["nulls"], s["distinct"])
    assert "min" not in s
    assert ("2020-01-01T00:00:00", "2020-01-04T00:00:00") == (t["min"], t["max"])


def test_a_large_column_is_sampled_but_its_ends_are_exact() -> None:
    values = np.zeros(1_000_001)
    values[777_777] = 5.0
    values[5] = np.nan

    found = describe(pd.DataFrame({"x": values})).statistics["x"]

    assert (1, 0.0, 5.0) == (found["nulls"], found["min"], found["max"])
    assert found["sampled"] <= 4096
    assert found["mean"] == pytest.approx(5 / 1_000_000)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"x": []}),
        pd.DataFrame({"x": [np.nan, np.inf, -np.inf]}),
        pd.DataFrame({"x": [[1], {}]}),
        pd.DataFrame({"x": pd.array([None], dtype="Int64"), "t": [pd.NaT]}),
        pd.DataFrame({"x": pd.Categorical([None], [1])}),
        pd.DataFrame({"x": [1e308, -1e308]}),
        pd.DataFrame({1: [1], "1": [2]}),
        pa.table({"x": pa.array([[1]]), "n": pa.nulls(1), "h": pa.array([1], pa.float16())}),
        pa.table({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}),
    ],
)
def test_odd_columns_are_no_reason_to_fail(frame: Any) -> None:
    json.dumps(describe(frame).to_json(), allow_nan=False)


def test_other_results_have_rows_where_they_have_any() -> None:
    assert 3 == describe([1, 2, 3]).num_rows
    assert 1 == describe({"a": 1}).num_rows
    assert describe("text").num_rows is None
    assert describe(3).num_rows is None
    array = describe(np.arange(6.0).reshape(2, 3))
    assert (2, {"": "float64[2, 3]"}) == (array.num_rows, array.columns)
    assert 2.5 == array.statistics[""]["mean"]
