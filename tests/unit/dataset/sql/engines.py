"""DuckDB and Spark for tests of expressions: files in, Arrow out."""

import functools
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tadka.dataset.expression.expression import Column, Expression, Literal
from tadka.dataset.sql.dialect import Dialect
from tadka.dataset.sql.duckdb import DUCKDB
from tadka.dataset.sql.duckdb import SETTINGS as DUCKDB_SETTINGS
from tadka.dataset.sql.spark import SETTINGS as SPARK_SETTINGS
from tadka.dataset.sql.spark import SPARK


class TestEngine:
    """An engine in the state that the dialects ask for.

    Args:
        dialect: Of the engine.
        query: The answer to a SELECT.
        scan: What stands after FROM to read a Parquet file.
        error: What a failing query raises.
        execute: Runs any other statement.
    """

    __test__ = False

    def __init__(
        self,
        dialect: Dialect,
        query: Callable[[str], pa.Table],
        scan: Callable[[Path], str],
        error: type[Exception],
        execute: Callable[[str], Any],
    ) -> None:
        self.dialect = dialect
        self.query = query
        self.scan = scan
        self.error = error
        self.execute = execute

    def sql(
        self, expression: Expression[Any], parameters: Mapping[str, Literal[Any]] | None = None
    ) -> str:
        """The SQL of an expression over the columns of a file."""
        return self.dialect.expression(expression, column=self.column, parameters=parameters or {})

    def column(self, column: Column[Any]) -> str:
        return self.dialect.quote(column.name)


def duckdb_engine() -> TestEngine:
    connection = duckdb.connect()
    for name, value in DUCKDB_SETTINGS.items():
        connection.execute(f"SET {name} = '{value}'")

    return TestEngine(
        DUCKDB,
        lambda sql: connection.sql(sql).to_arrow_table(),
        lambda path: f"read_parquet('{path}', can_have_nan = true)",
        duckdb.Error,
        connection.execute,
    )


def spark_engine(spark: Any) -> TestEngine:
    from pyspark.errors import PySparkException

    session = spark.newSession()
    for name, value in SPARK_SETTINGS.items():
        session.conf.set(name, value)

    @functools.cache
    def view(path: Path) -> str:
        """A view of a file, so that its schema is read once and not in each of many queries."""
        name = f"rows_{uuid.uuid4().hex}"
        session.read.parquet(str(path)).createTempView(name)
        return name

    return TestEngine(
        SPARK,
        lambda sql: session.sql(sql).toArrow(),
        view,
        PySparkException,
        session.sql,
    )
