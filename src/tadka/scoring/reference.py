"""Margins of sparse rows in NumPy: what the kernels compute, and in which order.

Every parameter is converted to float64, which is exact. A sum over the entries of a row goes from
the first to the last; `numpy.bincount` and a loop over the entries do, `numpy.sum` does not. The
compiled kernels keep to the same order and give the same bits.

Shapes: B rows, E entries of all rows together, P pairs of entries, k latent dimensions.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

import tadka.scoring.parameters as checks
from tadka.core.error import DataError
from tadka.features.sparse import SparseRows
from tadka.scoring.parameters import Parameters, widen

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_PAIRS = 1 << 18  # pairs of entries that are in memory at a time, unless one row has more


def linear_margins(parameters: Parameters, rows: SparseRows) -> Floats:
    """Bias + sum_i w[slot_i] x_i.

    Args:
        parameters: `bias` (1,) in float64 and `linear` (S,).
        rows: B of them.

    Returns:
        Shape (B,).
    """
    weights_E = widen(parameters["linear"][rows.slots])
    margins_B: Floats = parameters["bias"][0] + _sum(rows, weights_E * _wide_values(rows))
    return margins_B


def fm_margins(parameters: Parameters, rows: SparseRows) -> Floats:
    """Linear + 1/2 sum_f ((sum_i v_if x_i)**2 - sum_i (v_if x_i)**2).

    Args:
        parameters: `bias` (1,) in float64, `linear` (S,) and `latent` (S, k).
        rows: B of them.

    Returns:
        Shape (B,).

    Source: Rendle, Factorization Machines, ICDM 2010, lemma 3.1.
    """
    terms_Ek = widen(parameters["latent"][rows.slots]) * _wide_values(rows)[:, None]
    pairs_B = np.zeros(len(rows))
    for terms_E in terms_Ek.T:
        sums_B = _sum(rows, terms_E)
        pairs_B = pairs_B + (sums_B * sums_B - _sum(rows, terms_E * terms_E))
    margins_B: Floats = linear_margins(parameters, rows) + 0.5 * pairs_B
    return margins_B


def ffm_margins(parameters: Parameters, rows: SparseRows, *, normalize: bool = False) -> Floats:
    """Linear + sum over a < b of <V[slot_a, feature_b], V[slot_b, feature_a]> x_a x_b.

    a and b are entries of the row. For each dimension and each a the pairs are summed over b first,
    then over a, and the dimensions are added up last. Two entries of one feature are a pair like
    any other, as in libffm.

    Args:
        parameters: `bias` (1,) in float64, `linear` (S,) and `latent` (S, F, k).
        rows: B of them.
        normalize: Whether the sum over pairs is divided by the row's sum of squared values; a row
            whose values are all 0 stays as it is.

    Returns:
        Shape (B,).

    Source: Juan, Zhuang, Chin, Lin, Field-aware Factorization Machines for CTR Prediction, RecSys
        2016; the normalisation is that of their program, libffm.
    """
    pairs_B = np.concatenate([np.zeros(0), *(_ffm_pairs(parameters, r) for r in _split(rows))])
    if normalize:
        values_E = _wide_values(rows)
        norms_B = _sum(rows, values_E * values_E)
        np.divide(pairs_B, norms_B, out=pairs_B, where=norms_B > 0.0)
    margins_B: Floats = linear_margins(parameters, rows) + pairs_B
    return margins_B


def dense_margins(parameters: Parameters, rows: SparseRows) -> Floats:
    """The one output of fully connected layers with ReLU between them.

    Args:
        parameters: `weights_0` (S, h1), `bias_0` (h1,), `weights_1` (h1, h2) and so on.
        rows: B of them.

    Returns:
        Shape (B,).
    """
    _, widths = checks.check_dense(parameters)
    values_E = _wide_values(rows)
    lengths_B = np.diff(rows.starts)
    outputs = np.tile(widen(parameters["bias_0"]), (len(rows), 1))
    for position in range(int(lengths_B.max(initial=0))):
        present = np.flatnonzero(lengths_B > position)
        entries = rows.starts[present] + position
        weights = widen(parameters["weights_0"][rows.slots[entries]])
        outputs[present] += weights * values_E[entries, None]
    for layer in range(1, len(widths)):
        inputs = np.where(outputs < 0.0, 0.0, outputs)
        weights = widen(parameters[f"weights_{layer}"])
        outputs = np.tile(widen(parameters[f"bias_{layer}"]), (len(rows), 1))
        for number in range(widths[layer - 1]):
            outputs += weights[number] * inputs[:, number, None]
    margins: Floats = outputs[:, 0]
    return margins


def sigmoids(margins: npt.ArrayLike) -> Floats:
    """Probabilities of log-odds: 1 / (1 + exp(-margin)), by the C library's exp.

    Args:
        margins: float64, shape (B,).

    Returns:
        float64, shape (B,), in [0, 1]; NaN for NaN.
    """
    # numpy.exp rounds otherwise on machines with wide vectors.
    return np.array(
        [_sigmoid(margin) for margin in np.asarray(margins, np.float64).tolist()], np.float64
    )


class Kernel:
    """Parameters and the forward pass over them; made as one of its subclasses.

    `num_slots` and `num_features` bound the slots and features of the rows it takes; a kernel that
    does not look at features has 0 of them.
    """

    num_slots: int
    num_features: int = 0
    parameters: Parameters

    def _margins(self, rows: SparseRows) -> Floats:
        raise NotImplementedError

    def bind(self, rows: SparseRows) -> "BoundRows":
        """The rows with this kernel, to ask for one margin at a time.

        Args:
            rows: SparseRows; their arrays must not be changed afterwards.

        Returns:
            An object with `margin(index)` and a length.

        Raises:
            DataError: The rows have slots or features that the parameters lack.
        """
        return BoundRows(self, rows)

    def margin_at(self, rows: SparseRows, index: int) -> float:
        """Log-odds of one row.

        Args:
            rows: SparseRows.
            index: From 0.

        Returns:
            The same bits as `margins` gives for the row.

        Raises:
            DataError: As from `bind`, or there is no such row.
        """
        return BoundRows(self, rows).margin(index)

    def margins(self, rows: SparseRows, threads: int = 1) -> Floats:
        """Log-odds of all rows.

        Args:
            rows: SparseRows, B of them.
            threads: Accepted for the compiled kernels' sake; one does the work.

        Returns:
            float64, shape (B,).

        Raises:
            ConfigError: `threads` is below 1.
            DataError: The rows have slots or features that the parameters lack.
        """
        checks.check_threads(threads)
        bound = BoundRows(self, rows)
        with np.errstate(all="ignore"):
            return self._margins(bound.rows)


class BoundRows:
    """Rows whose width was checked against a kernel once.

    Args:
        kernel: What gives their margins.
        rows: SparseRows.
    """

    def __init__(self, kernel: Kernel, rows: SparseRows) -> None:
        checks.check_rows(rows, kernel.num_slots, kernel.num_features)
        self.kernel = kernel
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def margin(self, index: int) -> float:
        """Log-odds of one row.

        Args:
            index: From 0.

        Returns:
            The same bits as `margins` of the kernel.

        Raises:
            DataError: There is no such row.
        """
        if not 0 <= index < len(self.rows):
            raise DataError(checks.no_row(index, len(self.rows)))
        with np.errstate(all="ignore"):
            return float(self.kernel._margins(self.rows[index : index + 1])[0])  # noqa: SLF001


class LinearKernel(Kernel):
    """bias + sum of weights times values; see `linear_margins`.

    Args:
        parameters: As the function takes them; kept, not copied.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.num_slots = checks.check_linear(parameters)
        self.parameters = dict(parameters)

    def _margins(self, rows: SparseRows) -> Floats:
        return linear_margins(self.parameters, rows)


