"""What was written, read once: its hash, what its columns are like, and rows to look at."""

import itertools
import os
import urllib.parse
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.expression.expression import Column
from tadka.dataset.measure.rowhash import RowHash, column_keys, digest_piece, normalised
from tadka.dataset.measure.sample import LeastRows
from tadka.dataset.measure.statistic import ColumnStatistics, Tally, estimate_distinct, statistics
from tadka.dataset.source.listing import InputFile
from tadka.dataset.source.rows import read_rows
from tadka.dataset.source.template import NULL_FOLDER
from tadka.storage.tabular import open_binary, parsing, project
from tadka.storage.uri import stat

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ColumnStatistics", "Measured", "MeasuredFile", "hash_files", "measure", "read_output"]

SAMPLE_ROWS = 1000
_SPREAD_ROWS = 16_384  # drawn evenly, from which frequent values and histograms are estimated
_SAMPLE_BYTES = 64 << 20
_BATCH_ROWS = 1 << 16
_GROUPS_AT_ONCE = 4  # row groups of one task


@dataclass(frozen=True)
class MeasuredFile:
    """One of the files.

    Args:
        uri: As it was given.
        num_rows: In it.
        num_bytes: Its size.
    """

    uri: str
    num_rows: int
    num_bytes: int


@dataclass(frozen=True)
class Measured:
    """What is in some files.

    Args:
        files: One by one, in the order given.
        output_hash: Of the rows, without columns that are inexact: 32 hexadecimal digits.
        statistics: By column.
        sample: Up to 1,000 different rows: those with the least digests, fewer where they are
            large. The same rows for the same content, however it was written.
    """

    files: tuple[MeasuredFile, ...]
    output_hash: str
    statistics: dict[str, ColumnStatistics]
    sample: "pa.Table"

    @property
    def num_rows(self) -> int:
        """In all files."""
        return sum(file.num_rows for file in self.files)

    @property
    def num_bytes(self) -> int:
        """Of all files."""
        return sum(file.num_bytes for file in self.files)


def measure(
    files: Sequence[str],
    columns: Sequence[OutputColumn],
    *,
    format: str = "parquet",  # noqa: A002 - as Output calls it
    partition_by: Sequence[str] = (),
    threads: int | None = None,
) -> Measured:
    """Reads files of one output, each once.

    Args:
        files: Paths or URIs.
        columns: Of the output.
        format: `"parquet"`, `"jsonl"` or `"csv"`.
        partition_by: Columns that stand in the folders, as `name=value`, and not in the files.
        threads: How many work; as many as there are cores, at most 8, for None.

    Returns:
        All that is known of them.

    Raises:
        NotFound: A file does not exist.
        DataError: A file is damaged, or its columns are others.
    """
    reader = _Reader(files, columns, format, partition_by)
    parts = _run(reader, lambda: _Study(columns), threads)
    whole = _Study(columns)
    for part in parts:
        whole.merge(part)
    found = tuple(
        MeasuredFile(uri, whole.rows_of.get(i, 0), stat(uri).size_bytes)
        for i, uri in enumerate(reader.files)
    )
    return Measured(found, whole.hash.hexdigest(), whole.statistics(), whole.sample.table())


def hash_files(
    files: Sequence[str],
    columns: Sequence[OutputColumn],
    *,
    format: str = "parquet",  # noqa: A002
    partition_by: Sequence[str] = (),
    threads: int | None = None,
) -> RowHash:
    """Only the hash of files, and the number of their rows.

    Args:
        files: Paths or URIs.
        columns: Of the output; those that are inexact are not read.
        format: `"parquet"`, `"jsonl"` or `"csv"`.
        partition_by: Columns that stand in the folders, as `name=value`, and not in the files.
        threads: How many work; as many as there are cores, at most 8, for None.

    Returns:
        The hash that `measure` gives.

    Raises:
        NotFound: A file does not exist.
        DataError: A file is damaged, or its columns are others.
    """
    exact = [column for column in columns if not column.is_inexact]
    whole = _Sum(exact)
    reader = _Reader(files, exact, format, partition_by)
    for part in _run(reader, lambda: _Sum(exact), threads):
        whole.merge(part)
    return whole.hash


