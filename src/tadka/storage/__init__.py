"""Files on any file system: URIs, formats, atomic publishing."""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.storage.format import load, open_writer, read_piece, save, scan, suffix_of
    from tadka.storage.publish import publish_directory, publish_file
    from tadka.storage.tabular import TableScan, TableWriter
    from tadka.storage.uri import FileStat, expand, join, resolve, stat
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "format": ["load", "open_writer", "read_piece", "save", "scan", "suffix_of"],
            "publish": ["publish_directory", "publish_file"],
            "tabular": ["TableScan", "TableWriter"],
            "uri": ["FileStat", "expand", "join", "resolve", "stat"],
        },
    )

__all__ = [
    "FileStat",
    "TableScan",
    "TableWriter",
    "expand",
    "join",
    "load",
    "open_writer",
    "publish_directory",
    "publish_file",
    "read_piece",
    "resolve",
    "save",
    "scan",
    "stat",
    "suffix_of",
]
