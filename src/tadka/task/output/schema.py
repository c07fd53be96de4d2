"""Whether a result is what its output declares: columns, types, nulls and number of rows."""

import datetime as dt
import decimal
import difflib
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, Protocol

from tadka.core.error import DataError
from tadka.core.extra import loaded, require
from tadka.task.output.column import Column, Kind, kind_of
from tadka.task.output.frame import collect, library_of
from tadka.task.output.out import Out

if TYPE_CHECKING:
    import numpy as np

_CLASSES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float,),
    "str": (str,),
    "bytes": (bytes,),
    "date": (dt.date,),
    "datetime": (dt.datetime,),
    "duration": (dt.timedelta,),
    "time": (dt.time,),
    "decimal": (decimal.Decimal,),
    "list": (list,),
    "struct": (dict,),
}
# classes of numpy that are none of Python
_OF_NUMPY = {"bool": "bool_", "int": "integer", "float": "floating", "list": "ndarray"}
# what pandas.api.types.infer_dtype says of a column of objects
_INFERRED = {
    "string": "str",
    "bytes": "bytes",
    "boolean": "bool",
    "integer": "int",
    "floating": "float",
    "decimal": "decimal",
    "date": "date",
    "datetime": "datetime",
    "datetime64": "datetime",
    "timedelta": "duration",
    "timedelta64": "duration",
    "time": "time",
    "empty": "null",
}


def refuse(out: Out, value: Any, where: str) -> None:
    """Refuses a result that is not what its output declares.

    A column of nulls only is of every type that allows nulls. NaN in a column of pandas is a null,
    as pandas has it; elsewhere it is a number.

    Args:
        out: The declaration.
        value: The result.
        where: Whose, for messages, such as `"Clicks.out"`.

    Raises:
        DataError: A column is missing or of another type, or has nulls where none are declared (the
            message names the first row that offends, from 0), or there are too few rows.
    """
    if not out.min_rows and out.columns is None:
        return
    value = collect(value)
    if out.min_rows:
        _check_rows(out.min_rows, value, where)
    if out.columns is None:
        return
    columns = _columns_of(value, where)
    for column in out.schema:
        _check_column(column, columns, where)


def _check_rows(min_rows: int, value: Any, where: str) -> None:
    is_counted = isinstance(value, Sized) and not isinstance(value, str | bytes)
    if not is_counted or getattr(value, "shape", (0,)) == ():
        raise DataError(
            f"{where} declares min_rows={min_rows}, and the result is {type(value).__name__!r}, "
            "which has no rows; return a frame, a list, a dict or an array."
        )
    if len(value) < min_rows:
        raise DataError(
            f"{where} has {len(value)} rows; it declares at least {min_rows} (min_rows)."
        )


class _Columns(Protocol):
    """What the checks ask of frames of every kind."""

    names: list[Any]
    is_pandas: bool

    def kind(self, name: str) -> Kind: ...
    def first_null(self, name: str) -> int | None: ...
    def first_other(self, name: str, kind: Kind) -> int: ...
    def value(self, name: str, row: int) -> Any: ...
    def num_rows(self) -> int: ...


def _columns_of(value: Any, where: str) -> _Columns:
    library = library_of(type(value))
    if library == "pandas":
        return _Pandas(value)
    if library == "polars":
        return _Polars(value)
    if library == "arrow":
        return _Arrow(value)
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return _Dicts(value, where)
    raise DataError(
        f"{where} declares columns, and the result is {type(value).__name__!r}, which has none; "
        "return a frame or a list of dicts."
    )


def _check_column(column: Column, columns: _Columns, where: str) -> None:
    name = column.name
    if name not in columns.names:
        names = [str(one) for one in columns.names]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listed = ", ".join(names) or "none"
        raise DataError(f"{where} has no column {name!r}.{hint} Its columns are: {listed}.")
    if columns.names.count(name) > 1:
        raise DataError(
            f"{where} has the column {name!r} {columns.names.count(name)} times; it must be there "
            "once."
        )
    seen = columns.kind(name)
    first_null = columns.first_null(name)
    if seen.family == "null" and (column.is_nullable or not columns.num_rows()):
        return
    if seen.family != "null" and not column.kind.holds(seen, is_pandas=columns.is_pandas):
        raise DataError(
            f"Column {name!r} of {where} is declared as {column.text} and is {seen}"
            f"{_example(column, columns, seen)}."
        )
    if first_null is not None and not column.is_nullable:
        raise DataError(
            f"Column {name!r} of {where} is declared as {column.text}, without nulls, and is "
            f"{seen} with a null in row {first_null}. Fill it, or declare `{column.kind} | None`."
        )