def read_output(
    files: Sequence[str],
    columns: Sequence[OutputColumn],
    *,
    format: str = "parquet",  # noqa: A002
    partition_by: Sequence[str] = (),
) -> "Iterator[pa.Table]":
    """The rows of files, a part at a time and in order.

    Args:
        files: Paths or URIs.
        columns: That are wanted.
        format: `"parquet"`, `"jsonl"` or `"csv"`.
        partition_by: Columns that stand in the folders, as `name=value`, and not in the files.

    Raises:
        NotFound: A file does not exist.
        DataError: A file is damaged, or its columns are others.
    """
    reader = _Reader(files, columns, format, partition_by)
    with ThreadPoolExecutor(1) as pool:
        tasks = reader.tasks(pool)
    for task in tasks:
        yield from reader.batches(task)


# ---------------------------------------------------------------- what is made of rows


class _Sum:
    """The hash of rows."""

    def __init__(self, columns: Sequence[OutputColumn]) -> None:
        self.columns = sorted(columns, key=lambda column: column.name)
        self.kinds = [(column.name, column.kind) for column in self.columns]
        exact = [column for column in self.columns if not column.is_inexact]
        self.hash = RowHash([(column.name, column.kind) for column in exact])
        self.rows_of: dict[int, int] = {}  # by number of the file

    def add(self, batch: "pa.Table", task: "_Task", number: int) -> None:  # noqa: ARG002
        self.hash.update(batch)
        self.count(batch.num_rows, task)

    def count(self, num_rows: int, task: "_Task") -> None:
        self.rows_of[task.file] = self.rows_of.get(task.file, 0) + num_rows

    def merge(self, other: "_Sum") -> None:
        self.hash.merge(other.hash)
        for file, num_rows in other.rows_of.items():
            self.rows_of[file] = self.rows_of.get(file, 0) + num_rows


class _Study(_Sum):
    """All about rows: two groups of columns, those in the hash and the others."""

    def __init__(self, columns: Sequence[OutputColumn]) -> None:
        super().__init__(columns)
        pa = require("pyarrow", extra="dataset")
        schema = pa.schema([(column.name, column.kind.arrow) for column in columns])
        self.order = [column.name for column in columns]
        self.groups = [
            [c for c in self.columns if c.is_inexact == is_inexact] for is_inexact in (False, True)
        ]
        self.keys = [[column_keys(c.name, c.kind) for c in group] for group in self.groups]
        self.registers = [np.zeros((len(group), 4096), np.uint8) for group in self.groups]
        self.tallies = {column.name: Tally(column.kind) for column in self.columns}
        self.sample = LeastRows(schema, SAMPLE_ROWS, _SAMPLE_BYTES)
        self.spread = LeastRows(schema, _SPREAD_ROWS, _SAMPLE_BYTES)

    def add(self, batch: "pa.Table", task: "_Task", number: int) -> None:
        random = np.random.default_rng([task.file, task.groups.start if task.groups else 0, number])
        for piece in normalised(batch, self.kinds):
            digests_N2 = np.empty((piece.num_rows, 2), np.uint64)
            for group, keys, registers, digests in zip(
                self.groups, self.keys, self.registers, (digests_N2, None), strict=True
            ):
                chosen = piece.select([column.name for column in group])
                total = digest_piece(chosen, keys, digests, registers)
                if digests is not None:
                    self.hash.add(total, piece.num_rows)
            for name in self.order:
                self.tallies[name].update(piece.column(name))
            self.sample.add(digests_N2[:, 0], piece)
            keys_N = random.integers(0, 2**64, piece.num_rows, np.uint64)
            self.spread.add(keys_N, piece)
        self.count(batch.num_rows, task)

    def merge(self, other: _Sum) -> None:
        super().merge(other)
        assert isinstance(other, _Study)
        for mine, theirs in zip(self.registers, other.registers, strict=True):
            np.maximum(mine, theirs, out=mine)
        for name, tally in self.tallies.items():
            tally.merge(other.tallies[name])
        self.sample.merge(other.sample)
        self.spread.merge(other.spread)

    def statistics(self) -> dict[str, ColumnStatistics]:
        spread = self.spread.table()
        is_whole = spread.num_rows == self.hash.num_rows
        distinct = {
            column.name: estimate_distinct(registers)
            for group, all_registers in zip(self.groups, self.registers, strict=True)
            for column, registers in zip(group, all_registers, strict=True)
        }
        pa = require("pyarrow", extra="dataset")
        return {
            name: statistics(
                self.tallies[name],
                pa.concat_arrays(spread[name].chunks)
                if len(spread)
                else pa.array([], spread[name].type),
                distinct[name],
                is_whole=is_whole,
            )
            for name in self.order
        }


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class _Task:
    """Part of a file: some of its row groups, or all of it."""

    file: int
    groups: range | None


