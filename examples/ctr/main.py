"""A linear model, an FM and an FFM on three data sets, beside scikit-learn's logistic regression.

    python examples/ctr/main.py                     # data sets in ../shared/data, or TADKA_DATA
    python examples/ctr/main.py frappe --out models # one of them, and keep the models

All methods get the same encoded rows. A tenth of the training rows is held out: our models stop by
it and choose their learning rate by it, scikit-learn its C. The figures are of test rows that
nothing was chosen by.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import rows
import tables
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from tadka.scoring import Examples, Ffm, Fm, Learner, Linear, Training, auc, log_loss

DATA_SETS = {
    "frappe": (tables.read_frappe, rows.AppUse),
    "adult": (tables.read_adult, rows.Person),
    "ml-100k": (tables.read_movielens, rows.Like),
}
MODELS = {
    "Linear": Linear,
    "Fm": partial(Fm, dim=16),
    "Ffm": partial(Ffm, dim=8),
}


def fit_best(
    make: Callable[..., Learner], features: type, train: Examples, valid: Examples
) -> Learner:
    """The best of three learning rates."""
    fits = []
    for rate in (0.02, 0.05, 0.2):
        # One thread, so that a run repeats exactly.
        training = Training(learning_rate=rate, l2=1e-4, epochs=40, patience=3, threads=1)
        fits.append(make(features, training=training).fit(train, valid=valid, progress="auto"))
    return min(fits, key=lambda model: model.metrics["valid_log_loss"])


class SklearnModel:
    """scikit-learn's logistic regression with the best of three strengths of regularisation.

    It keeps a dense vector of all slots, so it gets only those that the training rows have.
    """

    def __init__(self, train: Examples, valid: Examples) -> None:
        self.slots = np.unique(train.rows.slots)
        x_train, x_valid = self._matrix(train), self._matrix(valid)
        fits = [
            LogisticRegression(C=strength, max_iter=300).fit(x_train, train.labels)
            for strength in (0.1, 1.0, 10.0)
        ]
        losses = [log_loss(valid.labels, fit.predict_proba(x_valid)[:, 1]) for fit in fits]
        self.best = fits[int(np.argmin(losses))]

    def predict(self, examples: Examples) -> np.ndarray:
        return self.best.predict_proba(self._matrix(examples))[:, 1]

    def _matrix(self, examples: Examples) -> csr_matrix:
        rows = examples.rows
        whole = csr_matrix((rows.values, rows.slots, rows.starts), (len(rows), rows.num_slots))
        return whole[:, self.slots]


def compare(name: str, data: Path, out: Path | None) -> list[dict[str, object]]:
    """One line for each method."""
    read, features = DATA_SETS[name]
    train_table, test_table = read(data)
    learn_table, valid_table = tables.hold_out(train_table)
    train, valid, test = (
        Examples.read(table, features) for table in (learn_table, valid_table, test_table)
    )
    lines = []

    def add(method: str, scores: np.ndarray, seconds: float) -> None:
        lines.append(
            {
                "data": name,
                "method": method,
                "log_loss": log_loss(test.labels, scores),
                "auc": auc(test.labels, scores),
                "train_s": seconds,
            }
        )

    start = time.perf_counter()
    peer = SklearnModel(train, valid)
    seconds = time.perf_counter() - start
    add("scikit-learn LR", peer.predict(test), seconds)
    for method, make in MODELS.items():
        start = time.perf_counter()
        model = fit_best(make, features, train, valid)
        seconds = time.perf_counter() - start
        scores = model.predict(test_table)
        add(method, scores, seconds)
        check_single_rows(model, test_table, scores)
        if out is not None:
            model.save(out / f"{name}-{method}", replace=True)
    return lines


def check_single_rows(model: Learner, table: pa.Table, scores: np.ndarray) -> None:
    """A row scored alone, from the bytes of a request, has the score it has in its column."""
    fields = [field.name for field in model.features.definition().fields]
    picked = table.select(fields).slice(0, 2000)
    for number, values in enumerate(picked.to_pylist()):
        row = model.features(**values)
        alone = model.score(row.to_message())
        if alone != scores[number]:
            sys.exit(f"Row {number} scores {alone!r} alone and {scores[number]!r} in columns.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_sets", nargs="*", choices=[*DATA_SETS, []], help="default: all")
    parser.add_argument("--out", type=Path, help="folder for the model directories")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    data = Path(os.environ.get("TADKA_DATA", default))
    if not data.is_dir():
        sys.exit(f"There is no folder {data} with the data sets. Set TADKA_DATA to it.")
    names = arguments.data_sets or list(DATA_SETS)
    lines = [line for name in names for line in compare(name, data, arguments.out)]
    if arguments.json:
        print(json.dumps(lines))
        return
    table = Table("data", "method", "log loss", "AUC", "seconds")
    for line in lines:
        table.add_row(
            str(line["data"]),
            str(line["method"]),
            f"{line['log_loss']:.4f}",
            f"{line['auc']:.4f}",
            f"{line['train_s']:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
