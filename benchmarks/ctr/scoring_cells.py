"""The methods of the benchmark `scoring`; each returns its figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ctr import clicks, timing

Figures = dict[str, Any]
# Scores that a cell hands back, to be compared with the others'.
NUM_SHOWN = 50


def _scored(made: tuple[Callable[[Any], Any], list[Any]], **more: Any) -> Figures:
    score, rows = made
    scores = [float(score(row)) for row in rows[:NUM_SHOWN]]
    us = timing.us_per_call(score, rows, least=5)
    return {"us": us, "scores": scores, "headline": f"{us:.3f} us a row", **more}


def _trained(
    train: Callable[..., dict[str, float]], directory: Path, num_rows: int, **settings: Any
) -> Figures:
    rows = clicks.read_clicks(directory, "train", num_rows)
    valid = clicks.read_clicks(directory, "valid")
    figures = train(rows, valid, **settings)
    figures["base_loss"] = clicks.base_loss(valid.labels)
    speed, loss = figures["rows_per_s"], figures["loss"]
    return {**figures, "headline": f"{speed:,.0f} rows/s, log loss {loss:.4f}"}


def lr_sklearn(_: Path) -> Figures:
    from ctr import linear

    return _scored(linear.score_sklearn(tuned=False))


def lr_sklearn_tuned(_: Path) -> Figures:
    from ctr import linear

    return _scored(linear.score_sklearn(tuned=True))


def lr_numpy(_: Path) -> Figures:
    from ctr import linear

    return _scored(linear.score_numpy())


def lr_numba(_: Path) -> Figures:
    from ctr import linear

    return _scored(linear.score_numba())


def lr_tadka(_: Path) -> Figures:
    from ctr import tadka_scoring

    made, batch = tadka_scoring.score_linear()
    return _scored(made, batch_us=timing.us_per_row(*batch))


def trees_lightgbm(directory: Path) -> Figures:
    from ctr import trees

    return _scored(trees.lightgbm_predict(directory))


def trees_lightgbm_fast(directory: Path) -> Figures:
    from ctr import trees

    return _scored(trees.lightgbm_fast(directory))


def trees_xgboost(directory: Path) -> Figures:
    from ctr import trees

    return _scored(trees.xgboost(directory))


def trees_catboost(directory: Path) -> Figures:
    from ctr import trees

    return _scored(trees.catboost(directory))


def trees_tadka(directory: Path) -> Figures:
    from ctr import tadka_scoring

    made, batch = tadka_scoring.score_trees(directory)
    return _scored(made, batch_us=timing.us_per_row(*batch))


def ffm_numpy(_: Path, bits: int) -> Figures:
    from ctr import ffm

    return _scored(ffm.score_numpy(1 << bits))


def ffm_numba(_: Path, bits: int) -> Figures:
    from ctr import ffm

    return _scored(ffm.score_numba(1 << bits))


def ffm_tadka(_: Path, bits: int) -> Figures:
    from ctr import tadka_scoring

    made, batch = tadka_scoring.score_ffm(1 << bits)
    return _scored(made, batch_us=timing.us_per_row(*batch))


def mlp_onnxruntime(_: Path) -> Figures:
    from ctr import dense

    return _scored(dense.onnxruntime())


def mlp_numpy(_: Path) -> Figures:
    from ctr import dense

    return _scored(dense.numpy())


def mlp_tadka(_: Path) -> Figures:
    from ctr import tadka_scoring

    made, batch = tadka_scoring.score_dense()
    return _scored(made, batch_us=timing.us_per_row(*batch))


def train_lr_sklearn(directory: Path, num_rows: int) -> Figures:
    from ctr import linear

    return _trained(linear.train_sgd, directory, num_rows, tuned=False)


def train_lr_sklearn_tuned(directory: Path, num_rows: int) -> Figures:
    from ctr import linear

    return _trained(linear.train_sgd, directory, num_rows, tuned=True)


def train_ffm_numba(directory: Path, num_rows: int) -> Figures:
    from ctr import ffm

    return _trained(ffm.train_numba, directory, num_rows)


def train_lr_tadka(directory: Path, num_rows: int) -> Figures:
    from ctr import tadka_scoring

    return _trained(tadka_scoring.train_linear, directory, num_rows)


def train_fm_tadka(directory: Path, num_rows: int) -> Figures:
    from ctr import tadka_scoring

    return _trained(tadka_scoring.train_fm, directory, num_rows)


def train_ffm_tadka(directory: Path, num_rows: int) -> Figures:
    from ctr import tadka_scoring

    return _trained(tadka_scoring.train_ffm, directory, num_rows)
