"""How far predicted values are from true ones.

Shapes: B rows.
"""

import math

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError

Array = npt.NDArray[np.float64]


def rmse(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    clip: tuple[float, float] | None = None,
) -> float:
    """Root of the mean squared error, in units of the labels.

    Args:
        labels: True values, shape (B,).
        scores: Predicted values, shape (B,).
        weights: At least 0, shape (B,); None counts each row once.
        clip: Lowest and highest value possible (1 and 5 stars); what is predicted outside counts as
            the nearer of both. None: scores as they are.

    Returns:
        At least 0.

    Raises:
        ConfigError: `clip` is no interval.
        DataError: There are no rows or all weigh nothing, the lengths differ, or a value is not
            finite.
    """
    label_B, score_B, weight_B = _checked(labels, scores, weights)
    return math.sqrt(np.average((_clipped(score_B, clip) - label_B) ** 2, weights=weight_B))


def mae(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    clip: tuple[float, float] | None = None,
) -> float:
    """Mean absolute error, in units of the labels.

    Args:
        labels: True values, shape (B,).
        scores: Predicted values, shape (B,).
        weights: At least 0, shape (B,); None counts each row once.
        clip: As for `rmse`.

    Returns:
        At least 0.

    Raises:
        ConfigError: As for `rmse`.
        DataError: As for `rmse`.
    """
    label_B, score_B, weight_B = _checked(labels, scores, weights)
    return float(np.average(np.abs(_clipped(score_B, clip) - label_B), weights=weight_B))


def _clipped(score_B: Array, clip: tuple[float, float] | None) -> Array:
    if clip is None:
        return score_B
    if not clip[0] < clip[1]:
        raise ConfigError(f"clip is {clip}; its first number must be below the second.")
    return np.clip(score_B, *clip)


def _checked(
    labels: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Labels, scores and weights as finite float64 arrays of one length.

    Raises:
        DataError: They are not; the message names the first bad row.
    """
    given = {"label": labels, "score": scores}
    if weights is not None:
        given["weight"] = weights
    try:
        arrays = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
    except (ValueError, TypeError) as error:
        raise DataError(f"Labels and scores must be numbers: {error}.") from error
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or arrays["label"].ndim != 1:
        listed = ", ".join(f"{name}s {shape}" for name, shape in shapes.items())
        raise DataError(f"The shapes are {listed}; all must be the same and have one axis.")
    if not len(arrays["label"]):
        raise DataError("There are no rows to judge scores by.")
    for name, array in arrays.items():
        is_bad = ~np.isfinite(array)
        if name == "weight":
            is_bad |= array < 0
        if is_bad.any():
            row = int(np.argmax(is_bad))
            accepted = "finite and at least 0" if name == "weight" else "finite"
            raise DataError(f"The {name} of row {row:,} is {array[row]}; it must be {accepted}.")
    weight_B = arrays.get("weight")
    if weight_B is not None and not weight_B.any():
        raise DataError("All weights are 0; some row must count.")
    return arrays["label"], arrays["score"], weight_B
