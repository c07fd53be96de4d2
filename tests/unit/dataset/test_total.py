"""Running totals against counting by hand, on rows and events that meet at the same moments."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tadka.core.error import DataError
from tadka.dataset import Column, Dataset, Table, Utc, session

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
UTC = pa.timestamp("us", "UTC")
LEAST, GREATEST = -(2**63), 2**63 - 1

moments = st.one_of(st.none(), st.integers(0, 6))
keys = st.one_of(st.none(), st.integers(1, 2))
sizes = st.one_of(st.none(), st.integers(-3, 3))
rows = st.lists(st.tuples(keys, moments), min_size=1, max_size=8)
events = st.lists(st.tuples(keys, moments, sizes), max_size=12)
spans = st.tuples(st.integers(-4, 3), st.integers(1, 4))


def at(second: int | None) -> dt.datetime | None:
    return None if second is None else EPOCH + second * SECOND


def tables(folder: Path, row: list[Any], event: list[Any]) -> tuple[type[Table], type[Table]]:
    people, times = zip(*row, strict=True)
    pq.write_table(
        pa.table(
            {
                "number": pa.array(range(len(row)), pa.int64()),
                "user": pa.array(people, pa.int64()),
                "at": pa.array(map(at, times), UTC),
            }
        ),
        folder / "row.parquet",
    )
    pq.write_table(
        pa.table(
            {
                "who": pa.array([found[0] for found in event], pa.int16()),
                "at": pa.array([at(found[1]) for found in event], UTC),
                "size": pa.array([found[2] for found in event], pa.int64()),
            }
        ),
        folder / "event.parquet",
    )

    class Row(Table, source=str(folder / "row.parquet"), time="at"):
        number: Column[int]
        user: Column[int | None]
        at: Column[Utc]

    class Event(Table, source=str(folder / "event.parquet"), time="at"):
        who: Column[np.int16 | None]
        at: Column[Utc]
        size: Column[int | None]

    return Row, Event


def found(row_table: type[Table], event_table: type[Table], start: int, end: int) -> list[Any]:
    """Two windows by one key, with what is a running total and what is not."""

    class Counted(Dataset):
        row = row_table.all()
        event = event_table.all()
        near = event.where(event["size"].is_null() | (event["size"] > -3)).within(
            start * SECOND, end * SECOND, on={"who": row["user"]}
        )
        all_later = event.within(0 * SECOND, 100 * SECOND, on={"who": row["user"]})
        rows = row
        features = {
            "number": row["number"],
            "num": near.count(),
            "num_sizes": near["size"].count(),
            "sum": near["size"].sum(),
            "most": near["size"].max(),
            "num_later": all_later.count(),
        }

    with session(Counted, progress="none", on_fail="warn") as opened:
        table = opened.to_arrow().sort_by("number")
    return [tuple(values.values())[1:] for values in table.to_pylist()]


def by_hand(row: list[Any], event: list[Any], start: int, end: int) -> list[Any]:
    told = []
    for user, time in row:

        def seen(is_wanted: Callable[[int], bool], user: Any = user, time: Any = time) -> list[Any]:
            if user is None or time is None:
                return []
            return [
                size
                for who, when, size in event
                if who == user and when is not None and is_wanted(when - time)
            ]

        near = [s for s in seen(lambda d: start <= d < end) if s is None or s > -3]
        known = [size for size in near if size is not None]
        total = sum(known) if known else None
        later = len(seen(lambda d: 0 <= d < 100))
        told.append((len(near), len(known), total, max(known, default=None), later))
    return told


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(row=rows, event=events, span=spans)
def test_totals_are_what_counting_by_hand_gives(
    tmp_path: Path, row: list[Any], event: list[Any], span: tuple[int, int]
) -> None:
    start, end = span[0], span[0] + span[1]
    made = tables(tmp_path, row, event)
    assert by_hand(row, event, start, end) == found(*made, start, end)


def test_sums_are_exact_where_a_part_of_them_would_overflow(tmp_path: Path) -> None:
    row = [(1, 1), (2, 6), (2, 9)]
    event = [(1, 0, GREATEST), (1, 0, GREATEST), (1, 1, -GREATEST), (1, 1, -GREATEST), (1, 1, 7)]
    event += [(2, 0, GREATEST), (2, 0, GREATEST), (2, 5, LEAST)]
    row_table, event_table = tables(tmp_path, row, event)

    class Summed(Dataset):
        row = row_table.all()
        seen = event_table.within(-2 * SECOND, SECOND, on={"who": row["user"]})
        rows = row
        features = {"number": row["number"], "sum": seen["size"].sum()}

    with session(Summed, progress="none", on_fail="warn") as opened:
        assert [7, LEAST, None] == opened.to_arrow().sort_by("number")["sum"].to_pylist()


def test_a_sum_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    row_table, event_table = tables(tmp_path, [(1, 1)], [(1, 1, GREATEST), (1, 1, 1)])

    class Summed(Dataset):
        row = row_table.all()
        seen = event_table.within(-2 * SECOND, SECOND, on={"who": row["user"]})
        rows = row
        features = {"sum": seen["size"].sum()}

    with (
        session(Summed, progress="none", on_fail="warn") as opened,
        pytest.raises(DataError, match="out of range"),
    ):
        opened.to_arrow()
