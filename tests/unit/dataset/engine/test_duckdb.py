"""Tests of tadka.dataset.engine.duckdb that are of no other engine."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tadka.core.error import DataError
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.define.output import Output
from tadka.dataset.engine.duckdb import DuckDBEngine
from tadka.dataset.expression.kind import INT, STRING

ENDLESS = "range(10000000000) a(x), range(100000000) b(y)"
COLUMNS = [OutputColumn("x", INT, True, False, "feature")]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckDBEngine]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = DuckDBEngine(scratch, num_threads=2)
    made.start()
    yield made
    made.stop()


def press_when_called(engine: DuckDBEngine) -> None:
    """Gives SQL a function that is Ctrl-C, so that it comes while a statement runs."""
    pressed: list[bool] = []

    def press(x: int) -> int:
        if not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return x

    engine._connection.create_function("press", press, [duckdb.sqltypes.BIGINT],
        duckdb.sqltypes.BIGINT, side_effects=True)  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT count(*) AS x FROM {ENDLESS} WHERE press(x) >= 0",
        f"SELECT press(x) + y AS x FROM {ENDLESS}",  # rows that pile up
    ],
    ids=["count", "rows"],
)
@pytest.mark.parametrize("how", ["query", "write"])
def test_ctrl_c_while_a_statement_runs_is_ctrl_c(
    engine: DuckDBEngine, tmp_path: Path, how: str, sql: str
) -> None:
    press_when_called(engine)
    directory = tmp_path / "out"
    directory.mkdir()

    def run() -> Any:
        if how == "query":
            return engine.query(sql)
        return engine.write(sql, directory, Output(), COLUMNS)

    with pytest.raises(KeyboardInterrupt):
        run()

    assert [{"n": 1}] == engine.query("SELECT 1 AS n").to_pylist()  # nothing runs any more


@pytest.mark.parametrize("how", ["query", "write"])
def test_the_scratch_folder_is_named_where_it_has_no_room(
    engine: DuckDBEngine, tmp_path: Path, how: str
) -> None:
    for setting in ("memory_limit = '50MB'", "max_temp_directory_size = '1MB'"):
        engine._connection.execute(f"SET {setting}")
    directory = tmp_path / "out"
    directory.mkdir()
    sql = "SELECT i * 7919 % 3000017 AS x, md5(i::VARCHAR) AS t FROM range(3000000) t(i) ORDER BY x"

    def run() -> Any:
        if how == "query":
            return engine.query(sql)
        columns = [*COLUMNS, OutputColumn("t", STRING, True, False, "feature")]
        return engine.write(sql, directory, Output(), columns)

    with pytest.raises(
        DataError, match=r"scratch' cannot be written: .* Free some space or "
    ) as caught:
        run()
    assert "PRAGMA" not in str(caught.value)


def test_rows_that_duckdb_takes_for_few_are_not_compared_with_all(engine: DuckDBEngine) -> None:
    """Its guesses of what a filter leaves are wrong by any factor."""
    few = "(SELECT range AS {0} FROM range(3))"
    plan = engine.query(
        f"EXPLAIN SELECT * FROM {few.format('x')} ASOF LEFT JOIN {few.format('y')} ON x >= y"
    )
    shown = str(plan["explain_value"].to_pylist()).lower().replace("_", " ")
    assert "asof join" in shown
    assert "nested loop" not in shown
