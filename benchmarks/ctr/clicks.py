"""Synthetic clicks: 30 categories a row over 2^20 slots, some crosses among them; also dense rows.

A part of the signal is linear and a part lies in pairs of features, so that LR learns something
and FM and FFM learn more.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NUM_FEATURES = 30
NUM_SLOTS = 1 << 20
NUM_VALID = 50_000
DIM = 4
# Pairs of features whose latent vectors decide with them.
_PAIRS = ((0, 1), (2, 5), (3, 7), (8, 12), (10, 15))


@dataclass(frozen=True)
class Clicks:
    """Rows of `NUM_FEATURES` entries of value 1.

    Args:
        slots: int32, shape (rows, NUM_FEATURES).
        labels: 0 or 1, float32, shape (rows,).
    """

    slots: npt.NDArray[np.int32]
    labels: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def starts(self) -> npt.NDArray[np.int64]:
        """Entry at which each row starts, and the end."""
        return np.arange(len(self) + 1, dtype=np.int64) * NUM_FEATURES

    def values(self) -> npt.NDArray[np.float32]:
        """One for each entry."""
        return np.ones(self.slots.size, np.float32)

    def features(self) -> npt.NDArray[np.uint16]:
        """Feature of each entry."""
        return np.tile(np.arange(NUM_FEATURES, dtype=np.uint16), len(self))

    def csr(self) -> Any:
        """As scipy has it, float32."""
        from scipy import sparse

        parts = (self.values(), self.slots.reshape(-1), self.starts().astype(np.int32))
        return sparse.csr_matrix(parts, shape=(len(self), NUM_SLOTS))


def write_clicks(directory: Path, num_rows: int, seed: int = 3) -> None:
    """Write ``train_*.npy`` with `num_rows` rows and ``valid_*.npy`` with `NUM_VALID`."""
    random = np.random.default_rng(seed)
    counts = np.geomspace(3, 200_000, NUM_FEATURES).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    if offsets[-1] > NUM_SLOTS:
        raise ValueError(f"{offsets[-1]} values do not fit {NUM_SLOTS} slots")
    weights = random.normal(0.0, 0.25, NUM_SLOTS)
    latent = random.normal(0.0, 0.8, (NUM_FEATURES, 64, DIM))
    for part, rows in (("train", num_rows), ("valid", NUM_VALID)):
        picks = np.empty((rows, NUM_FEATURES), np.int64)
        for feature, count in enumerate(counts):
            picks[:, feature] = count * random.random(rows) ** 3  # few values are frequent
        margins = weights[picks + offsets[:-1]].sum(1) - 1.5
        for a, b in _PAIRS:
            margins += (latent[a][picks[:, a] % 64] * latent[b][picks[:, b] % 64]).sum(1)
        labels = random.random(rows) < 1.0 / (1.0 + np.exp(-margins))
        # An odd factor scatters the values over the table, as hashing does, without collisions.
        slots = (picks + offsets[:-1]) * 0x9E3779B1 % NUM_SLOTS
        np.save(directory / f"{part}_slots.npy", slots.astype(np.int32))
        np.save(directory / f"{part}_labels.npy", labels.astype(np.float32))


def read_clicks(directory: Path, part: str, num_rows: int | None = None) -> Clicks:
    """The first `num_rows` rows of "train" or "valid"; all without."""
    slots = np.load(directory / f"{part}_slots.npy")[:num_rows]
    return Clicks(slots, np.load(directory / f"{part}_labels.npy")[:num_rows])


def log_loss(labels: npt.NDArray[Any], margins: npt.NDArray[Any]) -> float:
    """Mean of -log(probability of the label), from log-odds."""
    signed = np.where(labels > 0.5, margins, -margins).astype(np.float64)
    return float(np.logaddexp(0.0, -signed).mean())


def base_loss(labels: npt.NDArray[Any]) -> float:
    """Log loss of the mean: what learning nothing gives."""
    mean = float(labels.mean())
    return float(-(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)))


def sparse_rows(num_rows: int, num_entries: int, num_slots: int) -> npt.NDArray[np.int32]:
    """Distinct rows of slots spread over a table, as hashing spreads them."""
    random = np.random.default_rng(5)
    return random.integers(0, num_slots, (num_rows, num_entries)).astype(np.int32)


def dense_rows(num_rows: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Numbers with some of them missing, and labels that depend on them; for trees."""
    random = np.random.default_rng(9)
    rows = random.normal(0.0, 1.0, (num_rows, NUM_FEATURES))
    margins = rows[:, :8].sum(1) * 0.4 + rows[:, 8] * rows[:, 9] - np.abs(rows[:, 10])
    labels = (random.random(num_rows) < 1.0 / (1.0 + np.exp(-margins))).astype(np.float64)
    rows[:, ::6][random.random((num_rows, 5)) < 0.1] = np.nan
    return rows, labels
