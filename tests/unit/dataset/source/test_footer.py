"""Footers of Parquet files: rows, types, digests; columns as declared."""

import decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import BYTES, DATE, FLOAT, INT, STRING, TIME, UTC, Kind
from tadka.dataset.source.files import Files
from tadka.dataset.source.footer import check_columns, digests, fits, footers
from tadka.dataset.source.listing import InputFile


def file_of(path: Path) -> InputFile:
    return InputFile(str(path), {}, path.stat().st_size, "")


def columns(**kinds: Kind) -> dict[str, Column[Any]]:
    return {name: Column(name, kind) for name, kind in kinds.items()}


def test_footers_give_rows_types_and_digest(tmp_path: Path) -> None:
    table = pa.table({"user": [1, 2], "price": [0.5, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    pq.write_table(table, tmp_path / "b.parquet")
    pq.write_table(table.slice(1), tmp_path / "c.parquet")
    a, b, c = footers([file_of(tmp_path / f"{name}.parquet") for name in "abc"])
    assert (a.num_rows, c.num_rows) == (2, 1)
    assert a.columns == {"user": "int64", "price": "float64"}
    assert a.digest == b.digest != c.digest
    assert len(a.digest) == 16
    assert digests([file_of(tmp_path / "a.parquet")]) == [a.digest]
    assert footers([]) == []


def test_many_files_keep_their_order(tmp_path: Path) -> None:
    files = []
    for i in range(600):
        path = tmp_path / f"{i:04d}.parquet"
        if i < 7:
            pq.write_table(pa.table({"x": range(i)}), path)
        else:
            path.hardlink_to(tmp_path / f"{i % 7:04d}.parquet")
        files.append(file_of(path))
    assert [i % 7 for i in range(600)] == [f.num_rows for f in footers(files, threads=2)]


def test_footers_on_a_store(bucket: str) -> None:
    for i in range(3):
        with fsspec.open(f"{bucket}/dt/{i}.parquet", "wb") as file:
            pq.write_table(pa.table({"x": range(i)}), file)
    listing = Files(f"{bucket}/dt/*.parquet").resolve(columns(x=INT))
    assert [0, 1, 2] == [footer.num_rows for footer in footers(listing.files)]
    fsspec.filesystem("s3").rm(f"{bucket}/dt/1.parquet")
    with pytest.raises(NotFound, match=r"1\.parquet"):
        footers(listing.files)


def test_a_footer_longer_than_the_first_read(tmp_path: Path, bucket: str) -> None:
    wide = pa.table({f"column_{i:05d}": [i] for i in range(2_000)})
    pq.write_table(wide, tmp_path / "wide.parquet")
    (found,) = footers([file_of(tmp_path / "wide.parquet")])
    assert len(found.columns) == 2_000
    fsspec.filesystem("s3").put(str(tmp_path / "wide.parquet"), f"{bucket}/wide.parquet")
    (stored,) = footers(Files(f"{bucket}/wide.parquet").resolve({}).files)
    assert found.digest == stored.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a Parquet file: it is empty"),
        (b"PAR1", "is not a Parquet file"),
        (b"a,b\n1,2\n" * 10, "is not a Parquet file"),
        (b"x" * 100 + (90).to_bytes(4, "little") + b"PAR1", "damaged footer"),
        (b"x" * 10 + b"\xff\xff\xff\x7fPAR1", "is not a Parquet file"),
        (b"x" * 100 + b"\0\0\0\0PARE", "is encrypted"),
    ],
)
def test_a_file_that_is_no_parquet(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        footers([file_of(path)])


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        footers([InputFile(str(tmp_path / "gone.parquet"), {}, 10, "")])


def test_what_is_not_parquet_must_be_staged() -> None:
    with pytest.raises(ConfigError, match="stage it first"):
        footers([InputFile("a.csv", {}, 10, "", "csv")])


TYPES: list[tuple[pa.DataType, str]] = [
    (pa.int8(), "int8"),
    (pa.uint64(), "uint64"),
    (pa.float32(), "float32"),
    (pa.bool_(), "bool"),
    (pa.large_string(), "string"),
    (pa.dictionary(pa.int32(), pa.string()), "string"),
    (pa.string_view(), "string"),
    (pa.large_binary(), "bytes"),
    (pa.binary(4), "bytes"),
    (pa.date32(), "date"),
    (pa.timestamp("ms"), "time"),
    (pa.timestamp("s"), "time"),
    (pa.timestamp("us", "Asia/Tokyo"), "utc"),
    (pa.timestamp("ns"), "time[ns]"),
    (pa.timestamp("ns", "UTC"), "utc[ns]"),
    (pa.decimal128(10, 2), "decimal(10, 2)"),
    (pa.list_(pa.large_list(pa.int16())), "list[list[int16]]"),
    (pa.null(), "null"),
    (pa.time64("us"), "time64[us]"),
    (pa.struct([("a", pa.int8())]), "struct<a: int8>"),
]


def test_types_bear_the_names_of_kinds(tmp_path: Path) -> None:
    fields = [(f"c{i}", type_) for i, (type_, _) in enumerate(TYPES)]
    pq.write_table(pa.schema(fields).empty_table(), tmp_path / "a.parquet")
    (found,) = footers([file_of(tmp_path / "a.parquet")])
    assert [text for _, text in TYPES] == list(found.columns.values())


def test_the_old_timestamp_of_spark_is_refused(tmp_path: Path) -> None:
    table = pa.table({"at": pa.array([0], pa.timestamp("ns"))})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    found = footers([file_of(tmp_path / "a.parquet")])
    assert found[0].columns == {"at": "int96"}
    (message,) = check_columns(found, columns(at=TIME))
    assert "old timestamp of Spark" in message


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ("int32", INT),
        ("uint32", INT),
        ("uint8", Kind("int16")),
        ("float32", FLOAT),
        ("int32", FLOAT),
        ("int16", Kind("float32")),
        ("decimal(15, 4)", FLOAT),
        ("decimal(18, 0)", INT),
        ("null", STRING),
        ("list[int32]", Kind("list", INT)),
        ("utc", UTC),
    ],
)
def test_types_that_lose_nothing_are_taken(found: str, kind: Kind) -> None:
    assert fits(found, kind)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ("int64", Kind("int32")),
        ("uint64", INT),
        ("int64", FLOAT),
        ("float64", Kind("float32")),
        ("float16", FLOAT),
        ("int32", Kind("float32")),
        ("float64", INT),
        ("decimal(16, 2)", FLOAT),
        ("decimal(9, 1)", INT),
        ("decimal(19, 0)", INT),
        ("string", INT),
        ("bytes", STRING),
        ("string", BYTES),
        ("time", UTC),
        ("utc", TIME),
        ("time[ns]", TIME),
        ("date", TIME),
        ("list[string]", Kind("list", INT)),
        ("int64", Kind("list", INT)),
        ("struct<a: int8>", STRING),
    ],
)
def test_types_that_lose_something_are_not(found: str, kind: Kind) -> None:
    assert not fits(found, kind)


