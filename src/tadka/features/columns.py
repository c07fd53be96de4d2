"""Arrow columns of a feature class: found by name, and cast to one type for each kind of field.

| field | canonical type | accepted |
|---|---|---|
| str | string | any string type, dictionary of strings |
| int | int64 | integers of any width |
| float | float64 | floats and integers of any width |
| bool | bool | bool |
| datetime | timestamp[us, UTC] | dates, timestamps of any unit and zone; no zone is UTC |
| list of these | list of the canonical type | lists of any kind; a missing list is empty |

A dictionary-encoded column is decoded, a column of nulls is a missing one. Nanoseconds are rounded
down to microseconds.
"""

import difflib
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.features.annotation import Shape
from tadka.features.declaration import Member
from tadka.features.wire import MAX_TIME, MIN_TIME, from_time

if TYPE_CHECKING:
    import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def is_arrow(rows: Any) -> bool:
    """Whether an object speaks Arrow's C interface, as tables of many libraries do."""
    return hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__")


def read_batches(rows: Any) -> "pa.RecordBatchReader":
    """The record batches of an Arrow object.

    Args:
        rows: Speaks Arrow's C interface.

    Raises:
        DataError: It is no table.
    """
    pa = require("pyarrow", extra="arrow")
    try:
        if hasattr(rows, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(rows)
        batch = pa.record_batch(rows)
        return pa.RecordBatchReader.from_batches(batch.schema, [batch])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"{type(rows).__name__} is no table of columns: {error}. Give a pyarrow Table or "
            "RecordBatch."
        ) from error


class Columns:
    """Casts record batches for one feature class.

    Args:
        name: Of the class, for messages.
        fields: Of the class.
    """

    def __init__(self, name: str, fields: Sequence[Member]) -> None:
        self._name = name
        self._fields = tuple(fields)

    def check(self, schema: "pa.Schema") -> None:
        """Refuses a schema that lacks a field, or has it of another type.

        Args:
            schema: Of the batches to come. Columns that are no field are left alone.

        Raises:
            DataError: The column is named, with those of a similar name.
        """
        for field in self._fields:
            found = [i for i, name in enumerate(schema.names) if name == field.name]
            if not found:
                close = difflib.get_close_matches(field.name, schema.names, n=3)
                hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
                raise DataError(
                    f"The data have no column {field.name!r}, which is a field of "
                    f"{self._name!r}.{hint} They have: {', '.join(schema.names) or 'none'}."
                )
            if len(found) > 1:
                raise DataError(
                    f"The data have {len(found)} columns {field.name!r}; names must differ."
                )
            kind = schema.field(found[0]).type
            if not _accepts(field.shape, kind):
                raise DataError(
                    f"Column {field.name!r} has the type {kind}, which the field's type "
                    f"{field.shape} does not take. Cast the column, or change the class."
                )

    def cast(self, batch: "pa.RecordBatch", first_row: int = 0) -> "pa.RecordBatch":
        """The fields of a batch in the order of the class, each of its canonical type.

        Args:
            batch: Of a schema that `check` has passed.
            first_row: Number of its first row, for messages.

        Raises:
            DataError: A value cannot be that of its field; the row is named.
        """
        pa = require("pyarrow", extra="arrow")
        arrays = [self._column(batch, field, first_row) for field in self._fields]
        schema = pa.schema(
            [
                pa.field(field.name, array.type)
                for field, array in zip(self._fields, arrays, strict=True)
            ]
        )
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _column(self, batch: "pa.RecordBatch", field: Member, first_row: int) -> "pa.Array":
        array = _decoded(batch.column(batch.schema.names.index(field.name)))
        if field.shape.is_list:
            return _list(array, field, first_row)
        if array.null_count and not field.shape.is_optional:
            row = first_row + int(np.flatnonzero(_is_null(array))[0])
            raise DataError(
                f"Row {row}: field {field.name!r} is missing, but its type is {field.shape}. "
                f"Annotate it {field.shape} | None, or fill the column."
            )

        def fail(index: int, what: str) -> DataError:
            return DataError(f"Row {first_row + index}: field {field.name!r} {what}")

        return _scalars(array, field.shape.type, fail)

    def values(self, batch: "pa.RecordBatch") -> list[list[Any]]:
        """Python values of a batch that `cast` made, a list for each field."""
        return [_values(batch.column(i), field.shape) for i, field in enumerate(self._fields)]


def canonical_type(shape: Shape) -> "pa.DataType":
    """The Arrow type that columns of a field are cast to."""
    pa = require("pyarrow", extra="arrow")
    kind = {
        "bool": pa.bool_(),
        "datetime": pa.timestamp("us", tz="UTC"),
        "float": pa.float64(),
        "int": pa.int64(),
        "str": pa.string(),
    }[shape.type]
    return pa.list_(kind) if shape.is_list else kind


def _accepts(shape: Shape, kind: "pa.DataType") -> bool:
    types = require("pyarrow.types", extra="arrow")
    if types.is_dictionary(kind):
        return _accepts(shape, kind.value_type)
    if types.is_null(kind):
        return True  # rows will be refused where there are any and the field is not optional
    if shape.is_list:
        return _is_list(kind) and _accepts(Shape(shape.type), kind.value_type)
    match shape.type:
        case "str":
            is_view = getattr(types, "is_string_view", lambda _: False)(kind)
            return bool(types.is_string(kind) or types.is_large_string(kind) or is_view)
        case "int":
            return bool(types.is_integer(kind))
        case "float":
            return bool(types.is_floating(kind) or types.is_integer(kind))
        case "bool":
            return bool(types.is_boolean(kind))
        case _:
            return bool(types.is_timestamp(kind) or types.is_date(kind))


