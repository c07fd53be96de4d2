"""Many small files of one table: ``python -m defined.many DIRECTORY NUM_FILES``."""

import datetime as dt
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tadka.dataset import Column, Files, Partition, Table

FILES_PER_DAY = 1_000


class Many(Table, source="many/dt={dt}/*.parquet"):
    """One row a file."""

    dt: Partition[date]
    user: Column[int]
    price: Column[float]
    name: Column[str]


def at(folder: Path) -> Files:
    """The source in a folder."""
    return Files(f"{folder}/dt={{dt}}/*.parquet")


def main(directory: str, num_files: str) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"user": [1, 2], "price": [0.5, 1.5], "name": ["a", "b"]})
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    for number in range(int(num_files)):
        day = dt.date(2026, 1, 1) + dt.timedelta(days=number // FILES_PER_DAY)
        folder = Path(directory, f"dt={day}")
        if number % FILES_PER_DAY == 0:
            folder.mkdir(parents=True)
        (folder / f"part-{number:06}.parquet").write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
