"""Windows against counting by hand, on rows and events that meet at the same moments."""

import datetime as dt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tadka.core.error import DataError
from tadka.dataset import Column, Dataset, Label, Table, Utc
from tadka.dataset.engine.duckdb import DuckDBEngine
from tadka.dataset.sql.choice import dialect_of
from tadka.dataset.sql.query import select
from tests.unit.dataset.sql.test_query import register

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
UTC = pa.timestamp("us", "UTC")
LEAST, GREATEST = -(2**63), 2**63 - 1

moments = st.one_of(st.none(), st.integers(0, 6))
keys = st.one_of(st.none(), st.integers(1, 2))
sizes = st.one_of(st.none(), st.integers(-3, 3))
rows = st.lists(st.tuples(keys, moments), min_size=1, max_size=8)
events = st.lists(st.tuples(keys, moments, sizes), max_size=12)
spans = st.tuples(st.integers(1, 4), st.integers(0, 3))  # how long, and how far from the row


def at(second: int | None) -> dt.datetime | None:
    return None if second is None else EPOCH + second * SECOND


def tables(folder: Path, row: list[Any], event: list[Any]) -> tuple[Any, Any]:
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


def found(row_table: Any, event_table: Any, span: int, gap: int) -> list[Any]:
    """Windows by one key before and after the row."""

    class Counted(Dataset):
        row = row_table.all()
        near = event_table.where(event_table.size.is_null() | (event_table.size > -3)).last(
            span * SECOND, on={"who": row.user}, gap=gap * SECOND
        )
        all_before = event_table.last(100 * SECOND, on={"who": row.user})
        rows = row
        features = {
            "number": row.number,
            "num": near.count(),
            "num_sizes": near.size.count(),
            "sum": near.size.sum(),
            "most": near.size.max(),
            "num_before": all_before.count(),
        }

    class Later(Dataset):
        """Only a label may know what comes later, and its rows have times."""

        row = row_table.between(EPOCH, EPOCH + 7 * SECOND)
        later = event_table.next(span * SECOND, on={"who": row.user}, gap=gap * SECOND)
        rows = row
        features = {"number": row.number}
        label = Label(later.size.sum(), matured_by=EPOCH + dt.timedelta(days=1))

    return [asked(Counted), asked(Later)]


def asked(dataset: type[Dataset]) -> list[Any]:
    """What the query gives of each row, in their order, without the checks of a session."""
    bound = dataset.definition.bind()
    with TemporaryDirectory() as folder:
        engine = DuckDBEngine(Path(folder))
        engine.start()
        try:
            register(engine, bound)
            table = engine.query(select(bound, dialect_of("duckdb"))).sort_by("number")
        finally:
            engine.stop()
    return [tuple(values.values())[1:] for values in table.to_pylist()]


def by_hand(row: list[Any], event: list[Any], span: int, gap: int) -> list[Any]:
    def sizes(user: int | None, time: int | None, start: int, end: int) -> list[int | None]:
        return [
            size
            for who, when, size in event
            if None not in (user, time, when) and who == user and start <= when - time < end
        ]

    def total(found: list[int | None]) -> int | None:
        known = [size for size in found if size is not None]
        return sum(known) if known else None

    counted, later = [], []
    for user, time in row:
        near = [s for s in sizes(user, time, -gap - span, -gap) if s is None or s > -3]
        known = [size for size in near if size is not None]
        most = max(known, default=None)
        before = len(sizes(user, time, -100, 0))
        counted.append((len(near), len(known), total(near), most, before))
        if time is not None:
            later.append((total(sizes(user, time, gap, gap + span)),))
    return [counted, later]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(row=rows, event=events, span=spans)
def test_windows_are_what_counting_by_hand_gives(
    tmp_path: Path, row: list[Any], event: list[Any], span: tuple[int, int]
) -> None:
    made = tables(tmp_path, row, event)
    assert by_hand(row, event, *span) == found(*made, *span)


def sums(tmp_path: Path, row: list[Any], event: list[Any]) -> list[Any]:
    row_table, event_table = tables(tmp_path, row, event)

    class Summed(Dataset):
        row = row_table.all()
        seen = event_table.last(2 * SECOND, on={"who": row.user})
        rows = row
        features = {"number": row.number, "sum": seen.size.sum()}

    return [total for (total,) in asked(Summed)]


def test_sums_are_exact_where_a_part_of_them_would_overflow(tmp_path: Path) -> None:
    row = [(1, 2), (2, 6), (2, 9)]
    event = [(1, 0, GREATEST), (1, 0, GREATEST), (1, 1, -GREATEST), (1, 1, -GREATEST), (1, 1, 7)]
    event += [(2, 0, GREATEST), (2, 0, GREATEST), (2, 5, LEAST)]
    assert [7, LEAST, None] == sums(tmp_path, row, event)


def test_a_sum_beyond_64_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="out of range"):
        sums(tmp_path, [(1, 2)], [(1, 1, GREATEST), (1, 1, 1)])
