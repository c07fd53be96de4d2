"""Logistic regression of the peers: one row's score, and an epoch of learning."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ctr import clicks

BIAS = -1.5
Score = tuple[Callable[[Any], Any], list[Any]]


def weights() -> npt.NDArray[np.float32]:
    """Of the linear model that all score with."""
    random = np.random.default_rng(11)
    return random.normal(0.0, 0.2, clicks.NUM_SLOTS).astype(np.float32)


def rows() -> npt.NDArray[np.int32]:
    """20,000 rows of 30 slots."""
    return clicks.sparse_rows(20_000, clicks.NUM_FEATURES, clicks.NUM_SLOTS)


def score_sklearn(*, tuned: bool) -> Score:
    """`predict_proba` of one CSR row; tuned without the checks for NaN and for settings.

    The rows are CSR before the clock starts. 2,000 of them: each costs over a hundred microseconds.
    """
    import sklearn
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression()
    model.coef_ = weights().astype(np.float64)[None, :]
    model.intercept_ = np.array([BIAS])
    model.classes_ = np.array([0, 1])
    model.n_features_in_ = clicks.NUM_SLOTS
    ones = np.ones(clicks.NUM_FEATURES)
    starts = np.array([0, clicks.NUM_FEATURES], np.int32)
    shape = (1, clicks.NUM_SLOTS)
    matrices = [
        sparse.csr_matrix((ones, np.sort(row), starts), shape=shape) for row in rows()[:2_000]
    ]
    if tuned:
        sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    predict = model.predict_proba
    return lambda row: predict(row)[0, 1], matrices


def score_numpy() -> Score:
    """`take` and a sum."""
    table, exp = weights(), math.exp
    take = table.take
    return (
        lambda row: 1.0 / (1.0 + exp(-(take(row).sum() + BIAS))),
        list(rows().astype(np.int64)),
    )


def score_numba() -> Score:
    """A compiled loop, called once a row."""
    from numba import float32, uint64

    from ctr import ffm

    @ffm.compiled
    def score(table: Any, row: Any, bias: float) -> float:
        total = float32(0.0)
        for slot in row:
            total += table[uint64(slot)]
        return 1.0 / (1.0 + math.exp(-(total + bias)))

    table = weights()
    return lambda row: score(table, row, BIAS), list(rows())


def train_sgd(train: clicks.Clicks, valid: clicks.Clicks, *, tuned: bool) -> dict[str, float]:
    """One epoch of SGDClassifier; tuned without shuffling, and with less regularisation.

    As documented it takes the rows in random order, which costs cache misses; these rows are in
    random order already. Of the settings tried these learn best in one epoch.
    """
    from sklearn.linear_model import SGDClassifier

    settings: dict[str, Any] = {}
    if tuned:
        settings = {"alpha": 1e-6, "learning_rate": "constant", "eta0": 0.02, "shuffle": False}
    model = SGDClassifier(loss="log_loss", max_iter=1, tol=None, random_state=1, **settings)
    matrix, labels = train.csr(), train.labels.astype(np.int64)
    begun_at = time.perf_counter()
    model.fit(matrix, labels)
    wall_s = time.perf_counter() - begun_at
    table = model.coef_[0]
    margins = table[valid.slots].sum(1) + model.intercept_[0]
    return {"rows_per_s": len(train) / wall_s, "loss": clicks.log_loss(valid.labels, margins)}
