"""Molds: what text files and Parquet lose of an Arrow table, kept beside it.

A *mold* is a table's first zero rows in Arrow's IPC stream: exact types, metadata and dictionaries
(the categories). Text files and Parquet do not hold all of that; their readers cast into the mold.
"""

from typing import TYPE_CHECKING

from tadka.core.error import DataError
from tadka.core.extra import require

if TYPE_CHECKING:
    import pyarrow as pa


def mold_of(table: "pa.Table") -> bytes:
    """A table's exact types and dictionaries, as an IPC stream without rows."""
    pa = require("pyarrow", extra="arrow")
    sink = pa.BufferOutputStream()
    # as a batch: a table of no rows may have no chunk, and then no dictionary is written
    table = table.unify_dictionaries()
    columns = [
        column.chunk(0).slice(0, 0) if column.num_chunks else pa.array([], field.type)
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    with require("pyarrow.ipc", extra="arrow").new_stream(sink, table.schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table.schema))
    return bytes(sink.getvalue().to_pybytes())


def mold_from(data: bytes) -> "pa.RecordBatch":
    """The batch without rows that `mold_of` wrote."""
    return require("pyarrow.ipc", extra="arrow").open_stream(data).read_next_batch()


def cast_into(table: "pa.Table", mold: "pa.RecordBatch") -> "pa.Table":
    """A table with the types, dictionaries and metadata of a mold of the same columns."""
    pa = require("pyarrow", extra="arrow")
    columns = [
        _cast(column, into)
        for column, into in zip(table.select(mold.schema.names).columns, mold.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=mold.schema)


def _cast(column: "pa.ChunkedArray", into: "pa.Array") -> "pa.ChunkedArray":
    pa = require("pyarrow", extra="arrow")
    if isinstance(into.type, pa.BaseExtensionType):
        storage = column if column.type != into.type else None
        if storage is None:
            return column
        chunks = [pa.ExtensionArray.from_storage(into.type, chunk) for chunk in storage.chunks]
        return pa.chunked_array(chunks, type=into.type)
    if pa.types.is_dictionary(into.type):
        # the array without rows, where there is none, carries the categories
        chunks = [_encode(chunk, into) for chunk in column.chunks] or [into]
        return pa.chunked_array(chunks, type=into.type)
    if pa.types.is_time(into.type) and pa.types.is_string(column.type):
        compute = require("pyarrow.compute", extra="arrow")
        column = compute.binary_join_element_wise("1970-01-01", column, " ")
        column = column.cast(pa.timestamp(into.type.unit))
    return column if column.type == into.type else column.cast(into.type)


def _encode(chunk: "pa.Array", into: "pa.DictionaryArray") -> "pa.DictionaryArray":
    """A chunk of values, or of other categories, by the categories of the mold."""
    pa = require("pyarrow", extra="arrow")
    compute = require("pyarrow.compute", extra="arrow")
    if pa.types.is_dictionary(chunk.type):
        if chunk.type == into.type and chunk.dictionary.equals(into.dictionary):
            return chunk
        chunk = chunk.dictionary_decode()
    if chunk.type != into.type.value_type:
        chunk = chunk.cast(into.type.value_type)
    indices = compute.index_in(chunk, value_set=into.dictionary).cast(into.type.index_type)
    return pa.DictionaryArray.from_arrays(indices, into.dictionary, ordered=into.type.ordered)


def is_kept_by_parquet(type_: "pa.DataType") -> bool:
    """Whether Parquet alone gives a type back; what it does not needs the mold."""
    pa = require("pyarrow", extra="arrow")
    types = pa.types
    if types.is_nested(type_):
        return all(
            is_kept_by_parquet(type_.field(i).type) for i in range(type_.num_fields)
        ) and not types.is_run_end_encoded(type_)
    if types.is_timestamp(type_) or types.is_time32(type_):
        return str(type_.unit) != "s"
    return any(
        test(type_)
        for test in (
            types.is_integer,
            types.is_floating,
            types.is_boolean,
            types.is_string,
            types.is_large_string,
            types.is_binary,
            types.is_large_binary,
            types.is_fixed_size_binary,
            types.is_date32,
            types.is_time64,
            types.is_duration,
            types.is_decimal,
            types.is_null,
            lambda type_: isinstance(type_, pa.BaseExtensionType),
        )
    )


def cannot_hold(format_: str, column: object, type_: object, why: str) -> DataError:
    """The error for a column that a format cannot hold, or not as it is."""
    return DataError(
        f"Column {column!r} of type {type_} cannot be kept as {format_}: {why.rstrip('.')}."
    )