def _example(column: Column, columns: _Columns, seen: Kind) -> str:
    if not columns.num_rows():
        return " (no rows)"
    name = column.name
    if columns.is_pandas and column.kind.family == "int" and seen.family == "float":
        row = columns.first_null(name)
        if row is not None:
            return (
                f": row {row} is null, and pandas keeps such a column as floats; use "
                "astype('Int64')"
            )
    row = columns.first_other(name, column.kind)
    value = columns.value(name, row)
    return f": row {row} holds {value.item() if hasattr(value, 'item') else value!r}"


class _Pandas:
    is_pandas = True

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        levels = (name for name in frame.index.names if name is not None)
        self.names = [*frame.columns, *(name for name in levels if name not in frame.columns)]

    def _column(self, name: str) -> Any:
        if name in self._frame.columns:
            return self._frame[name]
        return self._frame.index.get_level_values(name).to_series()

    def kind(self, name: str) -> Kind:
        dtype = self._column(name).dtype
        if str(dtype) == "object":
            inferred = require("pandas.api.types", extra="pandas").infer_dtype(self._column(name))
            return Kind(_INFERRED.get(inferred, "object"), "")
        return kind_of(dtype) or Kind("object", str(dtype))

    def first_null(self, name: str) -> int | None:
        return _first(self._column(name).isna().to_numpy())

    def first_other(self, name: str, kind: Kind) -> int:
        column = self._column(name)
        if str(column.dtype) == "object":
            return _first_of_other_class(column, kind)
        if kind.family == "int" and column.dtype.kind == "f":
            values = column.to_numpy(dtype=float)
            return _first(values != require("numpy").floor(values)) or 0
        return 0

    def value(self, name: str, row: int) -> Any:
        return self._column(name).iloc[row]

    def num_rows(self) -> int:
        return len(self._frame)


class _Polars:
    is_pandas = False

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names = list(frame.columns)

    def kind(self, name: str) -> Kind:
        dtype = self._frame.schema[name]
        return kind_of(dtype) or Kind("object", str(dtype))

    def first_null(self, name: str) -> int | None:
        column = self._frame[name]
        return int(column.is_null().arg_max()) if column.null_count() else None

    def first_other(self, name: str, kind: Kind) -> int:  # noqa: ARG002 - all rows are of one type
        return 0

    def value(self, name: str, row: int) -> Any:
        return self._frame[name][row]

    def num_rows(self) -> int:
        return len(self._frame)


class _Arrow:
    is_pandas = False

    def __init__(self, table: Any) -> None:
        self._table = table
        self.names = list(table.column_names)

    def kind(self, name: str) -> Kind:
        return kind_of(self._table.schema.field(name).type) or Kind("object")

    def first_null(self, name: str) -> int | None:
        column = self._table[name]
        if not column.null_count:
            return None
        compute = require("pyarrow.compute", extra="arrow")
        return int(compute.index(compute.is_null(column), True).as_py())

    def first_other(self, name: str, kind: Kind) -> int:  # noqa: ARG002 - all rows are of one type
        return 0

    def value(self, name: str, row: int) -> Any:
        return self._table[name][row].as_py()

    def num_rows(self) -> int:
        return int(self._table.num_rows)


class _Dicts:
    is_pandas = False

    def __init__(self, rows: list[dict[str, Any]], where: str) -> None:
        self._rows = rows
        self._where = where
        self.names: list[Any] = list(dict.fromkeys(key for row in rows for key in row))

    def _values(self, name: str) -> list[Any]:
        for i, row in enumerate(self._rows):
            if name not in row:
                raise DataError(
                    f"Row {i} of {self._where} has no {name!r}; its keys are: "
                    f"{', '.join(map(str, row)) or 'none'}."
                )
        return [row[name] for row in self._rows]

    def kind(self, name: str) -> Kind:
        values = [value for value in self._values(name) if value is not None]
        if not values:
            return Kind("null")
        families = {_family(value) for value in values}
        return Kind(families.pop() if len(families) == 1 else "object")

    def first_null(self, name: str) -> int | None:
        values = self._values(name)
        return next((row for row, value in enumerate(values) if value is None), None)

    def first_other(self, name: str, kind: Kind) -> int:
        return _first_of_other_class(self._values(name), kind)

    def value(self, name: str, row: int) -> Any:
        return self._rows[row][name]

    def num_rows(self) -> int:
        return len(self._rows)


def _family(value: Any) -> str:
    for family, classes in _CLASSES.items():  # bool before int, so that True is no number
        if isinstance(value, classes):
            return "datetime" if isinstance(value, dt.datetime) else family
    numpy = loaded("numpy")
    for family, name in _OF_NUMPY.items() if numpy else ():
        if isinstance(value, getattr(numpy, name)):
            return family
    return "object"


def _first_of_other_class(values: Any, kind: Kind) -> int:
    for row, value in enumerate(values):
        if value is not None and value == value and _family(value) != kind.family:  # noqa: PLR0124
            return row
    return 0


def _first(is_it: "np.ndarray[Any, Any]") -> int | None:
    row = int(is_it.argmax()) if len(is_it) else 0
    return row if len(is_it) and is_it[row] else None
