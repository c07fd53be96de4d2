import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.models.loss.negatives import popularity
from tadka.models.loss.pairs import contains, lengths, to_csr
from tadka.models.measure.sampled import read_negatives, sampled_ranking, write_negatives

TRAIN = to_csr([1, 2], [1, 5], 4)
TEST = to_csr([1, 1, 2, 3, 3], [3, 5, 4, 1, 0], 4)
USERS = np.eye(4)
ITEMS = np.array(
    [
        [9, 0, 0, 0, 0, 0],
        [9, 5, 4, 3, 2, 1],
        [9, 1, 2, 2, 2, 3],
        [9, 5, 5, 5, 5, 5],
    ]
).T


def write(path: Path, users: list[Any], items: list[Any]) -> Path:
    pq.write_table(pa.table({"user": users, "item": items}), path)
    return path


def test_a_small_case_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "negatives.parquet", [1, 1, 2, 3, 3, 0], [2, 4, 2, 2, 3, 1])

    measured = sampled_ranking(path, USERS, ITEMS, TEST, ks=(1, 2), train=TRAIN)

    # User 1 of 2, 3, 4, 5: 2, 3 against {3, 5}. User 2 of 2, 4, alike: 2, 4 against {4}. User 3 of
    # 1, 2, 3, alike: 1, 2 against {1 and one without a row}.
    second = 1 / np.log2(3)
    expected = {
        "sampled_recall@1": (0 + 0 + 1 / 2) / 3,
        "sampled_recall@2": (1 / 2 + 1 + 1 / 2) / 3,
        "sampled_ndcg@1": 1 / 3,
        "sampled_ndcg@2": (second / (1 + second) + second + 1 / (1 + second)) / 3,
        "sampled_mrr@1": 1 / 3,
        "sampled_mrr@2": (1 / 2 + 1 / 2 + 1) / 3,
        "sampled_hit_rate@1": 1 / 3,
        "sampled_hit_rate@2": 1,
        "cold_sampled_recall@2": 1 / 2,
        "warm_sampled_recall@2": 3 / 4,
        "num_users": 3,
        "num_skipped": 1,
        "num_negatives": 5,
    }
    assert expected == pytest.approx({name: measured[name] for name in expected})
    assert not [name for name in measured if name.startswith(("recall", "ndcg"))]


