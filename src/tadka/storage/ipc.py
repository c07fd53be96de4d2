"""Arrow IPC files (Feather version 2): a piece is a record batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from tadka.core.extra import require
from tadka.storage.tabular import TableScan, TableWriter, open_binary, parsing, project

if TYPE_CHECKING:
    import pyarrow as pa


class Ipc:
    """Reads and writes the file format of Arrow IPC; the streaming format is refused."""

    def scan(self, uri: str, columns: Sequence[str] | None) -> TableScan:
        """Schema from the footer; rows from the head of each batch, read for one narrow column."""
        ipc = require("pyarrow.ipc", extra="arrow")
        with parsing(uri, "an Arrow IPC file"), open_binary(uri) as source:
            schema = ipc.open_file(source).schema
            projected = project(uri, schema, columns)
            options = ipc.IpcReadOptions(included_fields=[_narrowest(schema)])
            file = ipc.open_file(source, options=options)
            rows: list[int | None] = [
                file.get_batch(i).num_rows for i in range(file.num_record_batches)
            ]
            return TableScan(uri, projected, rows)

    def read(self, scan: TableScan, index: int) -> "pa.Table":
        """One record batch; not copied where all columns of a local, uncompressed file are read."""
        pa = require("pyarrow", extra="arrow")
        ipc = require("pyarrow.ipc", extra="arrow")
        names = scan.schema.names
        with parsing(scan.uri, "an Arrow IPC file"):
            source = open_binary(scan.uri)
            file = ipc.open_file(source)
            if sorted(names) != sorted(file.schema.names):
                # reads only these, at the price of a copy; all columns need none
                chosen = [file.schema.get_field_index(name) for name in names]
                options = ipc.IpcReadOptions(included_fields=chosen)
                file = ipc.open_file(source, options=options)
            return pa.Table.from_batches([file.get_batch(index)]).select(names)

    def writer(self, file: BinaryIO, schema: "pa.Schema") -> TableWriter:
        """A writer without compression, so that readers can map the file."""
        ipc = require("pyarrow.ipc", extra="arrow")
        return _IpcWriter(ipc.new_file(file, schema))


def _narrowest(schema: "pa.Schema") -> int:
    """Index of the column that costs least to load; fixed width first."""
    widths = []
    for i, field in enumerate(schema):
        try:
            widths.append((field.type.bit_width, i))
        except ValueError:  # strings and nested types have no fixed width
            widths.append((1 << 30, i))
    return min(widths)[1]


class _IpcWriter:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, data: "pa.Table | pa.RecordBatch") -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()
