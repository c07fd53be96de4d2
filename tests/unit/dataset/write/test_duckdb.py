"""Tests of tadka.dataset.write.duckdb."""

import math
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.expression.kind import BOOL, BYTES, DATE, FLOAT, INT, STRING, TIME, UTC, Kind
from tadka.dataset.measure.rowhash import RowHash
from tadka.dataset.source.listing import InputFile
from tadka.dataset.source.rows import read_rows
from tadka.dataset.write.duckdb import write

TARGET = 256 << 10
GROWING = """
    SELECT i AS id, 'ad-' || (i * 7919 % 500)::VARCHAR AS ad,
        CASE WHEN i % 11 = 0 THEN NULL WHEN i % 13 = 0 THEN 'nan'::DOUBLE
            ELSE (i * 31 % 10007) / 10 END AS price,
        left(repeat(md5(i::VARCHAR) || md5((i + 1)::VARCHAR), 4), (2 + 198 * i // 60000)::INT)
            AS payload,
        'p' || (i * i % 97 % 7)::VARCHAR AS part
    FROM range(60000) t(i)"""


def columns_of(**kinds: Kind) -> list[OutputColumn]:
    return [OutputColumn(name, kind, True, False, "feature") for name, kind in kinds.items()]


GROWING_COLUMNS = columns_of(id=INT, ad=STRING, price=FLOAT, payload=STRING, part=STRING)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute("SET threads = 2")
        yield made


def hash_of(table: Any, columns: list[OutputColumn]) -> str:
    made = RowHash([(column.name, column.kind) for column in columns])
    made.update(table.select([c.name for c in columns]).cast(schema_of(columns)))
    return made.hexdigest()


def schema_of(columns: list[OutputColumn]) -> pa.Schema:
    return pa.schema([(column.name, column.kind.arrow) for column in columns])


def content(paths: list[Path], columns: list[OutputColumn], form: str, parts: list[str]) -> str:
    """Hash of what files hold, as this package reads them."""
    stored = [c for c in columns if c.name not in parts]
    tables = []
    for path in paths:
        if form == "parquet":
            table = pq.ParquetFile(path).read()
        else:
            rows = read_rows(
                InputFile(str(path), {}, 0, "", form),
                {c.name: column_of(c) for c in stored},
            )
            table = pa.Table.from_batches(list(rows), schema_of(stored))
        for name in parts:
            folder = next(p.name for p in path.parents if p.name.startswith(f"{name}="))
            value = folder.partition("=")[2]
            null = value == "__HIVE_DEFAULT_PARTITION__"
            table = table.append_column(name, pa.array([None if null else value] * len(table)))
        tables.append(table)
    return hash_of(pa.concat_tables(tables), columns)


def column_of(column: OutputColumn) -> Any:
    from tadka.dataset.expression.expression import Column

    return Column(column.name, column.kind)


