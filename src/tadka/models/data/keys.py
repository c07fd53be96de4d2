"""Sets of values that do not outgrow their memory: hashes, thinned out evenly when there are many.

A value is known by 64 bits of hash. Above a limit half of all possible hashes are no longer looked
at, and then half of these; what is counted afterwards holds for the share that still is. (Adaptive
sampling, Flajolet 1990, "On adaptive sampling", Computing 43.) Shapes: N rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.extra import require

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MISSING = np.uint64(0x6A09E667F3BCC909)
_NAN = np.uint64(0xBB67AE8584CAA73B)


class KeySet:
    """A set of hashes.

    Args:
        limit: The most that are kept, 8 bytes each; at least 1.
    """

    def __init__(self, limit: int = 1 << 23) -> None:
        self._limit = limit
        self._level = 0
        # sorted, each at least twice as long as the next: few to search, few to merge
        self._runs: list[Hashes] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    @property
    def share(self) -> float:
        """Of all hashes, those that are looked at."""
        return 0.5**self._level

    def looks_at(self, hashes_N: Hashes) -> Mask:
        """Which hashes belong to the share that is looked at.

        Args:
            hashes_N: Of values.
        """
        if not self._level:
            return np.ones(len(hashes_N), dtype=bool)
        return np.asarray(hashes_N >> np.uint64(64 - self._level) == 0)

    def contains(self, hashes_N: Hashes) -> Mask:
        """Which hashes are in the set; False for those that are not looked at.

        Args:
            hashes_N: Of values.
        """
        found = np.zeros(len(hashes_N), dtype=bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, hashes_N), len(run) - 1)
            found |= run[at] == hashes_N
        return found

    def add(self, hashes_N: Hashes) -> Mask:
        """Puts hashes into the set.

        Args:
            hashes_N: Of values.

        Returns:
            Which were there before, or earlier among these.
        """
        where = np.flatnonzero(self.looks_at(hashes_N))
        unique, first = np.unique(hashes_N[where], return_index=True)
        was_there = np.zeros(len(hashes_N), dtype=bool)
        was_there[where] = True
        is_known = self.contains(unique)
        was_there[where[first[~is_known]]] = False
        self._keep(unique[~is_known])
        return was_there

    def put(self, hashes_N: Hashes) -> None:
        """The same as `add` without its answer, in half the time.

        Args:
            hashes_N: Of values.
        """
        unique = np.unique(hashes_N[self.looks_at(hashes_N)])
        self._keep(unique[~self.contains(unique)])

    def _keep(self, new: Hashes) -> None:
        """Takes in sorted hashes, none of which is there."""
        if len(new):
            self._runs.append(new)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] = np.sort(np.concatenate([self._runs[-1], last]), kind="stable")
        while len(self) > self._limit:
            self._level += 1
            bound = np.uint64(1 << (64 - self._level))
            kept = [run[: np.searchsorted(run, bound)] for run in self._runs]
            self._runs = [run for run in kept if len(run)]


def hash_columns(columns: Sequence[Any]) -> Hashes:
    """One hash a row of several columns; order and number of the columns matter.

    Args:
        columns: Arrow arrays of one length, at least one.

    Returns:
        Shape (N,).
    """
    total = np.full(len(columns[0]), np.uint64(len(columns)))
    for column in columns:
        total = _mixed(total * _GOLDEN + hash_column(column))
    return total


def hash_column(column: Any) -> Hashes:
    """One hash a row of a column; equal values of numbers of any width have equal hashes.

    Args:
        column: An Arrow array of any type.

    Returns:
        Shape (N,). All missing values have one hash; NaN has another.
    """
    pa = require("pyarrow", extra="arrow")
    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        return hash_column(column.dictionary_decode())
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lists = column.cast(pa.large_list(kind.value_type))
        offsets = lists.offsets.to_numpy()
        items = hash_column(lists.values)[offsets[0] : offsets[-1]] if len(lists) else _none()
        found = _sequences(items, offsets - offsets[0] if len(lists) else offsets)
    elif types.is_string(kind) or types.is_binary(kind) or _is_large(kind, types):
        data = column.cast(pa.large_binary())
        bounds = np.frombuffer(data.buffers()[1] or b"", np.int64)
        offsets = bounds[data.offset : data.offset + len(data) + 1]
        text = np.frombuffer(data.buffers()[2] or b"", np.uint8)
        first, last = (int(offsets[0]), int(offsets[-1])) if len(data) else (0, 0)
        found = _sequences(_BYTES[text[first:last]], offsets - first)
    elif types.is_floating(kind):
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0  # -0.0 is 0.0
        found = _mixed(np.ascontiguousarray(numbers).view(np.uint64))
        # a float that is whole hashes as the whole number that it equals
        is_whole = (numbers == np.floor(numbers)) & (np.abs(numbers) < 2.0**53)
        wholes = np.where(is_whole, numbers, 0.0).astype(np.int64)
        found = np.where(is_whole, _mixed(wholes.view(np.uint64)), found)
        found[np.isnan(numbers)] = _NAN  # whatever the bits of the NaN
    elif types.is_integer(kind) or types.is_boolean(kind) or types.is_temporal(kind):
        whole = column.fill_null(False) if types.is_boolean(kind) else column
        if types.is_date32(kind) or types.is_time32(kind):
            whole = whole.cast(pa.int32())
        numbers = whole.cast(pa.int64()) if not types.is_uint64(kind) else whole
        numbers = numbers.fill_null(0).to_numpy(zero_copy_only=False)
        found = _mixed(np.ascontiguousarray(numbers).view(np.uint64))
    else:  # decimals, structs and what else there is: slow, and seldom
        found = hash_column(pa.array([repr(value) for value in column.to_pylist()], pa.string()))
    if column.null_count:
        found = found.copy()
        found[column.is_null().to_numpy(zero_copy_only=False)] = _MISSING
    return found


def _sequences(items: Hashes, offsets: npt.NDArray[np.int64]) -> Hashes:
    """Hashes of runs of items: a sum in which the place of an item decides its factor."""
    lengths = np.diff(offsets)
    if not len(lengths):
        return _none()
    places = np.arange(len(items)) - np.repeat(offsets[:-1], lengths)
    factors = _mixed(places.astype(np.uint64) + _GOLDEN) | np.uint64(1)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(items * factors, dtype=np.uint64)])
    return _mixed(sums[offsets[1:]] - sums[offsets[:-1]] + lengths.astype(np.uint64) * _GOLDEN)


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), modulo 2**64."""
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _none() -> Hashes:
    return np.zeros(0, dtype=np.uint64)


def _is_large(kind: Any, types: Any) -> bool:
    return bool(
        types.is_large_string(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
    )


_BYTES = _mixed(np.arange(256, dtype=np.uint64))
