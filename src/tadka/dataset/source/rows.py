"""Rows of text with the types that a table declares; a row that is not so is named.

Numbers, dates and times are read strictly: no fraction becomes a whole number, a time in UTC bears
its zone and one without a zone bears none. An empty cell of CSV is null, `""` is an empty text.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.dataset.source.listing import Columns, InputFile, schema_of
from tadka.storage.tabular import open_binary, parsing, project

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK_BYTES = 8 << 20  # a row must fit into one
_MOST_LINE_BYTES = 64 << 20
_COMPRESSIONS = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}  # suffix -> Arrow's name
_OPEN = ord("{")


def read_rows(file: InputFile, columns: Columns) -> "Iterator[pa.RecordBatch]":
    """The rows of a text file.

    Args:
        file: CSV, TSV or JSON lines.
        columns: Of the table.

    Raises:
        DataError: The file is damaged, lacks a column, or a row is not as declared.
    """
    read = _read_json if file.format == "jsonl" else _read_csv
    with parsing(file.uri, file.format.upper()):
        yield from read(file, schema_of(columns))


def _open(uri: str) -> Any:
    pa = require("pyarrow", extra="dataset")
    source = open_binary(uri, memory_map=False)
    codec = _COMPRESSIONS.get(uri.rpartition(".")[2])
    return source if codec is None else pa.CompressedInputStream(source, codec)


# ---------------------------------------------------------------- CSV


def _read_csv(file: InputFile, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    pa = require("pyarrow", extra="dataset")
    csv = require("pyarrow.csv", extra="dataset")
    for name in schema.names:
        if pa.types.is_nested(schema.field(name).type):
            raise DataError(f"Column {name!r} is a list, which CSV cannot hold: {file.uri!r}.")
    read = csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)  # threads lose row numbers
    parse = csv.ParseOptions(
        delimiter="\t" if file.format == "tsv" else ",", newlines_in_values=True
    )
    with _open(file.uri) as stream:
        names = csv.open_csv(stream, read_options=read, parse_options=parse).schema
    project(file.uri, names, schema.names)
    convert = csv.ConvertOptions(
        column_types=schema,
        include_columns=schema.names,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with _open(file.uri) as stream:
        # Arrow's message names the row, the header being row 1
        yield from csv.open_csv(stream, read, parse, convert)


# ---------------------------------------------------------------- JSON


def _read_json(file: InputFile, schema: "pa.Schema") -> "Iterator[pa.RecordBatch]":
    keys: set[str] | None = None
    unseen = set(schema.names)
    num_lines = 0
    with _open(file.uri) as stream:
        for block in _blocks(stream, file.uri):
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            if block.strip():
                try:
                    batch = json_batch(block, schema)
                except ValueError as error:
                    index, reason = first_bad(block.split(b"\n"), schema) or (0, str(error))
                    raise DataError(
                        f"File {file.uri!r}, line {num_lines + index + 1}: {reason}."
                    ) from error
                keys = _keys(block) if keys is None else keys
                unseen -= {n for n in unseen if batch.column(n).null_count < batch.num_rows}
                yield batch
            num_lines += lines
    for name in sorted(unseen - (keys or unseen)):
        raise DataError(
            f"File {file.uri!r} has no key {name!r} in any line; its first lines have "
            f"{', '.join(sorted(keys or ()))}."
        )


def _blocks(stream: Any, uri: str) -> Iterator[bytes]:
    """The content in pieces that end with a line."""
    rest = b""
    while data := stream.read(_BLOCK_BYTES):
        whole, is_cut, tail = (rest + data).rpartition(b"\n")
        if is_cut:
            yield whole + b"\n"
        rest = tail
        if len(rest) > _MOST_LINE_BYTES:
            raise DataError(
                f"File {uri!r} has a line of more than {_MOST_LINE_BYTES >> 20} MiB; JSON lines "
                "have one object a line, and a single list of objects is no such file."
            )
    if rest:
        yield rest


def _keys(block: bytes) -> set[str]:
    pa = require("pyarrow", extra="dataset")
    arrow_json = require("pyarrow.json", extra="dataset")
    head = block[:_BLOCK_BYTES].rpartition(b"\n")[0] or block
    try:
        return set(arrow_json.read_json(pa.BufferReader(head)).schema.names)
    except pa.ArrowInvalid:  # types that change from row to row; the declared ones judge
        return set()


def json_batch(text: bytes, schema: "pa.Schema") -> "pa.RecordBatch":
    """Rows of JSON objects, one a line.

    Args:
        text: The lines; empty ones are passed over.
        schema: Of the rows; keys that it lacks are left out, keys that a line lacks are null.

    Raises:
        ValueError: A line is no object, or a value not as declared.
    """
    pa = require("pyarrow", extra="dataset")
    arrow_json = require("pyarrow.json", extra="dataset")
    lines = [line for line in map(bytes.strip, text.split(b"\n")) if line]
    if any(line[0] != _OPEN for line in lines):
        # to Arrow's parser null is a row, and a line that begins with it may end the process
        raise ValueError("there must be one JSON object on each line")
    # that parser would take 5 for a date and any text for a time: they are read as text, then
    # cast, which is strict
    raw = pa.schema([field.with_type(_raw(field.type)) for field in schema])
    table = arrow_json.read_json(
        pa.BufferReader(text),
        read_options=arrow_json.ReadOptions(block_size=max(len(text) + 1, 64)),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=raw, unexpected_field_behavior="ignore"
        ),
    )
    if table.num_rows != len(lines):  # two objects on one line are two rows to the parser
        raise ValueError("there must be one JSON object on each line")
    table.validate(full=True)  # the parser lets bytes outside UTF-8 through
    made = table.select(schema.names).cast(schema).combine_chunks()
    return made.to_batches()[0]


def _raw(type_: "pa.DataType") -> "pa.DataType":
    pa = require("pyarrow", extra="dataset")
    if pa.types.is_list(type_):
        return pa.list_(_raw(type_.value_type))
    return pa.string() if pa.types.is_temporal(type_) else type_


def first_bad(lines: Sequence[bytes], schema: "pa.Schema") -> tuple[int, str] | None:
    """The first line that is not as declared, and why; None where all are.

    Args:
        lines: JSON, one object each.
        schema: Of the rows.
    """

    def reason(some: Sequence[bytes]) -> str | None:
        try:
            text = b"\n".join(some)
            if text.strip():
                json_batch(text, schema)
        except ValueError as error:
            return str(error).replace(" in row 0", "")
        return None

    start, end = 0, len(lines)
    if reason(lines) is None:
        return None
    while end - start > 1:
        middle = (start + end) // 2
        if reason(lines[start:middle]) is None:
            start = middle
        else:
            end = middle
    return start, reason(lines[start:end]) or "it is not one JSON object"
