"""Paths with places for partitions."""

import datetime as dt
from typing import Any

import pytest

from tadka.core.error import ConfigError, DataError
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import BOOL, BYTES, DATE, FLOAT, INT, STRING, TIME, UTC, Kind
from tadka.dataset.source.template import Names, Template, text_of, value_of

TEN = dt.datetime(2026, 1, 1, 10)  # noqa: DTZ001 - without a zone


def partitions(**kinds: Kind) -> dict[str, Column[Any]]:
    return {name: Column(name, kind, is_partition=True) for name, kind in kinds.items()}


def read(path: str, name: str, columns: dict[str, Column[Any]]) -> dict[str, Any] | None:
    """The values in the name of the only level of a template."""
    template = Template(path, path)
    (level,) = template.levels
    found = Names(level, template.complete[0], columns).read(name, {}, f"/{name}")
    return None if found is None else found[1]


def test_a_template_splits_into_a_root_and_levels() -> None:
    template = Template("/log/imp/dt={dt}/h{hour}-*.parquet", "shown")
    assert template.root == "/log/imp"
    assert [str(level) for level in template.levels] == ["dt={dt}", "h{hour}-*.parquet"]
    assert template.names == ("dt", "hour")
    assert template.complete == [["dt"], ["hour"]]


def test_a_format_reaches_over_several_folders() -> None:
    template = Template("/log/{day:%Y/%m/%d}/*", "shown")
    assert [str(level) for level in template.levels] == ["{day:%Y}", "{day:%m}", "{day:%d}", "*"]
    assert template.complete == [[], [], ["day"], []]


@pytest.mark.parametrize(
    ("path", "name", "kind", "expected"),
    [
        ("dt={x}", "dt=2026-01-31", DATE, dt.date(2026, 1, 31)),
        ("x={x}", "x=__HIVE_DEFAULT_PARTITION__", INT, None),
        ("x={x}", "x=-007", INT, -7),
        ("x={x}", "x=a%2Fb%20c", STRING, "a/b c"),
        ("{x}", "a%2Fb", STRING, "a%2Fb"),
        ("x={x}", "x=日本", STRING, "日本"),
        ("x={x}", "x=2026-01-01 10%3A00%3A00", TIME, TEN),
        ("x={x}", "x=2026-01-01T10%3A00", UTC, dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC)),
        ("log-{x:%Y%m%d}.csv", "log-20260131.csv", DATE, dt.date(2026, 1, 31)),
        ("{x:%Y-%j}", "2026-032", DATE, dt.date(2026, 2, 1)),
        ("{x:%Y-%m}", "2026-02", DATE, dt.date(2026, 2, 1)),
        ("{x:%Y%m%d%H}", "2026013123", UTC, dt.datetime(2026, 1, 31, 23, tzinfo=dt.UTC)),
        ("p[ab]?{x}", "pb_5", INT, 5),
        ("{{{x}}}", "{5}", INT, 5),
    ],
)
def test_values_are_read_by_the_type_of_their_column(
    path: str, name: str, kind: Kind, expected: object
) -> None:
    assert read(path, name, partitions(x=kind)) == {"x": expected}


@pytest.mark.parametrize("name", ["date=2026-01-01", "dt2026-01-01", "xdt=2026-01-01"])
def test_a_name_that_is_not_of_the_form_is_passed_over(name: str) -> None:
    assert read("dt={dt}", name, partitions(dt=DATE)) is None


@pytest.mark.parametrize("name", ["dt=2026-1-5", "dt=2026-13-01", "dt=tmp", "dt="])
def test_a_name_of_the_form_with_another_value_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match="dt="):
        read("dt={dt}", name, partitions(dt=DATE))


def test_a_value_that_stands_twice_must_be_one() -> None:
    columns = partitions(dt=DATE)
    assert read("{dt}_{dt}", "2026-01-01_2026-01-01", columns) == {"dt": dt.date(2026, 1, 1)}
    with pytest.raises(DataError, match="two values of 'dt'"):
        read("{dt}_{dt}", "2026-01-01_2026-01-02", columns)


def test_a_time_without_zone_bears_none() -> None:
    with pytest.raises(ValueError, match="has a zone"):
        value_of((("", "2026-01-01T00:00:00Z"),), TIME)


def test_partitions_are_called_as_in_hive() -> None:
    values = {"dt": dt.date(2026, 1, 1), "hour": 3, "x": None}
    expected = "dt=2026-01-01/hour=3/x=__HIVE_DEFAULT_PARTITION__"
    assert text_of(values) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a/{dt", "has '{' at character 2"),
        ("a/dt}", "has '}' at character 4"),
        ("a/{}", "braces hold the name"),
        ("a/{d t}", "braces hold the name"),
        ("a/{dt:%q}", "format '%q'"),
        ("a/{dt:x}", "format 'x'"),
        ("a/{dt}/{dt:%Y}", "with and without a format"),
    ],
)
def test_a_path_that_is_no_template_is_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Template(path, path)


@pytest.mark.parametrize(
    ("path", "columns", "message"),
    [
        ("a/{dt}", {}, "which is no partition of the table"),
        ("a/{dt}", partitions(dt=DATE, hour=INT), "'hour' has no place"),
        ("a/{x}", partitions(x=FLOAT), "'x' is float64"),
        ("a/{x}", partitions(x=BYTES), "'x' is bytes"),
        ("a/{x}", partitions(x=BOOL), "'x' is bool"),
        ("a/{x}", partitions(x=Kind("list", INT)), r"'x' is list\[int64\]"),
        ("a/{x:%Y}", partitions(x=INT), "for dates and times"),
        ("a/{x:%m}", partitions(x=DATE), "lacks the year"),
    ],
)
def test_columns_that_do_not_go_with_the_path_are_refused(
    path: str, columns: dict[str, Column[Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Template(path, path).check(columns)
