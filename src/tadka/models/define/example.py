"""Rows that suit a model's columns: made up, for tests of the model and for a first look.

Shapes: N rows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tadka.core.extra import require
from tadka.models.define.column import Column

if TYPE_CHECKING:
    import pyarrow as pa

_NUM_KEYS = 12  # few enough that every one is seen often
_WORDS = ("garlic", "cumin", "ghee", "chili", "salt", "mustard", "curry", "ginger")


def example_rows(columns: Sequence[Column], num_rows: int, seed: int) -> "pa.Table":
    """A table with a column for each of a model's.

    Labels follow from the other columns, but for some noise, so that there is something to learn.

    Args:
        columns: What the model takes in.
        num_rows: N.
        seed: Of all of it.
    """
    pa = require("pyarrow", extra="arrow")
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    signal_N = np.zeros(num_rows)
    for column in columns:
        if column.role != "label":
            found[column.name], part_N = _values(pa, column, num_rows, rng)
            signal_N += part_N
    for column in columns:
        if column.role == "label":
            found[column.name] = _labels(column, signal_N + rng.normal(0, 0.3, num_rows))
    return pa.table({column.name: found[column.name] for column in columns})


def _values(pa: Any, column: Column, num_rows: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Values of a column, and what they add to the label: (N,) each."""
    if column.is_list:
        lengths_N = rng.integers(1, 5, num_rows)
        flat, part = _scalars(column, int(lengths_N.sum()), rng)
        offsets = np.concatenate([[0], np.cumsum(lengths_N)])
        kinds = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}
        array = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.array(flat, kinds[column.item])
        )
        return array, np.add.reduceat(part, offsets[:-1]) if num_rows else np.zeros(0)
    flat, part = _scalars(column, num_rows, rng)
    return pa.array(flat), part


def _scalars(column: Column, count: int, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    kind = column.item
    if column.values:
        place = rng.integers(0, len(column.values), count)
        return [column.values[i] for i in place], place - place.mean() if count else place
    if kind in ("string", "bytes"):
        place = rng.integers(0, len(_WORDS), (count, 1 if column.vocabulary else 6))
        texts = [" ".join(_WORDS[i] for i in row) for row in place]
        found = [text.encode() for text in texts] if kind == "bytes" else texts
        return found, (place == 0).sum(axis=1) * 1.0 - (place == 1).sum(axis=1)
    if kind == "bool":
        flag = rng.random(count) < 0.5
        return flag, flag - 0.5
    if kind in ("float32", "float64"):
        low, high = _bounds(column, -1.0, 1.0)
        share = rng.random(count)
        return (low + (high - low) * share).astype(kind), share - 0.5
    low, high = _bounds(column, 1, _NUM_KEYS)
    number = rng.integers(int(low), int(high) + 1, count)
    return number.astype("int64" if kind == "key" else kind), (number * 7 % 5 - 2) / 2.0


def _labels(column: Column, signal_N: np.ndarray) -> np.ndarray:
    kind = column.item if column.item not in ("key", "string") else "int64"
    if column.values:
        rank = np.argsort(np.argsort(signal_N, kind="stable"), kind="stable")
        place = rank * len(column.values) // max(len(rank), 1)
        return np.asarray(column.values)[place].astype(kind)
    low, high = _bounds(column, 0, 1)
    share = 1 / (1 + np.exp(-signal_N))
    found = low + (high - low) * share
    is_whole = kind.startswith("int") or column.high is None
    rounded: np.ndarray = (found.round() if is_whole else found).astype(kind)
    return rounded


def _bounds(column: Column, low: float, high: float) -> tuple[float, float]:
    return (
        low if column.low is None else column.low,
        high if column.high is None else column.high,
    )
