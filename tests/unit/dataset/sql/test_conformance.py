"""Every operator over hostile values, on each engine: the value that Python gives, or an error."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tadka.dataset.expression.expression import Expression
from tests.unit.dataset.sql.cases import all_comparisons, all_others
from tests.unit.dataset.sql.engines import TestEngine, duckdb_engine, spark_engine
from tests.unit.dataset.sql.hostile import COLUMNS, differences, expected, silent

ZONES = ("Asia/Tokyo", "UTC", "America/New_York")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cases", [all_comparisons, all_others])
def test_every_operator_gives_what_python_gives(
    engine: TestEngine, hostile: Path, cases: Callable[[], Iterator[Expression[Any]]]
) -> None:
    expressions = list(cases())

    assert [] == differences(engine, hostile, expressions)


@pytest.mark.timeout(300)
def test_what_overflows_or_divides_by_zero_is_an_error(engine: TestEngine, hostile: Path) -> None:
    expressions = [each for each in all_others() if expected(each)[2]]
    assert len(expressions) > 50

    assert [] == silent(engine, hostile, expressions)


# ---------------------------------------------------------------- zones of the process


def _on_times() -> list[Expression[Any]]:
    """What takes dates and times."""
    times = {id(COLUMNS[name]) for name in ("d", "t", "u")}
    cases = (*all_comparisons(), *all_others())
    found = [each for each in cases if any(id(part) in times for part in each.walk())]
    assert len(found) > 100
    return found


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_the_zone_of_the_process_changes_nothing_on_duckdb(hostile: Path, zone: str) -> None:
    engine = duckdb_engine()
    engine.execute(f"SET TimeZone = '{zone}'")

    assert [] == differences(engine, hostile, _on_times())


@pytest.mark.needs_spark
@pytest.mark.timeout(300)
def test_the_zone_of_the_process_changes_nothing_on_spark(
    hostile: Path, zone: str, spark: Any
) -> None:
    zones = spark.sparkContext._jvm.java.util.TimeZone
    before = zones.getDefault()
    zones.setDefault(zones.getTimeZone(zone))
    try:
        found = differences(spark_engine(spark), hostile, _on_times())
    finally:
        zones.setDefault(before)

    assert [] == found
