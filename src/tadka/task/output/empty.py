"""Frames without rows that have the columns and types an output declares."""

import typing
from typing import Any

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.task.output.column import Column
from tadka.task.output.frame import Library, library_of
from tadka.task.output.out import Out

_POLARS = {
    "bool": "Boolean",
    "int": "Int64",
    "float": "Float64",
    "str": "String",
    "bytes": "Binary",
    "date": "Date",
    "time": "Time",
    "category": "Categorical",
}
_ARROW = {
    "bool": "bool_",
    "int": "int64",
    "float": "float64",
    "str": "string",
    "bytes": "binary",
    "date": "date32",
}
_PANDAS = {"bool": "bool", "int": "int64", "float": "float64", "category": "category"}
_MASKED = {"bool": "boolean", "int": "Int64", "float": "float64", "category": "category"}


def empty_of(out: Out, type_: Any) -> Any:
    """What an output is without rows.

    Args:
        out: It declares columns.
        type_: The type of the result, as the class says it.

    Returns:
        A frame of pandas, polars or Arrow; an empty list for a list of dicts; a frame of pandas
        where the class does not say.

    Raises:
        ConfigError: No such frame can be made: nothing is declared, or the type has no columns.
    """
    if out.columns is None:
        raise ConfigError("Out declares no columns, so nobody knows how its empty frame looks.")
    origin = typing.get_origin(type_) or type_
    if origin is list:
        return []
    library = library_of(origin)
    if library is None and origin not in {Any, object}:
        raise ConfigError(f"No empty {getattr(origin, '__name__', origin)!r} can be made.")
    columns = [(column, out.columns[column.name]) for column in out.schema]
    if library in {"polars", "lazy"}:
        polars = require("polars", extra="polars")
        frame = polars.DataFrame(schema={c.name: _polars(polars, c, given) for c, given in columns})
        return frame.lazy() if library == "lazy" else frame
    if library == "arrow":
        pa = require("pyarrow", extra="arrow")
        return pa.schema([(c.name, _arrow(pa, c, given)) for c, given in columns]).empty_table()
    pandas = require("pandas", extra="pandas")
    series = {c.name: pandas.Series([], dtype=_pandas(c, given)) for c, given in columns}
    return pandas.DataFrame(series)


def without_rows(value: Any) -> Any:
    """A frame, or a list, with its columns and types and no rows; other values as they are.

    Args:
        value: Any.
    """
    library: Library | None = library_of(type(value))
    if library == "pandas":
        return value.iloc[:0]
    if library == "polars":
        return value.clear()
    if library == "lazy":
        return value.limit(0)
    if library == "arrow":
        return value.slice(0, 0)
    return [] if isinstance(value, list) else value


def _is_of(library: str, declared: Any) -> bool:
    """Whether what was declared is already a type of the library."""
    cls = declared if isinstance(declared, type) else type(declared)
    return cls.__module__.partition(".")[0] == library


def _unit(column: Column, otherwise: str) -> tuple[str, str | None]:
    """The unit and the zone of a time."""
    unit, _, zone = column.kind.detail.partition(", ")
    return unit or otherwise, zone or None


def _polars(polars: Any, column: Column, declared: Any) -> Any:
    if isinstance(declared, tuple):
        declared = declared[0]
    if _is_of("polars", declared):
        return declared
    family, detail = column.kind.family, column.kind.detail
    if family in {"int", "float"} and detail:
        return getattr(polars, detail.capitalize().replace("Uint", "UInt"))
    if family == "datetime":
        unit, zone = _unit(column, "us")
        return polars.Datetime("us" if unit == "s" else unit, zone)
    if family == "duration":
        unit, _ = _unit(column, "us")
        return polars.Duration("us" if unit == "s" else unit)
    if family == "decimal":
        precision, scale = _decimal(detail)
        return polars.Decimal(precision, scale)
    return getattr(polars, _POLARS.get(family, "Null"))


def _arrow(pa: Any, column: Column, declared: Any) -> Any:
    if isinstance(declared, tuple):
        declared = declared[0]
    if _is_of("pyarrow", declared):
        return declared
    family, detail = column.kind.family, column.kind.detail
    if family in {"int", "float"} and detail:
        return getattr(pa, detail.lower())()
    if family == "datetime":
        return pa.timestamp(*_unit(column, "us"))
    if family == "duration":
        return pa.duration(_unit(column, "us")[0])
    if family == "decimal":
        return pa.decimal128(*_decimal(detail))
    if family == "time":
        return pa.time64("us")
    if family == "category":
        return pa.dictionary(pa.int32(), pa.string())
    return getattr(pa, _ARROW.get(family, "null"))()


def _pandas(column: Column, declared: Any) -> Any:
    if isinstance(declared, tuple):
        declared = declared[0]
    if _is_of("pandas", declared):
        return declared
    family, detail = column.kind.family, column.kind.detail
    if family in {"int", "float", "bool"} and detail and not _is_of("polars", declared):
        return detail
    if family == "str":
        return str
    if family == "datetime":
        unit, zone = _unit(column, "ns")
        return f"datetime64[{unit}, {zone}]" if zone else f"datetime64[{unit}]"
    if family == "duration":
        return f"timedelta64[{_unit(column, 'ns')[0]}]"
    names = _MASKED if column.is_nullable else _PANDAS
    return names.get(family, "object")


def _decimal(detail: str) -> tuple[int, int]:
    precision, _, scale = detail.partition(", ")
    return (int(precision), int(scale)) if scale else (38, 9)
