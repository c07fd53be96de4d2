# ruff: noqa: DTZ001 - frames hold naive times, too
"""Frames of Arrow and polars come back from every format for frames, or are refused."""

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tadka.core.error import DataError
from tadka.task.output.codec import codec_of
from tadka.task.output.frame import library_of
from tadka.task.output.out import Out

_FLAT = pa.table(
    {
        "category": pa.array(["a", None, "b"]).dictionary_encode(),
        "numbers": pa.array([3, 1, 3]).dictionary_encode(),
        "seconds": pa.array([0, 1, None], pa.timestamp("s")),
        "zone": pa.array([0, 1, None], pa.timestamp("us", "Asia/Tokyo")),
        "time32": pa.array([1, 2, 3], pa.time32("s")),
        "date64": pa.array([86400000, None, 0], pa.date64()),
        "large": pa.array(["a", None, ""], pa.large_string()),
        "float16": pa.array([1, 2, None], pa.float16()),
        "decimal": pa.array([decimal.Decimal("1.10")] * 3),
        "text": ["01", "1e3", None],
        "null": pa.nulls(3),
    }
).replace_schema_metadata({"mine": "yes"})
_NESTED = (
    _FLAT.append_column("list", pa.array([[1], None, [2]]))
    .append_column(
        "deep", pa.array([["a"], None, []], pa.list_(pa.dictionary(pa.int8(), pa.string())))
    )
    .append_column("map", pa.array([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())))
    .append_column("bytes", pa.array([b"\xff", None, b""]))
)
_FORMATS = ["parquet", "feather", "csv", "tsv", "jsonl"]


def _round_trip(frame: Any, out: Out, folder: Path) -> Any:
    codec = codec_of(out, type(frame))
    target = folder / f"result{codec.suffix}"
    codec.refuse(frame, "Test.out")
    codec.write(frame, target)
    return codec.read(target)


@pytest.mark.parametrize("format_", _FORMATS)
@pytest.mark.parametrize("num_rows", [3, 0])
def test_arrow_tables_come_back(format_: str, num_rows: int, tmp_path: Path) -> None:
    table = _FLAT.slice(0, num_rows)

    back = _round_trip(table, Out(format_), tmp_path)

    back.validate(full=True)
    assert back.schema.equals(table.schema, check_metadata=True)
    assert back.equals(table)


@pytest.mark.parametrize("out", [Out("parquet"), Out("feather"), Out("feather", max_bytes="1K")])
def test_nested_arrow_tables_come_back(out: Out, tmp_path: Path) -> None:
    back = _round_trip(_NESTED, out, tmp_path)

    assert back.schema.equals(_NESTED.schema, check_metadata=True)
    assert back.equals(_NESTED)


def test_chunks_with_categories_of_their_own_come_back(tmp_path: Path) -> None:
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "b"]).dictionary_encode()]
    table = pa.table({"c": pa.chunked_array(chunks)})

    for format_ in _FORMATS:
        (tmp_path / format_).mkdir()
        back = _round_trip(table, Out(format_), tmp_path / format_)
        assert ["a", "b", "c", "b"] == back["c"].to_pylist()


@pytest.mark.parametrize("column", ["list", "map", "bytes"])
def test_csv_refuses_what_has_no_form_in_text(column: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"Column '{column}' of type .* cannot be kept as CSV"):
        _round_trip(_NESTED.select([column]), Out("csv"), tmp_path)


def test_a_frame_is_known_by_its_class_alone() -> None:
    class Mine(pd.DataFrame):  # type: ignore[misc] # pandas has no annotations
        pass

    assert "pandas" == library_of(pd.DataFrame)
    assert "arrow" == library_of(pa.Table)
    assert library_of(Mine) is None  # it would come back as its parent
    assert library_of("DataFrame") is None


