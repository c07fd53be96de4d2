import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.pairs import to_csr
from tadka.models.measure.ranking import coverage, hit_rate, mrr, ndcg, recall, top_k


def by_sorting(scores: np.ndarray[Any, Any], k: int) -> list[list[int]]:
    lists = []
    for row in scores.tolist():
        order = sorted((-score, item) for item, score in enumerate(row) if score > -math.inf)
        lists.append([item for _, item in order[:k]] + [-1] * (k - len(order)))
    return lists


@pytest.mark.parametrize("num_items", [1, 3, 20, 37, 400, 1000])
@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("num_values", [1, 2, 7, 60, 10**9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lists_equal_sorting_by_score_and_item(
    num_items: int, k: int, num_values: int, dtype: type
) -> None:
    rng = np.random.default_rng(num_items + k)
    whole = rng.integers(0, num_values, (9, num_items)) - num_values // 2
    scores: np.ndarray[Any, Any] = whole.astype(dtype)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    scores[0] = -np.inf
    before = scores.copy()

    assert by_sorting(scores, k) == top_k(scores, k).tolist()
    assert np.array_equal(before, scores)


def test_ties_at_the_cut_go_to_the_smaller_item() -> None:
    assert [[3, 0, 1]] == top_k([[1.0, 1.0, 1.0, 2.0, 1.0, 0.0]], 3).tolist()
    assert [[0, 1]] == top_k(np.zeros((1, 5000), dtype=np.float32), 2).tolist()
    assert [[0, 1, 2]] == top_k([[0.0, -0.0, 0.0]], 3).tolist()


def test_ties_of_a_few_hot_scores_among_many() -> None:
    scores = np.zeros((2, 3000), dtype=np.float32)
    scores[0, [2999, 17, 1500]] = 5
    scores[1, 2998] = np.inf

    assert [[17, 1500, 2999, 0], [2998, 0, 1, 2]] == top_k(scores, 4).tolist()


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.float16, np.bool_])
def test_scores_of_other_types(dtype: type) -> None:
    assert [[1, 3, 0]] == top_k(np.array([[0, 1, 0, 1]], dtype=dtype), 3).tolist()


def test_masked_items_and_rows_that_are_no_items_are_never_listed() -> None:
    mask = to_csr([0, 0, 1], [1, 4, 2], 2)
    scores = np.tile(np.arange(5.0), (2, 1))

    assert [[3, 2, -1], [4, 3, 1]] == top_k(scores, 3, mask, first_item=1).tolist()
    assert [[3, 2, 0], [4, 3, 1]] == top_k(scores, 3, mask).tolist()


def test_no_users_and_no_items() -> None:
    assert (0, 3) == top_k(np.zeros((0, 5)), 3).shape
    assert [[-1, -1]] == top_k(np.zeros((1, 0)), 2).tolist()


def test_bad_scores_are_refused() -> None:
    with pytest.raises(DataError, match="row 1 of the scores is NaN"):
        top_k([[0.0, 1.0], [math.nan, 1.0]], 1)
    with pytest.raises(ConfigError, match="list of 0 places"):
        top_k([[0.0]], 0)
    with pytest.raises(DataError, match="mask has 2 rows for 1 users"):
        top_k([[0.0]], 1, to_csr([], [], 2))


HITS = np.array(
    [[False, True, False, True], [True, True, True, True], [False, False, False, False]]
)
POSITIVES = np.array([2, 5, 1])


def test_recall_by_hand() -> None:
    assert [1, 4 / 5, 0] == recall(HITS, POSITIVES, 4).tolist()
    assert [1 / 2, 2 / 5, 0] == recall(HITS, POSITIVES, 2).tolist()


def test_ndcg_by_hand() -> None:
    # Places 1 to 4 are worth 1, 1 / log2(3), 1 / 2 and 1 / log2(5).
    second, fourth = 1 / math.log2(3), 1 / math.log2(5)

    assert [(second + fourth) / (1 + second), 1, 0] == pytest.approx(ndcg(HITS, POSITIVES, 4))
    assert [second / (1 + second), 1, 0] == pytest.approx(ndcg(HITS, POSITIVES, 2))
    assert [0, 1, 0] == ndcg(HITS, POSITIVES, 1).tolist()


@pytest.mark.parametrize("k", [1, 5, 20, 60])
def test_ndcg_equals_that_of_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.permuted(np.tile(np.arange(50.0), (30, 1)), axis=1)  # no ties
    relevant = rng.random((30, 50)) < 0.2
    relevant[:, 0] = True
    listed = top_k(scores, k)
    is_hit = np.take_along_axis(relevant, listed, axis=1) & (listed >= 0)

    assert sklearn.metrics.ndcg_score(relevant, scores, k=k) == pytest.approx(
        ndcg(is_hit, relevant.sum(1), k).mean(), rel=1e-12
    )


def test_recall_equals_that_of_scikit_learn_with_the_list_as_prediction() -> None:
    rng = np.random.default_rng(0)
    scores, relevant = rng.random((40, 30)), rng.random((40, 30)) < 0.3
    relevant[:, 3] = True
    listed = top_k(scores, 7)
    predicted = np.zeros_like(relevant)
    np.put_along_axis(predicted, listed, values=True, axis=1)

    assert sklearn.metrics.recall_score(relevant, predicted, average="samples") == pytest.approx(
        recall(np.take_along_axis(relevant, listed, axis=1), relevant.sum(1), 7).mean()
    )


def test_mrr_equals_scikit_learn_s_for_one_positive() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((40, 30))
    relevant = np.zeros((40, 30), dtype=bool)
    relevant[np.arange(40), rng.integers(0, 30, 40)] = True
    is_hit = np.take_along_axis(relevant, top_k(scores, 30), axis=1)

    assert sklearn.metrics.label_ranking_average_precision_score(relevant, scores) == pytest.approx(
        mrr(is_hit, 30).mean()
    )


def test_mrr_and_hit_rate_by_hand() -> None:
    assert [1 / 2, 1, 0] == mrr(HITS, 4).tolist()
    assert [0, 1, 0] == mrr(HITS, 1).tolist()
    assert [1, 1, 0] == hit_rate(HITS, 2).tolist()
    assert [0, 1, 0] == hit_rate(HITS, 1).tolist()


def test_coverage_counts_distinct_items() -> None:
    listed = np.array([[3, 1, -1], [3, 2, 1]])

    assert 3 / 10 == coverage(listed, 10, 3)
    assert 1 / 10 == coverage(listed, 10, 1)


def test_a_mask_of_other_items_is_told() -> None:
    with pytest.raises(DataError, match=r"Item row 9 .* must lie in \[0, 2\)"):
        top_k([[2.0, 1.0]], 2, (np.array([0, 1]), np.array([9])))
