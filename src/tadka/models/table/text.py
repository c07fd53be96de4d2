"""Keys of a vocabulary: integers as they are, texts as Arrow arrays with their 64-bit hashes.

Letters of shapes: N values.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.core.extra import loaded, require

Keys = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]

_CHUNK_ROWS = 1 << 16  # hashed at a time: what is between the steps stays in the cache
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_SECRET = tuple(
    np.uint64(word)
    for word in (0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3, 0x4D5A2DA51DE1AA47)
)


def integers(values: object) -> Keys | None:
    """Values as int64 keys, or None where they are texts.

    Args:
        values: NumPy or Arrow array, or a sequence; shape (N,).

    Raises:
        DataError: The values are neither integers nor texts, integers are missing among them, or
            they do not fit into 64 bits.
    """
    arrow = loaded("pyarrow")
    if arrow and isinstance(values, arrow.Array | arrow.ChunkedArray):
        given, types = _decoded(values), arrow.types
        if types.is_string(given.type) or types.is_large_string(given.type):
            return None
        if types.is_null(given.type):
            return None  # missing texts
        if not types.is_integer(given.type):
            raise _no_keys(given.type)
        if given.null_count:
            raise DataError(
                f"{given.null_count:,} of {len(given):,} integer keys are missing; a key must be "
                "an integer. Drop these rows, or fill them with a number that no key has."
            )
        values = given.to_numpy() if isinstance(given, arrow.ChunkedArray) else np.asarray(given)
    try:
        array = values if isinstance(values, np.ndarray) else np.asarray(values)
    except ValueError as error:  # lists of several lengths
        raise DataError(f"Keys must be one-dimensional: {error}") from error
    if array.ndim != 1:
        raise DataError(f"Keys have shape {array.shape}; they must be one-dimensional.")
    if array.dtype.kind in "OUT":
        return None
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise _no_keys(array.dtype.name)
    if array.dtype == np.uint64 and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"Key {int(array.max())} does not fit into int64. Give such keys as texts.")
    return np.ascontiguousarray(array, np.int64)


def texts(values: object) -> Any:
    """Values as one `pyarrow.LargeStringArray`; missing ones stay null.

    Args:
        values: Arrow or NumPy array, or a sequence, of texts; shape (N,).

    Raises:
        DataError: A value is not a text.
        MissingExtra: pyarrow is not installed.
    """
    arrow = require("pyarrow", extra="arrow")
    if isinstance(values, np.ndarray):
        values = values.tolist()
    try:
        if isinstance(values, arrow.Array | arrow.ChunkedArray):
            array = _decoded(values).cast(arrow.large_string())
        else:
            array = arrow.array(values, arrow.large_string())
    except (arrow.ArrowException, UnicodeError) as error:
        raise DataError(
            f"Keys must be integers or texts, one kind in a vocabulary: {error}."
        ) from error
    if isinstance(array, arrow.ChunkedArray):
        array = array.combine_chunks()
    return array if isinstance(array, arrow.Array) else arrow.concat_arrays(array.chunks)


def _decoded(values: Any) -> Any:
    """An Arrow array without a dictionary."""
    is_coded = hasattr(values.type, "value_type") and hasattr(values.type, "index_type")
    return values.cast(values.type.value_type) if is_coded else values


def _no_keys(kind: object) -> DataError:
    return DataError(
        f"Keys are of type {str(kind)!r}; they must be integers or texts. Convert the column first."
    )


def parts(array: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Bounds of the texts of a LargeStringArray, shape (N + 1,), and the bytes that they bound."""
    _, bounds, data = array.buffers()
    if len(array) == 0 or bounds is None:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    bounds_N = np.frombuffer(bounds, np.int64)[array.offset : array.offset + len(array) + 1]
    return bounds_N, np.frombuffer(data if data is not None else b"", np.uint8)


