# ruff: noqa: DTZ001 - columns of local time have naive values
"""Cases R1 to R19 of the design, from files of a company's tables to a version and back.

What one module decides alone (expressions, windows, hashes) is tested beside that module; here is
what a user sees, on every engine.
"""

import datetime as dt
import json
import math
import os
import subprocess
import sys
import types
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.dataset import (
    CheckFailed,
    Column,
    Dataset,
    Label,
    NoNan,
    Output,
    Parameter,
    Partition,
    RowCount,
    RowHash,
    Store,
    Table,
    Utc,
    Version,
    by_hash,
    days,
    from_yaml,
    hours,
    if_else,
    seconds,
    session,
    to_yaml,
)
from tadka.stream import Batches, Run, Train, read
from tests.unit.dataset.shop import PERIOD, clicks, impressions, make_shop, shop_dataset
from tests.unit.dataset.shop import write as write_table

pytestmark = pytest.mark.timeout(300)  # the first that needs Spark waits until it has started

FIRST, LAST = date(2026, 3, 8), date(2026, 3, 10)  # clocks in New York leave out an hour
EVENT_DAYS = [FIRST + days(number) for number in (-1, 0, 1, 2)]  # what windows need included
PER_DAY = 240
WORDS = ("", "a,b", 'quo"te', "日本\n", "🫙", None)
Options = dict[str, Any]


@pytest.fixture(params=["duckdb", pytest.param("spark", marks=pytest.mark.needs_spark)])
def engine(request: pytest.FixtureRequest) -> Options:
    """Each engine in turn, as arguments of a session."""
    if request.param == "duckdb":
        return {"engine": "duckdb"}
    return {"engine": "spark", "spark": request.getfixturevalue("spark")}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return make_shop(tmp_path / "shop")


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return make_events(tmp_path / "events")


# ---------------------------------------------------------------- tables and definitions


def event_rows(day: date) -> pa.Table:
    """A row every six minutes, with NaN and without infinity, which would hide it."""
    midnight = datetime(day.year, day.month, day.day)
    at = [midnight + dt.timedelta(minutes=6 * number) for number in range(PER_DAY)]
    x = np.round(np.random.default_rng(day.day).uniform(0, 10, PER_DAY), 1)
    x[::17] = math.nan
    y = pa.array(x[::-1], mask=np.arange(PER_DAY) % 5 == 0, from_pandas=False)
    return pa.table(
        {
            "key": pa.array([number % 7 for number in range(PER_DAY)], pa.int64()),
            "n": pa.array([number * 1_000_003 - 10**8 for number in range(PER_DAY)], pa.int64()),
            "x": pa.array(x, from_pandas=False),
            "y": y,
            "word": pa.array([WORDS[i % len(WORDS)] for i in range(PER_DAY)]),
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "local": pa.array(at, pa.timestamp("us")),
        }
    )  # fmt: skip


def make_events(folder: Path) -> Path:
    for day in EVENT_DAYS:
        place = folder / f"dt={day}"
        place.mkdir(parents=True)
        pq.write_table(event_rows(day), place / "part.parquet", row_group_size=50)
    return folder


def table_of(folder: Path) -> Any:
    class Event(Table, source=f"{folder}/dt={{dt}}/*.parquet", time="at"):
        dt: Partition[date]
        key: Column[int]
        n: Column[int]
        x: Column[float]
        y: Column[float | None]
        word: Column[str | None]
        at: Column[Utc]
        local: Column[datetime]

    return Event


def dataset_of(**body: Any) -> type[Dataset]:
    body = {"__module__": __name__, **body}
    return types.new_class("Made", (Dataset,), exec_body=lambda space: space.update(body))


def simple(table: Any, **features: Any) -> type[Dataset]:
    """Features of all rows of a table."""
    rows = table.all()
    return dataset_of(event=rows, features={name: make(rows) for name, make in features.items()})


