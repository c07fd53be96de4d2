"""Spark as the engine: in a session of its own, beside the user's."""

import contextlib
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tadka.core.error import ConfigError, DataError, LaunchError
from tadka.core.extra import require
from tadka.dataset.define.bound import Bound, OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.define.schema import Schema
from tadka.dataset.engine.engine import (
    Answer,
    FileGroup,
    TableInputs,
    answer,
    groups_of,
    hive_root,
    partitions_of,
    written_inputs,
)
from tadka.dataset.expression.expression import Column, Literal
from tadka.dataset.expression.kind import Kind, named_kind
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.sql.query import condition
from tadka.dataset.sql.spark import SETTINGS, SPARK
from tadka.dataset.write.spark import write

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

_OPTIONS: Final = {
    **SETTINGS,
    # backticks are names, never patterns
    "spark.sql.parser.quotedRegexColumnNames": "false",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.mergeSchema": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # a file that cannot be read is an error, not a file without rows
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
}
# Files are named one by one; a job that lists them on the workers takes longer than it saves.
_MAX_LISTED_HERE = 10_000
_QUERIES_AT_ONCE = 4
_OWN: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
_LEAST_MEMORY = 1 << 30
_TYPES = {"uint8": "SMALLINT", "uint16": "INT", "uint32": "BIGINT", "float16": "FLOAT"}
# Characters that Java leaves as they are in the path of a URI; others of ASCII become %XX.
_ESCAPED = re.compile(r"[^A-Za-z0-9/;:@&=+$,_\-!.~'()*\u0080-\U0010ffff]")
_WILDCARD = re.compile(r"[][{}*?\\]")
_RAISED = re.compile(r"\[USER_RAISED_EXCEPTION\] (.*?)(?: SQLSTATE: \w+)?$")
_TOLD = re.compile(r"\[[A-Z0-9_.]+\] (.*?)(?: SQLSTATE: \w+)?$")


