"""What the footers of Parquet files tell: rows, columns, types and a digest, without reading rows.

Types are called as in `kind.py`; those that no column has bear names of their own: `uint32`,
`decimal(10, 2)`, `time[ns]`, `int96`, `struct<...>`.
"""

import difflib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.dataset.expression.kind import Kind
from tadka.dataset.source.listing import Columns, InputFile
from tadka.dataset.thread import in_threads
from tadka.storage.uri import is_local, reading, resolve

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_TRAILER_BYTES = 8  # length of the footer, then the magic
_LOCAL_TAIL_BYTES = 16 << 10  # read at once, hoping that the footer is no longer
_REMOTE_TAIL_BYTES = 64 << 10
_FILES_PER_TASK = 256
_REQUESTS_AT_ONCE = 64
_NUM_SCHEMAS = 16  # kept to compare with: the files of a table have few different ones


@dataclass(frozen=True, slots=True)
class Footer:
    """What one Parquet file says of itself.

    Args:
        uri: The file.
        num_rows: In it.
        columns: Type of each column, as text.
        digest: Of the footer's bytes: counts, sizes and statistics of all row groups, 16 hex
            digits. A value that changes in place may leave it as it was.
    """

    uri: str
    num_rows: int
    columns: dict[str, str]
    digest: str


def footers(files: Sequence[InputFile], *, threads: int | None = None) -> list[Footer]:
    """The footers of Parquet files, in the same order.

    Args:
        files: Parquet files, on any file system.
        threads: How many read local files at once; by default as many as there are cores.

    Raises:
        NotFound: A file has gone.
        DataError: A file is not Parquet, or is damaged.
    """
    check_formats(files)
    parser = _Parser()
    return list(_read_each(files, threads, parser.parse))


def schemas(files: Sequence[InputFile]) -> "list[pa.Schema]":
    """The schemas of Parquet files with the ids of their fields, in the same order.

    Args:
        files: Parquet files, on any file system.

    Raises:
        NotFound: A file has gone.
        DataError: A file is not Parquet, or is damaged.
    """
    parser = _Parser()
    return list(_read_each(files, None, parser.schema))


def digests(files: Sequence[InputFile], *, threads: int | None = None) -> list[str]:
    """The digests of the footers of Parquet files, in the same order: what `Footer.digest` holds.

    Args:
        files: Parquet files, on any file system.
        threads: How many read local files at once; by default as many as there are cores.

    Raises:
        NotFound: A file has gone.
        DataError: A file is not Parquet.
    """
    check_formats(files)
    return list(_read_each(files, threads, lambda _, footer: _digest(footer)))


def _digest(footer: bytes) -> str:
    return hashlib.blake2b(footer, digest_size=8).hexdigest()


def _read_each(
    files: Sequence[InputFile], threads: int | None, use: Callable[[InputFile, bytes], T]
) -> Iterator[T]:
    """What is made of the footer of each file: its bytes with length and magic."""
    if not files:
        return
    file_system, _ = resolve(files[0].uri)
    chunks = [files[i : i + _FILES_PER_TASK] for i in range(0, len(files), _FILES_PER_TASK)]
    if not is_local(file_system):
        for chunk in chunks:
            tails = _remote_tails(file_system, chunk)
            yield from (use(file, tail) for file, tail in zip(chunk, tails, strict=True))
        return
    done = in_threads(
        lambda chunk: [use(file, _local_tail(file)) for file in chunk],
        chunks,
        threads or os.cpu_count() or 1,
    )
    yield from itertools.chain.from_iterable(done)


