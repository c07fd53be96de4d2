# ruff: noqa: DTZ001 - frames hold naive times, too
"""Every dtype and index of pandas comes back from every format for frames, or is refused."""

import datetime as dt
import decimal
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Out

_TEXT = {
    "category": pd.Categorical(["b", "a", None], categories=["z", "b", "a"], ordered=True),
    "category_of_int": pd.Categorical([3, 1, 3], categories=[9, 3, 1]),
    "seconds": pd.array(["2020-01-01"] * 3, dtype="datetime64[s]"),
    "zone": pd.date_range("2020-03-08", periods=3, tz="America/New_York"),
    "delta": pd.to_timedelta([1, 2, 3], unit="s").astype("timedelta64[s]"),
    "int8": np.array([1, 2, 3], dtype="i1"),
    "uint64": np.array([0, 2**64 - 1, 5], dtype="u8"),
    "masked": pd.array([1, None, 2**62 + 1], dtype="Int64"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["01", None, "1e3"], dtype="string[python]"),
    "string_arrow": pd.array(["01", None, "1e3"], dtype="string[pyarrow]"),
    "text": ["01", None, 'a,"b"\r\n\tc'],
    "digits": ["01", "1e3", "NaN"],
    "empty": ["", "null", None],
    "float16": np.array([1, 2, 3], dtype="f2"),
    "float": [0.1 + 0.2, float("nan"), float("inf")],
    "period": pd.period_range("2020", "2022", freq="Y"),
    "arrow": pd.array(
        [dt.datetime(2020, 1, 1)] * 3, dtype=pd.ArrowDtype(pa.timestamp("us", "UTC"))
    ),
    "date": [dt.date(2020, 1, 1), None, dt.date(1, 1, 1)],
    "time": [dt.time(1, 2, 3, 4), None, dt.time()],
    "decimal": [decimal.Decimal("1.10"), None, decimal.Decimal("-3.00")],
    "bool_or_none": [True, None, False],
    "int_objects": np.array([1, None, 3], dtype=object),
    "nothing": [None] * 3,
}
_BINARY = {
    "bytes": [b"\xff", None, b""],
    "interval": pd.interval_range(0, 3),
    "lists": [[1], None, [2, 3]],
    "dicts": [{"a": 1}, None, {"a": 2}],
    "list_arrow": pd.array([[1], None, [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
}
_INDEXES = {
    "plain": pd.RangeIndex(3),
    "step": pd.RangeIndex(2, 8, 2),
    "named": pd.Index([3, 1, 2], name="user", dtype="int32"),
    "days": pd.date_range("2020-01-01", periods=3, freq="D", name="day"),
    "string": pd.Index(["01", "x", "1e3"], dtype="string[pyarrow]", name="s"),
    "category": pd.CategoricalIndex(["b", "a", "b"], categories=["z", "b", "a"]),
    "multi": pd.MultiIndex.from_arrays(
        [["a", "a", "b"], pd.Categorical(["x", "y", "x"], ["y", "x"]), [3, 1, 2]],
        names=["one", "two", None],
    ),
}
_FORMATS = ["parquet", "feather", "csv", "tsv", "jsonl"]


def _round_trip(frame: pd.DataFrame, out: Out, folder: Path) -> pd.DataFrame:
    codec = codec_of(out, pd.DataFrame)
    target = folder / f"result{codec.suffix}"
    codec.write(frame, target)
    assert codec.is_folder == target.is_dir()
    back: pd.DataFrame = codec.read(target)
    return back


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize("index", list(_INDEXES))
def test_text_and_times_and_index_come_back(format_: str, index: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(_TEXT).set_index(_INDEXES[index])

    back = _round_trip(frame, Out(format_), tmp_path)

    pd.testing.assert_frame_equal(frame, back)


@pytest.mark.parametrize("out", [Out("parquet"), Out("feather"), Out("parquet", max_bytes=100)])
@pytest.mark.parametrize("num_rows", [3, 0])
def test_bytes_and_nested_values_come_back(out: Out, num_rows: int, tmp_path: Path) -> None:
    frame = pd.DataFrame(_TEXT | _BINARY)[:num_rows]

    back = _round_trip(frame, out, tmp_path)

    pd.testing.assert_frame_equal(frame, back)
    assert [type(value) for value in frame["lists"]] == [type(value) for value in back["lists"]]


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize("index", list(_INDEXES))
def test_a_frame_without_rows_comes_back(format_: str, index: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(_TEXT).set_index(_INDEXES[index])[:0]
    if isinstance(frame.index, pd.MultiIndex):
        frame.index = frame.index.remove_unused_levels()

    pd.testing.assert_frame_equal(frame, _round_trip(frame, Out(format_), tmp_path))


@pytest.mark.parametrize("format_", _FORMATS)
def test_a_frame_without_anything_comes_back(format_: str, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(
        pd.DataFrame(), _round_trip(pd.DataFrame(), Out(format_), tmp_path)
    )


@pytest.mark.parametrize(
    "columns",
    [
        pd.RangeIndex(2),
        pd.Index([3, 1], name="id"),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
    ],
)
def test_names_that_are_no_text_come_back_from_parquet(columns: pd.Index, tmp_path: Path) -> None:
    frame = pd.DataFrame([[1, 2]], columns=columns)

    pd.testing.assert_frame_equal(frame, _round_trip(frame, Out("parquet"), tmp_path))


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"x": [1, "a"]}), "Column 'x' of type object (int, str)"),
        (pd.DataFrame({"x": [1 + 2j]}), "Column 'x' of type complex128"),
        (pd.DataFrame({"x": [(1, 2)]}), "Column 'x' of type object (tuple)"),
        (pd.DataFrame({"x": [{1, 2}]}), "Column 'x' of type object (set)"),
        (pd.DataFrame({"x": [{"a": 1}, {"b": 1}]}), "Column 'x' of type object (dict)"),
        (pd.DataFrame({"x": [object()]}), "Column 'x' of type object (object)"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "more than one column 'x'"),
        (pd.DataFrame([[1, 2]], columns=[1, "x"]), "make their names text"),
        (pd.DataFrame(index=range(3)), "3 rows without a column"),
    ],
)
def test_what_would_not_come_back_is_refused(
    format_: str, frame: pd.DataFrame, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        _round_trip(frame, Out(format_), tmp_path)

    assert words in str(caught.value)


_ZONES = [dt.timezone(dt.timedelta(hours=hours)) for hours in (0, 2)]


@pytest.mark.parametrize("format_", ["parquet", "feather", "jsonl"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([None, 1, 2.5], "row 1 holds 1, which would come back as 1.0"),
        ([dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 5)], "row 1 holds datetime.datetime"),
        ([dt.datetime(2020, 1, 1, tzinfo=zone) for zone in _ZONES], "row 1 holds datetime"),
        (
            [pd.Timestamp("2020-01-01")],
            r"Timestamp\('2020-01-01 00:00:00'\), which would",
        ),
        ([pd.Timedelta("1ns")], "row 0 holds Timedelta"),
        ([np.int8(1)], r"object \(int8\)"),
        ([np.str_("a")], r"object \(str_\)"),
        ([decimal.Decimal("NaN")], "would come back as None"),
        ([[1], [2.5]], r"\[1\], which would come back as \[1.0\]"),
        ([[(1, 2)]], r"come back as \[\[1, 2\]\]"),
        ([[{"a": 1}], [{"b": 2}]], "'b': None"),
        ([{"a": {"x": 1}}, {"a": {"y": 1}}], "'y': None"),
        ([np.array([1], "i4"), np.array([2])], "dtype=int32"),
    ],
)
def test_an_object_that_would_change_is_refused(
    format_: str, values: list[Any], words: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})

    with pytest.raises(DataError, match=words):
        _round_trip(frame, Out(format_), tmp_path)