class SparkEngine:
    """Spark, in a session of its own: options and views of the user's session stay as they are.

    Without a session given, the one that runs in this process is used; where there is none, one is
    started with all cores of this machine, or as `spark-submit` says.

    Args:
        scratch: An existing folder for what is put aside.
        spark: A SparkSession to work beside; it is not stopped.

    Attributes:
        name: `"spark"`.
        version: Of the library.
        options: What it is set to that changes the meaning of queries.
    """

    name = "spark"

    def __init__(self, scratch: Path, *, spark: Any = None) -> None:
        self.version = ""
        self.options: Mapping[str, str] = dict(_OPTIONS)
        self._scratch = scratch
        self._parent = spark
        self._is_own = False
        self._session: Any = None
        self._handed_out: Any = None
        self._inputs: dict[str, TableInputs] = {}
        self._is_interrupted = False
        self._tag = f"tadka-{secrets.token_hex(8)}"

    # ------------------------------------------------------------ start and end

    def start(self) -> None:
        """Makes the session, and Spark itself where none runs.

        Raises:
            MissingExtra: PySpark is not installed.
            LaunchError: Spark cannot be started (it needs Java 17), or was interrupted.
        """
        pyspark = require("pyspark", extra="spark")
        sql = require("pyspark.sql", extra="spark")
        self.version = str(pyspark.__version__)
        if self._parent is None:
            # a session that somebody else made in this process is not stopped
            self._is_own = pyspark.SparkContext._active_spark_context is None  # noqa: SLF001 - the only way to ask
            self._parent = self._started(pyspark, sql)
        self._end_if_interrupted()
        self._session = self._new_session()
        self._end_if_interrupted()

    def stop(self) -> None:
        """Removes the session, and ends Spark if it was started here."""
        session, self._session = self._session, None
        parent, self._parent = self._parent, None
        self._handed_out = None
        self._inputs = {}
        if self._is_own and parent is not None:
            parent.stop()
        elif session is not None:
            for view in session.catalog.listTables():
                if view.isTemporary:
                    session.catalog.dropTempView(view.name)

    def interrupt(self) -> None:
        """Ends what runs here; jobs of others in the same Spark go on."""
        self._is_interrupted = True
        self._cancel()

    def _cancel(self) -> None:
        session = self._session
        if session is not None:
            session.sparkContext.cancelJobsWithTag(self._tag)

    def _started(self, pyspark: Any, sql: Any) -> Any:
        builder = sql.SparkSession.builder.appName("tadka")
        if self._is_own:
            given = pyspark.SparkConf()
            settings = {
                "spark.master": "local[*]",
                "spark.sql.warehouse.dir": str(self._scratch / "warehouse"),
            }
            if str(given.get("spark.master", "local")).startswith("local"):
                settings.update(_OWN)
                settings["spark.driver.memory"] = f"{_memory() >> 20}m"
            for key, value in settings.items():
                if not given.contains(key):
                    builder = builder.config(key, value)
        before = os.environ.get("PYSPARK_PYTHON")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers are of this environment
        try:
            if self._is_own:
                pyspark.SparkContext._ensure_initialized()  # noqa: SLF001 - Java alone takes seconds
                self._end_if_interrupted()
            return builder.getOrCreate()
        except LaunchError:
            raise
        except Exception as error:  # whatever Java or its absence raises
            raise LaunchError(
                f"Spark cannot be started: {_first(error)} It needs Java 17 "
                "(openjdk-17-jre-headless) on PATH or in JAVA_HOME."
            ) from error
        finally:
            if before is None:
                os.environ.pop("PYSPARK_PYTHON", None)

    def _end_if_interrupted(self) -> None:
        if self._is_interrupted:
            self.stop()
            raise LaunchError("The start of Spark was interrupted.")

    def _new_session(self) -> Any:
        with self._user_session_active():
            session = self._parent.newSession()
            for key, value in _OPTIONS.items():
                session.conf.set(key, value)
            threshold = "spark.sql.sources.parallelPartitionDiscovery.threshold"
            session.conf.set(threshold, str(_MAX_LISTED_HERE))
            return session

    @contextlib.contextmanager
    def _user_session_active(self) -> Iterator[None]:
        """Some calls make their session the active one of the thread; puts back what was there."""
        parent = self._parent  # its class in Java is the one way to set it
        java = parent._get_j_spark_session_class(parent._jvm)  # noqa: SLF001
        active, seen = java.getActiveSession(), type(parent)._activeSession  # noqa: SLF001
        try:
            yield
        finally:
            type(parent)._activeSession = seen  # noqa: SLF001
            if active.isDefined():
                java.setActiveSession(active.get())
            else:
                java.clearActiveSession()

    # ------------------------------------------------------------ tables

    @property
    def spark(self) -> Any:
        """The session in which the tables are registered."""
        return self._session

    def hand_out(self, bound: Bound) -> Any:
        """A session for the user's own Spark code, whose views are the tables of a dataset.

        Rows are views by their alias. A table's name is a view, too: of all rows that any alias has
        of it.

        Args:
            bound: The definition with its parameters; its tables are registered.
        """
        if self._handed_out is not None:
            return self._handed_out
        session = self._new_session()
        definition = bound.definition

        def make(_: Any) -> None:
            frames = {
                name: self._frame(session, inputs)
                for name, inputs in self._inputs.items()
                if name in definition.tables
            }
            texts = {alias: condition(bound, SPARK, alias) for alias in definition.relations}
            for name, frame in frames.items():
                wanted = {
                    alias: texts[alias]
                    for alias, rows in definition.relations.items()
                    if rows.table.__name__ == name
                }
                _any_of(frame, wanted).createOrReplaceTempView(_view(name))
            # last: an alias may differ from a table in case only
            for alias, rows in definition.relations.items():
                frame = _any_of(frames[rows.table.__name__], {alias: texts[alias]})
                frame.createOrReplaceTempView(_view(alias))

        self._run(make)
        self._handed_out = session
        return session

    def register(self, name: str, inputs: TableInputs) -> None:
        """Makes a table a view of its columns, each of its kind.

        Args:
            name: Of the view.
            inputs: What it shows.

        Raises:
            DataError: A file cannot be read.
            ConfigError: A table is not in the catalog, or lacks a column.
        """
        self._inputs[name] = inputs
        self._run(lambda session: self._frame(session, inputs).createOrReplaceTempView(_view(name)))

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

    def _frame(self, session: Any, inputs: TableInputs) -> Any:
        table = inputs.table
        source = getattr(table, "source", None)
        if isinstance(source, Catalog):
            texts = {name: SPARK.quote(name) for name in table.columns}
            return _selected(session.table(source.name), table, texts)
        parts = [self._group(session, table, group) for group in groups_of(inputs)]
        if not parts:
            return _selected(session.range(0), table, dict.fromkeys(table.columns, "NULL"))
        frame = parts[0]
        for part in parts[1:]:
            frame = frame.unionAll(part)
        return frame

    def _group(self, session: Any, table: type[Schema], group: FileGroup) -> Any:
        partitions = partitions_of(table)
        types = group.types
        texts, fields = {}, []
        for name, column in table.columns.items():
            if column.is_partition:
                continue
            found = str(column.kind) if types is None else types.get(name, "null")
            if found == "null":  # of a file without a value; Parquet gives it any type
                texts[name] = "NULL"
                continue
            texts[name] = SPARK.quote(name)
            fields.append(f"{SPARK.quote(name)} {_type(found, column.kind)}")
        root = hive_root(group.files, partitions) if partitions else None
        reader = session.read
        if root is not None:
            reader = reader.option("basePath", self._path(root))
            fields += [f"{SPARK.quote(c.name)} {SPARK.type(c.kind)}" for c in partitions]
            texts.update({c.name: SPARK.quote(c.name) for c in partitions})
        # names with * are names; its option for that reads every file once for each of them
        paths = [_WILDCARD.sub(r"\\\g<0>", self._path(file.uri)) for file in group.files]
        if fields:
            reader = reader.schema(", ".join(fields))
        frame = reader.parquet(*paths)
        if partitions and root is None:
            if len({tuple(file.values.values()) for file in group.files}) == 1:
                values = group.files[0].values
                texts.update({c.name: _constant(c, values[c.name]) for c in partitions})
            else:
                frame, found_texts = self._with_values(session, frame, table, group)
                texts.update(found_texts)
        return _selected(frame, table, texts)

    def _with_values(
        self, session: Any, frame: Any, table: type[Schema], group: FileGroup
    ) -> tuple[Any, dict[str, str]]:
        """A join that gives the values of partitions by the path of the file."""
        pa = require("pyarrow", extra="dataset")
        functions = require("pyspark.sql.functions", extra="spark")
        partitions = partitions_of(table)
        mark = _free_prefix(table.columns)
        given = [_ESCAPED.sub(_escape, self._path(file.uri)) for file in group.files]
        # Spark names a local file in one of two ways, which depends on its version
        ways = [given, [f"file:/{path[8:]}" for path in given if path.startswith("file:///")]]
        columns = {
            f"{mark}{number}": pa.concat_arrays(
                [pa.array([f.values[c.name] for f in group.files], c.kind.arrow)]
                * (2 if ways[1] else 1)
            )
            for number, c in enumerate(partitions)
        }
        paths = pa.array([*ways[0], *ways[1]])
        values = session.createDataFrame(pa.table({f"{mark}path": paths, **columns}))
        # not by its name, which a column of the files may have, too
        own = frame.metadataColumn("_metadata")["file_path"].alias(f"{mark}file")
        left = frame.select("*", own)
        found = left[f"{mark}file"] == values[f"{mark}path"]
        joined = left.join(functions.broadcast(values), found, "left")
        told = SPARK.error("A file is none of those that were listed.")
        return joined, {
            c.name: f"CASE WHEN `{mark}path` IS NULL THEN {told} ELSE `{mark}{number}` END"
            for number, c in enumerate(partitions)
        }

    def _path(self, uri: str) -> str:
        """A path as Hadoop's file systems name it."""
        if "://" not in uri:
            return f"file://{uri}"
        protocol, _, rest = uri.partition("://")
        if protocol == "s3":
            hadoop = self._parent.sparkContext._jsc.hadoopConfiguration()  # noqa: SLF001 - Python has no other
            if hadoop.get("fs.s3.impl") is None:
                return f"s3a://{rest}"
        return uri

    # ------------------------------------------------------------ queries

    def query(self, sql: str) -> "pa.Table":
        """What a query gives.

        Args:
            sql: One SELECT.

        Raises:
            DataError: The data does not admit it, or it was interrupted.
            ConfigError: It is no SQL of Spark.
        """
        return self._run(lambda session: session.sql(sql).toArrow())

    def query_all(self, sqls: Sequence[str]) -> Iterator[Answer]:
        """What several queries give, some at a time: much of a short job is planning and waiting.

        Args:
            sqls: Each a SELECT. One that the data does not admit gives its error.

        Raises:
            ConfigError: One is no SQL of Spark.
        """
        pool = ThreadPoolExecutor(_QUERIES_AT_ONCE)
        try:
            numbers = {pool.submit(answer, self.query, sql): n for n, sql in enumerate(sqls)}
            for done in as_completed(numbers):
                yield numbers[done], done.result()
        except BaseException:  # Ctrl-C, or nobody wants the rest: it is raised on
            self._cancel()  # else the jobs that run would be waited for
            raise
        finally:
            pool.shutdown(cancel_futures=True)

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
        return self._run(
            lambda session: write(session.sql(sql), directory, output, columns, on_progress)
        )

    def _run(self, work: Callable[[Any], T]) -> T:
        if self._session is None:
            raise LaunchError("Spark does not run: it was not started, or was stopped.")
        if self._is_interrupted:
            raise DataError("The query was interrupted.")
        errors = require("pyspark.errors", extra="spark")
        protocol = require("py4j.protocol", extra="spark")
        context = self._session.sparkContext
        with self._user_session_active():
            context.addJobTag(self._tag)
            try:
                return work(self._session)
            except (errors.AnalysisException, errors.ParseException) as error:
                raise ConfigError(f"Spark does not understand its SQL: {_first(error)}") from error
            except (errors.PySparkException, protocol.Py4JJavaError) as error:
                if self._is_interrupted:
                    raise DataError("The query was interrupted.") from error
                raise DataError(f"Spark cannot read or calculate: {_first(error)}") from error
            finally:
                context.removeJobTag(self._tag)