class _Reader:
    def __init__(
        self,
        files: Sequence[str],
        columns: Sequence[OutputColumn],
        form: str,
        partition_by: Sequence[str],
    ) -> None:
        self.files = list(files)
        self._format = form
        self._stored = [c for c in columns if c.name not in partition_by]
        self._folders = [c for c in columns if c.name in partition_by]
        self._footers: list[Any] = []

    def tasks(self, pool: ThreadPoolExecutor) -> list[_Task]:
        if self._format != "parquet":
            return [_Task(i, None) for i in range(len(self.files))]
        self._footers = list(pool.map(self._footer, self.files))
        return [
            _Task(i, range(start, min(start + _GROUPS_AT_ONCE, footer.num_row_groups)))
            for i, footer in enumerate(self._footers)
            for start in range(0, footer.num_row_groups, _GROUPS_AT_ONCE)
        ]

    def batches(self, task: _Task) -> "Iterator[pa.Table]":
        pa = require("pyarrow", extra="dataset")
        uri = self.files[task.file]
        for batch in self._parquet(task) if task.groups is not None else self._text(uri):
            table = pa.Table.from_batches([batch])
            for column in self._folders:
                values = _constant(uri, column, table.num_rows)
                table = table.append_column(column.name, values)
            yield table

    def _footer(self, uri: str) -> Any:
        pq = require("pyarrow.parquet", extra="dataset")
        with parsing(uri, "Parquet"), open_binary(uri) as source:
            return pq.ParquetFile(source).metadata

    def _parquet(self, task: _Task) -> "Iterator[pa.RecordBatch]":
        pq = require("pyarrow.parquet", extra="dataset")
        uri, names = self.files[task.file], [column.name for column in self._stored]
        footer, groups = self._footers[task.file], list(task.groups or ())
        with parsing(uri, "Parquet"), open_binary(uri) as source:
            file = pq.ParquetFile(
                source, metadata=footer, read_dictionary=self._coded(footer.row_group(groups[0]))
            )
            if names:
                project(uri, file.schema_arrow, names)
            yield from file.iter_batches(
                _BATCH_ROWS, row_groups=groups, columns=names, use_threads=False
            )

    def _coded(self, group: Any) -> list[str]:
        """Columns of text that lie in the file as codes of a dictionary, and need no decoding."""
        texts = {column.name for column in self._stored if column.kind.name in {"string", "bytes"}}
        found = []
        for i in range(group.num_columns if texts else 0):
            chunk = group.column(i)
            # plain texts have at least four bytes each
            if (
                chunk.path_in_schema in texts
                and chunk.total_uncompressed_size < 3 * chunk.num_values
            ):
                found.append(chunk.path_in_schema)
        return found

    def _text(self, uri: str) -> "Iterator[pa.RecordBatch]":
        file = InputFile(uri, {}, 0, "", self._format)
        return read_rows(file, {c.name: Column(c.name, c.kind) for c in self._stored})


def _constant(uri: str, column: OutputColumn, num_rows: int) -> "pa.Array":
    """The value that a folder stands for, once for each row."""
    pa = require("pyarrow", extra="dataset")
    start = f"{column.name}="
    names = [urllib.parse.unquote(part) for part in uri.split("/")[:-1]]
    texts = [name[len(start) :] for name in names if name.startswith(start)]
    if not texts:
        raise DataError(f"File {uri!r} lies in no folder {column.name + '=...'!r}.")
    if texts[-1] == NULL_FOLDER:
        return pa.nulls(num_rows, column.kind.arrow)
    try:
        value = pa.array([texts[-1]]).cast(column.kind.arrow)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"File {uri!r} lies in the folder {start + texts[-1]!r}; its value must be "
            f"{column.kind}."
        ) from error
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(num_rows, np.int32)), value)


def _run(reader: _Reader, make: Any, threads: int | None) -> list[Any]:
    """What each thread made of the parts of the files that fell to it."""
    count = threads if threads is not None else min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(count) as pool:
        tasks = deque(reader.tasks(pool))

        def work() -> Any:
            made = make()
            try:
                while tasks:
                    try:
                        task = tasks.popleft()
                    except IndexError:  # another thread was faster
                        break
                    for number, batch in zip(itertools.count(), reader.batches(task), strict=False):
                        made.add(batch, task, number)
            except BaseException:
                tasks.clear()  # the others may stop, too
                raise
            return made

        futures = [pool.submit(work) for _ in range(max(1, min(count, len(tasks))))]
        try:
            return [future.result() for future in futures]
        except BaseException:  # Ctrl-C arrives here and not in the threads
            tasks.clear()
            raise
