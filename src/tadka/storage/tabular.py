"""What every tabular format offers, and the checks they share."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.storage.uri import is_local, reading, resolve

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableScan:
    """What is known of a table file without reading its rows.

    Args:
        uri: The file.
        schema: The chosen columns, in the order they were asked for.
        piece_rows: Rows of each piece that can be read alone; None where only reading tells.
        version: Which content was scanned; empty for formats whose files are not kept open.
    """

    uri: str
    schema: "pa.Schema"
    piece_rows: list[int | None]
    version: str = ""

    @property
    def num_rows(self) -> int | None:
        """Rows of the file; None where a piece's number is not known."""
        known = [rows for rows in self.piece_rows if rows is not None]
        return sum(known) if len(known) == len(self.piece_rows) else None


class TableWriter(Protocol):
    """Writes tables or record batches of one schema to a file."""

    def write(self, data: "pa.Table | pa.RecordBatch") -> None:
        """Appends rows; their schema must be the writer's."""

    def close(self) -> None:
        """Writes what remains, such as a footer. The file itself stays open."""


class TableFormat(Protocol):
    """One file format; the registry in `format.py` finds it by suffix."""

    def scan(self, uri: str, columns: Sequence[str] | None) -> TableScan:
        """Schema and pieces of a file."""

    def read(self, scan: TableScan, index: int) -> "pa.Table":
        """One piece, with the columns of `scan.schema`."""

    def writer(self, file: BinaryIO, schema: "pa.Schema") -> TableWriter:
        """A writer onto an open file."""


def project(uri: str, schema: "pa.Schema", columns: Sequence[str] | None) -> "pa.Schema":
    """The fields of `columns`, in that order; the whole schema for None.

    Args:
        uri: The file, for the message.
        schema: All its columns.
        columns: Names to keep.

    Returns:
        A schema without metadata.

    Raises:
        DataError: A name is not in the schema or is given twice, there are no names, or the file
            has two columns of one name.
    """
    pa = require("pyarrow", extra="arrow")
    names = list(schema.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"File {uri!r} has more than one column {twice[0]!r}; names must differ. Rename one."
        )
    if columns is None:
        return schema.remove_metadata()
    chosen = list(columns)
    for name in chosen:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DataError(
                f"File {uri!r} has no column {name!r}.{hint} Its columns are: {', '.join(names)}."
            )
    if not chosen or len(set(chosen)) < len(chosen):
        raise DataError(
            f"Columns {chosen!r} were asked of file {uri!r}; give at least one name, each once."
        )
    return pa.schema([schema.field(name) for name in chosen])


@contextmanager
def parsing(uri: str, kind: str) -> Iterator[None]:
    """Turns what pyarrow and file systems raise on bad files into DataError.

    Args:
        uri: The file being read.
        kind: What it should be, such as `"Parquet"`.

    Raises:
        DataError: The content is damaged, truncated or of another format.
        NotFound: The file does not exist.
    """
    pa = require("pyarrow", extra="arrow")
    try:
        with reading(uri):
            yield
    except (pa.ArrowException, UnicodeError) as error:
        raise unreadable(uri, kind, str(error)) from error
    except DataError as error:
        # pyarrow reports damage as OSError too; without a number it is not the system speaking
        cause = error.__cause__
        if type(cause) is OSError and cause.errno is None:
            raise unreadable(uri, kind, str(cause)) from cause
        raise


def unreadable(uri: str, kind: str, reason: str) -> DataError:
    """The error for a file whose content is not what its suffix says."""
    first = reason.strip().split("\n")[0].rstrip(".")
    return DataError(
        f"File {uri!r} cannot be read as {kind}: {first}. It may be truncated, damaged or of "
        "another format; write it again."
    )


def open_binary(uri: str, *, memory_map: bool = True) -> Any:
    """A pyarrow file for reading: mapped into memory where local, through fsspec elsewhere.

    Args:
        uri: The file.
        memory_map: Whether a local file is mapped; an empty file never is.

    Returns:
        A `pyarrow.NativeFile`.
    """
    pa = require("pyarrow", extra="arrow")
    file_system, path = resolve(uri)
    if not is_local(file_system):
        # whole ranges are asked for anyway, so read-ahead would only fetch bytes twice
        return pa.PythonFile(file_system.open(path, "rb", cache_type="none"), mode="r")
    return pa.memory_map(path) if memory_map else pa.OSFile(path)