def every_kind(folder: Path, **attributes: Any) -> type[Dataset]:
    """A bit of everything that a definition can hold."""
    table = table_of(folder)
    event = table.between(FIRST, LAST).where((table.n > -(10**8)) | table.word.is_null())
    before = table.between(FIRST - days(1), LAST).last(hours(3), on="key")
    after = table.between(FIRST, LAST + days(1)).next(hours(1), on="key")
    tokyo = event.at.in_zone("Asia/Tokyo")
    return dataset_of(
        event=event,
        before=before,
        after=after,
        rows=event,
        features={
            "dt": event.dt,
            "key": event.key,
            "x": event.x,
            "y": event.y,
            "word": event.word,
            "at": event.at,
            "local": event.local,
            "hour": tokyo.hour(),
            "weekday": event.at.in_zone("America/New_York").weekday(),
            "big": event.x > 5,
            "rest": event.n % 7,
            "whole": event.n // 1000,
            "some": event.word.coalesce("-"),
            "even": if_else(event.key % 2 == 0, event.n, 0),
            "num": before.count(),
            "words": before.word.count_distinct(),
            "total": before.n.sum(),
            "last": before.at.max(),
            "mean": before.x.mean(nan="drop"),
        },
        label=Label(after.count() > 0, matured_by=datetime(2026, 4, 1, tzinfo=dt.UTC)),
        split=by_hash(event.key, train=0.7, valid=0.3, salt="s"),
        **attributes,
    )


def write(
    dataset: type[Dataset], out: Path, options: Mapping[str, Any], **parameters: Any
) -> Version:
    with session(dataset, **options, **parameters) as s:
        return s.write(out)


# ---------------------------------------------------------------- R1, R2: one hash


@pytest.mark.needs_spark
def test_r1_every_engine_writes_the_same_rows(events: Path, tmp_path: Path, spark: Any) -> None:
    dataset = every_kind(events)
    mine = write(dataset, tmp_path / "duckdb", {})
    other = write(dataset, tmp_path / "spark", {"engine": "spark", "spark": spark})

    assert mine.manifest.output_hash == other.manifest.output_hash
    assert mine.id == other.id
    assert ("mean",) == mine.manifest.inexact == other.manifest.inexact
    order = [("at", "ascending"), ("key", "ascending")]
    tables = [version.read().sort_by(order) for version in (mine, other)]
    for name in tables[0].column_names:
        values = [np.array(table[name].to_pylist(), object) for table in tables]
        same = [
            a == b or str(a) == str(b) == "nan" or (name == "mean" and math.isclose(a, b))
            for a, b in zip(*values, strict=True)
        ]
        assert all(same), name


def test_r1_the_hash_is_that_of_every_release_of_an_engine(
    events: Path, tmp_path: Path, engine: Options
) -> None:
    # found with DuckDB 1.5 and 2.0 and with Spark; equal rows must not become another version
    expected = "83956f1b4356ad5cb190b68f8a904dd3"

    assert expected == write(every_kind(events), tmp_path / "out", engine).manifest.output_hash


OUTPUTS = [
    Output("4KiB", compression="gzip"),
    Output("8KiB", partition_by=["split", "key"]),
    Output("16KiB", format="jsonl"),
    Output("16KiB", format="csv", partition_by=["big"], compression="none"),
]


def test_r2_neither_files_nor_order_change_the_hash(
    events: Path, tmp_path: Path, engine: Options
) -> None:
    first = write(every_kind(events), tmp_path / "out", engine)
    others = [write(every_kind(events, output=o), tmp_path / "out", engine) for o in OUTPUTS]
    assert {first.manifest.output_hash} == {each.manifest.output_hash for each in others}
    assert all(len(each.files()) > 1 for each in others)
    for path in events.rglob("*.parquet"):  # the same rows in another order, in two files
        rows = pq.read_table(path, partitioning=None)
        rows = rows.take(list(reversed(range(rows.num_rows))))
        pq.write_table(rows.slice(0, 99), path, compression="none")
        pq.write_table(rows.slice(99), path.with_name("other.parquet"), row_group_size=7)
    moved = write(every_kind(events), tmp_path / "moved", engine)

    assert first.manifest.output_hash == moved.manifest.output_hash


@pytest.mark.parametrize("change", ["order", "cell", "pair"])
def test_r2_a_changed_cell_and_a_doubled_pair_change_the_hash(
    events: Path, tmp_path: Path, engine: Options, change: str
) -> None:
    version = write(every_kind(events), tmp_path / "out", engine)
    rows = version.read()
    if change == "order":
        changed = rows.take(list(reversed(range(len(rows)))))
    elif change == "cell":
        keys = rows["key"].to_pylist()
        keys[3] += 1
        changed = rows.set_column(rows.column_names.index("key"), "key", pa.array(keys, pa.int64()))
    else:  # as many rows as before: two are there twice, and two are gone
        changed = pa.concat_tables([rows.slice(2), rows.slice(5, 2)])
    exact = [(c.name, c.kind) for c in version.manifest.columns if not c.is_inexact]
    found = RowHash(exact)
    found.update(changed.select([name for name, _ in exact]))

    assert (change == "order") == (version.manifest.output_hash == found.hexdigest())


