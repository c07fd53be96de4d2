from typing import Any

import pytest

from tadka.core.error import DataError
from tadka.features import SparseRows


def rows(**changes: Any) -> SparseRows:
    parts: dict[str, Any] = {
        "starts": [0, 2, 2, 3],
        "slots": [4, 0, 1],
        "values": [1, 0.5, 2],
        "features": [0, 1, 1],
        "num_slots": 5,
        "num_features": 2,
    }
    return SparseRows(**(parts | changes))


def test_arrays_take_their_types_and_slices_their_entries() -> None:
    whole = rows()

    assert 3 == len(whole)
    assert ["int64", "int32", "float32", "uint16"] == [
        str(array.dtype) for array in (whole.starts, whole.slots, whole.values, whole.features)
    ]
    part = whole[1:]
    assert ([0, 0, 1], [1], [2.0], [1]) == (
        part.starts.tolist(), part.slots.tolist(), part.values.tolist(), part.features.tolist()
    )  # fmt: skip
    assert (0, 0) == (len(whole[2:1]), len(rows(starts=[0], slots=[], values=[], features=[])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"starts": [0, 2, 2]}, "'starts' must begin with 0 and end with the 3 entries"),
        ({"starts": []}, "must begin with 0"),
        ({"starts": [1, 2, 3]}, "must begin with 0"),
        ({"starts": [0, 3, 2, 3]}, "decreases"),
        ({"values": [1, 2]}, "differ in length"),
        ({"features": [1, 2, 2, 3]}, "differ in length"),
        ({"slots": [4, 5, 0]}, r"'slots' has values outside \[0, 5\)"),
        ({"slots": [4, -1, 0]}, "'slots' has values outside"),
        ({"features": [0, 2, 0]}, "'features' has values outside"),
        ({"slots": [[1], [2], [3]]}, "'slots' has 2 dimensions"),
    ],
)
def test_damaged_rows_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(**changes)


def test_only_whole_slices_are_taken() -> None:
    with pytest.raises(DataError, match="step 1 only, not 2"):
        rows()[::2]