def _local_tail(file: InputFile) -> bytes:
    with reading(file.uri):
        descriptor = os.open(file.uri, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size

            def read(num_bytes: int) -> bytes:
                return os.pread(descriptor, num_bytes, max(0, size - num_bytes))

            return _footer(file, read(_LOCAL_TAIL_BYTES), size, read)
        finally:
            os.close(descriptor)


def _remote_tails(file_system: Any, files: Sequence[InputFile]) -> list[bytes]:
    paths = [file_system._strip_protocol(file.uri) for file in files]  # noqa: SLF001 - fsspec's
    starts = [max(0, file.num_bytes - _REMOTE_TAIL_BYTES) for file in files]
    ends = [file.num_bytes for file in files]
    options = {"batch_size": _REQUESTS_AT_ONCE} if file_system.async_impl else {}
    with reading(files[0].uri):
        found = file_system.cat_ranges(paths, starts, ends, on_error="return", **options)
    made = []
    for file, path, tail in zip(files, paths, found, strict=True):
        with reading(file.uri):
            if isinstance(tail, Exception):
                raise tail

            def read(num_bytes: int, file: InputFile = file, path: str = path) -> bytes:
                start = max(0, file.num_bytes - num_bytes)
                return bytes(file_system.cat_file(path, start=start, end=file.num_bytes))

            made.append(_footer(file, bytes(tail), file.num_bytes, read))
    return made


def _footer(file: InputFile, tail: bytes, size: int, read: Callable[[int], bytes]) -> bytes:
    """The footer at the end of a tail, which is read again where it is too short."""
    if tail[-4:] == _ENCRYPTED:
        raise DataError(f"File {file.uri!r} is encrypted Parquet, which cannot be read here.")
    num_bytes = int.from_bytes(tail[-_TRAILER_BYTES:-4], "little") + _TRAILER_BYTES
    if tail[-4:] != _MAGIC or num_bytes > size - len(_MAGIC):
        reason = "it is empty" if not size else "its end is not that of one"
        raise DataError(
            f"File {file.uri!r} is not a Parquet file: {reason}. It may be cut short, or of "
            "another format; Files(path, format=...) names formats."
        )
    if num_bytes > len(tail):
        tail = read(num_bytes)
    return tail[-num_bytes:]


class _Parser:
    """Reads footers; the schema of one is translated once for all that have the same."""

    def __init__(self) -> None:
        self._pa = require("pyarrow", extra="dataset")
        self._pq = require("pyarrow.parquet", extra="dataset")
        self._known: list[tuple[Any, dict[str, str]]] = []

    def parse(self, file: InputFile, footer: bytes) -> Footer:
        with self._reading(file):
            found = self._metadata(footer)
            columns = self._columns(found.schema)
        return Footer(file.uri, found.num_rows, columns, _digest(footer))

    def schema(self, file: InputFile, footer: bytes) -> "pa.Schema":
        with self._reading(file):
            return self._metadata(footer).schema.to_arrow_schema()

    def _metadata(self, footer: bytes) -> Any:
        # a reader of metadata counts from the end, so the footer alone is a file to it
        return self._pq.read_metadata(self._pa.BufferReader(footer))

    @contextmanager
    def _reading(self, file: InputFile) -> Iterator[None]:
        try:
            yield
        except (self._pa.ArrowException, OSError) as error:
            raise DataError(f"File {file.uri!r} has a damaged footer: {error}.") from error

    def _columns(self, schema: Any) -> dict[str, str]:
        for known, columns in self._known:
            if schema.equals(known):
                return columns
        columns = {
            field.name: "int96" if _is_int96(schema, field) else type_text(field.type)
            for field in schema.to_arrow_schema()
        }
        if len(self._known) < _NUM_SCHEMAS:
            self._known.append((schema, columns))
        return columns


def _is_int96(schema: Any, field: "pa.Field") -> bool:
    pa = require("pyarrow", extra="dataset")
    if field.type != pa.timestamp("ns"):
        return False
    leaves = (schema.column(i) for i in range(len(schema)))
    return any(leaf.path == field.name and leaf.physical_type == "INT96" for leaf in leaves)


def type_text(type_: "pa.DataType") -> str:
    """What a type of Arrow is called here.

    Args:
        type_: Of a column; encodings such as dictionaries are looked through.
    """
    types = require("pyarrow", extra="dataset").types
    if types.is_dictionary(type_):
        return type_text(type_.value_type)
    if types.is_timestamp(type_):
        name = "time" if type_.tz is None else "utc"
        return name if type_.unit != "ns" else f"{name}[ns]"
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        return f"list[{type_text(type_.value_type)}]"
    if types.is_decimal(type_):
        return f"decimal({type_.precision}, {type_.scale})"
    renamed = {
        "string": (types.is_string, types.is_large_string, types.is_string_view),
        "bytes": (
            types.is_binary,
            types.is_large_binary,
            types.is_fixed_size_binary,
            types.is_binary_view,
        ),
        "date": (types.is_date,),
        "float64": (types.is_float64,),
        "float32": (types.is_float32,),
        "float16": (types.is_float16,),
    }
    for name, tests in renamed.items():
        if any(test(type_) for test in tests):
            return name
    return str(type_)


_INTS = {
    "int8": ("int8",),
    "int16": ("int8", "int16", "uint8"),
    "int32": ("int8", "int16", "int32", "uint8", "uint16"),
    "int64": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"),
}
_ACCEPTED = {
    **_INTS,
    "float32": ("float32", *_INTS["int16"]),
    "float64": ("float64", "float32", *_INTS["int32"], "uint32"),
}  # kind -> types of files that it holds without loss; any other kind holds its own only
_DIGITS = {"int8": 2, "int16": 4, "int32": 9, "int64": 18, "float64": 15}  # decimals that fit
_HINTS = {
    "int96": "It is the old timestamp of Spark, of which engines disagree whether it is in UTC; "
    "write it with spark.sql.parquet.outputTimestampType=TIMESTAMP_MICROS.",
    "time[ns]": "Spark does not read nanoseconds; write microseconds.",
    "utc[ns]": "Spark does not read nanoseconds; write microseconds.",
    "time": "It has no zone: declare Column[datetime].",
    "utc": "It is in UTC: declare Column[Utc].",
    "bytes": "It is not marked as text: declare Column[bytes], or write it as UTF-8 text.",
}


def fits(found: str, kind: Kind) -> bool:
    """Whether a column can be read as a kind without loss, by every engine.

    Args:
        found: Type in a file, as `type_text` calls it.
        kind: As declared.
    """
    if found == "null":
        return True
    if kind.item is not None:
        return found.startswith("list[") and fits(found[5:-1], kind.item)
    if found.startswith("decimal("):
        precision, scale = (int(part) for part in found[8:-1].split(","))
        return precision <= _DIGITS.get(kind.name, 0) and (scale == 0 or kind.is_float)
    return found in _ACCEPTED.get(kind.name, (kind.name,))


def check_columns(footers: Sequence[Footer], columns: Columns) -> list[str]:
    """What is wrong with the columns of files: missing ones, and types not as declared.

    Args:
        footers: Of the files of a table.
        columns: As the table declares them; partitions are not looked for.

    Returns:
        A message for each column and fault, that says how many files have it; empty where all is
        as declared.
    """
    faults: dict[tuple[str, str | None], list[Footer]] = {}
    checked: dict[int, list[tuple[str, str | None]]] = {}  # the same for files of one schema
    for footer in footers:
        key = id(footer.columns)
        if key not in checked:
            checked[key] = _faults(footer.columns, columns)
        for fault in checked[key]:
            faults.setdefault(fault, []).append(footer)
    return [
        _message(name, found, given, len(footers), columns)
        for (name, found), given in faults.items()
    ]


def _faults(found: dict[str, str], columns: Columns) -> list[tuple[str, str | None]]:
    stored = (column for column in columns.values() if not column.is_partition)
    return [
        (column.name, found.get(column.name))
        for column in stored
        if column.name not in found or not fits(found[column.name], column.kind)
    ]


def _message(
    name: str, found: str | None, files: list[Footer], num_files: int, columns: Columns
) -> str:
    where = f"file {files[0].uri!r}"
    if num_files > 1:
        where = f"{len(files)} of {num_files} files, such as {files[0].uri!r}"
    if found is None:
        close = difflib.get_close_matches(name, files[0].columns, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        there = ", ".join(files[0].columns) or "none"
        return f"Column {name!r} is missing in {where}.{hint} Columns there: {there}."
    hint = _HINTS.get(found, f"Declare what it is, or write it as {columns[name].kind}.")
    return f"Column {name!r} is {found} in {where}; the table declares {columns[name].kind}. {hint}"


def check_formats(files: Sequence[InputFile]) -> None:
    """Whether all files are Parquet, as those of a staged listing are.

    Args:
        files: Whose footers are wanted.

    Raises:
        ConfigError: One is not.
    """
    for file in files:
        if file.format != "parquet":
            raise ConfigError(
                f"{file.uri!r} is {file.format}, which has no footer; stage it first."
            )
