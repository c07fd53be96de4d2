import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import DataError
from tadka.features.hash import hash_text
from tadka.models.table.text import hash_texts, integers, texts


def by_hand(values: list[str]) -> list[int]:
    return [hash_text(value.encode()) for value in values]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=120), max_size=30))
def test_hashes_equal_those_of_the_features_room(values: list[str]) -> None:
    assert by_hand(values) == hash_texts(texts(values)).view(np.uint64).tolist()


def test_hashes_of_every_length_and_of_a_slice_are_equal() -> None:
    values = ["é" * (n // 2) + "x" * (n % 2) for n in range(200)]
    sliced = pa.array(["before", *values, "after"]).slice(1, 200)
    assert by_hand(values) == hash_texts(texts(sliced)).view(np.uint64).tolist()


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b"],
        np.array(["a", "b"]),
        np.array(["a", "b"], object),
        pa.array(["a", "b"]),
        pa.array(["a", "b"]).dictionary_encode(),
        pa.chunked_array([["a"], ["b"]]),
    ],
    ids=["list", "numpy", "object", "arrow", "dictionary", "chunked"],
)
def test_texts_come_in_every_usual_form(values: object) -> None:
    assert integers(values) is None
    assert ["a", "b"] == texts(values).to_pylist()


@pytest.mark.parametrize(
    "values",
    [
        [3, 4],
        np.array([3, 4], np.uint8),
        np.array([3, 4], np.int8),
        pa.array([3, 4]),
        pa.array([3, 4]).dictionary_encode(),
        pa.chunked_array([[3], [4]]),
    ],
    ids=["list", "numpy", "int8", "arrow", "dictionary", "chunked"],
)
def test_integers_come_in_every_usual_form(values: object) -> None:
    keys = integers(values)
    assert keys is not None
    assert (np.dtype(np.int64), [3, 4]) == (keys.dtype, keys.tolist())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([1.5]), "'float64'"),
        (np.array([True]), "'bool'"),
        (np.array([2**63], np.uint64), "9223372036854775808 does not fit"),
        (np.zeros((2, 2), np.int64), r"shape \(2, 2\)"),
        (pa.array([1, None]), "1 of 2 integer keys are missing"),
        (pa.array([1.0]), "'double'"),
        (pa.array([1.0]).dictionary_encode(), "'double'"),
        (pa.array([True]), "'bool'"),
        (pa.array([b"a"]), "'binary'"),
        ([[1], [2, 3]], "must be one-dimensional"),
    ],
)
def test_what_is_no_integer_is_refused(values: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        integers(values)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="integers or texts"):
        texts(["a", 1])
    with pytest.raises(DataError, match="integers or texts"):
        texts(["\ud800"])
