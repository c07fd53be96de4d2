"""Frames of pandas as Arrow tables, with every dtype and the index restored or refused.

Arrow's own metadata restores most dtypes. What it does not is noted in the metadata key `tadka`:
dtypes by position (columns first, then levels of the index), columns of objects whose nulls are
NaN, and the frequency of the index. Objects are compared with what would come back.
"""

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.task.output.mold import cannot_hold

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_KEY = b"tadka"
# classes of objects that Arrow gives back as they are, where a column holds no other
_EXACT = {str, int, float, bool, bytes, dt.date}
_CATEGORY = "category:"
# nulls in columns of objects, besides None
_NULLS = {"float": "nan", "NaTType": "NaT", "NAType": "NA"}


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
    _check_names(frame, format_)
    table = _convert(frame, format_)
    metadata = dict(table.schema.metadata)
    metadata[b"pandas"] = _without_arrow_names(metadata[b"pandas"])
    dtypes, nulls = _object_notes(frame, table, format_)
    notes: dict[str, Any] = {"dtypes": dtypes, "nulls": nulls}
    if (freq := getattr(frame.index, "freqstr", None)) and hasattr(frame.index, "inferred_freq"):
        _check_freq(frame.index, freq, format_)
        notes["freq"] = freq
    probe = _restored(table.replace_schema_metadata(metadata).slice(0, 0), {})
    for place, (before, after) in enumerate(zip(_dtypes(frame), _dtypes(probe), strict=True)):
        if not _is_same_dtype(before, after) and str(place) not in notes["dtypes"]:
            notes["dtypes"][str(place)] = _name(before)
    if any(notes.values()):
        metadata[_KEY] = json.dumps(notes, sort_keys=True).encode()
    table = table.replace_schema_metadata(metadata)
    _check(frame, pandas_from_table(table.slice(0, 0)), format_)
    return table


def _check_names(frame: "pd.DataFrame", format_: str) -> None:
    columns = frame.columns
    kind = require("pandas.api.types", extra="pandas").infer_dtype(columns)
    is_mixed = "mixed" in kind and columns.nlevels == 1
    if is_mixed or kind == "date" or str(columns.dtype) == "category":
        raise DataError(
            f"The frame's columns are {list(columns)!r} ({kind}), which would not come back from "
            f"{format_} as such; make their names text, or all numbers."
        )


def _convert(frame: "pd.DataFrame", format_: str) -> "pa.Table":
    pa = require("pyarrow", extra="arrow")
    errors = (pa.ArrowException, TypeError, ValueError, OverflowError)
    try:
        table = pa.Table.from_pandas(frame)
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

    for name, field in zip(_names(frame), table.schema, strict=False):
        if pa.types.is_dictionary(field.type):
            values = field.type.value_type
            if pa.types.is_nested(values) or isinstance(values, pa.BaseExtensionType):
                raise cannot_hold(
                    format_, name, "category", f"categories of {values} have no place in it"
                )
    return table


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


