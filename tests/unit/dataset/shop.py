"""A small shop: impressions, clicks, users and ads in files, and a dataset over them."""

import datetime as dt
import types
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tadka.dataset import (
    Column,
    Dataset,
    Fresh,
    InRange,
    Label,
    Matched,
    NoEntityOverlap,
    NoSinglePredictor,
    NullShare,
    Output,
    Parameter,
    Partition,
    RowCount,
    Table,
    Unique,
    Utc,
    by_hash,
    days,
    hours,
)

FIRST, LAST = dt.date(2026, 1, 1), dt.date(2026, 1, 4)
"""Days of impressions: the last one is not inside any more."""

PERIOD: dict[str, Any] = {
    "start": FIRST,
    "end": LAST,
    "extracted_at": dt.datetime(2026, 2, 1, tzinfo=dt.UTC),
}
NUM_USERS, PER_DAY = 20, 100


def at(day: date, second: int = 0) -> dt.datetime:
    midnight = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    return midnight + dt.timedelta(seconds=second)


def all_days() -> list[date]:
    """The days that the dataset reads, a week of clicks before and two days after included."""
    return [FIRST + dt.timedelta(days=number) for number in range(-7, 5)]


def write(path: Path, columns: Mapping[str, Sequence[Any] | pa.Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)


def impressions(day: date, count: int = PER_DAY) -> dict[str, Any]:
    number = (day - FIRST).days
    return {
        "user": pa.array([index % NUM_USERS for index in range(count)], pa.int64()),
        "ad": pa.array([index % 5 for index in range(count)], pa.int64()),
        "price": pa.array(
            [None if index % 10 == 9 else index + number / 2 for index in range(count)],
            pa.float64(),
        ),
        "at": pa.array([at(day, 60 * index) for index in range(count)], pa.timestamp("us", "UTC")),
    }


def clicks(day: date, count: int = 30) -> dict[str, Any]:
    return {
        "user": pa.array([index % 12 for index in range(count)], pa.int64()),
        "at": pa.array(
            [at(day, 900 * index + 7) for index in range(count)], pa.timestamp("us", "UTC")
        ),
    }


def make_shop(folder: Path) -> Path:
    """Writes the files of the shop.

    Args:
        folder: To write into.
    """
    for day in all_days():
        if FIRST <= day < LAST:
            write(folder / f"imp/dt={day}/part.parquet", impressions(day))
        write(folder / f"click/dt={day}/part.parquet", clicks(day))
    users = range(NUM_USERS)
    write(
        folder / "user.parquet",
        {
            "user": pa.array([*users, *users], pa.int64()),
            "age": pa.array([20 + user for user in users] + [40 + user for user in users]),
            "since": pa.array(
                [at(dt.date(2025, 1, 1))] * NUM_USERS + [at(dt.date(2026, 1, 2), 300)] * NUM_USERS,
                pa.timestamp("us", "UTC"),
            ),
        },
    )
    write(
        folder / "ad.parquet",
        {"id": pa.array(range(4), pa.int64()), "name": ["a", "b", "c", "日本"]},
    )
    return folder


def shop_dataset(folder: Path, **attributes: Any) -> type[Dataset]:
    """The dataset over the files of a shop.

    Args:
        folder: Of the files.
        **attributes: Of the class, in place of its own or beside them.
    """

    class Imp(Table, source=str(folder / "imp/dt={dt}/*.parquet"), time="at"):
        dt: Partition[date]
        user: Column[int]
        ad: Column[int]
        price: Column[float | None]
        at: Column[Utc]

    class Click(Table, source=str(folder / "click/dt={dt}/*.parquet"), time="at"):
        dt: Partition[date]
        user: Column[int]
        at: Column[Utc]

    class User(Table, source=str(folder / "user.parquet"), time="since"):
        user: Column[int]
        age: Column[int]
        since: Column[Utc]

    class Ad(Table, source=str(folder / "ad.parquet")):
        id: Column[int]
        name: Column[str]

    first, last, extracted = Parameter(date), Parameter(date), Parameter(Utc)
    imp = Imp.between(first, last)
    user = User.as_of(on="user")
    ad = Ad.join(on={"id": imp.ad})
    recent = Click.between(first - days(7), last).last(days(7), on="user")
    clicked = Click.between(first, last + days(2)).next(hours(24), on="user")
    body: dict[str, Any] = {
        "__module__": __name__,
        "start": first,
        "end": last,
        "extracted_at": extracted,
        "imp": imp,
        "user": user,
        "ad": ad,
        "recent": recent,
        "clicked": clicked,
        "rows": imp,
        "features": {
            "user": imp.user,
            "price": imp.price,
            "age": user.age,
            "name": ad.name,
            "clicks_7d": recent.count(),
        },
        "label": Label(clicked.count() > 0, matured_by=extracted),
        "split": by_hash(imp.user, train=0.8, valid=0.2, salt="v1"),
        "output": Output(target_file_bytes="1MiB"),
        **attributes,
    }
    return types.new_class("Ctr", (Dataset,), exec_body=lambda space: space.update(body))


CHECKS = [
    RowCount(min=100, max_drop=0.5),
    NullShare("price", max=0.2),
    InRange("age", min=0, max=100),
    Unique("user", "at"),
    Matched("ad", 0.5),
    Fresh("Click", dt.timedelta(days=1)),
    NoEntityOverlap("user"),
    NoSinglePredictor(max_auc=1.0),
]
"""Checks that the dataset passes."""


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
