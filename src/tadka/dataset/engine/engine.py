"""What runs a dataset's query, and the files of a table as engines are told of them."""

import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.define.schema import Schema
from tadka.dataset.expression.expression import Column
from tadka.dataset.measure.measure import read_output
from tadka.dataset.source.footer import Footer
from tadka.dataset.source.listing import InputFile, write_parquet
from tadka.dataset.source.template import NULL_FOLDER

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_.-]+")
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
# Kinds of columns whose values stand in folders as Hive writes them, and are read so by engines.
_HIVE_KINDS = frozenset({"date", "string", "int8", "int16", "int32", "int64"})


@dataclass(frozen=True)
class TableInputs:
    """A table as an engine reads it: Parquet files, with the values of their partitions.

    Args:
        table: Whose files.
        files: All that are wanted; of a table in a catalog there are none.
        footers: Of the files, in the same order. They tell where files of one table differ in
            their types; without them all are taken to have those of the first file.
    """

    table: type[Schema]
    files: Sequence[InputFile]
    footers: Sequence[Footer] | None = None


Answer = tuple[int, "pa.Table | DataError"]
"""The number of a query among several, and what it gives."""


def one_by_one(query: "Callable[[str], pa.Table]", sqls: Sequence[str]) -> Iterator[Answer]:
    """What several queries give, where the engine uses the whole machine for each.

    Args:
        query: Runs one.
        sqls: Each a SELECT.
    """
    for number, sql in enumerate(sqls):
        yield number, answer(query, sql)


def answer(query: "Callable[[str], pa.Table]", sql: str) -> "pa.Table | DataError":
    """What a query gives, or why the data does not admit it.

    Args:
        query: Runs it.
        sql: One SELECT.
    """
    try:
        return query(sql)
    except DataError as error:
        return error


class Engine(Protocol):
    """What runs queries over the tables of a dataset.

    Attributes:
        name: `"duckdb"` or `"spark"`.
        version: Of the library; known once it has started.
        options: What it is set to that changes the meaning of queries.
    """

    name: str
    version: str
    options: Mapping[str, str]

    def start(self) -> None:
        """Starts it, which may take long; in any thread.

        Raises:
            MissingExtra: The library is not installed.
            LaunchError: It cannot be started, or was interrupted.
        """

    def register(self, name: str, inputs: TableInputs) -> None:
        """Makes a table a view of its columns, each of its kind.

        Args:
            name: Of the view.
            inputs: What it shows.
        """

    def register_files(
        self, name: str, paths: Sequence[Path], columns: Sequence[OutputColumn]
    ) -> None:
        """Makes files that were written a view.

        Args:
            name: Of the view; one that exists is replaced.
            paths: Of the files, as `write` gave them.
            columns: Of the output.
        """

    def query(self, sql: str) -> "pa.Table":
        """What a query gives.

        Args:
            sql: One SELECT.

        Raises:
            DataError: The data does not admit it, or it was interrupted.
            ConfigError: It is no SQL of the engine.
        """

    def query_all(self, sqls: Sequence[str]) -> Iterator[Answer]:
        """What several queries give, each as soon as it is known.

        Args:
            sqls: Each a SELECT. One that the data does not admit gives its error.

        Raises:
            ConfigError: One is no SQL of the engine.
        """

    def write(
        self,
        sql: str,
        directory: Path,
        output: Output,
        columns: Sequence[OutputColumn],
        on_progress: Callable[[float], None] | None = None,
    ) -> list[Path]:
        """Writes what a query gives.

        Args:
            sql: One SELECT.
            directory: An empty folder.
            output: How it is written.
            columns: That it has.
            on_progress: Called a few times a second with the share that is done, 0 to 1.

        Raises:
            DataError: The data does not admit it, the disk is full, or it was interrupted.
        """

    def interrupt(self) -> None:
        """Ends what runs, the start too; from any thread, and returns at once."""

    def stop(self) -> None:
        """Ends the engine, as far as it started it; what it made for itself is removed."""


@dataclass(frozen=True)
class FileGroup:
    """Files of a table that are read in one way.

    Args:
        files: Of one schema.
        types: Of the columns in the files, as footers call them; None where nobody looked.
    """

    files: Sequence[InputFile]
    types: Mapping[str, str] | None


def groups_of(inputs: TableInputs) -> list[FileGroup]:
    """The files of a table by the types of the columns that it declares.

    Args:
        inputs: Of the table.
    """
    if inputs.footers is None:
        return [FileGroup(inputs.files, None)] if inputs.files else []
    names = [name for name, column in inputs.table.columns.items() if not column.is_partition]
    found: dict[tuple[str | None, ...], list[InputFile]] = {}
    keys: dict[int, tuple[str | None, ...]] = {}  # files of one schema share the mapping
    for file, footer in zip(inputs.files, inputs.footers, strict=True):
        key = keys.get(id(footer.columns))
        if key is None:
            key = keys[id(footer.columns)] = tuple(footer.columns.get(name) for name in names)
        found.setdefault(key, []).append(file)
    return [
        FileGroup(files, {n: type_ for n, type_ in zip(names, key, strict=True) if type_})
        for key, files in found.items()
    ]


