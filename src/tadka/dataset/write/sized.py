"""Files of a chosen size from a stream of rows, by feedback: what each part took guides the next.

A file grows by parts of about a twelfth of the target. How large a part becomes is estimated from
what the last one took per byte in memory, so widths may grow along the data; a file is closed when
the next part would carry it away from the target. Rows of each folder have files of their own.

Spark sends this module to its workers, which may lack tadka: it uses numpy and pyarrow alone.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import numpy as np

from tadka.core.extra import require

if TYPE_CHECKING:
    import pyarrow as pa

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"  # as in source/template.py, which workers may lack

_PARTS_PER_FILE = 12
_FULL = 0.95  # of the target; a part more or less stays within a tenth of it
_LEAST_RATIO = 0.2  # bytes in a file per byte in memory that a part counts on, however small it was
_BUFFER_BYTES = 192 << 20
_ENCODE_ROWS = 1 << 16
_MAX_OPEN = 128
_READ_BYTES = 4 << 20
_LINE = "\n"  # the column of lines as they are; no column of an output can be called so
_SUFFIXES = {"gzip": ".gz", "zstd": ".zst", "none": ""}


@dataclass(frozen=True)
class Layout:
    """What all files of an output have in common.

    Args:
        schema: Of the rows, columns of folders included.
        target_bytes: Size that files should have.
        format: `"parquet"`, `"jsonl"` or `"csv"`.
        compression: `"zstd"`, `"snappy"`, `"gzip"` or `"none"`.
        partition_by: Columns whose values become folders.
        header: What files of text start with; for None, the names of the columns in CSV.
    """

    schema: "pa.Schema"
    target_bytes: int
    format: str = "parquet"
    compression: str = "zstd"
    partition_by: tuple[str, ...] = ()
    header: bytes | None = None

    @property
    def suffix(self) -> str:
        """How names of files end."""
        if self.format == "parquet":
            return ".parquet"
        return f".{self.format}{_SUFFIXES[self.compression]}"

    @property
    def stored(self) -> "pa.Schema":
        """The columns that stand in the files."""
        pa = require("pyarrow", extra="dataset")
        return pa.schema([f for f in self.schema if f.name not in self.partition_by])


@dataclass(frozen=True)
class Written:
    """A file, where it lies for now.

    Args:
        path: Of the file.
        folder: It belongs to, `"split=train/day=2026-01-01"`; empty without partitions.
        num_rows: In it.
        num_bytes: Its size.
    """

    path: str
    folder: str
    num_rows: int
    num_bytes: int


def as_batch(files: Sequence[Written]) -> "pa.RecordBatch":
    """Files as rows, for their way back from a worker.

    Args:
        files: In any order.
    """
    pa = require("pyarrow", extra="dataset")
    return pa.record_batch(
        {
            "path": pa.array([file.path for file in files], pa.string()),
            "folder": pa.array([file.folder for file in files], pa.string()),
            "num_rows": pa.array([file.num_rows for file in files], pa.int64()),
            "num_bytes": pa.array([file.num_bytes for file in files], pa.int64()),
        }
    )


def folder_name(names: Sequence[str], texts: Sequence[str | None]) -> str:
    """The folder of rows with some values, as Hive writes it.

    Args:
        names: Columns of folders.
        texts: Their values as text; None is null.
    """
    values = (NULL_FOLDER if text is None else quote(text, safe="") for text in texts)
    return "/".join(
        f"{quote(name, safe='')}={value}" for name, value in zip(names, values, strict=True)
    )


class SizedWriter:
    """Writes rows as files near the target; the last one of each folder is what remains.

    Args:
        directory: An existing folder for the files; their names say nothing.
        layout: Of the files.
    """

    def __init__(self, directory: str, layout: Layout) -> None:
        self._directory, self._layout = directory, layout
        self._token, self._count = secrets.token_hex(6), 0
        self._folders: dict[str, _Folder] = {}
        self._done: list[Written] = []
        self._ratio = 1.0  # of the file written last, wherever it was

    def add(self, batch: "pa.RecordBatch") -> None:
        """Takes rows, and writes those that fill a part of a file.

        Args:
            batch: With the columns of the layout.
        """
        for folder, table in self._split(batch):
            state = self._folders.pop(folder, None)
            if state is None:
                state = _Folder(ratio=self._ratio)
            self._folders[folder] = state  # the one used last stands last
            state.append(table)
            while state.num_bytes >= self._part_bytes(state):
                self._write_part(folder, state)
        if sum(state.num_bytes for state in self._folders.values()) > _BUFFER_BYTES:
            self._relieve()
        while len(self._folders) > _MAX_OPEN:
            self._close(next(iter(self._folders)))

    def close(self) -> list[Written]:
        """Writes what is left.

        Returns:
            All files, none of them empty.
        """
        for folder in list(self._folders):
            self._close(folder)
        return self._done

    def abort(self) -> None:
        """Closes open files as they are; for when an error ends the writing."""
        for state in self._folders.values():
            if state.file is not None:
                state.file.abort()
        self._folders.clear()

    def _split(self, batch: "pa.RecordBatch") -> "Iterator[tuple[str, pa.Table]]":
        pa = require("pyarrow", extra="dataset")
        layout = self._layout
        table = pa.Table.from_batches([batch]).select(layout.schema.names).cast(layout.schema)
        if not layout.partition_by or not table.num_rows:
            yield from [("", table)] if table.num_rows else []
            return
        stored = table.select(layout.stored.names)
        index = pa.array(range(table.num_rows), pa.int64())
        keys = table.select(layout.partition_by).append_column("\n", index)
        groups = keys.group_by(list(layout.partition_by), use_threads=False).aggregate(
            [("\n", "list")]
        )
        texts = [groups.column(name).cast(pa.string()).to_pylist() for name in layout.partition_by]
        rows = groups.column("\n_list").combine_chunks()
        for i, values in enumerate(zip(*texts, strict=True)):
            yield folder_name(layout.partition_by, values), stored.take(rows[i].values)

    def _part_bytes(self, state: "_Folder") -> float:
        """Bytes in memory that are worth writing now."""
        # a part that compresses worse than all before must not carry the file too far
        return self._layout.target_bytes / _PARTS_PER_FILE / max(state.ratio, _LEAST_RATIO)

    def _write_part(self, folder: str, state: "_Folder", *, whole: bool = False) -> None:
        target = self._layout.target_bytes
        part = state.take(None if whole else self._part_bytes(state))
        if state.file is None:
            self._count += 1
            name = f"{self._token}-{self._count:06}{self._layout.suffix}"
            state.file = _open(str(Path(self._directory, name)), self._layout)
        before = state.file.num_bytes
        state.file.write(part)
        if part.nbytes:
            state.ratio = self._ratio = (state.file.num_bytes - before) / part.nbytes
        if state.file.num_bytes >= target * _FULL:
            self._finish(folder, state)

    def _finish(self, folder: str, state: "_Folder") -> None:
        assert state.file is not None
        num_rows, path = state.file.num_rows, state.file.path
        state.file.close()
        state.file = None
        self._done.append(Written(path, folder, num_rows, Path(path).stat().st_size))

    def _relieve(self) -> None:
        """Writes the fullest buffers, until half of what they may hold is left."""
        total = sum(state.num_bytes for state in self._folders.values())
        for folder, state in sorted(self._folders.items(), key=lambda item: -item[1].num_bytes):
            if total <= _BUFFER_BYTES // 2:
                return
            total -= state.num_bytes
            self._write_part(folder, state, whole=True)

    def _close(self, folder: str) -> None:
        state = self._folders[folder]
        while state.num_rows:
            self._write_part(folder, state)
        if state.file is not None:
            self._finish(folder, state)
        del self._folders[folder]


@dataclass
class _Folder:
    """Rows that wait to be written, and the file that is open."""

    ratio: float
    waiting: "list[pa.Table]" = field(default_factory=list)
    num_bytes: int = 0
    num_rows: int = 0
    file: "_File | None" = None

    def append(self, table: "pa.Table") -> None:
        self.waiting.append(table)
        self.num_bytes += table.nbytes
        self.num_rows += table.num_rows

    def take(self, num_bytes: float | None) -> "pa.Table":
        """The first rows, of about so many bytes, at least one; all for None."""
        pa = require("pyarrow", extra="dataset")
        taken: list[Any] = []
        while self.waiting and (num_bytes is None or num_bytes > 0):
            first = self.waiting.pop(0)
            size = first.nbytes
            if num_bytes is not None and size > num_bytes:
                rows = max(1, int(first.num_rows * num_bytes / size))
                if rows < first.num_rows:
                    self.waiting.insert(0, first.slice(rows))
                    first = first.slice(0, rows)
            taken.append(first)
            if num_bytes is not None:
                num_bytes -= size
        table = pa.concat_tables(taken)
        self.num_rows -= table.num_rows
        self.num_bytes = sum(rest.nbytes for rest in self.waiting)
        return table


# ---------------------------------------------------------------- one file


class _File(Protocol):
    path: str
    num_rows: int

    @property
    def num_bytes(self) -> int:
        """Size that the file would have if it were closed now."""

    def write(self, table: "pa.Table") -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


def _open(path: str, layout: Layout) -> _File:
    return _ParquetFile(path, layout) if layout.format == "parquet" else _TextFile(path, layout)


class _ParquetFile:
    """Each part becomes a row group."""

    def __init__(self, path: str, layout: Layout) -> None:
        pa = require("pyarrow", extra="dataset")
        pq = require("pyarrow.parquet", extra="dataset")
        self.path, self.num_rows = path, 0
        stored = layout.stored
        self._sink = pa.OSFile(path, "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            stored,
            compression=layout.compression,
            # of numbers, which seldom repeat within a part, dictionaries cost bytes and time
            use_dictionary=[f.name for f in stored if pa.types.is_string(f.type)],
            # readers take the bounds of floats for bounds of all values, NaN included
            write_statistics=[f.name for f in stored if not _holds_floats(f.type)],
        )
        # names and types once, and for each part some 110 bytes a column: measured
        self._schema_bytes: int = stored.serialize().size * 2
        self._group_bytes = 110 * len(stored)
        self._num_groups = 0

    @property
    def num_bytes(self) -> int:
        footer = self._schema_bytes + self._num_groups * self._group_bytes
        written: int = self._sink.tell()
        return written + footer

    def write(self, table: "pa.Table") -> None:
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._num_groups += 1
        self.num_rows += table.num_rows

    def close(self) -> None:
        self._writer.close()
        self._sink.close()

    def abort(self) -> None:
        # closed as it is: the writer would otherwise put a footer into a file that is closed
        self._writer.is_open = False
        self._sink.close()


def _holds_floats(type_: "pa.DataType") -> bool:
    pa = require("pyarrow", extra="dataset")
    return bool(pa.types.is_floating(type_) or pa.types.is_nested(type_))


class _TextFile:
    """JSON lines or CSV, flushed after each part so that its size is known."""

    def __init__(self, path: str, layout: Layout) -> None:
        pa = require("pyarrow", extra="dataset")
        self.path, self.num_rows = path, 0
        is_raw = layout.schema.names == [_LINE]
        encode = csv_rows if layout.format == "csv" else json_lines
        self._encode = _content if is_raw else encode
        self._sink = pa.OSFile(path, "wb")
        self._is_compressed = layout.compression != "none"
        self._stream = (
            pa.CompressedOutputStream(self._sink, layout.compression)
            if self._is_compressed
            else self._sink
        )
        header = layout.header
        if header is None:
            header = csv_header(layout.stored) if layout.format == "csv" else b""
        self._stream.write(header)

    @property
    def num_bytes(self) -> int:
        written: int = self._sink.tell()
        return written

    def write(self, table: "pa.Table") -> None:
        for start in range(0, table.num_rows, _ENCODE_ROWS):
            self._stream.write(self._encode(table.slice(start, _ENCODE_ROWS)))
        if self._is_compressed:
            self._stream.flush()
        self.num_rows += table.num_rows

    def close(self) -> None:
        self._stream.close()
        self._sink.close()

    def abort(self) -> None:
        with suppress(OSError):  # what is buffered is written, and a full disk is still full
            self._stream.close()
        self._sink.close()


def write_empty(path: str, layout: Layout) -> None:
    """Writes a file without rows.

    Args:
        path: Of the file.
        layout: Its columns; those of folders are in the file, as there is no folder.
    """
    whole = Layout(layout.schema, layout.target_bytes, layout.format, layout.compression)
    file = _open(path, whole)
    if layout.format == "parquet":
        file.write(layout.schema.empty_table())
    file.close()


# ---------------------------------------------------------------- text


def csv_header(schema: "pa.Schema") -> bytes:
    """The first line of a CSV file.

    Args:
        schema: Of the rows.
    """
    names = ('"' + name.replace('"', '""') + '"' for name in schema.names)
    return (",".join(names) + "\n").encode()


def csv_rows(table: "pa.Table") -> "pa.Buffer":
    """Rows as CSV: texts in quotes, nulls empty, so that an empty text is not null.

    Args:
        table: The rows.
    """
    pa = require("pyarrow", extra="dataset")
    csv = require("pyarrow.csv", extra="dataset")
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False))
    return sink.getvalue()


def json_lines(table: "pa.Table") -> "pa.Buffer":
    """Rows as JSON, an object a line; NaN and infinities as Python writes them.

    Args:
        table: The rows.
    """
    pa = require("pyarrow", extra="dataset")
    pc = require("pyarrow.compute", extra="dataset")
    pieces: list[Any] = []
    for i, name in enumerate(table.column_names):
        values = table.column(i).combine_chunks()
        if isinstance(values, pa.ChunkedArray):  # no rows: nothing to combine
            values = pa.concat_arrays(values.chunks or [pa.array([], values.type)])
        pieces += [("," if i else "{") + json.dumps(name, ensure_ascii=False) + ":", _json(values)]
    lines = pc.binary_join_element_wise(
        *pieces, "}\n", "", null_handling="replace", null_replacement="null"
    )
    return _bytes_of(lines)


def _content(table: "pa.Table") -> "pa.Buffer":
    """Lines that are text already."""
    pa = require("pyarrow", extra="dataset")
    return _bytes_of(pa.concat_arrays(table.column(0).chunks))


def _bytes_of(texts: "pa.Array") -> "pa.Buffer":
    """All texts, one after the other."""
    offsets = memoryview(texts.buffers()[1]).cast("i")
    start, end = offsets[texts.offset], offsets[texts.offset + len(texts)]
    return texts.buffers()[2].slice(start, end - start)


def _json(values: "pa.Array") -> "pa.Array":
    """Each value as JSON; null where it is null."""
    pa = require("pyarrow", extra="dataset")
    pc = require("pyarrow.compute", extra="dataset")
    kind = values.type
    if pa.types.is_list(kind):
        items = pc.fill_null(_json(values.flatten()), "null")
        counts = pc.fill_null(pc.list_value_length(values), 0)
        ends = pc.cumulative_sum(counts.cast(pa.int32()))
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, items), ",")
        made = pc.binary_join_element_wise("[", joined, "]", "")
        return pc.if_else(values.is_valid(), made, pa.scalar(None, pa.string()))
    if pa.types.is_string(kind):
        return pc.binary_join_element_wise('"', _escaped(values), '"', "")
    text = values.cast(pa.string())
    if pa.types.is_temporal(kind):
        text = pc.replace_substring(text, " ", "T")
        return pc.binary_join_element_wise('"', text, '"', "")
    if pa.types.is_floating(kind):
        for python, written in (("nan", "NaN"), ("inf", "Infinity")):
            text = pc.replace_substring(text, python, written)
    return text


def _escaped(values: "pa.Array") -> "pa.Array":
    pc = require("pyarrow.compute", extra="dataset")
    values = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
    if pc.any(pc.match_substring_regex(values, "[\\x00-\\x1f]")).as_py():
        for code in range(32):
            values = pc.replace_substring(values, chr(code), json.dumps(chr(code))[1:-1])
    return values


# ---------------------------------------------------------------- merging


def merge(paths: Sequence[str], directory: str, layout: Layout, folder: str) -> list[Written]:
    """Writes the rows of several files of one folder again, as files near the target.

    Args:
        paths: Of the files, which are kept: a task that is repeated needs them.
        directory: For the new ones.
        layout: Of both.
        folder: They belong to.

    Returns:
        The new files, none of them empty.
    """
    pa = require("pyarrow", extra="dataset")
    inner = replace(layout, schema=layout.stored, partition_by=())
    read: Callable[[str, Layout], Iterator[Any]] = _row_groups
    if layout.format != "parquet":  # lines stay as they are: nothing is parsed
        header = csv_header(layout.stored) if layout.format == "csv" else b""
        inner = replace(inner, schema=pa.schema([(_LINE, pa.binary())]), header=header)
        read = _lines
    writer = SizedWriter(directory, inner)
    try:
        for path in paths:
            for batch in read(path, inner):
                writer.add(batch)
        made = writer.close()
    except BaseException:  # KeyboardInterrupt too: nothing may stay open; it is raised on
        writer.abort()
        raise
    return [replace(file, folder=folder) for file in made]


def _row_groups(path: str, _layout: Layout) -> "Iterator[pa.RecordBatch]":
    pq = require("pyarrow.parquet", extra="dataset")
    with pq.ParquetFile(path) as file:
        for index in range(file.num_row_groups):
            yield from file.iter_batches(row_groups=[index], use_threads=False)


def _lines(path: str, layout: Layout) -> "Iterator[pa.RecordBatch]":
    """The lines of a file, its header aside; a line break between quotes does not end one."""
    pa = require("pyarrow", extra="dataset")
    codec = None if layout.compression == "none" else layout.compression
    with pa.input_stream(path, compression=codec) as stream:
        stream.read(len(layout.header or b""))
        rest = b""
        while data := stream.read(_READ_BYTES):
            rest += data
            text = np.frombuffer(rest, np.uint8)
            ends = np.flatnonzero(text == ord("\n")) + 1
            if layout.header:
                inside = np.cumsum(text == ord('"'))[ends - 1] % 2
                ends = ends[inside == 0]
            if not len(ends):
                continue
            offsets = np.concatenate([[0], ends]).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), pa.py_buffer(rest[: ends[-1]])]
            lines = pa.Array.from_buffers(pa.binary(), len(ends), buffers)
            yield pa.record_batch([lines], names=[_LINE])
            rest = rest[ends[-1] :]
