"""tadka's own training, from Parquet files to a trained model in its folder.

An epoch is everything between one and the next: reading, encoding, negatives, steps, the
checkpoint, the log.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelling import rows

models: dict[str, dict[str, Any]] = {
    "fm": {
        "data": "frappe",
        "model": {
            "fields": [f"f{place}" for place in range(10)],
            "dim": rows.FM_DIM,
            "batch_rows": rows.BATCH_ROWS,
        },
    },
    # Steps of one pair after another, as implicit's are: a batch is how they travel, and no more.
    "bpr": {
        "data": "pairs",
        "model": {
            "dim": rows.DIM,
            "optimizer": "rows",
            "lr": 0.05,
            "reg": 0.002,
            "batch_rows": 8 * rows.BATCH_ROWS,
        },
    },
    "bpr_adam": {
        "data": "pairs",
        "model": {"dim": rows.DIM, "batch_rows": rows.BATCH_ROWS},
    },
    "lightgcn": {
        "data": "lastfm",
        "model": {
            "dim": rows.DIM,
            "layers": rows.LAYERS,
            "reg": 1e-4,
            "batch_rows": rows.LIGHTGCN_BATCH_ROWS,
        },
    },
}


class Clock:
    """A run that keeps the time of its epochs."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self.seconds: list[float] = []
        self.cpu_s: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    @property
    def epochs(self) -> Iterator[int]:
        for epoch in self._run.epochs:
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            yield epoch
            self.seconds.append(time.perf_counter() - start_s)
            self.cpu_s.append(time.process_time() - start_cpu_s)


def fit(name: str, directory: str, on: str, *, epochs: int, folder: Path) -> Any:
    """Trains one of `models`.

    Args:
        name: Which.
        directory: Of the data.
        on: `local` or `here`.
        epochs: How many.
        folder: Of the runs.
    """
    from tadka.models import train

    os.chdir(folder)
    known = models[name]
    model = {"name": f"timed_{name.partition('_')[0]}", "module": "modelling.timed"}
    return train(
        {
            "data": {"train": str(Path(directory, known["data"], "train.parquet"))},
            "model": {**model, "epochs": epochs, **known["model"]},
            "stream": {"on": on},
            "tracking": {"offline": True, "folder": str(folder / "runs")},
        },
        progress="none",
    )


def train(directory: str, name: str, on: str = "local") -> dict[str, Any]:
    """One of `models`, as users train it."""
    folder = Path(directory, f"tadka-{name}-{on}-{os.getpid()}")
    folder.mkdir()
    done = fit(name, directory, on, epochs=rows.EPOCHS, folder=folder)
    times = json.loads(Path(done.folder, "times.json").read_text(encoding="utf-8"))
    stages = done.report.stages
    return {
        "epoch_s": times["wall_s"],
        "train_cpu_s": times["cpu_s"],
        "rows": done.report.rows_out // rows.EPOCHS,
        "loss": done.history[-1]["loss"],
        "busy": next(stage.busy_share for stage in stages if stage.kind == "train"),
        "preprocess_busy": next(s.busy_share for s in stages if s.name == "preprocess"),
        "stream_s": done.report.seconds,
    }
