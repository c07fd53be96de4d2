"""Frames of pandas as Arrow tables, with every dtype and the index restored or refused.

Arrow's own metadata restores most dtypes. What it does not is noted in the metadata key `tadka`:
dtypes by position (columns first, then levels of the index), and the frequency of the index.
"""

import json
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.task.output.mold import cannot_hold

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_KEY = b"tadka"


def pandas_to_table(frame: "pd.DataFrame", format_: str) -> "pa.Table":
    """A frame as a table from which `pandas_from_table` makes it again.

    Args:
        frame: The frame.
        format_: Where it shall go, for messages.

    Raises:
        DataError: A column has no Arrow type, or would come back as another type.
    """
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(
            f"The frame has more than one column {twice!r}; {format_} needs different names."
        )
    kind = require("pandas.api.types", extra="pandas").infer_dtype(frame.columns)
    if "mixed" in kind and frame.columns.nlevels == 1:
        raise DataError(
            f"The frame's columns are {list(frame.columns)!r}, of which {format_} would make text; "
            "make their names text, or all numbers."
        )
    table = _convert(frame, format_)
    metadata = dict(table.schema.metadata)
    metadata[b"pandas"] = _without_arrow_names(metadata[b"pandas"])
    notes: dict[str, Any] = {"dtypes": _object_notes(frame, table, format_)}
    if (freq := getattr(frame.index, "freqstr", None)) and hasattr(frame.index, "inferred_freq"):
        notes["freq"] = freq
    probe = _restored(table.replace_schema_metadata(metadata).slice(0, 0), {})
    for place, (before, after) in enumerate(zip(_dtypes(frame), _dtypes(probe), strict=True)):
        if before != after and str(place) not in notes["dtypes"] and str(before) != "category":
            notes["dtypes"][str(place)] = _name(before)
    if any(notes.values()):
        metadata[_KEY] = json.dumps(notes, sort_keys=True).encode()
    table = table.replace_schema_metadata(metadata)
    _check(frame, pandas_from_table(table.slice(0, 0)), format_)
    return table


def _convert(frame: "pd.DataFrame", format_: str) -> "pa.Table":
    pa = require("pyarrow", extra="arrow")
    errors = (pa.ArrowException, TypeError, ValueError, OverflowError)
    try:
        return pa.Table.from_pandas(frame)
    except errors as error:
        for name in frame.columns:
            try:
                pa.Table.from_pandas(frame[[name]], preserve_index=False)
            except errors as reason:
                seen = _types_in(frame[name])
                raise cannot_hold(format_, name, seen, _first(reason)) from reason
        raise DataError(
            f"The frame's index cannot be kept as {format_}: {_first(error)}."
        ) from error


def _first(error: BaseException) -> str:
    return str(error.args[0] if error.args else error).strip().split("\n")[0]


def _types_in(series: Any) -> str:
    if str(series.dtype) != "object":
        return str(series.dtype)
    names = sorted({type(value).__name__ for value in series[:10_000]})
    return f"object ({', '.join(names)})"


def _without_arrow_names(pandas_metadata: bytes) -> bytes:
    """Without names that Arrow cannot read, like `list<...>[pyarrow]`; notes restore them."""
    document = json.loads(pandas_metadata)
    for column in document["columns"]:
        name = column["numpy_type"]
        if name.endswith("[pyarrow]") and name != "string[pyarrow]":
            column["numpy_type"] = "object"
    return json.dumps(document).encode()


def _object_notes(frame: "pd.DataFrame", table: "pa.Table", format_: str) -> dict[str, str]:
    """Columns of objects that Arrow would give back as something else than objects."""
    pa = require("pyarrow", extra="arrow")
    notes = {}
    for place, name in enumerate(frame.columns):
        if str(frame.dtypes.iloc[place]) != "object":
            continue
        type_ = table.schema.field(place).type
        if pa.types.is_nested(type_):
            notes[str(place)] = _nested_note(frame.iloc[:, place], name, type_, format_)
        elif (
            pa.types.is_integer(type_)
            or pa.types.is_floating(type_)
            or pa.types.is_boolean(type_)
            or pa.types.is_timestamp(type_)
            or pa.types.is_duration(type_)
        ):
            notes[str(place)] = "objects"
    return notes


