"""Expressions: what they are made of, how they show, and what is refused when one is made."""

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.expression.expression import (
    Aggregate,
    Call,
    Column,
    Literal,
    Parameter,
    Relation,
    Sql,
    as_expression,
    as_literal,
    days,
    hours,
    if_else,
    minutes,
    seconds,
)
from tadka.dataset.expression.kind import (
    BOOL,
    BYTES,
    DATE,
    FLOAT,
    INT,
    STRING,
    TIME,
    UTC,
    Kind,
    Utc,
    named_kind,
)

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
NAIVE = NOON.replace(tzinfo=None)


class Clicks(Relation):
    alias = "clicks"
    is_window = True


class Rows(Relation):
    alias = "imp"


ROWS, CLICKS = Rows(), Clicks()


def column(name: str, kind: Kind | str, relation: Relation = ROWS) -> Column[Any]:
    return Column(name, Kind(kind) if isinstance(kind, str) else kind, relation=relation)


I, K, X, F = (column(n, k) for n, k in zip("ikxf", ("int64", "int32", "float64", "float32")))  # noqa: B905, E741
S, C, R = column("s", STRING), column("c", BOOL), column("r", BYTES)
D, T, U = column("d", DATE), column("t", TIME), column("u", UTC)
LIST = column("l", Kind("list", INT))
PRICE, OTHER = column("price", FLOAT, CLICKS), column("other", FLOAT, Clicks())


# ---------------------------------------------------------------- what is made


