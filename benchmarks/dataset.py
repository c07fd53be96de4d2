"""Training data by definition: what a version costs beside the same SQL written by hand.

1.5 million impressions of 30 days, whose payload grows from 2 to 200 characters; clicks, people and
ads; a filter, an as-of join, a static join, a window of a week for features and of a day for the
label, a split by hash. tadka's time is that of the whole session: listings and footers of all
files, contents fingerprinted, checks of inputs and of the output, files of 8 MiB, their hash and
statistics, the manifest. The SQL by hand reads the same tables, gives the same rows and is written
with COPY (DuckDB) or DataFrame.write (Spark), zstd, nothing else. Both use all cores; libraries are
imported and Spark runs before the clock starts. Sizes leave out the last file. The hash is against
pyarrow reading the same files, one thread each. 100,000 files of two rows are in the file cache.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import harness

WAYS = {
    "duckdb_hand": "DuckDB, by hand",
    "duckdb_same": "DuckDB, COPY of tadka's SQL",
    "duckdb_tadka": "DuckDB, tadka",
    "spark_hand": "Spark, by hand",
    "spark_tadka": "Spark, tadka",
}
PARTS = ("start", "hash", "files")
NUM_ROWS, QUICK_ROWS = 1_500_000, 300_000
NUM_FILES, QUICK_FILES = 100_000, 20_000
QUICK = ("duckdb_hand", "duckdb_same", "duckdb_tadka", "start", "hash", "files")


def main() -> int:
    bench = harness.Bench(
        "dataset", __doc__, packages=["tadka", "duckdb", "pyspark", "pyarrow", "numpy"]
    )
    options = bench.parse()
    harness.use_own_environment()
    wanted = [
        name
        for name in (*WAYS, *PARTS)
        if bench.wants(name) and (name in QUICK or not options.quick)
    ]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        make(directory, "tables", QUICK_ROWS if options.quick else NUM_ROWS)
        if "files" in wanted:
            make(f"{directory}/many", "many", QUICK_FILES if options.quick else NUM_FILES)
        threads = {"OMP_NUM_THREADS": "", "ARROW_IO_THREADS": ""}
        bench.run(
            [
                harness.Cell(name, ["-m", "defined.cell", name, directory], threads)
                for name in wanted
            ]
        )
    set_targets(bench)
    return bench.finish(tables(bench, wanted), remarks(bench))


def make(directory: str, module: str, count: int) -> None:
    """Write tables in a process of its own: what it leaves in memory is no part of anything."""
    arguments = [sys.executable, "-m", f"defined.{module}", directory, str(count)]
    subprocess.run(arguments, check=True, cwd=Path(__file__).parent)


def set_targets(bench: harness.Bench) -> None:
    shares = ("start", "first_s"), ("start", "start_s")
    bench.target("first_check_share", bench.ratio(*shares), "<= 0.01")
    for engine in ("duckdb", "spark"):
        walls = (f"{engine}_tadka", "wall_s"), (f"{engine}_hand", "wall_s")
        bench.target(f"{engine}_overhead", bench.ratio(*walls), "<= 1.1")
    bench.target("sized_duckdb", bench.median("duckdb_tadka", "sized"), ">= 0.95")
    bench.target("sized_spark", bench.median("spark_tadka", "sized"), ">= 0.95")
    sizes = ("duckdb_tadka", "bytes"), ("duckdb_hand", "bytes")
    bench.target("bytes_ratio", bench.ratio(*sizes), "<= 1.03")
    bench.target("hash_share", bench.ratio(("hash", "hash_s"), ("hash", "read_s")), "<= 0.5")
    bench.target("files_per_s", bench.median("files", "files_per_s"), ">= 2000")


def tables(bench: harness.Bench, wanted: list[str]) -> list[harness.Table]:
    rows: list[list[object]] = []
    for name, title in WAYS.items():
        if name not in wanted or name in bench.missing or name in bench.failed:
            rows.append([title, *["-"] * 6])
            continue
        peer = f"{name.partition('_')[0]}_hand"
        ratio = bench.ratio((name, "wall_s"), (peer, "wall_s"))
        rows.append(
            [
                title,
                harness.spread(bench.values(name, "rows"), 0),
                harness.spread(bench.values(name, "wall_s"), 2),
                "-" if ratio is None else f"{ratio:.2f}",
                harness.spread([b / 2**20 for b in bench.values(name, "bytes")], 1),
                harness.spread(bench.values(name, "num_files"), 0),
                harness.spread(bench.values(name, "sized"), 2),
            ]
        )
    titles = ["way", "rows", "seconds", "times by hand", "MiB", "files", "files within 10 %"]
    return [harness.Table("A version of a training set", titles, rows)]


def remarks(bench: harness.Bench) -> list[str]:
    found = []
    for name, key, what in (
        ("start", "first_s", "first check result, seconds after the session began"),
        ("start", "start_s", "Spark runs, seconds after the session began"),
        ("hash", "gb_per_s", "hash of rows, GB of Arrow a second"),
        ("files", "num_files", "files fingerprinted"),
    ):
        values = bench.values(name, key)
        if values:
            found.append(f"{what}: {harness.spread(values, 3)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
