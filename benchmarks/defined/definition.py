"""The training set of the benchmark `dataset`, as a definition and as SQL by hand."""

import datetime as dt
from datetime import date
from pathlib import Path

import numpy as np

from tadka.dataset import (
    Column,
    Dataset,
    InRange,
    Label,
    NoEntityOverlap,
    NullShare,
    Output,
    Parameter,
    Partition,
    RowCount,
    Table,
    Utc,
    by_hash,
    days,
    hours,
    merge,
)

TARGET_BYTES = 8 << 20
PERIOD = {
    "start": date(2026, 1, 1),
    "end": date(2026, 1, 31),
    "read_at": dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
}


class Impression(Table, source="impression/dt={dt}/*.parquet", time="at"):
    """What was shown."""

    dt: Partition[date]
    user: Column[int]
    ad: Column[int]
    price: Column[float | None]
    payload: Column[str]
    at: Column[Utc]


class Click(Table, source="click/dt={dt}/*.parquet", time="at"):
    """What was clicked."""

    dt: Partition[date]
    user: Column[int]
    ad: Column[int]
    cost: Column[int]
    at: Column[Utc]


class Person(Table, source="person/*.parquet", time="since"):
    """What was known of people, and since when."""

    user: Column[int]
    age: Column[np.int16]
    since: Column[Utc]


class Ad(Table, source="ad/*.parquet"):
    """What ads are."""

    id: Column[int]
    kind: Column[str]


class Clicked(Dataset):
    """Clicks within a day, from what was known at the impression."""

    start = Parameter(date)
    end = Parameter(date)
    read_at = Parameter(Utc)

    imp = Impression.between(start, end).where(Impression.price > 2)
    person = Person.as_of(on="user")
    ad = Ad.join(on={"id": imp.ad})
    recent = Click.between(start - days(8), end).last(days(7), on="user")
    clicked = Click.between(start, end + days(2)).next(hours(24), on="user")

    rows = imp
    features = {
        "user": imp.user,
        "price": imp.price,
        "payload": imp.payload,
        "hour": imp.at.in_zone("Asia/Tokyo").hour(),
        "age": person.age,
        "kind": ad.kind,
        "clicks_7d": recent.count(),
        "cost_7d": recent.cost.sum(),
    }
    label = Label(clicked.count() > 0, matured_by=read_at)
    split = by_hash(imp.user, train=0.8, valid=0.2, salt="v1")
    checks = [
        RowCount(min=1000),
        NullShare("age", max=0.5),
        InRange("hour", min=0, max=23),
        NoEntityOverlap("user"),
    ]
    output = Output(target_file_bytes=TARGET_BYTES)


def here(folder: Path) -> type[Dataset]:
    """The definition with its tables in a folder."""
    places = {"Impression": "impression/dt={dt}", "Click": "click/dt={dt}"}
    sources = {
        name: {"source": f"{folder}/{places.get(name, name.lower())}/*.parquet"}
        for name in ("Impression", "Click", "Person", "Ad")
    }
    return merge(Clicked, {"tables": sources})


# What somebody who knows both engines writes for the same rows: clicks are few, so that joining
# each impression with those of its user is cheap. {hour}, {age}, {text} and {as_of} are what the
# engines write differently; the split is by the first 32 bits of MD5 of salt and user.
BY_HAND = """
WITH imp AS (
  SELECT row_number() OVER (ORDER BY NULL) AS id, user, ad, price, payload, impression.at AS t
  FROM impression WHERE dt >= DATE '2026-01-01' AND dt < DATE '2026-01-31' AND price > 2
),
recent AS (
  SELECT i.id, count(*) AS clicks_7d, sum(c.cost) AS cost_7d
  FROM imp i JOIN click c ON c.user = i.user
    AND c.at >= i.t - INTERVAL 7 DAY AND c.at < i.t
  WHERE c.dt >= DATE '2025-12-24' AND c.dt < DATE '2026-01-31'
  GROUP BY i.id
),
clicked AS (
  SELECT DISTINCT i.id
  FROM imp i JOIN click c ON c.user = i.user AND c.at >= i.t AND c.at < i.t + INTERVAL 24 HOUR
  WHERE c.dt >= DATE '2026-01-01' AND c.dt < DATE '2026-02-02'
)
SELECT i.user, i.price, i.payload, {hour} AS hour, {age} AS age, a.kind,
  coalesce(r.clicks_7d, 0) AS clicks_7d, CAST(r.cost_7d AS BIGINT) AS cost_7d,
  k.id IS NOT NULL AS label,
  CASE WHEN substr(md5('v1:' || CAST(i.user AS {text})), 1, 8) < 'cccccccd'
    THEN 'train' ELSE 'valid' END AS split
FROM imp i
{as_of}
LEFT JOIN ad a ON a.id = i.ad
LEFT JOIN recent r ON r.id = i.id
LEFT JOIN clicked k ON k.id = i.id
"""
DUCKDB = {
    "hour": "CAST(hour(timezone('Asia/Tokyo', i.t)) AS BIGINT)",
    "age": "p.age",
    "text": "VARCHAR",
    "as_of": "ASOF LEFT JOIN person p ON p.user = i.user AND p.since <= i.t",
}
SPARK = {
    "hour": "CAST(hour(from_utc_timestamp(i.t, 'Asia/Tokyo')) AS BIGINT)",
    "age": "p.age",
    "text": "STRING",
    "as_of": """LEFT JOIN (
  SELECT i.id, max_by(p.age, p.since) AS age
  FROM imp i JOIN person p ON p.user = i.user AND p.since <= i.t GROUP BY i.id
) p ON p.id = i.id""",
}


def by_hand(engine: str) -> str:
    """The query by hand, for one engine."""
    return BY_HAND.format(**(DUCKDB if engine == "duckdb" else SPARK))
