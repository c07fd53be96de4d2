"""Declarations of tables: columns, names, time, partitions, and what is wrong with them."""

import types
from datetime import date, datetime
from typing import Any, ClassVar

import numpy as np
import pytest

from tadka.core.error import ConfigError
from tadka.dataset.define.schema import (
    Named,
    NoColumn,
    Partition,
    check_name,
    nearest,
    raise_all,
    twins,
)
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE, FLOAT, INT, UTC, Kind, Utc
from tadka.dataset.source.files import Files


class Event(Table, source="log/day={day}/*.parquet", time="at"):
    day: Partition[date]
    user: Column[int]
    price: Column[float | None]
    tags: Column[list[str]]
    from_: Column[np.int16] = Named("from")
    at: Column[Utc]
    limit: ClassVar[int] = 3

    @classmethod
    def today(cls) -> int:
        return cls.limit


def declare(annotations: dict[str, Any], **keywords: Any) -> Any:
    values = {name: keywords.pop(name) for name in list(keywords) if name in annotations}
    body = {"__module__": __name__, "__annotations__": annotations, **values}
    return types.new_class("Wrong", (Table,), keywords, lambda space: space.update(body))


def test_columns_are_read_from_annotations_in_order() -> None:
    assert ["day", "user", "price", "tags", "from", "at"] == list(Event.columns)
    kinds = {name: column.kind for name, column in Event.columns.items()}
    assert kinds == {
        "day": DATE,
        "user": INT,
        "price": FLOAT,
        "tags": Kind("list", Kind("string")),
        "from": Kind("int16"),
        "at": UTC,
    }
    assert ["price"] == [n for n, c in Event.columns.items() if c.is_nullable]
    assert ["day"] == [n for n, c in Event.columns.items() if c.is_partition]
    assert "at" == Event.time_column
    assert Files("log/day={day}/*.parquet") == Event.source


def test_attributes_are_the_columns_themselves() -> None:
    assert Event.columns["user"] is Event.user
    assert Event.columns["from"] is Event.from_
    assert "from" == Event.from_.name
    assert Event.user.relation is None


def test_column_is_found_by_its_name_and_by_its_attribute() -> None:
    assert Event.columns["from"] is Event.column_named("from")
    assert Event.columns["from"] is Event.column_named("from_")


def test_annotations_may_be_texts() -> None:
    made = declare({"a": "Column[int | None]", "b": "Partition[str]"}, source="{b}/x.parquet")
    assert made.columns["a"].is_nullable
    assert made.columns["b"].is_partition


def test_what_is_no_column_stays() -> None:
    assert 3 == Event.limit == Event.today()


@pytest.mark.parametrize("name", ["pricee", "Price", "prcie"])
def test_misspelt_column_names_the_nearest(name: str) -> None:
    with pytest.raises(NoColumn) as caught:
        getattr(Event, name)
    assert str(caught.value) == (f"Table 'Event' has no column {name!r}. Did you mean 'price'?")
    assert isinstance(caught.value, ConfigError)


def test_misspelt_column_far_from_all_lists_them() -> None:
    with pytest.raises(NoColumn, match="Its columns are 'day', 'user', 'price', 'tags', 'from'"):
        Event.column_named("zzzzzz")


def test_hasattr_works_as_for_any_class() -> None:
    assert hasattr(Event, "user")
    assert not hasattr(Event, "usr")
    assert not hasattr(Event, "_repr_html_")
    assert not hasattr(Table, "columns")


def test_table_inherits_columns_source_and_time() -> None:
    class Wide(Event):
        height: Column[float]

    assert [*Event.columns, "height"] == list(Wide.columns)
    assert "height" not in Event.columns
    assert Event.source == Wide.source
    assert "at" == Wide.time_column


def test_table_can_have_another_name() -> None:
    class Second(Table, source="x.parquet", name="Event"):
        user: Column[int]

    assert "Event" == Second.__name__


def test_time_may_be_given_by_attribute() -> None:
    class Timed(Table, source="x.parquet", time="time_"):
        time_: Column[datetime] = Named("time")

    assert "time" == Timed.time_column


