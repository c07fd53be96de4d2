"""What only Spark has: a session of the user's, which stays as it is."""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.table import Table
from tadka.dataset.engine.engine import TableInputs
from tadka.dataset.engine.spark import SparkEngine
from tadka.dataset.expression.expression import Column, Sql, days
from tadka.dataset.expression.kind import Utc
from tadka.dataset.source.catalog import Catalog
from tadka.dataset.sql.query import select
from tadka.dataset.sql.spark import SPARK

pytestmark = [pytest.mark.needs_spark, pytest.mark.timeout(600)]
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def engine(spark: Any, tmp_path: Path) -> Iterator[SparkEngine]:
    (tmp_path / "scratch").mkdir()
    made = SparkEngine(tmp_path / "scratch", spark=spark)
    made.start()
    yield made
    made.stop()


def user_table(folder: Path) -> type[Table]:
    rows = [{"user": n, "age": 10 * n, "since": START + dt.timedelta(days=n)} for n in range(5)]

    class User(Table, source=f"{folder}/*.parquet", time="since"):
        user: Column[int]
        age: Column[int]
        since: Column[Utc]

    schema = pa.schema([(c.name, c.kind.arrow) for c in User.columns.values()])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "x.parquet")
    return User


def test_the_session_of_the_user_stays_as_it_was(spark: Any, tmp_path: Path) -> None:
    from pyspark.sql import SparkSession

    spark.range(3).createOrReplaceTempView("mine")
    before = dict(spark.conf.getAll)
    active = SparkSession.getActiveSession()
    users = user_table(tmp_path)
    (tmp_path / "scratch").mkdir()
    made = SparkEngine(tmp_path / "scratch", spark=spark)
    made.start()
    made.register("User", TableInputs(users, users.source.resolve(users.columns).files))
    assert made.query("SELECT * FROM User").num_rows == 5
    made.stop()
    assert before == dict(spark.conf.getAll)
    assert spark.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
    assert ["mine"] == [view.name for view in spark.catalog.listTables()]
    assert active is SparkSession.getActiveSession() or str(active) == str(
        SparkSession.getActiveSession()
    )
    assert spark.range(2).count() == 2  # it still runs
    assert os.environ.get("PYSPARK_PYTHON") == sys.executable
    spark.catalog.dropTempView("mine")


def test_views_that_are_handed_out_are_the_filtered_tables(
    engine: SparkEngine, tmp_path: Path
) -> None:
    users = user_table(tmp_path)

    class Some(Dataset):
        imp = users.between(START, START + days(4))
        user = users.where(users.age > 10).last(days(9), on="user")  # type: ignore[attr-defined]
        features = {"user": imp.user, "n": user.count()}

    bound = Some.definition.bind()
    engine.register("User", TableInputs(users, users.source.resolve(users.columns).files))
    handed_out = engine.hand_out(bound)
    assert handed_out is engine.hand_out(bound)
    assert [0, 1, 2, 3] == sorted(row.user for row in handed_out.table("imp").collect())
    assert [2, 3, 4] == sorted(row.user for row in handed_out.table("user").collect())
    # the engine's own session still has the whole table, although an alias differs in case only
    assert engine.query("SELECT * FROM User").num_rows == 5
    assert 4 == engine.query(select(bound, SPARK)).num_rows


def test_a_table_is_all_that_its_aliases_have_of_it(engine: SparkEngine, tmp_path: Path) -> None:
    users = user_table(tmp_path)

    class Two(Dataset):
        low = users.where(users.age < 10)  # type: ignore[attr-defined]
        high = users.where(users.age > 30).last(days(9), on="user")  # type: ignore[attr-defined]
        features = {"user": low.user, "n": high.count()}

    engine.register("User", TableInputs(users, users.source.resolve(users.columns).files))
    handed_out = engine.hand_out(Two.definition.bind())
    assert [0, 4] == sorted(row.user for row in handed_out.table("User").collect())


def test_raw_sql_in_conditions_calls_columns_by_each_alias(
    engine: SparkEngine, tmp_path: Path
) -> None:
    users = user_table(tmp_path)

    class Two(Dataset):
        low = users.where(Sql[bool](bool, spark="low.age < 10"))
        high = users.where(Sql[bool](bool, spark="`high`.age > 30")).last(days(9), on="user")
        features = {"user": low.user, "n": high.count()}

    engine.register("User", TableInputs(users, users.source.resolve(users.columns).files))
    handed_out = engine.hand_out(Two.definition.bind())
    for name, expected in (("low", [0]), ("high", [4]), ("User", [0, 4])):
        assert list(users.columns) == handed_out.table(name).columns
        assert expected == sorted(row.user for row in handed_out.table(name).collect())


def test_tables_of_the_catalog_are_read(engine: SparkEngine, spark: Any) -> None:
    spark.sql("CREATE DATABASE IF NOT EXISTS shop")
    spark.sql("DROP TABLE IF EXISTS shop.users")
    spark.sql("CREATE TABLE shop.users (user INT, name STRING, extra INT) USING parquet")
    spark.sql("INSERT INTO shop.users VALUES (7, 'a', 1)")

    class User(Table, source=Catalog("shop.users")):
        user: Column[int]
        name: Column[str]

    engine.register("User", TableInputs(User, []))
    table = engine.query("SELECT * FROM User")
    assert [{"user": 7, "name": "a"}] == table.to_pylist()
    assert [pa.int64(), pa.string()] == table.schema.types
    spark.sql("DROP TABLE shop.users")
    spark.sql("DROP DATABASE shop")


def test_interrupting_ends_the_jobs_of_the_engine_and_no_others(
    engine: SparkEngine, spark: Any
) -> None:
    context = spark.sparkContext
    context.addJobTag("of-the-user")
    engine.interrupt()
    assert spark.range(10).count() == 10
    context.removeJobTag("of-the-user")


def test_spark_started_by_the_engine_is_stopped_by_it(tmp_path: Path) -> None:
    # in a process of its own: there is one Spark in each
    code = f"""
import os, sys, warnings
from pathlib import Path
from tadka.dataset.engine.spark import SparkEngine
os.environ.pop("PYSPARK_PYTHON", None)
engine = SparkEngine(Path({str(tmp_path)!r}))
engine.start()
from pyspark import SparkContext
assert "PYSPARK_PYTHON" not in os.environ
assert SparkContext._active_spark_context.pythonExec == sys.executable
assert engine.query("SELECT 1 AS x").to_pylist() == [{{"x": 1}}]
second = SparkEngine(Path({str(tmp_path)!r}))
second.start()
second.stop()
assert engine.query("SELECT 2 AS x").to_pylist() == [{{"x": 2}}], "the second did not make it"
engine.stop()
assert SparkContext._active_spark_context is None
print("done")
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=500
    )
    assert found.stdout.strip().endswith("done"), found.stderr[-2000:]