def test_blocks_and_a_score_function_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "negatives.npz"
    write_negatives(path, TRAIN, TEST, 6, num=2)
    expected = sampled_ranking(path, USERS, ITEMS, TEST)

    def score(rows: Any, items: Any) -> Any:
        return ITEMS[items, rows]

    assert expected == sampled_ranking(path, USERS, ITEMS, TEST, block=1)
    assert expected == sampled_ranking(path, np.arange(4), score, TEST)


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_the_file_depends_on_the_seed_alone(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(1_700_000_000, 1000)
    rng = np.random.default_rng(0)
    train = to_csr(rng.integers(0, 20, 200), rng.integers(1, 60, 200), 20)
    test = to_csr(rng.integers(0, 15, 40), rng.integers(1, 60, 40), 20)
    paths = [tmp_path / f"{name}.{suffix}" for name in ("first", "again", "other")]

    monkeypatch.setattr(time, "time", lambda: next(seconds))
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        num_tested = np.count_nonzero(lengths(test))
        assert num_tested * 10 == write_negatives(path, train, test, 60, num=10, seed=seed)

    first, again, other = (path.read_bytes() for path in paths)
    assert first == again  # an archive must not hold the time of day
    assert first != other
    user, item = read_negatives(paths[0])
    assert item.min() >= 1
    assert len(item) == len(np.unique(user * 60 + item))
    assert not contains(train, user, item).any()
    assert not contains(test, user, item).any()


def test_negatives_by_popularity(tmp_path: Path) -> None:
    share = popularity(6, [2, 2, 4], 1.0)
    path = tmp_path / "negatives.parquet"

    write_negatives(path, TRAIN, TEST, 6, share=share)

    user, item = read_negatives(path)
    assert [(1, 2), (1, 4), (2, 2), (3, 2), (3, 4)] == list(
        zip(user.tolist(), item.tolist(), strict=True)
    )


def test_a_file_of_ids_serves_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "negatives.parquet"
    user_ids, item_ids = np.array(["a", "b", "c", "d"]), np.array([0, 10, 20, 30, 40, 50])
    write_negatives(path, TRAIN, TEST, 6, num=2, user_ids=user_ids, item_ids=item_ids)
    rows = tmp_path / "rows.parquet"
    write_negatives(rows, TRAIN, TEST, 6, num=2)

    by_ids = sampled_ranking(
        path,
        USERS,
        ITEMS,
        TEST,
        user_rows=lambda ids: np.array([list(user_ids).index(one) for one in ids]),
        item_rows=lambda ids: ids // 10,
    )

    assert {"b", "c", "d"} == set(read_negatives(path)[0])
    assert sampled_ranking(rows, USERS, ITEMS, TEST) == by_ids


def test_tested_users_that_share_the_row_of_unseen_ones(tmp_path: Path) -> None:
    path = tmp_path / "negatives.parquet"
    test = to_csr([0, 1, 2], [1, 2, 5], 3)
    users = [0, 1, 0]
    write_negatives(path, TRAIN, test, 6, num=1, users=users)

    measured = sampled_ranking(path, USERS, ITEMS, test, (2,), train=TRAIN, users=users)

    assert [0, 1, 2] == read_negatives(path)[0].tolist()
    assert 1 == measured["sampled_recall@2"]


def test_a_file_of_another_split_is_refused(tmp_path: Path) -> None:
    missing = write(tmp_path / "missing.parquet", [1, 3], [2, 2])
    positive = write(tmp_path / "positive.parquet", [1, 2, 2, 3], [2, 3, 4, 2])
    beyond = write(tmp_path / "beyond.parquet", [1, 2, 3], [2, 3, 17])

    with pytest.raises(DataError, match="no negatives for 1 of 3 tested users, first row 2"):
        sampled_ranking(missing, USERS, ITEMS, TEST)
    with pytest.raises(DataError, match=r"1 test positives .* item row 4 of user row 2"):
        sampled_ranking(positive, USERS, ITEMS, TEST)
    with pytest.raises(DataError, match="Negative item row 17"):
        sampled_ranking(beyond, USERS, ITEMS, TEST)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user": [1], "thing": [2]}), tmp_path / "other.parquet")
    np.savez(tmp_path / "short.npz", user=np.arange(3), item=np.arange(2))

    with pytest.raises(DataError, match="no column 'item'; it has 'user', 'thing'"):
        read_negatives(tmp_path / "other.parquet")
    with pytest.raises(DataError, match="3 users and 2 items"):
        read_negatives(tmp_path / "short.npz")
    with pytest.raises(NotFound):
        read_negatives(tmp_path / "absent.parquet")
    with pytest.raises(ConfigError, match=r"not in 'negatives\.csv'"):
        read_negatives("negatives.csv")


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "negatives.parquet"
    with pytest.raises(ConfigError, match="0 negatives"):
        write_negatives(path, TRAIN, TEST, 6, num=0)
    with pytest.raises(DataError, match="3 ids for 4 users"):
        write_negatives(path, TRAIN, TEST, 6, user_ids=[1, 2, 3])
    objects = np.array([1, "b", 2, 3], dtype=object)
    with pytest.raises(DataError, match=r"'user' are Python objects, which \.npz cannot hold"):
        write_negatives(tmp_path / "objects.npz", TRAIN, TEST, 6, user_ids=objects)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="No user has test rows"):
        write_negatives(path, TRAIN, to_csr([], [], 4), 6)
    write_negatives(path, TRAIN, TEST, 6)
    with pytest.raises(DataError, match="NaN"):
        sampled_ranking(path, USERS * np.nan, ITEMS, TEST)
    with pytest.raises(DataError, match="have the shape"):
        sampled_ranking(path, np.arange(4), lambda rows, items: np.zeros(2), TEST)
    with pytest.raises(DataError, match="Train has 3 users, the model 4"):
        sampled_ranking(path, USERS, ITEMS, TEST, train=to_csr([], [], 3))
    with pytest.raises(ConfigError, match="block is 0"):
        sampled_ranking(path, USERS, ITEMS, TEST, block=0)
