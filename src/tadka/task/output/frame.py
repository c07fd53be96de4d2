"""Frames of pandas, polars and Arrow: whose one is, and how it becomes an Arrow table and back."""

from typing import TYPE_CHECKING, Any, Literal

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.task.output.frame_pandas import pandas_from_table, pandas_to_table
from tadka.task.output.mold import cannot_hold

if TYPE_CHECKING:
    import pyarrow as pa

Library = Literal["pandas", "polars", "lazy", "arrow"]
_TYPES: dict[tuple[str, str], Library] = {
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("polars", "LazyFrame"): "lazy",
    ("pyarrow", "Table"): "arrow",
}
NAMES: dict[str, str] = {
    "pandas": "pandas.DataFrame",
    "polars": "polars.DataFrame",
    "lazy": "polars.LazyFrame",
    "arrow": "pyarrow.Table",
}


def library_of(type_: Any) -> Library | None:
    """Whose frame a class is; None for other classes, subclasses of frames among them."""
    if not isinstance(type_, type):
        return None
    return _TYPES.get((type_.__module__.partition(".")[0], type_.__name__))


def collect(value: Any) -> Any:
    """The value; the frame that it gives where it is a lazy one of polars."""
    return value.collect() if library_of(type(value)) == "lazy" else value


def to_table(frame: Any, format_: str) -> "pa.Table":
    """A frame as an Arrow table that `from_table` gives back exactly.

    Args:
        frame: Of pandas, polars or Arrow.
        format_: Where it shall go, for messages.

    Raises:
        DataError: A column cannot be held, or would come back as another type.
    """
    library = library_of(type(frame))
    if library == "pandas":
        table = pandas_to_table(frame, format_)
    else:
        table = _polars_to_table(frame, format_) if library == "polars" else frame
    num_rows = len(frame)
    if num_rows and not table.num_columns:
        raise DataError(
            f"The frame has {num_rows} rows without a column, which cannot be kept as "
            f"{format_}; give it a column or a named index."
        )
    return table


def _polars_to_table(frame: Any, format_: str) -> "pa.Table":
    pa = require("pyarrow", extra="arrow")
    refuse_objects(frame, format_)
    try:
        return frame.to_arrow()
    except pa.ArrowException:
        for name, dtype in frame.schema.items():
            try:
                frame.select(name).clear().to_arrow()
            except pa.ArrowException as error:
                raise cannot_hold(format_, name, dtype, f"Arrow has none ({error})") from error
        raise


def refuse_objects(frame: Any, format_: str) -> None:
    """Refuses columns of Python objects in a frame of polars, which no format holds."""
    for name, dtype in frame.schema.items():
        if str(dtype) == "Object":
            raise cannot_hold(format_, name, dtype, "Python objects have no place in it")


def from_table(table: "pa.Table", library: Library | None) -> Any:
    """A table as a frame.

    Args:
        table: What was read.
        library: Whose frame is wanted; None for the one that wrote it, as far as it can be told.
    """
    if library is None:
        library = "pandas" if b"pandas" in (table.schema.metadata or {}) else "arrow"
    if library == "pandas":
        return pandas_from_table(table)
    if library in {"polars", "lazy"}:
        polars = require("polars", extra="polars")
        frame = polars.from_arrow(table)
        return frame.lazy() if library == "lazy" else frame
    return table


def nulls_of(table: "pa.Table") -> list[int]:
    """Number of nulls of each column; those of a frame's index come last."""
    return [column.null_count for column in table.columns]
