import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from tadka.models.data.keys import KeySet, hash_column, hash_columns


def test_equal_numbers_have_equal_hashes_whatever_their_width() -> None:
    kinds = (pa.int8(), pa.int64(), pa.uint16(), pa.uint64(), pa.float32(), pa.float64())
    found = [hash_column(pa.array([1, 0, 7, None], kind)).tolist() for kind in kinds]

    assert [found[0]] * len(kinds) == found
    assert 4 == len(set(found[0]))


def test_texts_differ_by_content_and_not_by_where_they_stand_in_memory() -> None:
    texts = ["", "a", "b", "ab", "ba", "a\0", "Misérables", None, "a" * 1_000]
    array = pa.array(texts)

    found = hash_column(array).tolist()

    assert len(texts) == len(set(found))
    assert found[3:6] == hash_column(array.slice(3, 3)).tolist()
    assert found == hash_column(array.cast(pa.large_string())).tolist()
    assert found == hash_column(array.dictionary_encode()).tolist()
    assert found == hash_column(array.cast(pa.binary())).tolist()


def test_lists_differ_by_items_and_order() -> None:
    array = pa.array([[1, 2], [2, 1], [], None, [1], [1, 2]])

    found = hash_column(array).tolist()

    assert found[0] == found[5]
    assert 5 == len(set(found))
    assert found[1:5] == hash_column(array.slice(1, 4)).tolist()
    assert 0 == len(hash_column(array.slice(0, 0)))


def test_special_floats() -> None:
    zero, minus, nan, other, half = hash_column(
        pa.array([0.0, -0.0, np.nan, -np.nan, 0.5])
    ).tolist()

    assert zero == minus
    assert nan == other
    assert 3 == len({zero, nan, half})
    assert 3 == len(set(hash_column(pa.array([np.inf, -np.inf, 1e300])).tolist()))


def test_truths_and_times_have_hashes() -> None:
    assert 3 == len(set(hash_column(pa.array([True, False, None])).tolist()))
    times = pa.array([1, 2, None], pa.timestamp("us"))
    assert 3 == len(set(hash_column(times).tolist()))


def test_rows_differ_by_the_order_of_their_columns() -> None:
    a, b = pa.array([1, 2]), pa.array([2, 1])

    assert set(hash_columns([a, b]).tolist()).isdisjoint([hash_columns([a, a])[0]])
    assert 2 == len(set(hash_columns([a, b]).tolist()))
    assert hash_columns([a, b])[0] == hash_columns([b, a])[1]


def test_set_says_what_was_there_before() -> None:
    keys = KeySet()
    hashes = hash_column(pa.array([5, 6, 5, 7]))

    assert [False, False, True, False] == keys.add(hashes).tolist()
    assert [True, True, True, True] == keys.add(hashes).tolist()
    assert [True, False] == keys.contains(hash_column(pa.array([7, 8]))).tolist()
    assert (3, 1.0) == (len(keys), keys.share)
    assert [] == keys.add(hashes[:0]).tolist()
    assert [False] == KeySet().contains(hashes[:1]).tolist()


def test_set_of_many_batches_agrees_with_pythons() -> None:
    rng = np.random.default_rng(0)
    keys, known = KeySet(), set[int]()
    for _ in range(50):
        values = rng.integers(0, 2_000, 100)
        expected = []
        for value in values.tolist():
            expected.append(value in known)
            known.add(value)

        assert expected == keys.add(hash_column(pa.array(values))).tolist()
    assert len(known) == len(keys)
    assert len(keys._runs) <= np.log2(len(keys)) + 1


def test_put_is_add_without_an_answer() -> None:
    put, added = KeySet(50), KeySet(50)
    hashes = hash_column(pa.array(np.random.default_rng(0).integers(0, 300, 500)))
    for start in range(0, 500, 100):
        put.put(hashes[start : start + 100])
        added.add(hashes[start : start + 100])

    assert (len(added), added.share) == (len(put), put.share)
    assert added.contains(hashes).tolist() == put.contains(hashes).tolist()


@pytest.mark.parametrize("limit", [100, 1_000])
def test_full_set_keeps_an_even_share_that_tells_of_all(limit: int) -> None:
    keys = KeySet(limit)
    hashes = hash_column(pa.array(range(20_000)))
    for start in range(0, 20_000, 500):
        keys.add(hashes[start : start + 500])

    assert len(keys) <= limit
    assert keys.share <= limit / 10_000
    looked = keys.looks_at(hashes)
    assert 0.5 < looked.mean() / keys.share < 2
    assert keys.contains(hashes[looked]).all()
    assert not keys.contains(hashes[~looked]).any()


@pytest.mark.parametrize(
    "array",
    [
        pa.array([dt.date(2026, 1, 1), dt.date(2026, 1, 2), None]),
        pa.array([1, 2, None], pa.time32("s")),
        pa.array([1, 2, None], pa.timestamp("us", "UTC")),
        pa.array([Decimal("1.5"), Decimal("2.5"), None]),
        pa.array([{"a": 1}, {"a": 2}, None]),
        pa.array([[{"a": 1}], [{"a": 2}], None]),
        pa.array([[("a", 1)], [("a", 2)], None], pa.map_(pa.string(), pa.int64())),
    ],
)
def test_columns_of_every_type_are_hashed(array: pa.Array) -> None:
    found = hash_column(array).tolist()

    assert 3 == len(set(found))
    assert found[1:] == hash_column(array.slice(1)).tolist()
