"""Gradient-boosted trees of the peers, one row at a time: 100 trees on 30 numbers, some missing."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ctr import clicks

NUM_TREES = 100
Score = tuple[Callable[[Any], Any], list[Any]]


def write_lightgbm(directory: Path) -> None:
    """Train what LightGBM and tadka score with, on 20,000 rows."""
    import lightgbm

    settings = {"objective": "binary", "num_leaves": 63, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(settings, lightgbm.Dataset(*clicks.dense_rows(20_000)), NUM_TREES)
    booster.save_model(str(directory / "lightgbm.txt"))


def write_others(directory: Path) -> None:
    """Train CatBoost's and XGBoost's model on the same rows."""
    import catboost
    import xgboost

    rows, labels = clicks.dense_rows(20_000)
    forest = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 6, "nthread": 1},
        xgboost.DMatrix(rows, labels),
        NUM_TREES,
    )
    forest.save_model(str(directory / "xgboost.json"))
    model = catboost.CatBoostClassifier(
        iterations=NUM_TREES, depth=6, thread_count=1, verbose=0, allow_writing_files=False
    )
    model.fit(rows, labels).save_model(str(directory / "catboost.cbm"))


def rows(num_rows: int = 20_000) -> list[Any]:
    """The rows to score, each an array of its own."""
    return list(clicks.dense_rows(20_000)[0][:num_rows])


def lightgbm_predict(directory: Path) -> Score:
    """`Booster.predict` of an array of one row, with the one thread that the model file names."""
    import lightgbm

    booster = lightgbm.Booster(model_file=directory / "lightgbm.txt")
    predict = booster.predict
    return lambda row: predict(row)[0], [row.reshape(1, -1) for row in rows(5_000)]


def lightgbm_fast(directory: Path) -> Score:
    """Its C interface for single rows, through ctypes: the fastest way there is from Python.

    The Python package does not have it (LightGBM issue 6913).
    """
    import lightgbm
    from lightgbm import basic

    library = basic._LIB  # noqa: SLF001 - nothing public has it
    booster = lightgbm.Booster(model_file=directory / "lightgbm.txt")
    config = ctypes.c_void_p()
    status = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,  # noqa: SLF001
        ctypes.c_int(0),  # the score
        ctypes.c_int(0),
        ctypes.c_int(-1),  # all trees
        ctypes.c_int(1),  # float64
        ctypes.c_int32(clicks.NUM_FEATURES),
        ctypes.c_char_p(b"num_threads=1"),
        ctypes.byref(config),
    )
    if status:
        raise RuntimeError("LGBM_BoosterPredictForMatSingleRowFastInit failed.")
    buffer, out, size = np.empty(clicks.NUM_FEATURES), ctypes.c_double(), ctypes.c_int64()
    address, at_out, at_size = ctypes.c_void_p(buffer.ctypes.data), *map(ctypes.byref, (out, size))
    predict = library.LGBM_BoosterPredictForMatSingleRowFast
    held = booster  # the library keeps only its address

    def score(row: Any) -> float:
        buffer[:] = row
        predict(config, address, at_size, at_out)
        return out.value if held else 0.0

    return score, rows()


def xgboost(directory: Path) -> Score:
    """`Booster.inplace_predict` of an array of one row."""
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=str(directory / "xgboost.json"))
    predict = booster.inplace_predict
    return lambda row: predict(row)[0], [row.reshape(1, -1) for row in rows(2_000)]


def catboost(directory: Path) -> Score:
    """`predict_proba` of a list, its faster input, with one thread."""
    import catboost

    model = catboost.CatBoostClassifier().load_model(str(directory / "catboost.cbm"))
    predict = model.predict_proba
    return lambda row: predict(row, thread_count=1)[1], [row.tolist() for row in rows(2_000)]
