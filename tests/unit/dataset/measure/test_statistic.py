import datetime as dt
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.dataset.expression.kind import Kind, named_kind
from tadka.dataset.measure.rowhash import column_keys, digest_piece, normalised
from tadka.dataset.measure.statistic import (
    ColumnStatistics,
    Tally,
    estimate_distinct,
    statistics,
)

UTC = dt.UTC


def about(values: Any, kind_name: str) -> ColumnStatistics:
    """Statistics of a column that is seen as a whole."""
    kind = named_kind(kind_name, "c")
    array = values if isinstance(values, pa.Array) else pa.array(values, kind.arrow)
    tallies = [Tally(kind), Tally(kind)]
    for i in range(0, len(array), 3):
        tallies[i % 2].update(array.slice(i, 3))
    tallies[0].merge(tallies[1])
    return statistics(tallies[0], array, sketched(array, kind), is_whole=True)


def sketched(array: pa.Array, kind: Kind) -> float:
    registers = np.zeros((1, 4096), np.uint8)
    for piece in normalised(pa.table({"c": array}), [("c", kind)]):
        digest_piece(piece, [column_keys("c", kind)], registers=registers)
    return estimate_distinct(registers[0])


def test_numbers() -> None:
    found = about([3, 1, None, 3, 2, 3, 2], "int64")
    assert (found.num_null, found.num_nan, found.num_distinct) == (1, 0, 3)
    assert (found.min, found.max, found.mean) == (1, 3, 14 / 6)
    assert found.top == ((3, 3), (2, 2), (1, 1))
    assert found.histogram_edges == (1, 2, 3, 4)
    assert found.histogram_counts == (1, 2, 3)


def test_nan_is_counted_and_left_out_and_infinities_are_ends() -> None:
    found = about([math.nan, 1.0, None, math.inf, math.nan, -math.inf, 3.0], "float64")
    assert (found.num_null, found.num_nan, found.num_distinct) == (1, 2, 5)
    assert (found.min, found.max, found.mean) == ("-inf", "inf", "nan")
    assert sum(found.histogram_counts) == 2
    assert (found.histogram_edges[0], found.histogram_edges[-1]) == (1.0, 3.0)
    assert ("nan", 2) in found.top
    assert about([math.nan, None], "float32").min is None
    assert about([math.nan, 2.0], "float32").mean == 2.0


def test_sums_do_not_overflow() -> None:
    assert about([2**63 - 1] * 9, "int64").mean == 2.0**63
    assert about([-(2**63)] * 9, "int64").mean == -(2**63)
    assert about([-128, 127], "int8").histogram_edges[-1] == 128
    assert about([2**63 - 1, -(2**63)], "int64").mean == -0.5
    assert about([1.7e308] * 9, "float64").mean == "inf"


def test_days_and_times_are_iso_texts() -> None:
    days = [dt.date(1969, 12, 31), dt.date(2026, 1, 2), None]
    found = about(days, "date")
    assert (found.min, found.max, found.mean) == ("1969-12-31", "2026-01-02", None)
    assert found.histogram_edges[0] == "1969-12-31"
    assert found.top == (("1969-12-31", 1), ("2026-01-02", 1))
    times = [dt.datetime(1, 1, 1, 2, 3, 4, 5), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)]  # noqa: DTZ001
    found = about(times, "time")
    assert (found.min, found.max) == ("0001-01-01T02:03:04.000005", "9999-12-31T23:59:59.999999")
    assert len(found.histogram_counts) == 20
    zoned = about([times[0].replace(tzinfo=UTC)], "utc")
    assert zoned.min == "0001-01-01T02:03:04.000005+00:00"
    assert about([dt.date.max], "date").histogram_edges[0] == "9999-12-31"


