"""Models that rank, learnt from pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.models import load, train
from tests import models
from tests.models import config

NAMES = ("bpr", "lightgcn", "two_tower")
NUM_USERS, NUM_ITEMS = 60, 40


def taken(*, held_out: bool) -> pa.Table:
    """Pairs inside four groups of users and items; a fifth of them is held out."""
    user, item = np.divmod(np.arange(NUM_USERS * NUM_ITEMS), NUM_ITEMS)
    is_pair = user % 4 == item % 4
    is_held_out = (user * 3 + item) % 5 == 0
    chosen = is_pair & (is_held_out == held_out)
    return pa.table({"user": user[chosen] + 10, "item": item[chosen] + 1000})


def ranking_config(folder: Path, model: dict[str, Any]) -> dict[str, Any]:
    values = config(folder, {"dim": 8, "lr": 0.05, "epochs": 12, **model})
    values["data"] = models.write(
        folder / "pairs", train=taken(held_out=False), test=taken(held_out=True)
    )
    return values


@pytest.mark.parametrize("name", NAMES)
def test_held_out_pairs_are_found(tmp_path: Path, name: str) -> None:
    model = {"name": name} if name == "two_tower" else {"name": name, "reg": 0.001}
    done = train(ranking_config(tmp_path, model), progress="none")

    assert done.metrics["recall@10"] > 0.95  # 10 at random of 40: 0.25
    trained = load(done.folder)
    vectors = trained.vectors()
    assert (NUM_USERS + 1, 8) == vectors["user"].shape
    assert (NUM_ITEMS + 1, 8) == vectors["item"].shape
    rows = trained.model.predict_preprocess({"user": [10, 11], "item": [1000, 1000]})
    products = (vectors["user"][rows["user"]] * vectors["item"][rows["item"]]).sum(1)
    scores = trained.predict({"user": [10, 11], "item": [1000, 1000]})["score"].to_numpy()
    scale = 0.1 if name == "two_tower" else 1.0  # cosines over the temperature
    assert scores * scale == pytest.approx(products, abs=1e-5)
    assert np.isfinite(trained.predict({"user": [1], "item": [2]})["score"].to_numpy()).all()


def test_negatives_are_items_that_the_user_has_not(tmp_path: Path) -> None:
    done = train(ranking_config(tmp_path, {"name": "bpr", "epochs": 1}), progress="none")
    model: Any = load(done.folder).model
    rows = {"user": np.full(200, 10), "item": np.full(200, 1000)}

    batch = model.train_preprocess(rows, np.random.default_rng(0))
    again = model.train_preprocess(rows, np.random.default_rng(0))

    seen = model.state.rows("item", taken(held_out=False)["item"].to_numpy()[:8])
    assert (200, 1) == batch["negative"].shape
    assert not np.isin(batch["negative"], seen).any()
    assert (batch["negative"] == again["negative"]).all()
    assert batch["negative"].min() >= 1


def test_no_layers_are_matrix_factorization(tmp_path: Path) -> None:
    shared = {"batch_rows": 128, "epochs": 2, "reg": 0.01}
    plain = train(ranking_config(tmp_path / "a", {"name": "bpr", **shared}), progress="none")
    graph = train(
        ranking_config(tmp_path / "b", {"name": "lightgcn", "layers": 0, **shared}),
        progress="none",
    )

    first, second = load(plain.folder).vectors(), load(graph.folder).vectors()
    assert first["user"] == pytest.approx(second["user"], abs=1e-6)
