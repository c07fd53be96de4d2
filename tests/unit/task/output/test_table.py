"""Parquet and Feather: settings, parts, damage."""

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError, NotFound
from tadka.task.output import table
from tadka.task.output.codec import codec_of
from tadka.task.output.out import Out


def _frame(num_rows: int = 1000) -> pd.DataFrame:
    return pd.DataFrame({"a": np.arange(num_rows), "b": [f"text {i}" for i in range(num_rows)]})


def _compressions(path: Path) -> set[str]:
    group = pq.read_metadata(path).row_group(0)
    return {group.column(i).compression for i in range(group.num_columns)}


@pytest.mark.parametrize("name", [None, "zstd", "snappy", "gzip", "lz4", "none"])
def test_parquet_is_compressed_as_declared(name: str | None, tmp_path: Path) -> None:
    codec = codec_of(Out("parquet", compression=name), pd.DataFrame)
    codec.write(_frame(), tmp_path / "x")

    wanted = {None: "ZSTD", "none": "UNCOMPRESSED"}.get(name, str(name).upper())
    assert {wanted} == _compressions(tmp_path / "x")
    pd.testing.assert_frame_equal(_frame(), codec.read(tmp_path / "x"))


@pytest.mark.parametrize("name", ["lz4", "zstd", "none"])
def test_feather_is_compressed_as_declared(name: str, tmp_path: Path) -> None:
    codec = codec_of(Out("feather", compression=name), pd.DataFrame)
    codec.write(_frame(), tmp_path / "x")

    pd.testing.assert_frame_equal(_frame(), codec.read(tmp_path / "x"))


@pytest.mark.parametrize("format_", ["parquet", "feather"])
@pytest.mark.parametrize("type_", [pd.DataFrame, pa.Table])
def test_a_large_frame_is_kept_in_parts_in_order(format_: str, type_: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(1000), "b": ["x" * (i % 97) for i in range(1000)]})
    value = frame if type_ is pd.DataFrame else pa.table({"a": frame["a"], "b": frame["b"]})
    codec = codec_of(Out(format_, max_bytes=2000), type_)
    codec.write(value, tmp_path / "x")

    parts = sorted((tmp_path / "x").iterdir())
    tables = [codec_of(Out(format_), pa.Table).read(part) for part in parts]

    assert codec.is_folder
    assert len(parts) > 10  # so that the tenth does not stand before the second
    assert all(table.nbytes <= 2000 for table in tables)
    assert list(range(1000)) == [a for table in tables for a in table["a"].to_pylist()]
    assert codec.read(tmp_path / "x").equals(value)


@pytest.mark.parametrize("format_", ["parquet", "feather"])
@pytest.mark.parametrize("kind", ["pandas", "polars", "nested"])
def test_categories_do_not_fill_the_disk(format_: str, kind: str, tmp_path: Path) -> None:
    names = [f"row{i:05d}" for i in range(500)]
    frame = pd.DataFrame({"a": pd.Categorical(names), "b": range(500)})
    value: Any = frame
    if kind == "polars":
        value = pl.DataFrame({"a": pl.Series(names, dtype=pl.Enum(names)), "b": range(500)})
    if kind == "nested":
        encoded = pa.array(names).dictionary_encode()
        value = pa.table({"a": pa.ListArray.from_arrays(range(501), encoded), "b": range(500)})
    codec = codec_of(Out(format_, max_bytes=1000), type(value))
    codec.write(value, tmp_path / "x")

    num_bytes = sum(path.stat().st_size for path in (tmp_path / "x").iterdir())
    assert num_bytes < 100_000
    assert codec.read(tmp_path / "x").equals(value)


def test_a_frame_has_no_more_parts_than_a_folder_bears(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(table, "_MAX_PARTS", 10)
    codec = codec_of(Out("parquet", max_bytes=1), pd.DataFrame)
    codec.write(_frame(95), tmp_path / "x")

    assert 10 == len(list((tmp_path / "x").iterdir()))
    pd.testing.assert_frame_equal(_frame(95), codec.read(tmp_path / "x"))


def test_a_row_larger_than_a_part_is_a_part(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x" * 1000, "y", "z" * 1000]})
    codec = codec_of(Out("parquet", max_bytes=100), pd.DataFrame)
    codec.write(frame, tmp_path / "x")

    assert 3 == len(list((tmp_path / "x").iterdir()))
    pd.testing.assert_frame_equal(frame, codec.read(tmp_path / "x"))


def test_a_frame_without_rows_is_one_part(tmp_path: Path) -> None:
    codec = codec_of(Out("parquet", max_bytes=100), pd.DataFrame)
    codec.write(_frame(0), tmp_path / "x")

    assert ["part-000000.parquet"] == [path.name for path in (tmp_path / "x").iterdir()]
    pd.testing.assert_frame_equal(_frame(0), codec.read(tmp_path / "x"))


def test_a_missing_part_is_seen(tmp_path: Path) -> None:
    codec = codec_of(Out("parquet", max_bytes=1000), pd.DataFrame)
    codec.write(_frame(), tmp_path / "x")
    (tmp_path / "x/part-000003.parquet").unlink()

    with pytest.raises(DataError, match="without a gap"):
        codec.read(tmp_path / "x")


@pytest.mark.parametrize("format_", ["parquet", "feather"])
@pytest.mark.parametrize("damage", [b"", b"not a frame"])
def test_a_damaged_file_is_a_data_error(format_: str, damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(damage)

    with pytest.raises(DataError, match="cannot be read as"):
        codec_of(Out(format_), pd.DataFrame).read(tmp_path / "x")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        codec_of(Out("parquet"), pd.DataFrame).read(tmp_path / "x")


def test_an_arrow_type_that_parquet_lacks_is_refused(tmp_path: Path) -> None:
    table = pa.table({"ok": [1], "gap": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})

    with pytest.raises(DataError, match="Column 'gap' of type month_day_nano_interval"):
        codec_of(Out("parquet"), pa.Table).write(table, tmp_path / "x")


def test_a_decimal_that_parquet_lacks_is_refused(tmp_path: Path) -> None:
    scaled = pa.array([decimal.Decimal(100)], pa.decimal128(5, -2))

    with pytest.raises(DataError, match=r"Column 'd' of type decimal128\(5, -2\)"):
        codec_of(Out("parquet"), pa.Table).write(pa.table({"a": [1], "d": scaled}), tmp_path / "x")


def test_an_error_of_the_disk_stays_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        codec_of(Out("parquet"), pd.DataFrame).write(_frame(), tmp_path / "gone/x")