@pytest.mark.parametrize("values", [[1, 2.5], [dt.date(2020, 1, 1), dt.datetime(2020, 1, 1)]])
def test_an_index_of_objects_that_would_change_is_refused(
    values: list[Any], tmp_path: Path
) -> None:
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(values, dtype=object, name="i"))

    with pytest.raises(DataError, match="'index level i'"):
        _round_trip(frame, Out("parquet"), tmp_path)


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize(
    "values",
    [
        [dt.datetime(2020, 1, 1), None],
        [dt.datetime(2020, 1, 1, tzinfo=_ZONES[1]), None],
        [dt.timedelta(1), None],
        ["a", float("nan")],
        [1, float("nan")],
        ["a", pd.NA],
        [dt.datetime(2020, 1, 1), pd.NaT],
    ],
)
def test_objects_and_their_nulls_come_back(format_: str, values: list[Any], tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})

    back = _round_trip(frame, Out(format_), tmp_path)

    pd.testing.assert_frame_equal(frame, back)
    assert [(type(one), repr(one)) for one in values] == [(type(one), repr(one)) for one in back.x]


def test_a_null_in_an_index_of_objects_comes_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", float("nan")], dtype=object, name="i"))

    back = _round_trip(frame, Out("parquet"), tmp_path)

    assert "nan" == repr(back.index[1])
    assert "i" == back.index.name


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize("place", ["column", "index", "level", "empty"])
@pytest.mark.parametrize(
    "categories",
    [
        pd.to_datetime(["2021", "2020"]).tz_localize("Europe/Berlin"),
        pd.Index([2, 1], dtype="Int64"),
        pd.Index(["b", "a"], dtype="string[python]"),
        pd.Index([2, 1], dtype=pd.ArrowDtype(pa.int64())),
        pd.Index([True, False], dtype=object),
        pd.Index([2, 1], dtype="int8"),
    ],
    ids=lambda categories: str(categories.dtype),
)
def test_categories_come_back_with_their_dtype(
    format_: str, place: str, categories: pd.Index, tmp_path: Path
) -> None:
    values = pd.Categorical.from_codes([0, 1, 0], categories, ordered=True)
    frame = pd.DataFrame({"x": values, "y": range(3)})
    if place == "index":
        frame = frame.set_index("x")
    if place == "level":
        frame = frame.set_index(["x", "y"]).assign(z=1)
    if place == "empty":
        frame = frame[:0]

    back = _round_trip(frame, Out(format_), tmp_path)

    pd.testing.assert_frame_equal(frame, back)


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize(
    "categories",
    [
        pd.interval_range(0, 2),
        pd.period_range("2020", periods=2),
        pd.Index([(1, 2)], tupleize_cols=False),
    ],
    ids=["interval", "period", "tuple"],
)
def test_categories_that_arrow_has_no_form_for_are_refused(
    format_: str, categories: pd.Index, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"x": pd.Categorical.from_codes([0], categories)})

    with pytest.raises(DataError, match="Column 'x' of type category"):
        _round_trip(frame, Out(format_), tmp_path)


