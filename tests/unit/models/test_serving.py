"""A trained model scores live rows as it scores tables."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models import export, train
from tadka.scoring import load
from tests import models


def table(num_rows: int = 400, *, seed: int = 0) -> pa.Table:
    """Ids, texts and a number, of which the label follows."""
    rng = np.random.default_rng(seed)
    user = rng.integers(0, 20, num_rows) * 7 + 5
    word = rng.choice(["mild", "hot", "sour", "sw\u00eat"], num_rows)
    price = rng.normal(3, 2, num_rows).astype(np.float32)
    label = ((user % 3 == 0) ^ (word == "hot")) | (price > 5)
    return pa.table(
        {
            "user": user,
            "word": word,
            "price": price,
            "label": (label ^ (rng.random(num_rows) < 0.1)).astype(np.float32),
        }
    )


def trained(folder: Path, name: str, **params: Any) -> Any:
    given = {"fields": ["user", "word"], "numbers": ["price"], "epochs": 3, **params}
    values = models.config(
        folder,
        {"name": name, **given},
        data=models.write(folder / "live", train=table()),
        check={"max_duplicates": 1.0},
    )
    if name == "trees":
        del values["model"]["lr"]
    return train(values, progress="none").load()


@pytest.mark.parametrize(
    ("name", "params"),
    [("logistic", {}), ("fm", {"dim": 5}), ("trees", {"trials": 0, "trees": 20, "epochs": 1})],
    ids=["logistic", "fm", "trees"],
)
def test_live_rows_score_as_tables_do(tmp_path: Path, name: str, params: dict[str, Any]) -> None:
    model = trained(tmp_path, name, **params)
    export(model, tmp_path / "out")

    rows = table(60, seed=1)
    rows = rows.set_column(0, "user", pa.array([999, *rows["user"].to_pylist()[1:]]))
    rows = rows.set_column(1, "word", pa.array([*rows["word"].to_pylist()[:-1], "bitter"]))
    expected = model.predict(rows)["probability"].to_numpy()
    made = load(tmp_path / "out" / "model")
    np.testing.assert_allclose(expected, made.predict(rows), rtol=0, atol=2e-6)
    assert 0.05 < np.ptp(expected)
    code = "from tadka.scoring import load; print(load('model').features.__name__)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'out'}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert "Rows" == told.stdout.strip()


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"name": "tiny"}, "Model 'tiny' has no form"),
        ({"name": "fm", "target": "rating"}, "model.target=binary"),
        ({"name": "fm", "history": True}, "model.history=True"),
    ],
    ids=["kind", "rating", "history"],
)
def test_what_scoring_has_not_is_refused(
    tmp_path: Path, params: dict[str, Any], words: str
) -> None:
    model = models.fit(tmp_path, params).load()

    with pytest.raises(ConfigError, match=words):
        export(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    model = models.fit(tmp_path, {"name": "fm"}).load()
    (tmp_path / "out").mkdir()

    with pytest.raises(DataError, match="exists"):
        export(model, tmp_path / "out")
