"""What the values of a column are like: counted exactly, or estimated from some of the rows.

Letters: N values.
"""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tadka.core.extra import require
from tadka.dataset.expression.kind import Kind

if TYPE_CHECKING:
    import pyarrow as pa

_NUM_TOP = 10
_NUM_BINS = 20
_LEAST_SEEN = 10  # rows of a sample that a value must be in to be called frequent
_MAX_TEXT = 100  # characters of a value that is shown
_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, kw_only=True)
class ColumnStatistics:
    """What is known of one column of a version.

    All values are such that JSON holds them: dates and times are ISO text, bytes hex digits, NaN
    and the infinities text.

    Args:
        num_null: Rows without a value.
        num_nan: Rows, and items of lists, that are NaN.
        num_distinct: Distinct values, NaN being one and null none: exact up to 16,384 rows, else
            an estimate with a standard error of 1.6 %, to three digits.
        min: Least value of numbers, dates and times, NaN left out; None for others.
        max: Greatest value, alike.
        mean: Of numbers, NaN left out, and the share of true ones; None for others.
        top: The most frequent values and in how many rows they are, the most frequent one first;
            beyond 16,384 rows an estimate, without values that are rare. Empty for lists.
        histogram_edges: Of bins of numbers, dates and times, one more than there are bins: each
            bin begins at an edge and ends before the next. The outer ones are wider where a few
            values lie far out. Infinities are in no bin.
        histogram_counts: In how many rows the values of each bin are; estimated alike.
    """

    num_null: int = 0
    num_nan: int = 0
    num_distinct: int | None = None
    min: float | str | None = None
    max: float | str | None = None
    mean: float | str | None = None
    top: Sequence[tuple[Any, int]] = ()
    histogram_edges: Sequence[float | str] = ()
    histogram_counts: Sequence[int] = ()

    def __post_init__(self) -> None:
        # equal again when they come out of JSON, which has no tuples
        object.__setattr__(self, "top", tuple((value, count) for value, count in self.top))
        for name in ("histogram_edges", "histogram_counts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


class Tally:
    """Exact counts of one column, of parts in any order.

    Args:
        kind: Of the column.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.num_rows = self.num_null = self.num_nan = 0
        self.least: Any = None  # as the numbers that Arrow stores
        self.greatest: Any = None
        self.sums: list[float] = []  # of floating-point numbers, one a batch
        self.whole = 0  # sum of whole numbers

    def update(self, array: "pa.Array") -> None:
        """Adds values.

        Args:
            array: Of the column, as `tadka.dataset.measure.rowhash.normalised` gives it.
        """
        self.num_rows += len(array)
        self.num_null += array.null_count
        if hasattr(array, "dictionary") and self.kind.name not in {"string", "bytes"}:
            array = array.dictionary_decode()
        item = self.kind.item
        if item is not None:
            if item.is_float:
                self.num_nan += int(np.isnan(stored(array.flatten(), item)).sum())
            return
        if self.kind.name == "bool":
            self.whole += array.true_count
        if not _is_ordered(self.kind) or array.null_count == len(array):
            return
        values_N = stored(array, self.kind)
        if self.kind.is_float and math.isnan(values_N.min()):
            is_nan_N = np.isnan(values_N)
            self.num_nan += int(is_nan_N.sum())
            values_N = values_N[~is_nan_N]
            if not len(values_N):
                return
        least, greatest = values_N.min().item(), values_N.max().item()
        self.least = least if self.least is None else min(self.least, least)
        self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)
        if self.kind.is_float:
            with np.errstate(invalid="ignore", over="ignore"):  # inf - inf
                self.sums.append(float(values_N.sum(dtype=np.float64)))
        elif self.kind.is_int:
            self.whole += _exact_sum(values_N, max(-least, greatest))

    def merge(self, other: "Tally") -> None:
        """Adds what another one counted.

        Args:
            other: Of the same column.
        """
        self.num_rows += other.num_rows
        self.num_null += other.num_null
        self.num_nan += other.num_nan
        self.sums += other.sums
        self.whole += other.whole
        if other.least is not None:
            is_first = self.least is None
            self.least = other.least if is_first else min(self.least, other.least)
            self.greatest = other.greatest if is_first else max(self.greatest, other.greatest)

    @property
    def mean(self) -> float | None:
        """Of numbers, NaN left out; the share of true ones."""
        count = self.num_rows - self.num_null - (0 if self.kind.item is not None else self.num_nan)
        if count == 0 or not (self.kind.is_number or self.kind.name == "bool"):
            return None
        if not self.kind.is_float:
            return self.whole / count
        try:
            return math.fsum(sorted(self.sums)) / count
        except (OverflowError, ValueError):  # beyond the greatest number; inf - inf
            return sum(self.sums) / count


def statistics(
    tally: Tally, sample: "pa.Array", num_distinct: float, *, is_whole: bool
) -> ColumnStatistics:
    """All about a column.

    Args:
        tally: Exact counts.
        sample: The column in rows drawn evenly from all.
        num_distinct: The estimate of a sketch.
        is_whole: Whether the sample is all rows.
    """
    kind = tally.kind
    edges, counts = _histogram(tally, sample)
    factor = tally.num_rows / len(sample) if len(sample) else 0.0
    return ColumnStatistics(
        num_null=tally.num_null,
        num_nan=tally.num_nan,
        num_distinct=_distinct(sample, kind, num_distinct, is_whole=is_whole),
        min=_shown(tally.least, kind),
        max=_shown(tally.greatest, kind),
        mean=_plain(tally.mean),
        top=[
            (value, round(count * factor))
            for value, count in _top(sample, kind, 1 if is_whole else _LEAST_SEEN)
        ],
        histogram_edges=edges,
        histogram_counts=[round(count * factor) for count in counts],
    )


def estimate_distinct(registers: npt.NDArray[np.uint8]) -> float:
    """How many distinct values went into a HyperLogLog sketch.

    Args:
        registers: As `tadka.dataset.measure.rowhash_reference.hash_rows` describes them.

    Source: Ertl, New cardinality estimation algorithms for HyperLogLog sketches
    (arXiv:1702.01284), algorithm 6.
    """
    num = len(registers)
    num_bits = 64 - int(math.log2(num))
    count = np.bincount(registers, minlength=num_bits + 2)
    z = num * _tau(1 - count[num_bits + 1] / num)
    for k in range(num_bits, 0, -1):
        z = (z + count[k]) / 2
    z += num * _sigma(count[0] / num)
    return float(num * num / (2 * math.log(2) * z))


def stored(array: "pa.Array", kind: Kind) -> npt.NDArray[Any]:
    """The values that are not null, as the numbers that Arrow stores.

    Args:
        array: Of numbers, dates or times.
        kind: Of the column.
    """
    pa = require("pyarrow", extra="dataset")
    values = array.drop_null() if array.null_count else array
    if kind.is_time:
        values = values.view(pa.int64())
    elif kind.name == "date":
        values = values.view(pa.int32())
    found: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return found


def _is_ordered(kind: Kind) -> bool:
    return kind.is_number or kind.is_time or kind.name == "date"


def _exact_sum(values_N: npt.NDArray[Any], magnitude: int) -> int:
    if magnitude * len(values_N) < 2**63:
        return int(values_N.sum(dtype=np.int64))
    high, low = values_N >> 32, values_N & 0xFFFF_FFFF
    return (int(high.sum(dtype=np.int64)) << 32) + int(low.sum(dtype=np.int64))


def _distinct(sample: "pa.Array", kind: Kind, estimate: float, *, is_whole: bool) -> int:
    pc = require("pyarrow.compute", extra="dataset")
    if kind.item is None:
        counts_N = pc.value_counts(sample.drop_null()).field("counts").to_numpy()
        # where the sample has no value only once, it has most likely seen them all
        is_near = abs(estimate - len(counts_N)) < 0.05 * estimate
        if is_whole or (is_near and counts_N.min(initial=2) > 1):
            return len(counts_N)
    return round(float(f"{estimate:.3g}"))


def _top(sample: "pa.Array", kind: Kind, least_seen: int) -> list[tuple[Any, int]]:
    """The most frequent values; equally frequent ones in the order of their texts."""
    pa, pc = (require(name, extra="dataset") for name in ("pyarrow", "pyarrow.compute"))
    if kind.item is not None:
        return []
    counted = pc.value_counts(sample.drop_null())
    counts_N = counted.field("counts").to_numpy()
    if len(counts_N) > _NUM_TOP:
        tenth = np.partition(counts_N, -_NUM_TOP)[-_NUM_TOP]
        is_crowd = (counts_N >= tenth).sum() > 100 * _NUM_TOP  # which of them would be chance
        least_seen = max(least_seen, int(tenth) + int(is_crowd))
    is_frequent_N = counts_N >= least_seen
    values = counted.field("values").filter(pa.array(is_frequent_N)).to_pylist()
    found = zip(map(_plain, values), map(int, counts_N[is_frequent_N]), strict=True)
    return sorted(found, key=lambda pair: (-pair[1], str(pair[0])))[:_NUM_TOP]


def _histogram(tally: Tally, sample: "pa.Array") -> tuple[list[Any], list[int]]:
    kind = tally.kind
    if not _is_ordered(kind) or not len(sample):
        return [], []
    values_N = stored(sample, kind)
    if kind.is_float:
        values_N = values_N[np.isfinite(values_N)]
    if not len(values_N):
        return [], []
    # what the tally saw, unless it is infinite; in Python's numbers, whose differences do not wrap
    least, greatest = values_N.min().item(), values_N.max().item()
    least = tally.least if math.isfinite(tally.least) else least
    greatest = tally.greatest if math.isfinite(tally.greatest) else greatest
    edges = _edges(values_N, least, greatest, kind)
    at = np.searchsorted(np.array(edges[1:-1], values_N.dtype), values_N, "right")
    counts = np.bincount(at, minlength=len(edges) - 1)
    return [_shown(edge, kind) for edge in edges], [int(count) for count in counts]


def _edges(values_N: npt.NDArray[Any], least: Any, greatest: Any, kind: Kind) -> list[Any]:
    """Ends of bins of equal width, but for outer ones that hold what lies far out."""
    low, high = (np.quantile(values_N, q, method="nearest").item() for q in (0.01, 0.99))
    if not least <= low < high <= greatest or high / 4 - low / 4 > greatest / 8 - least / 8:
        low, high = least, greatest
    num_bins = _NUM_BINS - (low > least) - (high < greatest)
    if kind.is_float:
        inner = [low * (1 - i / num_bins) + high * (i / num_bins) for i in range(num_bins + 1)]
        end = greatest
    elif kind.is_time:
        inner = [low + (high - low) * i // num_bins for i in range(num_bins + 1)]
        end = greatest
    else:
        step = -(-(high + 1 - low) // num_bins)
        inner = [*range(low, high + 1, step), high + 1]
        end = greatest + 1
    edges = sorted({edge for edge in (least, *inner, end) if least <= edge <= end})
    return edges if len(edges) > 1 else [least, greatest]


def _shown(number: Any, kind: Kind) -> Any:
    """A stored number as JSON has the value."""
    if number is None or kind.is_number:
        return _plain(number)
    if kind.name == "date":
        return _iso(number * 86_400_000_000).removesuffix("T00:00:00")
    return _iso(number) + ("+00:00" if kind.name == "utc" else "")


def _iso(microseconds: int) -> str:
    days, rest = divmod(microseconds, 86_400_000_000)
    try:
        day = _EPOCH + dt.timedelta(days=days)
    except OverflowError:
        return f"{microseconds} us since 1970"
    time = dt.datetime.combine(day, dt.time()) + dt.timedelta(microseconds=rest)
    return time.isoformat()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return value[:_MAX_TEXT] + "…"
    return value


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z = 1.0, x
    while True:
        x *= x
        before, z = z, z + x * y
        y += y
        if z == before:
            return z


def _tau(x: float) -> float:
    if x in {0.0, 1.0}:
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        y /= 2
        before, z = z, z - (1 - x) ** 2 * y
        if z == before:
            return z / 3
