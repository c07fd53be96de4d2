"""Vectors for values that no training has seen, at once: from what they came together with.

Shapes: E pairs, N values, D dimensions.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.models.table.neighbour import neighbour_mean
from tadka.models.train.trained import Trained


def fold_in(
    trained: Trained, column: str, values: Any, others: Any
) -> tuple[Any, npt.NDArray[np.float32]]:
    """Vectors of users from their items, or of items from their users, without a training.

    New values get the mean of their neighbours' vectors, as they would at the next training's
    start; a value that the model knows keeps its own vector, and one without a known neighbour gets
    that of the unseen, row 0.

    Args:
        trained: A model with vectors of users and items.
        column: Its column of users or of items: whose vectors are asked for.
        values: Of this column, one for each pair, shape (E,).
        others: Of the other column, shape (E,).

    Returns:
        The distinct values in order of first appearance (numpy, or Arrow where they are texts), and
        their vectors, shape (N, D).

    Raises:
        ConfigError: The model has not both kinds of vectors, or `column` is neither.
        DataError: `values` and `others` have different lengths, or are of another kind than the
            vocabulary's.
    """
    model = trained.model
    columns = (model.user_column, model.item_column)
    names = [model.state.vocabularies.get(name, name) for name in columns]
    vectors = trained.vectors()
    missing = [name for name in names if name not in vectors]
    if missing:
        raise ConfigError(
            f"Model {model.name!r} has no vectors of {' and '.join(map(repr, missing))}, so none "
            "can be made of neighbours."
        )
    if column not in columns:
        raise ConfigError(f"column is {column!r}; it must be {' or '.join(map(repr, columns))}.")
    is_user = column == columns[0]
    own, other = names if is_user else names[::-1]
    if len(values) != len(others):
        raise DataError(f"There are {len(values):,} values and {len(others):,} neighbours.")
    pa = require("pyarrow", extra="arrow")
    encoded = pa.array(values).dictionary_encode()
    distinct = encoded.dictionary
    place_E = np.asarray(encoded.indices)
    keys = distinct if pa.types.is_string(distinct.type) else distinct.to_numpy()
    row_N = model.state.rows(own, keys)
    other_E = model.state.rows(other, others)
    found_ND = np.array(vectors[own][row_N], dtype=np.float32)
    num_N = np.bincount(place_E, weights=other_E > 0, minlength=len(keys))
    new_N = np.flatnonzero((row_N == 0) & (num_N > 0))
    found_ND[new_N] = neighbour_mean(vectors[other], (place_E, other_E), new_N)
    return keys, found_ND
