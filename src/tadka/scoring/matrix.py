"""Encoded rows as the dense matrix that tree libraries train on: a column for every feature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.features.definition import Definition
from tadka.features.encoding import Hashed, Log, Number, Vocabulary
from tadka.features.sparse import SparseRows

NUMBER, CATEGORY = 0, 1
"""How an entry becomes a number: its value, or its slot counted from its feature's first."""


def columns(definition: Definition) -> npt.NDArray[np.int32]:
    """How each feature becomes a column of a matrix.

    Args:
        definition: Of the feature class.

    Returns:
        (kind, offset, missing) of each feature, shape (F, 3): NUMBER or CATEGORY, its first slot,
        and the slot of its missing value, which becomes NaN; -1 where that is hashed and becomes
        a category like any other.

    Raises:
        ConfigError: Features share a hashed table of more than 2**24 slots; tree libraries hold
            categories as float32.
    """
    rows = []
    for feature, span in zip(definition.features, definition.spans, strict=True):
        kind = NUMBER if isinstance(feature.encoding, Number | Log) else CATEGORY
        missing = -1 if isinstance(feature.encoding, Hashed) else span.offset + span.width - 1
        if span.width > 2**24:
            raise ConfigError(
                f"Feature {feature.name!r} has {span.width:,} slots; a column of a matrix can tell "
                f"{2**24:,} categories apart. Give it a smaller size of its own."
            )
        rows.append((kind, span.offset, missing))
    return np.array(rows, np.int32).reshape(-1, 3)


def category_columns(definition: Definition) -> list[int]:
    """Numbers of the columns that hold categories: Hashed and Vocabulary features.

    Args:
        definition: Of the feature class.

    Returns:
        Increasing column numbers, for a library's `categorical_feature` or `cat_features`.
    """
    return [
        number
        for number, feature in enumerate(definition.features)
        if isinstance(feature.encoding, Hashed | Vocabulary)
    ]


def to_matrix(
    rows: SparseRows, layout: npt.NDArray[np.int32], names: Sequence[str] = ()
) -> npt.NDArray[np.float64]:
    """A dense matrix of encoded rows.

    Args:
        rows: B encoded rows, of features that give one entry a row.
        layout: What `columns` gives.
        names: Of the features, for the message.

    Returns:
        Shape (B, F); NaN where a value is missing.

    Raises:
        DataError: A row has two entries of one feature (a list).
    """
    num_features = len(layout)
    row_E = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    place_E = row_E * num_features + rows.features
    if len(place_E) > 1 and np.any(np.diff(place_E) == 0):
        number = int(rows.features[np.flatnonzero(np.diff(place_E) == 0)[0]])
        name = names[number] if number < len(names) else number
        raise DataError(
            f"Feature {name!r} has several values in a row; a column of a matrix has one. "
            "Leave it out by a group."
        )
    kind_E, offset_E, missing_E = layout[rows.features].T
    value_E = np.where(kind_E == NUMBER, rows.values.astype(np.float64), rows.slots - offset_E)
    value_E[rows.slots == missing_E] = np.nan
    matrix: npt.NDArray[np.float64] = np.full(len(rows) * num_features, np.nan)
    matrix[place_E] = value_E
    return matrix.reshape(len(rows), num_features)


def feature_matrix(
    features: Any, rows: Any, *, group: str | None = None
) -> npt.NDArray[np.float64]:
    """The matrix on which to train a tree library, as serving will see it.

    Args:
        features: The feature class.
        rows: An Arrow table, instances or messages.
        group: The group of features; None for all.

    Returns:
        Shape (B, F), a column for each feature in the order of the class: the number for Number
        and Log, otherwise a category code from 0. NaN where missing; under Hashed a missing value
        is a category of its own.

    Raises:
        DataError: A row cannot be encoded, or a feature is a list.
    """
    definition = features.definition(group)
    names = [feature.name for feature in definition.features]
    return to_matrix(features.encode(rows, group), columns(definition), names)
