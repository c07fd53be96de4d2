"""What is refused of a result that is not as declared."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.task.output.out import Out
from tadka.task.output.schema import refuse


def _says(columns: dict[str, Any], value: Any, min_rows: int = 0) -> str:
    with pytest.raises(DataError) as caught:
        refuse(Out("parquet", columns=columns, min_rows=min_rows), value, "Clicks.out")
    return str(caught.value)


_ROWS = {"user": [1, 2, 3], "name": ["a", "b", "c"], "day": [dt.date(2020, 1, 1)] * 3}
_TYPES = {"user": int, "name": str, "day": dt.date}


def _frames(data: dict[str, Any]) -> list[Any]:
    rows = [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    return [pd.DataFrame(data), pa.table(data), rows, pl.DataFrame(data)]


@pytest.mark.parametrize("value", _frames(_ROWS), ids=lambda value: type(value).__module__)
def test_what_is_as_declared_passes(value: Any) -> None:
    refuse(Out("pickle", columns=_TYPES, min_rows=3), value, "Clicks.out")


@pytest.mark.parametrize("value", _frames(_ROWS), ids=lambda value: type(value).__module__)
def test_a_missing_column_is_named_with_the_nearest(value: Any) -> None:
    message = _says({"usr": int}, value)

    assert message == (
        "Clicks.out has no column 'usr'. Did you mean 'user'? Its columns are: user, name, day."
    )


@pytest.mark.parametrize("value", _frames(_ROWS), ids=lambda value: type(value).__module__)
def test_a_wrong_type_names_both_types_and_a_row(value: Any) -> None:
    message = _says({"name": float}, value)

    assert message.startswith("Column 'name' of Clicks.out is declared as float and is str: row 0")


@pytest.mark.parametrize(
    "value", _frames(_ROWS | {"name": ["a", None, "c"]}), ids=lambda value: type(value).__module__
)
def test_a_null_is_named_by_its_row(value: Any) -> None:
    message = _says(_TYPES, value)

    assert "'name' of Clicks.out is declared as str, without nulls" in message
    assert "a null in row 1. Fill it, or declare `str | None`" in message
    refuse(Out("pickle", columns=_TYPES | {"name": str | None}), value, "Clicks.out")


@pytest.mark.parametrize("value", _frames(_ROWS), ids=lambda value: type(value).__module__)
def test_too_few_rows_are_refused(value: Any) -> None:
    assert _says({"user": int}, value, min_rows=4).startswith("Clicks.out has 3 rows; it declares")


def test_the_first_object_of_another_type_is_found() -> None:
    frame = pd.DataFrame({"a": ["x", None, 3, "y"], "b": [1.0, 2.0, 2.5, 3.5]})

    assert "row 2 holds 3" in _says({"a": str | None}, frame)
    assert "is declared as int and is float64: row 2 holds" in _says({"b": int}, frame)
    assert "row 2 holds 3" in _says({"a": str | None}, frame.to_dict("records"))


def test_pandas_turns_integers_with_nulls_to_floats_and_the_message_says_so() -> None:
    message = _says({"a": int}, pd.DataFrame({"a": [1, None]}))

    assert "row 1 is null, and pandas keeps such a column as floats; use astype('Int64')" in message
    refuse(Out("csv", columns={"a": int | None}), pd.DataFrame({"a": [1, None]}, dtype="Int64"), "")


def test_nan_is_a_null_in_pandas_and_a_number_elsewhere() -> None:
    assert "null in row 1" in _says({"a": float}, pd.DataFrame({"a": [1.0, float("nan")]}))
    refuse(Out("csv", columns={"a": float}), pa.table({"a": [1.0, float("nan")]}), "")


def test_types_of_libraries_are_exact() -> None:
    frame = pd.DataFrame({"a": np.array([1], "i4"), "t": pd.to_datetime(["2020-01-01"])})

    refuse(Out("csv", columns={"a": np.int32, "t": "datetime64[ns]"}), frame, "")
    assert "declared as int64 and is int32" in _says({"a": np.int64}, frame)
    assert "declared as datetime[ns, UTC] and is datetime[ns]" in _says(
        {"t": "datetime64[ns, UTC]"}, frame
    )


def test_levels_of_the_index_count_as_columns() -> None:
    frame = pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="user"))

    refuse(Out("csv", columns={"user": str, "a": int}), frame, "")
    assert "declared as int and is str" in _says({"user": int}, frame)


def test_no_rows_are_of_every_type_that_they_can_be() -> None:
    refuse(Out("csv", columns={"a": int}), pa.table({"a": pa.nulls(0)}), "")
    assert "declared as int and is str (no rows)" in _says(
        {"a": int}, pa.table({"a": pa.array([], pa.string())})
    )


def test_a_dict_without_the_key_is_named() -> None:
    assert "Row 1 of Clicks.out has no 'a'; its keys are: b." in _says(
        {"a": int}, [{"a": 1}, {"b": 1}]
    )


@pytest.mark.parametrize("value", [3, "text", {"a": 1}, np.ones(3), [1, 2]])
def test_a_result_without_columns_is_refused(value: Any) -> None:
    assert "declares columns, and the result is" in _says({"a": int}, value)


@pytest.mark.parametrize("value", [3, "text", None, np.array(3)])
def test_a_result_without_rows_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="which has no rows"):
        refuse(Out(min_rows=1), value, "Clicks.out")


@pytest.mark.parametrize("value", [[], {}, np.zeros((0, 3)), pd.DataFrame({"a": []})])
def test_an_empty_result_of_any_kind_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="has 0 rows; it declares at least 1"):
        refuse(Out(min_rows=1), value, "Clicks.out")


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
        pd.DataFrame({"b": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)], names=["a", "a"])),
    ],
    ids=["pandas", "arrow", "index"],
)
def test_a_declared_column_that_is_there_twice_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="'a' 2 times"):
        refuse(Out("parquet", columns={"a": int}), value, "Clicks.out")
