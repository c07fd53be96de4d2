"""Queries of definitions on real engines, against lookups by plain loops in Python."""

import datetime as dt
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.dataset.define.bound import Bound
from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.label import Label
from tadka.dataset.define.schema import Named, Partition
from tadka.dataset.define.split import by_hash, by_time
from tadka.dataset.define.table import Table
from tadka.dataset.engine.choice import make_engine
from tadka.dataset.engine.engine import Engine, TableInputs
from tadka.dataset.expression.expression import (
    Column,
    Literal,
    Parameter,
    Sql,
    days,
    hours,
    minutes,
)
from tadka.dataset.expression.kind import UTC, Utc
from tadka.dataset.source.footer import footers
from tadka.dataset.sql.choice import dialect_of
from tadka.dataset.sql.query import condition, matches, select, source, ties

START = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
RIPE = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
NUM_ROWS, NUM_CLICKS, NUM_USERS = 60, 150, 40
Rows = list[dict[str, Any]]

pytestmark = pytest.mark.timeout(600)  # Spark takes long to start where others work, too


@pytest.fixture(
    scope="module", params=["duckdb", pytest.param("spark", marks=pytest.mark.needs_spark)]
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    parent = request.getfixturevalue("spark") if request.param == "spark" else None
    made = make_engine(request.param, spark=parent, scratch=tmp_path_factory.mktemp("scratch"))
    made.start()
    yield made
    made.stop()


class Shop:
    """Tables of impressions, clicks, users and ads: their rows, files and classes.

    Times lie on few points, so that windows often begin and end exactly at one.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder = folder
        chance = random.Random(seed)

        def time() -> dt.datetime:
            return START + dt.timedelta(minutes=30 * chance.randrange(96))

        def maybe(value: Any) -> Any:
            return None if chance.random() < 0.15 else value

        self.imps: Rows = [
            {
                "id": number,
                "user": maybe(chance.randrange(4)),
                "ad": maybe(chance.randrange(3)),
                "price": maybe(chance.choice([0.0, -0.0, 1.5, 7.0])),
                "at": time(),
            }
            for number in range(NUM_ROWS)
        ]
        self.clicks: Rows = [
            {
                "user": maybe(chance.randrange(5)),
                "ad": maybe(chance.randrange(3)),
                "price": maybe(chance.choice([-0.0, 1.5, 2.25, -4.0])),
                "items": maybe(chance.randrange(-3, 4)),
                "place": maybe(chance.choice(["home", "search", "日本", ""])),
                "at": time(),
            }
            for _ in range(NUM_CLICKS)
        ]
        moments = {(chance.randrange(4), time()) for _ in range(NUM_USERS)}
        self.users: Rows = [
            {"user": user, "age": maybe(chance.randrange(90)), "since": since}
            for user, since in sorted(moments)
        ]
        self.users += [{"user": None, "age": 7, "since": START}] * 2  # null finds nothing
        self.ads: Rows = [{"id": 0, "brand": "a"}, {"id": 2, "brand": None}]

        class Impression(Table, source=f"{folder}/imp/dt={{dt}}/*.parquet", time="at"):
            dt: Partition[dt.date]
            id: Column[int]
            user: Column[int | None]
            ad: Column[int | None]
            price: Column[float | None]
            at: Column[Utc]

        class Click(Table, source=f"{folder}/click/{{day:%Y%m%d}}/*.parquet", time="at"):
            day: Partition[dt.date]
            user: Column[int | None]
            ad: Column[np.int32 | None]
            price: Column[float | None]
            items_: Column[int | None] = Named("items")
            place: Column[str | None]
            at: Column[Utc]

        class User(Table, source=f"{folder}/user/*.parquet", time="since"):
            user: Column[int | None]
            age: Column[np.int16 | None]
            since: Column[Utc]

        class Ad(Table, source=f"{folder}/ad/*.parquet"):
            id: Column[int]
            brand: Column[str | None]

        self.Impression, self.Click, self.User, self.Ad = Impression, Click, User, Ad

    def write(self) -> "Shop":
        for number in range(3):
            day = START.date() + dt.timedelta(days=number)
            put(self.Impression, f"{self.folder}/imp/dt={day}", of_day(self.imps, day))
            put(self.Click, f"{self.folder}/click/{day:%Y%m%d}", of_day(self.clicks, day))
        put(self.User, f"{self.folder}/user", self.users)
        put(self.Ad, f"{self.folder}/ad", self.ads)
        return self


def of_day(rows: Rows, day: dt.date) -> Rows:
    return [row for row in rows if row["at"].date() == day]


def put(table: type[Table], folder: str, rows: Rows, name: str = "p") -> None:
    """Writes rows as a Parquet file, without a column of its partitions."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    fields = [(c.name, c.kind.arrow) for c in table.columns.values() if not c.is_partition]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), f"{folder}/{name}.parquet")


def register(engine: Engine, bound: Bound) -> None:
    for name, table in bound.definition.tables.items():
        files = list(table.source.resolve(table.columns).files)
        engine.register(name, TableInputs(table, files, footers(files)))


def run(engine: Engine, dataset: type[Dataset], **parameters: Any) -> Rows:
    """What the query of a dataset gives, in order of its first column."""
    bound = dataset.definition.bind(**parameters)
    register(engine, bound)
    table = engine.query(select(bound, dialect_of(engine.name)))
    assert [c.name for c in bound.definition.columns] == table.column_names
    expected = [c.kind.arrow for c in bound.definition.columns]
    assert expected == [plain(field.type) for field in table.schema]
    rows: Rows = table.to_pylist()
    return sorted(rows, key=lambda row: str(list(row.values())))


def plain(type_: pa.DataType) -> pa.DataType:
    """The type with the one name of UTC that we use."""
    is_utc = pa.types.is_timestamp(type_) and type_.tz in ("Etc/UTC", "UTC")
    return pa.timestamp("us", tz="UTC") if is_utc else type_


def events(shop: Shop, row: dict[str, Any], start: dt.timedelta, end: dt.timedelta) -> Rows:
    """Clicks of the row's user in a window."""
    return [
        click
        for click in shop.clicks
        if click["user"] is not None
        and click["user"] == row["user"]
        and row["at"] + start <= click["at"] < row["at"] + end
    ]


def values(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows if row[name] is not None]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop")).write()


def ordered(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: str(list(row.values())))


def test_windows_aggregate_the_events_between_their_ends(engine: Engine, shop: Shop) -> None:
    class Windows(Dataset):
        imp = shop.Impression.between(START.date(), START.date() + days(3))
        recent = shop.Click.last(hours(5), on="user")
        after = shop.Click.next(hours(2), gap=minutes(30), on="user")
        features = {
            "id": imp.id,
            "n": recent.count(),
            "prices": recent.price.count(),
            "places": recent.place.count_distinct(),
            "sum": recent.items_.sum(),
            "mean": recent.price.mean(),
            "least": recent.price.min(),
            "last_place": recent.place.max(),
            "newest": recent.at.max(),
            "doubled": (recent.items_ * 2).max(),
            "zeros": recent.price.count_distinct(),
        }
        label = Label(after.count() > 0, matured_by=RIPE)

    expected = []
    for row in shop.imps:
        found = events(shop, row, hours(-5), hours(0))
        prices, items = values(found, "price"), values(found, "items")
        places = values(found, "place")
        expected.append(
            {
                "id": row["id"],
                "n": len(found),
                "prices": len(prices),
                "places": len(set(places)),
                "sum": sum(items) if items else None,
                "mean": math.fsum(prices) / len(prices) if prices else None,
                "least": min(prices) + 0.0 if prices else None,
                "last_place": max(places, key=str.encode) if places else None,
                "newest": max(values(found, "at"), default=None),
                "doubled": 2 * max(items) if items else None,
                "zeros": len(set(prices)),
                "label": len(events(shop, row, minutes(30), hours(2.5))) > 0,
            }
        )
    rows = run(engine, Windows)
    assert ordered(expected) == rows
    assert not [row for row in rows if str(row["least"]) == "-0.0"]


def test_windows_of_several_keys_spans_and_conditions_stand_beside_each_other(
    engine: Engine, shop: Shop
) -> None:
    class Several(Dataset):
        imp = shop.Impression.all()
        short = shop.Click.last(minutes(30), on="user")
        long = shop.Click.last(days(2), on="user")
        home = shop.Click.where(shop.Click.place == "home").last(days(2), on="user")
        pair = shop.Click.last(days(2), on=["user", "ad"])
        shifted = shop.Click.last(days(2), on={"user": imp.user + 1})
        other = shop.Click.within(hours(-3), hours(-1), on="ad")
        features = {
            "id": imp.id,
            "short": short.count(),
            "long": long.count(),
            "home": home.count(),
            "pair": pair.count(),
            "shifted": shifted.count(),
            "other": other.count(),
        }

    expected = []
    for row in shop.imps:
        before = events(shop, row, days(-2), days(0))
        next_user = None if row["user"] is None else row["user"] + 1
        other = [
            click
            for click in shop.clicks
            if click["ad"] is not None
            and click["ad"] == row["ad"]
            and row["at"] - hours(3) <= click["at"] < row["at"] - hours(1)
        ]
        expected.append(
            {
                "id": row["id"],
                "short": len(events(shop, row, minutes(-30), days(0))),
                "long": len(before),
                "home": sum(click["place"] == "home" for click in before),
                "pair": sum(None is not click["ad"] == row["ad"] for click in before),
                "shifted": len(events(shop, {**row, "user": next_user}, days(-2), days(0))),
                "other": len(other),
            }
        )
    assert ordered(expected) == run(engine, Several)


def test_as_of_takes_the_newest_row_not_later_and_null_without_one(
    engine: Engine, shop: Shop
) -> None:
    class AsOf(Dataset):
        imp = shop.Impression.all()
        user = shop.User.as_of(on="user")
        adult = shop.User.where(shop.User.age >= 18).as_of(on="user")
        features = {"id": imp.id, "at": imp.at, "age": user.age, "since": user.since}
        label = Label(adult.age)

    def newest(row: dict[str, Any], *, least: int | None = None) -> dict[str, Any]:
        found = [
            user
            for user in shop.users
            if user["user"] is not None
            and user["user"] == row["user"]
            and user["since"] <= row["at"]
            and (least is None or (user["age"] is not None and user["age"] >= least))
        ]
        return max(found, key=lambda user: user["since"], default={"age": None, "since": None})

    expected = [
        {
            "id": row["id"],
            "at": row["at"],
            "age": newest(row)["age"],
            "since": newest(row)["since"],
            "label": newest(row, least=18)["age"],
        }
        for row in shop.imps
    ]
    assert ordered(expected) == run(engine, AsOf)


def test_as_of_a_fixed_time_is_the_same_row_for_all_rows(engine: Engine, shop: Shop) -> None:
    class Fixed(Dataset):
        start = Parameter(dt.date)
        imp = shop.Impression.between(start, start + days(3))
        user = shop.User.as_of(on="user", at=start)
        features = {"id": imp.id, "age": user.age}

    at = START + days(1)
    newest = {
        user["user"]: user["age"]
        for user in sorted(shop.users, key=lambda user: user["since"])
        if user["since"] <= at and user["user"] is not None
    }
    expected = [
        {"id": row["id"], "age": newest.get(row["user"])} for row in shop.imps if row["at"] >= at
    ]
    assert ordered(expected) == run(engine, Fixed, start=at.date())


def test_a_left_join_keeps_rows_and_an_inner_join_leaves_out_those_without_match(
    engine: Engine, shop: Shop
) -> None:
    class Left(Dataset):
        imp = shop.Impression.all()
        ad = shop.Ad.join(on={"id": imp.ad})
        features = {"id": imp.id, "brand": ad.brand}

    class Inner(Dataset):
        imp = shop.Impression.all()
        ad = shop.Ad.join(on={"id": imp.ad}, how="inner")
        features = {"id": imp.id}  # the join counts although nothing of it is used

    brands = {0: "a", 2: None}
    left = [{"id": row["id"], "brand": brands.get(row["ad"])} for row in shop.imps]
    assert ordered(left) == run(engine, Left)
    inner = [{"id": row["id"]} for row in shop.imps if row["ad"] in brands]
    assert ordered(inner) == run(engine, Inner)


def test_a_join_may_multiply_rows_when_asked_to(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.ads = [{"id": 0, "brand": "a"}, {"id": 0, "brand": "b"}, {"id": 1, "brand": "c"}]
    shop.write()

    class Many(Dataset):
        imp = shop.Impression.all()
        ad = shop.Ad.join(on={"id": imp.ad}, max_matches=2)
        recent = shop.Click.last(days(1), on="user")
        features = {"id": imp.id, "brand": ad.brand, "n": recent.count()}

    expected = [
        {"id": row["id"], "brand": brand, "n": len(events(shop, row, days(-1), days(0)))}
        for row in shop.imps
        for brand in {0: ["a", "b"], 1: ["c"]}.get(row["ad"], [None])
    ]
    assert ordered(expected) == run(engine, Many)


def test_everything_together_under_conditions_and_parameters(engine: Engine, shop: Shop) -> None:
    class All(Dataset):
        start = Parameter(dt.date)
        end = Parameter(dt.date)
        imp = shop.Impression.between(start, end).where(
            (shop.Impression.price > 0) | shop.Impression.price.is_null()
        )
        ad = shop.Ad.join(on={"id": imp.ad})
        user = shop.User.as_of(on="user")
        recent = shop.Click.last(days(1), on="user")
        clicked = shop.Click.between(start, end + days(2)).next(hours(6), on=["user", "ad"])
        rows = imp
        features = {
            "id": imp.id,
            "day": imp.dt,
            "price": imp.price.coalesce(-1.0),
            "brand": ad.brand.coalesce("none"),
            "age": user.age,
            "share": recent.items_.sum().coalesce(0) + user.age.coalesce(0),
        }
        label = Label(clicked.count() > 0, name="clicked", matured_by=RIPE)
        split = by_hash(imp.id, train=0.7, valid=0.3, salt="v1")

    start = START.date()
    rows = run(engine, All, start=start, end=start + days(1))
    kept = {
        row["id"]
        for row in shop.imps
        if row["at"].date() == start and (row["price"] is None or row["price"] > 0)
    }
    assert kept == {row["id"] for row in rows}
    assert {start} == {row["day"] for row in rows}
    assert {"train", "valid"} == {row["split"] for row in rows}


def test_a_view_and_an_alias_may_differ_in_case_only(engine: Engine, shop: Shop) -> None:
    class Same(Dataset):
        impression = shop.Impression.all()
        user = shop.User.as_of(on="user")
        click = shop.Click.last(days(1), on="user")
        features = {"id": impression.id, "age": user.age, "n": click.count()}

    assert NUM_ROWS == len(run(engine, Same))


@pytest.mark.parametrize(
    "given", [START.date() + days(1), (START + days(1)).astimezone(ZoneInfo("Asia/Tokyo"))]
)
def test_a_split_by_time_ends_where_the_next_part_begins(
    engine: Engine, shop: Shop, given: dt.date
) -> None:
    end = START + days(1)

    class Open(Dataset):
        day = Parameter(type(given) if type(given) is dt.date else Utc)
        imp = shop.Impression.all()
        features = {"id": imp.id}
        split = by_time(imp.at, train=day, test=None)

    expected = [
        {"id": row["id"], "split": "train" if row["at"] < end else "test"} for row in shop.imps
    ]
    assert ordered(expected) == run(engine, Open, day=given)
    # a day is made a time by us, not by the engine in a zone of its own
    dialect = dialect_of(engine.name)
    assert dialect.literal(Literal(end, UTC)) in select(Open.definition.bind(day=given), dialect)


def test_a_row_in_no_part_of_a_split_by_time_is_an_error(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path).write()
    day = START.date()
    # a row of the second day in the folder of the first
    put(shop.Impression, f"{tmp_path}/imp/dt={day}", of_day(shop.imps, day + days(1)), "late")

    class Closed(Dataset):
        imp = shop.Impression.between(day, day + days(1))
        features = {"id": imp.id}
        split = by_time(imp.at, train=START + days(1))

    with pytest.raises(DataError, match=r"in no part of the split: imp\.at"):
        run(engine, Closed)


def test_a_nan_in_a_window_is_an_error_only_where_the_window_has_it(
    engine: Engine, tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    shop.clicks = [
        {"user": 1, "ad": 0, "price": float("nan"), "at": START},
        {"user": 1, "ad": 0, "price": 2.0, "at": START + hours(1)},
    ]
    shop.imps = [{"id": 0, "user": 1, "ad": 0, "price": float("nan"), "at": START + hours(2)}]
    shop.write()

    def made(span: dt.timedelta, nan: str | None) -> type[Dataset]:
        class Some(Dataset):
            imp = shop.Impression.all()
            recent = shop.Click.last(span, on="user")
            features = {
                "id": imp.id,
                "price": imp.price,
                "sum": recent.price.sum(nan=nan),
                "most": recent.price.max(nan=nan),
                "mean": recent.price.mean(nan=nan),
                "n": recent.price.count(),
            }

        return Some

    without = run(engine, made(hours(1), None))[0]
    assert math.isnan(without.pop("price"))
    assert {"id": 0, "sum": 2.0, "most": 2.0, "mean": 2.0, "n": 1} == without
    with pytest.raises(DataError, match=r"recent\.price\.\w+\(\) meets NaN.*nan='drop'"):
        run(engine, made(hours(2), None))
    dropped = run(engine, made(hours(2), "drop"))[0]
    assert math.isnan(dropped.pop("price"))
    assert {"id": 0, "sum": 2.0, "most": 2.0, "mean": 2.0, "n": 2} == dropped


def test_a_sum_that_does_not_fit_is_an_error_and_a_part_that_does_not_is_none(
    engine: Engine, tmp_path: Path
) -> None:
    shop = Shop(tmp_path)
    big = 2**62
    shop.imps = [
        {"id": 0, "user": 1, "at": START + hours(2)},
        {"id": 1, "user": 1, "at": START + hours(3)},
    ]
    shop.clicks = [
        {"user": 1, "items": big, "at": START},
        {"user": 1, "items": big, "at": START + minutes(1)},
        {"user": 1, "items": -big, "at": START + minutes(2)},
    ]
    shop.write()

    def made(condition: Any) -> type[Dataset]:
        class Sum(Dataset):
            imp = shop.Impression.all()
            recent = shop.Click.where(condition).last(days(1), on="user")
            features = {"id": imp.id, "sum": recent.items_.sum()}

        return Sum

    fitting = [{"id": 0, "sum": big}, {"id": 1, "sum": big}]
    assert fitting == run(engine, made(shop.Click.items_.is_not_null()))
    with pytest.raises(DataError):
        run(engine, made(shop.Click.items_ > 0))


def test_empty_tables_give_rows_without_finds_or_no_rows(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.clicks, shop.users, shop.ads = [], [], []
    shop.write()

    class Lonely(Dataset):
        imp = shop.Impression.all()
        ad = shop.Ad.join(on={"id": imp.ad})
        user = shop.User.as_of(on="user")
        recent = shop.Click.last(days(1), on="user")
        features = {
            "id": imp.id,
            "brand": ad.brand,
            "age": user.age,
            "n": recent.count(),
            "sum": recent.price.sum(),
        }

    nothing = {"brand": None, "age": None, "n": 0, "sum": None}
    assert ordered([{"id": row["id"], **nothing} for row in shop.imps]) == run(engine, Lonely)
    shop.imps = []
    shop.write()
    assert [] == run(engine, Lonely)


def test_equal_rows_each_keep_their_own_place(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.imps = [{"id": 7, "user": 1, "ad": 1, "price": 1.0, "at": START + hours(1)}] * 3
    shop.clicks = [{"user": 1, "ad": 1, "price": 1.0, "items": 5, "at": START}] * 2
    shop.write()

    class Twice(Dataset):
        imp = shop.Impression.all()
        recent = shop.Click.last(hours(1), on="user")
        features = {"id": imp.id, "n": recent.count(), "sum": recent.items_.sum()}

    assert [{"id": 7, "n": 2, "sum": 10}] * 3 == run(engine, Twice)


def test_matches_counts_what_each_row_finds(engine: Engine, shop: Shop) -> None:
    class Found(Dataset):
        imp = shop.Impression.all()
        ad = shop.Ad.join(on={"id": imp.ad})
        user = shop.User.as_of(on="user")
        recent = shop.Click.last(days(1), on="user")
        features = {"id": imp.id}

    bound = Found.definition.bind()
    register(engine, bound)
    dialect = dialect_of(engine.name)

    def found(alias: str) -> list[int]:
        table = engine.query(f"SELECT * FROM {matches(bound, dialect, alias)}")
        assert ["matches"] == table.column_names
        return sorted(table["matches"].to_pylist())

    assert found("ad") == sorted(int(row["ad"] in (0, 2)) for row in shop.imps)
    assert found("recent") == sorted(len(events(shop, row, days(-1), days(0))) for row in shop.imps)
    assert found("user") == sorted(
        int(
            any(
                row["user"] == user["user"] is not None and user["since"] <= row["at"]
                for user in shop.users
            )
        )
        for row in shop.imps
    )


def test_ties_name_keys_and_times_that_several_rows_share(engine: Engine, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    later = START + hours(1)
    shop.users = [
        {"user": 1, "age": 1, "since": START},
        {"user": 1, "age": 2, "since": START},
        {"user": 1, "age": 3, "since": later},
        {"user": 2, "age": 4, "since": START},
        {"user": None, "age": 5, "since": START},
        {"user": None, "age": 6, "since": START},
    ]
    shop.write()

    class Tied(Dataset):
        imp = shop.Impression.all()
        user = shop.User.as_of(on="user")
        adult = shop.User.where(shop.User.age > 1).as_of(on="user")
        features = {"id": imp.id, "age": user.age, "adult": adult.age}

    bound = Tied.definition.bind()
    register(engine, bound)
    found = ties(bound, dialect_of(engine.name))
    assert ["user", "adult"] == list(found)
    assert [{"user": 1, "since": START, "num_rows": 2}] == engine.query(found["user"]).to_pylist()
    assert [] == engine.query(found["adult"]).to_pylist()


def test_source_and_condition_give_the_rows_of_an_alias(engine: Engine, shop: Shop) -> None:
    class Part(Dataset):
        imp = shop.Impression.between(START.date(), START.date() + days(1))
        every = shop.Click.last(days(1), on="user")
        features = {"id": imp.id, "n": every.count()}

    bound = Part.definition.bind()
    register(engine, bound)
    dialect = dialect_of(engine.name)
    table = engine.query(f"SELECT * FROM {source(bound, dialect, 'imp')}")
    assert list(shop.Impression.columns) == table.column_names
    assert len(of_day(shop.imps, START.date())) == table.num_rows
    assert condition(bound, dialect, "every") is None
    assert "DATE '2026-01-10'" in str(condition(bound, dialect, "imp"))


def test_raw_sql_reaches_all_rows_by_their_alias(engine: Engine, shop: Shop) -> None:
    class Raw(Dataset):
        imp = shop.Impression.all()
        user = shop.User.as_of(on="user")
        ad = shop.Ad.join(on={"id": imp.ad})
        features = {
            "id": imp.id,
            "age": user.age,
            "same": Sql(int | None, duckdb="user.age", spark="`user`.age"),
            "brand": Sql(str, duckdb="upper(ad.brand)", spark="upper(ad.brand)"),
            "user": Sql(int, duckdb='imp."user"', spark="imp.`user`"),
        }

    rows = run(engine, Raw)
    assert NUM_ROWS == len(rows)
    assert [row["age"] for row in rows] == [row["same"] for row in rows]
    assert {None, "A"} == {row["brand"] for row in rows}


def test_raw_sql_may_stand_in_keys_and_conditions(engine: Engine, shop: Shop) -> None:
    key = Sql[int](int, duckdb="imp.ad + 0", spark="imp.ad + 0")
    dear = Sql[bool](bool, duckdb="imp.price > 1", spark="imp.price > 1")
    early = Sql[bool](bool, duckdb="recent.price > 0", spark="recent.price > 0")
    named = Sql[bool](bool, duckdb="ad.brand = 'a'", spark="ad.brand = 'a'")

    class Raw(Dataset):
        imp = shop.Impression.where(dear)
        ad = shop.Ad.where(named).join(on={"id": key})
        recent = shop.Click.where(early).last(days(1), on={"ad": key})
        user = shop.User.as_of(on={"user": Sql(int, duckdb="imp.user", spark="imp.user")})
        features = {"id": imp.id, "brand": ad.brand, "n": recent.count(), "age": user.age}

    class Plain(Dataset):
        imp = shop.Impression.where(shop.Impression.price > 1)
        ad = shop.Ad.where(shop.Ad.brand == "a").join(on={"id": imp.ad})
        recent = shop.Click.where(shop.Click.price > 0).last(days(1), on="ad")
        user = shop.User.as_of(on="user")
        features = {"id": imp.id, "brand": ad.brand, "n": recent.count(), "age": user.age}

    rows = run(engine, Raw)
    assert ordered(run(engine, Plain)) == ordered(rows)
    assert {None, "a"} == {row["brand"] for row in rows}
    bound, dialect = Raw.definition.bind(), dialect_of(engine.name)
    for alias in ("ad", "recent", "user"):
        found = engine.query(f"SELECT matches FROM {matches(bound, dialect, alias)}")
        assert len(rows) == found.num_rows


@pytest.mark.parametrize("place", ["feature", "condition", "key", "split"])
def test_raw_sql_of_another_engine_is_refused_wherever_it_stands(shop: Shop, place: str) -> None:
    one = Sql[int](int, duckdb="1")
    imp = shop.Impression.where(one == 1) if place == "condition" else shop.Impression.all()
    body: dict[str, Any] = {
        "imp": imp,
        "rows": imp,
        "ad": shop.Ad.join(on={"id": one if place == "key" else imp.ad}),  # nothing uses it
        "features": {"one": one if place == "feature" else imp.id},
        "split": by_hash((one if place == "split" else imp.id).coalesce(0), salt="", train=1.0),
    }
    bound = type("Raw", (Dataset,), body).definition.bind()  # type: ignore[attr-defined]
    assert not bound.definition.is_portable
    select(bound, dialect_of("duckdb"))
    with pytest.raises(ConfigError, match=r"has no text for spark; give spark= to sql\('int64'"):
        select(bound, dialect_of("spark"))


def test_only_columns_that_are_used_are_read(shop: Shop) -> None:
    class Few(Dataset):
        imp = shop.Impression.all()
        recent = shop.Click.last(days(1), on="user")
        features = {"id": imp.id, "n": recent.count()}

    sql = select(Few.definition.bind(), dialect_of("duckdb"))
    assert '"price"' not in sql
    assert '"place"' not in sql
    assert '"ad"' not in sql


def test_lookups_that_nothing_uses_are_not_read(shop: Shop) -> None:
    class Unused(Dataset):
        imp = shop.Impression.all()
        recent = shop.Click.last(days(1), on="user")
        user = shop.User.as_of(on="user")
        ad = shop.Ad.join(on={"id": imp.ad})
        features = {"id": imp.id}

    sql = select(Unused.definition.bind(), dialect_of("duckdb"))
    assert (
        'SELECT\n  "imp"."id" AS "id"\nFROM (SELECT "id", "ad" FROM "Impression") AS "imp"' != sql
    )
    assert "Click" not in sql
    assert "User" not in sql
    assert '"Ad"' not in sql


def test_windows_of_one_table_and_key_are_sorted_once(shop: Shop) -> None:
    class Once(Dataset):
        imp = shop.Impression.all()
        short = shop.Click.last(hours(1), on="user")
        long = shop.Click.last(days(1), on="user")
        features = {
            "id": imp.id,
            "short": short.price.min(),
            "long": long.price.max(),
            "least": long.price.min(),
        }

    for name in ("duckdb", "spark"):
        sql = select(Once.definition.bind(), dialect_of(name))
        assert 1 == sql.count("Click")
        assert 2 == sql.count("PARTITION BY")
