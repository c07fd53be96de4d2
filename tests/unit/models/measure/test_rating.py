import math

import numpy as np
import pytest
import sklearn.metrics

from tadka.core.error import ConfigError, DataError
from tadka.models.measure.rating import mae, rmse


@pytest.mark.parametrize("is_weighted", [False, True])
def test_errors_equal_those_of_scikit_learn(is_weighted: bool) -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(1, 6, 300), rng.normal(3, 2, 300)
    weights = rng.random(300) if is_weighted else None

    assert sklearn.metrics.root_mean_squared_error(
        labels, scores, sample_weight=weights
    ) == pytest.approx(rmse(labels, scores, weights), rel=1e-12)
    assert sklearn.metrics.mean_absolute_error(
        labels, scores, sample_weight=weights
    ) == pytest.approx(mae(labels, scores, weights), rel=1e-12)


def test_errors_by_hand_raw_and_clipped() -> None:
    assert math.sqrt((4 + 1 + 0) / 3) == pytest.approx(rmse([5, 1, 3], [7, 0, 3]))
    assert 1 == mae([5, 1, 3], [7, 0, 3])
    assert 0 == rmse([5, 1, 3], [7, 0, 3], clip=(1, 5))
    assert 0.5 == mae([5, 1], [7, 2], clip=(1, 5))


@pytest.mark.parametrize("metric", [rmse, mae])
@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([], [], None, "no rows"),
        ([1], [1, 2], None, r"labels \(1,\), scores \(2,\)"),
        ([[1]], [[1]], None, "have one axis"),
        ([1, math.nan], [1, 2], None, "label of row 1 is nan"),
        ([1, 2], [math.inf, 2], None, "score of row 0 is inf"),
        ([1, 2], [1, 2], [1, -1], "weight of row 1 is -1.0"),
        ([1, 2], [1, 2], [0, 0], "All weights are 0"),
    ],
)
def test_bad_rows_are_named(
    metric: object, labels: object, scores: object, weights: object, message: str
) -> None:
    assert callable(metric)
    with pytest.raises(DataError, match=message):
        metric(labels, scores, weights)


def test_a_clip_that_is_no_interval_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"clip is \(5, 1\)"):
        rmse([1], [1], clip=(5, 1))


def test_what_is_no_number_is_told() -> None:
    with pytest.raises(DataError, match="must be numbers"):
        rmse(["a"], [1.0])