# ---------------------------------------------------------------- R3, R4: changed sources


def test_r3_one_changed_value_is_found_where_nothing_else_shows_it(
    shop: Path, tmp_path: Path, engine: Options
) -> None:
    first = write(shop_dataset(shop), tmp_path / "out", engine, **PERIOD)
    path = shop / "imp/dt=2026-01-02/part.parquet"
    rows, before = pq.read_table(path, partitioning=None), path.stat()
    prices = rows["price"].to_pylist()
    prices[3], prices[4] = prices[4], prices[3]  # the same bounds, the same size
    pq.write_table(rows.set_column(2, "price", pa.array(prices)), path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert before.st_size == path.stat().st_size

    content, footer = first.verify("content"), first.verify("footer")

    assert "changed" == content.status
    assert ["dt=2026-01-02"] == list(content.inputs["Imp"].partitions)
    assert "no difference seen" == footer.status
    assert not footer.is_same


def test_r4_a_late_file_is_refused_until_it_is_accepted(
    shop: Path, tmp_path: Path, engine: Options
) -> None:
    first = write(shop_dataset(shop), tmp_path / "out", engine, **PERIOD)
    write_table(shop / "click/dt=2026-01-01/late.parquet", clicks(date(2026, 1, 1), 3))

    found = first.verify("listing")
    assert "changed" == found.status
    assert "late.parquet" in str(found)
    with session(shop_dataset(shop), **engine, **PERIOD) as s:
        with pytest.raises(DataError, match=r"'Click' \(dt=2026-01-01\): File .*late\.parquet"):
            s.write(tmp_path / "out")
        assert [first.id] == [version.id for version in Store(tmp_path / "out").versions()]
        second = s.write(tmp_path / "out", accept_changed=True)
    assert second.id != first.id


# ---------------------------------------------------------------- R5, R16, R19: NaN


CONDITIONS: dict[str, tuple[Callable[[Any], Any], Callable[[float], bool]]] = {
    "gt": (lambda x: x > 5.5, lambda v: v > 5.5),
    "ge": (lambda x: x >= 5.5, lambda v: v >= 5.5),
    "lt": (lambda x: x < 5.5, lambda v: v < 5.5),
    "le": (lambda x: x <= 5.5, lambda v: v <= 5.5),
    "eq": (lambda x: x == 5.5, lambda v: v == 5.5),
    "ne": (lambda x: x != 5.5, lambda v: not math.isnan(v) and v != 5.5),
    "above_all": (lambda x: x > 100, lambda v: v > 100),
    "nan": (lambda x: x.is_nan(), math.isnan),
}


def test_r5_filters_keep_the_right_rows_of_files_with_nan(events: Path, engine: Options) -> None:
    table = table_of(events)
    wanted: dict[str, int] = {}
    aliases: dict[str, Any] = {}
    for name in ("x", "y"):
        values = [v for day in EVENT_DAYS for v in event_rows(day)[name].to_pylist()]
        for key, (condition, expected) in CONDITIONS.items():
            made = condition(getattr(table, name))
            for alias, each, is_not in (
                (f"{name}_{key}", made, False),
                (f"{name}_not_{key}", ~made, True),
            ):
                aliases[alias] = table.where(each).last(days(1), on="key")
                wanted[alias] = sum(v is not None and expected(v) != is_not for v in values)
    event = table.all()
    dataset = dataset_of(event=event, rows=event, features={"key": event.key}, **aliases)

    with session(dataset, **engine) as s:
        assert wanted == {alias: s.table(alias).num_rows for alias in aliases}


def test_r16_a_check_sees_nan_that_bounds_hide(
    events: Path, tmp_path: Path, engine: Options
) -> None:
    table = table_of(events)
    event = table.all()
    dataset = dataset_of(event=event, features={"x": event.x}, checks=[NoNan("x")])
    values = [value for day in EVENT_DAYS for value in event_rows(day)["x"].to_pylist()]
    count = sum(map(math.isnan, values))

    with (
        session(dataset, **engine) as s,
        pytest.raises(CheckFailed, match=rf"NoNan\(x\): {count} of"),
    ):
        s.write(tmp_path / "out")

    assert [] == Store(tmp_path / "out").versions()


@pytest.mark.needs_spark
def test_r19_other_readers_find_the_right_rows_of_a_version_with_nan(
    events: Path, tmp_path: Path, engine: Options, spark: Any
) -> None:
    dataset = simple(table_of(events), x=lambda e: e.x, y=lambda e: e.y)
    version = write(dataset, tmp_path / "out", engine)
    whole = version.read()
    memory = duckdb.from_arrow(whole)  # where nothing is skipped
    kept = {
        f"{name} {condition}": len(memory.filter(f"{name} {condition}"))
        for name in "xy"
        for condition in ("> 100", "< 5.5", ">= 5.5", "= 'NaN'::DOUBLE")
    }
    assert len(whole) == 4 * PER_DAY
    for condition, count in kept.items():
        found = duckdb.read_parquet(version.files()).filter(condition)
        assert (condition, count) == (condition, len(found))
    frame = spark.newSession().read.parquet(*version.files())
    for name in "xy":
        # to Spark, NaN is the greatest, as it is to DuckDB
        assert kept[f"{name} > 100"] == frame.where(f"{name} > 100").count()
        assert kept[f"{name} < 5.5"] == frame.where(f"{name} < 5.5").count()
        assert kept[f"{name} = 'NaN'::DOUBLE"] == frame.where(f"isnan({name})").count()
        rows, files = ds.dataset(whole), ds.dataset(version.files())
        for each in (pc.field(name) > 100, ~(pc.field(name) < 5.5), pc.field(name).is_nan()):
            assert rows.count_rows(filter=each) == files.count_rows(filter=each), each


# ---------------------------------------------------------------- R6: time zones

ZONED = """
import sys
from pathlib import Path
from tadka.dataset import session
from tests.e2e.test_dataset import cut_off
with session(cut_off(Path(sys.argv[1]))) as s:
    print(s.write(sys.argv[2]).manifest.output_hash)
"""


def cut_off(folder: Path) -> type[Dataset]:
    """Rows up to a time on either kind of column, with their days and hours."""
    table = table_of(folder)
    event = table.where(
        (table.at < datetime(2026, 3, 9, 12, tzinfo=dt.UTC))
        & (table.local >= datetime(2026, 3, 8, 2, 30))
        & (table.at.in_zone("America/New_York").date() < date(2026, 3, 9))
    )
    there = event.at.in_zone("America/New_York")
    return dataset_of(
        event=event,
        features={
            "at": event.at,
            "local": event.local,
            "there": there,
            "hour": there.hour(),
            "day": there.date(),
            "local_day": event.local.date(),
        },
    )


def test_r6_the_zone_of_the_process_changes_nothing(
    events: Path, tmp_path: Path, repository: Path
) -> None:
    hashes = set()
    for number, zone in enumerate(("Asia/Tokyo", "UTC", "America/New_York")):
        done = subprocess.run(
            [sys.executable, "-c", ZONED, events, tmp_path / f"{number}"],
            env={**os.environ, "TZ": zone}, cwd=repository, capture_output=True, text=True,
            check=True, timeout=100,
        )  # fmt: skip
        hashes.add(done.stdout.split()[-1])

    assert 1 == len(hashes)
    rows = Store(tmp_path / "0").version().read()
    assert [date(2026, 3, 7), date(2026, 3, 8)] == sorted(set(rows["day"].to_pylist()))
    hours_there = {(row["day"], row["hour"]) for row in rows.select(["day", "hour"]).to_pylist()}
    assert (date(2026, 3, 8), 2) not in hours_there  # the hour that is left out
    assert datetime(2026, 3, 8, 2, 30) == min(rows["local"].to_pylist())


@pytest.mark.needs_spark
def test_r6_the_zone_and_options_of_a_spark_session_stay_and_change_nothing(
    events: Path, tmp_path: Path, spark: Any
) -> None:
    expected = write(cut_off(events), tmp_path / "expected", {}).manifest.output_hash
    for zone in ("Asia/Tokyo", "UTC", "America/New_York"):
        mine = spark.newSession()
        mine.conf.set("spark.sql.session.timeZone", zone)
        before = dict(mine.conf.getAll)

        found = write(cut_off(events), tmp_path / "out", {"engine": "spark", "spark": mine})

        assert expected == found.manifest.output_hash
        assert before == dict(mine.conf.getAll)
        assert zone == mine.sql("SELECT current_timezone() AS zone").collect()[0].zone


# ---------------------------------------------------------------- R7, R8: what engines disagree on

# Casts and rounding that engines do differently have one meaning here, or are not possible.
NUMBERS = {"x": [3.5, -2.5, 2.5, 0.49999999999999994, -0.0], "n": [1, 2, 3, 4, 5]}


def numbers(folder: Path, **columns: Any) -> Any:
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "rows.parquet")

    class Number(Table, source=str(folder / "rows.parquet")):
        x: Column[float]
        n: Column[int]

    return Number


