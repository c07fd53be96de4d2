"""Digests of rows in NumPy: the same numbers as `rowhash_native`, some ten times slower.

`tadka.dataset.measure.rowhash` says what is computed. Letters: N rows, 2 halves of a digest.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.core.extra import require

Words = npt.NDArray[np.uint64]

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFF_FFFF)
_NANS = {4: np.uint64(0x7FC0_0000), 8: np.uint64(0x7FF8_0000_0000_0000)}

REGISTER_BITS = 12


def hash_rows(
    batch: Any,
    keys: list[Words],
    row_keys: Words,
    digests: Words | None = None,
    registers: npt.NDArray[np.uint8] | None = None,
) -> int:
    """Digests of the rows of a batch.

    Args:
        batch: A pyarrow.RecordBatch that `tadka.dataset.measure.rowhash` normalised.
        keys: Of each column: uint64, shape (depth, 6); depth is 2 for a list.
        row_keys: Of rows, shape (10,).
        digests: Where the digests go, shape (N, 2), more significant half first; None for nowhere.
        registers: Of a HyperLogLog sketch of each column's values, shape (columns, 4096), to be
            updated: the first 12 bits of the number that stands for a value say which, and it keeps
            the greatest place, from 1 on, of the first bit that is set in the other 52 (53: none).

    Returns:
        The sum of the digests modulo 2**128.
    """
    x_N, y_N = np.zeros((2, batch.num_rows), np.uint64)
    for i, (column, column_keys) in enumerate(zip(batch.columns, keys, strict=True)):
        cell_x_N, cell_y_N = _cells(column, column_keys)
        x_N += cell_x_N
        y_N += cell_y_N
        if registers is not None:
            is_valid_N = (cell_x_N != column_keys[0, 4]) | (cell_y_N != column_keys[0, 5])
            numbers = mix(cell_x_N ^ row_keys[8], cell_y_N ^ row_keys[9])[is_valid_N]
            rest = (numbers & np.uint64(2 ** (64 - REGISTER_BITS) - 1)).astype(np.float64)  # exact
            rank = 65 - REGISTER_BITS - np.frexp(rest)[1]
            which = numbers >> np.uint64(64 - REGISTER_BITS)
            np.maximum.at(registers[i], which.astype(np.intp), rank.astype(np.uint8))
    r = row_keys
    y_N ^= mix(x_N ^ r[0], r[1])
    x_N ^= mix(y_N ^ r[2], r[3])
    y_N ^= mix(x_N ^ r[4], r[5])
    x_N ^= mix(y_N ^ r[6], r[7])
    if digests is not None:
        digests[:, 0], digests[:, 1] = x_N, y_N
    return (_sum(x_N) << 64) + _sum(y_N) & 2**128 - 1


def mix(a: Words, b: Any) -> Words:
    """Both halves of the products of 64-bit numbers, folded: low ^ high.

    Args:
        a: Any shape.
        b: As `a`, or one number.
    """
    with np.errstate(over="ignore"):
        a1, a0, b1, b0 = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
        low, left, right = a0 * b0, a1 * b0, a0 * b1
        middle = (low >> _HALF) + (left & _LOW) + (right & _LOW)
        high = a1 * b1 + (left >> _HALF) + (right >> _HALF) + (middle >> _HALF)
        product: Words = (middle << _HALF | low & _LOW) ^ high
    return product


def _sum(words: Words) -> int:
    """Exact, where NumPy's would wrap."""
    return (int((words >> _HALF).sum()) << 32) + int((words & _LOW).sum())


def _fold(low: Any, high: Any, keys: Words, x: Any, y: Any) -> tuple[Words, Words]:
    return mix(low ^ keys[0], high ^ x), mix(low ^ keys[2], high ^ y)


