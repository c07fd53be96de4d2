"""Parquet: a piece is a row group."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from tadka.core.extra import require
from tadka.storage.tabular import TableScan, TableWriter, open_binary, parsing, project
from tadka.storage.uri import is_local, resolve, store_errors, version_of

if TYPE_CHECKING:
    import pyarrow as pa

_KEPT_FILES = 8  # a worker reads the row groups of a file one after another; few files overlap


class _OpenFiles(threading.local):
    """Opened files of this thread, so that the footer of each is parsed once.

    One cache a thread, because an opened Parquet file is not safe to share between threads.
    """

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
        self._process = os.getpid()

    def get(self, uri: str, version: str) -> Any:
        if self._process != os.getpid():  # after a fork, the file position would be shared
            self.__init__()  # type: ignore[misc]
        file_system, path = resolve(uri)
        key = (uri, version, 0)
        if is_local(file_system):  # a file replaced since must not be read by its old footer
            status = os.stat(path)
            key = (uri, str(status.st_mtime_ns), status.st_ino)
        file = self._files.get(key)
        if file is None:
            if not is_local(file_system):
                # kept under what it is now: the object may have been replaced since the scan
                file_system.invalidate_cache(path)
                key = (uri, version_of(file_system, path, file_system.info(path)), 0)
            file = _open(uri, is_remote=not is_local(file_system))
            self._files[key] = file
            if len(self._files) > _KEPT_FILES:
                self._files.popitem(last=False)[1].close(force=True)
        self._files.move_to_end(key)
        return file

    def forget(self, uri: str) -> None:
        """Drops a file that failed, so that another try opens it anew."""
        for key in [key for key in self._files if key[0] == uri]:
            del self._files[key]


_open_files = _OpenFiles()


def _open(uri: str, *, is_remote: bool) -> Any:
    parquet = require("pyarrow.parquet", extra="arrow")
    return parquet.ParquetFile(open_binary(uri), pre_buffer=is_remote)


class Parquet:
    """Reads and writes Parquet."""

    def scan(self, uri: str, columns: Sequence[str] | None) -> TableScan:
        """Schema and row groups, from the footer alone."""
        parquet = require("pyarrow.parquet", extra="arrow")
        file_system, path = resolve(uri)
        with parsing(uri, "Parquet"), open_binary(uri) as source:
            version = version_of(file_system, path, file_system.info(path))
            file = parquet.ParquetFile(source)
            footer = file.metadata
            rows: list[int | None] = [
                footer.row_group(i).num_rows for i in range(footer.num_row_groups)
            ]
            return TableScan(uri, project(uri, file.schema_arrow, columns), rows, version)

    def read(self, scan: TableScan, index: int) -> "pa.Table":
        """One row group."""
        pa = require("pyarrow", extra="arrow")
        names = scan.schema.names
        with parsing(scan.uri, "Parquet"):
            file = _open_files.get(scan.uri, scan.version)
            try:
                table = file.read_row_group(index, columns=names, use_threads=pa.cpu_count() > 1)
            except (*store_errors(), pa.ArrowException):
                _open_files.forget(scan.uri)
                raise
            return table.select(names)

    def writer(self, file: BinaryIO, schema: "pa.Schema") -> TableWriter:
        """A writer that compresses with zstd; each write becomes at least one row group."""
        parquet = require("pyarrow.parquet", extra="arrow")
        return _ParquetWriter(parquet.ParquetWriter(file, schema, compression="zstd"))


class _ParquetWriter:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, data: "pa.Table | pa.RecordBatch") -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()
