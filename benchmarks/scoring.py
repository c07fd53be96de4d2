"""Scoring one row at a time, and training, on one core.

LR: 30 slots of 2^20. Trees: 100 trees of 63 leaves (LightGBM) or depth 6 (CatBoost, XGBoost) on 30
numbers. FFM: 20 fields, 4 factors, 2^16 slots (21 MB) and 2^20. MLP: 30-64-32-1. Each scores 20,000
distinct rows one by one (fewer where a row takes over 20 us), prepared in the form its call wants.
Training: one epoch over synthetic clicks, 30 features a row in 2^20 slots, a part of the signal in
pairs; log loss is that of 50,000 other rows, so that none is fast by learning nothing. SGD is timed
as documented, rows shuffled, and tuned: in their order (random already), with a better rate. The
FFM in numba is the algorithm of Juan et al. 2016, compiled as numba is fastest (see ctr/ffm.py).
"""

import sys
import tempfile
from pathlib import Path

import harness

SCORES = {
    "LR": {
        "lr_sklearn": "scikit-learn predict_proba, CSR",
        "lr_sklearn_tuned": "scikit-learn, without checks",
        "lr_numpy": "numpy",
        "lr_numba": "numba",
        "lr_tadka": "tadka",
    },
    "Trees": {
        "trees_catboost": "CatBoost",
        "trees_xgboost": "XGBoost",
        "trees_lightgbm": "LightGBM predict",
        "trees_lightgbm_fast": "LightGBM, C interface through ctypes",
        "trees_tadka": "tadka, the LightGBM model",
    },
    "FFM, 2^16 slots": {
        "ffm_numpy 16": "numpy",
        "ffm_numba 16": "numba",
        "ffm_tadka 16": "tadka",
    },
    "FFM, 2^20 slots": {"ffm_numba 20": "numba", "ffm_tadka 20": "tadka"},
    "MLP": {"mlp_onnxruntime": "ONNX Runtime", "mlp_numpy": "numpy", "mlp_tadka": "tadka"},
}
TRAININGS = {
    "train_lr_sklearn": "LR: scikit-learn SGD",
    "train_lr_sklearn_tuned": "LR: scikit-learn SGD, tuned",
    "train_lr_tadka": "LR: tadka",
    "train_fm_tadka": "FM: tadka",
    "train_ffm_numba": "FFM: numba",
    "train_ffm_tadka": "FFM: tadka",
}
# Rows of an epoch that takes about a second.
NUM_ROWS = {"lr": 2_000_000, "fm": 400_000, "ffm": 200_000}
QUICK_ROWS = {"lr": 400_000, "fm": 100_000, "ffm": 60_000}
# What the targets need.
QUICK = (
    "lr_sklearn",
    "lr_numba",
    "lr_tadka",
    "trees_lightgbm",
    "trees_lightgbm_fast",
    "trees_tadka",
    "ffm_numba 16",
    "ffm_tadka 16",
    "train_lr_sklearn",
    "train_lr_sklearn_tuned",
    "train_lr_tadka",
    "train_ffm_numba",
    "train_ffm_tadka",
)
# These score the same models; the rest differ in their trees.
SAME = ("LR", "FFM, 2^16 slots", "FFM, 2^20 slots", "MLP")


def main() -> int:
    bench = harness.Bench(
        "scoring",
        __doc__,
        packages=[
            "tadka",
            "numpy",
            "scikit-learn",
            "numba",
            "lightgbm",
            "xgboost-cpu",
            "catboost",
            "onnxruntime",
        ],
    )
    options = bench.parse()
    harness.use_own_environment()
    from ctr import clicks, trees

    cells = [*(cell for group in SCORES.values() for cell in group), *TRAININGS]
    cells = [c for c in cells if bench.wants(c) and (c in QUICK or not options.quick)]
    sizes = QUICK_ROWS if options.quick else NUM_ROWS
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        if any(cell.startswith("trees") for cell in cells):
            trees.write_lightgbm(Path(directory))
        if {"trees_catboost", "trees_xgboost"} & set(cells):
            trees.write_others(Path(directory))
        if any(cell.startswith("train") for cell in cells):
            clicks.write_clicks(Path(directory), max(sizes.values()))
        # numba leaves its lane vectorizer off unless told; compiled code is kept between cells.
        env = {"NUMBA_SLP_VECTORIZE": "1", "NUMBA_CACHE_DIR": f"{directory}/numba"}
        bench.run([made(cell, directory, sizes, env) for cell in cells])
    set_targets(bench)
    tables = [
        score_table(bench, title, [c for c in SCORES[title] if c in cells]) for title in SCORES
    ]
    tables.append(training_table(bench, [c for c in TRAININGS if c in cells]))
    found = remarks(bench)
    for results in bench.results:
        for figures in results.values():
            figures.pop("scores", None)
    bench.raw["rows"] = sizes
    return bench.finish([table for table in tables if table.rows], found)