def off_size(paths: list[Path], target: int) -> list[float]:
    """Sizes of files that are not within a tenth of the target, the last of each folder aside."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    sizes = [p.stat().st_size / target for some in folders.values() for p in some[:-1]]
    assert all(p.stat().st_size <= 1.1 * target for p in paths)
    return [size for size in sizes if abs(size - 1) > 0.1]


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("partition_by", [[], ["part"]], ids=["whole", "folders"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_files_have_the_size_whatever_the_widths(
    connection: Any, tmp_path: Path, form: str, partition_by: list[str], compression: str
) -> None:
    # R13; gzip and snappy run below
    paths = write(
        connection,
        GROWING,
        tmp_path,
        Output(TARGET, form, partition_by, compression),
        GROWING_COLUMNS,
    )
    assert off_size(paths, TARGET) == []
    assert len(paths) > 6
    assert paths == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    names = {p.name for p in paths if p.parent == paths[0].parent}
    suffix = "" if form == "parquet" or compression == "none" else ".zst"
    assert {f"part-{i:05}.{form}{suffix}" for i in range(len(names))} == names
    expected = hash_of(connection.sql(GROWING).arrow().read_all(), GROWING_COLUMNS)
    assert expected == content(paths, GROWING_COLUMNS, form, partition_by)


@pytest.mark.parametrize(
    ("form", "compression"), [("parquet", "snappy"), ("parquet", "gzip"), ("csv", "gzip")]
)
def test_other_compressions(connection: Any, tmp_path: Path, form: str, compression: str) -> None:
    output = Output(TARGET, form, (), compression)
    paths = write(connection, GROWING, tmp_path, output, GROWING_COLUMNS)
    assert off_size(paths, TARGET) == []
    expected = hash_of(connection.sql(GROWING).arrow().read_all(), GROWING_COLUMNS)
    assert expected == content(paths, GROWING_COLUMNS, form, [])


def test_rows_wider_than_a_vector_of_the_engine_holds(connection: Any, tmp_path: Path) -> None:
    # 2,048 rows of these are four files
    sql = "SELECT i AS id, list_transform(range(120), lambda x: hash(x + i)::DOUBLE) AS e"
    columns = columns_of(id=INT, e=Kind("list", FLOAT))
    sql += " FROM range(6000) t(i)"
    paths = write(connection, sql, tmp_path, Output(512 << 10), columns)
    assert off_size(paths, 512 << 10) == []
    assert hash_of(connection.sql(sql).arrow().read_all(), columns) == content(
        paths, columns, "parquet", []
    )


def test_many_folders_have_one_remainder_each(connection: Any, tmp_path: Path) -> None:
    sql = "SELECT i AS id, (i * 31) % 300 AS part FROM range(300000) t(i)"
    columns = columns_of(id=INT, part=INT)
    paths = write(connection, sql, tmp_path, Output(1 << 20, partition_by=["part"]), columns)
    assert 300 == len(paths)
    assert {1000} == {pq.read_metadata(path).num_rows for path in paths}


def test_folders_are_named_as_hive_does(connection: Any, tmp_path: Path) -> None:
    sql = """SELECT i AS id, [NULL, 'a/b c%=é', '', '..', 'x'][1 + i % 5] AS part,
        i % 2 = 0 AS even, DATE '2026-01-31' AS day FROM range(10) t(i)"""
    columns = columns_of(id=INT, part=STRING, even=BOOL, day=DATE)
    made = {}
    for form in ("parquet", "jsonl"):
        folder = tmp_path / form
        folder.mkdir()
        output = Output(1 << 20, form, ["part", "even", "day"])
        paths = write(connection, sql, folder, output, columns)
        assert 10 == len(paths)
        made[form] = {str(path.parent.relative_to(folder)) for path in paths}
    assert made["jsonl"] == made["parquet"]
    assert {f"part={p}/even={e}/day=2026-01-31" for p in (
        "__HIVE_DEFAULT_PARTITION__", "a%2Fb%20c%25%3D%C3%A9", "", "..", "x"
    ) for e in ("true", "false")} == made["parquet"]  # fmt: skip


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("partition_by", [[], ["part"]], ids=["whole", "folders"])
def test_no_rows_give_one_file_with_the_schema(
    connection: Any, tmp_path: Path, form: str, partition_by: list[str]
) -> None:
    sql = f"SELECT * FROM ({GROWING}) WHERE id < 0"
    output = Output(TARGET, form, partition_by, "none")
    (path,) = write(connection, sql, tmp_path, output, GROWING_COLUMNS)
    assert tmp_path / f"part-00000.{form}" == path
    assert [path] == list(tmp_path.iterdir())
    if form == "parquet":
        assert schema_of(GROWING_COLUMNS) == pq.read_schema(path)
    else:
        header = b'"id","ad","price","payload","part"\n' if form == "csv" else b""
        assert header == path.read_bytes()


def test_every_kind_survives_each_format(connection: Any, tmp_path: Path) -> None:
    sql = """SELECT * FROM (VALUES
        (true, 127::TINYINT, 9223372036854775807, 1e300::DOUBLE, 0.1::FLOAT, 'a"b\\c' || chr(10)
            || chr(1) || ', é日', DATE '0001-01-01', TIMESTAMP '9999-12-31 23:59:59.999999',
            TIMESTAMPTZ '2026-01-01 00:00:00.5+00', ['x', NULL, '"']),
        (false, -128, -9223372036854775808, 'nan', '-inf', '', DATE '9999-12-31',
            TIMESTAMP '0001-01-01 00:00:00', TIMESTAMPTZ '1969-12-31 23:59:59.999999+00', []),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (NULL, 0, 0, 'inf', 'inf', '1', NULL, NULL, NULL, NULL)
        ) t(flag, small, big, wide, narrow, text, day, local, utc, items)"""
    kinds = {
        "flag": BOOL,
        "small": Kind("int8"),
        "big": INT,
        "wide": FLOAT,
        "narrow": Kind("float32"),
        "text": STRING,
        "day": DATE,
        "local": TIME,
        "utc": UTC,
        "items": Kind("list", STRING),
    }
    for form in ("parquet", "jsonl", "csv"):
        some = {k: v for k, v in kinds.items() if form != "csv" or k != "items"}
        columns = columns_of(**some)
        query = f"SELECT {', '.join(some)} FROM ({sql})"
        folder = tmp_path / form
        folder.mkdir()
        paths = write(connection, query, folder, Output(TARGET, form), columns)
        expected = hash_of(connection.sql(query).arrow().read_all(), columns)
        assert expected == content(paths, columns, form, []), form


@pytest.mark.parametrize("partition_by", [[], ["part"]], ids=["whole", "folders"])
def test_nan_is_found_by_readers_that_trust_bounds(
    connection: Any, tmp_path: Path, partition_by: list[str]
) -> None:
    # R19: no reader is told that NaN may be there
    output = Output(TARGET, partition_by=partition_by)
    paths = write(connection, GROWING, tmp_path, output, GROWING_COLUMNS)
    files = [str(path) for path in paths]
    rows = connection.sql(GROWING).arrow().read_all().column("price").to_pylist()
    greater = sum(1 for x in rows if x is not None and (math.isnan(x) or x > 5000))
    nans = sum(1 for x in rows if x is not None and math.isnan(x))
    count = f"SELECT count(*) FROM read_parquet({files})"
    assert greater == connection.execute(f"{count} WHERE price > 5000").fetchone()[0]
    assert nans == connection.execute(f"{count} WHERE isnan(price)").fetchone()[0]
    table = ds.dataset(files).to_table(filter=ds.field("price") > 900)
    assert sum(1 for x in rows if x is not None and x > 900) == len(table)


def test_settings_are_put_back(connection: Any, tmp_path: Path) -> None:
    names = ("preserve_insertion_order", "enable_progress_bar", "enable_progress_bar_print")
    query = f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}"
    before = connection.execute(query).fetchall()
    write(connection, GROWING, tmp_path, Output(TARGET), GROWING_COLUMNS, lambda share: None)
    assert before == connection.execute(query).fetchall()


ENDLESS = "SELECT i AS id, md5(i::VARCHAR) AS text FROM range(100000000000) t(i)"


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_an_interrupt_from_another_thread_ends_it(
    connection: Any, tmp_path: Path, form: str
) -> None:
    looked: list[float] = []
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait()
        connection.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()

    def on_progress(share: float) -> None:
        looked.append(share)
        if any(tmp_path.rglob("*.parquet" if form == "parquet" else "*.zst")):
            begun.set()

    with pytest.raises(duckdb.InterruptException):
        write(
            connection,
            ENDLESS,
            tmp_path,
            Output(TARGET, form),
            columns_of(id=INT, text=STRING),
            on_progress,
        )
    thread.join()
    assert looked
    assert [tmp_path / "_writing"] == list(tmp_path.iterdir())
    assert [(1,)] == connection.execute("SELECT 1").fetchall()


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_what_on_progress_raises_ends_it(connection: Any, tmp_path: Path, form: str) -> None:
    def on_progress(share: float) -> None:
        assert 0 <= share <= 1
        raise KeyboardInterrupt

    columns = columns_of(id=INT, text=STRING)
    with pytest.raises(KeyboardInterrupt):
        write(connection, ENDLESS, tmp_path, Output(TARGET, form), columns, on_progress)
    assert [(1,)] == connection.execute("SELECT 1").fetchall()


def test_progress_ends_at_one(connection: Any, tmp_path: Path) -> None:
    shares: list[float] = []
    write(connection, GROWING, tmp_path, Output(TARGET), GROWING_COLUMNS, shares.append)
    assert 1.0 == shares[-1]
    assert sorted(shares) == shares


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_error_of_the_query_is_not_blamed_on_the_disk(
    connection: Any, tmp_path: Path, form: str
) -> None:
    sql = "SELECT CAST('a' || i::VARCHAR AS BIGINT) AS id FROM range(9) t(i)"
    with pytest.raises(duckdb.Error, match="Could not convert"):
        write(connection, sql, tmp_path, Output(TARGET, form), columns_of(id=INT))


_FULL = """
import resource, signal, sys, duckdb
from tadka.core.error import DataError
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.expression.kind import INT, STRING
from tadka.dataset.define.output import Output
from tadka.dataset.write.duckdb import write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
columns = [OutputColumn(n, k, True, False, "feature") for n, k in (("id", INT), ("text", STRING))]
sql = "SELECT i AS id, md5(i::VARCHAR) AS text FROM range(1000000) t(i)"
try:
    write(duckdb.connect(), sql, sys.argv[1], Output(1 << 20, sys.argv[2]), columns)
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_full_disk_is_named(tmp_path: Path, form: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path), form],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith(f"Folder {str(tmp_path)!r} cannot be written: ")
    assert "Free some space" in run.stdout


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        (Output(TARGET, "jsonl"), BYTES, "Column 'x' is bytes, which jsonl cannot hold"),
        (Output(TARGET, "csv"), Kind("list", INT), "which csv cannot hold"),
        (Output(TARGET, partition_by=["x"]), FLOAT, "partition_by names 'x' of type float64"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    connection: Any, tmp_path: Path, output: Output, kind: Kind, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write(connection, "SELECT 1 AS x", tmp_path, output, columns_of(x=kind))
    assert [] == list(tmp_path.iterdir())


def test_times_are_in_utc_whatever_the_zone_of_the_session(connection: Any, tmp_path: Path) -> None:
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    sql = "SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00' AS at"
    (path,) = write(connection, sql, tmp_path, Output(TARGET, "jsonl", (), "none"),
        columns_of(at=UTC))  # fmt: skip
    assert '{"at":"2026-01-01T00:00:00.000000Z"}\n' == path.read_text()
