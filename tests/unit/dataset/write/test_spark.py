"""Tests of tadka.dataset.write.spark."""

import math
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.expression.kind import BYTES, FLOAT, INT, STRING, TIME, UTC, Kind
from tadka.dataset.measure.rowhash import RowHash
from tadka.dataset.source.listing import InputFile
from tadka.dataset.source.rows import read_rows
from tadka.dataset.write.sized import Layout
from tadka.dataset.write.spark import refuse_unseen, write

pytestmark = [pytest.mark.needs_spark, pytest.mark.timeout(300)]

TARGET = 128 << 10


def columns_of(**kinds: Kind) -> list[OutputColumn]:
    return [OutputColumn(name, kind, True, False, "feature") for name, kind in kinds.items()]


COLUMNS = columns_of(id=INT, ad=STRING, price=FLOAT, payload=STRING, part=STRING)


def growing(spark: Any, num_tasks: int) -> Any:
    """Rows whose payload grows a hundred times, NaN and null among the prices."""
    return spark.range(0, 40000, 1, num_tasks).selectExpr(
        "id",
        "concat('ad-', id * 7919 % 500) AS ad",
        "CASE WHEN id % 11 = 0 THEN NULL WHEN id % 13 = 0 THEN double('NaN') "
        "ELSE (id * 31 % 10007) / 10d END AS price",
        "left(repeat(concat(md5(cast(id AS string)), md5(cast(id + 1 AS string))), 4), "
        "cast(2 + 198 * id / 40000 AS int)) AS payload",
        "CASE WHEN id % 97 = 0 THEN NULL ELSE concat('p/', id * id % 97 % 7) END AS part",
    )


def hash_of(table: pa.Table, columns: list[OutputColumn]) -> str:
    made = RowHash([(column.name, column.kind) for column in columns])
    made.update(table.select([column.name for column in columns]))
    return made.hexdigest()


def content(paths: list[Path], columns: list[OutputColumn], form: str) -> str:
    from tadka.dataset.expression.expression import Column

    schema = pa.schema([(column.name, column.kind.arrow) for column in columns])
    if form == "parquet":
        return hash_of(pa.concat_tables([pq.ParquetFile(p).read() for p in paths]), columns)
    batches = [
        batch
        for path in paths
        for batch in read_rows(
            InputFile(str(path), {}, 0, "", form),
            {column.name: Column(column.name, column.kind) for column in columns},
        )
    ]
    return hash_of(pa.Table.from_batches(batches, schema), columns)


def off_size(paths: list[Path]) -> list[float]:
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    sizes = [p.stat().st_size / TARGET for some in folders.values() for p in some[:-1]]
    assert all(p.stat().st_size <= 1.1 * TARGET for p in paths)
    return [size for size in sizes if abs(size - 1) > 0.1]


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
@pytest.mark.parametrize("partition_by", [[], ["part"]], ids=["whole", "folders"])
def test_files_have_the_size_whatever_the_widths(
    spark: Any, tmp_path: Path, form: str, partition_by: list[str]
) -> None:
    rows = growing(spark, 3)
    paths = write(rows, tmp_path, Output(TARGET, form, partition_by), COLUMNS)
    assert off_size(paths) == []
    assert len(paths) > 5
    assert paths == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    stored = [column for column in COLUMNS if column.name not in partition_by]
    assert hash_of(rows.toArrow(), stored) == content(paths, stored, form)
    folders = {path.parent.name for path in paths}
    wanted = {"part=__HIVE_DEFAULT_PARTITION__"} | {f"part=p%2F{i}" for i in range(7)}
    assert (wanted if partition_by else {tmp_path.name}) == folders


def test_no_rows_give_one_file_with_the_schema(spark: Any, tmp_path: Path) -> None:
    rows = growing(spark, 2).where("id < 0")
    (path,) = write(rows, tmp_path, Output(TARGET, partition_by=["part"]), COLUMNS)
    assert tmp_path / "part-00000.parquet" == path
    assert [c.name for c in COLUMNS] == pq.read_schema(path).names


