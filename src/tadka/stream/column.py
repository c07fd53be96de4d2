"""Arrow columns as NumPy arrays, from their buffers.

pyarrow's own conversion imports pandas wherever that is installed, which costs every worker most
of a second before its first batch.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from tadka.core.error import DataError

_TYPES: dict[Any, str] = {
    pa.int8(): "i1",
    pa.int16(): "i2",
    pa.int32(): "i4",
    pa.int64(): "i8",
    pa.uint8(): "u1",
    pa.uint16(): "u2",
    pa.uint32(): "u4",
    pa.uint64(): "u8",
    pa.float16(): "f2",
    pa.float32(): "f4",
    pa.float64(): "f8",
    pa.date64(): "M8[ms]",
}


def to_numpy(column: pa.ChunkedArray) -> Any:
    """An Arrow column as a NumPy array if its type is of fixed width, else as one Arrow array.

    Nulls become NaN in floating point columns and NaT in time columns. Fixed-size lists without
    nulls become arrays of more dimensions. The result may be read-only.

    Raises:
        DataError: Nulls in an integer or boolean column; the message starts in mid-sentence.
    """
    kind = column.type
    if pa.types.is_fixed_size_list(kind) and not column.null_count:
        flat = to_numpy(pa.chunked_array([_one(column).flatten()], kind.value_type))
        if isinstance(flat, np.ndarray):
            return flat.reshape(len(column), kind.list_size, *flat.shape[1:])
    is_boolean = pa.types.is_boolean(kind)
    if (is_boolean or pa.types.is_integer(kind)) and column.null_count:
        raise DataError(
            f"holds {column.null_count} nulls, and NumPy has no null for {kind}. Fill them "
            "where the file is made, or read(..., batch_format='arrow') and decide in the stage."
        )
    array = _one(column)
    if is_boolean:
        return _bits(array.buffers()[1], array)
    name = _TYPES.get(kind)
    if pa.types.is_date32(kind):  # days in 32 bits; NumPy has 64
        days = np.frombuffer(array.buffers()[1] or b"", "i4").astype("M8[D]")
        return _fill(days, array)
    if pa.types.is_timestamp(kind):
        name = f"M8[{kind.unit}]"
    elif pa.types.is_duration(kind):
        name = f"m8[{kind.unit}]"
    if name is None:
        return array
    return _fill(np.frombuffer(array.buffers()[1] or b"", name), array)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _bits(buffer: Any, array: pa.Array) -> np.ndarray[Any, Any]:
    """A bitmap of the array as booleans."""
    packed = np.frombuffer(buffer or b"", np.uint8)
    bits = np.unpackbits(packed, bitorder="little")
    return bits[array.offset : array.offset + len(array)].view(np.bool_)


def _fill(values: np.ndarray[Any, Any], array: pa.Array) -> np.ndarray[Any, Any]:
    """The array's part of a buffer, with nulls as NaN or NaT."""
    values = values[array.offset : array.offset + len(array)]
    if array.null_count:
        is_valid = _bits(array.buffers()[0], array)
        nothing = np.array("nan" if values.dtype.kind == "f" else "nat", values.dtype)
        values = np.where(is_valid, values, nothing)
    return values
