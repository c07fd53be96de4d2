"""DuckDB as the engine: in this process, started in a moment."""

# ruff: noqa: S608 - names are quoted and values written by the dialect

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tadka.core.error import ConfigError, DataError, LaunchError
from tadka.core.extra import require
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.define.schema import Schema
from tadka.dataset.disk import full, writing
from tadka.dataset.engine.engine import (
    Answer,
    FileGroup,
    TableInputs,
    groups_of,
    hive_root,
    one_by_one,
    partitions_of,
    written_inputs,
)
from tadka.dataset.expression.expression import Column, Literal
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.source.listing import InputFile
from tadka.dataset.sql.duckdb import DUCKDB, SETTINGS
from tadka.dataset.write.duckdb import watched, write
from tadka.storage.uri import is_local, resolve

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

_WILDCARD = re.compile(r"[*?\[]")
_FILE_INDEX = "file_index"


class DuckDBEngine:
    """DuckDB in this process, on a data base of its own in memory.

    Args:
        scratch: An existing folder for what does not fit into memory.
        num_threads: As many as there are cores unless given.

    Attributes:
        name: `"duckdb"`.
        version: Of the library.
        options: What it is set to that changes the meaning of queries.
    """

    name = "duckdb"

    def __init__(self, scratch: Path, *, num_threads: int | None = None) -> None:
        self.version = ""
        self.options: Mapping[str, str] = {**SETTINGS, "can_have_nan": "true"}
        self._scratch = scratch
        self._num_threads = num_threads
        self._connection: Any = None
        self._is_interrupted = False
        self._registered = 0
        self._protocols: set[str] = set()

    def start(self) -> None:
        """Opens the data base.

        Raises:
            MissingExtra: DuckDB is not installed.
            LaunchError: It was interrupted.
        """
        duckdb = require("duckdb", extra="dataset")
        self.version = str(duckdb.__version__)
        settings: dict[str, Any] = {
            # what is not in the wheel would be fetched from the network
            "autoinstall_known_extensions": False,
            "temp_directory": str(self._scratch / "duckdb"),
            # nobody asks for the order of files, and keeping it takes time and memory
            "preserve_insertion_order": False,
        }
        if self._num_threads is not None:
            settings["threads"] = self._num_threads
        self._connection = duckdb.connect(":memory:", config=settings)
        for name, value in SETTINGS.items():
            self._connection.execute(f"SET GLOBAL {name} = {DUCKDB.text(value)}").fetchall()
        # a table may be read twice, for its rows and for a window
        for setting in (
            "enable_progress_bar = false",
            "parquet_metadata_cache = true",
            # an ASOF JOIN of rows that it takes for few becomes a loop over all pairs; the number
            # of rows that a filter leaves is a guess, and may be wrong by any factor
            "asof_loop_join_threshold = 0",
        ):
            self._connection.execute(f"SET {setting}").fetchall()
        if self._is_interrupted:
            self.stop()
            raise LaunchError("The start of DuckDB was interrupted.")

    def stop(self) -> None:
        """Closes the data base."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def interrupt(self) -> None:
        """Ends the query that runs, if one does."""
        self._is_interrupted = True
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    # ------------------------------------------------------------ tables

    def register(self, name: str, inputs: TableInputs) -> None:
        """Makes a table a view of its columns, each of its kind.

        Args:
            name: Of the view.
            inputs: What it shows.

        Raises:
            ConfigError: The table is one of Spark's catalog.
            DataError: A file is not Parquet, or lacks a column.
        """
        if isinstance(getattr(inputs.table, "source", None), Catalog):
            raise ConfigError(
                f"Table {inputs.table.__name__!r} is in the catalog of Spark, which DuckDB does "
                "not read; use engine='spark'."
            )
        groups = groups_of(inputs)
        if _hides_index(inputs):
            groups = [part for group in groups for part in _by_values(group)]
        parts = [self._select(inputs.table, group) for group in groups]
        sql = "\nUNION ALL ".join(parts) or _nothing(inputs.table)
        view = f"CREATE OR REPLACE VIEW {DUCKDB.quote(name)} AS {sql}"
        self._run(lambda c: c.execute(view).fetchall())

    def register_files(
        self, name: str, paths: Sequence[Path], columns: Sequence[OutputColumn]
    ) -> None:
        """Makes files that were written a view.

        Args:
            name: Of the view; one that exists is replaced.
            paths: Of the files.
            columns: Of the output.
        """
        folder = Path(tempfile.mkdtemp(prefix="written-", dir=self._scratch))
        self.register(name, written_inputs(paths, columns, folder))

    def _select(self, table: type[Schema], group: FileGroup) -> str:
        partitions = partitions_of(table)
        options = ["can_have_nan=true", "union_by_name=false"]
        join, texts = "", {}
        if partitions and len({tuple(file.values.values()) for file in group.files}) == 1:
            values = group.files[0].values
            texts = {column.name: _constant(column, values[column.name]) for column in partitions}
        elif partitions and hive_root(group.files, partitions) is not None:
            types = ", ".join(f"{DUCKDB.text(c.name)}: {c.kind.duckdb}" for c in partitions)
            options += ["hive_partitioning=true", f"hive_types={{{types}}}"]
            texts = {column.name: DUCKDB.quote(column.name) for column in partitions}
        elif partitions:
            join = self._values(group, partitions)
            texts = {c.name: f"partition.{DUCKDB.quote(c.name)}" for c in partitions}
        if "hive_partitioning=true" not in options:
            options.append("hive_partitioning=false")
        for column in table.columns.values():
            if not column.is_partition:
                texts[column.name] = DUCKDB.cast(f"file.{DUCKDB.quote(column.name)}", column.kind)
        selected = ", ".join(f"{texts[name]} AS {DUCKDB.quote(name)}" for name in table.columns)
        files = ", ".join(DUCKDB.text(self._path(file.uri)) for file in group.files)
        source = f"read_parquet([{files}], {', '.join(options)})"
        return f"SELECT {selected} FROM {source} AS file{join}"

    def _values(self, group: FileGroup, partitions: Sequence[Column[Any]]) -> str:
        """A join that gives the values of partitions by the number of the file in the list."""
        pa = require("pyarrow", extra="dataset")
        self._registered += 1
        name = DUCKDB.quote(f"values of files {self._registered}")
        columns = {
            c.name: pa.array([file.values[c.name] for file in group.files], c.kind.arrow)
            for c in partitions
        }
        index = _FILE_INDEX
        while index in columns:
            index += "_"
        values = pa.table({**columns, index: pa.array(range(len(group.files)), pa.uint64())})

        def create(connection: Any) -> None:
            connection.register("arrow_values", values)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM arrow_values").fetchall()
            connection.unregister("arrow_values")

        self._run(create)
        return f" JOIN {name} AS partition ON file.{_FILE_INDEX} = partition.{DUCKDB.quote(index)}"

    def _path(self, uri: str) -> str:
        """A path that DuckDB takes for one file, through fsspec where it is not local."""
        if "://" in uri and not uri.startswith("file://"):
            protocol = uri.partition("://")[0]
            if protocol not in self._protocols:
                file_system, _ = resolve(uri)
                if not is_local(file_system):
                    self._run(lambda c: c.register_filesystem(file_system))
                self._protocols.add(protocol)
        return _WILDCARD.sub(lambda found: f"[{found[0]}]", uri)

    # ------------------------------------------------------------ queries

    def query(self, sql: str) -> "pa.Table":
        """What a query gives.

        Args:
            sql: One SELECT.

        Raises:
            DataError: The data does not admit it, or it was interrupted.
            ConfigError: It is no SQL of DuckDB.
        """
        return self._run(lambda connection: connection.sql(sql).to_arrow_table())

    def query_all(self, sqls: Sequence[str]) -> Iterator[Answer]:
        """What several queries give, one after the other.

        Args:
            sqls: Each a SELECT. One that the data does not admit gives its error.

        Raises:
            ConfigError: One is no SQL of DuckDB.
        """
        return one_by_one(self.query, sqls)

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
        with self._translated() as connection:
            return write(connection, sql, directory, output, columns, on_progress)

    def _run(self, work: Callable[[Any], T]) -> T:
        with self._translated() as connection, writing(self._scratch):
            return watched(connection, lambda _: work(connection))

    @contextmanager
    def _translated(self) -> Iterator[Any]:
        """The connection, whose errors become those of tadka."""
        duckdb = require("duckdb", extra="dataset")
        if self._connection is None:
            raise LaunchError("DuckDB does not run: it was not started, or was stopped.")
        if self._is_interrupted:
            raise DataError("The query was interrupted.")
        try:
            yield self._connection
        except duckdb.InterruptException as error:
            raise DataError("The query was interrupted.") from error
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise ConfigError(f"DuckDB does not understand its SQL: {_first(error)}") from error
        except duckdb.OutOfMemoryException as error:
            reason = str(error).partition("\n")[0]  # the rest is advice to users of DuckDB
            if "max_temp_directory_size" not in str(error):
                raise DataError(f"DuckDB needs more memory: {reason}") from error
            raise full(self._scratch, f"the query needs more room there: {reason}") from error
        except duckdb.Error as error:
            raise DataError(f"DuckDB cannot read or calculate: {_first(error)}") from error


def _hides_index(inputs: TableInputs) -> bool:
    """Whether files have a column of the name by which DuckDB calls the number of a file."""
    names = {name for name, column in inputs.table.columns.items() if not column.is_partition}
    for columns in {id(f.columns): f.columns for f in inputs.footers or ()}.values():
        names.update(columns)
    return any(name.casefold() == _FILE_INDEX for name in names)


def _by_values(group: FileGroup) -> list[FileGroup]:
    """Files of the same partition by themselves."""
    found: dict[tuple[Any, ...], list[InputFile]] = {}
    for file in group.files:
        found.setdefault(tuple(file.values.values()), []).append(file)
    return [FileGroup(files, group.types) for files in found.values()]


def _constant(column: Column[Any], value: Any) -> str:
    if value is None:
        return DUCKDB.cast("NULL", column.kind)
    return DUCKDB.literal(Literal(value, column.kind))


def _nothing(table: type[Schema]) -> str:
    columns = (
        f"{DUCKDB.cast('NULL', column.kind)} AS {DUCKDB.quote(name)}"
        for name, column in table.columns.items()
    )
    return f"SELECT {', '.join(columns)} WHERE FALSE"


def _first(error: BaseException) -> str:
    """The message without the SQL that follows it."""
    text = str(error).partition("\n\nLINE ")[0].strip()
    return text if text.endswith(".") else f"{text}."