@pytest.mark.parametrize("names", [pd.CategoricalIndex(["a"]), pd.Index([dt.date(2020, 1, 1)])])
def test_names_of_columns_that_would_change_are_refused(names: pd.Index, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make their names text"):
        _round_trip(pd.DataFrame([[1]], columns=names), Out("parquet"), tmp_path)


def test_a_frequency_with_holidays_is_refused(tmp_path: Path) -> None:
    days = pd.bdate_range("2020", periods=3, freq="C", holidays=["2020-01-02"])
    frame = pd.DataFrame({"x": range(3)}, index=days)

    with pytest.raises(DataError, match="CustomBusinessDay"):
        _round_trip(frame, Out("parquet"), tmp_path)

    assert days.freq is not None


def test_a_column_that_changes_type_names_both_types(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": pd.arrays.SparseArray([0, 0, 1])})

    with pytest.raises(DataError, match=r"Column 'x' of type Sparse\[int64, 0\]"):
        _round_trip(frame, Out("parquet"), tmp_path)


def test_a_frame_comes_back_in_a_process_that_did_not_write_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({name: _TEXT[name] for name in ("period", "category", "string_arrow")})
    codec_of(Out(), pd.DataFrame).write(frame, tmp_path / "x.parquet")
    code = (
        "import pathlib, sys, pandas as pd\n"
        "from tadka.task.output.codec import codec_of\n"
        "from tadka.task.output.out import Out\n"
        "frame = codec_of(Out(), pd.DataFrame).read(pathlib.Path(sys.argv[1]))\n"
        "print(*frame.dtypes, *frame['category'].cat.categories)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.parquet")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "period[Y-DEC] category string z b a" == done.stdout.strip()


def test_other_readers_see_the_index_and_the_columns(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["01"], "b": [1.5]}, index=pd.Index([7], name="user"))
    codec_of(Out("parquet"), pd.DataFrame).write(frame, tmp_path / "x.parquet")
    codec_of(Out("csv"), pd.DataFrame).write(frame, tmp_path / "x.csv")

    pd.testing.assert_frame_equal(frame, pd.read_parquet(tmp_path / "x.parquet"))
    assert '"a","b","user"\n"01",1.5,7\n' == (tmp_path / "x.csv/table.csv").read_text()


def test_an_unknown_type_reads_what_wrote_it(tmp_path: Path) -> None:
    codec_of(Out("parquet"), Any).write(pd.DataFrame({"a": [1]}), tmp_path / "x.parquet")
    codec_of(Out("parquet"), Any).write(pa.table({"a": [1]}), tmp_path / "y.parquet")

    codec = codec_of(Out("parquet"), Any)

    assert isinstance(codec.read(tmp_path / "x.parquet"), pd.DataFrame)
    assert isinstance(codec.read(tmp_path / "y.parquet"), pa.Table)
    assert isinstance(codec.read(tmp_path / "y.parquet", pd.DataFrame), pd.DataFrame)
