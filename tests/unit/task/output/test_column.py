"""Types of columns in one vocabulary."""

import datetime as dt
import decimal
from typing import Any, Optional

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError
from tadka.task.output.column import Column, Kind, kind_of


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (int, "int"),
        (float | None, "float | None"),
        (Optional[str], "str | None"),  # noqa: UP045 - users write it
        ("int32 | None", "int32 | None"),
        (bool, "bool"),
        (dt.date, "date"),
        (dt.datetime, "datetime"),
        (dt.timedelta, "duration"),
        (decimal.Decimal, "decimal"),
        (Any, "any | None"),
        (np.int64, "int64"),
        (np.dtype("f4"), "float32"),
        (np.dtype("M8[s]"), "datetime[s]"),
        ("datetime64[ns, Asia/Tokyo]", "datetime[ns, Asia/Tokyo]"),
        (pd.Int64Dtype(), "Int64 | None"),
        (pd.BooleanDtype(), "boolean | None"),
        (pd.CategoricalDtype(["a"]), "category"),
        (pd.DatetimeTZDtype("ns", "UTC"), "datetime[ns, UTC]"),
        (pd.ArrowDtype(pa.int8()), "int8"),
        (pd.PeriodDtype("D"), "period[D]"),
        (pa.int64(), "int64"),
        ((pa.timestamp("us", "UTC"), None), "datetime[us, UTC] | None"),
        (pa.large_string(), "str"),
        (pa.dictionary(pa.int8(), pa.string()), "category"),
        (pa.list_(pa.int64()), "list<item: int64>"),
        (pa.decimal128(10, 2), "decimal[10, 2]"),
        (pa.float16(), "float16"),
        (pa.float32(), "float32"),
    ],
)
def test_a_type_has_one_text_however_it_is_written(declared: Any, text: str) -> None:
    assert text == Column.of("a", declared).text


@pytest.mark.parametrize("declared", [None, "integer64", list[int], int | str, 3, set, pa.null()])
def test_what_is_no_type_of_a_column_is_refused(declared: Any) -> None:
    with pytest.raises(ConfigError, match="column 'a' with the type"):
        Column.of("a", declared)


def test_python_types_take_every_width_and_others_their_own() -> None:
    int8, masked = Kind("int", "int8"), Kind("int", "Int8")

    assert Kind("int").holds(int8, is_pandas=False)
    assert Kind("int").holds(masked, is_pandas=True)
    assert not Kind("int", "int64").holds(int8, is_pandas=False)
    assert not int8.holds(masked, is_pandas=True)
    assert masked.holds(int8, is_pandas=False)
    assert not Kind("float").holds(int8, is_pandas=False)
    assert Kind("any").holds(int8, is_pandas=False)


def test_a_type_of_no_library_is_none() -> None:
    assert kind_of(object()) is None
    assert kind_of("no such type") is None
