"""Tables give rows; type checkers see columns as columns."""

import types
from datetime import date
from typing import Any, assert_type

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.table import RESERVED, Partition, Table
from tadka.dataset.expression.expression import Column, Expression, days, hours
from tadka.dataset.expression.kind import Utc


class Event(Table, source="log/day={day}/*.parquet", time="at"):
    day: Partition[date]
    user: Column[int]
    price: Column[float | None]
    at: Column[Utc]


class Item(Table, source="item.parquet"):
    id: Column[int]


def test_type_checkers_see_columns_with_their_operators() -> None:
    assert_type(Event.price, Column[float | None])
    assert_type(Event.day, Partition[date])
    assert_type(Event.price > 5, Expression[bool])
    assert_type(Event.user.is_null(), Expression[bool])
    assert_type(Event.all().price, Column[Any])
    assert_type(Event.between(date(2026, 1, 1), date(2026, 2, 1)), Rows)


def test_every_way_to_choose_rows_starts_from_all_of_them() -> None:
    start, end = date(2026, 1, 1), date(2026, 2, 1)
    between = Event.between(start, end, by="at")
    assert between.span is not None
    assert "at" == between.span.by
    assert Event.where(Event.user == 5).condition is not None
    found = [
        Event.as_of("user", at="2026-01-01T00:00:00Z"),
        Event.last(days(7), "user", hours(1)),
        Event.next(days(7), "user", hours(1)),
        Event.within(-days(1), days(2), "user"),
        Item.join("id", "inner", 2),
    ]
    lookups = [rows.lookup for rows in found]
    assert ["as_of", "window", "window", "window", "join"] == [x and x.kind for x in lookups]
    assert [
        (-days(7) - hours(1), -hours(1)),
        (hours(1), days(7) + hours(1)),
        (-days(1), days(2)),
    ] == [(x.start, x.end) for x in lookups[1:4] if x is not None]
    assert lookups[0] is not None
    assert "utc('2026-01-01T00:00:00+00:00')" == str(lookups[0].at)
    assert lookups[4] is not None
    assert ("inner", 2.0) == (lookups[4].how, lookups[4].max_matches)
    assert all(rows.table in (Event, Item) for rows in found)


@pytest.mark.parametrize("name", sorted(n for n in RESERVED if not n.startswith("_")))
def test_no_column_can_hide_what_tables_and_rows_have(name: str) -> None:
    body = {"__annotations__": {name: Column[int]}}
    with pytest.raises(ConfigError, match="bears the name of a method or attribute"):
        types.new_class("Wrong", (Table,), {"source": "x.parquet"}, lambda s: s.update(body))


def test_all_attributes_of_rows_are_reserved() -> None:
    rows = Event.all()
    assert not {name for name in vars(rows) if not name.startswith("_")} - RESERVED
