"""tadka's own training loop over arrays in memory: what streaming is compared with.

The same model and the same loop; rows are encoded before, and each epoch takes them in another
order. Checkpoints and the log are left out, as with a loop that somebody writes.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modelling import rows
from modelling.tadka_fit import Clock, fit, models


class Memory:
    """What `Model.train` has in its hands, without a stream."""

    rank, world_size, weight, start, has_validation = 0, 1, 1.0, None, False

    def __init__(self) -> None:
        self.epochs = range(rows.EPOCHS)
        self.loss = 0.0

    def log(self, **numbers: float) -> None:
        self.loss = numbers["loss"]

    def validate(self, learnt: Any) -> dict[str, float]:  # noqa: ARG002
        return {}

    def save(self, learnt: Any, **more: Any) -> None:
        """Nothing."""

    def save_if_due(self, learnt: Any, **more: Any) -> None:
        """Nothing."""

    def restore(self, learnt: Any, **more: Any) -> bool:  # noqa: ARG002
        return False


class Batches:
    """Batches of arrays; each epoch in another order."""

    def __init__(self, whole: dict[str, Any], batch_rows: int) -> None:
        self._whole = whole
        self._batch_rows = batch_rows
        self._rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        order = self._rng.permutation(len(next(iter(self._whole.values()))))
        for start in range(0, len(order), self._batch_rows):
            at = order[start : start + self._batch_rows]
            yield {name: values[at] for name, values in self._whole.items()}


def fm(directory: str) -> dict[str, Any]:
    """Factorization machine on the clicks."""
    return _train("fm", directory)


def bpr(directory: str) -> dict[str, Any]:
    """Matrix factorization by BPR on the made-up pairs; the negatives stay the same."""
    return _train("bpr", directory)


def lightgcn(directory: str) -> dict[str, Any]:
    """LightGCN on LastFM; the negatives stay the same."""
    return _train("lightgcn", directory)


def _train(name: str, directory: str) -> dict[str, Any]:
    import inspect

    import pyarrow.parquet as pq

    from tadka.models import load

    place = Path(directory, f"memory-{name}-{os.getpid()}")
    place.mkdir()
    made = fit(name, directory, "here", epochs=1, folder=place)  # vocabularies and prepared arrays
    model = load(made.folder).model
    table = pq.read_table(Path(directory, models[name]["data"], "train.parquet"))
    columns = {column: table[column].to_numpy() for column in table.column_names}
    more = {}
    if "rng" in inspect.signature(model.train_preprocess).parameters:
        more["rng"] = np.random.default_rng(0)
    whole = model.train_preprocess(columns, **more)
    run = Memory()
    clock = Clock(run)
    begun_s = time.perf_counter()
    type(model).__mro__[1].train(
        model, Batches(whole, model.batch_rows), clock
    )  # not the timed one
    return {
        "epoch_s": clock.seconds,
        "train_cpu_s": clock.cpu_s,
        "rows": len(table),
        "loss": run.loss,
        "wall_s": time.perf_counter() - begun_s,
    }
