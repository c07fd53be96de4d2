"""Models whose weights are a torch network: the loop, so that a model is little more than a net.

Shapes: B rows of a batch.
"""

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tadka.core.error import ConfigError, DataError
from tadka.models.define.model import Model, Rows
from tadka.models.loss.catalog import get as get_loss
from tadka.models.table.grown import Part, grown_state
from tadka.models.train.grown import mean_rows
from tadka.models.train.run import ModelRun, PredictRun
from tadka.storage.publish import publish_file

_WEIGHTS = "net.pt"
# What goes down as a model gets better; everything else goes up.
_LOWER_IS_BETTER = ("loss", "rmse", "mae", "error")
_MONITOR = {
    "binary": "valid_auc",
    "rating": "valid_rmse",
    "class": "valid_accuracy",
    "ranking": "valid_ndcg@20",
}


@dataclass(frozen=True, kw_only=True)
class TorchModel(Model):
    """A model that is a torch network: write `net`, and `loss_of` where the loss is not of rows.

    Args:
        lr: Learning rate at the beginning.
        weight_decay: Of the optimizer.
        optimizer: Which.
        schedule: How the learning rate goes on: the same, down a line or half a cosine to 0.
        loss: Name of a loss; empty for the model's own.
        patience: Epochs without a better validation after which training ends, and the best
            weights are kept; 0 trains all epochs and keeps the last.
        average: Share from 0 to 1 of the mean of weights so far that every epoch's end keeps
            (an exponential moving average by step); 0 for none.
        precision: Of the network's arithmetic on a GPU.
        threads: Of torch, in the process that trains.
    """

    default_loss = "bce"

    lr: float = 1e-3
    weight_decay: float = 0.0
    optimizer: Literal["adam", "adamw", "adagrad", "sgd"] = "adam"
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    loss: str = ""
    patience: int = 0
    average: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 1

    # -- what a model writes -------------------------------------------------------------------

    def net(self) -> nn.Module:
        """A network with fresh weights; torch's generator is seeded by then."""
        raise NotImplementedError

    def loss_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """What the optimizer makes small: a scalar.

        Args:
            net: From `net`, possibly distributed.
            batch: From `train_preprocess`, numbers as tensors.
        """
        loss = get_loss(self.loss or self.default_loss)
        found: Tensor = loss(net(batch), batch["label"])
        return found

    def output_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Outputs of a batch, one entry a row.

        Args:
            net: Trained.
            batch: From `predict_preprocess`, numbers as tensors.
        """
        return {"score": net(batch)}

    def new_rows(self, part: Part, rows: np.ndarray) -> np.ndarray | None:
        """Values to begin with for rows of a vocabulary that the last training did not have.

        Users begin as the mean of the items that they came with, items as that of their users,
        where the model has both; one number a row, such as a bias, as the mean of the old ones.

        Args:
            part: Which parameter, and its rows so far.
            rows: Numbers of the new rows, shape (N,).

        Returns:
            Shape (N, dim), or None to draw them.
        """
        return mean_rows(self, part.vocabulary, part.old, part.others, rows)

    # -- the functions of a model --------------------------------------------------------------

    def train(self, batches: Iterable[Rows], run: ModelRun) -> nn.Module:
        """Goes over the batches, as `Model.train` says."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)
        device = _device()
        net = self.net()
        if run.start is not None:
            before = torch.load(run.start / _WEIGHTS, map_location="cpu", weights_only=True)
            net.load_state_dict(grown_state(before, net, self.new_rows, seed=self.seed))
        net.to(device)
        module = net if run.world_size == 1 else DistributedDataParallel(_joined(net))
        optimizer = self._make_optimizer(net)
        keeper = _Keeper(net, self)
        run.restore(net, optimizer=optimizer, keeper=keeper, random=_Random())
        for epoch in run.epochs:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * self._factor(epoch)
            net.train()
            total, num_rows = torch.zeros((), device=device), 0
            for rows in batches:
                batch = to_tensors(rows, device)
                num_here = _num_rows(batch)
                if not num_here:
                    continue
                with torch.autocast(
                    device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
                ):
                    loss = self.loss_of(module, batch) * run.weight
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                keeper.step()
                total += loss.detach() * num_here
                num_rows += num_here
            mean = float(total) / max(num_rows, 1)
            if not math.isfinite(mean):
                raise DataError(
                    f"The loss of epoch {epoch} is {mean}. Lower model.lr ({self.lr:g}), or look "
                    "for extreme values: tadka model check."
                )
            run.log(loss=mean, lr=optimizer.param_groups[0]["lr"])
            if keeper.ends(run):
                run.stop()
            run.save(net, optimizer=optimizer, keeper=keeper, random=_Random())
        return keeper.best()

    def predict(self, batches: Iterable[Rows], run: PredictRun) -> Iterator[Rows]:
        """Outputs of the trained network, as `Model.predict` says."""
        torch.set_num_threads(self.threads)
        device = _device()
        net = run.model.to(device).eval()
        for rows in batches:
            with torch.inference_mode():  # not around the yield: it would reach the caller's code
                found = self.output_of(net, to_tensors(rows, device))
            yield {name: value.float().cpu().numpy() for name, value in found.items()}

    def postprocess(self, rows: Rows) -> Rows:
        """Adds probabilities: `probability` (B,) to the scores of a binary model."""
        if self.task != "binary" or "score" not in rows:
            return rows
        score_B = np.asarray(rows["score"], np.float64)
        chance_B = 0.5 * (1 + np.tanh(score_B / 2))  # without overflow
        return {**rows, "probability": chance_B.astype(np.float32)}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Writes the weights."""
        with publish_file(str(folder / _WEIGHTS)) as file:
            torch.save(model.state_dict(), file)

    def load(self, folder: Path) -> nn.Module:
        """Reads the weights; nothing of the file is run.

        Raises:
            DataError: They are damaged, or those of another network.
        """
        net = self.net()
        try:
            net.load_state_dict(
                torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True)
            )
        except (OSError, RuntimeError, ValueError, EOFError) as error:
            raise DataError(
                f"Weights {str(folder / _WEIGHTS)!r} cannot be loaded: {error}. Train again."
            ) from error
        return net.eval()

    def _make_optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        made: dict[str, Any] = {
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
            "adagrad": torch.optim.Adagrad,
            "sgd": torch.optim.SGD,
        }
        if self.optimizer not in made:
            raise ConfigError(
                f"model.optimizer is {self.optimizer!r}; it must be one of {', '.join(made)}."
            )
        if self.optimizer != "sgd":
            options["fused"] = True  # one pass over the weights instead of five
        else:
            options["momentum"] = 0.9
        optimizer: torch.optim.Optimizer = made[self.optimizer](net.parameters(), **options)
        return optimizer

    def _factor(self, epoch: int) -> float:
        """What the learning rate is multiplied by in an epoch."""
        share = epoch / max(self.epochs, 1)
        if self.schedule == "linear":
            return 1 - share
        return 0.5 * (1 + math.cos(math.pi * share)) if self.schedule == "cosine" else 1.0


class _Keeper:
    """Which weights are kept: the last, the mean of the last ones, or the best."""

    def __init__(self, net: nn.Module, model: TorchModel) -> None:
        self._net = net
        self._model = model
        self._mean = copy.deepcopy(net) if model.average else None
        self._best: dict[str, Tensor] | None = None
        self._best_value = math.nan
        self._num_worse = 0

    def step(self) -> None:
        """The optimizer has made a step."""
        if self._mean is None:
            return
        with torch.no_grad():
            for mean, now in zip(self._mean.parameters(), self._net.parameters(), strict=True):
                mean.lerp_(now, 1 - self._model.average)
            for kept, seen in zip(self._mean.buffers(), self._net.buffers(), strict=True):
                kept.copy_(seen)

    def ends(self, run: ModelRun) -> bool:
        """Validates at an epoch's end; whether it was the last epoch."""
        found = run.validate((self._mean or self._net).eval())
        is_over = False
        if self._model.patience and run.has_validation:
            if run.rank == 0:
                is_over = self._judge(found)
            if run.world_size > 1:
                told = torch.tensor(float(is_over))
                torch.distributed.broadcast(told, 0)
                is_over = bool(told)
        return is_over

    def _judge(self, found: Mapping[str, float]) -> bool:
        name = _MONITOR[self._model.task]
        name = name if name in found else next(iter(found))
        value = found[name]
        if any(word in name for word in _LOWER_IS_BETTER):
            value = -value
        if not value <= self._best_value:  # also the first time, against NaN
            self._best_value, self._num_worse = value, 0
            self._best = copy.deepcopy((self._mean or self._net).state_dict())
        else:
            self._num_worse += 1
        return self._num_worse >= self._model.patience

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


class _Random:
    """torch's generator as checkpoints keep it."""

    def state_dict(self) -> dict[str, Any]:
        return {"cpu": torch.get_rng_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])


def to_tensors(rows: Rows, device: torch.device) -> dict[str, Any]:
    """Numbers of a batch as tensors; other columns stay as they are.

    Args:
        rows: A batch.
        device: Where the tensors go.
    """
    return {name: _to_tensor(value, device) for name, value in rows.items()}


def _to_tensor(value: Any, device: torch.device) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        owned = value if value.flags.writeable else value.copy()  # torch warns of read-only memory
        return torch.as_tensor(owned).to(device, non_blocking=True)
    # such as a subgraph, which is several arrays of other lengths
    return value.to_tensors(device) if hasattr(value, "to_tensors") else value


def _num_rows(batch: Mapping[str, Any]) -> int:
    return next((len(value) for value in batch.values()), 0)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _joined(net: nn.Module) -> nn.Module:
    """A network whose process has joined the others that train."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return net