class FmKernel(Kernel):
    """A linear model plus all pairs of entries; see `fm_margins`.

    Args:
        parameters: As the function takes them; kept, not copied.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.num_slots, _ = checks.check_fm(parameters)
        self.parameters = dict(parameters)

    def _margins(self, rows: SparseRows) -> Floats:
        return fm_margins(self.parameters, rows)


class FfmKernel(Kernel):
    """As FM, but a slot has another vector for each feature that it meets; see `ffm_margins`.

    Args:
        parameters: As the function takes them; kept, not copied.
        normalize: Whether the pair terms are divided by the row's sum of squared values.
    """

    def __init__(self, parameters: Parameters, *, normalize: bool = False) -> None:
        self.num_slots, self.num_features, _ = checks.check_ffm(parameters)
        self.parameters = dict(parameters)
        self.normalize = normalize

    def _margins(self, rows: SparseRows) -> Floats:
        return ffm_margins(self.parameters, rows, normalize=self.normalize)


class DenseKernel(Kernel):
    """Fully connected layers with ReLU between them; see `dense_margins`.

    Args:
        parameters: As the function takes them; kept, not copied.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.num_slots, _ = checks.check_dense(parameters)
        self.parameters = dict(parameters)

    def _margins(self, rows: SparseRows) -> Floats:
        return dense_margins(self.parameters, rows)


def _wide_values(rows: SparseRows) -> Floats:
    return rows.values.astype(np.float64)


def _row_numbers(rows: SparseRows) -> Integers:
    return np.repeat(np.arange(len(rows)), np.diff(rows.starts))


def _sum(rows: SparseRows, terms_E: Floats) -> Floats:
    """The sum of each row's terms, from its first entry to its last."""
    sums_B = np.bincount(_row_numbers(rows), weights=terms_E, minlength=len(rows))
    return sums_B.astype(np.float64, copy=False)


def _split(rows: SparseRows) -> Iterator[SparseRows]:
    """All rows, in pieces of about `_PAIRS` pairs."""
    lengths_B = np.diff(rows.starts)
    pairs_before = np.cumsum(np.r_[0, lengths_B * (lengths_B - 1) // 2])
    first = 0
    while first < len(rows):
        last = int(np.searchsorted(pairs_before, pairs_before[first] + _PAIRS, side="right")) - 1
        last = max(first + 1, last)
        yield rows[first:last]
        first = last


def _ffm_pairs(parameters: Parameters, rows: SparseRows) -> Floats:
    num_entries = len(rows.slots)
    ends_E = np.repeat(rows.starts[1:], np.diff(rows.starts))
    partners_E = ends_E - 1 - np.arange(num_entries)
    a_P = np.repeat(np.arange(num_entries), partners_E)
    first_E = np.cumsum(partners_E) - partners_E
    b_P = a_P + 1 + np.arange(len(a_P)) - np.repeat(first_E, partners_E)

    latent: Any = parameters["latent"]
    values_E = _wide_values(rows)
    left_Pk = widen(latent[rows.slots[a_P], rows.features[b_P]])
    right_Pk = widen(latent[rows.slots[b_P], rows.features[a_P]])
    terms_Pk = left_Pk * right_Pk * values_E[b_P, None]
    total_B = np.zeros(len(rows))
    for terms_P in terms_Pk.T:
        sums_E = np.bincount(a_P, weights=terms_P, minlength=num_entries)
        total_B = total_B + _sum(rows, sums_E * values_E)
    return total_B


def _sigmoid(margin: float) -> float:
    small = math.exp(-abs(margin))  # never overflows
    return small / (1.0 + small) if margin < 0.0 else 1.0 / (1.0 + small)
