"""What is worth knowing of a result at a glance: rows, columns, cheap statistics."""

import datetime as dt
import math
import sys
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tadka.core.extra import loaded, require
from tadka.task.output.column import kind_of
from tadka.task.output.frame import collect, library_of

if TYPE_CHECKING:
    import numpy as np

SAMPLE_ROWS = 4096
_NUM_BINS = 20
_MAX_COLUMNS = 200  # of which statistics are made


@dataclass(frozen=True)
class Description:
    """A result in figures.

    Args:
        num_rows: Rows of a frame, items of a list or dict, the first axis of an array; else None.
        num_bytes: Size in memory, where it is cheap to know.
        columns: Name -> type; an array is one column without a name.
        statistics: Column -> what is known of it: `nulls`, of numbers and times `min`, `max` and
            (of numbers) `mean`, over all rows; `distinct` and of numbers `histogram` (`edges` and
            `counts` of 20 bins) over `sampled` rows, evenly spaced.
        format: Of the file, where it was written.
        type: Of the value that was written: `"pandas.DataFrame"`.
    """

    num_rows: int | None = None
    num_bytes: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    format: str = ""
    type: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "num_rows": self.num_rows,
            "num_bytes": self.num_bytes,
            "columns": dict(self.columns),
            "statistics": {name: dict(values) for name, values in self.statistics.items()},
            "format": self.format,
            "type": self.type,
        }


def describe(value: Any, nulls: Sequence[int] | None = None) -> Description:
    """A result in figures; costs little beside writing it.

    Args:
        value: Any result; of a frame the columns are described.
        nulls: Number of nulls of each column, where that is known: pandas is slow to count them.
    """
    value = collect(value)
    library = library_of(type(value))
    if library == "pandas":
        return _pandas(value, nulls)
    if library == "polars":
        return _polars(value)
    if library == "arrow":
        return _arrow(value)
    numpy = loaded("numpy")
    if numpy and isinstance(value, numpy.ndarray):
        return _array(value)
    num_rows = len(value) if isinstance(value, Sized) and not isinstance(value, str) else None
    is_flat = isinstance(value, str | bytes)
    return Description(
        num_rows=None if is_flat else num_rows,
        num_bytes=sys.getsizeof(value) if is_flat else None,
    )


def _pandas(frame: Any, nulls: Sequence[int] | None) -> Description:
    columns, statistics = {}, {}
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        columns[str(name)] = str(column.dtype)
        if place < _MAX_COLUMNS:
            known = None if nulls is None else nulls[place]
            statistics[str(name)] = _or_nothing(_pandas_column, column, known)
    num_bytes = int(frame.memory_usage(index=True, deep=False).sum())
    return Description(len(frame), num_bytes, columns, statistics)


def _pandas_column(column: Any, nulls: int | None) -> dict[str, Any]:
    numpy = require("numpy")
    kind = column.dtype.kind
    is_number = kind in "iufb"
    if is_number and isinstance(column.dtype, numpy.dtype):
        found = _numbers(column.to_numpy())
    else:
        found = {"nulls": int(column.isna().sum()) if nulls is None else nulls}
        if is_number or kind in "Mm":
            found |= _ends(column.min(), column.max())
        if is_number:
            found["mean"] = _plain(column.mean())
    sample = column.iloc[:: _step(len(column))]
    present = sample.dropna()
    try:
        distinct = int(present.nunique())
    except (TypeError, NotImplementedError):  # lists, dicts
        distinct = None
    numbers = present.to_numpy(dtype=float) if is_number else None
    return found | _of_sample(len(sample), distinct, numbers)


def _polars(frame: Any) -> Description:
    columns = {name: str(dtype) for name, dtype in frame.schema.items()}
    names = frame.columns[:_MAX_COLUMNS]
    statistics = {name: _or_nothing(_polars_column, frame[name]) for name in names}
    return Description(len(frame), int(frame.estimated_size()), columns, statistics)


def _polars_column(column: Any) -> dict[str, Any]:
    dtype = column.dtype
    found: dict[str, Any] = {"nulls": column.null_count()}
    if dtype.is_numeric() or dtype.is_temporal():
        found |= _ends(column.min(), column.max())
    if dtype.is_numeric():
        found["mean"] = _plain(column.mean())
    sample = column.gather_every(_step(len(column))) if len(column) else column
    present = sample.drop_nulls().to_list()
    numbers = require("numpy").array(present, dtype=float) if dtype.is_numeric() else None
    return found | _of_sample(len(sample), _distinct(present), numbers)


