"""How good scores are: log loss, area under the ROC curve, and whether they come true on average.

Shapes: B rows.
"""

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError

Array = npt.NDArray[np.float64]


def log_loss(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Mean negative log likelihood of the labels, in nats per row.

    Args:
        labels: 0 or 1, shape (B,).
        scores: Probability of label 1, each in [0, 1], shape (B,). What is closer to 0 or 1 than
            2^-52 counts as that far from it, so that a certain mistake costs 36 and not infinity.
        weights: At least 0, shape (B,); None counts each row once.

    Returns:
        At least 0. One class is enough.

    Raises:
        DataError: There are no rows or all weigh nothing, the lengths differ, a label is not 0 or
            1, or a score is not in [0, 1].
    """
    label_B, score_B, weight_B = _checked(labels, scores, weights)
    _check_probabilities(score_B)
    edge = float(np.finfo(np.float64).eps)
    # The probability given to what did not happen; 1 - p is exact near the edge that matters.
    chance_B = np.clip(np.where(label_B == 1, score_B, 1 - score_B), edge, 1 - edge)
    return float(np.average(-np.log(chance_B), weights=weight_B))


def auc(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Area under the ROC curve: how often a row of label 1 scores above one of label 0.

    Args:
        labels: 0 or 1, shape (B,).
        scores: Any finite or infinite numbers in which more means likelier, margins too,
            shape (B,). Equal scores count as half.
        weights: At least 0, shape (B,); a pair counts the product of its weights. None counts each
            pair once.

    Returns:
        From 0 to 1. NaN if one of the classes is absent or weighs nothing: there is no pair.

    Raises:
        DataError: There are no rows or all weigh nothing, the lengths differ, a label is not 0 or
            1, or a score is NaN.

    Source: Mann and Whitney 1947, statistic U, with ties as half.
    """
    label_B, score_B, weight_B = _checked(labels, scores, weights)
    order_B = np.argsort(score_B, kind="stable")
    sorted_B = score_B[order_B]
    starts = np.flatnonzero(np.r_[True, sorted_B[1:] != sorted_B[:-1]])  # of each distinct score
    is_one_B = label_B[order_B] == 1
    if weight_B is None:
        ones = np.add.reduceat(is_one_B.astype(np.float64), starts)
        zeros = np.add.reduceat((~is_one_B).astype(np.float64), starts)
    else:
        ones = np.add.reduceat(np.where(is_one_B, weight_B[order_B], 0.0), starts)
        zeros = np.add.reduceat(np.where(is_one_B, 0.0, weight_B[order_B]), starts)
    num_pairs = float(ones.sum() * zeros.sum())
    if num_pairs == 0:
        return float("nan")
    below = np.cumsum(zeros) - zeros
    return float(ones @ (below + 0.5 * zeros)) / num_pairs


def calibration_ratio(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> float:
    """Mean score over mean label: above 1 the scores promise too much.

    Args:
        labels: 0 or 1, shape (B,).
        scores: Probability of label 1, each in [0, 1], shape (B,).
        weights: At least 0, shape (B,); None counts each row once.

    Returns:
        At least 0; infinity, or NaN if all scores are 0 too, where no row of any weight has
        label 1.

    Raises:
        DataError: As for `log_loss`.
    """
    label_B, score_B, weight_B = _checked(labels, scores, weights)
    _check_probabilities(score_B)
    promised = float(np.average(score_B, weights=weight_B))
    seen = float(np.average(label_B, weights=weight_B))
    if seen == 0:
        return float("inf") if promised > 0 else float("nan")
    return promised / seen


def _checked(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    arrays = {"labels": labels, "scores": scores}
    if weights is not None:
        arrays["weights"] = weights
    checked: dict[str, Array] = {}
    for name, given in arrays.items():
        try:
            array = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"The {name} are no numbers: {error}.") from error
        if array.ndim != 1:
            raise DataError(f"The {name} have {array.ndim} dimensions; they must have 1.")
        checked[name] = array
    if len({len(array) for array in checked.values()}) > 1:
        lengths = ", ".join(f"{len(array):,} {name}" for name, array in checked.items())
        raise DataError(f"There are {lengths}; there must be as many of each.")
    label_B, score_B = checked["labels"], checked["scores"]
    if not len(label_B):
        raise DataError("There are no rows to judge scores by.")
    _refuse(label_B, (label_B != 0) & (label_B != 1), "Label", "labels are 0 or 1")
    _refuse(score_B, np.isnan(score_B), "Score", "a model that gives NaN has diverged")
    weight_B = checked.get("weights")
    if weight_B is not None:
        is_bad = ~(np.isfinite(weight_B) & (weight_B >= 0))
        _refuse(weight_B, is_bad, "Weight", "weights are finite and at least 0")
        if not weight_B.any():
            raise DataError("All weights are 0; some row must count.")
    return label_B, score_B, weight_B


def _check_probabilities(scores: Array) -> None:
    is_bad = (scores < 0) | (scores > 1)
    _refuse(scores, is_bad, "Score", "here they are probabilities from 0 to 1")


def _refuse(values: Array, is_bad: npt.NDArray[np.bool_], what: str, accepted: str) -> None:
    if is_bad.any():
        row = int(np.argmax(is_bad))
        raise DataError(f"{what} {values[row]!s} of row {row:,}: {accepted}.")
