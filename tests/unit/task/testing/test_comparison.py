import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError
from tadka.task.testing import assert_frames_equal, compare_frames

MAKERS: list[Callable[..., Any]] = [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.table]
DATA: dict[str, list[Any]] = {
    "user": [1, 2, 3],
    "item": ["a", None, "c"],
    "price": [0.5, 1.5, math.pi],
}


def take(data: dict[str, list[Any]], rows: list[int]) -> dict[str, list[Any]]:
    return {name: [values[i] for i in rows] for name, values in reversed(data.items())}


@pytest.mark.parametrize("make", MAKERS)
def test_order_of_rows_and_columns_is_no_difference(make: Callable[..., Any]) -> None:
    other = make(take(DATA, [2, 0, 1]))
    if make is pd.DataFrame:
        other.index = [2, 0, 1]

    assert [] == compare_frames(make(DATA), other)
    assert [] == compare_frames(make(DATA), other, on="user")
    assert_frames_equal(make(DATA), other)


@pytest.mark.parametrize("make", MAKERS)
def test_a_cell_is_told_by_column_and_row(make: Callable[..., Any]) -> None:
    other = {**DATA, "price": [0.5, 1.75, math.pi]}

    [found] = compare_frames(make(DATA), make(other), on=["user"])

    assert ("value", "price", 2, 1.5, 1.75) == (
        (found.kind, found.column, found.row, found.left, found.right)
    )
    with pytest.raises(
        AssertionError, match=r"1 difference:\n  column 'price', row 2: 1\.5 and 1\.75"
    ):
        assert_frames_equal(make(DATA), make(other), on="user")


@pytest.mark.parametrize("make", MAKERS[1:])
def test_without_a_key_the_nearest_row_is_named(make: Callable[..., Any]) -> None:
    [found] = compare_frames(make(DATA), make({**DATA, "item": ["a", None, "x"]}))

    assert ("value", "item", "c", "x") == (found.kind, found.column, found.left, found.right)
    assert 3 == found.row["user"]


@pytest.mark.parametrize("make", MAKERS[1:])
def test_rows_count_as_often_as_they_are_there(make: Callable[..., Any]) -> None:
    twice = make({"a": [1, 1, 2]})
    once = make({"a": [1, 2]})

    assert [] == compare_frames(twice, make({"a": [2, 1, 1]}))
    assert [("row", {"a": 1}, 1, None)] == (
        [(d.kind, d.row, d.left, d.right) for d in compare_frames(twice, once)]
    )
    assert "row {'a': 1} is only on the right" == str(compare_frames(once, twice)[0])


def test_an_index_that_is_there_twice_fails() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=[7, 7])

    found = compare_frames(frame, frame)

    assert ["row 7 is there 2 times on the left", "row 7 is there 2 times on the right"] == (
        [str(difference) for difference in found]
    )
    with pytest.raises(AssertionError, match="row 7 is there 2 times"):
        assert_frames_equal(frame, frame)


@pytest.mark.parametrize("make", MAKERS)
def test_a_key_that_is_there_twice_fails(make: Callable[..., Any]) -> None:
    frame = make({"a": [1, 1], "b": [1, 2]})

    assert ["twice", "twice"] == [d.kind for d in compare_frames(frame, frame, on="a")]
    assert [] == compare_frames(frame, frame, on=["a", "b"])


def test_a_column_that_is_there_twice_fails() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])

    assert "column 'a' is there 2 times on the left" == str(compare_frames(frame, frame)[0])
    assert "column 'a' is there 2 times on the left" == str(compare_frames(table, table)[0])


def test_rows_of_pandas_belong_together_by_index() -> None:
    left = pd.DataFrame({"a": [1, 2, 3]}, index=["x", "y", "z"])
    right = pd.DataFrame({"a": [3, 9, 4]}, index=["z", "x", "w"])

    assert [
        "row 'y' is only on the left",
        "row 'w' is only on the right",
        "column 'a', row 'x': 1 and 9",
    ] == [str(difference) for difference in compare_frames(left, right)]


def test_names_of_an_index_count() -> None:
    left = pd.DataFrame({"a": [1]}, index=pd.Index([0], name="user"))

    [found] = compare_frames(left, pd.DataFrame({"a": [1]}))

    assert "the frame is indexed by 'user' on the left and indexed by no name on the right" == str(
        found
    )


def test_types_of_an_index_count() -> None:
    left = pd.DataFrame({"a": [1]}, index=pd.Index([0], dtype="int32"))
    right = pd.DataFrame({"a": [1]})

    [found] = compare_frames(left, right)

    assert (
        "the frame is indexed by no name (dtype('int32')) on the left and indexed by no name "
        "(dtype('int64')) on the right"
    ) == str(found)
    assert [] == compare_frames(left, right, check_types=False)