class TestPolars:
    """The same for polars."""

    @pytest.fixture
    def flat(self) -> Any:
        return pl.DataFrame(
            {
                "enum": pl.Series(["a", "b", None], dtype=pl.Enum(["z", "b", "a"])),
                "category": pl.Series(["x", None, "y"], dtype=pl.Categorical),
                "int8": pl.Series([1, None, 3], dtype=pl.Int8),
                "date": [dt.date(2020, 1, 1)] * 3,
                "zone": pl.Series(
                    [dt.datetime(2020, 1, 1)] * 3, dtype=pl.Datetime("us", "Asia/Tokyo")
                ),
                "ms": pl.Series([dt.datetime(2020, 1, 1)] * 3, dtype=pl.Datetime("ms")),
                "delta": pl.Series([dt.timedelta(1)] * 3, dtype=pl.Duration("ms")),
                "time": [dt.time(1, 2)] * 3,
                "decimal": pl.Series([decimal.Decimal("1.1")] * 3, dtype=pl.Decimal(10, 2)),
                "text": ["01", "", None],
                "digits": ["01", "1e3", "NaN"],
                "bool": [True, None, False],
                "float": [float("nan"), None, float("inf")],
            }
        )

    @pytest.fixture
    def nested(self, flat: Any) -> Any:
        return flat.with_columns(
            lists=pl.Series([[1], None, [2, 3]]),
            struct=pl.Series([{"a": 1, "b": "x"}] * 3),
            array=pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int8, 2)),
            bytes=pl.Series([b"\xff", None, b""]),
            null=pl.Series([None] * 3),
            int128=pl.Series([1, 2, 3], dtype=pl.Int128),
        )

    @pytest.mark.parametrize("format_", _FORMATS)
    @pytest.mark.parametrize("num_rows", [3, 0])
    def test_come_back(self, flat: Any, format_: str, num_rows: int, tmp_path: Path) -> None:
        frame = flat[:num_rows]

        back = _round_trip(frame, Out(format_), tmp_path)

        assert frame.schema == back.schema
        assert frame.equals(back, null_equal=True)

    @pytest.mark.parametrize("num_rows", [3, 0])
    @pytest.mark.parametrize(
        "out", [Out("parquet"), Out("feather"), Out("parquet", max_bytes=100)], ids=repr
    )
    def test_nested_come_back(self, nested: Any, out: Out, num_rows: int, tmp_path: Path) -> None:
        frame = nested[:num_rows]

        back = _round_trip(frame, out, tmp_path)

        assert frame.schema == back.schema
        assert frame.equals(back, null_equal=True)

    @pytest.mark.parametrize("format_", _FORMATS)
    def test_lazy_frames_are_computed_and_come_back_lazy(
        self, flat: Any, format_: str, tmp_path: Path
    ) -> None:
        codec = codec_of(Out(format_), pl.LazyFrame)
        value = codec.settle(flat.lazy())
        codec.refuse(value, "Test.out")
        codec.write(value, tmp_path / "x")

        back = codec.read(tmp_path / "x")

        assert isinstance(back, pl.LazyFrame)
        assert flat.equals(back.collect(), null_equal=True)

    @pytest.mark.parametrize("format_", _FORMATS)
    def test_objects_are_refused(self, format_: str, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="Column 'o' of type Object cannot be kept"):
            _round_trip(pl.DataFrame({"o": pl.Series([object()])}), Out(format_), tmp_path)

    def test_a_damaged_file_is_a_data_error(self, flat: Any, tmp_path: Path) -> None:
        for format_ in ("parquet", "feather"):
            codec = codec_of(Out(format_), pl.DataFrame)
            path = tmp_path / f"x{codec.suffix}"
            codec.write(flat, path)
            path.write_bytes(path.read_bytes()[:-20])

            with pytest.raises(DataError, match="cannot be read as"):
                codec.read(path)

    def test_one_library_reads_what_another_wrote(self, tmp_path: Path) -> None:
        frame = pl.DataFrame({"a": ["01", None], "b": [1, 2]})
        for format_ in _FORMATS:
            codec = codec_of(Out(format_), pl.DataFrame)
            path = tmp_path / f"x{codec.suffix}"
            codec.write(frame, path)

            assert ["01", None] == codec.read(path, pd.DataFrame)["a"].tolist()
            assert isinstance(codec.read(path, pa.Table), pa.Table)

    def test_an_unknown_type_reads_parquet_of_polars_as_polars(self, tmp_path: Path) -> None:
        codec = codec_of(Out("parquet"), Any)
        codec.write(pl.DataFrame({"a": [1]}), tmp_path / "x.parquet")

        assert isinstance(codec.read(tmp_path / "x.parquet"), pl.DataFrame)

    @pytest.mark.parametrize("format_", ["csv", "jsonl"])
    def test_a_type_that_arrow_lacks_is_refused(self, format_: str, tmp_path: Path) -> None:
        frame = pl.DataFrame({"a": [1], "big": pl.Series([2**100], dtype=pl.Int128)})

        with pytest.raises(DataError, match="Column 'big' of type Int128"):
            _round_trip(frame, Out(format_), tmp_path)
