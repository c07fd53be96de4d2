import math

import numpy as np
import pytest
import sklearn.metrics

from tadka.core.error import DataError
from tadka.scoring.metric import auc, calibration_ratio, log_loss


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_those_of_scikit_learn(seed: int, is_weighted: bool) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, 500)
    scores = np.round(generator.random(500), 2)  # many ties, and some of 0 and 1
    weights = generator.random(500) if is_weighted else None

    assert sklearn.metrics.roc_auc_score(labels, scores, sample_weight=weights) == pytest.approx(
        auc(labels, scores, weights), abs=1e-12
    )
    assert sklearn.metrics.log_loss(labels, scores, sample_weight=weights) == pytest.approx(
        log_loss(labels, scores, weights), rel=1e-12
    )
    assert np.average(scores, weights=weights) / np.average(labels, weights=weights) == (
        pytest.approx(calibration_ratio(labels, scores, weights))
    )


def test_auc_counts_ties_as_half_and_reads_infinite_margins() -> None:
    assert auc([0, 1], [0.3, 0.3]) == 0.5
    assert auc([0, 1, 1], [-math.inf, 2.0, math.inf]) == 1.0
    assert auc([1, 0], [-math.inf, math.inf]) == 0.0


def test_auc_is_nan_where_one_class_is_absent_or_weighs_nothing() -> None:
    assert math.isnan(auc([1, 1], [0.2, 0.3]))
    assert math.isnan(auc([1, 0], [0.2, 0.3], [1, 0]))


def test_log_loss_of_a_certain_mistake_is_finite_and_one_class_is_enough() -> None:
    assert log_loss([1], [0.0]) == pytest.approx(36.04, abs=0.01)
    assert log_loss([0, 0], [0.5, 0.5]) == pytest.approx(math.log(2))


def test_calibration_ratio_without_events_is_infinite_or_nan() -> None:
    assert calibration_ratio([0, 0], [0.1, 0.2]) == math.inf
    assert math.isnan(calibration_ratio([0, 0], [0.0, 0.0]))


@pytest.mark.parametrize("metric", [log_loss, auc, calibration_ratio])
@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([], [], None, "no rows"),
        ([0, 1], [0.5], None, "2 labels, 1 scores"),
        ([0, 2], [0.5, 0.5], None, r"Label 2.0 of row 1"),
        ([0, math.nan], [0.5, 0.5], None, r"Label nan of row 1"),
        ([0, 1], [0.5, math.nan], None, r"Score nan of row 1"),
        ([0, 1], [0.5, 0.5], [1, -1], r"Weight -1.0 of row 1"),
        ([0, 1], [0.5, 0.5], [math.inf, 1], r"Weight inf of row 0"),
        ([0, 1], [0.5, 0.5], [0, 0], "All weights are 0"),
        ([[0, 1]], [0.5, 0.5], None, "2 dimensions"),
        (["a", "b"], [0.5, 0.5], None, "no numbers"),
    ],
)
def test_bad_input_is_named(metric, labels, scores, weights, message) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with pytest.raises(DataError, match=message):
        metric(labels, scores, weights)


@pytest.mark.parametrize("metric", [log_loss, calibration_ratio])
@pytest.mark.parametrize("score", [-0.1, 1.5, math.inf])
def test_a_score_that_is_no_probability_is_refused(metric, score) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    with pytest.raises(DataError, match="from 0 to 1"):
        metric([0, 1], [0.5, score])