def test_r7_casts_mean_one_thing(tmp_path: Path, engine: Options) -> None:
    table = numbers(tmp_path / "rows", **NUMBERS)
    dataset = simple(
        table, n=lambda e: e.n, whole=lambda e: e.x.to(int), back=lambda e: e.n.to(float)
    )

    with session(dataset, **engine) as s:
        rows = sorted(s.to_arrow().to_pylist(), key=lambda row: row["n"])

    assert [3, -2, 2, 0, 0] == [row["whole"] for row in rows]
    assert [1.0, 2.0, 3.0, 4.0, 5.0] == [row["back"] for row in rows]


def test_r7_a_cast_beyond_the_range_is_an_error(tmp_path: Path, engine: Options) -> None:
    table = numbers(tmp_path / "rows", x=[1e300, 1.0], n=[1, 2])

    with (
        session(simple(table, whole=lambda e: e.x.to(int)), **engine) as s,
        pytest.raises(DataError),
    ):
        s.write(tmp_path / "out")

    assert [] == Store(tmp_path / "out").versions()


def test_r7_rounding_is_not_offered(tmp_path: Path) -> None:
    table = numbers(tmp_path / "rows", **NUMBERS)

    assert not hasattr(table.x, "round")


FAILING: dict[str, Callable[[Any], Any]] = {
    "overflow": lambda e: e.n + e.n,
    "divide": lambda e: e.x / (e.n - e.n),
    "floor": lambda e: e.n // (e.n - e.n),
    "rest": lambda e: e.n % (e.n - e.n),
}