def _cells(array: Any, keys: Words) -> tuple[Words, Words]:
    """Digests of cells, before they are added up."""
    pa = require("pyarrow", extra="dataset")
    own = keys[0]
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        x_N, y_N = _lists(array, keys)
    elif kind in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary()):
        x_N, y_N = _bytes(array, own)
    else:
        word_N = _words(array)
        x_N, y_N = mix(word_N ^ own[0], own[1]), mix(word_N ^ own[2], own[3])
    if array.null_count:
        is_null_N = array.is_null().to_numpy(zero_copy_only=False)
        x_N[is_null_N], y_N[is_null_N] = own[4], own[5]
    return x_N, y_N


def _words(array: Any) -> Words:
    """One word of each number; anything where there is a null."""
    pa = require("pyarrow", extra="dataset")
    types = pa.types
    if types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    elif types.is_timestamp(array.type) or types.is_date(array.type):
        array = array.view(pa.int64() if types.is_timestamp(array.type) else pa.int32())
    elif not (types.is_signed_integer(array.type) or types.is_floating(array.type)):
        raise DataError(f"A column has the Arrow type {array.type}, which has no digest.")
    is_float, size = types.is_floating(array.type), array.type.bit_width // 8
    number = f"{'f' if is_float else 'i'}{size}"
    buffer = array.buffers()[1]
    if buffer is None:  # no rows, or nothing but nulls
        return np.zeros(len(array), np.uint64)
    values_N = np.frombuffer(buffer, number, len(array), array.offset * size)
    if not is_float:
        return values_N.astype(np.int64).view(np.uint64)
    word_N = values_N.view(f"u{size}").astype(np.uint64)
    word_N[values_N == 0] = 0
    word_N[np.isnan(values_N)] = _NANS[size]
    return word_N


def _offsets(array: Any) -> npt.NDArray[np.int64]:
    """Where cells begin, and where the last one ends."""
    pa = require("pyarrow", extra="dataset")
    wide = (pa.large_string(), pa.large_binary())
    is_wide = array.type in wide or pa.types.is_large_list(array.type)
    buffer = array.buffers()[1]
    if buffer is None or not buffer.size:
        return np.zeros(len(array) + 1, np.int64)
    number = np.dtype(np.int64 if is_wide else np.int32)
    start = array.offset * number.itemsize
    return np.frombuffer(buffer, number, len(array) + 1, start).astype(np.int64)


def _bytes(array: Any, keys: Words) -> tuple[Words, Words]:
    offset_N = _offsets(array)
    start_N, size_N = offset_N[:-1], np.diff(offset_N)
    x_N, y_N = np.full(len(array), keys[1]), np.full(len(array), keys[3])
    data = array.buffers()[2]
    bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, "u1")
    rows = np.arange(len(array))
    for first in range(0, int(size_N.max(initial=0)) + 1, 16):
        rows = rows[size_N[rows] >= first]
        at_N16 = first + np.arange(16)[None, :]
        size_N1 = size_N[rows, None]
        source_N16 = np.minimum(start_N[rows, None] + at_N16, len(bytes_) - 1)
        block_N16 = np.where(at_N16 < size_N1, bytes_[source_N16], at_N16 == size_N1)
        word_N2 = np.ascontiguousarray(block_N16, np.uint8).view("<u8").astype(np.uint64)
        x_N[rows], y_N[rows] = _fold(word_N2[:, 0], word_N2[:, 1], keys, x_N[rows], y_N[rows])
    return x_N, y_N


def _lists(array: Any, keys: Words) -> tuple[Words, Words]:
    offset_N = _offsets(array)
    num_N = np.diff(offset_N)
    if array.null_count:  # what lies under a null is nobody's
        num_N[array.is_null().to_numpy(zero_copy_only=False)] = 0
    item_x, item_y = _cells(array.values, keys[1:])
    zero, own = np.uint64(0), keys[0]
    x_N, y_N = _fold(num_N.view(np.uint64), zero, own, own[1], own[3])
    rows = np.arange(len(array))
    for i in range(int(num_N.max(initial=0))):
        rows = rows[num_N[rows] > i]
        at = offset_N[rows] + i
        x_N[rows], y_N[rows] = _fold(item_x[at], item_y[at], own, x_N[rows], y_N[rows])
    return x_N, y_N
