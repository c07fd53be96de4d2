"""One measurement of the benchmark `dataset`: ``python -m defined.cell WAY DIRECTORY``."""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

TABLES = ("Impression", "Click", "Person", "Ad")
LIMIT = 0.10  # how far from the target a file's size may be


def measure(way: str, directory: str) -> dict[str, Any]:
    """Measure one way in a fresh folder."""
    ways = {
        "duckdb_tadka": duckdb_tadka,
        "duckdb_hand": duckdb_hand,
        "duckdb_same": duckdb_same,
        "spark_tadka": spark_tadka,
        "spark_hand": spark_hand,
        "start": start,
        "hash": hash_,
        "files": files,
    }
    with tempfile.TemporaryDirectory(dir=directory) as out:
        return ways[way](Path(directory), Path(out))


# ---------------------------------------------------------------- DuckDB


def duckdb_tadka(folder: Path, out: Path) -> dict[str, Any]:
    """The whole of a session with its write: listings, footers, checks, files, hash, manifest."""
    from defined import definition
    from tadka.dataset import session

    dataset = definition.here(folder)
    load_libraries()
    began = time.perf_counter()
    with session(dataset, progress="none", **definition.PERIOD) as opened:
        version = opened.write(out / "versions")
    wall_s = time.perf_counter() - began
    return {**written([Path(f) for f in version.files()]), "rows": version.num_rows, **wall(wall_s)}


def duckdb_hand(folder: Path, out: Path) -> dict[str, Any]:
    """The query by hand, and COPY with its defaults but zstd."""
    from defined import definition

    tables = {name.lower(): name.lower() for name in TABLES}
    return copied(folder, out, tables, definition.by_hand("duckdb"))


def duckdb_same(folder: Path, out: Path) -> dict[str, Any]:
    """The query as tadka writes it, with that COPY."""
    from defined import definition
    from tadka.dataset import session

    with session(definition.here(folder), progress="none", **definition.PERIOD) as opened:
        sql = opened.sql
    return copied(folder, out, {name: name.lower() for name in TABLES}, sql)


