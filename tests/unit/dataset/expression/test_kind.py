"""Kinds: what an annotation stands for, and what engines call it."""

import datetime as dt
import pickle
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError
from tadka.dataset.expression.kind import (
    BOOL,
    BYTES,
    DATE,
    FLOAT,
    INT,
    STRING,
    TIME,
    UTC,
    Kind,
    Utc,
    kind_of,
    named_kind,
)

ALL = {
    "bool": (bool, pa.bool_(), "BOOLEAN", "BOOLEAN"),
    "int8": (np.int8, pa.int8(), "TINYINT", "TINYINT"),
    "int16": (np.int16, pa.int16(), "SMALLINT", "SMALLINT"),
    "int32": (np.int32, pa.int32(), "INTEGER", "INT"),
    "int64": (int, pa.int64(), "BIGINT", "BIGINT"),
    "float32": (np.float32, pa.float32(), "FLOAT", "FLOAT"),
    "float64": (float, pa.float64(), "DOUBLE", "DOUBLE"),
    "string": (str, pa.string(), "VARCHAR", "STRING"),
    "bytes": (bytes, pa.binary(), "BLOB", "BINARY"),
    "date": (dt.date, pa.date32(), "DATE", "DATE"),
    "time": (dt.datetime, pa.timestamp("us"), "TIMESTAMP", "TIMESTAMP_NTZ"),
    "utc": (Utc, pa.timestamp("us", tz="UTC"), "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_LTZ"),
}


@pytest.mark.parametrize("name", ALL)
def test_a_kind_has_its_names(name: str) -> None:
    type_, arrow, duckdb, spark = ALL[name]

    kind, is_nullable = kind_of(type_, "It")

    assert (Kind(name), False) == (kind, is_nullable)
    assert (arrow, duckdb, spark) == (kind.arrow, kind.duckdb, kind.spark)
    assert kind == named_kind(str(kind), "It") == pickle.loads(pickle.dumps(kind))


@pytest.mark.parametrize("name", ALL)
def test_a_list_has_its_items_names(name: str) -> None:
    type_, arrow, duckdb, spark = ALL[name]

    kind, _ = kind_of(list[type_], "It")  # type: ignore[valid-type]

    assert f"list[{name}]" == str(kind)
    assert (pa.list_(arrow), f"{duckdb}[]", f"ARRAY<{spark}>") == (
        *(kind.arrow, kind.duckdb),
        kind.spark,
    )
    assert kind == named_kind(str(kind), "It")
    assert not any((kind.is_int, kind.is_float, kind.is_number, kind.is_time))


def test_none_admits_nulls() -> None:
    assert (FLOAT, True) == kind_of(float | None, "It")
    assert (Kind("list", STRING), True) == kind_of(list[str] | None, "It")


def test_kinds_fall_into_families() -> None:
    kinds = [Kind(name) for name in ALL]

    assert ["int8", "int16", "int32", "int64"] == [kind.name for kind in kinds if kind.is_int]
    assert ["float32", "float64"] == [kind.name for kind in kinds if kind.is_float]
    assert 6 == sum(kind.is_number for kind in kinds)
    assert [TIME, UTC] == [kind for kind in kinds if kind.is_time]
    assert [8, 64] == [Kind("int8").num_bits, INT.num_bits]
    assert not {BOOL, BYTES, DATE, STRING} & {kind for kind in kinds if kind.is_number}


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (complex, "complex"),
        (int | str, "int | str"),
        (int | str | None, "int | str | None"),
        (None, "None"),
        (list, "list"),
        (list[list[int]], "list[list[int]]"),
        (dict[str, int], "dict[str, int]"),
        (np.uint64, "uint64"),
        ("int", "'int'"),
        ([], "[]"),
    ],
)
def test_any_other_annotation_is_refused(annotation: Any, shown: str) -> None:
    said = f"Column 'a' has type {shown}, which no column has; accepted are bool, int,"
    with pytest.raises(ConfigError, match=re.escape(said)):
        kind_of(annotation, "Column 'a'")


@pytest.mark.parametrize("name", ["int", "uint8", "list[]", "list[int]", "list[list[int64]]", ""])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"Column 'a' has type .*; it must be one of bool, int8"):
        named_kind(name, "Column 'a'")
