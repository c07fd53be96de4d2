"""What footers tell of data: whether parts have rows, and columns in types that suit a model."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tadka.core.extra import require
from tadka.models.data.data import PARTS, Data
from tadka.models.data.findings import Findings, Part
from tadka.models.define.column import Column

if TYPE_CHECKING:
    import pyarrow as pa


def check_footers(data: Data, columns: Sequence[Column], found: Findings) -> list[Part]:
    """The parts of data, train first, with the columns that suit; what does not is noted.

    Args:
        data: Prepared.
        columns: What the model takes in.
        found: Where it is noted.
    """
    found.ask("RowCount")
    if "train" not in data.parts:
        found.find("RowCount", "the data has no part 'train'.", stage="footer")
    parts: list[Part] = []
    for name in (part for part in PARTS if part in data.parts):
        num_rows, schema = data.num_rows(name), data.schema(name)
        if not num_rows:
            found.find("RowCount", "0 rows; at least 1 must be there.", part=name, stage="footer")
        suiting = tuple(column for column in columns if _suits(column, schema, name, found))
        parts.append(Part(name, num_rows, schema, suiting, is_first=not parts))
    found.measured["rows"] = {part.name: part.num_rows for part in parts}
    return parts


def _suits(column: Column, schema: "pa.Schema", part: str, found: Findings) -> bool:
    found.ask("ColumnExists", column.name)
    index = schema.get_field_index(column.name)
    if index < 0:
        close = difflib.get_close_matches(column.name, schema.names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"It has {', '.join(schema.names)}."
        found.find(
            "ColumnExists",
            f"there is no column {column.name!r}. {hint} Name it at data.columns.{column.name}.",
            part=part,
            column=column.name,
            stage="footer",
        )
        return False
    found.ask("ColumnType", column.name)
    kind = dtype_of(schema.field(index).type)
    is_time = column.role == "time" and kind == "time"
    if not (column.accepts(kind) or is_time):
        found.find(
            "ColumnType",
            f"the type is {schema.field(index).type}; the model asks for {column.dtype}.",
            part=part,
            column=column.name,
            stage="footer",
        )
        return False
    return True


def check_fitted(fitted: Mapping[str, Sequence[str]], found: Findings) -> None:
    """Statistics must be learned from train alone.

    Args:
        fitted: Parts that they were learned from, by what they are for.
        found: Where it is noted.
    """
    found.ask("FittedOnTrain")
    for by, parts in fitted.items():
        others = [part for part in parts if part != "train"]
        if others:
            found.find(
                "FittedOnTrain",
                f"{by} was learned from {' and '.join(others)}; it must be learned from train "
                "alone.",
                part=others[-1],
                stage="footer",
            )


def dtype_of(kind: Any) -> str:
    """A type of Arrow in the words of `Column`.

    Args:
        kind: A `pyarrow.DataType`.

    Returns:
        Such as `int64`, `string`, `list[float32]`, `time`; the text of the type for all else.
    """
    types = require("pyarrow", extra="arrow").types
    if types.is_dictionary(kind):
        return dtype_of(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return f"list[{dtype_of(kind.value_type)}]"
    if types.is_string(kind) or types.is_large_string(kind):
        return "string"
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return "bytes"
    if types.is_temporal(kind):
        return "time"
    return {"double": "float64", "float": "float32", "halffloat": "float16"}.get(
        str(kind), str(kind)
    )
