"""Columns as a model's networks want them: rows of vocabularies, floats, lists as bags.

Shapes: B rows, N items of all lists.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tadka.core.error import DataError
from tadka.models.define.column import Column
from tadka.models.define.state import State


def encode(columns: Sequence[Column], state: State, rows: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a model as arrays.

    Args:
        columns: What the model takes in.
        state: Its vocabularies.
        rows: Columns by name. What has the role `label` may be absent.

    Returns:
        One entry a column: int64 rows (B,) where it has a vocabulary, else the values; numbers
        with a fraction as float32. A list column gives its padded items (B, L), 0 beyond the end
        of a list, L the longest list of the batch and at least 1; for floats, `NAME_length` (B,)
        says how many there are.

    Raises:
        DataError: A column is absent.
    """
    encoded: dict[str, Any] = {}
    for column in columns:
        if column.name not in rows:
            if column.role == "label":
                continue
            raise DataError(
                f"Column {column.name!r} is absent; the rows have: {', '.join(rows)}. Name it in "
                "data.columns, or add it."
            )
        values = rows[column.name]
        if column.is_list:
            encoded.update(_bags(column, state, values))
        elif column.vocabulary:
            encoded[column.name] = state.rows(column.name, values)
        elif column.item in ("float32", "float64"):
            encoded[column.name] = np.asarray(values, dtype=np.float32)
        else:
            encoded[column.name] = values
    return encoded


def _bags(column: Column, state: State, lists: Any) -> dict[str, Any]:
    flat, lengths_B = lists.flatten(), np.asarray(lists.value_lengths().fill_null(0))
    is_number = not column.vocabulary
    items_N = (
        np.asarray(flat, dtype=np.float32)
        if is_number
        else state.rows(column.name, np.asarray(flat) if column.item != "string" else flat)
    )
    width = max(1, int(lengths_B.max(initial=0)))
    is_item_BL = np.arange(width) < lengths_B[:, None]
    padded_BL = np.zeros((len(lengths_B), width), items_N.dtype)
    padded_BL[is_item_BL] = items_N
    found = {column.name: padded_BL}
    if is_number:
        found[f"{column.name}_length"] = lengths_B.astype(np.int64)
    return found