def test_truth_text_bytes_and_lists() -> None:
    found = about([True, None, False, True, True], "bool")
    assert (found.mean, found.num_distinct, found.min) == (0.75, 2, None)
    assert found.top == ((True, 3), (False, 1))
    found = about(["b", "a", None, "b", "x" * 500], "string")
    assert (found.num_null, found.num_distinct, found.histogram_counts) == (1, 3, ())
    assert found.top == (("b", 2), ("a", 1), ("x" * 100 + "…", 1))
    coded = pa.array(["b", "a", None, "b"]).dictionary_encode()
    assert about(coded, "string").num_null == 1
    assert about([b"\xff", b"\xff"], "bytes").top == (("ff", 2),)
    found = about([[1.0, math.nan], None, [], [None]], "list[float64]")
    assert (found.num_null, found.num_nan, found.num_distinct, found.top) == (1, 1, 3, ())
    coded = pa.array([5, None, 7]).dictionary_encode()
    assert about(coded, "int64").max == 7


def test_no_values_at_all() -> None:
    for kind in ("int64", "float64", "string", "bool", "date", "list[int64]"):
        for values in ([], [None, None]):
            found = about(values, kind)
            assert found.num_null == len(values)
            assert found.num_distinct == 0
            assert (found.min, found.max, found.mean, found.top) == (None, None, None, ())
            assert found.histogram_counts == ()


def test_one_value_is_one_bin() -> None:
    assert about([5, 5], "int64").histogram_counts == (2,)
    found = about([0.5, 0.5], "float64")
    assert (found.histogram_edges, found.histogram_counts) == ((0.5, 0.5), (2,))
    assert about([dt.datetime(2026, 1, 1)], "time").histogram_counts == (1,)  # noqa: DTZ001


def test_a_value_far_out_has_a_bin_of_its_own() -> None:
    for kind, scale in (("int64", 1), ("float64", 0.01)):
        values = [i * scale for i in range(1000)] + [10**9 * scale]
        found = about(values, kind)
        assert found.histogram_edges[0] == 0
        assert len(found.histogram_counts) > 15
        assert max(found.histogram_counts) < 100
        assert sum(found.histogram_counts) == 1001


def test_every_value_is_in_its_bin() -> None:
    chance = np.random.default_rng(0)
    for values in (chance.integers(0, 7, 500), chance.integers(-(2**63), 2**63 - 1, 500)):
        found = about(values.tolist(), "int64")
        counts, _ = np.histogram(
            values.astype(object).astype(np.float64), np.array(found.histogram_edges, np.float64)
        )
        assert counts.tolist() == list(found.histogram_counts)


def test_counts_of_a_sample_stand_for_all_rows() -> None:
    kind = Kind("int64")
    values = pa.array([1] * 9000 + [2] * 990 + list(range(3, 13)))
    tally = Tally(kind)
    tally.update(values)
    sample = pa.array([1] * 90 + [2] * 10)
    found = statistics(tally, sample, 12.3, is_whole=False)
    assert found.top == ((1, 9000), (2, 1000))
    assert (found.num_distinct, found.max) == (12, 12)
    assert sum(found.histogram_counts) == 10_000
    # a value that the sample has once is not said to be frequent
    found = statistics(tally, pa.array(range(100)), 123_456.0, is_whole=False)
    assert (found.top, found.num_distinct) == ((), 123_000)
    # every value many times: the sample has seen them all
    found = statistics(tally, pa.array([1] * 50 + [2] * 50), 2.02, is_whole=False)
    assert found.num_distinct == 2


@pytest.mark.parametrize("kind", ["int64", "string", "float64"])
@pytest.mark.parametrize("num", [0, 1, 3, 50, 1000, 20_000, 300_000])
def test_distinct_values_are_estimated_within_a_few_percent(kind: str, num: int) -> None:
    numbers: Any = pa.array(np.repeat(np.arange(num), 2) * 1000)
    array = numbers.cast(named_kind(kind, "c").arrow)
    assert sketched(array, named_kind(kind, "c")) == pytest.approx(num, rel=0.06, abs=0.5)


def test_statistics_survive_json() -> None:
    made = about([1.5, None, math.inf, 2.0], "float64")
    assert ColumnStatistics(**json.loads(json.dumps(asdict(made), allow_nan=False))) == made
