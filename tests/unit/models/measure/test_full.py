from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.pairs import Csr, to_csr
from tadka.models.measure import full
from tadka.models.measure.full import full_ranking

# Items 1 to 5; each user's score is the row below. Row 0 would win everywhere, but is no item.
SCORES = np.array(
    [
        [9, 0, 0, 0, 0, 0],  # row 0: users without a row
        [9, 5, 4, 3, 2, 1],
        [9, 1, 2, 2, 2, 3],
        [9, 5, 5, 5, 5, 5],
    ],
    dtype=np.float32,
)
USERS = np.eye(4, dtype=np.float32)  # USERS @ SCORES.T.T = SCORES
TRAIN = to_csr([1, 2], [1, 5], 4)
TEST = to_csr([1, 1, 2, 3, 3], [3, 5, 4, 1, 0], 4)


def test_a_small_case_by_hand() -> None:
    measured = full_ranking(USERS, SCORES.T, TRAIN, TEST, ks=(1, 2))

    # User 1, 1 masked: 2, 3 of {3, 5}. User 2, 5 masked: 2, 3 of {4}. User 3, all alike: 1, 2 of
    # {1 and one without a row}. User 0 is not tested; user 3 has no train rows.
    second = 1 / np.log2(3)
    expected = {
        "recall@1": (0 + 0 + 1 / 2) / 3,
        "recall@2": (1 / 2 + 0 + 1 / 2) / 3,
        "ndcg@1": (0 + 0 + 1) / 3,
        "ndcg@2": (second / (1 + second) + 0 + 1 / (1 + second)) / 3,
        "mrr@1": 1 / 3,
        "mrr@2": (1 / 2 + 0 + 1) / 3,
        "hit_rate@1": 1 / 3,
        "hit_rate@2": 2 / 3,
        "coverage@1": 2 / 5,
        "coverage@2": 3 / 5,
        "cold_recall@1": 1 / 2,
        "cold_recall@2": 1 / 2,
        "cold_ndcg@1": 1,
        "cold_ndcg@2": 1 / (1 + second),
        "cold_mrr@1": 1,
        "cold_mrr@2": 1,
        "cold_hit_rate@1": 1,
        "cold_hit_rate@2": 1,
        "warm_recall@1": 0,
        "warm_recall@2": 1 / 4,
        "warm_ndcg@1": 0,
        "warm_ndcg@2": second / (1 + second) / 2,
        "warm_mrr@1": 0,
        "warm_mrr@2": 1 / 4,
        "warm_hit_rate@1": 0,
        "warm_hit_rate@2": 1 / 2,
        "num_users": 3,
        "num_skipped": 1,
        "num_cold": 1,
    }
    assert expected == pytest.approx(measured)
    assert all(type(value) is float for value in measured.values())


def test_without_cold_users_there_are_no_groups() -> None:
    train = to_csr([0, 1, 2, 3], [1, 1, 5, 2], 4)

    assert not [name for name in full_ranking(USERS, SCORES.T, train, TEST) if "warm" in name]


def random_case() -> tuple[Any, Any, Csr, Csr]:
    rng = np.random.default_rng(0)
    user_vectors = rng.integers(-2, 3, (70, 3)).astype(np.float32)  # whole numbers: many ties
    item_vectors = rng.integers(-2, 3, (150, 3)).astype(np.float32)
    users, items = rng.integers(0, 60, 900), rng.integers(1, 150, 900)
    is_test = rng.random(900) < 0.3
    train = to_csr(users[~is_test], items[~is_test], 70)
    return user_vectors, item_vectors, train, to_csr(users[is_test], items[is_test], 70)


