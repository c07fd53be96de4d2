"""Rows: which of a table, columns of them, and how they are found."""

import copy
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import Named, NoColumn, Partition
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import Aggregate, Column, Parameter, Sql, days, hours
from tadka.dataset.expression.kind import INT, Utc

START, END = date(2026, 1, 1), date(2026, 2, 1)


class Event(Table, source="log/day={day}/*.parquet", time="at"):
    day: Partition[date]
    user: Column[int]
    price: Column[float | None]
    from_: Column[str] = Named("from")
    at: Column[Utc]


class User(Table, source="user.parquet", time="since"):
    user: Column[int]
    score: Column[float]
    tags: Column[list[str]]
    name: Column[str]
    since: Column[Utc]


class Item(Table, source="item.parquet"):
    note = "no column"
    id: Column[int]


class Hourly(Table, source="log/{day}/{hour}/*.parquet"):
    day: Partition[date]
    hour: Partition[datetime]


def message(make: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make()
    return str(caught.value)


# ---------------------------------------------------------------- columns


def test_columns_of_rows_are_bound_and_the_same_each_time() -> None:
    rows = Event.all()
    assert rows is rows.user.relation
    assert rows.user is rows.user
    assert rows["user"] is rows.user
    assert rows["from"] is rows.from_
    assert rows.day.is_partition
    assert Event.user.relation is None
    assert rows.user is not Event.all().user


def test_misspelt_column_of_rows_names_the_nearest() -> None:
    assert "Did you mean 'price'?" in message(lambda: Event.all().pricee)
    assert "Did you mean 'price'?" in message(lambda: Event.all()["pricee"])
    assert not hasattr(Event.all(), "pricee")
    with pytest.raises(NoColumn, match="has no column '__name__'"):
        Event.all()["__name__"]
    with pytest.raises(NoColumn, match="has no column 'note'"):
        _ = Item.all().note


def test_rows_can_be_copied_and_shown() -> None:
    rows = Event.between(START, END)
    twin = copy.copy(rows)
    assert twin.span is rows.span
    assert "<rows 'Event' of table 'Event'>" == repr(rows)


def test_methods_leave_their_rows_alone() -> None:
    rows = Event.all()
    made = rows.between(START, END).where(Event.user == 1).last(days(1), on="user")
    assert (None, None, None) == (rows.span, rows.condition, rows.lookup)
    assert made.span is not None
    assert made.condition is not None
    assert made.is_window
    assert not rows.is_window


def test_count_is_of_windows() -> None:
    window = Event.last(days(7), on="user")
    count = window.count()
    assert isinstance(count, Aggregate)
    assert (INT, window, None) == (count.kind, count.relation, count.operand)
    assert "count() of 'Event' counts the rows of a window" in message(Event.all().count)


# ---------------------------------------------------------------- between


def test_between_is_by_the_only_partition_else_by_time() -> None:
    for rows, by in ((Event.between(START, END), "day"), (User.between(START, END), "since")):
        assert rows.span is not None
        assert by == rows.span.by
    hourly = Hourly.between(START, END, by="hour").span
    assert hourly is not None
    assert "time('2026-01-01T00:00:00')" == str(hourly.start)


def test_between_takes_parameters_and_durations() -> None:
    start = Parameter(date)
    start.__set_name__(type, "start")
    span = Event.between(start - days(7), start).span
    assert span is not None
    assert "parameters.start + days(-7)" == str(span.start)
    # a day is the midnight of a time
    assert User.between(start, start + days(1)).span is not None


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Event.between(START, 5), "The end of 'Event' along 'day' is 5; it must be of"),
        (lambda: Event.between(MOMENT, END), "The start of 'Event' along 'day'"),
        (lambda: Event.between(Parameter(Utc), END), "Use a parameter of type date, or say by="),
        (lambda: User.between(Parameter(datetime), END), "One has a zone and the other has none"),
        (lambda: User.between(MOMENT.replace(tzinfo=None), END), "it must be of type utc"),
        (lambda: Event.between(Event.day, END), "it must be a constant, a parameter, or one"),
        (lambda: Event.between(START, END, by="user"), "must be a date or a time"),
        (lambda: Event.between(START, END, by="dya"), "Did you mean 'day'?"),
        (lambda: Item.between(START, END), "table 'Item' has no date or time. Say by='...'."),
        (
            lambda: Hourly.between(START, END),
            "several partitions of a date or time ('day', 'hour')",
        ),
        (lambda: Event.between(START, END).between(START, END), "has two between(); give one."),
        (
            lambda: Event.last(days(1), on="user").between(START, END),
            "between() of 'Event' stands after last(), next() or within()",
        ),
    ],
)
def test_between_refuses(make: Any, expected: str) -> None:
    assert expected in message(make)


# ---------------------------------------------------------------- where


def test_conditions_add_up() -> None:
    rows = Event.where(Event.price > 5).where(Event.user == 1)
    assert "(price > 5.0) & (user == 1)" == str(rows.condition)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda: Event.where(Event.user),  # type: ignore[arg-type]
            "takes a condition such as Event.day == ...; it was user",
        ),
        (lambda: Event.where(True), "it was True"),  # type: ignore[arg-type]
        (lambda: Event.where(User.score > 5), "'score' is of another."),
        (lambda: Event.where(Event.all().price > 5), "is read from rows of it. Write Event.price."),
        (
            lambda: Event.where(User.last(days(1), on="user").count() > 5),
            "is about single rows; User.count() is not.",
        ),
        (lambda: User.as_of(on="user").where(User.score > 1), "stands after as_of()"),
    ],
)
def test_where_refuses(make: Any, expected: str) -> None:
    assert expected in message(make)


