from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from tadka.core.error import DataError
from tadka.models.measure.classes import accuracy, macro_f1


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 200)
    predicted = np.where(rng.random(200) < 0.6, labels, rng.integers(0, 7, 200))

    assert sklearn.metrics.accuracy_score(labels, predicted) == pytest.approx(
        accuracy(labels, predicted), rel=1e-14
    )
    assert sklearn.metrics.f1_score(labels, predicted, average="macro") == pytest.approx(
        macro_f1(labels, predicted), rel=1e-14
    )


def test_metrics_by_hand() -> None:
    # Class 0: 1 right, 1 missed; class 1: 1 right, 1 too many; class 2: named once, never right.
    assert 0.5 == accuracy([0, 0, 1, 1], [0, 1, 1, 2])
    assert (2 / 3 + 1 / 2 + 0) / 3 == pytest.approx(macro_f1([0, 0, 1, 1], [0, 1, 1, 2]))


def test_of_scores_the_largest_counts_and_of_equal_ones_the_first() -> None:
    scores = [[0.1, 0.9, 0.0], [0.4, 0.2, 0.4], [0.0, 0.3, 0.3]]

    assert 1 == accuracy([1, 0, 1], scores)
    assert pytest.approx(1 / 3) == accuracy([1, 2, 2], scores)
    assert 1 == macro_f1([1, 0, 1], scores)


@pytest.mark.parametrize("metric", [accuracy, macro_f1])
@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([], [], "no rows"),
        ([0, 1], [0], r"shape \(2,\), predictions \(1,\)"),
        ([0, -1], [0, 1], "label of row 1 is -1"),
        ([0, 1], [0.5, 1], "predicted class of row 0 is 0.5"),
        ([0, 1], [[0.5, 1], [float("nan"), 0]], "score of row 1 is NaN"),
    ],
)
def test_bad_rows_are_named(
    metric: object, labels: object, predicted: object, message: str
) -> None:
    assert callable(metric)
    with pytest.raises(DataError, match=message):
        metric(labels, predicted)


def test_classes_may_be_large_numbers() -> None:
    assert macro_f1([10**12, 7, 7], [10**12, 7, 0]) == pytest.approx((1 + 2 / 3 + 0) / 3)


@pytest.mark.parametrize(
    ("labels", "predicted", "said"),
    [(["a"], ["a"], "must be numbers"), ([0], np.zeros((1, 0)), "scores of no class")],
)
def test_what_is_no_class_is_told(labels: Any, predicted: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        accuracy(labels, predicted)