def test_source_that_knows_no_partitions_takes_any() -> None:
    from tadka.dataset.source.catalog import Catalog

    made = declare({"day": Partition[date], "x": Column[int]}, source=Catalog("shop.sales"))
    assert made.columns["day"].is_partition


@pytest.mark.parametrize(
    ("annotations", "keywords", "message"),
    [
        ({"a": int}, {}, "'a' is annotated int; write Column[...] or Partition[...]"),
        ({"a": Column}, {}, "'a' is annotated Column; write"),
        ({"a": Column[complex]}, {}, "column 'a' has type complex, which no column has"),
        ({"a": Column[int]}, {"a": 5}, "column 'a' has the value 5; columns have none."),
        ({"a": Column[int]}, {"a": Named("")}, "has the name ''"),
        ({"a": Column[int]}, {"a": Named("x\ny")}, "it must be a printable text"),
        ({}, {}, "it has no columns; declare at least one"),
        ({"count": Column[int]}, {}, "Write count_: ... = Named('count')."),
        ({"where": Column[int]}, {}, "column 'where' bears the name of a method"),
        ({"alias": Column[str]}, {}, "Named('alias')"),
        ({"a": Column[int], "b": Column[int]}, {"b": Named("a")}, "'a' is declared twice"),
        ({"a": Column[int], "A": Column[int]}, {}, "'a' and 'A' differ in case only"),
        ({"a": "Column[nowhere]"}, {}, "an annotation that cannot be read: name 'nowhere'"),
        ({"a": Column[int]}, {"time": "at"}, "time='at': Table 'Wrong' has no column 'at'."),
        ({"a": Column[int]}, {"time": "a"}, "time='a' is a column of type int64"),
        ({"a": Column[date]}, {"time": "a"}, "it must be Column[Utc] or Column[datetime]."),
        ({"a": Column[Utc | None]}, {"time": "a"}, "time='a' is a column with nulls"),
        ({"a": Column[int]}, {"source": None}, "it has no source"),
        ({"a": Column[int]}, {"source": 5}, "A source is 5"),
        ({"a": Column[int]}, {"source": "d={d}/*.parquet"}, "partition {d}; the class does not"),
        ({"d": Column[int]}, {"source": "d={d}/*.parquet"}, "Partition[...], not Column[int64]."),
        ({"d": Partition[int]}, {}, "partition 'd' does not stand in its path; write {d}"),
        ({"d": Partition[float]}, {"source": "d={d}/*.parquet"}, "'d' has type float64, which no"),
        ({"d": Partition[bytes]}, {"source": "d={d}/*.parquet"}, "'d' has type bytes, which no"),
    ],
)
def test_wrong_declarations(
    annotations: dict[str, Any], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        declare(annotations, **{"source": "x.parquet", **keywords})
    assert message in str(caught.value)
    assert str(caught.value).startswith("Table 'Wrong'")


def test_named_without_annotation_is_refused() -> None:
    with pytest.raises(ConfigError, match="attribute 'b' is Named but has no annotation"):

        class Wrong(Table, source="x.parquet"):
            a: Column[int]
            b = Named("c")


def test_all_mistakes_are_listed_together() -> None:
    with pytest.raises(ConfigError) as caught:
        declare({"a": int, "count": Column[int], "b": Column[complex]}, source=7)
    message = str(caught.value)
    assert message.startswith("Table 'Wrong' has 4 mistakes:\n  'a' is annotated int")
    assert 5 == len(message.splitlines())


def test_nearest_looks_past_case() -> None:
    assert "Did you mean 'Price'?" == nearest("price", ["Price", "user"], "columns")
    assert "Its columns are 'x'." == nearest("price", ["x"], "columns")
    assert "It has no columns." == nearest("price", [], "columns")


def test_twins_and_raise_all() -> None:
    assert [("a", "A"), ("a", "a")] == twins(["a", "b", "A", "a"])
    raise_all("Nothing", [])
    with pytest.raises(ConfigError, match=r"^It: one\.$"):
        raise_all("It", ["one."])


@pytest.mark.parametrize("name", ["", " ", "a\x00", "a\tb", 5, None])
def test_names_that_nothing_can_bear(name: Any) -> None:
    with pytest.raises(ConfigError, match="must be a printable text"):
        check_name(name, "A feature")
