"""How LR, FM and FFM learn from sparse rows, in NumPy and Python.

The truth for trainer.pyx, which has the same functions, and its stand-in where it was not built:
the same float32 operations in the same order, so that one thread of it gives the same bits. Some
ten to a thousand times slower.

Shapes: B rows, E entries, S slots, F features, k latent dimensions, P pairs of a row's entries.
Parameters stand beside their accumulated squared gradients:
    linear_S2: [w, n] of a slot; under FTRL [z, n].
    latent_SF2k: [v, n] of a slot and feature; F is 1 for FM.
    bias: [b, n], float64.
"""

import math
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

FTRL, FM, FFM = 1, 2, 3
"""Kinds of `run`; 0 is linear with AdaGrad."""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def shuffle(order: npt.NDArray[np.int64], seed: int) -> None:
    """Fills `order` with 0..B-1 in a random order that depends on the seed alone.

    Args:
        order: Shape (B,); what it holds before does not matter.
        seed: In [0, 2^64).

    Source: Fisher and Yates 1938 as Durstenfeld 1964 has it, over splitmix64 (Steele, Lea and
    Flood 2014). The remainder's bias is below B / 2^64.
    """
    places = list(range(len(order)))
    state = seed
    for i in range(len(places) - 1, 0, -1):
        state = (state + _GOLDEN) & _MASK
        j = _mix(state) % (i + 1)
        places[i], places[j] = places[j], places[i]
    order[:] = places


