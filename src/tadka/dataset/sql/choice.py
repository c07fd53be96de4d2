"""The dialect of an engine by its name."""

from typing import Final

from tadka.core.error import ConfigError
from tadka.dataset.sql.dialect import Dialect
from tadka.dataset.sql.duckdb import DUCKDB
from tadka.dataset.sql.spark import SPARK

DIALECTS: Final[dict[str, Dialect]] = {DUCKDB.name: DUCKDB, SPARK.name: SPARK}


def dialect_of(name: str) -> Dialect:
    """The dialect of an engine.

    Args:
        name: Of the engine.

    Raises:
        ConfigError: There is no such engine.
    """
    if name not in DIALECTS:
        raise ConfigError(f"Engine {name!r} is not known; it must be 'duckdb' or 'spark'.")
    return DIALECTS[name]
