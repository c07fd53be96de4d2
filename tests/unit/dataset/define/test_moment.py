"""Moments: arithmetic of constants, parameters and durations agrees with Python's."""

import datetime as dt
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.error import ConfigError
from tadka.dataset.define.moment import Moment, in_kind, is_constant, moment_of, value_of
from tadka.dataset.expression.expression import Column, Parameter, as_expression, as_literal, days
from tadka.dataset.expression.kind import DATE, INT, TIME, UTC, Utc

SPANS = st.timedeltas(timedelta(days=-3650), timedelta(days=3650))
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001


def parameter(type_: Any, name: str) -> Parameter[Any]:
    made: Parameter[Any] = Parameter(type_)
    made.name = name
    return made


@given(MOMENTS, MOMENTS)
def test_difference_of_constants_is_that_of_python(one: datetime, two: datetime) -> None:
    first, second = as_literal(one, TIME, ""), as_literal(two, TIME, "")
    assert one - two == moment_of(first).since(moment_of(second))
    zoned = as_literal(one.replace(tzinfo=dt.UTC), UTC, "")
    assert timedelta(0) == moment_of(zoned).since(moment_of(first))


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(-3650, 3650))
def test_dates_are_their_midnights(day: date, count: int) -> None:
    moment = moment_of(as_literal(day, DATE, ""))
    midnight = moment_of(as_literal(day, TIME, ""))
    assert midnight == moment
    shifted = as_expression(day) + days(count)
    assert timedelta(days=count) == moment_of(shifted).since(moment)
    assert day + timedelta(days=count) == value_of(shifted, {}).value


@given(MOMENTS, SPANS, SPANS)
def test_what_is_sure_before_parameters_are_known_is_so_after(
    value: datetime, one: timedelta, two: timedelta
) -> None:
    start = parameter(datetime, "start")
    first, second = start + one, start + two + one
    sure = moment_of(first).since(moment_of(second))
    values = {"start": as_literal(value, TIME, "")}
    assert -two == sure == moment_of(first, values).since(moment_of(second, values))
    assert value + one == value_of(first, values).value


def test_different_parameters_cannot_be_compared_before_they_are_known() -> None:
    start, end = parameter(date, "start"), parameter(date, "end")
    assert moment_of(start).since(moment_of(end)) is None
    assert moment_of(start).since(moment_of(as_expression(date(2026, 1, 1)))) is None
    assert Moment("start", days(2)) == moment_of(start + days(1)) + days(1)


def test_values_outside_the_calendar_are_refused() -> None:
    start = parameter(date, "start")
    values = {"start": as_literal(date(9999, 12, 31), DATE, "")}
    with pytest.raises(ConfigError, match="outside the years 1 to 9999"):
        value_of(start + days(1), values)


def test_what_rows_decide_is_no_constant() -> None:
    column: Column[int] = Column("user", INT)
    assert not is_constant(column)
    assert not is_constant(parameter(int, "n") + 1)
    assert is_constant(parameter(Utc, "t") + days(1) + days(2))
    with pytest.raises(ConfigError, match="user has no value before rows are read"):
        value_of(column, {})


def test_days_become_times() -> None:
    day = as_literal(date(2026, 1, 1), DATE, "")
    assert "utc('2026-01-01T00:00:00+00:00')" == str(in_kind(day, UTC, "It"))
    assert day is in_kind(day, DATE, "It")