def test_a_random_case_equals_sets_and_sorting() -> None:
    user_vectors, item_vectors, train, test = random_case()
    scores = user_vectors @ item_vectors.T
    recalls, reciprocals, listed = [], [], set()
    for user in range(70):
        known = set(train[1][train[0][user] : train[0][user + 1]].tolist())
        positives = set(test[1][test[0][user] : test[0][user + 1]].tolist())
        if not positives:
            continue
        order = sorted((-scores[user, item], item) for item in range(1, 150) if item not in known)
        best = [item for _, item in order[:10]]
        recalls.append(len(positives.intersection(best)) / len(positives))
        found = [place for place, item in enumerate(best, start=1) if item in positives]
        reciprocals.append(1 / found[0] if found else 0)
        listed.update(best)

    measured = full_ranking(user_vectors, item_vectors, train, test, ks=(10,))

    assert np.mean(recalls) == pytest.approx(measured["recall@10"])
    assert np.mean(reciprocals) == pytest.approx(measured["mrr@10"])
    assert len(listed) / 149 == pytest.approx(measured["coverage@10"])
    assert len(recalls) == measured["num_users"]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_and_a_score_function_change_nothing(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_vectors, item_vectors, train, test = random_case()
    expected = full_ranking(user_vectors, item_vectors, train, test)
    monkeypatch.setattr(full, "MAX_CELLS", 500)
    sizes = []
    scores = user_vectors @ item_vectors.T

    def score(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        sizes.append(len(rows))
        return np.asarray(scores[rows])

    assert expected == full_ranking(user_vectors, item_vectors, train, test, block=block)
    assert expected == full_ranking(np.arange(70), score, train, test, block=block)
    assert max(sizes) <= min(block, full.MIN_BLOCK)


def test_scores_of_a_function_are_not_written_to() -> None:
    everything = SCORES.copy()

    full_ranking(
        np.arange(4), lambda rows: everything[rows[0] : rows[-1] + 1], TRAIN, TEST, block=4
    )

    assert np.array_equal(SCORES, everything)


def test_tested_users_that_share_the_row_of_unseen_ones_stay_apart() -> None:
    train = to_csr([1], [1], 4)
    test = to_csr([0, 1, 2], [1, 2, 5], 4)  # tested users 0, 1, 2, and 3 without test rows

    measured = full_ranking(USERS, SCORES.T, train, test, ks=(2,), users=[0, 1, 0, 0])

    assert (1 + 1 + 0) / 3 == pytest.approx(measured["recall@2"])
    assert 1 / 2 == measured["cold_recall@2"]
    assert (3, 1, 2) == (measured["num_users"], measured["num_skipped"], measured["num_cold"])


def test_a_list_longer_than_there_are_items_finds_all() -> None:
    measured = full_ranking(USERS, SCORES.T, TRAIN, TEST, ks=(100,))

    assert (1 + 1 + 1 / 2) / 3 == pytest.approx(measured["recall@100"])
    assert 1 == measured["coverage@100"]


def test_items_may_begin_at_row_0() -> None:
    test = to_csr([0, 1], [0, 0], 4, first_item=0)

    assert 1 == full_ranking(USERS, SCORES.T, TRAIN, test, (1,), first_item=0)["recall@1"]


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="No user has test rows"):
        full_ranking(USERS, SCORES.T, TRAIN, to_csr([], [], 4))
    with pytest.raises(DataError, match="Test has 3 users, and there are rows for 4"):
        full_ranking(USERS, SCORES.T, TRAIN, to_csr([1], [1], 3))
    with pytest.raises(DataError, match="Train has 3 users, the model 4"):
        full_ranking(USERS, SCORES.T, to_csr([1], [1], 3), TEST)
    with pytest.raises(DataError, match="User row 4 at position 3"):
        full_ranking(USERS, SCORES.T, TRAIN, TEST, users=[0, 1, 2, 4])
    with pytest.raises(DataError, match="Train has the item row 9; the model scores 6"):
        full_ranking(USERS, SCORES.T, to_csr([1], [9], 4), TEST)
    with pytest.raises(DataError, match="NaN"):
        full_ranking(USERS * np.nan, SCORES.T, TRAIN, TEST)
    with pytest.raises(DataError, match=r"shape \(4, 6\); expected is \(1, 6\)"):
        full_ranking(np.arange(4), lambda rows: SCORES, TRAIN, TEST)
    with pytest.raises(DataError, match="scores no item"):
        full_ranking(np.arange(4), lambda rows: np.zeros((len(rows), 0)), TRAIN, TEST)
    for ks in ((), (0, 1)):
        with pytest.raises(ConfigError, match="lengths of lists"):
            full_ranking(USERS, SCORES.T, TRAIN, TEST, ks=ks)
    with pytest.raises(ConfigError, match="block is 0"):
        full_ranking(USERS, SCORES.T, TRAIN, TEST, block=0)


@pytest.mark.needs_data("lastfm")
def test_users_of_lastfm_are_counted_as_its_note_says(data: Path) -> None:
    parts = {
        name: np.loadtxt(data / "lastfm" / f"{name}.txt", usecols=(0, 1), dtype=np.int64)
        for name in ("train", "test")
    }
    train, test = (to_csr(part[:, 0], part[:, 1], 1893) for part in parts.values())
    popularity = np.bincount(train[1], minlength=4490).astype(np.float32)

    measured = full_ranking(
        np.arange(1893), lambda rows: np.tile(popularity, (len(rows), 1)), train, test
    )

    assert (1858, 2) == (measured["num_users"], measured["num_cold"])
    assert 0 < measured["ndcg@20"] < measured["recall@20"] < measured["hit_rate@20"] < 0.5


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (np.ones((4, 5)), "must have the same dimension"),
        (np.ones((0, 2)), "scores no item"),
        (np.ones((1, 2)), "scores no item: 1 rows"),
    ],
)
def test_vectors_that_do_not_fit_are_told(items: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        full_ranking(np.ones((1, 2)), items, to_csr([], [], 1), to_csr([0], [3], 1))
