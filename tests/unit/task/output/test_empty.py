import datetime as dt
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError
from tadka.task.output.empty import empty_of, without_rows
from tadka.task.output.out import Out
from tadka.task.output.schema import refuse

COLUMNS = {
    "int": int,
    "maybe int": int | None,
    "small": "int8",
    "unsigned": "uint16",
    "float": float,
    "half": "float32",
    "bool": bool,
    "maybe bool": bool | None,
    "str": str,
    "maybe str": str | None,
    "bytes": bytes,
    "date": dt.date,
    "datetime": dt.datetime,
    "zoned": "timestamp[us, tz=UTC]",
    "duration": dt.timedelta,
    "time": dt.time,
    "decimal": decimal.Decimal,
    "money": "decimal128(10, 2)",
    "list": list,
    "struct": dict,
    "category": "category",
    "any": object,
}
OWN: list[tuple[Any, dict[str, Any]]] = [
    (
        pl.DataFrame,
        {
            "int": pl.Int16,
            "enum": pl.Enum(["a", "b"]),
            "list": pl.List(pl.Int8),
            "at": pl.Datetime("ms", "UTC"),
            "struct": pl.Struct({"a": pl.Int8}),
            "maybe": (pl.Int64, None),
        },
    ),
    (
        pa.Table,
        {
            "int": pa.int16(),
            "list": pa.list_(pa.int8()),
            "map": pa.map_(pa.string(), pa.int8()),
            "dictionary": pa.dictionary(pa.int8(), pa.string()),
            "maybe": (pa.int64(), None),
        },
    ),
    (
        pd.DataFrame,
        {
            "int": pd.Int8Dtype(),
            "category": pd.CategoricalDtype(["a", "b"]),
            "string": pd.StringDtype(),
            "numpy": np.int16,
            "zoned": pd.DatetimeTZDtype("ns", "UTC"),
        },
    ),
]


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("type_", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table, Any])
def test_an_empty_frame_is_as_declared(name: str, type_: Any) -> None:
    out = Out("parquet", columns={name: COLUMNS[name]})

    frame = empty_of(out, type_)

    refuse(out, frame, "Clicks.out")
    assert isinstance(frame, pd.DataFrame if type_ is Any else type_)


@pytest.mark.parametrize(("type_", "columns"), OWN)
def test_types_of_the_library_itself_are_kept(type_: Any, columns: dict[str, Any]) -> None:
    out = Out("parquet", columns=columns)

    frame = empty_of(out, type_)

    refuse(out, frame, "Clicks.out")
    if type_ is pl.DataFrame:
        assert pl.Enum(["a", "b"]) == frame.schema["enum"]
        assert pl.List(pl.Int8) == frame.schema["list"]
    if type_ is pd.DataFrame:
        assert pd.CategoricalDtype(["a", "b"]) == frame["category"].dtype
        assert np.dtype("int16") == frame["numpy"].dtype


def test_an_empty_list_of_dicts() -> None:
    assert [] == empty_of(Out("jsonl", columns={"a": int}), list[dict[str, int]])


def test_what_has_no_columns_is_refused() -> None:
    with pytest.raises(ConfigError, match="declares no columns"):
        empty_of(Out("parquet"), pd.DataFrame)
    with pytest.raises(ConfigError, match="'bytes'"):
        empty_of(Out(columns={"a": int}), bytes)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.table])
def test_rows_are_taken_away_and_types_stay(make: Callable[[Any], Any]) -> None:
    frame = make({"a": [1, 2], "b": ["x", None]})

    cut = without_rows(frame)

    assert type(frame) is type(cut)
    cut = cut.collect() if isinstance(cut, pl.LazyFrame) else cut
    assert 0 == len(cut)
    refuse(Out(columns={"a": int, "b": str | None}), cut, "Clicks.out")


def test_values_that_have_no_rows_stay() -> None:
    assert {"a": 1} == without_rows({"a": 1})
    assert [] == without_rows([{"a": 1}])
