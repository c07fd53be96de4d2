"""Leakage seen in the definition: cases R12, R17 and R18 of the design, and arithmetic around them.

Whether two intervals touch or overlap is decided to the microsecond, so each bound has a test at
the bound and one beyond it.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.error import ConfigError
from tadka.dataset.define.bound import Bound, Definition
from tadka.dataset.define.definition import Dataset
from tadka.dataset.define.label import Label
from tadka.dataset.define.leakage import check_bound, cutoffs_of
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import Partition
from tadka.dataset.define.split import by_time
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import Column, Parameter, days, hours, seconds
from tadka.dataset.expression.kind import Utc

INSTANT = timedelta(microseconds=1)


class Impression(Table, source="imp/dt={dt}/*.parquet", time="at"):
    dt: Partition[date]
    user: Column[int]
    friend: Column[int]
    kind: Column[str]
    click: Column[bool]
    price: Column[float]
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


class Local(Table, source="local.parquet", time="since"):
    user: Column[int]
    age: Column[int]
    since: Column[datetime]


class Item(Table, source="item.parquet"):
    user: Column[int]
    size: Column[int]


class Dates:
    """Parameters of all datasets here."""

    def __init__(self) -> None:
        self.start = Parameter(date)
        self.end = Parameter(date)
        self.read = Parameter(Utc)


def define(**attributes: Any) -> Definition:
    """A definition with these attributes, over impressions unless they say else."""
    made = {"features": {"user": attributes["imp"].user}, **attributes}
    made["rows"] = made["imp"]
    return type("Made", (Dataset,), made).definition  # type: ignore[attr-defined,no-any-return]


def cutoffs(bound: Bound) -> dict[str, str]:
    return {alias: str(condition) for alias, condition in cutoffs_of(bound).items()}


def mistake(make: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        make()
    return str(caught.value)


JANUARY: dict[str, Any] = {"start": date(2026, 1, 1), "end": date(2026, 2, 1)}


def utc(day: int, month: int = 1, **clock: int) -> datetime:
    return datetime(2026, month, day, tzinfo=UTC) + timedelta(**clock)


def check(definition: Definition, **values: Any) -> Bound:
    given = {name: value for name, value in JANUARY.items() if name in definition.parameters}
    bound = definition.bind(**{**given, **values})
    check_bound(bound)
    return bound


# ---------------------------------------------------------------- windows (R12)


def label_definition(feature_gap: timedelta, label_start: timedelta) -> Definition:
    """Features until `feature_gap` before t, and a label from `label_start` after t on."""
    p = Dates()
    imp = Impression.between(p.start, p.end)
    recent = Click.last(days(7), on="user", gap=feature_gap)
    clicked = Click.within(label_start, label_start + hours(24), on="user")
    return define(
        start=p.start,
        end=p.end,
        read=p.read,
        imp=imp,
        recent=recent,
        clicked=clicked,
        features={"clicks": recent.count()},
        label=Label(clicked.count() > 0, matured_by=p.read),
    )


def test_r12_windows_that_touch_do_not_overlap() -> None:
    check(label_definition(hours(0), hours(0)), read=utc(2, 2))
    check(label_definition(hours(2), -hours(2)), read=utc(2, 2))


@pytest.mark.parametrize("overlap", [seconds(1), INSTANT])
def test_r12_windows_that_overlap_are_refused(overlap: timedelta) -> None:
    message = mistake(lambda: label_definition(hours(0), -overlap))
    assert f"the window 'clicked' of label 'label' begins at t - {overlap}, {overlap} before" in (
        message
    )
    assert "what feature 'clicks' uses, t; it must not begin before. Use next(...)." in message
    assert "begins at t - 2:00:00, 0:59:59 before the end of what feature 'clicks' uses" in mistake(
        lambda: label_definition(hours(1) + seconds(1), -hours(2))
    )


@given(
    st.integers(0, 10**7).map(lambda n: n * INSTANT),
    st.integers(-(10**7), 10**7).map(lambda n: n * INSTANT),
)
def test_r12_overlap_is_what_intervals_say(gap: timedelta, start: timedelta) -> None:
    is_overlap = start < -gap
    if is_overlap:
        assert "it must not begin before" in mistake(lambda: label_definition(gap, start))
    else:
        label_definition(gap, start)


def test_r12_the_rows_themselves_are_known_at_their_time() -> None:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    clicked = Click.within(-seconds(1), hours(1), on="user")
    assert "0:00:01 before the end of what feature 'user' uses, t;" in mistake(
        lambda: define(
            start=p.start,
            end=p.end,
            read=p.read,
            imp=imp,
            clicked=clicked,
            label=Label(clicked.count(), matured_by=p.read),
        )
    )


def test_features_know_nothing_of_later() -> None:
    imp = Impression.all()
    soon = Click.within(-days(1), INSTANT, on="user")
    message = mistake(lambda: define(imp=imp, soon=soon, features={"soon": soon.count() + 1}))
    assert "feature 'soon' uses 'soon', which ends 0:00:00.000001 after the time of" in message
    past = Click.within(-days(1), timedelta(0), on="user")
    define(imp=Impression.all(), past=past, features={"n": past.count()})


def test_features_do_not_use_the_window_of_the_label() -> None:
    p = Dates()
    clicked = Click.next(hours(24), on="user")
    message = mistake(
        lambda: define(
            start=p.start,
            end=p.end,
            read=p.read,
            imp=Impression.between(p.start, p.end),
            clicked=clicked,
            features={"paid": clicked.price.sum()},
            label=Label(clicked.count() > 0, matured_by=p.read),
        )
    )
    assert "feature 'paid' uses 'clicked', the window of the label, which is not known" in message


# ---------------------------------------------------------------- maturity (R12)


def matured(make_label: Any, **attributes: Any) -> Definition:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    return define(
        start=p.start, end=p.end, read=p.read, imp=imp, **attributes, label=make_label(imp, p)
    )


def filled_in(imp: Rows, p: Dates) -> Label:
    return Label(imp.click, window=hours(24), gap=hours(1), matured_by=p.read)


def test_r12_labels_that_have_just_ripened_pass() -> None:
    check(matured(filled_in), read=utc(2, 2, hours=1))
    check(label_definition(hours(0), hours(1)), read=utc(2, 2, hours=1))


@pytest.mark.parametrize("missing", [seconds(1), INSTANT])
def test_r12_unripe_labels_are_refused(missing: timedelta) -> None:
    for definition in (matured(filled_in), label_definition(hours(0), hours(1))):
        message = mistake(lambda d=definition: check(d, read=utc(2, 2, hours=1) - missing))
        assert (
            "of rows until parameters.end = date('2026-02-01') is final 1 day, 1:00:00 later"
            in (message)
        )
        assert f"{missing} after parameters.read = utc('2026-02-02T00:59:59" in message
        assert f"Let the rows end {missing} earlier" in message


def test_unripe_whatever_the_parameters_is_refused_in_the_class() -> None:
    message = mistake(
        lambda: matured(lambda imp, p: Label(imp.click, window=days(2), matured_by=p.end + days(1)))
    )
    assert "final 2 days, 0:00:00 later, 1 day, 0:00:00 after parameters.end + days(1)" in message
    matured(lambda imp, p: Label(imp.click, window=days(2), matured_by=p.end + days(2)))


def test_a_label_that_ripens_says_by_when() -> None:
    message = mistake(lambda: matured(lambda imp, p: Label(imp.click, window=days(2))))
    assert "nothing says when the tables were read. Give matured_by=..., such as" in message
    imp = Impression.all()
    message = mistake(
        lambda: define(imp=imp, label=Label(imp.click, window=days(2), matured_by=utc(1)))
    )
    assert "rows 'imp' have no between() that says when they end." in message


def test_a_label_known_with_its_row_needs_no_maturity() -> None:
    matured(lambda imp, p: Label(imp.click))
    definition = matured(lambda imp, p: Label(imp.click, matured_by=p.read))
    check(definition, read=utc(1, 2))
    assert "1 day, 0:00:00 after parameters.read" in mistake(
        lambda: check(definition, read=utc(31, 1))
    )


def test_maturity_is_a_time_like_that_of_the_rows() -> None:
    naive = datetime(2026, 3, 1)  # noqa: DTZ001
    message = mistake(lambda: matured(lambda imp, p: Label(imp.click, matured_by=naive)))
    assert "is time('2026-03-01T00:00:00') of type time, and the time of its rows" in message
    assert "One has a zone and the other has none" in message
    matured(lambda imp, p: Label(imp.click, matured_by=date(2026, 3, 1)))


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(-(10**12), 10**12))
def test_maturity_is_exact(window: int, gap: int, slack: int) -> None:
    definition = matured(
        lambda imp, p: Label(
            imp.click, window=window * INSTANT, gap=gap * INSTANT, matured_by=p.read
        )
    )
    read = utc(1, 2) + (window + gap + slack) * INSTANT
    if slack < 0:
        assert "is final" in mistake(lambda: check(definition, read=read))
    else:
        check(definition, read=read)


# ---------------------------------------------------------------- the label in features


def test_a_feature_is_not_the_label() -> None:
    message = mistake(
        lambda: matured(
            lambda imp, p: Label(imp.click),
            features={"user": 0},
        )
    )
    assert "feature 'user' is 0" in message
    imp = Impression.all()
    message = mistake(lambda: define(imp=imp, features={"c": ~imp.click}, label=Label(imp.click)))
    assert "feature 'c' uses imp.click, of which the label 'label' is made" in message


def test_a_feature_is_not_the_label_of_another_table() -> None:
    user = User.as_of(on="user")
    assert "feature 'age' uses user.age, of which the label 'label' is made" in mistake(
        lambda: define(
            imp=Impression.all(), user=user, features={"age": user.age}, label=Label(user.age > 30)
        )
    )


def test_a_label_of_the_past_is_as_ripe_as_its_row() -> None:
    p = Dates()
    old = Click.last(days(1), on="user", gap=days(1))
    older = Click.last(days(1), on="user", gap=days(2))
    definition = define(
        start=p.start,
        end=p.end,
        read=p.read,
        imp=Impression.between(p.start, p.end),
        old=old,
        older=older,
        features={"n": older.count()},
        label=Label(old.count(), matured_by=p.read),
    )
    check(definition, read=utc(1, 2))
    assert "0:00:01 after" in mistake(lambda: check(definition, read=utc(1, 2) - seconds(1)))


def test_a_feature_is_not_found_by_the_label() -> None:
    imp = Impression.all()
    item = Item.join(on={"user": imp.friend})
    message = mistake(
        lambda: define(imp=imp, item=item, features={"s": item.size}, label=Label(imp.friend))
    )
    assert "feature 's' uses imp.friend, of which the label" in message


def test_columns_beside_windows_of_a_label_are_known() -> None:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    clicked = Click.next(hours(1), on="user")
    define(
        start=p.start,
        end=p.end,
        read=p.read,
        imp=imp,
        clicked=clicked,
        features={"price": imp.price},
        label=Label(clicked.price.sum() / imp.price, matured_by=p.read),
    )


def history(gap: timedelta, **more: Any) -> Definition:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    before = more.get("before", Impression.all()).last(days(7), on="user", gap=gap)
    return define(
        start=p.start,
        end=p.end,
        read=p.read,
        imp=imp,
        before=before,
        features={"n": before.click.count() if "before" not in more else before.count()},
        label=Label(imp.click, window=hours(24), gap=hours(1), matured_by=p.read),
    )


def test_labels_of_earlier_rows_must_have_ripened() -> None:
    history(hours(25))
    message = mistake(lambda: history(hours(25) - INSTANT))
    assert "feature 'n' uses 'click' of 'before', final 1 day, 1:00:00 after each row" in message
    assert "Use last(..., gap=...) of at least 1 day, 1:00:00." in message
    # a condition reads the label as well
    assert "uses 'click' of 'before'" in mistake(
        lambda: history(hours(0), before=Impression.where(Impression.click == True))  # noqa: E712
    )
    history(hours(0), before=Impression.where(Impression.price > 5))


def test_the_newest_row_has_no_ripe_label() -> None:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    other = Impression.as_of(on={"user": imp.friend})
    message = mistake(
        lambda: define(
            start=p.start,
            end=p.end,
            read=p.read,
            imp=imp,
            other=other,
            features={"c": other.click},
            label=Label(imp.click, window=hours(24), matured_by=p.read),
        )
    )
    assert "feature 'c' uses 'click' of 'other', final 1 day, 0:00:00 after each row" in message


# ---------------------------------------------------------------- lookups (R17, R18)


def as_of_at(at: Any, start: Any = None, end: Any = None) -> Definition:
    p = Dates()
    cut = Parameter(date)
    at = at(p, cut)
    imp = Impression.between(start or p.start, end or p.end)
    user = User.as_of(on="user", at=at)
    return define(start=p.start, end=p.end, cut=cut, imp=imp, user=user, features={"age": user.age})


def test_r17_as_of_the_end_is_refused_in_the_class() -> None:
    message = mistake(lambda: as_of_at(lambda p, cut: p.end))
    assert "'user' looks up table 'User' by its column 'since' as of parameters.end" in message
    assert "Leave out at=: each row is then looked up as of its own time." in message
    assert "1 day, 0:00:00 later" in mistake(lambda: as_of_at(lambda p, cut: p.start + days(1)))
    assert "as of parameters.end + days(1)" in mistake(
        lambda: as_of_at(lambda p, cut: p.end + days(1))
    )


def test_r17_as_of_the_start_and_before_passes() -> None:
    check(as_of_at(lambda p, cut: p.start), cut=date(2026, 1, 1))
    check(as_of_at(lambda p, cut: p.start - days(1)), cut=date(2026, 1, 1))
    check(as_of_at(lambda p, cut: date(2025, 12, 1)), cut=date(2026, 1, 1))


def test_r17_what_the_class_cannot_tell_is_seen_with_the_parameters() -> None:
    definition = as_of_at(lambda p, cut: cut)
    check(definition, cut=date(2026, 1, 1))
    message = mistake(lambda: check(definition, cut=date(2026, 1, 2)))
    assert "the first row may be of parameters.start, 1 day, 0:00:00 later" in message


def test_r17_rows_without_begin_have_no_fixed_time() -> None:
    user = User.as_of(on="user", at=utc(1))
    message = mistake(lambda: define(imp=Impression.all(), user=user))
    assert "rows 'imp' have no between() that says when they begin." in message


def test_r17_tables_with_time_are_not_joined() -> None:
    message = mistake(lambda: define(imp=Impression.all(), user=User.join(on="user")))
    assert "'user' joins table 'User', whose column 'since' says when a row came to be" in message
    define(imp=Impression.all(), item=Item.join(on="user"))


def test_r18_tables_in_different_zones_are_refused() -> None:
    message = mistake(lambda: define(imp=Impression.all(), local=Local.as_of(on="user")))
    assert "'local' is found by Local.since of type time, and the time of its rows" in message
    assert "Impression.at is utc. One has a zone and the other has none" in message
    message = mistake(lambda: define(imp=Impression.all(), local=Local.last(days(1), on="user")))
    assert "Local.since" in message


def test_rows_without_time_find_nothing_by_time() -> None:
    message = mistake(lambda: define(imp=Item.all(), user=User.as_of(on="user")))
    assert "'user' is found by time, and table 'Item' of its rows has no column of time" in message


def test_rows_do_not_find_themselves() -> None:
    imp = Impression.all()
    assert "of which its rows are: each finds itself. Use last(...)" in mistake(
        lambda: define(imp=imp, before=Impression.as_of(on=["user"]))
    )
    other = Impression.all()
    define(imp=other, friend=Impression.as_of(on={"user": other.friend}))
    views = Impression.where(Impression.kind == "view")
    define(imp=Impression.where(Impression.kind == "buy"), before=views.as_of(on="user"))
    assert "each finds itself" in mistake(
        lambda: define(
            imp=Impression.where(Impression.kind == "view"),
            before=Impression.where(Impression.kind == "view").as_of(on="user"),
        )
    )


# ---------------------------------------------------------------- what is read


def covered(span: Any, lookup: Any, at: Any = None) -> Definition:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    clicks = lookup(Click.between(*span(p)))
    return define(start=p.start, end=p.end, imp=imp, clicks=clicks)


def last_week(rows: Rows) -> Rows:
    return rows.last(days(7), on="user")


def test_lookups_read_enough() -> None:
    check(covered(lambda p: (p.start - days(7), p.end), last_week))
    check(covered(lambda p: (p.start, p.end), lambda r: r.as_of(on="user")))
    check(covered(lambda p: (p.start, p.end + days(2)), lambda r: r.next(hours(25), on="user")))
    check(covered(lambda p: (p.start, p.end + days(1)), lambda r: r.next(hours(24), on="user")))


def test_lookups_that_begin_too_late() -> None:
    message = mistake(lambda: covered(lambda p: (p.start - days(6), p.end), last_week))
    assert (
        "'clicks' begins at parameters.start + days(-6), 1 day, 0:00:00 later than the rows of "
        "'imp' need; let its between() begin 1 day, 0:00:00 earlier."
    ) in message
    assert "let its between() begin" in mistake(
        lambda: covered(lambda p: (p.start + days(1), p.end), lambda r: r.as_of(on="user"))
    )


def test_lookups_that_end_too_early() -> None:
    message = mistake(
        lambda: covered(
            lambda p: (p.start, p.end + days(1)), lambda r: r.next(hours(25), on="user")
        )
    )
    assert (
        "'clicks' ends at parameters.end + days(1), 1:00:00 earlier than the rows of 'imp' need; "
        "let its between() end 1:00:00 later."
    ) in message
    assert "ends at parameters.end + days(-1)" in mistake(
        lambda: covered(lambda p: (p.start, p.end - days(1)), lambda r: r.as_of(on="user"))
    )


def test_lookups_with_bounds_of_their_own_are_seen_with_the_parameters() -> None:
    definition = covered(lambda p: (date(2025, 12, 25), date(2026, 2, 1)), last_week)
    check(definition)
    message = mistake(lambda: check(definition, start=date(2025, 12, 31)))
    assert "'clicks' begins at date('2025-12-25'), 1 day, 0:00:00 later" in message
    message = mistake(lambda: check(definition, end=date(2026, 2, 2)))
    assert "'clicks' ends at date('2026-02-01'), 1 day, 0:00:00 earlier" in message


def test_lookups_as_of_a_fixed_time_read_until_it() -> None:
    p = Dates()
    imp = Impression.between(p.start, p.end)

    def made(first: Any, last: Any) -> Definition:
        clicks = Click.between(first, last).as_of(on="user", at=p.start)
        return define(start=p.start, end=p.end, imp=imp, clicks=clicks)

    made(p.start - days(30), p.start)
    assert "let its between() end 1 day, 0:00:00 later" in mistake(
        lambda: made(p.start - days(30), p.start - days(1))
    )


def test_rows_without_bounds_need_all_of_what_they_look_up() -> None:
    span = (date(2026, 1, 1), date(2026, 2, 1))
    message = mistake(
        lambda: define(imp=Impression.all(), clicks=Click.between(*span).last(days(7), on="user"))
    )
    assert "'clicks' has a between() and rows 'imp' have none" in message


# ---------------------------------------------------------------- splits


def split_until(last: Any, column: str = "at") -> Definition:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    split = by_time(imp[column], train=date(2026, 1, 20), valid=last(p))
    return define(start=p.start, end=p.end, imp=imp, split=split)


def test_every_row_is_in_a_part() -> None:
    for column in ("at", "dt"):
        check(split_until(lambda p: None, column))
        check(split_until(lambda p: p.end, column))
    message = mistake(lambda: split_until(lambda p: p.end - days(1)))
    assert "rows of the last 1 day, 0:00:00 are in no part: 'valid' ends at" in message
    assert "Write valid=None, or a later end." in message
    assert "in no part" in mistake(lambda: check(split_until(lambda p: date(2026, 1, 31))))
    imp = Impression.all()
    message = mistake(lambda: define(imp=imp, split=by_time(imp.at, train=date(2026, 1, 1))))
    assert "nothing says that imp.at is before the end of part 'train'" in message


# ---------------------------------------------------------------- all together


def test_all_leaks_are_listed_together() -> None:
    p = Dates()
    imp = Impression.between(p.start, p.end)
    user, soon = User.join(on="user"), Click.next(hours(1), on="user")
    old = Click.between(p.start, p.end).last(days(7), on="user")
    message = mistake(
        lambda: define(
            start=p.start,
            end=p.end,
            imp=imp,
            user=user,
            soon=soon,
            old=old,
            features={"soon": soon.count(), "click": imp.click},
            label=Label(imp.click, window=days(1)),
        )
    )
    assert message.startswith("Dataset 'Made' has 5 mistakes:\n")


def test_rows_chosen_by_day_must_be_of_those_days() -> None:
    p = Dates()
    by_day = define(start=p.start, end=p.end, imp=Impression.between(p.start, p.end))
    assert {
        "imp": (
            "(imp.at >= utc('2026-01-01T00:00:00+00:00')) & "
            "(imp.at < utc('2026-02-01T00:00:00+00:00'))"
        )
    } == cutoffs(check(by_day))
    by_time_ = define(imp=Impression.between(utc(1), utc(2), by="at"))
    assert {} == cutoffs(by_time_.bind())
    assert {} == cutoffs(define(imp=Impression.all()).bind())
    assert {} == cutoffs(define(imp=Item.all()).bind())


def test_what_is_looked_up_by_day_must_be_of_those_days() -> None:
    p = Dates()
    recent = Click.between(p.start - days(7), p.end).last(days(7), on="user")
    user = User.between(utc(1), utc(2)).as_of(on="user")
    timed = Click.between(utc(1) - hours(1), utc(2), by="at").last(hours(1), on="user")
    item = Item.join(on="user")
    imp = Impression.between(utc(1), utc(2), by="at")
    found = define(
        start=p.start, end=p.end, imp=imp, recent=recent, user_=user, timed=timed, item=item
    )
    assert {
        "recent": (
            "(recent.at >= utc('2025-12-25T00:00:00+00:00')) & "
            "(recent.at < utc('2026-02-01T00:00:00+00:00'))"
        )
    } == cutoffs(found.bind(**JANUARY))


class Hourly(Table, source="hour/{hour:%Y%m%d%H}.parquet", time="at"):
    hour: Partition[datetime]
    user: Column[int]
    at: Column[Utc]


class HourlyLocal(Table, source="hour/{hour:%Y%m%d%H}.parquet", time="at"):
    hour: Partition[Utc]
    user: Column[int]
    at: Column[datetime]


@pytest.mark.parametrize(
    ("table", "bounds", "constant"),
    [
        (Hourly, (datetime(2026, 1, 1, 5), datetime(2026, 1, 1, 6)), "utc('{}+00:00')"),  # noqa: DTZ001
        (HourlyLocal, (utc(1, hours=5), utc(1, hours=6)), "time('{}')"),
    ],
)
def test_partitions_without_zone_are_those_of_utc(
    table: type[Table], bounds: tuple[datetime, datetime], constant: str
) -> None:
    imp = table.between(*bounds)
    start, end = (constant.format(f"2026-01-01T0{hour}:00:00") for hour in (5, 6))
    assert {"imp": f"(imp.at >= {start}) & (imp.at < {end})"} == cutoffs(define(imp=imp).bind())


class Snapshot(Table, source="snapshot/dt={dt}/*.parquet"):
    dt: Partition[date]
    user: Column[int]
    total: Column[int]


def _joined(found: Rows, imp: Rows) -> type[Dataset]:
    body = {"imp": imp, "found": found, "rows": imp, "features": {"total": found["total"]}}
    return type("Joined", (Dataset,), body)


def test_a_snapshot_of_a_later_day_is_refused() -> None:
    start, end = date(2026, 1, 1), date(2026, 2, 1)
    imp = Impression.between(start, end)
    for found in (
        Snapshot.between(end, date(2026, 2, 2)).join(on="user"),
        Snapshot.join(on="user"),
        Snapshot.join(on={"user": imp.user, "dt": imp.dt + days(1)}),
    ):
        with pytest.raises(ConfigError, match="'dt' has days"):
            _joined(found, Impression.between(start, end) if "dt" not in found.lookup.on else imp)  # type: ignore[union-attr]


def test_a_snapshot_of_the_day_of_the_row_or_before_is_known() -> None:
    for back in (0, 1, 7):
        imp = Impression.all()
        key = imp.dt if not back else imp.dt - days(back)
        made = _joined(Snapshot.join(on={"user": imp.user, "dt": key}), imp)
        assert "Joined" == made.definition.name
    imp = Impression.all()
    key = imp.at.in_zone("UTC").date() - days(1)
    made = _joined(Snapshot.join(on={"user": imp.user, "dt": key}), imp)
    assert "Joined" == made.definition.name


def test_the_newest_row_may_be_the_row_itself_under_another_condition() -> None:
    with pytest.raises(ConfigError, match="'click'"):

        class Echo(Dataset):
            imp = Impression.where(Impression.price > 5)
            same = Impression.where(Impression.price > 4).as_of(on={"user": imp.user})
            features = {"clicked": same.click}
            label = Label(imp.click)
