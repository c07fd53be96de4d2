from typing import Annotated

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.features.encoding import Buckets, Hashed, Log, Vocabulary
from tadka.features.features import Features
from tadka.scoring.matrix import category_columns, columns, feature_matrix


class Room(Features):
    price: float | None
    area: Annotated[int, Log()]
    kind: Annotated[str | None, Vocabulary(("flat", "house"))]
    street: Annotated[str, Hashed(50)]
    age: Annotated[int | None, Buckets((10, 50))]


def table() -> pa.Table:
    return pa.table(
        {
            "price": pa.array([1.5, None, float("nan")], "float64"),
            "area": [0, 99, -99],
            "kind": pa.array(["house", None, "tent"]),
            "street": ["a", "b", "a"],
            "age": pa.array([10, None, 9]),
        }
    )


def test_numbers_are_values_and_categories_are_codes_from_zero() -> None:
    matrix = feature_matrix(Room, table())

    assert (3, 5) == matrix.shape
    assert [1.5, 0.0, 1.0] == matrix[0, :3].tolist()
    assert matrix[1, 1] == np.float32(np.log1p(99)) == -matrix[2, 1]
    assert matrix[2, 2] == 2  # a word that the vocabulary lacks
    assert matrix[0, 3] == matrix[2, 3] != matrix[1, 3]
    assert 0 <= matrix[:, 3].min() <= matrix[:, 3].max() < 50
    assert [1.0, 0.0] == [matrix[0, 4], matrix[2, 4]]


def test_missing_values_are_nan() -> None:
    is_missing = np.isnan(feature_matrix(Room, table()))

    assert [[False] * 5, [True, False, True, False, True], [True] + [False] * 4] == (
        is_missing.tolist()
    )


def test_hashed_and_vocabulary_features_are_the_categories() -> None:
    assert [2, 3] == category_columns(Room.definition())


def test_a_table_too_large_for_a_category_column_is_refused() -> None:
    class Wide(Features, size=2**25):
        user: str

    with pytest.raises(ConfigError, match=r"'user' has 33,554,432 slots"):
        columns(Wide.definition())


def test_a_list_has_no_column() -> None:
    class Tagged(Features, size=100):
        tags: list[str]

    with pytest.raises(DataError, match="'tags' has several values"):
        feature_matrix(Tagged, pa.table({"tags": [["a", "b"]]}))