def made(cell: str, directory: str, sizes: dict[str, int], env: dict[str, str]) -> harness.Cell:
    method, *numbers = cell.split()
    if cell.startswith("train"):
        numbers = [str(sizes[cell.split("_")[1]])]
    arguments = ["-m", "ctr.cell", "scoring_cells", method, directory, *numbers]
    return harness.Cell(cell, arguments, env)


def set_targets(bench: harness.Bench) -> None:
    for name, peer, mine, aim in (
        ("lr_vs_sklearn", "lr_sklearn", "lr_tadka", ">= 400"),
        ("trees_vs_lightgbm", "trees_lightgbm", "trees_tadka", ">= 5"),
        ("ffm_vs_numba", "ffm_numba 16", "ffm_tadka 16", ">= 0.67"),
    ):
        bench.target(name, bench.ratio((peer, "us"), (mine, "us")), aim)
    for name, peer, mine, aim in (
        ("lr_train_vs_sgd", "train_lr_sklearn", "train_lr_tadka", ">= 2"),
        ("ffm_train_vs_numba", "train_ffm_numba", "train_ffm_tadka", ">= 0.9"),
    ):
        bench.target(name, bench.ratio((mine, "rows_per_s"), (peer, "rows_per_s")), aim)


def score_table(bench: harness.Bench, title: str, cells: list[str]) -> harness.Table:
    rows: list[list[object]] = []
    mine = next((cell for cell in cells if "_tadka" in cell), "")
    for cell in cells:
        name = SCORES[title][cell]
        if cell in bench.missing or cell in bench.failed:
            rows.append([name, "missing" if cell in bench.missing else "failed", "-"])
            continue
        ratio = bench.ratio((cell, "us"), (mine, "us"))
        shown = "-" if ratio is None else f"{ratio:.2f}"
        rows.append([name, harness.spread(bench.values(cell, "us"), 3), shown])
    if mine and bench.values(mine, "batch_us"):
        ratio = bench.ratio((mine, "batch_us"), (mine, "us"))
        batch = harness.spread(bench.values(mine, "batch_us"), 3)
        rows.append(["tadka, all rows in one call", batch, f"{ratio:.2f}"])
    return harness.Table(title, ["method", "us a row", "times tadka's"], rows)


def training_table(bench: harness.Bench, cells: list[str]) -> harness.Table:
    rows: list[list[object]] = []
    for cell in cells:
        if cell in bench.missing or cell in bench.failed:
            state = "missing" if cell in bench.missing else "failed"
            rows.append([TRAININGS[cell], state, "-"])
            continue
        speed = harness.spread(bench.values(cell, "rows_per_s"), 0)
        rows.append([TRAININGS[cell], speed, harness.spread(bench.values(cell, "loss"), 4)])
    return harness.Table(
        "Training, one epoch on one core", ["method", "rows/s", "log loss after it"], rows
    )


def remarks(bench: harness.Bench) -> list[str]:
    """Whether those that should score alike do, and ratios that are no targets."""
    found = []
    for title in SAME:
        lists = [
            results[cell]["scores"]
            for results in bench.results
            for cell in SCORES[title]
            if cell in results
        ]
        if len(lists) > 1:
            apart = max(max(column) - min(column) for column in zip(*lists, strict=True))
            verdict = "agree" if apart < 1e-5 else "DO NOT AGREE"
            found.append(f"scores of {title} {verdict}: largest difference {apart:.1e}")
    booster = [
        abs(mine - theirs)
        for results in bench.results
        if "trees_tadka" in results and "trees_lightgbm" in results
        for mine, theirs in zip(
            results["trees_tadka"]["scores"], results["trees_lightgbm"]["scores"], strict=True
        )
    ]
    if booster:
        found.append(f"scores of the LightGBM model: largest difference {max(booster):.1e}")
    fast = bench.ratio(("trees_lightgbm_fast", "us"), ("trees_tadka", "us"))
    if fast is not None:
        found.append(f"LightGBM through its C interface (not in its Python package): {fast:.2f}")
    tuned = bench.ratio(("train_lr_tadka", "rows_per_s"), ("train_lr_sklearn_tuned", "rows_per_s"))
    if tuned is not None:
        found.append(f"LR training against SGD tuned, rows in their order: {tuned:.2f}")
    for results in bench.results[:1]:
        base = next((r["base_loss"] for r in results.values() if "base_loss" in r), None)
        if base is not None:
            found.append(f"log loss of always answering the mean: {base:.4f}")
    return found


if __name__ == "__main__":
    sys.exit(main())
