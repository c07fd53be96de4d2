"""Rows in a seeded order, and rows as Parquet files, without all of them in memory."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.extra import require
from tadka.storage.format import open_writer, read_piece, scan
from tadka.storage.publish import publish_file

if TYPE_CHECKING:
    import pyarrow as pa

_BUCKET_ROWS = 1 << 20  # in memory while rows are put in order
_PLACE = "__place__"


def in_order(
    tables: "Iterator[pa.Table]", count: int, seed: int, schema: "pa.Schema", folder: Path
) -> "Iterator[pa.Table]":
    """Rows in a seeded order, the same whatever the batches, without all of them in memory.

    Each row knows its place beforehand. Rows are first put into buckets of neighbouring places,
    files where there are several, and each bucket is then put in order.

    Args:
        tables: The rows.
        count: How many there are.
        seed: Of the order.
        schema: Of the rows.
        folder: For the files, which are gone when the last row is out.

    Raises:
        OSError: The disk is full.
    """
    pa = require("pyarrow", extra="arrow")
    places = np.random.default_rng(seed).permutation(count)
    num_buckets = max(1, -(-count // _BUCKET_ROWS))
    held: list[Any] = []
    at = 0
    with ExitStack() as stack:
        files: list[Any] = []
        writers: list[Any] = []
        if num_buckets > 1:
            # not in /tmp, which may be small, or memory
            aside = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            kept = schema.append(pa.field(_PLACE, pa.int64()))
            for bucket in range(num_buckets):
                files.append(stack.enter_context((aside / f"{bucket}.arrow").open("wb")))
                writers.append(open_writer(files[-1], ".arrow", kept))
        for table in tables:
            here = places[at : at + table.num_rows]
            at += table.num_rows
            table = table.append_column(_PLACE, pa.array(here))
            if not writers:
                held.append(table)
                continue
            for bucket in np.unique(here // _BUCKET_ROWS).tolist():
                mask = here // _BUCKET_ROWS == bucket
                writers[bucket].write(table.filter(pa.array(mask)).combine_chunks())
        for writer, file in zip(writers, files, strict=True):
            writer.close()
            file.close()
        for bucket in range(num_buckets):
            if writers:
                found = scan(files[bucket].name)
                held = [read_piece(found, index) for index in range(len(found.piece_rows))]
                Path(files[bucket].name).unlink()  # mapped pages stay until they are let go
            if held:
                whole = pa.concat_tables(held)
                held = []
                order = np.argsort(whole[_PLACE].to_numpy())
                yield whole.drop_columns([_PLACE]).take(pa.array(order))


def write_rows(
    path: Path, schema: "pa.Schema", tables: "Iterator[pa.Table]", group_rows: int
) -> None:
    """A Parquet file with row groups of equal size, the last one smaller.

    Args:
        path: The file.
        schema: Of the rows.
        tables: The rows.
        group_rows: Rows of a group.

    Raises:
        DataError: It cannot be written.
    """
    pa = require("pyarrow", extra="arrow")
    schema = schema.remove_metadata()
    with publish_file(path) as file:
        writer = open_writer(file, ".parquet", schema)
        try:
            waiting: list[Any] = []
            num_waiting = 0
            for table in tables:
                waiting.append(table)
                num_waiting += table.num_rows
                if num_waiting >= group_rows:
                    whole = pa.concat_tables(waiting)
                    full = num_waiting - num_waiting % group_rows
                    for start in range(0, full, group_rows):
                        writer.write(whole.slice(start, group_rows).combine_chunks())
                    waiting = [whole.slice(full)]
                    num_waiting -= full
            if num_waiting:
                writer.write(pa.concat_tables(waiting).combine_chunks())
        finally:
            writer.close()  # while the file is open; what failed is not published anyway