def fill(cells: Floats, seed: int, low: float, high: float) -> None:
    """Starts latent parameters: uniform in [low, high), accumulated squares 1.

    Args:
        cells: Shape (cells, 2, k). Each number depends on the seed and its place alone.
        seed: In [0, 2^64).
        low: Least value.
        high: Bound of the values.
    """
    num_cells, _, k = cells.shape
    width = np.float32(high) - np.float32(low)
    piece = max(1, (1 << 20) // k)
    for first in range(0, num_cells, piece):
        last = min(num_cells, first + piece)
        place = np.arange(first * k + 1, last * k + 1, dtype=np.uint64)
        state = np.uint64(seed) + place * np.uint64(_GOLDEN)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
        unit = (state >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        cells[first:last, 0] = (np.float32(low) + width * unit).reshape(-1, k)
    cells[:, 1] = 1


def run(
    kind: int,
    starts: npt.NDArray[np.int64],
    slots: npt.NDArray[np.int32],
    values: Floats,
    features: npt.NDArray[np.uint16],
    bias: Doubles,
    linear: Floats | None,
    latent: Floats | None,
    *,
    first: int,
    last: int,
    longest: int,
    labels: Floats | None = None,
    weights: Floats | None = None,
    order: npt.NDArray[np.int64] | None = None,
    margins: Doubles | None = None,
    normalize: bool = False,
    rate: float = 0,
    l1: float = 0,
    l2: float = 0,
    beta: float = 0,
) -> float:
    """Learns from rows one by one, or with `margins` only scores them.

    Args:
        kind: 0 linear with AdaGrad, or FTRL, FM, FFM.
        starts: Shape (B + 1,).
        slots: Shape (E,).
        values: Shape (E,).
        features: Shape (E,).
        bias: Changed in place where it learns.
        linear: Changed in place where it learns; None leaves bias and linear weights out.
        latent: Changed in place where it learns; None for linear models.
        first: First row, as a place in `order`.
        last: Row to stop before.
        longest: Entries of the longest row.
        labels: 0 or 1, shape (B,).
        weights: Shape (B,); None weighs each row 1.
        order: Rows to visit; None visits them as they stand.
        margins: Shape (B,); set for each row visited, and nothing is learnt.
        normalize: Whether FFM's pairs are divided by the sum of the row's squared values.
        rate: Learning rate; FTRL's alpha.
        l1: FTRL only.
        l2: Of each slot that a row touches; not of the bias.
        beta: FTRL's; 0 otherwise.

    Returns:
        Sum of weighted log losses, each before its row was learnt. NaN as soon as a margin is.

    Source: AdaGrad, Duchi, Hazan and Singer 2011; FTRL-proximal, McMahan et al. 2013, algorithm 1;
    FM, Rendle 2010, equations 1 and 4; FFM, Juan et al. 2016, algorithm 1.
    """
    del longest  # the compiled path makes room for it
    loss = 0.0
    step_rate, step_l1, step_l2, step_beta = (np.float32(x) for x in (rate, l1, l2, beta))
    for place in range(first, last):
        row = place if order is None else int(order[place])
        entries = slice(int(starts[row]), int(starts[row + 1]))
        slot_E, x_E = slots[entries], values[entries]
        is_distinct = len(set(slot_E.tolist())) == len(slot_E)
        margin, scale = 0.0, np.float32(1)
        w_E = n_E = sums = x_E
        if linear is not None:
            w_E, n_E = linear[slot_E, 0], linear[slot_E, 1]
            if kind == FTRL:
                w_E = ftrl_weights(w_E, n_E, step_rate, step_l1, step_l2, step_beta)
            margin = _sum(np.float64(bias[0]), w_E.astype(np.float64) * x_E.astype(np.float64))
        if kind == FM:
            assert latent is not None
            part_Ek = latent[slot_E, 0, 0] * x_E[:, None]
            sums, squares = _total(part_Ek), _total(part_Ek * part_Ek)
            doubled = sums.astype(np.float64) ** 2 - squares.astype(np.float64)
            margin += 0.5 * _sum(np.float64(0), doubled)
        elif kind == FFM:
            assert latent is not None
            feature_E = features[entries]
            is_distinct &= len(set(feature_E.tolist())) == len(feature_E)
            if normalize:
                x_double_E = x_E.astype(np.float64)
                total = _sum(np.float64(0), x_double_E * x_double_E)
                scale = np.float32(1 / total) if total > 0 else np.float32(0)
            a_P, b_P = _pairs(len(slot_E))
            x_P = x_E[a_P] * x_E[b_P] * scale
            cell_a, cell_b = (slot_E[a_P], feature_E[b_P]), (slot_E[b_P], feature_E[a_P])
            parts = latent[*cell_a, 0] * latent[*cell_b, 0] * x_P[:, None]
            margin += _sum(np.float64(0), _total(parts).astype(np.float64))
        if margins is not None:
            margins[row] = margin
            continue
        if math.isnan(margin):
            return margin
        assert labels is not None
        weight = 1.0 if weights is None else float(weights[row])
        tail = math.exp(-abs(margin))
        probability = (1 if margin >= 0 else tail) / (1 + tail)
        if labels[row] > 0:
            gradient = weight * (probability - 1)
            loss += weight * (math.log1p(tail) + (-margin if margin < 0 else 0))
        else:
            gradient = weight * probability
            loss += weight * (math.log1p(tail) + max(0, margin))
        kappa = np.float32(gradient)
        if linear is not None:
            bias[1] += gradient * gradient
            bias[0] -= rate * gradient / (beta + math.sqrt(bias[1]))
            if kind == FTRL:
                g_E = kappa * x_E
                square_E = g_E * g_E
                step_E = -(g_E - (np.sqrt(n_E + square_E) - np.sqrt(n_E)) / step_rate * w_E)
            else:
                g_E = kappa * x_E + step_l2 * w_E
                square_E = g_E * g_E
                step_E = step_rate * g_E / np.sqrt(n_E + square_E)
            np.subtract.at(linear[:, 0], slot_E, step_E)
            np.add.at(linear[:, 1], slot_E, square_E)
        if kind == FM:
            assert latent is not None
            for i in (slot_E,) if is_distinct else slot_E[:, None]:
                x = x_E if is_distinct else x_E[:1]
                v_Ek, n_Ek = latent[i, 0, 0], latent[i, 0, 1]
                g_Ek = (kappa * x)[:, None] * (sums - v_Ek * x[:, None]) + step_l2 * v_Ek
                latent[i, 0, 1], latent[i, 0, 0] = _adagrad(v_Ek, n_Ek, g_Ek, step_rate)
                x_E = x_E if is_distinct else x_E[1:]
        elif kind == FFM and len(a_P):
            assert latent is not None
            kappa_P = kappa * x_P
            for p in (slice(None),) if is_distinct else (slice(i, i + 1) for i in range(len(a_P))):
                a, b = (cell_a[0][p], cell_a[1][p]), (cell_b[0][p], cell_b[1][p])
                v_a, n_a, v_b, n_b = latent[*a, 0], latent[*a, 1], latent[*b, 0], latent[*b, 1]
                factor = kappa_P[p, None]
                new_a = _adagrad(v_a, n_a, factor * v_b + step_l2 * v_a, step_rate)
                new_b = _adagrad(v_b, n_b, factor * v_a + step_l2 * v_b, step_rate)
                latent[*a, 1], latent[*a, 0] = new_a
                latent[*b, 1], latent[*b, 0] = new_b
    return loss


def ftrl_weights(
    z: Floats, n: Floats, alpha: np.float32, l1: np.float32, l2: np.float32, beta: np.float32
) -> Floats:
    """Weights that FTRL's sums stand for: 0 where |z| is at most l1.

    Args:
        z: Sums of adjusted gradients, any shape.
        n: Sums of squared gradients, of the same shape.
        alpha: Learning rate.
        l1: Pull to exactly 0.
        l2: Pull towards 0.
        beta: Smooths the first steps.

    Returns:
        Of the same shape.

    Source: McMahan et al. 2013, algorithm 1.
    """
    side = np.where(z > 0, l1, -l1)
    weights = -(z - side) / ((beta + np.sqrt(n)) / alpha + l2)
    return np.where(np.abs(z) <= l1, np.float32(0), weights)


def _adagrad(v: Floats, n: Floats, gradient: Floats, rate: np.float32) -> tuple[Floats, Floats]:
    new_n = n + gradient * gradient
    step = rate * gradient / np.sqrt(new_n)
    return new_n, np.asarray(v - step, np.float32)


def _sum(start: np.float64, parts: Doubles) -> float:
    """One after the other; np.sum adds in pairs."""
    return float(np.add.accumulate(np.concatenate([[start], parts]))[-1])


def _total(parts: Floats) -> Floats:
    """Sums of the columns, one row after the other."""
    if not len(parts):
        return np.zeros(parts.shape[1], np.float32)
    return np.asarray(np.add.accumulate(parts, axis=0, dtype=np.float32)[-1])


@cache
def _pairs(num: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    a, b = np.triu_indices(num, 1)
    return np.asarray(a, np.int64), np.asarray(b, np.int64)


def _mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)
