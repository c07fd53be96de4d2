"""A field-aware factorization machine in numba: one row's score, and libffm's epoch.

The algorithm is that of Juan, Zhuang, Chin and Lin, "Field-aware Factorization Machines for CTR
Prediction" (RecSys 2016), with libffm's choices: AdaGrad, weights and accumulators side by side,
a uniform start, normalised rows. No linear part, as there.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import float32, njit, uint64

from ctr import clicks

DIM = clicks.DIM
NUM_FIELDS = 20
# 2^16 slots of 20 fields and 4 floats: 21 MB, the note's table; every row touches 20 places of it.
SMALL_SLOTS = 1 << 16


def table(num_slots: int) -> npt.NDArray[np.float32]:
    """Weights of the model that all score with, shape (slots, fields, dim)."""
    random = np.random.default_rng(13)
    shape = (num_slots, NUM_FIELDS, DIM)
    found: npt.NDArray[np.float32] = random.random(shape, np.float32) * 0.5 - np.float32(0.25)
    return found


def rows(num_slots: int) -> npt.NDArray[np.int32]:
    """20,000 rows, one slot of each field."""
    return clicks.sparse_rows(20_000, NUM_FIELDS, num_slots)


def compiled(function: Any) -> Any:
    """As numba is fastest here: a division that may be by zero needs no branch (`error_model`),
    and with NUMBA_SLP_VECTORIZE=1 (scoring.py sets it) four lanes become one instruction; both
    are off by default. Indexes are unsigned, which saves numba's check for negative ones.
    """
    return njit(fastmath=True, error_model="numpy", cache=True)(function)


@compiled
def _score(latent: Any, row: Any) -> float:
    num = uint64(len(row))
    total = float32(0.0)
    for a in range(num):
        for b in range(a + uint64(1), num):
            for d in range(uint64(DIM)):
                total += latent[uint64(row[a]), b, d] * latent[uint64(row[b]), a, d]
    return 1.0 / (1.0 + math.exp(-total))


def score_numba(num_slots: int) -> tuple[Callable[[Any], Any], list[Any]]:
    """A compiled loop, called once a row; it takes the field of an entry from its position."""
    latent = table(num_slots)
    return lambda row: _score(latent, row), list(rows(num_slots))


def score_numpy(num_slots: int) -> tuple[Callable[[Any], Any], list[Any]]:
    """All pairs at once by indexing."""
    latent = table(num_slots)
    first, second = np.triu_indices(NUM_FIELDS, 1)

    def score(row: npt.NDArray[np.int64]) -> float:
        sides = latent[row[first], second], latent[row[second], first]
        return 1.0 / (1.0 + math.exp(-np.einsum("pd,pd->", *sides)))

    return score, list(rows(num_slots).astype(np.int64)[:5_000])


@compiled
def _step(
    latent: Any,
    slot_a: Any,
    field_b: Any,
    slot_b: Any,
    field_a: Any,
    scale: Any,
    rate: Any,
    penalty: Any,
) -> None:
    """AdaGrad on one pair. Four lanes by hand, all loads first: only so does LLVM join them."""
    i0, i1, i2, i3 = uint64(0), uint64(1), uint64(2), uint64(3)
    i4, i5, i6, i7 = uint64(4), uint64(5), uint64(6), uint64(7)
    a0, a1 = latent[slot_a, field_b, i0], latent[slot_a, field_b, i1]
    a2, a3 = latent[slot_a, field_b, i2], latent[slot_a, field_b, i3]
    b0, b1 = latent[slot_b, field_a, i0], latent[slot_b, field_a, i1]
    b2, b3 = latent[slot_b, field_a, i2], latent[slot_b, field_a, i3]
    m0, m1 = latent[slot_a, field_b, i4], latent[slot_a, field_b, i5]
    m2, m3 = latent[slot_a, field_b, i6], latent[slot_a, field_b, i7]
    n0, n1 = latent[slot_b, field_a, i4], latent[slot_b, field_a, i5]
    n2, n3 = latent[slot_b, field_a, i6], latent[slot_b, field_a, i7]
    g0, g1 = penalty * a0 + scale * b0, penalty * a1 + scale * b1
    g2, g3 = penalty * a2 + scale * b2, penalty * a3 + scale * b3
    h0, h1 = penalty * b0 + scale * a0, penalty * b1 + scale * a1
    h2, h3 = penalty * b2 + scale * a2, penalty * b3 + scale * a3
    m0, m1, m2, m3 = m0 + g0 * g0, m1 + g1 * g1, m2 + g2 * g2, m3 + g3 * g3
    n0, n1, n2, n3 = n0 + h0 * h0, n1 + h1 * h1, n2 + h2 * h2, n3 + h3 * h3
    latent[slot_a, field_b, i4], latent[slot_a, field_b, i5] = m0, m1
    latent[slot_a, field_b, i6], latent[slot_a, field_b, i7] = m2, m3
    latent[slot_b, field_a, i4], latent[slot_b, field_a, i5] = n0, n1
    latent[slot_b, field_a, i6], latent[slot_b, field_a, i7] = n2, n3
    latent[slot_a, field_b, i0] = a0 - rate * g0 / math.sqrt(m0)
    latent[slot_a, field_b, i1] = a1 - rate * g1 / math.sqrt(m1)
    latent[slot_a, field_b, i2] = a2 - rate * g2 / math.sqrt(m2)
    latent[slot_a, field_b, i3] = a3 - rate * g3 / math.sqrt(m3)
    latent[slot_b, field_a, i0] = b0 - rate * h0 / math.sqrt(n0)
    latent[slot_b, field_a, i1] = b1 - rate * h1 / math.sqrt(n1)
    latent[slot_b, field_a, i2] = b2 - rate * h2 / math.sqrt(n2)
    latent[slot_b, field_a, i3] = b3 - rate * h3 / math.sqrt(n3)


@compiled
def _epoch(
    latent: Any,
    starts: Any,
    slots: Any,
    fields: Any,
    values: Any,
    labels: Any,
    rate: float,
    penalty: float,
) -> float:
    """`latent` has shape (slots, fields, 2 * DIM): weights, then their accumulators."""
    one, rate, penalty = float32(1.0), float32(rate), float32(penalty)
    loss = 0.0
    for row in range(uint64(len(labels))):
        first, last = uint64(starts[row]), uint64(starts[row + uint64(1)])
        norm = float32(0.0)
        for a in range(first, last):
            norm += values[a] * values[a]
        norm = one / norm
        total = float32(0.0)
        for a in range(first, last):
            slot_a, field_a, value_a = uint64(slots[a]), uint64(fields[a]), values[a] * norm
            for b in range(a + uint64(1), last):
                slot_b, field_b = uint64(slots[b]), uint64(fields[b])
                scale = value_a * values[b]
                for d in range(uint64(DIM)):
                    total += latent[slot_a, field_b, d] * latent[slot_b, field_a, d] * scale
        sign = one if labels[row] > 0.5 else -one
        odds = float32(math.exp(-sign * total))
        loss += math.log1p(odds)
        kappa = -sign * odds / (one + odds)
        for a in range(first, last):
            slot_a, field_a = uint64(slots[a]), uint64(fields[a])
            value_a = values[a] * norm * kappa
            for b in range(a + uint64(1), last):
                slot_b, field_b = uint64(slots[b]), uint64(fields[b])
                scale = value_a * values[b]
                _step(latent, slot_a, field_b, slot_b, field_a, scale, rate, penalty)
    return loss


@compiled
def _margins(latent: Any, slots: Any) -> Any:
    margins = np.zeros(len(slots), np.float32)
    norm = np.float32(1.0 / slots.shape[1])
    for row in range(len(slots)):
        for a in range(slots.shape[1]):
            for b in range(a + 1, slots.shape[1]):
                for d in range(DIM):
                    margins[row] += latent[slots[row, a], b, d] * latent[slots[row, b], a, d] * norm
    return margins


def train_numba(train: clicks.Clicks, valid: clicks.Clicks) -> dict[str, float]:
    """One epoch at libffm's settings: rate 0.2, penalty 2e-5; compiled before the clock starts."""
    random = np.random.default_rng(1)
    latent = np.empty((clicks.NUM_SLOTS, clicks.NUM_FEATURES, 2 * DIM), np.float32)
    latent[:, :, :DIM] = random.random((clicks.NUM_SLOTS, clicks.NUM_FEATURES, DIM), np.float32)
    latent[:, :, :DIM] *= np.float32(1.0 / math.sqrt(DIM))
    latent[:, :, DIM:] = 1.0

    def epoch(part: clicks.Clicks, state: npt.NDArray[np.float32]) -> None:
        starts, slots = part.starts(), part.slots.reshape(-1)
        fields, values = part.features().astype(np.int32), part.values()
        begun = time.perf_counter()
        _epoch(state, starts, slots, fields, values, part.labels, 0.2, 2e-5)
        spent.append(time.perf_counter() - begun)

    spent: list[float] = []
    # A stranger of the same types compiles it.
    epoch(clicks.Clicks(train.slots[:2] % 64, train.labels[:2]), latent[:64].copy())
    epoch(train, latent)
    loss = clicks.log_loss(valid.labels, _margins(latent, valid.slots))
    return {"rows_per_s": len(train) / spent[-1], "loss": loss}
