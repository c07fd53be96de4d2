"""CSV, TSV and JSON lines, plain or gzip; the whole file is one piece.

The schema is inferred from the first block of the file and holds for all of it, so that every
process sees the same types. A column without any value in that block counts as text.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.storage.tabular import (
    TableScan,
    TableWriter,
    open_binary,
    parsing,
    project,
    unreadable,
)

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 1 << 20  # pyarrow's own block, named because it bounds what inference sees


class _Text:
    """What CSV and JSON lines share: gzip, and a schema from the first block."""

    kind: str

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip

    def _open(self, uri: str) -> Any:
        source = open_binary(uri, memory_map=False)
        if not self._is_gzip:
            return source
        pa = require("pyarrow", extra="arrow")
        return pa.CompressedInputStream(source, "gzip")

    def _sink(self, file: BinaryIO) -> Any:
        pa = require("pyarrow", extra="arrow")
        sink = pa.PythonFile(_StaysOpen(file), mode="w")
        return pa.CompressedOutputStream(sink, "gzip") if self._is_gzip else sink

    def _infer(self, source: Any) -> "pa.Schema":
        raise NotImplementedError

    def scan(self, uri: str, columns: Sequence[str] | None) -> TableScan:
        """Schema inferred from the first block; one piece of unknown length."""
        pa = require("pyarrow", extra="arrow")
        with parsing(uri, self.kind), self._open(uri) as source:
            inferred = self._infer(source)
        for field in inferred:
            if pa.types.is_binary(field.type):  # what pyarrow infers from bytes outside UTF-8
                raise unreadable(uri, self.kind, f"column {field.name!r} is not valid UTF-8 text")
        known = [_text_if_unknown(field) for field in project(uri, inferred, columns)]
        return TableScan(uri, pa.schema(known), [None])


def _text_if_unknown(field: "pa.Field") -> "pa.Field":
    pa = require("pyarrow", extra="arrow")
    return field.with_type(pa.string()) if pa.types.is_null(field.type) else field


class Csv(_Text):
    """Reads and writes text with a header line and one delimiter, in UTF-8."""

    def __init__(self, *, delimiter: str, is_gzip: bool) -> None:
        super().__init__(is_gzip=is_gzip)
        self.kind = "CSV" if delimiter == "," else "TSV"
        self._delimiter = delimiter

    def _infer(self, source: Any) -> "pa.Schema":
        csv = require("pyarrow.csv", extra="arrow")
        return csv.open_csv(
            source,
            read_options=csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=self._delimiter),
        ).schema

    def read(self, scan: TableScan, index: int) -> "pa.Table":  # noqa: ARG002 - always 0
        """The whole file, with the types of the scan."""
        pa = require("pyarrow", extra="arrow")
        csv = require("pyarrow.csv", extra="arrow")
        with parsing(scan.uri, self.kind), self._open(scan.uri) as source:
            return csv.read_csv(
                source,
                read_options=csv.ReadOptions(use_threads=pa.cpu_count() > 1),
                parse_options=csv.ParseOptions(delimiter=self._delimiter),
                convert_options=csv.ConvertOptions(
                    include_columns=scan.schema.names, column_types=scan.schema
                ),
            )

    def writer(self, file: BinaryIO, schema: "pa.Schema") -> TableWriter:
        """A writer that begins with the header line."""
        csv = require("pyarrow.csv", extra="arrow")
        sink = self._sink(file)
        options = csv.WriteOptions(delimiter=self._delimiter)
        return _CsvWriter(csv.CSVWriter(sink, schema, write_options=options), sink)


class JsonLines(_Text):
    """Reads and writes one JSON object a line, in UTF-8."""

    kind = "JSON lines"

    def _infer(self, source: Any) -> "pa.Schema":
        arrow_json = require("pyarrow.json", extra="arrow")
        options = arrow_json.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
        return arrow_json.open_json(source, read_options=options).schema

    def read(self, scan: TableScan, index: int) -> "pa.Table":  # noqa: ARG002 - always 0
        """The whole file, with the types of the scan; keys that a line lacks are null."""
        pa = require("pyarrow", extra="arrow")
        arrow_json = require("pyarrow.json", extra="arrow")
        with parsing(scan.uri, self.kind), self._open(scan.uri) as source:
            table = arrow_json.read_json(
                source,
                read_options=arrow_json.ReadOptions(use_threads=pa.cpu_count() > 1),
                parse_options=arrow_json.ParseOptions(
                    explicit_schema=scan.schema, unexpected_field_behavior="ignore"
                ),
            )
            table.validate(full=True)  # the parser lets bytes outside UTF-8 through
            return table.select(scan.schema.names)

    def writer(self, file: BinaryIO, schema: "pa.Schema") -> TableWriter:  # noqa: ARG002
        """A writer of one line a row; NaN and infinities as `NaN`, `Infinity`."""
        return _JsonWriter(self._sink(file))


class _StaysOpen:
    """A file whose `close` leaves it open: pyarrow closes what it writes to, we publish it."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Leaves the file open."""


class _CsvWriter:
    def __init__(self, writer: Any, sink: Any) -> None:
        self._writer = writer
        self._sink = sink

    def write(self, data: "pa.Table | pa.RecordBatch") -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


class _JsonWriter:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, data: "pa.Table | pa.RecordBatch") -> None:
        for row in data.to_pylist():
            line = json.dumps(row, ensure_ascii=False, default=_plain)
            self._sink.write(line.encode() + b"\n")

    def close(self) -> None:
        self._sink.close()


def _plain(value: object) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise DataError(
        f"A value of type {type(value).__name__!r} has no form in JSON lines; cast the column to "
        "text or write Parquet."
    )
