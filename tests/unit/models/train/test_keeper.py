"""Which weights are kept, by what validation says."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from tadka.models.train.keeper import EpochLoss, Keeper


class Told:
    """A run whose validation says what it is told to."""

    rank, world_size = 0, 1

    def __init__(self, name: str, values: list[float]) -> None:
        self._name, self._values = name, iter(values)

    def validate(self, net: nn.Module) -> dict[str, float]:
        return {self._name: next(self._values)}


def weight_of(keeper: Keeper) -> float:
    return float(keeper.best().state_dict()["weight"])


def kept(task: Any, name: str, values: list[float], *, patience: int = 2) -> tuple[int, float]:
    """Epochs that were run, and the weight that was kept: that of epoch e is e."""
    net = nn.Linear(1, 1, bias=False)
    keeper, run = Keeper(net, task, average=0.0, patience=patience), Told(name, values)
    for epoch in range(len(values)):
        nn.init.constant_(net.weight, epoch)
        if keeper.ends(run):  # type: ignore[arg-type]
            break
    return epoch + 1, weight_of(keeper)


@pytest.mark.parametrize(
    ("task", "name", "values", "expected"),
    [
        ("binary", "valid_auc", [0.5, 0.7, 0.6, 0.6, 0.9], (4, 1)),
        ("rating", "valid_rmse", [0.9, 0.8, 0.8, 0.7, 0.7], (5, 3)),
        ("binary", "valid_auc", [math.nan, 0.6, math.nan, 0.5, 0.9], (4, 1)),
        ("binary", "valid_auc", [math.nan, math.nan, 0.5], (2, 1)),
        ("class", "valid_own_error", [3.0, 2.0, 2.5, 2.6], (4, 1)),
    ],
    ids=["up", "down", "NaN between", "all NaN: the last", "another metric"],
)
def test_the_best_weights(
    task: str, name: str, values: list[float], expected: tuple[int, float]
) -> None:
    assert expected == kept(task, name, values)


def test_the_mean_of_weights_is_validated_and_kept() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 8.0)
    keeper = Keeper(net, "rating", average=0.75, patience=0)
    for value in (4.0, 0.0):
        nn.init.constant_(net.weight, value)
        keeper.step()

    # 8 -> 0.75 * 8 + 0.25 * 4 = 7 -> 0.75 * 7
    assert weight_of(keeper) == pytest.approx(5.25)


def test_the_loss_of_an_epoch_goes_through_a_checkpoint() -> None:
    loss = EpochLoss(torch.device("cpu"))
    loss.add(torch.tensor(2.0), 3)
    other = EpochLoss(torch.device("cpu"))
    other.load_state_dict(loss.state_dict())
    other.add(torch.tensor(6.0), 1)

    assert other.take() == 3.0
    assert other.take() == 0.0
