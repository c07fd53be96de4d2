"""Rows that are new begin where their neighbours are."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tadka.models import State, load, train
from tests import models
from tests.models import config, fit, weights

NEW = pa.table(
    {
        "user": [2000, 2000, 2000, 1001, 2001],
        "item": [5001, 5002, 5003, 9000, 9001],
        "label": np.array([1, 1, 0, 1, 1], np.float32),
    }
)


def grown(folder: Path, **model: Any) -> list[tuple[Any, State]]:
    """Weights and state of a run, and of one that starts from it and learns nothing."""
    first = fit(folder / "first", {"name": "tiny", "epochs": 1, **model})
    values = config(folder / "next", {"name": "tiny", "epochs": 1, "lr": 0.0, **model})
    values["data"] |= models.write(folder / "more", train=NEW)
    second = train(values, start=first.folder, progress="none")
    return [(weights(run), load(run.folder).model.state) for run in (first, second)]


def test_new_rows_begin_as_the_mean_of_their_positive_neighbours(tmp_path: Path) -> None:
    (before, old), (after, new) = grown(tmp_path)

    items = before["item.weight"][old.rows("item", np.array([5001, 5002]))]
    user = after["user.weight"][int(new.rows("user", np.array([2000]))[0])]
    assert torch.allclose(items.mean(dim=0), user)  # the third is no positive
    item = after["item.weight"][int(new.rows("item", np.array([9000]))[0])]
    known = before["user.weight"][int(old.rows("user", np.array([1001]))[0])]
    assert torch.allclose(known, item)
    lonely = after["user.weight"][int(new.rows("user", np.array([2001]))[0])]
    assert 0 < lonely.abs().max() < 0.05


def test_one_number_a_row_begins_as_the_mean(tmp_path: Path) -> None:
    (before, _), (after, new) = grown(tmp_path, dim=1)

    row = int(new.rows("user", np.array([2000]))[0])
    mean = float(before["user.weight"][1:].mean())
    assert mean == pytest.approx(float(after["user.weight"][row, 0]))
