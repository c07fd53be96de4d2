"""Models of recommendation go on from a trained one when new users and items have come."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.models import load, train
from tests import models
from tests.models import config, ratings


@pytest.mark.parametrize(
    "model",
    [
        {"name": "fm", "history": True},
        {"name": "bpr"},
        {"name": "lightgcn", "batch_rows": 200},
        {"name": "two_tower"},
        {"name": "gcmc", "batch_rows": 300},
    ],
    ids=lambda model: model["name"],
)
def test_rows_that_were_there_keep_their_place(tmp_path: Path, model: dict[str, Any]) -> None:
    old = ratings(300)
    new = ratings(200, seed=5)
    new = new.set_column(0, "user", pa.array(new["user"].to_numpy() + 10))
    first = train(_config(tmp_path / "first", model, old), progress="none")

    values = _config(tmp_path / "next", {**model, "lr": 0.0}, pa.concat_tables([old, new]))
    second = train(values, start=first.folder, progress="none")

    before, after = load(first.folder), load(second.folder)
    known = np.unique(old["user"].to_numpy())
    assert (before.model.state.rows("user", known) == after.model.state.rows("user", known)).all()
    assert before.model.state.size("user") < after.model.state.size("user")
    rows = {"user": [1035, 1000], "item": [5001, 5001]}  # new to the first, and known to both
    assert np.isfinite(after.predict(rows)["score"].to_numpy()).all()
    if model["name"] in ("bpr", "two_tower"):  # the others look at the new pairs, too
        scores = [each.predict(rows)["score"][1].as_py() for each in (before, after)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def _config(folder: Path, model: dict[str, Any], rows: pa.Table) -> dict[str, Any]:
    values = config(folder, {"epochs": 1, **model})
    values["data"] = models.write(folder / "data", train=rows)
    return values
