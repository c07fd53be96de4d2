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
from numba import njit

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


@njit(fastmath=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _score(latent: Any, row: Any) -> float:
    total = np.float32(0.0)
    for a in range(len(row)):
        for b in range(a + 1, len(row)):
            for d in range(DIM):
                total += latent[row[a], b, d] * latent[row[b], a, d]
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


@njit(fastmath=True, cache=True, boundscheck=False)  # type: ignore[untyped-decorator,unused-ignore]
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
    rate, penalty = np.float32(rate), np.float32(penalty)
    loss = 0.0
    for row in range(len(labels)):
        first, last = starts[row], starts[row + 1]
        norm = np.float32(0.0)
        for a in range(first, last):
            norm += values[a] * values[a]
        norm = np.float32(1.0) / norm
        total = np.float32(0.0)
        for a in range(first, last):
            slot_a, field_a, value_a = slots[a], fields[a], values[a] * norm
            for b in range(a + 1, last):
                slot_b, field_b = slots[b], fields[b]
                part = np.float32(0.0)
                for d in range(DIM):
                    part += latent[slot_a, field_b, d] * latent[slot_b, field_a, d]
                total += part * value_a * values[b]
        sign = np.float32(1.0) if labels[row] > 0.5 else np.float32(-1.0)
        odds = np.float32(math.exp(-sign * total))
        loss += math.log1p(odds)
        kappa = -sign * odds / (np.float32(1.0) + odds)
        for a in range(first, last):
            slot_a, field_a, value_a = slots[a], fields[a], values[a] * norm * kappa
            for b in range(a + 1, last):
                slot_b, field_b = slots[b], fields[b]
                scale = value_a * values[b]
                for d in range(DIM):
                    mine, other = latent[slot_a, field_b, d], latent[slot_b, field_a, d]
                    step_a = penalty * mine + scale * other
                    step_b = penalty * other + scale * mine
                    sum_a = latent[slot_a, field_b, DIM + d] + step_a * step_a
                    sum_b = latent[slot_b, field_a, DIM + d] + step_b * step_b
                    latent[slot_a, field_b, DIM + d] = sum_a
                    latent[slot_b, field_a, DIM + d] = sum_b
                    latent[slot_a, field_b, d] = mine - rate * step_a / math.sqrt(sum_a)
                    latent[slot_b, field_a, d] = other - rate * step_b / math.sqrt(sum_b)
    return loss / len(labels)


@njit(fastmath=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _margins(latent: Any, slots: Any) -> Any:
    margins = np.zeros(len(slots), np.float32)
    norm = np.float32(1.0 / slots.shape[1])
    for row in range(len(slots)):
        for a in range(slots.shape[1]):
            for b in range(a + 1, slots.shape[1]):
                for d in range(DIM):
                    margins[row] += (
                        latent[slots[row, a], b, d] * latent[slots[row, b], a, d] * norm
                    )
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
    epoch(clicks.Clicks(train.slots[:2] % 64, train.labels[:2]), latent[:64].copy())
    epoch(train, latent)
    loss = clicks.log_loss(valid.labels, _margins(latent, valid.slots))
    return {"rows_per_s": len(train) / spent[-1], "loss": loss}
