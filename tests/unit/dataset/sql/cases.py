"""Every operator, over columns of hostile values and beside constants."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np

from tadka.dataset.expression.expression import Expression, days, hours, if_else
from tests.unit.dataset.sql.hostile import COLUMNS as C
from tests.unit.dataset.sql.hostile import INF, LIMIT, MOST, NAN, ONE_DAY, RATE, TEXTS, WORD


def _comparisons(left: Any, right: Any) -> list[Expression[Any]]:
    return [left == right, left != right, left < right, left <= right, left > right, left >= right]


def all_comparisons() -> Iterator[Expression[Any]]:
    for name in ("i", "k", "b", "x", "f", "s", "d", "t", "u"):
        yield from _comparisons(C[name], C[f"{name}2"])
    for left, right in (("i", "k"), ("k", "b"), ("k", "x"), ("k", "f"), ("b", "f"), ("f", "x")):
        yield from _comparisons(C[left], C[right])
    constants: list[tuple[str, list[Any]]] = [
        ("i", [0, MOST, -MOST - 1]),
        ("k", [5, 2**40, 5.0, 0.1, INF]),
        ("b", [5, 1000]),
        ("x", [0, 1.5, -0.0, INF, -INF, 1e300]),
        ("f", [0.1, 1.5]),
        ("s", TEXTS),
        ("d", [dt.date(1970, 1, 1), dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
        ("t", [dt.datetime.fromisoformat("2026-03-08T02:30:00"), dt.date(1970, 1, 1)]),
        ("u", [dt.datetime(2026, 3, 8, 7, tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)]),
    ]
    for name, values in constants:
        for value in values:
            yield from _comparisons(C[name], value)
    yield from (C["c"] == C["c2"], C["c"] != C["c2"], C["c"] == True)  # noqa: E712
    yield from (C["r"] == C["r2"], C["r"] != C["r2"], C["r"] == b"\xff'", C["r"] != b"")
    yield C["d"] == ONE_DAY
    yield C["d"] < ONE_DAY + days(1)
    yield C["i"] > LIMIT
    yield C["x"] >= RATE
    yield C["s"] == WORD


def all_others() -> Iterator[Expression[Any]]:
    yield C["i"].is_in([0, MOST, -MOST - 1])
    yield C["b"].is_in([5, 1000])
    yield C["x"].is_in([0, 1.5, INF])
    yield C["f"].is_in([0.1, 1.5, float(np.float32(0.1))])
    yield C["s"].is_in(TEXTS)
    yield ~C["s"].is_in(["", "\\"])
    yield C["d"].is_in([dt.date(1, 1, 1), dt.date(2026, 3, 8)])
    yield C["u"].is_in([dt.datetime(1970, 1, 1, tzinfo=dt.UTC)])
    yield C["c"].is_in([True])
    yield C["r"].is_in([b"", b"\x00"])
    yield C["x"].between(-1, 2)
    for column in C.values():
        yield column.is_null()
        yield column.is_not_null()
    yield from (C["x"].is_nan(), C["f"].is_nan(), ~C["x"].is_nan(), (C["x"] - C["x2"]).is_nan())
    yield from (C["c"] & C["c2"], C["c"] | C["c2"], ~C["c"], ~(C["x"] > C["x2"]), True & C["c"])
    pairs = [("i", "i2"), ("k", "i"), ("b", "b2"), ("x", "x2"), ("f", "f2"), ("i", "x"), ("k", "f")]
    for left, right in pairs:
        a, b = C[left], C[right]
        yield from (a + b, a - b, a * b, a / b, -a, a + 1, 1.5 * b, 1 / b, a / 3, a - 0.1)
    for left, right in [("i", "i2"), ("k", "i"), ("b", "b2"), ("k", "k2")]:
        yield from (C[left] // C[right], C[left] % C[right])
        for constant in (1, -1, 3, -3, 10, MOST, -MOST - 1):
            yield from (C[left] // constant, C[left] % constant)
        yield from (7 // C[right], -7 % C[right])
    yield from (C["i"] // LIMIT, C["i"] % LIMIT, C["x"] / RATE, C["x"] * RATE)
    for time in (C["t"], C["u"].in_zone("America/New_York")):
        parts = (time.year(), time.month(), time.day(), time.weekday(), time.hour(), time.minute())
        yield from parts
        yield time.date()
    yield from (C["d"].year(), C["d"].month(), C["d"].day(), C["d"].weekday())
    zones = (
        "UTC",
        "Asia/Tokyo",
        "America/New_York",
        "Europe/London",
        "Asia/Kathmandu",
        "Etc/GMT+9",
    )
    for zone in (*zones, "Australia/Lord_Howe", "Pacific/Apia"):
        yield C["u"].in_zone(zone)
    for column in (C["t"], C["u"]):
        spans = (days(1), hours(-5), days(-400_000), dt.timedelta(microseconds=-1), days(3_652_058))
        for span in spans:
            yield column + span
        yield column - dt.timedelta(seconds=1.000001)
    yield from (C["d"] + days(1), C["d"] - days(60), C["d"] + days(3_652_058))
    yield from (C["t"].seconds_since(C["t2"]), C["u"].seconds_since(C["u2"]))
    yield C["u"].seconds_since(dt.datetime(2026, 3, 8, 7, tzinfo=dt.UTC))
    for text in TEXTS:
        yield from (C["s"].starts_with(text), C["s"].contains(text))
    for name in C:
        if not name.endswith("2"):
            yield C[name].coalesce(C[f"{name}2"])
    yield from (C["i"].coalesce(0), C["b"].coalesce(C["k"], 2**40), C["f"].coalesce(0.1))
    yield from (C["x"].coalesce(NAN), C["s"].coalesce("'\\"), C["r"].coalesce(b"\x00'"))
    for name in ("int8", "int16", "int32", "int64", "float32", "float64"):
        for column in (C["i"], C["b"], C["x"], C["f"], C["c"]):
            yield column.to(name)
    yield from (C["i"].to(str), C["b"].to(str), C["c"].to(str))
    for name in C:
        if not name.endswith("2"):
            yield if_else(C["c"], C[name], C[f"{name}2"])
    yield from (if_else(C["c"], 1, 2), if_else(C["c"], 0, C["x"]), if_else(C["c"], C["b"], 5))
    yield if_else(C["c"], C["f"], 0.5)
    # a row that does not take a branch does not evaluate it
    yield if_else(C["x"] != 0, 1 / C["x"], 0.0)
    yield if_else(C["i2"] == 0, -1, C["i"] % C["i2"])