def _nested_note(series: Any, name: object, type_: Any, format_: str) -> str:
    """`objects` for lists and dicts, which Arrow gives back as arrays; `object` for arrays."""
    values = series.dropna()
    kinds = {type(value) for value in values}
    if kinds == {dict}:
        keys = {field.name for field in type_} if hasattr(type_, "fields") else set()
        for row, value in enumerate(values):
            if value.keys() != keys:
                raise cannot_hold(
                    format_,
                    name,
                    "object (dict)",
                    f"dicts must have the same keys in every row, and that of row {row} lacks "
                    f"{sorted(keys - value.keys())!r}. Write pickle instead",
                )
        return "objects"
    if kinds == {list}:
        return "objects"
    if {kind.__name__ for kind in kinds} == {"ndarray"}:
        return "object"
    raise cannot_hold(
        format_,
        name,
        _types_in(series),
        f"{type_} gives lists, dicts or arrays back, of one kind in a column",
    )


def _name(dtype: Any) -> str:
    """A note from which `_as_dtype` makes the dtype again."""
    if hasattr(dtype, "pyarrow_dtype"):
        return "arrow"
    if hasattr(dtype, "storage"):
        return f"string:{dtype.storage}:{'nan' if isinstance(dtype.na_value, float) else 'na'}"
    return str(dtype)


def _as_dtype(note: str) -> Any:
    if not note.startswith("string:"):
        return note
    pandas = require("pandas", extra="pandas")
    _, storage, missing = note.split(":")
    if missing == "nan":
        return pandas.StringDtype(storage, na_value=float("nan"))
    return pandas.StringDtype(storage)


def pandas_from_table(table: "pa.Table") -> "pd.DataFrame":
    """The frame that a table was made of; a plain conversion where it was made elsewhere."""
    metadata = dict(table.schema.metadata or {})
    notes = json.loads(metadata.pop(_KEY, b"{}"))
    return _restored(table.replace_schema_metadata(metadata), notes)


def _restored(table: "pa.Table", notes: dict[str, Any]) -> "pd.DataFrame":
    frame = table.to_pandas()
    for place, note in notes.get("dtypes", {}).items():
        _restore(frame, int(place), note, table)
    if "freq" in notes:
        frame.index.freq = notes["freq"]
    return frame


def _restore(frame: Any, place: int, note: str, table: "pa.Table") -> None:
    pandas = require("pandas", extra="pandas")
    if note == "object":
        return
    if place >= frame.shape[1]:
        _restore_index(frame, place - frame.shape[1], note, table)
        return
    column = table.column(place)
    if note == "arrow":
        array = pandas.arrays.ArrowExtensionArray(column)
    elif note == "objects":
        array = _objects(column)
    else:
        array = frame.iloc[:, place].astype(_as_dtype(note)).array
    frame.isetitem(place, pandas.Series(array, index=frame.index, copy=False))


def _objects(column: "pa.ChunkedArray") -> Any:
    array = require("numpy").empty(len(column), dtype=object)
    array[:] = column.to_pylist()
    return array


def _restore_index(frame: Any, level: int, note: str, table: "pa.Table") -> None:
    pandas = require("pandas", extra="pandas")
    index = frame.index
    if note == "arrow":
        type_ = table.column(frame.shape[1] + level).type
        dtype: Any = pandas.ArrowDtype(type_)
    else:
        dtype = _as_dtype(note)
    if isinstance(index, pandas.MultiIndex):
        frame.index = index.set_levels(index.levels[level].astype(dtype), level=level)
    else:
        frame.index = index.astype(dtype)


def _dtypes(frame: Any) -> list[Any]:
    """Of the columns, then of the levels of the index."""
    levels = getattr(frame.index, "levels", [frame.index])
    return [*frame.dtypes, *(level.dtype for level in levels)]


def _check(frame: Any, probe: Any, format_: str) -> None:
    """Refuses what the table would not give back; `probe` is what came back of no rows."""
    names = [*frame.columns, *(f"index level {name}" for name in frame.index.names)]
    if list(frame.index.names) != list(probe.index.names):
        raise DataError(
            f"The frame's index has the names {list(frame.index.names)!r}, which {format_} gives "
            f"back as {list(probe.index.names)!r}; rename them."
        )
    if not frame.columns.equals(probe.columns):
        raise DataError(
            f"The frame's columns are {frame.columns!r}, which {format_} gives back as "
            f"{probe.columns!r}; make their names text."
        )
    for name, before, after in zip(names, _dtypes(frame), _dtypes(probe), strict=True):
        is_same = before == after or str(before) == str(after) == "category"
        if not is_same:
            raise cannot_hold(format_, name, before, f"it would come back as {after}")
