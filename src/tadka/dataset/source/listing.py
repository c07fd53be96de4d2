"""What a source is, and what it gives: the files of a table, with values of their partitions."""

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadka.core.extra import require
from tadka.dataset.disk import writing
from tadka.dataset.expression.expression import Column
from tadka.dataset.thread import in_threads

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Mapping[str, Column[Any]]
"""Columns of a table by name, as it declares them."""

Keep = Callable[[Mapping[str, Any]], bool]
"""Whether files with these values of partitions are wanted. It is asked as soon as some values are
known, so that folders need not be listed: where it raises KeyError for one that is missing yet, it
is asked again below."""

STAGED_THREADS = 4  # files made Parquet at once; the readers have threads of their own


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a table, or one piece of what lies in no file.

    Args:
        uri: Where it lies: an absolute path, or a URI.
        values: Of its partitions, by column; None for a null.
        num_bytes: Its size; 0 where nobody knows.
        modified: What tells one content of the same name from the next without reading it: the
            time of the last change with the inode, or the version that a store gives.
        format: `"parquet"`, `"csv"`, `"tsv"`, `"jsonl"`, `"database"` or `"kafka"`.
        names: What columns of the table are called in the file, None for those that it lacks; only
            where that differs.
    """

    uri: str
    values: Mapping[str, Any]
    num_bytes: int
    modified: str
    format: str = "parquet"
    names: Mapping[str, str | None] | None = None

    @property
    def is_file(self) -> bool:
        """Whether it has bytes of its own; else a server gives its rows."""
        return self.format not in ("database", "kafka")

    @property
    def is_plain(self) -> bool:
        """Whether engines read it as it lies there; else it is staged."""
        return self.format == "parquet" and self.names is None


@dataclass(frozen=True)
class Listing:
    """The files of a table that a dataset uses.

    Args:
        files: In the order of their names.
        snapshot: What the table itself calls its state, such as a version of Delta; None where
            there is no such thing.
        root: What their URIs begin with, whatever the partitions.
    """

    files: Sequence[InputFile]
    snapshot: str | None = None
    root: str = ""

    @property
    def num_bytes(self) -> int:
        """Of all files together."""
        return sum(file.num_bytes for file in self.files)

    def partitions(self) -> dict[tuple[Any, ...], list[InputFile]]:
        """Files by the values of their partitions, in the order of the partition columns."""
        found: dict[tuple[Any, ...], list[InputFile]] = {}
        for file in self.files:
            found.setdefault(tuple(file.values.values()), []).append(file)
        return found


class Source:
    """Where the rows of a table lie."""

    @property
    def partition_names(self) -> tuple[str, ...] | None:
        """The partitions that it must have, in order; None where only the table itself knows."""
        return None

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:
        """The files that are there now.

        Args:
            columns: Of the table; those that are partitions give their values a type.
            keep: Which partitions are wanted; all where none is given.

        Raises:
            NotFound: There is no such table, or nothing matches.
            DataError: It cannot be listed, or a partition's value is not of its type.
        """
        raise NotImplementedError

    def batches(self, file: InputFile, columns: Columns) -> "Iterator[pa.RecordBatch]":
        """The rows of a piece that is not plain Parquet, with the declared types.

        Args:
            file: One of a listing.
            columns: Of the table; partitions are left out.

        Raises:
            DataError: A row is not as declared; the message names it.
        """
        raise NotImplementedError

    def stage(
        self,
        listing: Listing,
        columns: Columns,
        directory: Path,
        proceed: Callable[[], None] = lambda: None,
    ) -> Listing:
        """The same files in the same order, each that is not plain Parquet made so.

        Args:
            listing: Of this source.
            columns: Of the table.
            directory: An existing folder for what is made.
            proceed: Called between batches, in any thread; what it raises ends the work.

        Raises:
            DataError: A row is not as declared; the message names file and row.
        """
        if all(file.is_plain for file in listing.files):
            return listing
        stop = threading.Event()

        def batches(file: InputFile) -> "Iterator[pa.RecordBatch]":
            for batch in self.batches(file, columns):
                if stop.is_set():
                    raise CancelledError
                proceed()
                yield batch

        def staged(numbered: tuple[int, InputFile]) -> InputFile:
            index, file = numbered
            if file.is_plain:
                return file
            path = directory / f"{index:06d}.parquet"
            write_parquet(path, schema_of(columns), batches(file))
            return InputFile(str(path), file.values, path.stat().st_size, file.modified)

        files = in_threads(staged, list(enumerate(listing.files)), STAGED_THREADS, stop)
        return dataclasses.replace(listing, files=files, root=str(directory))

    def to_config(self) -> str | dict[str, Any]:
        """What YAML says of it; `from_config` of `source.py` is the way back."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type] # subclasses are dataclasses
        given = {
            f.name: getattr(self, f.name) for f in fields if getattr(self, f.name) != f.default
        }
        return {"kind": type(self).__name__.lower(), **given}


def schema_of(columns: Columns) -> "pa.Schema":
    """The schema of a table's files: its columns but the partitions.

    Args:
        columns: Of the table.
    """
    pa = require("pyarrow", extra="dataset")
    stored = [column for column in columns.values() if not column.is_partition]
    return pa.schema([(column.name, column.kind.arrow) for column in stored])


def write_parquet(path: Path, schema: "pa.Schema", batches: "Iterator[pa.RecordBatch]") -> None:
    """A local Parquet file of batches, for the engines to read at once.

    Args:
        path: Of the file.
        schema: Of all batches.
        batches: Its rows.

    Raises:
        DataError: The disk is full.
    """
    pq = require("pyarrow.parquet", extra="dataset")
    pa = require("pyarrow", extra="dataset")
    # min and max of floats do not count NaN, and readers that rely on them lose rows
    exact = [field.name for field in schema if not pa.types.is_floating(field.type)]
    options = {"compression": "snappy", "write_statistics": exact}
    with writing(path.parent), pq.ParquetWriter(path, schema, **options) as writer:
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch)
