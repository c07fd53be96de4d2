"""Batches as bytes: a cached header, then raw buffers.

Layout of an encoded batch (all integers little-endian)::

    u32 header length | header (JSON) | pad to 64 | buffer | pad to 64 | buffer ...

A dict of NumPy arrays costs one copy per column and no serialisation: the header depends only on
names, types and shapes, so it is made once and recognised by its bytes. Arrow columns travel as
one Arrow IPC message in a buffer of their own. Anything else is pickled (protocol 5) with its
buffers out of band; pickles run code when read, so a decoder refuses them unless told that
the sender is trusted.
"""

import json
import pickle
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from tadka.core.error import DataError

Batch = Any
"""What a stage takes and gives: dict of arrays, Arrow table or record batch, or any object."""

_ALIGNMENT = 64
_CACHE_SIZE = 256
_MOST_VIEWS = 256


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


@dataclass(eq=False)
class _Layout:
    """Where each NumPy column of a header lies."""

    prefix: bytes  # length and header, as written
    columns: tuple[tuple[str, np.dtype[Any], tuple[int, ...], int], ...]  # name, type, shape, at
    size_bytes: int

    @cached_property
    def prefix_array(self) -> np.ndarray[Any, Any]:
        """`prefix` as NumPy copies it."""
        return np.frombuffer(self.prefix, np.uint8)


Views = dict[tuple[int, _Layout], list[np.ndarray[Any, Any]]]
"""Arrays that look into a memory, by offset and layout."""


class Encoded:
    """A batch ready to be written to memory of the caller's choice.

    Args:
        size_bytes: How much `write_to` needs.
        num_rows: Rows of the batch; 1 for an object without rows.
    """

    __slots__ = ("_layout", "_sources", "num_rows", "size_bytes")

    def __init__(
        self, layout: _Layout, sources: Iterable[Any], size_bytes: int, num_rows: int
    ) -> None:
        self._layout = layout
        self._sources = sources
        self.size_bytes = size_bytes
        self.num_rows = num_rows

    def write_to(self, memory: Any, offset: int = 0, known: Views | None = None) -> None:
        """Copy the batch into a writable buffer.

        Args:
            memory: The buffer.
            offset: Where the batch begins in it.
            known: Views of `memory` made by earlier calls; making them costs a third of a copy.
        """
        layout = self._layout
        views = None if known is None else known.get((offset, layout))
        if views is None:
            prefix = np.ndarray(len(layout.prefix), np.uint8, memory, offset)
            views = [prefix]
            views += [np.ndarray(s, d, memory, offset + at) for _, d, s, at in layout.columns]
            if known is not None:
                if len(known) >= _MOST_VIEWS:
                    known.clear()
                known[offset, layout] = views
        views[0][...] = layout.prefix_array
        for view, source in zip(views[1:], self._sources, strict=True):
            view[...] = source


def num_rows(batch: Batch) -> int:
    """Rows of a batch; an object that is not columns counts as one row."""
    if isinstance(batch, Mapping):
        return next((_length(column) for column in batch.values()), 0)
    return batch.num_rows if isinstance(batch, pa.RecordBatch | pa.Table) else 1


def _length(column: Any) -> int:
    if isinstance(column, Mapping):
        return num_rows(column)
    if isinstance(column, str | bytes):
        return 1
    try:
        return len(column)
    except TypeError:  # a number, a 0-d array or tensor, or an object of no length
        return 1


def encode(batch: Batch) -> Encoded:
    """Prepare a batch for the way to another process.

    Raises:
        DataError: Columns of different lengths, or a batch that cannot be pickled.
    """
    if type(batch) is dict:
        encoded = _encode_like_last(batch) or _encode_columns(batch)
        if encoded is not None:
            return encoded
    elif isinstance(batch, pa.RecordBatch | pa.Table):
        return _encode_parts("record", (), [], _ipc_message(batch), batch.num_rows)
    return _encode_object(batch)


_Recent = tuple[_Layout, list[tuple[np.dtype[Any], tuple[int, ...]]], int]
_recent: dict[tuple[str, ...], _Recent] = {}  # layout of the last batch with these names


def _encode_like_last(batch: dict[str, Any]) -> Encoded | None:
    """The usual case, a batch with the names, types and shapes of one before, without the work."""
    recent = _recent.get(tuple(batch))
    if recent is None:
        return None
    layout, specs, rows = recent
    sources = batch.values()
    for column, (dtype, shape) in zip(sources, specs, strict=True):
        if type(column) is not np.ndarray or column.dtype is not dtype or column.shape != shape:
            return None
    return Encoded(layout, sources, layout.size_bytes, rows)


