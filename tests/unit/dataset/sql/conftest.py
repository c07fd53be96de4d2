"""The engines and the rows that tests of the dialects share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.dataset.sql.engines import TestEngine, duckdb_engine, spark_engine
from tests.unit.dataset.sql.hostile import write_rows


@pytest.fixture(
    scope="session", params=["duckdb", pytest.param("spark", marks=pytest.mark.needs_spark)]
)
def engine(request: pytest.FixtureRequest) -> Iterator[TestEngine]:
    """Each engine in turn, in the state that its dialect asks for."""
    if request.param == "duckdb":
        yield duckdb_engine()
    else:
        yield spark_engine(request.getfixturevalue("spark"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pairs of hostile values of each kind, as Parquet."""
    path = tmp_path_factory.mktemp("hostile") / "rows.parquet"
    write_rows(path)
    return path
