"""Frames as CSV, TSV and JSON lines: a folder of `table.<suffix>` and `schema.json`.

Text has no types, so they stand beside it: a reader gets '01' and '1e3' back as text, `int8` as
`int8`, the index and the categories. `table.csv` alone is plain CSV for every other program, in the
declared encoding: text quoted, numbers and times not, nothing for a null, `""` for empty text.
"""

import base64
import gzip
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.storage.tabular import parsing, unreadable
from tadka.task.output.frame import from_table, library_of, nulls_of, to_table
from tadka.task.output.mold import cannot_hold, cast_into, mold_from, mold_of
from tadka.task.output.out import SUFFIXES, Out

if TYPE_CHECKING:
    import pyarrow as pa


_BLOCK_BYTES = 1 << 20  # of CSV that Arrow parses at a time; a line must not be longer
_MAX_BLOCK_BYTES = (1 << 31) - 1


class Text:
    """What the formats share: the schema beside, encoding and compression."""

    name: str
    format: str

    def suffix(self, out: Out) -> str:
        """Of the folder and of the table in it."""
        return SUFFIXES[self.format][0] + (".gz" if out.compression == "gzip" else "")

    def is_folder(self, out: Out) -> bool:  # noqa: ARG002 - always
        """Always: the schema is a file of its own."""
        return True

    def write(self, value: Any, target: Path, out: Out) -> list[int]:
        """Makes the folder `target`.

        Returns:
            Nulls of each column.

        Raises:
            DataError: A column has no form in text, or a character none in the encoding.
        """
        table = to_table(value, self.name)
        plain = self._plain(table)
        target.mkdir(exist_ok=True)
        data = self._encoded(self._to_text(plain), plain, out)
        schema: dict[str, Any] = {
            "columns": {field.name: str(field.type) for field in table.schema},
            "num_rows": table.num_rows,
            "arrow": base64.b64encode(mold_of(table)).decode(),
        }
        if library_of(type(value)) == "polars":  # Enum and Categorical are unknown to Arrow
            buffer = io.BytesIO()
            value.clear().write_ipc(buffer)
            schema["polars"] = base64.b64encode(buffer.getvalue()).decode()
        self._table_in(target, out).write_bytes(pack(data, out))
        (target / "schema.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
        return nulls_of(table)

    def read(self, target: Path, type_: Any, out: Out) -> Any:
        """The frame, of the library that `type_` names, else of the one that wrote it.

        Raises:
            DataError: A file is damaged or missing.
        """
        try:
            schema = json.loads((target / "schema.json").read_text(encoding="utf-8"))
            mold = mold_from(base64.b64decode(schema["arrow"]))
            data = unpack(self._table_in(target, out).read_bytes(), out)
            text = data if is_utf8(out) else data.decode(out.encoding).encode()
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise unreadable(str(target), self.name, str(error)) from error
        with parsing(str(target), self.name):
            plain = self._from_text(text, self._plain_schema(mold.schema))
            if plain.num_rows != schema["num_rows"]:
                reason = f"it has {plain.num_rows} rows, and schema.json says {schema['num_rows']}"
                raise unreadable(str(target), self.name, reason)
            table = cast_into(plain, mold)
        library = library_of(type_)
        if library is None and "polars" in schema:
            library = "polars"
        frame = from_table(table, library)
        if library in {"polars", "lazy"} and "polars" in schema:
            polars = require("polars", extra="polars")
            exact = polars.read_ipc(io.BytesIO(base64.b64decode(schema["polars"]))).schema
            return frame.cast(exact)
        return frame

    def _table_in(self, target: Path, out: Out) -> Path:
        return target / f"table{self.suffix(out)}"

    def _plain(self, table: "pa.Table") -> "pa.Table":
        """The table with columns that text can hold."""
        pa = require("pyarrow", extra="arrow")
        schema = self._plain_schema(table.schema)
        columns = []
        for field, column in zip(table.schema, table.columns, strict=True):
            into = schema.field(field.name).type
            if isinstance(column.type, pa.BaseExtensionType):
                storages = [chunk.storage for chunk in column.chunks]
                column = pa.chunked_array(storages, type=column.type.storage_type)
            self._check_years(field.name, column)
            try:
                columns.append(column if column.type == into else column.cast(into))
            except pa.ArrowException as error:
                raise cannot_hold(self.name, field.name, field.type, str(error)) from error
        return pa.Table.from_arrays(columns, schema=schema)

    def _check_years(self, name: str, column: "pa.ChunkedArray") -> None:
        """Refuses years whose text is not read back."""
        pa = require("pyarrow", extra="arrow")
        compute = require("pyarrow.compute", extra="arrow")
        if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            return
        years = compute.min_max(compute.year(column)).as_py().values()
        for year in years:
            if year is not None and not 0 <= year <= 9999:
                raise cannot_hold(
                    self.name, name, column.type, f"it holds the year {year}, beyond 0 to 9999"
                )

    def _plain_schema(self, schema: "pa.Schema") -> "pa.Schema":
        pa = require("pyarrow", extra="arrow")
        if len(set(schema.names)) < len(schema.names):
            raise DataError(f"The frame has two columns of one name; {self.name} needs different.")
        return pa.schema(
            [(field.name, self._plain_type(field.name, field.type)) for field in schema]
        )

    def _plain_type(self, name: str, type_: "pa.DataType") -> "pa.DataType":
        pa = require("pyarrow", extra="arrow")
        types = pa.types
        if isinstance(type_, pa.BaseExtensionType):
            return self._plain_type(name, type_.storage_type)
        if types.is_dictionary(type_):
            return self._plain_type(name, type_.value_type)
        if types.is_float16(type_):
            return pa.float32()
        if types.is_duration(type_):
            return pa.int64()
        if types.is_temporal(type_) or types.is_decimal(type_):
            return pa.string()
        if types.is_large_string(type_) or types.is_string(type_) or type_ == pa.string_view():
            return pa.string()
        if self._has(type_):
            return type_
        raise cannot_hold(
            self.name, name, type_, "it has no form in text. Write parquet, or cast the column"
        )

    def _encoded(self, data: bytes, plain: "pa.Table", out: Out) -> bytes:
        if is_utf8(out):
            return data
        try:
            return encode(data.decode(), out.encoding)
        except UnicodeEncodeError as error:
            raise _not_in_encoding(error, plain, out) from error

    def _has(self, type_: "pa.DataType") -> bool:
        pa = require("pyarrow", extra="arrow")
        types = pa.types
        tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
        return any(test(type_) for test in tests)

    def _to_text(self, plain: "pa.Table") -> bytes:
        raise NotImplementedError

    def _from_text(self, text: bytes, schema: "pa.Schema") -> "pa.Table":
        raise NotImplementedError


class Csv(Text):
    """Text with a header line and one delimiter."""

    def __init__(self, *, delimiter: str) -> None:
        self.format = "csv" if delimiter == "," else "tsv"
        self.name = self.format.upper()
        self._delimiter = delimiter

    def _to_text(self, plain: "pa.Table") -> bytes:
        pa = require("pyarrow", extra="arrow")
        arrow_csv = require("pyarrow.csv", extra="arrow")
        sink = pa.BufferOutputStream()
        options = arrow_csv.WriteOptions(delimiter=self._delimiter)
        arrow_csv.write_csv(plain, sink, write_options=options)
        return bytes(sink.getvalue().to_pybytes())

    def _from_text(self, text: bytes, schema: "pa.Schema") -> "pa.Table":
        pa = require("pyarrow", extra="arrow")
        arrow_csv = require("pyarrow.csv", extra="arrow")
        if not schema.names:  # a frame without columns has no rows
            return schema.empty_table()
        parse_options = arrow_csv.ParseOptions(
            delimiter=self._delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,  # a null in an only column
        )
        convert_options = arrow_csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            include_columns=schema.names,
        )

        def read(block_bytes: int) -> Any:
            return arrow_csv.read_csv(
                pa.BufferReader(text),
                read_options=arrow_csv.ReadOptions(block_size=block_bytes),
                parse_options=parse_options,
                convert_options=convert_options,
            )

        try:
            return read(_BLOCK_BYTES)
        except pa.ArrowInvalid:
            if len(text) <= _BLOCK_BYTES:
                raise
            return read(min(len(text), _MAX_BLOCK_BYTES))  # a line is longer than a block


