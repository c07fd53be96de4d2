"""Points of a chart from frames of any library."""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tadka.core.error import ConfigError

MOST_POINTS = 1000
"""Of one chart; more are thinned out evenly."""


def points_of(frame: Any, x: str, y: str) -> list[list[Any]]:
    """Pairs of two columns, as JSON has them; pairs without a value on both sides are left out.

    Args:
        frame: Of pandas, polars or Arrow, a dict of columns, or a list of dicts.
        x: The column along the axis: numbers, texts or times.
        y: The column of values.

    Raises:
        ConfigError: It is no frame, or has no such column.
    """
    first, second = (_column(frame, name) for name in (x, y))
    step = max(1, -(-len(first) // MOST_POINTS))
    pairs = [[_plain(a), _plain(b)] for a, b in zip(first[::step], second[::step], strict=False)]
    return [pair for pair in pairs if None not in pair]


def _column(frame: Any, name: str) -> Sequence[Any]:
    try:
        if isinstance(frame, list | tuple):
            return [row.get(name) for row in frame]
        column = frame[name]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        known = ", ".join(map(repr, _names(frame))) or f"none in a {type(frame).__name__}"
        raise ConfigError(f"run.plot found no column {name!r}; there are {known}.") from error
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            return list(getattr(column, method)())
    return list(column)


def _names(frame: Any) -> list[Any]:
    return list(frame) if isinstance(frame, Mapping) else list(getattr(frame, "columns", ()))


def _plain(value: Any) -> Any:
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat() if value == value else None  # noqa: PLR0124 - NaT
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int | str) else str(value)
