"""Files by suffix: tables read piece by piece or written in batches, and whole objects."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.storage.array import Npy
from tadka.storage.ipc import Ipc
from tadka.storage.parquet import Parquet
from tadka.storage.publish import publish_file
from tadka.storage.tabular import TableFormat, TableScan, TableWriter, unreadable
from tadka.storage.text import Csv, JsonLines
from tadka.storage.uri import reading, resolve
from tadka.storage.whole import ERRORS, find

if TYPE_CHECKING:
    import pyarrow as pa

_TABLES: Mapping[str, TableFormat] = {
    ".parquet": Parquet(),
    ".arrow": Ipc(),
    ".feather": Ipc(),
    ".ipc": Ipc(),
    ".csv": Csv(delimiter=",", is_gzip=False),
    ".csv.gz": Csv(delimiter=",", is_gzip=True),
    ".tsv": Csv(delimiter="\t", is_gzip=False),
    ".tsv.gz": Csv(delimiter="\t", is_gzip=True),
    ".jsonl": JsonLines(is_gzip=False),
    ".jsonl.gz": JsonLines(is_gzip=True),
    ".ndjson": JsonLines(is_gzip=False),
    ".ndjson.gz": JsonLines(is_gzip=True),
    ".npy": Npy(),
}


def suffix_of(uri: str | Path) -> str:
    """The suffix that decides a file's format, in lower case, with a `.gz` after it if any.

    >>> suffix_of("s3://bucket/Part-1.CSV.gz")
    '.csv.gz'
    """
    path = Path(str(uri).rpartition("/")[2].lower())
    return "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix


def _table_format(name: str, suffix: str) -> TableFormat:
    try:
        return _TABLES[suffix]
    except KeyError:
        raise DataError(
            f"File {name!r} has the suffix {suffix!r}, which is no table format; it must be one of "
            f"{', '.join(_TABLES)}."
        ) from None


def scan(uri: str | Path, columns: Sequence[str] | None = None) -> TableScan:
    """What is known of a table file without reading its rows.

    Reads a footer or header where the format has one, and the first block of text files. Safe to
    call from many threads.

    Args:
        uri: One file; its suffix names the format.
        columns: Names to read, in the order wanted; all for None.

    Returns:
        Schema and pieces. A piece is a Parquet row group, an IPC record batch, 131072 rows of a
        `.npy` array, or the whole of a text file (its number of rows unknown).

    Raises:
        NotFound: There is no such file.
        DataError: The suffix is unknown, the file is damaged, or a column is missing.
    """
    table_format = _table_format(str(uri), suffix_of(uri))
    file_system, path = resolve(uri)
    file_system.invalidate_cache(path)  # a listing kept from before may hold an old version
    return table_format.scan(str(uri), columns)


def read_piece(scan: TableScan, index: int) -> "pa.Table":
    """One piece of a table file.

    Args:
        scan: What `scan` returned, here or in another process.
        index: Which piece, from 0.

    Returns:
        The rows, with exactly the columns of `scan.schema`.

    Raises:
        NotFound: The file is gone.
        DataError: The file is damaged or there is no such piece.
    """
    if not 0 <= index < len(scan.piece_rows):
        raise DataError(
            f"File {scan.uri!r} has no piece {index}; it has {len(scan.piece_rows)}, from 0."
        )
    table = _table_format(scan.uri, suffix_of(scan.uri)).read(scan, index)
    if table.schema.types != scan.schema.types or table.schema.names != scan.schema.names:
        raise DataError(
            f"File {scan.uri!r} has changed since it was scanned: its columns were "
            f"{_columns(scan.schema)} and now are {_columns(table.schema)}. Start again."
        )
    return table


def _columns(schema: "pa.Schema") -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def open_writer(file: BinaryIO, suffix: str, schema: "pa.Schema") -> TableWriter:
    """A writer of tables onto an open file; combine it with `publish_file`.

    Args:
        file: A binary file, opened for writing. Closing the writer leaves it open.
        suffix: The format, such as `".parquet"`, `".csv.gz"`; a name or URI with it will do.
        schema: Columns of every table written.

    Returns:
        An object with `write(table_or_batch)` and `close()`.

    Raises:
        DataError: The suffix is unknown, or the format has no place for a column's type.
    """
    name = suffix_of(suffix) if "/" in suffix or not suffix.startswith(".") else suffix.lower()
    pa = require("pyarrow", extra="arrow")
    table_format = _table_format(suffix, name)
    try:
        return _Checked(table_format.writer(file, schema), schema)
    except pa.ArrowException as error:
        raise DataError(f"A {name} file cannot hold {_columns(schema)}: {error}.") from error


class _Checked:
    """Refuses other schemas in the same words for every format."""

    def __init__(self, writer: TableWriter, schema: "pa.Schema") -> None:
        self._writer = writer
        self._schema = schema

    def write(self, data: "pa.Table | pa.RecordBatch") -> None:
        """Appends rows."""
        if not data.schema.equals(self._schema, check_metadata=False):
            raise DataError(
                f"The table to write has the columns {_columns(data.schema)}; the file has "
                f"{_columns(self._schema)}. Select or cast them first."
            )
        self._writer.write(data)

    def close(self) -> None:
        """Writes what remains."""
        self._writer.close()


def load(uri: str | Path) -> Any:
    """A whole object from a file.

    Args:
        uri: The file. By suffix: table formats give a `pyarrow.Table`, except `.npy`, which gives
            an array; `.npz` a dict of arrays; `.json`, `.yaml`, `.yml` plain values; `.txt` text;
            `.pkl` any object. Loading a pickle runs code from it: load only your own.

    Returns:
        The object.

    Raises:
        NotFound: There is no such file.
        DataError: The suffix is unknown or the content is damaged.
    """
    suffix = suffix_of(uri)
    if suffix in _TABLES and suffix != ".npy":
        pa = require("pyarrow", extra="arrow")
        found = scan(uri)
        pieces = [read_piece(found, i) for i in range(len(found.piece_rows))]
        return pa.concat_tables([found.schema.empty_table(), *pieces])
    whole = find(str(uri), suffix, _TABLES)
    file_system, path = resolve(uri)
    with reading(uri):
        data = file_system.cat_file(path)
    try:
        return whole.from_bytes(data)
    except ERRORS as error:
        raise unreadable(str(uri), suffix.lstrip("."), str(error)) from error


def save(obj: Any, uri: str | Path) -> None:
    """Writes a whole object; the file appears complete or not at all.

    Args:
        obj: What the suffix takes, as listed at `load`; for table formats a table or record batch.
        uri: The file. Missing folders are made, an existing file is replaced.

    Raises:
        DataError: The suffix is unknown, it does not take such an object, or writing fails.
    """
    suffix = suffix_of(uri)
    if suffix in _TABLES and suffix != ".npy":
        pa = require("pyarrow", extra="arrow")
        if not isinstance(obj, pa.Table | pa.RecordBatch):
            raise _wrong_object(uri, obj, "a pyarrow Table or RecordBatch")
        with publish_file(uri) as file:
            writer = open_writer(file, suffix, obj.schema)
            writer.write(obj)
            writer.close()
        return
    whole = find(str(uri), suffix, _TABLES)
    try:
        data = whole.to_bytes(obj)
    except ERRORS as error:
        raise _wrong_object(uri, obj, f"what {suffix} can hold ({error})") from error
    with publish_file(uri) as file:
        file.write(data)


def _wrong_object(uri: str | Path, obj: Any, accepted: str) -> DataError:
    return DataError(
        f"A {type(obj).__name__!r} cannot be saved as {str(uri)!r}; it must be {accepted}. "
        "Convert it or choose another suffix."
    )