class JsonLines(Text):
    """One JSON object a line; NaN and infinities as Python writes them."""

    name = "JSON lines"
    format = "jsonl"

    def _has(self, type_: "pa.DataType") -> bool:
        pa = require("pyarrow", extra="arrow")
        types = pa.types
        if types.is_map(type_):
            return False
        if types.is_nested(type_):
            inner = [type_.field(i).type for i in range(type_.num_fields)]
            return all(self._has(one) for one in inner)
        return super()._has(type_) or types.is_string(type_) or types.is_large_string(type_)

    def _to_text(self, plain: "pa.Table") -> bytes:
        lines = (json.dumps(row, ensure_ascii=False) for row in plain.to_pylist())
        return "".join(line + "\n" for line in lines).encode()

    def _from_text(self, text: bytes, schema: "pa.Schema") -> "pa.Table":
        pa = require("pyarrow", extra="arrow")
        try:
            rows = [json.loads(line) for line in text.decode().split("\n")[:-1]]
        except ValueError as error:
            raise unreadable("table.jsonl", self.name, str(error)) from error
        columns = [pa.array([row[field.name] for row in rows], field.type) for field in schema]
        return pa.Table.from_arrays(columns, schema=schema)


def is_utf8(out: Out) -> bool:
    """Whether the declared encoding is plain UTF-8."""
    return out.encoding.lower().replace("_", "-") in {"utf-8", "utf8"}


def encode(text: str, encoding: str) -> bytes:
    """Bytes that give the text back.

    Raises:
        UnicodeEncodeError: The encoding does not have a character, or gives another one back, as
            Shift JIS does with a yen sign.
    """
    data = text.encode(encoding)
    back = data.decode(encoding, errors="replace")
    if back != text:
        pairs = enumerate(zip(text, back, strict=False))
        start = next((i for i, (one, other) in pairs if one != other), min(len(text), len(back)))
        raise UnicodeEncodeError(encoding, text, start, start + 1, "it would not come back")
    return data


def pack(data: bytes, out: Out) -> bytes:
    """Bytes as they are kept: by gzip without a time in its header where declared so."""
    return gzip.compress(data, mtime=0) if out.compression == "gzip" else data


def unpack(data: bytes, out: Out) -> bytes:
    """What was packed."""
    return gzip.decompress(data) if out.compression == "gzip" else data


def _not_in_encoding(error: UnicodeEncodeError, plain: "pa.Table", out: Out) -> DataError:
    """Names the first column and row whose text the encoding does not have."""
    pa = require("pyarrow", extra="arrow")
    for name in plain.column_names:
        values = plain[name].to_pylist() if pa.types.is_string(plain[name].type) else []
        for row, value in enumerate([name, *values]):
            try:
                encode(value or "", out.encoding)
            except UnicodeEncodeError:
                place = f"in row {row - 1}" if row else "in its name"
                return DataError(
                    f"Column {name!r} holds {value!r} {place}, which the encoding "
                    f"{out.encoding!r} does not have; declare encoding='utf-8'."
                )
    return DataError(f"The encoding {out.encoding!r} does not have all characters: {error}.")