def hash_texts(array: Any) -> Keys:
    """The 64-bit hash of each text, as int64; equals `tadka.features.hash.hash_text` bit for bit.

    Args:
        array: A LargeStringArray, shape (N,). What stands for a null is of no meaning.

    Source: wyhash, final version 4.3, by Wang Yi (public domain).
    """
    bounds_N, data = parts(array)
    hashes_N = np.empty(len(array), np.uint64)
    for start in range(0, len(array), _CHUNK_ROWS):
        bounds = bounds_N[start : start + _CHUNK_ROWS + 1]
        # words are read a little past the end of a text; zeros stand there
        piece = np.zeros(int(bounds[-1] - bounds[0]) + 64, np.uint8)
        piece[:-64] = data[bounds[0] : bounds[-1]]
        hashes_N[start : start + _CHUNK_ROWS] = _hash(
            piece, bounds[:-1] - bounds[0], np.diff(bounds)
        )
    return hashes_N.view(np.int64)


def _hash(data: npt.NDArray[np.uint8], at_N: Keys, sizes_N: Keys) -> _Words:
    words = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    halves = np.ndarray(len(data) - 3, "<u4", data, strides=(1,))
    seed = _mix(_SECRET[0], _SECRET[1])
    seeds_N = np.full(len(at_N), seed)
    low_N = np.zeros(len(at_N), np.uint64)
    high_N = np.zeros(len(at_N), np.uint64)

    tiny = np.flatnonzero((sizes_N > 0) & (sizes_N < 4))
    at, size = at_N[tiny], sizes_N[tiny]
    low_N[tiny] = (
        data[at].astype(np.uint64) << np.uint64(16)
        | data[at + (size >> 1)].astype(np.uint64) << np.uint64(8)
        | data[at + size - 1].astype(np.uint64)
    )

    short = np.flatnonzero((sizes_N >= 4) & (sizes_N <= 16))
    at, size = at_N[short], sizes_N[short]
    step = size >> 3 << 2
    end = at + size - 4
    low_N[short] = halves[at].astype(np.uint64) << _HALF | halves[at + step]
    high_N[short] = halves[end].astype(np.uint64) << _HALF | halves[end - step]

    long = np.flatnonzero(sizes_N > 16)
    if long.size:
        at, size = at_N[long], sizes_N[long]
        seeds_N[long] = _fold(words, at, size, seed)
        low_N[long], high_N[long] = words[at + size - 16], words[at + size - 8]

    first, second = _product(low_N ^ _SECRET[1], high_N ^ seeds_N)
    hashes_N: _Words = _mix(first ^ _SECRET[0] ^ sizes_N.astype(np.uint64), second ^ _SECRET[1])
    return hashes_N


def _fold(words: Any, at_N: Keys, sizes_N: Keys, seed: Any) -> _Words:
    """The state after all but the last 16 bytes of texts of more than 16 bytes."""
    at_N, left_N = at_N.copy(), sizes_N.copy()
    lanes = [np.full(len(at_N), seed) for _ in range(3)]
    active = np.flatnonzero(left_N >= 48)
    whole = active
    while active.size:
        at = at_N[active]
        for lane, state_N in enumerate(lanes):
            state_N[active] = _mix(
                words[at + 16 * lane] ^ _SECRET[lane + 1],
                words[at + 16 * lane + 8] ^ state_N[active],
            )
        at_N[active] += 48
        left_N[active] -= 48
        active = active[left_N[active] >= 48]
    states_N = lanes[0]
    states_N[whole] ^= lanes[1][whole] ^ lanes[2][whole]
    active = np.flatnonzero(left_N > 16)
    while active.size:
        at = at_N[active]
        states_N[active] = _mix(words[at] ^ _SECRET[1], words[at + 8] ^ states_N[active])
        at_N[active] += 16
        left_N[active] -= 16
        active = active[left_N[active] > 16]
    return states_N


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """Low and high 64 bits of the products of 64-bit numbers."""
    a0, a1, b0, b1 = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    p01, p10 = a0 * b1, a1 * b0
    carry = (a0 * b0 >> _HALF) + (p01 & _LOW) + (p10 & _LOW)
    with np.errstate(over="ignore"):  # the low half is what wraps around
        return a * b, a1 * b1 + (p01 >> _HALF) + (p10 >> _HALF) + (carry >> _HALF)


def _mix(a: Any, b: Any) -> Any:
    low, high = _product(a, b)
    return low ^ high