def _is_list(kind: "pa.DataType") -> bool:
    types = require("pyarrow.types", extra="arrow")
    names = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return any(getattr(types, name, lambda _: False)(kind) for name in names)


def _decoded(array: "pa.Array") -> "pa.Array":
    types = require("pyarrow.types", extra="arrow")
    while types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array


def _is_null(array: "pa.Array") -> Any:
    return array.is_null().to_numpy(zero_copy_only=False)


Fail = Callable[[int, str], DataError]


def _list(array: "pa.Array", field: Member, first_row: int) -> "pa.Array":
    """A column of lists: offsets from 0, no missing list, no missing item."""
    pa = require("pyarrow", extra="arrow")
    types = require("pyarrow.types", extra="arrow")
    compute = require("pyarrow.compute", extra="arrow")
    item = Shape(field.shape.type)
    if types.is_null(array.type):
        empty = pa.array([], canonical_type(item))
        return pa.ListArray.from_arrays(pa.array(np.zeros(len(array) + 1, np.int32)), empty)
    lengths = compute.fill_null(compute.list_value_length(array), 0)
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends])
    items = _decoded(compute.list_flatten(array))

    def row_of(index: int) -> int:
        return first_row + int(np.searchsorted(ends, index, side="right"))

    def fail(index: int, what: str) -> DataError:
        return DataError(f"Row {row_of(index)}: an item of field {field.name!r} {what}")

    if items.null_count:
        raise fail(
            int(np.flatnonzero(_is_null(items))[0]),
            f"is missing, but its type is {field.shape}. Leave the item out.",
        )
    if starts[-1] > 2**31 - 1:
        raise DataError(f"Field {field.name!r} has over 2**31 items in a batch; use smaller ones.")
    values = _scalars(items, item.type, fail)
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), values)


def _scalars(array: "pa.Array", kind: str, fail: Fail) -> "pa.Array":
    pa = require("pyarrow", extra="arrow")
    types = require("pyarrow.types", extra="arrow")
    canonical = canonical_type(Shape(kind))
    if array.type == canonical and kind != "datetime":
        return array
    if types.is_null(array.type):
        return pa.nulls(len(array), canonical)
    match kind:
        case "datetime":
            return _times(array, fail)
        case "int" if types.is_uint64(array.type):
            wide = array.view(pa.int64())  # what is beyond int64 shows as negative
            numbers = wide.fill_null(0).to_numpy(zero_copy_only=False)
            if (numbers < 0).any():
                index = int(np.flatnonzero(numbers < 0)[0])
                raise fail(
                    index, f"is {array[index].as_py()}; an int must lie within 64 bits with sign."
                )
            return wide
        case "float" if types.is_float16(array.type):
            numbers = np.array([np.nan if x is None else x for x in array.to_pylist()], np.float64)
            return pa.array(numbers, mask=_is_null(array))
        case "str":
            try:
                return array.cast(canonical)
            except pa.ArrowInvalid as error:
                raise fail(
                    0, f"has too much text in one batch ({error}); use smaller ones."
                ) from error
        case _:
            return array.cast(canonical, safe=False)  # widening; an int64 rounds to float64


def _times(array: "pa.Array", fail: Fail) -> "pa.Array":
    """Microseconds since 1970 in UTC, rounded down."""
    pa = require("pyarrow", extra="arrow")
    types = require("pyarrow.types", extra="arrow")
    if types.is_date(array.type):
        per_day = 1 if types.is_date32(array.type) else 86_400_000
        width, per_second = array.type.bit_width, None
    else:
        width, per_second = 64, _PER_SECOND[array.type.unit]
    integers = array.view(pa.int32() if width == 32 else pa.int64())
    mask = _is_null(array)
    numbers = integers.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if per_second == 10**9:
        numbers = numbers // 1000
        low, high, factor = MIN_TIME, MAX_TIME, 1
    else:
        factor = 86_400_000_000 // per_day if per_second is None else 10**6 // per_second
        low, high = -(-MIN_TIME // factor), MAX_TIME // factor
    outside = (numbers < low) | (numbers > high)
    if outside.any():
        index = int(np.flatnonzero(outside)[0])
        raise fail(
            index,
            f"is the time {int(numbers[index])} (in units of {factor} us), outside the years 1 to "
            "9999.",
        )
    times = pa.array(numbers * factor, mask=mask if mask.any() else None)
    return times.view(pa.timestamp("us", tz="UTC"))


def _values(array: "pa.Array", shape: Shape) -> list[Any]:
    pa = require("pyarrow", extra="arrow")
    try:
        array.validate(full=True)  # to_pylist would follow damaged offsets out of the buffers
    except pa.ArrowException as error:
        raise DataError(f"A column is damaged: {error}. Write the table again.") from error
    if shape.type != "datetime":
        return list(array.to_pylist())
    # not to_pylist, which would need the system's time zones
    if shape.is_list:
        times = [from_time(x) for x in array.values.view(pa.int64()).to_pylist()]
        bounds = array.offsets.to_pylist()
        return [times[a:b] for a, b in itertools.pairwise(bounds)]
    return [None if x is None else from_time(x) for x in array.view(pa.int64()).to_pylist()]