def copied(folder: Path, out: Path, tables: dict[str, str], sql: str) -> dict[str, Any]:
    """A query over views of tables, written to one file."""
    import duckdb

    load_libraries()
    target = out / "one.parquet"
    began = time.perf_counter()
    connection = duckdb.connect()
    for view, name in tables.items():
        connection.execute(
            f"CREATE VIEW {view} AS SELECT * FROM read_parquet('{folder}/{name}/**/*.parquet', "
            "hive_partitioning = true)"
        )
    connection.execute(f"COPY ({sql}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    wall_s = time.perf_counter() - began
    rows = connection.execute(f"SELECT count(*) FROM '{target}'").fetchall()[0][0]
    return {**written([target]), "rows": rows, **wall(wall_s)}


def load_libraries() -> None:
    """Imports what either way needs; pyarrow's first list imports pandas, where that is there."""
    import duckdb
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet

    duckdb.connect().close()
    pa.array([0])


# ---------------------------------------------------------------- Spark


def make_spark() -> Any:
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local[{len(os.sched_getaffinity(0))}]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "4g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    session.range(1000).selectExpr("sum(id)").collect()
    return session


def spark_tadka(folder: Path, out: Path) -> dict[str, Any]:
    """A session in a SparkSession that runs already, with its write."""
    from defined import definition
    from tadka.dataset import session

    spark = make_spark()
    dataset = definition.here(folder)
    load_libraries()
    began = time.perf_counter()
    with session(
        dataset, engine="spark", spark=spark, progress="none", **definition.PERIOD
    ) as opened:
        version = opened.write(out / "versions")
    wall_s = time.perf_counter() - began
    return {**written([Path(f) for f in version.files()]), "rows": version.num_rows, **wall(wall_s)}


def spark_hand(folder: Path, out: Path) -> dict[str, Any]:
    """The query by hand in a SparkSession that runs already, written as Spark likes."""
    from defined import definition

    spark = make_spark()
    began = time.perf_counter()
    for name in ("impression", "click", "person", "ad"):
        spark.read.parquet(f"{folder}/{name}").createOrReplaceTempView(name)
    frame = spark.sql(definition.by_hand("spark"))
    frame.write.option("compression", "zstd").parquet(str(out / "hand"))
    wall_s = time.perf_counter() - began
    found = sorted((out / "hand").glob("*.parquet"))
    rows = spark.read.parquet(str(out / "hand")).count()
    return {**written(found), "rows": rows, **wall(wall_s)}


# ---------------------------------------------------------------- parts


def start(folder: Path, out: Path) -> dict[str, Any]:
    """When the first check of a session on Spark has answered, and when Spark runs."""
    from defined import definition
    from tadka.dataset import CheckResult, session

    del out
    first: list[float] = []
    began = time.perf_counter()

    def tell(_: CheckResult) -> None:
        first.append(time.perf_counter() - began)

    dataset = definition.here(folder)
    began = time.perf_counter()
    with session(
        dataset, engine="spark", on_result=tell, progress="none", **definition.PERIOD
    ) as opened:
        opened.spark.range(1).count()
        start_s = time.perf_counter() - began
    return {
        "first_s": first[0],
        "start_s": start_s,
        "headline": f"first check {first[0]:.3f} s, Spark {start_s:.1f} s",
    }


def hash_(folder: Path, out: Path) -> dict[str, Any]:
    """Reading the output's Parquet files, and hashing what was read; one thread each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from defined import definition
    from tadka.dataset import RowHash, session
    from tadka.dataset.expression.kind import Kind

    with session(definition.here(folder), progress="none", **definition.PERIOD) as opened:
        version = opened.write(out / "versions")
    columns: list[tuple[str, Kind]] = [(c.name, c.kind) for c in version.manifest.columns]
    pa.set_cpu_count(1)
    read_s = hash_s = 0.0
    num_bytes = 0
    made = RowHash(columns)
    for file in version.files():
        began = time.perf_counter()
        table = pq.read_table(file, use_threads=False, pre_buffer=False)
        middle = time.perf_counter()
        made.update(table)
        hash_s += time.perf_counter() - middle
        read_s += middle - began
        num_bytes += table.nbytes
    if made.hexdigest() != version.manifest.output_hash:
        raise RuntimeError("The hash is not that of the version.")
    return {
        "read_s": read_s,
        "hash_s": hash_s,
        "gb_per_s": num_bytes / hash_s / 1e9,
        "headline": f"read {read_s:.2f} s, hash {hash_s:.2f} s",
    }


def files(folder: Path, out: Path) -> dict[str, Any]:
    """Many small files: listed, footers read, fingerprinted."""
    from defined import many
    from tadka.dataset.source.footer import footers as footers_of
    from tadka.dataset.version.fingerprint import take

    del out
    table = many.Many
    began = time.perf_counter()
    listing = many.at(folder / "many").resolve(table.columns, None)
    footers = footers_of(listing.files)
    fingerprint = take(listing, "footer", footers=footers)
    wall_s = time.perf_counter() - began
    num = len(listing.files)
    if len(fingerprint.files) != num:
        raise RuntimeError("Files are missing in the fingerprint.")
    return {
        "num_files": num,
        "files_per_s": num / wall_s,
        "headline": f"{num / wall_s:,.0f} files a second",
    }


def wall(wall_s: float) -> dict[str, Any]:
    return {"wall_s": wall_s, "headline": f"{wall_s:.2f} s"}


def written(found: list[Path]) -> dict[str, Any]:
    """Bytes and sizes of what was written; the last file may be a remainder."""
    from defined import definition

    sizes = [file.stat().st_size for file in sorted(found)]
    target = definition.TARGET_BYTES
    full = sizes[:-1]
    near = sum(abs(size / target - 1) <= LIMIT for size in full)
    return {
        "bytes": sum(sizes),
        "num_files": len(sizes),
        "sized": near / len(full) if full else 1.0,
        "least": min(full, default=0) / target,
        "most": max(full, default=0) / target,
    }


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
