"""Boosted trees as LightGBM makes them, and a search for their parameters as Optuna makes it.

Letters of shapes: N rows, F features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.core.extra import require

_PATIENCE = 30  # trees without a better judgement after which a trial ends
_LEAST_ROWS = 20  # fewer cannot be cut in two


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Rows to learn from.

    Args:
        features: Shape (N, F); categories are whole numbers, and NaN is a value like others.
        labels: Shape (N,).
        categories: Places of the categories among the features.
    """

    features: npt.NDArray[np.float64]
    labels: npt.NDArray[np.float32]
    categories: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, rows: npt.NDArray[np.int64]) -> "Table":
        """Some of the rows.

        Args:
            rows: Their numbers.
        """
        return Table(
            features=self.features[rows], labels=self.labels[rows], categories=self.categories
        )


def settings(*, target: str, seed: int, threads: int, **parameters: Any) -> dict[str, Any]:
    """Parameters of LightGBM with which equal rows give equal trees.

    Args:
        target: `binary` or `rating`.
        seed: Of draws of features and rows.
        threads: Of LightGBM.
        parameters: Further ones.
    """
    is_binary = target == "binary"
    return {
        "objective": "binary" if is_binary else "regression",
        "metric": "auc" if is_binary else "rmse",
        "seed": seed,
        "num_threads": threads,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
        **parameters,
    }


def boosted(table: Table, given: Mapping[str, Any], trees: int, start: Path | None = None) -> Any:
    """Trees of all rows.

    Args:
        table: Rows.
        given: Parameters, see `settings`.
        trees: How many.
        start: File of trees that these come after.

    Returns:
        `lightgbm.Booster`.

    Raises:
        DataError: There are no rows.
        MissingExtra: LightGBM is not installed.

    Source: Ke et al. 2017, "LightGBM: a highly efficient gradient boosting decision tree".
    """
    if not len(table):
        raise DataError("There are no rows to learn trees from.")
    lightgbm = require("lightgbm", extra="trees")
    before = None if start is None else str(start)
    return lightgbm.train(dict(given), _dataset(lightgbm, table), trees, init_model=before)


def searched(
    table: Table, given: Mapping[str, Any], *, trials: int, trees: int, share: float
) -> tuple[dict[str, Any], int, float]:
    """The parameters that do best on a part of the rows that they are not learnt from.

    Args:
        table: Rows.
        given: Parameters, see `settings`; the first trial.
        trials: Sets of parameters to try, at least 1.
        trees: The most trees.
        share: Of the rows, to judge by.

    Returns:
        Parameters, a number of trees, and what they reached: area under the curve, or the root of
        the mean squared error. Too few rows to cut: the given ones, `trees` and NaN.

    Raises:
        MissingExtra: LightGBM or Optuna is not installed.

    Source: Akiba et al. 2019, "Optuna", arXiv:1907.10902, with its sampler TPE.
    """
    if len(table) < _LEAST_ROWS:
        return dict(given), trees, float("nan")
    lightgbm, optuna = require("lightgbm", extra="trees"), require("optuna", extra="trees")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    order_N = np.random.default_rng(given["seed"]).permutation(len(table))
    num_judged = min(max(1, round(len(table) * share)), len(table) - 1)
    learnt, judged = table.of(order_N[num_judged:]), table.of(order_N[:num_judged])
    metric = given["metric"]

    def run(trial: Any) -> float:
        tried = {**given, **_drawn(trial)}
        train = _dataset(lightgbm, learnt)
        booster = lightgbm.train(
            tried,
            train,
            trees,
            [_dataset(lightgbm, judged, train)],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        trial.set_user_attr("trees", booster.best_iteration)
        return float(booster.best_score["valid_0"][metric])

    study = optuna.create_study(
        direction="maximize" if metric == "auc" else "minimize",
        sampler=optuna.samplers.TPESampler(seed=given["seed"]),
    )
    study.enqueue_trial({name: given[name] for name in ("learning_rate", "num_leaves")})
    study.optimize(run, n_trials=trials)
    best = study.best_trial
    return {**given, **best.params}, int(best.user_attrs["trees"]), float(best.value)


def _drawn(trial: Any) -> dict[str, Any]:
    """A set of parameters, from ranges that suit thousands to millions of rows."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 128, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 100, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 10.0, log=True),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 100.0, log=True),
    }


def _dataset(lightgbm: Any, table: Table, reference: Any = None) -> Any:
    return lightgbm.Dataset(
        table.features,
        table.labels,
        categorical_feature=list(table.categories),
        reference=reference,
        free_raw_data=False,
    )
