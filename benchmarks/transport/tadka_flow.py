"""tadka: chunks of one row, each of which preprocess turns into many batches."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tadka.stream import Stage, Train, read
from transport.payload import BATCH, measure

NUM_CHUNKS = 16
NUM_BATCHES = int(os.environ.get("TRANSPORT_BATCHES", "0"))


def repeat(_batch: Any) -> Iterator[Any]:
    for _ in range(NUM_BATCHES // NUM_CHUNKS + 1):
        yield BATCH


def train(batches: Any, run: Any) -> Any:
    for _ in run.epochs:
        figures = measure(batches, NUM_BATCHES, drain=True)
    return figures


def run(_num_batches: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        os.chdir(directory)
        table = pa.table({"chunk": list(range(NUM_CHUNKS))})
        pq.write_table(table, Path(directory, "chunks.parquet"), row_group_size=1)
        source = read("chunks.parquet", batch_rows=1, chunk_rows=1)
        report = (source | Stage(repeat, replicas=2) | Train(train)).run(progress="none")
    return {**report.result, "transport": report.transport}
