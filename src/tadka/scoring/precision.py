"""Parameters in float32, float16 or bfloat16.

NumPy has no bfloat16, the upper half of a float32: such arrays are uint16 here, bit for bit, and no
parameter is uint16 for another reason.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError

Array = npt.NDArray[Any]

PRECISIONS = ("float32", "float16", "bfloat16")

_BLOCK = 1 << 20  # numbers of a mapped file that are looked at together


def to_precision(array: Array, precision: str) -> Array:
    """The numbers rounded to a precision, to nearest, ties to even.

    Args:
        array: float64, float32, float16, or bfloat16 as uint16; any shape. float64 is rounded to
            float32 first.
        precision: `"float32"`, `"float16"` or `"bfloat16"`.

    Returns:
        An array of the same shape, contiguous; bfloat16 as uint16. NaN and infinities stay.

    Raises:
        ConfigError: The precision is not known.
        DataError: The array holds no such numbers, or a finite number is too large.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"Precision {precision!r} is not known; it must be one of {', '.join(PRECISIONS)}."
        )
    given = from_precision(array)
    with np.errstate(over="ignore", under="ignore"):
        wide = np.ascontiguousarray(given, np.float32)
        if precision == "float32":
            rounded: Array = wide
        elif precision == "float16":
            rounded = wide.astype(np.float16)
        else:
            rounded = _to_bfloat16(wide)
    rounded = rounded.reshape(given.shape)
    overflown = np.isfinite(given) & ~np.isfinite(from_precision(rounded))
    if overflown.any():
        raise DataError(
            f"{given[overflown].flat[0]!s} is too large for {precision}; the largest number is "
            f"{_largest(precision):g}. Keep the parameters in float32."
        )
    return rounded


def from_precision(array: Array) -> Array:
    """The numbers as NumPy can calculate with them.

    Args:
        array: float64, float32, float16, or bfloat16 as uint16; any shape.

    Returns:
        float64 as it is, all others as float32; exact.

    Raises:
        DataError: The array is of another type.
    """
    if array.dtype == np.uint16:
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype in {np.dtype(np.float32), np.dtype(np.float64)}:
        return array
    raise DataError(
        f"An array of {array.dtype} holds no parameters; they are float32, float16, or bfloat16 as "
        "uint16."
    )


def name_precision(array: Array, expected: str | None = None) -> str:
    """What a model directory calls the type of an array.

    Args:
        array: Parameters, or integers and float64 of other arrays.
        expected: What the array was saved as; tells `"uint16"` from bfloat16, which have one type.

    Returns:
        `"bfloat16"` for uint16 unless `expected` is `"uint16"`, else NumPy's name, with the byte
        order where it is not this machine's.
    """
    if array.dtype == np.uint16:
        return "uint16" if expected == "uint16" else "bfloat16"
    return array.dtype.name if array.dtype.isnative else array.dtype.str


def check_finite(name: str, array: Array) -> None:
    """Asks whether every number is finite; reads a mapped array once, in pieces.

    Args:
        name: For the message.
        array: Of any type and shape; integers are finite, and uint16 is bfloat16.

    Raises:
        DataError: A number is NaN or infinite; the message says where the first one is.
    """
    flat = array.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK]
        if array.dtype == np.uint16:
            # All exponent bits set: NaN or infinity.
            is_wrong = (block & np.uint16(0x7F80)) == 0x7F80
        elif np.issubdtype(array.dtype, np.inexact):
            is_wrong = ~np.isfinite(block)
        else:
            return
        if is_wrong.any():
            first = int(np.argmax(is_wrong))
            place = tuple(int(i) for i in np.unravel_index(start + first, array.shape))
            value = from_precision(block[first : first + 1])[0]
            raise DataError(
                f"{name!r} has the value {value} at {list(place)}; parameters must be finite. "
                "Train again, with a lower learning rate say."
            )


def _to_bfloat16(wide: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    bits = wide.reshape(-1).view(np.uint32)
    # Half of the last place that stays, less one where that place is even: ties go to even.
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    # A NaN whose set bits are all low would become infinite, and one of all ones wrap around.
    quiet = (bits >> np.uint32(16)) | np.uint32(0x0040)
    return np.where(np.isnan(wide.reshape(-1)), quiet, rounded).astype(np.uint16)


def _largest(precision: str) -> float:
    if precision == "float16":
        return 65504.0
    bits = np.array([0x7F7F if precision == "bfloat16" else 0], np.uint16)
    return float(from_precision(bits)[0] if precision == "bfloat16" else np.finfo(np.float32).max)
