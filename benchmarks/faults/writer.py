"""What the benchmark dataset_faults kills: a process that writes one version."""

import datetime as dt
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tadka.dataset import (
    Column,
    Dataset,
    InRange,
    Label,
    NoEntityOverlap,
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
    session,
)

FIRST, NUM_DAYS, ROWS_PER_DAY = date(2026, 1, 1), 6, 4_000
PERIOD: dict[str, Any] = {
    "start": FIRST,
    "end": FIRST + dt.timedelta(NUM_DAYS - 1),
    "read_at": dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
}


class Event(Table, source="event/dt={dt}/*.parquet", time="at"):
    """What people did."""

    dt: Partition[date]
    user: Column[int]
    spent: Column[int]
    text: Column[str]
    at: Column[Utc]


class Spent(Dataset):
    """Whether people do something within the next hour."""

    start = Parameter(date)
    end = Parameter(date)
    read_at = Parameter(Utc)
    least = Parameter(int)

    event = Event.between(start, end).where(Event.spent >= least)
    before = Event.between(start - days(1), end).last(hours(6), on="user")
    after = Event.between(start, end + days(1)).next(hours(1), on="user")

    rows = event
    features = {
        "user": event.user,
        "text": event.text,
        "num_before": before.count(),
        "spent_before": before.spent.sum(),
    }
    label = Label(after.count() > 0, matured_by=read_at)
    split = by_hash(event.user, train=0.8, valid=0.2, salt="v1")
    checks = [RowCount(min=1_000), InRange("num_before", min=0), NoEntityOverlap("user")]
    output = Output(target_file_bytes="64KiB", partition_by=["split"])


def make_tables(folder: Path) -> None:
    """Write the events, one file a day and one day more on either side."""
    random = np.random.default_rng(0)
    for number in range(-1, NUM_DAYS):
        day = FIRST + dt.timedelta(number)
        midnight = np.datetime64(day, "us")
        seconds = np.sort(random.integers(0, 86_400, ROWS_PER_DAY)).astype("timedelta64[s]")
        table = pa.table(
            {
                "user": random.integers(0, 2_000, ROWS_PER_DAY),
                "spent": random.integers(0, 1_000, ROWS_PER_DAY),
                "text": [f"{value:x}" for value in random.integers(0, 1 << 62, ROWS_PER_DAY)],
                "at": pa.array(midnight + seconds).cast(pa.timestamp("us", "UTC")),
            }
        )
        place = folder / "event" / f"dt={day}"
        place.mkdir(parents=True)
        pq.write_table(table, place / "part-0.parquet", compression="zstd")


def write(tables: Path, store: Path, scratch: Path, least: int, told: Connection | None) -> str:
    """Write a version.

    Args:
        tables: Folder of the events.
        store: Where the version goes.
        scratch: An existing folder for what is not kept.
        least: What must have been spent: another number gives another version.
        told: Hears "begun" just before the writing, and the id after it.

    Returns:
        The id of the version.
    """
    places = {"tables": {"Event": {"source": f"{tables}/event/dt={{dt}}/*.parquet"}}}
    dataset = merge(Spent, places)
    with session(dataset, scratch=scratch, progress="none", **PERIOD, least=least) as s:
        if told is not None:
            told.send("begun")
        version = s.write(store, tag=f"least-{least}")
        if told is not None:
            told.send(version.id)
    return version.id
