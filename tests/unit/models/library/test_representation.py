"""The representation model: vectors over a sampled graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tadka.models import load, train
from tests import models
from tests.models import config

NUM_USERS, NUM_ITEMS = 60, 40
SMALL = {"name": "representation", "dim": 8, "hidden": [8], "negatives": 4, "table_lr": 0.3}


def taken(*, held_out: bool) -> pa.Table:
    """Pairs inside four groups of users and items; a fifth of them is held out."""
    user, item = np.divmod(np.arange(NUM_USERS * NUM_ITEMS), NUM_ITEMS)
    chosen = (user % 4 == item % 4) & (((user * 3 + item) % 5 == 0) == held_out)
    return pa.table({"user": user[chosen] + 10, "item": item[chosen] + 1000})


def fit(folder: Path, **model: Any) -> Any:
    values = config(folder, {"lr": 0.01, **SMALL, **model})
    values["data"] = models.write(
        folder / "pairs", train=taken(held_out=False), test=taken(held_out=True)
    )
    return train(values, progress="none")


def test_held_out_pairs_are_found(tmp_path: Path) -> None:
    done = fit(tmp_path, epochs=12)

    assert done.metrics["recall@10"] > 0.9  # 10 at random of 40: 0.25
    trained = load(done.folder)
    vectors = trained.vectors()
    assert (NUM_USERS + 1, 16) == vectors["user"].shape
    rows = taken(held_out=True).slice(0, 5)
    users = trained.model.state.rows("user", rows["user"].to_numpy())
    items = trained.model.state.rows("item", rows["item"].to_numpy())
    expected = (vectors["user"][users] * vectors["item"][items]).sum(axis=1)
    assert trained.predict(rows)["score"].to_numpy() == pytest.approx(expected, abs=1e-5)


def test_all_neighbours_give_the_scores_of_the_whole_graph(tmp_path: Path) -> None:
    model = load(fit(tmp_path, epochs=1, fanouts=[0, 0]).folder)
    rows = {name: taken(held_out=False)[name].to_numpy()[:6] for name in ("user", "item")}
    batch = model.model.train_preprocess(rows, np.random.default_rng(0))  # type: ignore[call-arg]
    around = batch["around"].to_tensors(torch.device("cpu"))
    net = model.learnt
    with torch.no_grad():
        found = net({"user": torch.tensor(batch["user"]), "around": around}).numpy()

    vectors = model.vectors()
    items = np.concatenate([batch["item"][:, None], batch["negative"]], axis=1)
    expected = np.einsum("bk,bnk->bn", vectors["user"][batch["user"]], vectors["item"][items])
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_step_changes_the_rows_of_its_batch_alone(tmp_path: Path) -> None:
    model = load(fit(tmp_path, epochs=1, fanouts=[1, 1], negatives=1).folder)
    rows = {name: taken(held_out=False)[name].to_numpy()[:2] for name in ("user", "item")}
    batch = model.model.train_preprocess(rows, np.random.default_rng(0))  # type: ignore[call-arg]
    around = batch["around"].to_tensors(torch.device("cpu"))
    net = model.learnt.train()
    before = net.user.values.clone()
    net({"user": torch.tensor(batch["user"]), "around": around}).square().sum().backward()

    changed = np.flatnonzero((net.user.values != before).any(dim=1).numpy())
    assert 0 < len(changed) < NUM_USERS // 2
    assert set(changed) <= set(around.users.tolist())