def test_where_takes_sql() -> None:
    assert Event.where(Sql(bool, duckdb="user % 2 = 0")).condition is not None


# ---------------------------------------------------------------- lookups


def test_keys_by_name_wait_for_the_dataset() -> None:
    rows, event = Event.all(), User.as_of(on=["user", "name"])
    assert event.lookup is not None
    assert (("user", "name"), {}) == (event.lookup.same, event.lookup.on)
    mistakes = event.enter("person", rows)
    assert "person" == event.alias
    assert 1 == len(mistakes)
    assert "'person' is found on 'name', which rows 'Event' do not have." in mistakes[0]
    assert "on={'name': Event.column}" in mistakes[0]
    assert event.lookup.on["user"] is rows.user


def test_keys_by_expression() -> None:
    rows = Event.all()
    item = Item.join(on={"id": rows.user + 1})
    assert [] == item.enter("item", rows)
    assert item.lookup is not None
    assert "Event.user + 1" == str(item.lookup.on["id"])


def test_rows_have_one_name_and_one_dataset() -> None:
    rows = Event.all()
    user = User.as_of(on="user")
    assert [] == rows.enter("event", rows)
    assert [] == user.enter("user", rows)
    assert [] == user.enter("user", rows)
    assert "have the name 'user' already" in user.enter("person", rows)[0]
    assert "belong to the rows of another dataset" in user.enter("user", Event.all())[0]


@pytest.mark.parametrize(
    ("key", "column", "expected"),
    [
        ("user", "from_", "'user' of type int64, but Event['from'] is string."),
        ("score", "price", "'score' of type float64, which is no key"),
        ("tags", "from_", "'tags' of type list[string], which is no key"),
    ],
)
def test_keys_must_be_of_one_type(key: str, column: str, expected: str) -> None:
    rows = Event.all()
    mistakes = User.as_of(on={key: rows[column]}).enter("u", rows)
    assert 1 == len(mistakes)
    assert expected in mistakes[0]


def test_keys_of_times_say_what_to_do_about_zones() -> None:
    class Naive(Table, source="x.parquet", time="at"):
        at: Column[datetime]

    rows = Event.all()
    assert "One has a zone" in Naive.as_of(on={"at": rows.at}).enter("n", rows)[0]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Item.as_of(on="id"), "table 'Item' has no column of time. Declare one"),
        (lambda: Item.last(days(1), on="id"), "needs to know when rows came to be known"),
        (lambda: User.as_of(on=[]), "on of 'User' names no column"),
        (lambda: User.as_of(on={}), "on of 'User' names no column"),
        (lambda: User.as_of(on=5), "it must be the name of a column, a list of them"),  # type: ignore[arg-type]
        (lambda: User.as_of(on={"user": 5}), "'user' = 5; it must be a column"),  # type: ignore[dict-item]
        (lambda: User.as_of(on="usr"), "Did you mean 'user'?"),
        (lambda: User.as_of(on={"usr": Event.user}), "Did you mean 'user'?"),
        (lambda: User.as_of(on="user", at=5), "The at of 'User' along 'since' is 5"),
        (lambda: User.as_of(on="user").last(days(1), on="user"), "is found by as_of() already"),
        (lambda: User.last(days(0), on="user"), "must be a duration above 0"),
        (lambda: User.last(-days(1), on="user"), "span of last() of 'User'"),
        (lambda: User.next(7, on="user"), "span of next() of 'User' is 7"),  # type: ignore[arg-type]
        (lambda: User.next(days(1), on="user", gap=-hours(1)), "must be a duration not below 0"),
        (lambda: User.within(5, days(1), on="user"), "start of the window 'User' is 5"),  # type: ignore[arg-type]
        (lambda: User.within(days(1), days(1), on="user"), "must begin before it ends"),
        (lambda: Item.join(on="id", how="outer"), "it must be 'left' or 'inner'"),  # type: ignore[arg-type]
        (lambda: Item.join(on="id", max_matches=0.5), "must be a number, at least 1"),
        (lambda: Item.join(on="id", max_matches=float("nan")), "must be a number, at least 1"),
        (lambda: Item.join(on="id", max_matches=float("inf")), "must be a number, at least 1"),
        (lambda: Item.join(on="id", max_matches=True), "must be a number, at least 1"),
    ],
)
def test_lookups_refuse(make: Any, expected: str) -> None:
    assert expected in message(make)


def test_windows_are_exact_to_the_microsecond() -> None:
    window = User.last(timedelta(microseconds=3), on="user", gap=timedelta(microseconds=1))
    assert window.lookup is not None
    assert timedelta(microseconds=-4) == window.lookup.start
    assert timedelta(microseconds=-1) == window.lookup.end


def test_rows_stand_for_themselves_without_lookup() -> None:
    rows = Rows(Event)
    assert [] == rows.enter("rows", rows)
    assert rows.lookup is None