def partitions_of(table: type[Schema]) -> list[Column[Any]]:
    """The columns of a table whose values are those of its files.

    Args:
        table: Any.
    """
    return [column for column in table.columns.values() if column.is_partition]


def hive_root(files: Sequence[InputFile], partitions: Sequence[Column[Any]]) -> str | None:
    """The folder from which on paths are `name=value` for exactly the partitions of a table.

    Engines read such paths faster than a list of values. None where one file's path is another, or
    where its text is one that engines may read in a way of their own.

    Args:
        files: Of the table.
        partitions: Of the table.
    """
    if any(column.kind.name not in _HIVE_KINDS for column in partitions):
        return None
    found: set[tuple[str, tuple[str, ...]]] = set()
    seen: set[tuple[str, int]] = set()
    for file in files:
        folder = file.uri.rpartition("/")[0]
        if (folder, id(file.values)) in seen:
            continue
        seen.add((folder, id(file.values)))
        parts = folder.split("/")
        levels = [number for number, part in enumerate(parts) if "=" in part]
        pairs = dict(parts[number].split("=", 1) for number in levels)
        if len(pairs) != len(levels) or set(pairs) != {column.name for column in partitions}:
            return None
        if not all(_is_plain(pairs[c.name], file.values[c.name]) for c in partitions):
            return None
        found.add(("/".join(parts[: levels[0]]), tuple(pairs)))
        if len(found) > 1:
            return None
    return found.pop()[0] if found else None


def _is_plain(text: str, value: object) -> bool:
    """Whether the text of a folder means a value to every engine."""
    if isinstance(value, str):
        return text == value and _PLAIN_TEXT.fullmatch(text) is not None
    if isinstance(value, int):
        return _WHOLE_NUMBER.fullmatch(text) is not None and int(text) == value
    return value is not None and text == str(value)


def written_inputs(
    paths: Sequence[Path], columns: Sequence[OutputColumn], scratch: Path
) -> TableInputs:
    """Files that were written, as a table: JSON lines and CSV as Parquet.

    Args:
        paths: Of the files.
        columns: Of the output.
        scratch: An existing, empty folder for Parquet made of other formats.
    """
    folders = _folder_columns(paths, columns)
    declared: dict[str, Column[Any]] = {
        c.name: Column(c.name, c.kind, is_nullable=c.is_nullable, is_partition=c.name in folders)
        for c in columns
    }
    files = []
    for number, path in enumerate(paths):
        values = {c.name: _folder_value(path, c) for c in columns if c.name in folders}
        form = _format_of(path)
        if form != "parquet":
            stored = [column for column in columns if column.name not in folders]
            batches = (
                batch
                for table in read_output([str(path)], stored, format=form)
                for batch in table.to_batches()
            )
            path = scratch / f"{number:06d}.parquet"
            pa = require("pyarrow", extra="dataset")
            write_parquet(path, pa.schema([(c.name, c.kind.arrow) for c in stored]), batches)
        files.append(InputFile(str(path), values, 0, ""))
    # a table for this alone: what a user declares must have a source, too
    table = type("Output", (Schema,), {"columns": declared, "time_column": None})
    return TableInputs(table, files)


def _format_of(path: Path) -> str:
    for suffix in reversed(path.suffixes):
        if suffix in (".parquet", ".jsonl", ".csv"):
            return suffix[1:]
    raise DataError(f"File {str(path)!r} is none of Parquet, JSON lines and CSV.")


def _folder_columns(paths: Sequence[Path], columns: Sequence[OutputColumn]) -> set[str]:
    """Names of the columns that stand in the folders of the files."""
    names = {column.name for column in columns}
    if not paths:
        return set()
    found = set()
    for part in reversed(paths[0].parts[:-1]):
        name = urllib.parse.unquote(part.partition("=")[0])
        if "=" not in part or name not in names:
            break
        found.add(name)
    return found


def _folder_value(path: Path, column: OutputColumn) -> Any:
    pa = require("pyarrow", extra="dataset")
    for part in reversed(path.parts[:-1]):
        name, _, text = part.partition("=")
        if urllib.parse.unquote(name) == column.name:
            if text == NULL_FOLDER:
                return None
            return pa.array([urllib.parse.unquote(text)]).cast(column.kind.arrow)[0].as_py()
    raise DataError(f"File {str(path)!r} lies in no folder {column.name + '=...'!r}.")
