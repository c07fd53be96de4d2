"""Runs of a model that has vectors, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tadka.models import Fit, train
from tests.models import write

NUM_USERS, NUM_ITEMS = 24, 16


def pairs(num_rows: int = 400, *, first_user: int = 100, seed: int = 0) -> pa.Table:
    """Two groups of users, each of which takes the items of its own half."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, NUM_USERS, num_rows)
    item = rng.integers(0, NUM_ITEMS // 2, num_rows) + (user % 2) * (NUM_ITEMS // 2)
    return pa.table({"user": user + first_user, "item": [f"i{number}" for number in item]})


def fit(folder: Path, rows: pa.Table, start: Path | None = None, **model: Any) -> Fit:
    """A training of matrix factorization in this process."""
    values = {
        "data": write(folder / "rows", train=rows),
        "model": {
            "name": "bpr",
            "dim": 8,
            "lr": 0.05,
            "epochs": 6,
            "batch_rows": 64,
            **model,
        },
        "stream": {"on": "here"},
        "tracking": {"offline": True, "folder": str(folder / "runs")},
    }
    return train(values, start=start, progress="none")