def _encode_columns(batch: dict[str, Any]) -> Encoded | None:
    """A dict of arrays; None where a value needs pickling."""
    key, sources, arrow = [], [], {}
    for name, column in batch.items():
        if type(column) is np.ndarray:
            if column.dtype.kind in "OVT":  # their bytes point elsewhere, or need more to be told
                return None
            key.append((name, column.dtype, column.shape))
            sources.append(column)
        elif isinstance(column, pa.Array | pa.ChunkedArray):
            arrow[name] = column
        else:
            return None
        if type(name) is not str:
            return None
    rows = _check_lengths(batch)
    if not arrow:
        layout = _column_layout(tuple(key))
        if len(_recent) >= _CACHE_SIZE:
            _recent.clear()
        _recent[tuple(batch)] = (layout, [(dtype, shape) for _, dtype, shape in key], rows)
        return Encoded(layout, sources, layout.size_bytes, rows)
    order = tuple(batch)
    columns = pa.table({name: arrow[name] for name in arrow})
    plain = list(zip(key, sources, strict=True))
    return _encode_parts("columns", order, plain, _ipc_message(columns), rows)


def _check_lengths(batch: dict[str, Any]) -> int:
    rows = -1
    for name, column in batch.items():
        if isinstance(column, np.ndarray) and column.ndim == 0:
            raise DataError(
                f"Column {name!r} is a single number, not an array with one entry per row."
            )
        if rows < 0:
            rows, first = len(column), name
        elif len(column) != rows:
            raise DataError(
                f"Column {name!r} has {len(column)} rows and column {first!r} has {rows}; "
                "all columns of a batch need the same number."
            )
    return max(rows, 0)


@lru_cache(_CACHE_SIZE)
def _column_layout(key: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> _Layout:
    header = {
        "kind": "columns",
        "columns": [[name, dtype.str, list(shape)] for name, dtype, shape in key],
    }
    return _layout(_prefix(header))


def _prefix(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<I", len(text)) + text


def _encode_parts(
    kind: str,
    order: tuple[str, ...],
    columns: list[Any],
    message: pa.Buffer,
    rows: int,
) -> Encoded:
    header = {
        "kind": kind,
        "order": list(order),
        "columns": [[n, dtype.str, list(shape)] for (n, dtype, shape), _ in columns]
        + [["", "|u1", [message.size]]],
    }
    layout = _layout(_prefix(header))
    sources = [source for _, source in columns] + [np.frombuffer(message, np.uint8)]
    return Encoded(layout, sources, layout.size_bytes, rows)


def _ipc_message(columns: pa.RecordBatch | pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as writer:
        writer.write(columns)
    return sink.getvalue()


def _encode_object(batch: Batch) -> Encoded:
    buffers: list[pickle.PickleBuffer] = []
    try:
        text = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise DataError(
            f"A batch of type {type(batch).__name__!r} cannot be sent on: {error}. "
            "Return a dict of NumPy arrays, an Arrow table, or an object that can be pickled."
        ) from error
    sources = [np.frombuffer(text, np.uint8)]
    sources += [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
    header = {
        "kind": "object",
        "columns": [["", "|u1", [len(source)]] for source in sources],
    }
    layout = _layout(_prefix(header))
    return Encoded(layout, sources, layout.size_bytes, num_rows(batch))


@lru_cache(_CACHE_SIZE)
def _layout(prefix: bytes) -> _Layout:
    header = json.loads(prefix[4:])
    at = _aligned(len(prefix))
    columns = []
    for name, dtype_text, shape in header["columns"]:
        dtype = np.dtype(dtype_text)
        columns.append((name, dtype, tuple(shape), at))
        at = _aligned(at + dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
    return _Layout(prefix, tuple(columns), max(at, _ALIGNMENT))


@lru_cache(_CACHE_SIZE)
def _reader(prefix: bytes) -> tuple[str, tuple[str, ...], _Layout]:
    header = json.loads(prefix[4:])
    return header["kind"], tuple(header.get("order", ())), _layout(prefix)


def decode(memory: np.ndarray[Any, Any], *, trusted: bool = True) -> Batch:
    """The batch that was written to `memory`.

    Args:
        memory: Bytes of one encoded batch, shape (size_bytes,), uint8. Columns alias it and
            keep it alive.
        trusted: Whether to accept pickles.

    Raises:
        DataError: The batch is a pickle and the sender is not trusted.
    """
    prefix = memory[: 4 + struct.unpack_from("<I", memory.data)[0]].tobytes()
    kind, order, layout = _reader(prefix)
    array = np.ndarray
    if kind == "columns" and not order:
        return {name: array(shape, dt, memory, at) for name, dt, shape, at in layout.columns}
    if kind == "object":
        if not trusted:
            raise DataError(
                "A pickled batch arrived over TCP without encryption, and unpickling runs the "
                "sender's code. Return dicts of NumPy arrays or Arrow tables, or switch on "
                "TransferConfig(curve=True)."
            )
        parts = [array(shape, dt, memory, at) for _, dt, shape, at in layout.columns]
        return pickle.loads(parts[0].data, buffers=parts[1:])
    *plain, (_, _, (size,), at) = layout.columns
    table = pa.ipc.open_stream(pa.py_buffer(memory[at : at + size])).read_all()
    if kind == "record":
        return table.combine_chunks()
    found = {name: array(shape, dt, memory, at) for name, dt, shape, at in plain}
    for name in table.column_names:
        found[name] = _one_chunk(table[name])
    return {name: found[name] for name in order}


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def aligned_bytes(size_bytes: int) -> np.ndarray[Any, Any]:
    """Uninitialised memory whose columns will be aligned, shape (size_bytes,), uint8."""
    room = np.empty(size_bytes + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size_bytes]
