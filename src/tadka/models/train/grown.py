"""What rows that a vocabulary got since the last training begin with.

Shapes: B rows of a batch, E pairs, M old and N new rows of a parameter, D dimensions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.models.define.model import Model, Prepared
from tadka.models.define.state import State
from tadka.models.table.neighbour import neighbour_mean

USERS, ITEMS = "grown_users", "grown_items"
"""Arrays of a state: rows of the pairs in which a user or an item is new."""


def grown_pairs(model: Model, data: Prepared, before: State) -> dict[str, npt.NDArray[np.int64]]:
    """Pairs of train in which the user or the item is new, as arrays for the model's state.

    Where rows have labels, the positive ones alone: those above 0.

    Args:
        model: With its state, whose vocabularies have grown.
        data: The rows that it is trained on now.
        before: State of the run that it starts from.

    Returns:
        `USERS` and `ITEMS`, both of shape (E,); nothing where the model has not both vocabularies.
    """
    columns = (model.user_column, model.item_column)
    inputs = {column.name: column for column in model.inputs}
    names = model.state.vocabularies
    if any(name not in names or inputs[name].is_list for name in columns):
        return {}
    first_new = [before.size(name) for name in columns]
    label = model.label_column
    found: list[tuple[npt.NDArray[np.int64], ...]] = []
    for rows in data.scan("train", [*columns, *([label] if label else [])]):
        user_B, item_B = (model.state.rows(name, rows[name]) for name in columns)
        is_kept_B = (user_B >= first_new[0]) | (item_B >= first_new[1])
        if label and np.asarray(rows[label]).dtype.kind in "biuf":
            is_kept_B &= np.asarray(rows[label]) > 0
        found.append((user_B[is_kept_B], item_B[is_kept_B]))
    nothing = (np.empty(0, np.int64), np.empty(0, np.int64))
    users, items = (np.concatenate(side) for side in zip(nothing, *found, strict=True))
    return {USERS: users, ITEMS: items}


def mean_rows(
    model: Model,
    vocabulary: str,
    old: npt.NDArray[Any],
    others: Mapping[str, npt.NDArray[Any]],
    rows_N: npt.NDArray[np.int64],
) -> npt.NDArray[Any] | None:
    """What new rows of a parameter begin with, by the pairs that `grown_pairs` has kept.

    Args:
        model: With its state.
        vocabulary: Of the rows.
        old: The parameter's old rows, shape (M, D) or (M,).
        others: Old rows of the other vocabularies, of the same form.
        rows_N: The new rows.

    Returns:
        Shape (N, D): means of neighbours; where D is 1 or there is none, the mean of the old rows.
        None where the model has not both vocabularies, or the parameter not both kinds of rows.
    """
    names = [model.state.vocabularies.get(n) for n in (model.user_column, model.item_column)]
    if vocabulary not in names or not model.state.has(USERS) or len(old) < 2:
        return None
    if old.ndim == 1 or old.shape[1] == 1:
        return np.repeat(old[1:].mean(axis=0, keepdims=True), len(rows_N), axis=0)
    users, items = model.state[USERS], model.state[ITEMS]
    if names[0] == names[1]:  # such as nodes of one kind
        both = np.concatenate([users, items]), np.concatenate([items, users])
        return neighbour_mean(old, both, rows_N, seed=model.seed)
    pairs = (users, items) if vocabulary == names[0] else (items, users)
    other = others.get(str(names[1] if vocabulary == names[0] else names[0]))
    if old.ndim != 2 or other is None:
        return None
    return neighbour_mean(other, pairs, rows_N, seed=model.seed)
