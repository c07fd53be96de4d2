import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from tadka.dataset.measure.sample import LeastRows

SCHEMA = pa.schema([("key", pa.uint64()), ("text", pa.string())])


def rows_of(keys_N: npt.NDArray[np.uint64], width: int = 3) -> pa.Table:
    texts = [f"{key:0{width}d}" for key in keys_N.tolist()]
    return pa.table({"more": keys_N, "text": pa.array(texts).dictionary_encode(), "key": keys_N})


@pytest.mark.parametrize("num_keys", [50, 400, 2**60])
def test_the_least_keys_stay_each_once_whatever_the_order(num_keys: int) -> None:
    chance = np.random.default_rng(0)
    keys_N = chance.integers(0, num_keys, 20_000, np.uint64)
    expected = np.unique(keys_N)[:100]
    for batch_rows in (1, 7, 5000, 20_000):
        some_N = keys_N[: 300 * batch_rows]
        parts = [LeastRows(SCHEMA, 100, 1 << 20) for _ in range(2)]
        for i, start in enumerate(range(0, len(some_N), batch_rows)):
            batch = some_N[start : start + batch_rows]
            parts[i % 2].add(batch, rows_of(batch).to_batches()[0] if i % 3 else rows_of(batch))
        parts[0].merge(parts[1])
        table = parts[0].table()
        wanted = expected if len(some_N) == len(keys_N) else np.unique(some_N)[:100]
        assert table["key"].to_pylist() == wanted.tolist()
        assert table["text"].to_pylist() == [f"{key:03d}" for key in wanted.tolist()]
        assert table.schema == SCHEMA


def test_no_rows_give_an_empty_table() -> None:
    empty = LeastRows(SCHEMA, 10, 1 << 20)
    empty.add(np.zeros(0, np.uint64), rows_of(np.zeros(0, np.uint64)))
    empty.merge(LeastRows(SCHEMA, 10, 1 << 20))
    assert empty.table().equals(SCHEMA.empty_table())


def test_the_greatest_key_of_all_is_a_key() -> None:
    kept = LeastRows(SCHEMA, 10, 1 << 20)
    keys_N = np.array([2**64 - 1], np.uint64)
    kept.add(keys_N, rows_of(keys_N))
    assert kept.table().num_rows == 1


def test_large_rows_are_fewer_but_one() -> None:
    kept = LeastRows(SCHEMA, 100, 10_000)
    for start in range(0, 500, 50):
        keys_N = np.arange(start, start + 50, dtype=np.uint64)[::-1]
        kept.add(keys_N, rows_of(keys_N, width=1000))
    table = kept.table()
    assert 5 <= table.num_rows <= 10
    assert table["key"].to_pylist() == list(range(table.num_rows))
    one = LeastRows(SCHEMA, 100, 10)
    one.add(np.arange(5, dtype=np.uint64), rows_of(np.arange(5, dtype=np.uint64)))
    assert one.table()["key"].to_pylist() == [0]