@pytest.mark.parametrize(
    ("expression", "kind", "shown"),
    [
        (X > 5, BOOL, "imp.x > 5.0"),
        (5 < X, BOOL, "imp.x > 5.0"),
        (K >= 0.5, BOOL, "imp.k >= 0.5"),
        (I == 2**63 - 1, BOOL, "imp.i == 9223372036854775807"),
        ((X > 5) & S.is_not_null() | ~C, BOOL, "((imp.x > 5.0) & (~imp.s.is_null())) | (~imp.c)"),
        (S.is_in(["a", "b"]), BOOL, "imp.s.is_in(['a', 'b'])"),
        (X.between(0, 1), BOOL, "(imp.x >= 0.0) & (imp.x < 1.0)"),
        (I + K, INT, "imp.i + imp.k"),
        (1 - I, INT, "1 - imp.i"),
        (-I, INT, "0 - imp.i"),
        (2 * X, FLOAT, "2 * imp.x"),
        (I / 2, FLOAT, "imp.i / 2"),
        (F + F, FLOAT, "imp.f + imp.f"),
        (7 // K, INT, "7 // imp.k"),
        (I % 7, INT, "imp.i % 7"),
        (1 + I, INT, "1 + imp.i"),
        (1 / X, FLOAT, "1 / imp.x"),
        (1 % I, INT, "1 % imp.i"),
        (T.hour(), INT, "imp.t.hour()"),
        (D.weekday(), INT, "imp.d.weekday()"),
        (T.date(), DATE, "imp.t.date()"),
        (U.in_zone("Asia/Tokyo").date(), DATE, "imp.u.in_zone('Asia/Tokyo').date()"),
        (D + days(7), DATE, "imp.d + days(7)"),
        (days(1) + D, DATE, "imp.d + days(1)"),
        (U - hours(1), UTC, "imp.u + hours(-1)"),
        (T + minutes(1) - seconds(0.5), TIME, "(imp.t + seconds(60)) + microseconds(-500000)"),
        (U.seconds_since(NOON), FLOAT, f"imp.u.seconds_since(utc({NOON.isoformat()!r}))"),
        (S.starts_with("a'"), BOOL, """imp.s.starts_with("a'")"""),
        (X.coalesce(0), FLOAT, "imp.x.coalesce(0.0)"),
        (K.coalesce(I, 0), INT, "imp.k.coalesce(imp.i, 0)"),
        (F.coalesce(X), FLOAT, "imp.f.coalesce(imp.x)"),
        (X.to(int), INT, "imp.x.to('int64')"),
        (I.to("int8"), Kind("int8"), "imp.i.to('int8')"),
        (C.to(str), STRING, "imp.c.to('string')"),
        (if_else(C, 1, X), FLOAT, "if_else(imp.c, 1.0, imp.x)"),
        (if_else(C, S, "none"), STRING, "if_else(imp.c, imp.s, 'none')"),
        (if_else(C, 1, 2), INT, "if_else(imp.c, 1, 2)"),
        (U >= NOON.date(), BOOL, "imp.u >= utc('2026-01-31T00:00:00+00:00')"),
        (T < NAIVE, BOOL, f"imp.t < time({NAIVE.isoformat()!r})"),
        (D == "2026-01-31", BOOL, "imp.d == date('2026-01-31')"),
        (X != math.inf, BOOL, "imp.x != float('inf')"),
        (PRICE.sum(), FLOAT, "clicks.price.sum()"),
        (PRICE.mean(nan="drop") > 1, BOOL, "clicks.price.mean(nan='drop') > 1.0"),
        ((PRICE * 2).max(), FLOAT, "(clicks.price * 2).max()"),
        (PRICE.count_distinct(), INT, "clicks.price.count_distinct()"),
        (Aggregate("count", CLICKS, None, INT), INT, "clicks.count()"),
    ],
)
def test_an_expression_has_a_kind_and_a_text(expression: Any, kind: Kind, shown: str) -> None:
    assert (kind, shown) == (expression.kind, str(expression))


def test_a_constant_in_another_zone_is_one_in_utc() -> None:
    tokyo = NOON.astimezone(dt.timezone(dt.timedelta(hours=9)))

    literal = as_expression(tokyo)

    assert isinstance(literal, Literal)
    assert (UTC, NOON, dt.UTC) == (literal.kind, literal.value, literal.value.tzinfo)


def test_walking_visits_all_from_the_outside_in() -> None:
    expression = (I + 1).is_in([5])

    found = [str(part) for part in expression.walk()]

    assert ["(imp.i + 1).is_in([5])", "imp.i + 1", "imp.i", "1", "5"] == found


def test_what_is_already_of_the_type_stays() -> None:
    assert X.to(float) is X


def test_float_sums_and_means_are_inexact() -> None:
    count = column("n", INT, CLICKS)
    exact = (PRICE.min(), PRICE.count(), count.sum(), PRICE.max(), PRICE.count_distinct())

    assert all(each.is_inexact for each in (PRICE.sum(), PRICE.mean(), count.mean()))
    assert not any(each.is_inexact for each in exact)


def test_a_column_is_read_from_other_rows() -> None:
    original: Column[Any] = Column("x", FLOAT, is_nullable=True, is_partition=True)

    bound = original.of(ROWS)

    assert ("x", "imp.x") == (str(original), str(bound))
    assert (FLOAT, True, True) == (bound.kind, bound.is_nullable, bound.is_partition)


def test_a_parameter_has_a_kind_and_a_default() -> None:
    class Definition:
        start = Parameter(dt.date, default=dt.date(2026, 1, 1))
        end = Parameter(Utc)

    assert ("parameters.start", DATE) == (str(Definition.start), Definition.start.kind)
    assert (UTC, None) == (Definition.end.kind, Definition.end.default)
    assert "date('2026-01-01')" == str(Definition.start.default)


def test_raw_sql_shows_its_texts() -> None:
    assert "sql('int64', duckdb='hash(x)')" == str(Sql(int, duckdb="hash(x)"))
    assert named_kind("float32", "It") == Sql("float32", spark="rand()").kind


# ---------------------------------------------------------------- what is refused

REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: bool(X > 5), "has no truth value of its own; it has one for each row"),
    (lambda: 1 < X < 5, r"a chain such as 1 < x < 5 is x\.between\(1, 5\)"),
    (lambda: X == None, r"== None is null for every row; use is_null\(\)"),  # noqa: E711
    (lambda: X == float("nan"), r"is false beside NaN for every row; use is_nan\(\)"),  # noqa: PLW0177
    (lambda: X.is_in([1.0, math.nan]), "is false beside NaN for every row"),
    (lambda: X == 2**53 + 1, "must be of type float64"),
    (lambda: X < 10**400, "must be of type float64"),
    (lambda: I == 2**63, "What stands beside imp.i in == is 9223372036854775808; it must be"),
    (lambda: I > 0.5, r"compares it with a float; make one of them the other's type with \.to"),
    (lambda: I == X, r"compares it with a float; make one of them"),
    (lambda: S == 5, "What stands beside imp.s in == is 5; it must be of type string"),
    (lambda: S == I, "imp.s is string and imp.i is int64; == takes two of one type"),
    (lambda: S == "a\ud800", "it must be of type string"),
    (lambda: I == True, "it must be of type int64"),  # noqa: E712
    (lambda: C < column("c2", BOOL), "does not order such values"),
    (lambda: R > b"", "does not order such values"),
    (lambda: LIST == column("l2", LIST.kind), "does not compare lists"),
    (lambda: T == U, r"Say in which zone: \.in_zone"),
    (lambda: U == NAIVE, "it must be of type utc"),
    (lambda: T == NOON, "it must be of type time"),
    (lambda: D == T, r"The day of a time is \.date\(\)"),
    (lambda: D == "yesterday", "it must be of type date"),
    (lambda: D == NOON, "it must be of type date"),
    (lambda: X == object(), "it must be of type float64"),
    (lambda: I.is_in([]), "has no values; give at least one"),
    (lambda: I.is_in([K]), "takes constants; compare columns with == and |"),
    (lambda: I.is_in([0.5]), "takes values of the type of imp.i, int64"),
    (lambda: I.is_in([None]), "is_in None is null for every row"),
    (lambda: LIST.is_in([[1]]), r"it must be of type list\[int64\]"),
    (I.is_nan, "takes floating-point numbers"),
    (lambda: C & I, "takes conditions; comparisons beside it need parentheses"),
    (lambda: True | I, "takes conditions"),
    (lambda: C & "yes", "takes conditions"),
    (lambda: ~I, "takes conditions"),
    (lambda: S + "a", "takes numbers"),
    (lambda: U - U, r"the time between two is a\.seconds_since\(b\)"),
    (lambda: I + None, "None is no constant of an expression"),
    (lambda: X // 2, "takes whole numbers"),
    (lambda: 7 % X, "takes whole numbers"),
    (lambda: I / 0, "divides by no zero"),
    (lambda: I // 0, "divides by no zero"),
    (lambda: X / -0.0, "divides by no zero"),
    (lambda: I % 0, "divides by no zero"),
    (lambda: I + days(1), "adds durations to dates and times only"),
    (lambda: D + hours(25), "adds whole days to a date, not 1 day, 1:00:00"),
    (lambda: T + days(4_000_000), "adds at most 3652058 days"),
    (lambda: D - dt.timedelta.min, "adds at most 3652058 days"),
    (U.hour, "is a question of the zone; ask"),
    (D.hour, "takes a time"),
    (I.year, "takes a date or a time"),
    (lambda: T.in_zone("UTC"), r"takes timestamps in UTC \(Column\[Utc\]\)"),
    (lambda: U.in_zone("Asia/Tokio"), "Time zone 'Asia/Tokio' is not known; it must be 'UTC' or"),
    (lambda: U.in_zone("EST"), "Time zone 'EST' is not the same for every engine"),
    (lambda: U.in_zone("right/UTC"), "is not the same for every engine"),
    (lambda: U.in_zone("../etc/passwd"), "is not known"),
    (lambda: D.seconds_since(D), "takes timestamps"),
    (lambda: U.seconds_since(T), r"Say in which zone"),
    (lambda: I.contains("1"), "takes a text and a constant text"),
    (lambda: S.starts_with(S), "takes a text and a constant text"),  # type: ignore[arg-type]
    (X.coalesce, "has no second value; give at least one"),
    (lambda: I.coalesce(0.5), r"takes values of one type; make them so with \.to"),
    (lambda: S.to(int), "cannot be made int64 in the same way by every engine"),
    (lambda: X.to(str), "cannot be made string in the same way by every engine"),
    (lambda: I.to(bool), "cannot be made bool"),
    (lambda: D.to(str), "cannot be made string"),
    (lambda: X.to(complex), r"to\(\) of imp.x has type complex"),
    (lambda: if_else(I, 1, 2), "takes a condition first"),
    (lambda: if_else(C, 1, "a"), "it must be of type int64"),
    (lambda: if_else(C, S, X), "if_else takes two of one type"),
    (lambda: if_else(C, 1, 0.5), "takes values of one type"),
    (lambda: PRICE.sum(nan="keep"), r"nan='keep' of sum\(\) is not known; 'drop' leaves NaN out"),
    (lambda: column("n", INT, CLICKS).max(nan="drop"), "for floating-point numbers only"),
    (lambda: PRICE.sum().max(), "an aggregate of aggregates is not possible"),
    (X.sum, r"sum\(\) takes columns of one window"),
    ((PRICE + OTHER).sum, "takes columns of one window"),
    (lambda: column("s", STRING, CLICKS).mean(), "takes numbers"),
    (lambda: column("c", BOOL, CLICKS).min(), "takes numbers, texts, dates and times"),
    (lambda: column("l", Kind("list", INT), CLICKS).count_distinct(), "does not compare lists"),
    (lambda: Parameter(bytes), "A parameter is a number, a text, a condition, a date or a time"),
    (lambda: Parameter(list[int]), "A parameter is a number"),
    (lambda: Parameter(int, default="a"), "A default is 'a'; it must be of type int64"),
    (lambda: Sql(int), r"Sql\(\) has no text; give duckdb=, spark= or both"),
    (lambda: as_literal(300, Kind("int8"), "Parameter 'a'"), "Parameter 'a' is 300; it must be"),
    (lambda: as_literal("x", Kind("list", INT), "It"), r"it must be of type list\[int64\]"),
]


@pytest.mark.parametrize(("make", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_engines_would_do_differently_is_refused(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_an_expression_is_no_key() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(X)


def test_a_call_may_be_made_by_hand() -> None:
    made: Call[int] = Call("abs", (I,), INT)

    assert "imp.i.abs()" == str(made)
    assert made.parts[0] is I
