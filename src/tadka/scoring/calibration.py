"""The last step of a scorer: margins into probabilities that come true.

Both kinds are one small array, `to_array()`, kept as one .npy file. `apply` works element by
element in an order of operations that is fixed here, so that a scorer of one row, in any language
with IEEE 754 doubles and the same `exp`, gives the same bits:

Platt, array [a, b] of shape (2,):
    z = a * m + b                                  (two roundings, no fused multiply-add)
    score = 1 / (1 + exp(-z))                      for z >= 0
    score = exp(z) / (1 + exp(z))                  for z < 0; NaN gives NaN

Isotonic, array of knots of shape (2, K): margins x increasing, scores y never decreasing:
    score = y[0]                                   for m <= x[0]
    score = y[K-1]                                 for m >= x[K-1]
    score = y[i] + (y[i+1] - y[i]) * ((m - x[i]) / (x[i+1] - x[i]))
                                                   for x[i] <= m < x[i+1]; NaN gives NaN

`exp` is the C library's (math.exp), never NumPy's, whose vector code rounds differently.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.scoring.reference import sigmoids

Array = npt.NDArray[np.float64]

_NUM_STEPS = 100  # Newton needs about ten
_MIN_STEP = 1e-10
_MAX_MARGIN = 1e300  # the difference of two is still finite
_RIDGE = 1e-12  # keeps the Hessian invertible where all margins are equal


@dataclass(frozen=True)
class Platt:
    """A sigmoid of a line: `1 / (1 + exp(-(a * margin + b)))`.

    Args:
        a: Slope; 1 leaves the margin as it is.
        b: Shift; 0 leaves the margin as it is.

    Raises:
        DataError: One of them is not finite.
    """

    method: ClassVar[str] = "platt"

    a: float
    b: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.a) and math.isfinite(self.b)):
            raise DataError(f"A Platt calibration of {self.a} and {self.b}: both must be finite.")

    @classmethod
    def fit(
        cls, margins: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """The line of greatest likelihood, with targets drawn in a little from 0 and 1.

        Args:
            margins: Finite, shape (B,), of rows that the model has not learnt from.
            labels: 0 or 1, or -1 or 1, shape (B,).
            weights: At least 0, shape (B,); None counts each row once.

        Returns:
            The calibration. If all margins are equal it gives the rate of label 1 everywhere.

        Raises:
            DataError: There are no rows, the lengths differ, a value is not as said, or one class
                is absent or weighs nothing.

        Source: Platt 1999, "Probabilistic Outputs for Support Vector Machines", equations 2 to 4
        (our a and b are his times -1); Newton's method with backtracking as in Lin, Lin and Weng
        2007, "A Note on Platt's Probabilistic Outputs for Support Vector Machines", algorithm 1.
        """
        margin_B, is_one_B, weight_B = _checked(margins, labels, weights)
        num_ones = float(weight_B[is_one_B].sum())
        num_zeros = float(weight_B[~is_one_B].sum())
        target_B = np.where(is_one_B, (num_ones + 1) / (num_ones + 2), 1 / (num_zeros + 2))
        # Newton in units of the margins' spread, or huge and tiny margins would spoil the Hessian.
        shift = float(np.average(margin_B, weights=weight_B))
        scale = float(np.abs(margin_B - shift).max()) or 1.0
        unit_B = (margin_B - shift) / scale
        a, b = 0.0, math.log((num_ones + 1) / (num_zeros + 1))
        cost = _cost(a * unit_B + b, target_B, weight_B)
        for _ in range(_NUM_STEPS):
            score_B = _sigmoid(a * unit_B + b)
            error_B = weight_B * (score_B - target_B)
            curve_B = weight_B * score_B * (1 - score_B)
            slope_a, slope_b = float(error_B @ unit_B), float(error_B.sum())
            aa = float(curve_B @ (unit_B * unit_B)) + _RIDGE
            ab, bb = float(curve_B @ unit_B), float(curve_B.sum()) + _RIDGE
            if max(abs(slope_a), abs(slope_b)) < 1e-9 * (num_ones + num_zeros):
                break
            determinant = aa * bb - ab * ab
            move_a = -(bb * slope_a - ab * slope_b) / determinant
            move_b = -(aa * slope_b - ab * slope_a) / determinant
            descent = slope_a * move_a + slope_b * move_b
            step = 1.0
            while step >= _MIN_STEP:
                tried = _cost((a + step * move_a) * unit_B + b + step * move_b, target_B, weight_B)
                if tried < cost + 1e-4 * step * descent:
                    a, b, cost = a + step * move_a, b + step * move_b, tried
                    break
                step /= 2
            else:
                break  # as good as doubles can tell
        return cls(a / scale, b - a * shift / scale)

    def apply(self, margins: npt.ArrayLike) -> Array:
        """The score of each margin.

        Args:
            margins: Any shape; infinities are fine and NaN gives NaN.

        Returns:
            In [0, 1], of the same shape.
        """
        margin_B = np.asarray(margins, np.float64)
        with np.errstate(all="ignore"):
            z_B = self.a * margin_B + self.b
        return sigmoids(z_B.ravel()).reshape(margin_B.shape)

    def to_array(self) -> Array:
        """What `from_array` takes: [a, b]."""
        return np.array([self.a, self.b])

    @classmethod
    def from_array(cls, array: npt.ArrayLike) -> Self:
        """The calibration that `to_array` gave.

        Args:
            array: [a, b].

        Returns:
            The calibration.

        Raises:
            DataError: It is not two finite numbers.
        """
        values = np.asarray(array)
        if values.shape != (2,) or values.dtype != np.float64:
            raise DataError(
                f"A Platt calibration is 2 float64 numbers, not {values.dtype} of shape "
                f"{values.shape}."
            )
        return cls(float(values[0]), float(values[1]))


@dataclass(frozen=True, eq=False)
class Isotonic:
    """A monotone curve through knots, straight between them and level outside.

    Args:
        margins: Finite and increasing, float64, shape (K,), K at least 1.
        scores: In [0, 1] and never decreasing, float64, shape (K,).

    Raises:
        DataError: The knots are not so.
    """

    method: ClassVar[str] = "isotonic"

    margins: Array
    scores: Array

    def __post_init__(self) -> None:
        for name in ("margins", "scores"):
            array = np.ascontiguousarray(getattr(self, name), np.float64)
            object.__setattr__(self, name, array)
        x, y = self.margins, self.scores
        if x.ndim != 1 or x.shape != y.shape or not len(x):
            raise DataError(
                f"An isotonic calibration has margins of shape {x.shape} and scores of shape "
                f"{y.shape}; both are lists of the same length, at least 1."
            )
        if not np.all(np.abs(x) < _MAX_MARGIN) or np.any(x[1:] <= x[:-1]):
            raise DataError(
                "The margins of an isotonic calibration must increase and be finite (within "
                f"{_MAX_MARGIN:g})."
            )
        if not (np.all(y >= 0) and np.all(y <= 1)) or np.any(y[1:] < y[:-1]):
            raise DataError(
                "The scores of an isotonic calibration must be in [0, 1] and never decrease."
            )

    @classmethod
    def fit(
        cls, margins: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> Self:
        """The monotone curve of least squared error, by pooling adjacent violators.

        Args:
            margins: Finite, shape (B,), of rows that the model has not learnt from. Equal margins
                become one knot with their mean label.
            labels: 0 or 1, or -1 or 1, shape (B,).
            weights: At least 0, shape (B,); rows of weight 0 are left out. None counts each row
                once.

        Returns:
            The calibration: the two ends of every level stretch are knots.

        Raises:
            DataError: There are no rows, the lengths differ, a value is not as said, or one class
                is absent or weighs nothing.

        Source: Ayer, Brunk, Ewing, Reid and Silverman 1955; as calibration, Zadrozny and Elkan
        2002.
        """
        margin_B, is_one_B, weight_B = _checked(margins, labels, weights)
        counts_B = weight_B > 0
        margin_B, is_one_B, weight_B = margin_B[counts_B], is_one_B[counts_B], weight_B[counts_B]
        x, group_B = np.unique(margin_B, return_inverse=True)
        weight = np.bincount(group_B, weights=weight_B)
        mean = np.bincount(group_B, weights=weight_B * is_one_B) / weight
        level, first = _pool(mean.tolist(), weight.tolist())
        last = [*(start - 1 for start in first[1:]), len(x) - 1]
        knots: list[tuple[float, float]] = []
        for value, begin, end in zip(level, first, last, strict=True):
            knots.append((float(x[begin]), value))
            if end > begin:
                knots.append((float(x[end]), value))
        array = np.array(knots, np.float64).T
        # A mean of pooled means can leave [0, 1] or the order by a last digit.
        scores = np.maximum.accumulate(np.clip(array[1], 0, 1))
        return cls(array[0], scores)

    def apply(self, margins: npt.ArrayLike) -> Array:
        """The score of each margin.

        Args:
            margins: Any shape; infinities are fine and NaN gives NaN.

        Returns:
            In [0, 1], of the same shape.
        """
        margin_B = np.asarray(margins, np.float64)
        x, y = self.margins, self.scores
        if len(x) == 1:
            return np.where(np.isnan(margin_B), np.nan, y[0])
        place = np.clip(np.searchsorted(x, margin_B, side="right") - 1, 0, len(x) - 2)
        inside = np.clip(margin_B, x[0], x[-1])  # keeps inf - inf out of the line below
        part = (inside - x[place]) / (x[place + 1] - x[place])
        scores = y[place] + (y[place + 1] - y[place]) * part
        scores = np.where(margin_B <= x[0], y[0], scores)
        return np.asarray(np.where(margin_B >= x[-1], y[-1], scores), np.float64)

    def to_array(self) -> Array:
        """What `from_array` takes: margins and scores of the knots, shape (2, K)."""
        return np.stack([self.margins, self.scores])

    @classmethod
    def from_array(cls, array: npt.ArrayLike) -> Self:
        """The calibration that `to_array` gave.

        Args:
            array: Margins and scores of the knots, float64, shape (2, K).

        Returns:
            The calibration.

        Raises:
            DataError: The shape or type is another, or the knots are not in order.
        """
        values = np.asarray(array)
        if values.ndim != 2 or len(values) != 2 or values.dtype != np.float64:
            raise DataError(
                f"An isotonic calibration is float64 of shape (2, K), not {values.dtype} of shape "
                f"{values.shape}."
            )
        return cls(values[0], values[1])


Calibration = Platt | Isotonic

CALIBRATIONS: dict[str, type[Calibration]] = {"isotonic": Isotonic, "platt": Platt}


def _pool(mean: list[float], weight: list[float]) -> tuple[list[float], list[int]]:
    """Levels that never decrease, and where each starts."""
    levels: list[float] = []
    weights: list[float] = []
    starts: list[int] = []
    for place, (value, mass) in enumerate(zip(mean, weight, strict=True)):
        start = place
        while levels and levels[-1] >= value:
            value = (levels[-1] * weights[-1] + value * mass) / (weights[-1] + mass)
            mass += weights.pop()
            start = starts.pop()
            levels.pop()
        levels.append(value)
        weights.append(mass)
        starts.append(start)
    return levels, starts


def _sigmoid(z: Array) -> Array:
    """For fitting only, where the last digit does not matter."""
    tail = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1, tail) / (1 + tail), np.float64)


def _cost(z: Array, target: Array, weight: Array) -> float:
    return float(weight @ (np.logaddexp(0, z) - target * z))


def _checked(
    margins: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Array, npt.NDArray[np.bool_], Array]:
    margin_B = np.asarray(margins, np.float64)
    label_B = np.asarray(labels, np.float64)
    weight_B = np.ones(len(margin_B)) if weights is None else np.asarray(weights, np.float64)
    if not margin_B.ndim == label_B.ndim == weight_B.ndim == 1 or not (
        len(margin_B) == len(label_B) == len(weight_B)
    ):
        raise DataError(
            f"Margins, labels and weights have shapes {margin_B.shape}, {label_B.shape} and "
            f"{weight_B.shape}; they must be lists of the same length."
        )
    for name, array, is_bad, accepted in (
        ("Margin", margin_B, ~np.isfinite(margin_B), "margins must be finite"),
        ("Label", label_B, (np.abs(label_B) != 1) & (label_B != 0), "labels are 0 or 1"),
        (
            "Weight",
            weight_B,
            ~(np.isfinite(weight_B) & (weight_B >= 0)),
            "weights are finite and at least 0",
        ),
    ):
        if is_bad.any():
            row = int(np.argmax(is_bad))
            raise DataError(f"{name} {array[row]!s} of row {row:,}: {accepted}.")
    is_one_B = label_B > 0
    if not weight_B[is_one_B].any() or not weight_B[~is_one_B].any():
        raise DataError(
            f"A calibration needs rows of both labels; {int(is_one_B.sum()):,} of "
            f"{len(label_B):,} have label 1, and some of each must have a weight above 0."
        )
    return margin_B, is_one_B, weight_B
