"""What a torch loop keeps beside network and optimizer, so that checkpoints have all of it."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tadka.models.define.model import Task
from tadka.models.measure.best import badness
from tadka.models.train.run import ModelRun

_MONITOR = {
    "binary": "valid_auc",
    "rating": "valid_rmse",
    "class": "valid_accuracy",
    "ranking": "valid_ndcg@20",
}


class Keeper:
    """Which weights are kept: the last, the mean of the last ones, or the best.

    Args:
        net: That is trained.
        task: Chooses the metric that says which are the best.
        average: As `TorchModel` has it.
        patience: Likewise.
    """

    def __init__(self, net: nn.Module, task: Task, *, average: float, patience: int) -> None:
        self._net = net
        self._metric = _MONITOR[task]
        self._average = average
        self._patience = patience
        self._mean = copy.deepcopy(net) if average else None
        self._best: dict[str, Tensor] | None = None
        self._best_value = math.nan
        self._num_worse = 0

    def step(self) -> None:
        """The optimizer has made a step."""
        if self._mean is None:
            return
        with torch.no_grad():
            for mean, now in zip(self._mean.parameters(), self._net.parameters(), strict=True):
                mean.lerp_(now, 1 - self._average)
            for kept, seen in zip(self._mean.buffers(), self._net.buffers(), strict=True):
                kept.copy_(seen)

    def ends(self, run: ModelRun) -> bool:
        """Validates at an epoch's end; whether it was the last epoch."""
        found = run.validate((self._mean or self._net).eval())
        is_over = False
        if self._patience:
            if run.rank == 0:
                is_over = self._judge(found)
            if run.world_size > 1:
                told = torch.tensor(float(is_over), device=next(self._net.parameters()).device)
                torch.distributed.broadcast(told, 0)
                is_over = bool(told)
        return is_over

    def _judge(self, found: Mapping[str, float]) -> bool:
        name = self._metric if self._metric in found else next(iter(found))
        value = -badness(name, found[name])
        is_first = math.isnan(self._best_value) and not math.isnan(value)
        if is_first or value > self._best_value:
            self._best_value, self._num_worse = value, 0
            self._best = copy.deepcopy((self._mean or self._net).state_dict())
        else:
            self._num_worse += 1
        return self._num_worse >= self._patience

    def best(self) -> nn.Module:
        """The network whose weights are to be kept."""
        net = self._mean or self._net
        if self._best is not None:
            net.load_state_dict(self._best)
        return net.cpu().eval()

    def state_dict(self) -> dict[str, Any]:
        return {
            "mean": self._mean and self._mean.state_dict(),
            "best": self._best,
            "best_value": self._best_value,
            "num_worse": self._num_worse,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._mean is not None:
            self._mean.load_state_dict(state["mean"])
        self._best, self._best_value = state["best"], state["best_value"]
        self._num_worse = state["num_worse"]


class EpochLoss:
    """The loss of an epoch so far, which is read once: reading waits for a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._total = torch.zeros((), dtype=torch.float64, device=device)
        self._num_rows = 0.0

    def add(self, loss: Tensor, num_rows: float) -> None:
        """A batch's mean loss."""
        self._total += loss.detach() * num_rows
        self._num_rows += num_rows

    def take(self) -> float:
        """The mean; the next epoch begins at nothing."""
        mean = float(self._total) / max(self._num_rows, 1.0)
        self._total.zero_()
        self._num_rows = 0.0
        return mean

    def state_dict(self) -> dict[str, Any]:
        return {"total": float(self._total), "num_rows": self._num_rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._total.fill_(state["total"])
        self._num_rows = state["num_rows"]


class Generators:
    """torch's generators as checkpoints keep them: dropout draws from that of the device."""

    def state_dict(self) -> dict[str, Any]:
        on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"cpu": torch.get_rng_state(), "cuda": on_gpus}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])
        if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["cuda"])