def _view(name: str) -> str:
    """The name of a view as the methods of Spark take it, which read it as SQL."""
    return SPARK.quote(name)


def _any_of(frame: Any, conditions: Mapping[str, str | None]) -> Any:
    """Rows that fulfil at least one of several conditions.

    Args:
        frame: Of a table.
        conditions: By the alias that raw SQL in them calls columns by; None is fulfilled by all.
    """
    if None in conditions.values():
        return frame
    names: list[str] = frame.columns
    marks: list[str] = []
    for alias, condition_ in conditions.items():
        marks.append(f"{_free_prefix(names)}{len(marks)}")
        text = f"({condition_}) AS {SPARK.quote(marks[-1])}"
        frame = frame.alias(alias).selectExpr("*", text)
    chosen = frame.where(" OR ".join(map(SPARK.quote, marks)))
    return chosen.select([SPARK.quote(name) for name in names])


def _free_prefix(names: Iterable[str]) -> str:
    """With what no name of a column begins."""
    prefix, taken = "tadka_", [name.casefold() for name in names]
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    return prefix


def _selected(frame: Any, table: type[Schema], texts: Mapping[str, str]) -> Any:
    """The columns of a table, each of its kind."""
    columns = (
        f"{SPARK.cast(texts[name], column.kind)} AS {SPARK.quote(name)}"
        for name, column in table.columns.items()
    )
    return frame.selectExpr(*columns)


def _type(found: str, kind: Kind) -> str:
    """The type in which Spark reads a column that a file has in a type of its own."""
    if found.startswith("list["):
        item = kind.item if kind.item is not None else kind
        return f"ARRAY<{_type(found[5:-1], item)}>"
    if found == "null":
        return SPARK.type(kind)
    if found.startswith("decimal("):
        return found.upper()
    return _TYPES.get(found) or SPARK.type(named_kind(found, "A column of a file"))


def _constant(column: Column[Any], value: Any) -> str:
    return "NULL" if value is None else SPARK.literal(Literal(value, column.kind))


def _escape(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _memory() -> int:
    """A quarter of the machine's memory, for Java."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_MEMORY, total // 4)


def _first(error: BaseException) -> str:
    """What an error says, without Spark's codes and the stacks of Java."""
    text = str(error)
    told = [found[1] for line in text.splitlines() if (found := _TOLD.search(line)) is not None]
    raised = [found[1] for line in text.splitlines() if (found := _RAISED.search(line)) is not None]
    text = [*raised, *told, text.partition("\n")[0]][0].strip()
    return text if text.endswith(".") else f"{text}."
