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


class Clock:
    """A run that keeps the time of its epochs."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    @property
    def epochs(self) -> Iterator[int]:
        for epoch in self._run.epochs:
            start_s = time.perf_counter()
            yield epoch
            self.seconds.append(time.perf_counter() - start_s)


def fm(directory: str, on: str = "local") -> dict[str, Any]:
    """Factorization machine on the clicks."""
    names = [f"f{place}" for place in range(10)]
    return _fit(
        directory,
        "frappe",
        on,
        {"name": "timed_fm", "fields": names, "dim": rows.FM_DIM, "batch_rows": rows.BATCH_ROWS},
    )


def bpr(directory: str, on: str = "local") -> dict[str, Any]:
    """Matrix factorization by BPR on the made-up pairs."""
    more = {"name": "timed_bpr", "dim": rows.DIM, "batch_rows": rows.BATCH_ROWS}
    return _fit(directory, "pairs", on, more)


def lightgcn(directory: str, on: str = "local") -> dict[str, Any]:
    """LightGCN on LastFM."""
    return _fit(
        directory,
        "lastfm",
        on,
        {
            "name": "timed_lightgcn",
            "dim": rows.DIM,
            "layers": rows.LAYERS,
            "reg": 1e-4,
            "batch_rows": rows.LIGHTGCN_BATCH_ROWS,
        },
    )


def _fit(directory: str, data: str, on: str, model: dict[str, Any]) -> dict[str, Any]:
    from tadka.models import train

    os.chdir(directory)
    fit = train(
        {
            "data": {"train": str(Path(directory, data, "train.parquet"))},
            "model": {"module": "modelling.timed", "epochs": rows.EPOCHS, **model},
            "stream": {"on": on},
            "tracking": {"offline": True, "folder": str(Path(directory, f"runs-{model['name']}"))},
        },
        progress="none",
    )
    seconds = json.loads(Path(fit.folder, "times.json").read_text(encoding="utf-8"))
    report = fit.report
    train_stage = next(stage for stage in report.stages if stage.kind == "train")
    return {
        "epoch_s": seconds,
        "rows": report.rows_out // rows.EPOCHS,
        "loss": fit.history[-1]["loss"],
        "train_busy": train_stage.busy_share,
        "preprocess_busy": max(s.busy_share for s in report.stages if s.kind == "stage"),
    }