def test_times_keep_their_kind(spark: Any, tmp_path: Path) -> None:
    # the zone of the session is Asia/Tokyo
    rows = spark.sql(
        "SELECT TIMESTAMP '2026-01-01 00:00:00.000001Z' AS utc, "
        "TIMESTAMP_NTZ '2026-01-01 00:00:00' AS local"
    )
    columns = columns_of(utc=UTC, local=TIME)
    (path,) = write(rows, tmp_path, Output(TARGET), columns)
    assert pa.schema([(c.name, c.kind.arrow) for c in columns]) == pq.read_schema(path)
    again = spark.read.parquet(str(path))
    assert [("utc", "timestamp"), ("local", "timestamp_ntz")] == again.dtypes
    assert [("2026-01-01T00:00:00.000001Z",)] == [
        tuple(row) for row in again.selectExpr(
            "date_format(to_utc_timestamp(utc, current_timezone()), "
            "\"yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'\")").collect()
    ]  # fmt: skip


def test_nan_is_found_by_readers_that_trust_bounds(spark: Any, tmp_path: Path) -> None:
    # R19, with what Spark and DuckDB do by default
    import duckdb

    rows = growing(spark, 2)
    paths = [str(path) for path in write(rows, tmp_path, Output(TARGET), COLUMNS)]
    prices = [x for x in rows.toArrow().column("price").to_pylist() if x is not None]
    greater = sum(1 for x in prices if math.isnan(x) or x > 5000)
    assert greater == spark.read.parquet(*paths).where("price > 5000").count()
    with duckdb.connect() as connection:
        query = f"SELECT count(*) FROM read_parquet({paths}) WHERE price > 5000"
        assert [(greater,)] == connection.execute(query).fetchall()


def test_a_failing_task_leaves_only_the_folder_aside(spark: Any, tmp_path: Path) -> None:
    rows = growing(spark, 2).selectExpr(
        "*", "CASE WHEN id = 39999 THEN raise_error('bad row') ELSE 1L END AS last"
    )
    columns = [*COLUMNS, *columns_of(last=INT)]
    with pytest.raises(Exception, match="bad row"):
        write(rows, tmp_path, Output(TARGET), columns)
    assert [tmp_path / "_writing"] == list(tmp_path.iterdir())


def test_cancelling_from_another_thread_ends_it(spark: Any, tmp_path: Path) -> None:
    context, begun = spark.sparkContext, threading.Event()

    def cancel() -> None:
        begun.wait()
        context.cancelJobGroup("endless")

    def on_progress(share: float) -> None:
        if any((tmp_path / "_writing").iterdir()):
            begun.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    context.setJobGroup("endless", "endless", interruptOnCancel=True)
    rows = spark.range(0, 10**11, 1, 2).selectExpr("id", "md5(cast(id AS string)) AS text")
    try:
        with pytest.raises(Exception, match="cancel"):
            write(rows, tmp_path, Output(TARGET), columns_of(id=INT, text=STRING), on_progress)
    finally:
        begun.set()
        context.setLocalProperty("spark.jobGroup.id", None)
        thread.join()
    assert [tmp_path / "_writing"] == list(tmp_path.iterdir())


_WORKER = """
import pickle, sys
sys.modules["tadka"] = None
import pyarrow as pa
task = pickle.load(sys.stdin.buffer)
(files,) = task([pa.record_batch({"id": pa.array([1, 2])})])
print(files.num_rows, files.column("num_rows").to_pylist())
"""


def test_workers_need_no_tadka(tmp_path: Path) -> None:
    from pyspark import cloudpickle

    from tadka.dataset.write import spark as module

    layout = Layout(pa.schema([("id", pa.int64())]), TARGET)
    with module._by_value():
        sent = cloudpickle.dumps(module._task(str(tmp_path), layout))  # type: ignore[no-untyped-call]
    run = subprocess.run(
        [sys.executable, "-c", _WORKER], input=sent, capture_output=True, check=False
    )
    assert b"1 [2]\n" == run.stdout, run.stderr


def test_what_a_format_cannot_hold_is_refused(spark: Any, tmp_path: Path) -> None:
    rows = spark.sql("SELECT X'00' AS x")
    with pytest.raises(ConfigError, match="Column 'x' is bytes, which csv cannot hold"):
        write(rows, tmp_path, Output(TARGET, "csv"), columns_of(x=BYTES))


def test_a_folder_that_workers_do_not_see_is_refused(spark: Any, tmp_path: Path) -> None:
    refuse_unseen(spark.sparkContext, tmp_path)
    host = socket.gethostname()
    with pytest.raises(ConfigError, match=f"/not' is not on {host}, where Spark works"):
        refuse_unseen(spark.sparkContext, tmp_path / "not")