def _object_notes(
    frame: "pd.DataFrame", table: "pa.Table", format_: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Columns of objects that Arrow would give back as something else, and their nulls.

    Raises:
        DataError: An object would not come back as it is.
    """
    dtypes, nulls = {}, {}
    num_columns = frame.shape[1]
    index = [frame.index.get_level_values(level) for level in range(frame.index.nlevels)]
    for place, (name, dtype) in enumerate(zip(_names(frame), _dtypes(frame), strict=True)):
        if str(dtype) != "object":
            continue
        is_index = place >= num_columns
        series = index[place - num_columns] if is_index else frame.iloc[:, place]
        column = table.column(place)
        if not is_index and (note := _object_note(series, name, column.type, format_)):
            dtypes[str(place)] = note
        null = _check_objects(series.to_numpy(), name, column, format_)
        if null and (not is_index or len(index) == 1):  # several levels have NaN only
            nulls[str(place)] = null
    return dtypes, nulls


def _object_note(series: Any, name: object, type_: "pa.DataType", format_: str) -> str:
    pa = require("pyarrow", extra="arrow")
    if pa.types.is_nested(type_):
        return _nested_note(series, name, type_, format_)
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_timestamp,
        pa.types.is_duration,
    )
    return "objects" if any(test(type_) for test in tests) else ""


def _check_objects(values: Any, name: object, column: "pa.ChunkedArray", format_: str) -> str:
    """Refuses objects that would not come back.

    Returns:
        The null that they hold, where it is another than None; several kinds become None.
    """
    pandas = require("pandas", extra="pandas")
    null = ""
    rows: Any = range(len(values))
    if column.null_count:
        is_null = pandas.isna(values)
        nulls = {_null_of(value, name, format_) for value in values[is_null]}
        null = nulls.pop() if len(nulls) == 1 else ""
        rows, values, column = (~is_null).nonzero()[0], values[~is_null], column.drop_null()
    classes = set(map(type, values))
    if len(classes) <= 1 and classes <= _EXACT:
        return null
    names = sorted(cls.__name__ for cls in classes)
    restored = column.to_pandas() if names == ["ndarray"] else column.to_pylist()
    for row, before, after in zip(rows, values, restored, strict=True):
        if not _is_same(before, after):
            raise cannot_hold(
                format_,
                name,
                f"object ({', '.join(names)})",
                f"row {row} holds {_short(before)}, which would come back as {_short(after)}. "
                "Give the column a dtype, or write pickle",
            )
    return null


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _null_of(value: object, name: object, format_: str) -> str:
    if value is None:
        return ""
    kind = "float" if isinstance(value, float) else type(value).__name__
    if kind not in _NULLS:
        raise cannot_hold(format_, name, f"object ({kind})", f"{value!r} would come back as None")
    return _NULLS[kind]


def _is_same(before: Any, after: Any) -> bool:
    if type(before) is not type(after):
        return False
    if isinstance(before, float):
        return before == after or (before != before and after != after)  # noqa: PLR0124 - NaN
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_is_same, before, after))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(
            _is_same(before[key], after[key]) for key in before
        )
    if hasattr(before, "dtype") and hasattr(before, "shape"):
        return (
            before.dtype == after.dtype
            and before.shape == after.shape
            and _is_same(before.tolist(), after.tolist())
        )
    if isinstance(before, dt.datetime) and str(before.tzinfo) != str(after.tzinfo):
        return False
    return bool(before == after)


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
    if str(dtype) == "category":
        return _CATEGORY + _name(dtype.categories.dtype)
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
    for place, null in notes.get("nulls", {}).items():
        _restore_nulls(frame, int(place), null)
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
    elif note.startswith(_CATEGORY):
        array = _with_categories(frame.iloc[:, place].array, note, column)
    else:
        array = frame.iloc[:, place].astype(_as_dtype(note)).array
    # the dtype is said, since pandas would make times of objects
    frame.isetitem(place, pandas.Series(array, index=frame.index, dtype=array.dtype, copy=False))


def _with_categories(values: Any, note: str, column: "pa.ChunkedArray") -> Any:
    """Categorical values with categories of the noted dtype."""
    pandas = require("pandas", extra="pandas")
    if not column.num_chunks:
        return values
    dictionary = column.unify_dictionaries().chunk(0).dictionary
    note = note.removeprefix(_CATEGORY)
    dtype = pandas.ArrowDtype(dictionary.type) if note == "arrow" else _as_dtype(note)
    return values.rename_categories(pandas.Index(dictionary.to_pandas()).astype(dtype))


def _restore_nulls(frame: Any, place: int, null: str) -> None:
    """Puts another null into a column of objects, or into the index, where None came back."""
    pandas = require("pandas", extra="pandas")
    is_index = place >= frame.shape[1]
    values = (frame.index if is_index else frame.iloc[:, place]).to_numpy(dtype=object, copy=True)
    values[pandas.isna(values)] = float("nan") if null == "nan" else getattr(pandas, null)
    if is_index:
        frame.index = pandas.Index(values, dtype=object, name=frame.index.name)
    else:
        frame.isetitem(place, pandas.Series(values, index=frame.index, dtype=object, copy=False))


def _objects(column: "pa.ChunkedArray") -> Any:
    array = require("numpy").empty(len(column), dtype=object)
    array[:] = column.to_pylist()
    return array


def _restore_index(frame: Any, level: int, note: str, table: "pa.Table") -> None:
    pandas = require("pandas", extra="pandas")
    index = frame.index
    is_multi = isinstance(index, pandas.MultiIndex)
    if note.startswith(_CATEGORY):
        column = table.column(frame.shape[1] + level)
        values = _with_categories(index.levels[level] if is_multi else index, note, column)
        frame.index = index.set_levels(values, level=level) if is_multi else values
        return
    if note == "arrow":
        type_ = table.column(frame.shape[1] + level).type
        dtype: Any = pandas.ArrowDtype(type_)
    else:
        dtype = _as_dtype(note)
    if is_multi:
        frame.index = index.set_levels(index.levels[level].astype(dtype), level=level)
    else:
        frame.index = index.astype(dtype)


def _dtypes(frame: Any) -> list[Any]:
    """Of the columns, then of the levels of the index."""
    levels = getattr(frame.index, "levels", [frame.index])
    return [*frame.dtypes, *(level.dtype for level in levels)]


def _is_same_dtype(before: Any, after: Any) -> bool:
    # to pandas, categories that are 1 and True, or objects and numbers, are equal
    return bool(before == after) and _name(before) == _name(after)


def _names(frame: Any) -> list[Any]:
    """Of the columns, then of the levels of the index."""
    return [*frame.columns, *(f"index level {name}" for name in frame.index.names)]


def _check_freq(index: Any, freq: str, format_: str) -> None:
    """Refuses a frequency that its text does not hold, such as one with holidays."""
    index = index.copy(deep=True)
    wanted = index.freq
    try:
        index.freq = freq
    except ValueError:
        index.freq = None
    if index.freq != wanted:
        raise DataError(
            f"The frame's index has the frequency {wanted!r}, of which {format_} keeps only "
            f"{freq!r}; set `frame.index.freq = None`."
        )


def _check(frame: Any, probe: Any, format_: str) -> None:
    """Refuses what the table would not give back; `probe` is what came back of no rows."""
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
    for name, before, after in zip(_names(frame), _dtypes(frame), _dtypes(probe), strict=True):
        if not _is_same_dtype(before, after):
            if str(before) == str(after):  # category, of categories of another dtype
                before, after = _name(before), _name(after)
            raise cannot_hold(format_, name, before, f"it would come back as {after}")