@pytest.mark.parametrize("make", FAILING.values(), ids=FAILING)
def test_r8_overflow_and_division_by_zero_are_errors(
    tmp_path: Path, engine: Options, make: Callable[[Any], Any]
) -> None:
    table = numbers(tmp_path / "rows", x=[1.0, 2.0], n=[2**62, 2**62])

    with session(simple(table, value=make), **engine) as s, pytest.raises(DataError):
        s.write(tmp_path / "out")

    assert [] == Store(tmp_path / "out").versions()


def test_r8_a_sum_that_overflows_is_an_error(tmp_path: Path, engine: Options) -> None:
    at = pa.array([datetime(2026, 1, 1, hour) for hour in range(3)], pa.timestamp("us"))
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"key": [1, 1, 1], "n": [2**62, 2**62, 0], "at": at}), path)

    class Number(Table, source=str(path), time="at"):
        key: Column[int]
        n: Column[int]
        at: Column[datetime]

    event, before = Number.all(), Number.all().last(days(1), on="key")
    dataset = dataset_of(event=event, before=before, rows=event, features={"sum": before.n.sum()})

    with session(dataset, **engine) as s, pytest.raises(DataError):
        s.write(tmp_path / "out")

    assert [] == Store(tmp_path / "out").versions()


# ---------------------------------------------------------------- R9, R10: refused at the start


@pytest.mark.parametrize("content", ["missing", "no file", "_SUCCESS", "no rows"])
def test_r9_an_empty_partition_is_named_before_anything_is_written(
    shop: Path, engine: Options, content: str
) -> None:
    path = shop / "imp/dt=2026-01-02/part.parquet"
    path.unlink()
    if content == "missing":
        path.parent.rmdir()
    elif content == "_SUCCESS":
        path.with_name("_SUCCESS").touch()
    elif content == "no rows":
        write_table(path, impressions(date(2026, 1, 2), 0))

    with (
        pytest.raises(CheckFailed, match="dt=2026-01-02"),
        session(shop_dataset(shop), **engine, **PERIOD),
    ):
        pytest.fail("the block does not run")


