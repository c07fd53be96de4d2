"""The machine's passes in one go against the ordinary ones, and steps of pairs in training."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import tadka.models.net.fm as fm_module
from tadka.core.error import StageError
from tadka.models.net.fm import FMNet
from tadka.models.net.groups import Groups
from tadka.models.net.steps import PairSteps
from tadka.models.train.flow import train


def _net() -> FMNet:
    torch.manual_seed(0)
    return FMNet(Groups({"user": 6, "item": 8, "day": 7}, 5), bias=0.3)


def _batch(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    fields = np.stack([rng.integers(0, size, 40) for size in (6, 8, 7)], axis=1)
    return {
        "fields": torch.from_numpy(fields),
        "label": torch.from_numpy(rng.integers(0, 2, 40).astype(np.float32)),
    }


def _fit(net: FMNet, steps: int = 30) -> list[float]:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for step in range(steps):
        batch = _batch(step % 4)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(batch), batch["label"])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_scores_gradients_and_training_are_those_of_the_plain_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, plain = _net(), _net()
    fused = _fit(ours)
    monkeypatch.setattr(fm_module, "takes", lambda _: False)
    ordinary = _fit(plain)
    assert fused[-1] < fused[0]
    np.testing.assert_allclose(fused, ordinary, rtol=1e-4)
    torch.testing.assert_close(
        ours.groups.fields.weight, plain.groups.fields.weight, rtol=1e-3, atol=1e-4
    )


def test_other_types_of_numbers_take_the_plain_passes() -> None:
    net, batch = _net().double(), _batch()
    assert net(batch).dtype == torch.float64
    torch.testing.assert_close(net(batch).float(), _net()(batch))


def test_an_empty_batch_has_no_scores() -> None:
    found = _net()({"fields": torch.zeros((0, 3), dtype=torch.int64)})
    assert found.shape == (0,)


def test_steps_of_pairs_keep_their_sums_in_checkpoints() -> None:
    user, item = torch.randn(5, 4), torch.randn(6, 4)
    batch = {
        "user": torch.tensor([1, 2, 3]),
        "item": torch.tensor([1, 2, 3]),
        "negative": torch.tensor([[4], [5], [1]]),
    }
    whole = [table.clone() for table in (user, item)]
    steps = PairSteps(*whole, lr=0.1, reg=0.01)
    first, second = float(steps.step(batch)), float(steps.step(batch))
    assert second < first
    halves = [table.clone() for table in (user, item)]
    before = PairSteps(*halves, lr=0.1, reg=0.01)
    before.step(batch)
    after = PairSteps(*halves, lr=0.1, reg=0.01)
    after.load_state_dict(before.state_dict())
    after.step(batch)
    for one, other in zip(whole, halves, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def _config(folder: Path, **model: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    user, group = rng.integers(0, 60, 1500), rng.integers(0, 25, 1500)
    item = 2 * group + user % 2  # users like every other item
    path = folder / "pairs.parquet"
    pq.write_table(pa.table({"user": user, "item": item}), path)
    return {
        "data": {"train": str(path)},
        "model": {"name": "bpr", "dim": 8, "epochs": 4, "batch_rows": 256, **model},
        "stream": {"on": "here"},
        "tracking": {"offline": True, "folder": str(folder / "runs")},
    }


def test_bpr_trained_pair_by_pair_learns_as_much_as_by_adam(tmp_path: Path) -> None:
    rows = train(_config(tmp_path, optimizer="rows", lr=0.1), progress="none")
    adam = train(_config(tmp_path, optimizer="adam", lr=0.01), progress="none")
    assert rows.history[-1]["loss"] < min(0.5, adam.history[-1]["loss"])


def test_a_model_without_steps_of_rows_says_so(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="has no steps of rows"):
        train(_config(tmp_path, name="lightgcn", optimizer="rows"), progress="none")
