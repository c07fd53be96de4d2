"""The engine of a name."""

from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.engine.duckdb import DuckDBEngine
from tadka.dataset.engine.engine import Engine
from tadka.dataset.engine.spark import SparkEngine

ENGINES = ("duckdb", "spark")


def make_engine(name: str, *, spark: Any = None, scratch: Path) -> Engine:
    """An engine that is not started yet.

    Args:
        name: `"duckdb"` or `"spark"`.
        spark: A SparkSession to work in; for Spark only.
        scratch: An existing folder for what engines put aside.

    Raises:
        ConfigError: There is no such engine, or a SparkSession is given to another one.
    """
    if name == "spark":
        return SparkEngine(scratch, spark=spark)
    if name != "duckdb":
        raise ConfigError(f"Engine {name!r} is not known; it must be one of {', '.join(ENGINES)}.")
    if spark is not None:
        raise ConfigError("spark= is given, and the engine is 'duckdb'; say engine='spark'.")
    return DuckDBEngine(scratch)
