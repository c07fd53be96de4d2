"""Sessions on Spark: the same rows as DuckDB, in a SparkSession that stays as it was."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tadka.dataset import CheckFailed, Output, session
from tests.unit.dataset.shop import CHECKS, PERIOD, files_below, make_shop, shop_dataset

pytestmark = [
    pytest.mark.needs_spark,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path / "shop")


def state(spark: Any) -> Any:
    """What a user would see of a change."""
    return (
        dict(spark.conf.getAll),
        sorted(table.name for table in spark.catalog.listTables()),
        spark.catalog.currentDatabase(),
        spark.sql("SELECT current_timezone() AS zone").collect()[0].zone,
    )


def test_both_engines_write_the_same_version(shop: Path, tmp_path: Path, spark: Any) -> None:
    dataset = shop_dataset(shop, checks=CHECKS, output=Output("1MiB", partition_by=["split"]))
    before = state(spark)

    with session(dataset, engine="spark", spark=spark, **PERIOD) as s:
        on_spark = s.write(tmp_path / "spark")
        rows = s.to_arrow()
    with session(dataset, **PERIOD) as s:
        on_duckdb = s.write(tmp_path / "duckdb")
        assert rows.schema == s.to_arrow().schema

    assert on_duckdb.manifest.output_hash == on_spark.manifest.output_hash
    assert on_duckdb.id == on_spark.id
    assert "spark" == on_spark.manifest.engine["name"]
    assert "same" == on_spark.verify().status
    told = [
        sorted(
            (check["name"], check["status"], check["message"]) for check in version.manifest.checks
        )
        for version in (on_duckdb, on_spark)
    ]
    assert told[0] == told[1]
    assert before == state(spark)


def test_existing_spark_code_sees_the_filtered_tables(shop: Path, spark: Any) -> None:
    before = state(spark)

    with session(shop_dataset(shop), engine="spark", spark=spark, **PERIOD) as s:
        counts = {
            name: s.spark.table(name).count() for name in ("imp", "Imp", "Click", "recent", "ad")
        }
        joined = s.spark.sql(
            "SELECT count(*) AS n FROM imp JOIN ad ON imp.ad = ad.id WHERE price > 10"
        ).collect()[0]
        s.spark.sql("CREATE OR REPLACE TEMP VIEW mine AS SELECT 1 AS x")

    assert {"imp": 300, "Imp": 300, "Click": 360, "recent": 300, "ad": 4} == counts
    assert 0 < joined.n < 300
    assert before == state(spark)
    assert 1 == spark.sql("SELECT 1 AS x").collect()[0].x  # it was not stopped


def test_a_failing_check_leaves_an_adopted_session_alone(
    shop: Path, tmp_path: Path, spark: Any
) -> None:
    before = state(spark)
    shutil.rmtree(shop / "imp/dt=2026-01-02")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    with (
        pytest.raises(CheckFailed, match="dt=2026-01-02"),
        session(shop_dataset(shop), engine="spark", spark=spark, scratch=scratch, **PERIOD),
    ):
        pytest.fail("the block does not run")

    assert before == state(spark)
    assert [] == list(scratch.iterdir())
    assert 5 == spark.range(5).count()


def test_an_error_in_a_block_leaves_an_adopted_session_alone(
    shop: Path, tmp_path: Path, spark: Any
) -> None:
    before = state(spark)

    def run() -> None:
        with session(shop_dataset(shop), engine="spark", spark=spark, **PERIOD) as s:
            s.write(tmp_path / "out")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()

    assert before == state(spark)
    assert 5 == spark.range(5).count()
    assert files_below(tmp_path / "out")


OWN = """
import json, shutil, signal, sys
from pathlib import Path
from tadka.dataset import CheckFailed, session
from tests.unit.dataset.shop import PERIOD, make_shop, shop_dataset

folder = Path(sys.argv[1])
shop = make_shop(folder / "shop")
scratch = folder / "scratch"
scratch.mkdir()
handler = signal.getsignal(signal.SIGINT)
told = {}

with session(shop_dataset(shop), engine="spark", scratch=scratch, **PERIOD) as s:
    told["rows"] = s.write(folder / "out").num_rows

from pyspark import SparkContext
told["stopped"] = SparkContext._active_spark_context is None
told["handler"] = handler is signal.getsignal(signal.SIGINT)
told["scratch"] = [str(path) for path in scratch.iterdir()]

shutil.rmtree(shop / "imp/dt=2026-01-02")
seen = []
try:
    with session(
        shop_dataset(shop), engine="spark", scratch=scratch, on_result=seen.append, **PERIOD
    ):
        told["ran"] = True
except CheckFailed as error:
    told["failed"] = str(error)
told["stopped_again"] = SparkContext._active_spark_context is None
told["scratch_again"] = [str(path) for path in scratch.iterdir()]
told["left"] = sorted(str(path) for path in Path.cwd().iterdir())
print("told " + json.dumps(told))
"""


def test_a_session_of_its_own_is_stopped_also_while_it_starts(
    tmp_path: Path, repository: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()

    done = subprocess.run(
        [sys.executable, "-c", OWN, str(tmp_path)],
        cwd=place,
        env={
            "PYTHONPATH": str(repository),
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "SPARK_SUBMIT_OPTS": os.environ["SPARK_SUBMIT_OPTS"],
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )

    assert 0 == done.returncode, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("told "))
    told = json.loads(line.removeprefix("told "))
    assert "dt=2026-01-02" in told.pop("failed")
    assert {
        "rows": 300,
        "stopped": True,
        "handler": True,
        "scratch": [],
        "stopped_again": True,
        "scratch_again": [],
        "left": [],
    } == told