def test_types_of_levels_count() -> None:
    levels = [pd.Index([1], dtype=dtype) for dtype in ("int64", "int16")]
    left, right = (
        pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_arrays([["x"], level]))
        for level in levels
    )

    assert ["type"] == [found.kind for found in compare_frames(left, right)]
    assert [] == compare_frames(left, left)


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([1, 2]), np.array([1]), False),
        (np.array([[1], [2]]), np.array([[1], [2]]), True),
        (np.array([True]), np.array([True]), True),
        (np.array([1], "f4"), np.array([np.nan], "f4"), False),
        (np.array([np.nan], "f4"), np.array([np.nan], "f4"), True),
        (np.array(["2020"], "M8[D]"), np.array(["2020"], "M8[D]"), True),
        (np.array(1), np.array(1), True),
        (np.array([1, 2]), 1, False),
        (np.int64(1), np.int64(2), False),
        (np.float32(0.1), np.float32(0.1), True),
    ],
)
def test_cells_may_hold_arrays_and_their_items(left: Any, right: Any, is_same: bool) -> None:
    frames = [pd.DataFrame({"a": pd.Series([cell], dtype=object)}) for cell in (left, right)]

    assert is_same == (not compare_frames(*frames))


@pytest.mark.parametrize("make", MAKERS)
def test_columns_and_types_are_told(make: Callable[..., Any]) -> None:
    found = compare_frames(make({"a": [1], "b": [1]}), make({"a": [1.0], "c": [1]}))

    assert [("type", "a"), ("column", "b"), ("column", "c")] == [(d.kind, d.column) for d in found]
    assert "column 'c' is only on the right" == str(found[2])
    assert [] == compare_frames(make({"a": [1]}), make({"a": [1.0]}), check_types=False)


def test_categories_are_part_of_a_type() -> None:
    left = pd.DataFrame({"a": pd.Categorical(["x"], categories=["x", "y"])})
    right = pd.DataFrame({"a": pd.Categorical(["x"], categories=["x", "z"])})

    assert "CategoricalDtype" in str(compare_frames(left, right)[0])


def test_two_libraries_differ() -> None:
    [found] = compare_frames(pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}))

    assert "left is pandas.DataFrame, right is polars.DataFrame" == str(found)


@pytest.mark.parametrize("make", MAKERS)
def test_floats_are_equal_within_the_tolerance(make: Callable[..., Any]) -> None:
    left = make({"k": [1, 2], "a": [0.1 + 0.2, 1e9]})
    right = make({"k": [1, 2], "a": [0.3, 1e9 + 10]})

    assert [("a", 1e9)] == [(d.column, d.left) for d in compare_frames(left, right)]
    assert [] == compare_frames(left, right, rel_tol=1e-6)
    assert [] == compare_frames(left, right, abs_tol=10)
    assert ["a", "a"] == [d.column for d in compare_frames(left, right, rel_tol=0)]


@pytest.mark.parametrize("make", MAKERS[1:])
def test_rounding_does_not_hide_which_row_is_missing(make: Callable[..., Any]) -> None:
    values = [i / 7 for i in range(50)]
    left = make({"a": values})
    right = make({"a": [value * (1 + 1e-12) for value in reversed(values) if value != 3 / 7]})

    [found] = compare_frames(left, right)

    assert ("row", {"a": 3 / 7}) == (found.kind, found.row)


def test_nulls() -> None:
    nan = float("nan")

    assert [] == compare_frames(
        pd.DataFrame({"a": [None, nan, pd.NA, pd.NaT]}, dtype=object),
        pd.DataFrame({"a": [nan, None, None, None]}, dtype=object),
    )
    assert [] == compare_frames(pl.DataFrame({"a": [nan, None]}), pl.DataFrame({"a": [None, nan]}))
    [found] = compare_frames(
        pl.DataFrame({"a": [nan]}), pl.DataFrame({"a": [None]}, schema={"a": pl.Float64})
    )
    assert found.right is None


def test_values_that_cannot_be_hashed() -> None:
    left = pl.DataFrame({"a": [[1.0, 2.0], [3.0]], "b": [{"x": 1}, {"x": None}]})

    assert [] == compare_frames(left, left[::-1])
    assert [] == compare_frames(left.to_arrow(), left[::-1].to_arrow())
    assert [] == compare_frames(
        pd.DataFrame({"a": [np.array([1.0, 2.0]), {"x": [1]}]}),
        pd.DataFrame({"a": [[1.0, 2.0], {"x": [1]}]}),
    )
    assert "value" == compare_frames(left, left.with_columns(a=pl.lit([1.0])))[0].kind


def test_times_and_float32() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(["2026-01-01", None]),
            "day": [dt.date(2026, 1, 1), None],
            "f": np.array([0.1, np.nan], dtype="float32"),
            "n": pd.array([1, None], dtype="Int64"),
        }
    )

    assert [] == compare_frames(frame, frame.iloc[::-1])


def test_empty_frames() -> None:
    for make in MAKERS:
        assert [] == compare_frames(make({}), make({}))
        assert [] == compare_frames(make({"a": []}), make({"a": []}))
    assert (
        "row" == compare_frames(pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}).clear())[0].kind
    )


def test_a_long_list_is_cut() -> None:
    with pytest.raises(AssertionError, match=r"99 differences(.|\n)*\.\.\. and 89 more"):
        assert_frames_equal(pd.DataFrame({"a": range(1, 100)}), pd.DataFrame({"a": range(99)}))


def test_wrong_use_is_refused() -> None:
    frame = pd.DataFrame({"user": [1]})

    with pytest.raises(ConfigError, match="Did you mean 'user'"):
        compare_frames(frame, frame, on="usr")
    with pytest.raises(ConfigError, match="left is 'list'"):
        compare_frames([1], frame)
