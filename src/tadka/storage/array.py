"""Tables in `.npy` files: a piece is a slice of the first axis.

Columns: one per field of a structured dtype; otherwise one, `value`, of numbers for a 1-D array and
of fixed-size lists for more axes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.storage.tabular import TableScan, TableWriter, parsing, project, unreadable
from tadka.storage.uri import is_local, reading, resolve

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS = 131072


@dataclass(frozen=True)
class _Header:
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    offset_bytes: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Npy:
    """Reads and writes `.npy` arrays as tables."""

    def scan(self, uri: str, columns: Sequence[str] | None) -> TableScan:
        """Columns and slices, from the header alone."""
        file_system, path = resolve(uri)
        with reading(uri), file_system.open(path, "rb") as file:
            header = _read_header(uri, file, int(file_system.info(path)["size"]))
        # the types of an empty array are those of a full one, so no row need be read
        sample = np.zeros((0, *header.shape[1:]), header.dtype)
        schema = project(uri, _to_table(uri, sample).schema, columns)
        starts = range(0, header.shape[0], PIECE_ROWS)
        rows: list[int | None] = [min(PIECE_ROWS, header.shape[0] - start) for start in starts]
        return TableScan(uri, schema, rows)

    def read(self, scan: TableScan, index: int) -> "pa.Table":
        """One slice; a local file is mapped, so other slices are not touched."""
        file_system, path = resolve(scan.uri)
        uri, start = scan.uri, index * PIECE_ROWS
        with parsing(uri, "a .npy array"), file_system.open(path, "rb") as file:
            header = _read_header(uri, file, int(file_system.info(path)["size"]))
            stop = min(start + PIECE_ROWS, header.shape[0])
            if is_local(file_system):
                piece = _map(path, header)[start:stop]
            else:
                row_bytes = header.num_bytes // max(1, header.shape[0])
                file.seek(header.offset_bytes + start * row_bytes)
                data = file.read((stop - start) * row_bytes)
                piece = np.frombuffer(data, header.dtype).reshape(-1, *header.shape[1:])
            chosen = scan.schema.names
            if header.dtype.names is not None:
                return _to_table(uri, piece[chosen]).select(chosen)
            return _to_table(uri, piece)

    def writer(self, file: BinaryIO, schema: "pa.Schema") -> TableWriter:
        """A writer that holds all rows in memory until closed: their number comes first."""
        return _NpyWriter(file, schema)


def _map(path: str, header: _Header) -> Any:
    return np.memmap(
        path,
        dtype=header.dtype,
        mode="r",
        offset=header.offset_bytes,
        shape=header.shape,
        order="F" if header.is_fortran else "C",
    )


def _read_header(uri: str, file: Any, size_bytes: int) -> _Header:
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise unreadable(uri, "a .npy array", str(error)) from error
    header = _Header(dtype, shape, is_fortran and len(shape) > 1, file.tell())
    if dtype.hasobject:
        raise unreadable(uri, "a table", "its elements are pickled Python objects")
    if not shape:
        raise unreadable(uri, "a table", "it is a single number without rows")
    if size_bytes < header.offset_bytes + header.num_bytes:
        missing = header.offset_bytes + header.num_bytes - size_bytes
        raise unreadable(uri, "a .npy array", f"{missing} bytes are missing at its end")
    if header.is_fortran and not is_local(resolve(uri)[0]):
        raise unreadable(uri, "a table", "it is in Fortran order, of which no slice can be fetched")
    return header


def _to_table(uri: str, array: "np.ndarray[Any, Any]") -> "pa.Table":
    pa = require("pyarrow", extra="arrow")
    names = array.dtype.names
    columns = {"value": array} if names is None else {name: array[name] for name in names}
    try:
        return pa.table({name: _to_arrow(column) for name, column in columns.items()})
    except (pa.ArrowException, TypeError) as error:
        raise unreadable(uri, "a table", f"{array.dtype} has no column type ({error})") from error


def _to_arrow(array: "np.ndarray[Any, Any]") -> Any:
    pa = require("pyarrow", extra="arrow")
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    flat = pa.array(native.reshape(-1))
    for size in reversed(array.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


class _NpyWriter:
    def __init__(self, file: BinaryIO, schema: "pa.Schema") -> None:
        self._file = file
        self._schema = schema
        self._parts: list[Any] = []

    def write(self, data: "pa.Table | pa.RecordBatch") -> None:
        pa = require("pyarrow", extra="arrow")
        is_batch = isinstance(data, pa.RecordBatch)
        self._parts.append(pa.Table.from_batches([data]) if is_batch else data)

    def close(self) -> None:
        pa = require("pyarrow", extra="arrow")
        table = pa.concat_tables([self._schema.empty_table(), *self._parts])
        columns = {name: _to_numpy(name, table[name]) for name in table.column_names}
        if list(columns) == ["value"]:
            array = columns["value"]
        else:
            fields = [(name, column.dtype, column.shape[1:]) for name, column in columns.items()]
            array = np.empty(table.num_rows, np.dtype(fields))
            for name, column in columns.items():
                array[name] = column
        np.save(self._file, array, allow_pickle=False)


def _to_numpy(name: str, column: "pa.ChunkedArray") -> "np.ndarray[Any, Any]":
    pa = require("pyarrow", extra="arrow")
    shape = []
    values = column.combine_chunks()
    num_nulls = values.null_count
    while pa.types.is_fixed_size_list(values.type):
        shape.append(values.type.list_size)
        values = values.flatten()
        num_nulls += values.null_count
    if num_nulls:
        raise DataError(f"Column {name!r} holds nulls; a .npy file cannot. Fill them first.")
    array: np.ndarray[Any, Any] = values.to_numpy(zero_copy_only=False)
    if array.dtype.hasobject:
        raise DataError(
            f"Column {name!r} of type {column.type} cannot be written to a .npy file; it must be "
            "numbers, booleans, times or fixed-size lists of them. Write Parquet instead."
        )
    return array.reshape(len(column), *shape)
