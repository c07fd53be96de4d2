"""Splits: shares, buckets and ends."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadka.core.error import ConfigError
from tadka.dataset.define.split import NUM_BUCKETS, HashSplit, by_hash, by_time
from tadka.dataset.define.table import Table
from tadka.dataset.expression.expression import Column, Parameter, days
from tadka.dataset.expression.kind import Utc


class Event(Table, source="event.parquet", time="at"):
    user: Column[int]
    price: Column[float]
    at: Column[Utc]


EVENT = Event.all()


def test_shares_become_buckets() -> None:
    split = by_hash(EVENT.user, salt="v1", train=0.5, valid=0.25, test=0.25)
    assert ("train", "valid", "test") == split.parts
    assert {"train": 2**31, "valid": 3 * 2**30, "test": 2**32} == split.ends
    assert "v1" == split.salt


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=20))
def test_buckets_cover_all_and_follow_the_shares(weights: list[int]) -> None:
    shares = {f"part{i}": weight / sum(weights) for i, weight in enumerate(weights)}
    ends = list(by_hash(EVENT.user, salt="", **shares).ends.values())
    assert NUM_BUCKETS == ends[-1]
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert all(
        abs(size / NUM_BUCKETS - share) < 1e-8 and size > 0
        for size, share in zip(sizes, shares.values(), strict=True)
    )


def test_ends_of_parts() -> None:
    cut = Parameter(Utc)
    split = by_time(EVENT.at, train=date(2026, 1, 1), valid=cut + days(1), test=None)
    assert ("train", "valid", "test") == split.parts
    assert "utc('2026-01-01T00:00:00+00:00')" == str(split.ends["train"])
    assert split.ends["test"] is None
    assert by_time(EVENT.at, train=Parameter(date)).ends["train"] is not None


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: by_hash("user", salt="", a=1), "by_hash takes a column first"),  # type: ignore[arg-type]
        (
            lambda: by_hash(EVENT.price, salt="", a=1),
            "equal on every engine; Event.price is float64",
        ),
        (lambda: by_hash(EVENT.user, salt=5, a=1), "salt of by_hash is 5"),  # type: ignore[arg-type]
        (lambda: by_hash(EVENT.user, salt=""), "by_hash has no parts"),
        (lambda: by_hash(EVENT.user, salt="", a=0.8, b=0.3), "are 1.1 together (a 0.8, b 0.3)"),
        (lambda: by_hash(EVENT.user, salt="", a=1, b=0), "Share of part 'b' is 0"),
        (lambda: by_hash(EVENT.user, salt="", a=True), "Share of part 'a' is True"),
        (lambda: by_hash(EVENT.user, salt="", a=float("nan")), "Share of part 'a' is nan"),
        (lambda: by_hash(EVENT.user, salt="", a=0.5, A=0.5), "'a' and 'A' differ in case only"),
        (lambda: by_hash(EVENT.user, salt="", **{"": 1}), "A part has the name ''"),
        (lambda: by_time(EVENT.user, a=None), "by_time takes a date or a time"),
        (lambda: by_time(EVENT.at), "by_time has no parts"),
        (lambda: by_time(EVENT.at, a=None, b=None), "End of part 'a' is None; only the last"),
        (lambda: by_time(EVENT.at, a=5), "End of part 'a' is 5; it must be of type utc"),
        (lambda: by_time(EVENT.at, a=Parameter(datetime)), "must be a constant or parameter of"),
        (lambda: by_time(EVENT.at, a=EVENT.at), "must be a constant or parameter of type utc"),
    ],
)
def test_refuses(make: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert expected in str(caught.value)


def test_splits_can_be_made_as_data() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert {"all": NUM_BUCKETS} == HashSplit(EVENT.user, "", {"all": 1.0}).ends
    assert ("a",) == by_time(EVENT.at, a=moment).parts
