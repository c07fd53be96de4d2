"""Definitions as data: columns of the output, values of parameters."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.bound import OutputColumn, is_inexact, may_be_null
from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.label import Label
from tadka.dataset.define.schema import Partition
from tadka.dataset.define.split import TimeSplit, by_hash, by_time
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import (
    Column,
    Parameter,
    Sql,
    as_expression,
    days,
    hours,
    if_else,
)
from tadka.dataset.expression.kind import BOOL, FLOAT, INT, STRING, Utc


class Impression(Table, source="imp/dt={dt}/*.parquet", time="at"):
    dt: Partition[date]
    user: Column[int]
    ad: Column[int]
    price: Column[float | None]
    at: Column[Utc]


class Click(Table, source="click/dt={dt}/*.parquet", time="at"):
    dt: Partition[date]
    user: Column[int]
    price: Column[float]
    at: Column[Utc]


class User(Table, source="user.parquet", time="since"):
    user: Column[int]
    age: Column[int]
    since: Column[Utc]


class Ad(Table, source="ad.parquet"):
    id: Column[int]
    size: Column[int]


class Train(Dataset):
    """Clicks within a day.

    With what was known.
    """

    start = Parameter(date)
    end = Parameter(date)
    extracted_at = Parameter(Utc)
    least = Parameter(float, default=5)

    imp = Impression.between(start, end).where(Impression.price > least)
    user = User.as_of(on="user")
    first = User.as_of(on="user", at=start - days(1))
    ad = Ad.join(on={"id": imp.ad}, how="inner")
    recent = Click.between(start - days(7), end).last(days(7), on="user")
    clicked = Click.next(hours(24), gap=hours(1), on=["user"])

    features = {
        "user": imp.user,
        "age": user.age,
        "size": ad.size,
        "clicks": recent.count(),
        "spent": recent.price.sum(),
    }
    label = Label(clicked.count() > 0, name="clicked", matured_by=extracted_at)
    split = by_hash(imp.user, salt="v1", train=0.8, valid=0.2)


DEFINITION = Train.definition
VALUES: dict[str, Any] = {
    "start": date(2026, 1, 1),
    "end": "2026-02-01",
    "extracted_at": datetime(2026, 2, 10, tzinfo=UTC),
}


def test_columns_of_the_output_in_order() -> None:
    assert DEFINITION.columns == [
        OutputColumn("user", INT, False, False, "feature"),
        OutputColumn("age", INT, True, False, "feature"),
        OutputColumn("size", INT, False, False, "feature"),
        OutputColumn("clicks", INT, False, False, "feature"),
        OutputColumn("spent", FLOAT, True, True, "feature"),
        OutputColumn("clicked", BOOL, False, False, "label"),
        OutputColumn("split", STRING, False, False, "split"),
    ]


def test_tables_by_name() -> None:
    assert {"Impression": Impression, "User": User, "Ad": Ad, "Click": Click} == DEFINITION.tables


def test_expressions_are_named_for_messages() -> None:
    assert [where for where, _ in DEFINITION.expressions()] == [
        "the start of 'imp'",
        "the end of 'imp'",
        "the condition of 'imp'",
        "key 'user' of 'user'",
        "key 'user' of 'first'",
        "the time of 'first'",
        "key 'id' of 'ad'",
        "the start of 'recent'",
        "the end of 'recent'",
        "key 'user' of 'recent'",
        "key 'user' of 'clicked'",
        "feature 'user'",
        "feature 'age'",
        "feature 'size'",
        "feature 'clicks'",
        "feature 'spent'",
        "label 'clicked'",
        "matured_by of label 'clicked'",
        "the key of the split",
    ]


def test_sql_is_not_portable() -> None:
    class Raw(Dataset):
        ad = Ad.all()
        features = {"size": Sql(int, duckdb="ad.size") + 1}

    assert DEFINITION.is_portable
    assert not Raw.definition.is_portable
    assert [OutputColumn("size", INT, True, False, "feature")] == Raw.definition.columns


# ---------------------------------------------------------------- parameters


def test_values_of_parameters_and_what_is_made_of_them() -> None:
    bound = DEFINITION.bind(**VALUES)
    assert {name: str(value) for name, value in bound.parameters.items()} == {
        "start": "date('2026-01-01')",
        "end": "date('2026-02-01')",
        "extracted_at": "utc('2026-02-10T00:00:00+00:00')",
        "least": "5.0",
    }
    span = bound.span(DEFINITION.relations["recent"])
    assert span is not None
    assert ["date('2025-12-25')", "date('2026-02-01')"] == [str(value) for value in span]
    assert bound.span(DEFINITION.relations["user"]) is None
    assert "utc('2025-12-31T00:00:00+00:00')" == str(bound.at(DEFINITION.relations["first"]))
    assert bound.at(DEFINITION.relations["user"]) is None
    assert bound.at(DEFINITION.rows) is None
    assert 6.5 == DEFINITION.bind(**VALUES, least=6.5).value(DEFINITION.parameters["least"]).value


def test_days_become_times_along_a_column_of_time() -> None:
    class Late(Dataset):
        day = Parameter(date)
        user = User.between(day, day + days(1))
        features = {"age": user.age}
        split = by_time(user.since, train=day, test=None)

    bound = Late.definition.bind(day="2026-01-01")
    span = bound.span(Late.definition.rows)
    assert span is not None
    midnights = ["utc('2026-01-01T00:00:00+00:00')", "utc('2026-01-02T00:00:00+00:00')"]
    assert midnights == [str(value) for value in span]
    split = Late.definition.split
    assert isinstance(split, TimeSplit)
    assert {"train": midnights[0], "test": "None"} == {
        name: str(end) for name, end in bound.ends(split).items()
    }


def test_all_wrong_parameters_are_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        DEFINITION.bind(strat=date(2026, 1, 1), end=5, extracted_at=None, least="much")
    assert str(caught.value).splitlines() == [
        "Dataset 'Train' has 5 mistakes:",
        "  Parameter 'strat' is not known. Did you mean 'start'?",
        "  Parameter 'start' is missing; give start=..., of type date.",
        "  Parameter 'end' is 5; it must be of type date.",
        "  Parameter 'extracted_at' is None; give extracted_at=..., of type utc.",
        "  Parameter 'least' is 'much'; it must be of type float64.",
    ]


@pytest.mark.parametrize("end", ["2026-01-01", "2025-01-01"])
def test_parameters_in_the_wrong_order(end: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DEFINITION.bind(**{**VALUES, "end": end})
    assert (
        f"'imp' is between parameters.start = date('2026-01-01') and parameters.end = date('{end}')"
    ) in str(caught.value)


def test_bounds_outside_the_calendar() -> None:
    with pytest.raises(ConfigError, match="outside the years 1 to 9999"):
        DEFINITION.bind(**{**VALUES, "start": date(1, 1, 1)})


def test_parts_of_a_split_by_time_end_in_order() -> None:
    class Cut(Dataset):
        first = Parameter(date)
        user = User.all()
        features = {"age": user.age}
        split = by_time(user.since, train=first, valid=date(2026, 1, 1), test=None)

    assert Cut.definition.bind(first="2025-12-31").parameters
    with pytest.raises(ConfigError, match=r"'train' of the split ends at .* and the next, 'valid'"):
        Cut.definition.bind(first="2026-01-01")


# ---------------------------------------------------------------- nulls


IMP, WINDOW = Train.imp, Train.recent


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (IMP.user, False),
        (IMP.price, True),
        (IMP.price + 1, True),
        (IMP.price.is_null(), False),
        (IMP.price.coalesce(0.0), False),
        (IMP.price.coalesce(IMP.price), True),
        (if_else(IMP.price > 5, IMP.user, 0), False),
        (if_else(IMP.user > 5, IMP.price, 0.0), True),
        (Train.user.age, True),
        (Train.user.age.coalesce(0), False),
        (Train.ad.size, False),
        (WINDOW.count(), False),
        (WINDOW.price.count_distinct(), False),
        (WINDOW.price.max(), True),
        (as_expression(5), False),
        (DEFINITION.parameters["least"] + 1, False),
        (Sql(int, duckdb="1"), True),
    ],
)
def test_where_nulls_are_expected(value: Any, expected: bool) -> None:
    assert expected == may_be_null(value)


def test_sums_and_means_of_floats_are_inexact() -> None:
    assert is_inexact(WINDOW.price.sum() + 1)
    assert is_inexact(WINDOW.price.mean() > 5)
    assert is_inexact(WINDOW.user.mean())
    assert not is_inexact(WINDOW.user.sum())
    assert not is_inexact(WINDOW.price.max())