def _arrow(table: Any) -> Description:
    columns = {field.name: str(field.type) for field in table.schema}
    chosen = list(zip(table.column_names, table.columns, strict=True))[:_MAX_COLUMNS]
    statistics = {name: _or_nothing(_arrow_column, column) for name, column in chosen}
    return Description(table.num_rows, int(table.nbytes), columns, statistics)


def _arrow_column(column: Any) -> dict[str, Any]:
    pa = require("pyarrow", extra="arrow")
    compute = require("pyarrow.compute", extra="arrow")
    if column.type == pa.float16():  # Arrow computes nothing with it
        column = column.cast(pa.float32())
    kind = kind_of(column.type)
    family = "object" if kind is None else kind.family
    found: dict[str, Any] = {"nulls": column.null_count}
    if family == "float" and not column.null_count and len(column):
        found = _numbers(column.to_numpy())  # many times faster than Arrow's
    elif family in {"int", "float", "date", "datetime", "duration"}:
        ends = compute.min_max(column).as_py()
        found |= _ends(ends["min"], ends["max"])
    if family in {"int", "float"} and "mean" not in found:
        found["mean"] = _plain(compute.mean(column).as_py())
    rows = pa.array(range(0, len(column), _step(len(column))), pa.int64())
    sample = column.take(rows)
    present = sample.drop_null()
    numbers = None
    if family in {"int", "float"}:
        numbers = present.cast(pa.float64(), safe=False).to_numpy()
    return found | _of_sample(len(sample), _distinct(present.to_pylist()), numbers)


def _or_nothing(make: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    """The statistics of a column, or none: one without a minimum is no reason to lose a result."""
    try:
        return make(*args)
    except Exception:  # noqa: BLE001 - libraries raise what they like of rare types
        return {}


def _array(array: "np.ndarray[Any, Any]") -> Description:
    numpy = require("numpy")
    shape = ", ".join(map(str, array.shape))
    columns = {"": f"{array.dtype}[{shape}]"}
    statistics: dict[str, Mapping[str, Any]] = {}
    if array.dtype.kind in "iufb" and array.size:
        flat = array.reshape(-1)
        sample = flat[:: _step(flat.size)].astype(float)
        statistics[""] = _numbers(flat) | _of_sample(
            len(sample), len(numpy.unique(sample)), sample[~numpy.isnan(sample)]
        )
    return Description(array.shape[0] if array.ndim else None, array.nbytes, columns, statistics)


def _numbers(values: "np.ndarray[Any, Any]") -> dict[str, Any]:
    """Of all values; NaN counts as a null."""
    numpy = require("numpy")
    if not len(values):
        return {"nulls": 0, "min": None, "max": None, "mean": None}
    low, high = values.min(), values.max()
    nulls = 0
    if values.dtype.kind == "f" and numpy.isnan(low):  # only then is a second look needed
        is_null = numpy.isnan(values)
        nulls = int(is_null.sum())
        values = values[~is_null]
        if not len(values):
            return {"nulls": nulls, "min": None, "max": None, "mean": None}
        low, high = values.min(), values.max()
    with numpy.errstate(all="ignore"):
        mean = values.mean(dtype=float)
    return {"nulls": nulls, **_ends(low, high), "mean": _plain(mean)}


def _of_sample(
    num_rows: int, distinct: int | None, numbers: "np.ndarray[Any, Any] | None"
) -> dict[str, Any]:
    found: dict[str, Any] = {"sampled": num_rows, "distinct": distinct}
    if numbers is not None:
        numpy = require("numpy")
        numbers = numbers[numpy.isfinite(numbers)]
        if len(numbers) and numpy.isfinite(numbers.max() - numbers.min()):
            counts, edges = numpy.histogram(numbers, bins=_NUM_BINS)
            found["histogram"] = {"edges": edges.tolist(), "counts": counts.tolist()}
    return found


def _distinct(values: list[Any]) -> int | None:
    try:
        return len(set(values))
    except TypeError:  # lists, dicts
        return None


def _step(num_rows: int) -> int:
    return max(1, -(-num_rows // SAMPLE_ROWS))


def _ends(low: Any, high: Any) -> dict[str, Any]:
    return {"min": _plain(low), "max": _plain(high)}


def _plain(value: Any) -> Any:
    """A number or a time as JSON has it; None for what is missing or not finite."""
    if isinstance(value, dt.date | dt.datetime) and value == value:  # noqa: PLR0124 - NaT
        return value.isoformat()
    if isinstance(value, dt.timedelta) and value == value:  # noqa: PLR0124 - NaT
        return value.total_seconds()
    numpy = loaded("numpy")
    if numpy and isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None
