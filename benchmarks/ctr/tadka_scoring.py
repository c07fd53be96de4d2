"""What the cells of `scoring` call of tadka: the one place that knows its names."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ctr import clicks, dense, ffm, linear, trees
from tadka.features import SparseRows
from tadka.scoring import Dense, Examples, Ffm, Fm, Linear, Training, Trees
from tadka.scoring.backend import make_matrix_kernel

Score = tuple[Callable[[Any], Any], list[Any]]
Batch = tuple[Callable[[], Any], int]


def _rows(slots: npt.NDArray[np.int32], num_slots: int) -> SparseRows:
    """Rows with one entry of value 1 for each feature."""
    num_rows, num_features = slots.shape
    return SparseRows(
        np.arange(num_rows + 1, dtype=np.int64) * num_features,
        slots.reshape(-1),
        np.ones(slots.size, np.float32),
        np.tile(np.arange(num_features, dtype=np.uint16), num_rows),
        num_slots,
        num_features,
    )


def _one_by_one(model: Any, rows: SparseRows) -> tuple[Score, Batch]:
    """A call a row, by its number, of rows bound to the kernel once; and all rows in one call."""
    margin, exp = model.make_kernel().bind(rows).margin, math.exp
    score = lambda index: 1.0 / (1.0 + exp(-margin(index)))  # noqa: E731
    return (score, list(range(len(rows)))), (lambda: model.predict(rows), len(rows))


def score_linear() -> tuple[Score, Batch]:
    model = Linear().take({"bias": np.array([linear.BIAS]), "linear": linear.weights()})
    return _one_by_one(model, _rows(linear.rows(), clicks.NUM_SLOTS))


def score_ffm(num_slots: int) -> tuple[Score, Batch]:
    arrays = {
        "bias": np.zeros(1),
        "linear": np.zeros(num_slots, np.float32),
        "latent": ffm.table(num_slots),
    }
    model = Ffm(dim=ffm.DIM, normalize=False).take(arrays)
    return _one_by_one(model, _rows(ffm.rows(num_slots), num_slots))


def score_dense() -> tuple[Score, Batch]:
    model, values = Dense.from_layers(dense.layers()), dense.rows()
    num_rows, num_features = values.shape
    numbers = np.tile(np.arange(num_features, dtype=np.int32), num_rows)
    rows = SparseRows(
        np.arange(num_rows + 1, dtype=np.int64) * num_features,
        numbers,
        values.reshape(-1),
        numbers.astype(np.uint16),
        num_features,
        num_features,
    )
    return _one_by_one(model, rows)


def score_trees(directory: Path) -> tuple[Score, Batch]:
    """The LightGBM model, flattened."""
    model = Trees.from_library(directory / "lightgbm.txt")
    rows, kernel, exp = trees.rows(), make_matrix_kernel(model.forest), math.exp
    margin, matrix = kernel.margin_row, np.stack(rows)
    score = lambda row: 1.0 / (1.0 + exp(-margin(row)))  # noqa: E731
    return (score, rows), (lambda: model.margins(matrix), len(rows))


def train_linear(train: clicks.Clicks, valid: clicks.Clicks) -> dict[str, float]:
    """The whole `fit`, as SGDClassifier's; rows in random order, too."""
    return _train(Linear(training=_training(0.05)), train, valid, whole=True)


def train_fm(train: clicks.Clicks, valid: clicks.Clicks) -> dict[str, float]:
    return _train(Fm(dim=8, training=_training(0.05)), train, valid)


def train_ffm(train: clicks.Clicks, valid: clicks.Clicks) -> dict[str, float]:
    """The same algorithm with a linear part, which learns better at half of libffm's rate."""
    return _train(Ffm(dim=ffm.DIM, training=_training(0.1)), train, valid)


def _training(rate: float) -> Training:
    return Training(epochs=1, threads=1, learning_rate=rate, l2=2e-5)


def _train(
    model: Any, train: clicks.Clicks, valid: clicks.Clicks, *, whole: bool = False
) -> dict[str, float]:
    """One epoch; its own seconds unless `whole`, which counts everything that `fit` does.

    Parameters of FM and FFM are filled at random before the epoch, in numba outside its clock, too.
    """
    examples = Examples(_rows(train.slots, clicks.NUM_SLOTS), train.labels)
    begun_at = time.perf_counter()
    model.fit(examples)
    wall_s = time.perf_counter() - begun_at
    epoch_s = model.curve[0].seconds
    margins = model.margins(_rows(valid.slots, clicks.NUM_SLOTS))
    return {
        "rows_per_s": len(train) / (wall_s if whole else epoch_s),
        "epoch_rows_per_s": len(train) / epoch_s,
        "loss": clicks.log_loss(valid.labels, margins),
    }