STARTING = """
import json, os, shutil, signal, sys, threading
from pathlib import Path
from tadka.dataset import CheckFailed, Store, session
from tadka.stream import Batches, Run, Train, read
from tests.unit.dataset.shop import PERIOD, make_shop, shop_dataset

folder = Path(sys.argv[1])
shop, scratch, out = make_shop(folder / "shop"), folder / "scratch", folder / "out"
scratch.mkdir()
told, results = {}, []
aside = shutil.move(shop / "imp/dt=2026-01-02", folder / "aside")
try:
    with session(
        shop_dataset(shop), engine="spark", scratch=scratch, on_result=results.append, **PERIOD
    ) as s:
        told["ran"] = True
except CheckFailed as error:
    told["failed"] = str(error)
told["scratch"] = [str(path) for path in scratch.iterdir()]
told["out"] = out.exists()

from pyspark import SparkContext
told["is_stopped"] = SparkContext._active_spark_context is None
shutil.move(aside, shop / "imp/dt=2026-01-02")

def interrupt():
    while not list(out.glob("versions/.*/data")):
        pass
    os.kill(os.getpid(), signal.SIGINT)

try:
    with session(shop_dataset(shop), engine="spark", scratch=scratch, **PERIOD) as s:
        threading.Thread(target=interrupt, daemon=True).start()
        s.write(out)
        told["wrote"] = True
except KeyboardInterrupt:
    told["interrupted"] = True
told["scratch_after"] = [str(path) for path in scratch.iterdir()]
told["left"] = [str(path) for path in out.rglob("*") if path.is_file()]
told["is_stopped_again"] = SparkContext._active_spark_context is None
print("told " + json.dumps(told))
"""


@pytest.mark.needs_spark
def test_r10_checks_that_fail_and_ctrl_c_end_spark_and_leave_nothing(
    tmp_path: Path, repository: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARTING, tmp_path],
        cwd=repository, capture_output=True, text=True, check=False, timeout=280,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("told "))
    told = json.loads(line.removeprefix("told "))
    assert "dt=2026-01-02" in told.pop("failed")
    assert {
        "scratch": [],
        "out": False,
        "is_stopped": True,
        "interrupted": True,
        "scratch_after": [],
        "left": [],
        "is_stopped_again": True,
    } == told


# ---------------------------------------------------------------- R11: round trip


def test_r11_a_definition_from_yaml_writes_the_same_version(
    events: Path, tmp_path: Path, engine: Options
) -> None:
    dataset = every_kind(events)
    text, path = to_yaml(dataset.definition), tmp_path / "made.yaml"
    path.write_text(text)
    again = from_yaml(path)

    assert text == to_yaml(again.definition)
    first, second = (write(each, tmp_path / "out", engine) for each in (dataset, again))
    assert first.id == second.id
    path.write_text(f"{text}\ncolour: red\n")
    with pytest.raises(ConfigError, match="colour"):
        from_yaml(path)


# ---------------------------------------------------------------- R12, R17, R18: leakage


def test_r12_windows_that_touch_share_no_row(tmp_path: Path, engine: Options) -> None:
    moment = datetime(2026, 1, 2, 12)
    at = [
        moment + each
        for each in (-days(1), -seconds(1), seconds(0), hours(1) - seconds(1), hours(1))
    ]
    for name, times in (("shown", [moment]), ("click", at)):
        rows = {"user": [1] * len(times), "at": pa.array(times, pa.timestamp("us"))}
        pq.write_table(pa.table(rows), tmp_path / f"{name}.parquet")

    class Shown(Table, source=str(tmp_path / "shown.parquet"), time="at"):
        user: Column[int]
        at: Column[datetime]

    class Click(Table, source=str(tmp_path / "click.parquet"), time="at"):
        user: Column[int]
        at: Column[datetime]

    def made(until: dt.timedelta) -> type[Dataset]:
        shown = Shown.all().between(datetime(2026, 1, 2), datetime(2026, 1, 3), by="at")
        before = Click.all().within(-days(1), until, on="user")
        after = Click.all().next(hours(1), on="user")
        return dataset_of(
            shown=shown, before=before, after=after, rows=shown,
            features={"before": before.count()},
            label=Label(after.count(), matured_by=datetime(2026, 1, 3, 1)),
        )  # fmt: skip

    with session(made(seconds(0)), **engine) as s:
        assert [{"before": 2, "label": 2}] == s.to_arrow().to_pylist()
    with pytest.raises(ConfigError, match="'before'"):
        made(seconds(1))