def test_messages_name_column_type_and_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"usr": [1], "price": ["x"], "at": [1]}), tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"user": [1], "price": [decimal.Decimal("1.5")], "at": [1]}),
        tmp_path / "b.parquet",
    )
    pq.write_table(
        pa.table({"user": [1], "price": [0.5], "at": pa.array([1], pa.timestamp("us"))}),
        tmp_path / "c.parquet",
    )
    found = footers([file_of(tmp_path / f"{name}.parquet") for name in "abc"])
    declared = columns(user=INT, price=FLOAT, at=UTC)
    declared["dt"] = Column("dt", DATE, is_partition=True)
    assert check_columns(found, declared) == [
        (
            f"Column 'user' is missing in 1 of 3 files, such as '{tmp_path}/a.parquet'. Did you "
            "mean 'usr'? Columns there: usr, price, at."
        ),
        (
            f"Column 'price' is string in 1 of 3 files, such as '{tmp_path}/a.parquet'; the "
            "table declares float64. Declare what it is, or write it as float64."
        ),
        (
            f"Column 'at' is int64 in 2 of 3 files, such as '{tmp_path}/a.parquet'; the table "
            "declares utc. Declare what it is, or write it as utc."
        ),
        (
            f"Column 'at' is time in 1 of 3 files, such as '{tmp_path}/c.parquet'; the table "
            "declares utc. It has no zone: declare Column[datetime]."
        ),
    ]
    assert check_columns(found[2:], columns(user=INT, price=FLOAT, at=TIME)) == []