def test_r12_labels_that_are_not_ripe_are_refused_before_the_engine_starts(
    shop: Path, engine: Options
) -> None:
    ripe = datetime(2026, 1, 5, tzinfo=dt.UTC)  # the last row's label, a day later
    with session(shop_dataset(shop), **engine, **{**PERIOD, "extracted_at": ripe}) as s:
        assert 300 == s.to_arrow().num_rows
    unripe = {**PERIOD, "extracted_at": ripe - seconds(1)}
    with (
        pytest.raises(ConfigError, match=r"'label'.* 0:00:01 after parameters\.extracted_at"),
        session(shop_dataset(shop), **engine, **unripe),
    ):
        pytest.fail("the block does not run")


def test_r17_a_table_as_of_the_end_is_refused(shop: Path) -> None:
    tables: Any = shop_dataset(shop).definition.tables
    end = Parameter(date)
    imp = tables["Imp"].between(date(2026, 1, 1), end)
    user = tables["User"].as_of(on="user", at=end)

    with pytest.raises(ConfigError, match=r"'User'.*'since'|'since'.*'User'"):
        dataset_of(end=end, imp=imp, user=user, rows=imp, features={"age": user.age})


def test_r18_a_zoned_column_and_a_naive_time_are_refused(events: Path) -> None:
    table = table_of(events)

    with pytest.raises(ConfigError, match="Give it a zone"):
        _ = table.at < datetime(2026, 1, 1)
    with pytest.raises(ConfigError, match="zone"):
        _ = table.at < table.local


# ---------------------------------------------------------------- R13: sizes

TARGET = 512 << 10


def test_r13_files_have_their_size_whatever_the_widths(tmp_path: Path, engine: Options) -> None:
    random, count = np.random.default_rng(0), 100_000
    widths = np.linspace(2, 200, count).astype(int)
    pool = random.integers(35, 92, int(widths.sum())).astype(np.uint8).tobytes().decode()
    ends = np.cumsum(widths)
    texts = [pool[end - width : end] for end, width in zip(ends, widths, strict=True)]
    pq.write_table(pa.table({"n": range(count), "text": texts}), tmp_path / "rows.parquet")

    class Wide(Table, source=str(tmp_path / "rows.parquet")):
        n: Column[int]
        text: Column[str]

    wide = Wide.all()
    dataset = dataset_of(
        wide=wide, features={"n": wide.n, "text": wide.text}, output=Output(TARGET)
    )
    version = write(dataset, tmp_path / "out", engine)

    sizes = [file.num_bytes for file in version.manifest.files]
    assert len(sizes) > 10
    assert all(0.9 * TARGET <= size <= 1.1 * TARGET for size in sizes[:-1])
    assert all(file.num_rows for file in version.manifest.files)
    assert count == version.num_rows


def test_r13_no_rows_give_one_file_with_the_schema(
    events: Path, tmp_path: Path, engine: Options
) -> None:
    table = table_of(events)
    event = table.where(table.n > 2**60)
    dataset = dataset_of(
        event=event,
        features={"key": event.key, "at": event.at},
        checks=[RowCount(min=0)],
        output=Output(partition_by=["key"]),
    )
    version = write(dataset, tmp_path / "out", engine)

    assert 0 == version.num_rows == version.read().num_rows
    assert 1 == len(version.files())
    assert ["key", "at"] == version.read().column_names
    assert version.verify().is_same


# ---------------------------------------------------------------- hand-over


def all_rows(batches: Batches, run: Run) -> list[dict[str, Any]]:
    del run
    return [row for batch in batches for row in batch.to_pylist()]


def test_a_version_is_streamed_whole(shop: Path, tmp_path: Path) -> None:
    output = Output(target_file_bytes="64KiB")
    with session(shop_dataset(shop, output=output), **PERIOD) as s:
        version = s.write(tmp_path / "out")

    flow = read(version, batch_rows=50, batch_format="arrow") | Train(all_rows)
    streamed: list[dict[str, Any]] = flow.run(directory=tmp_path / "run").result

    assert version.num_rows == len(streamed)
    assert version.read().to_pylist() == streamed
