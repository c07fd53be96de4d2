"""Models whose weights are a torch network: the loop, so that a model is little more than a net.

Shapes: B rows of a batch.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tadka.core.error import ConfigError, DataError
from tadka.models.define.model import Model, Rows
from tadka.models.loss.catalog import get as get_loss
from tadka.models.table.grown import Part, grown_state
from tadka.models.train.grown import mean_rows
from tadka.models.train.keeper import EpochLoss, Generators, Keeper
from tadka.models.train.run import ModelRun, PredictRun
from tadka.storage.publish import publish_file
from tadka.stream.codec import num_rows

_WEIGHTS = "net.pt"


class RowSteps(Protocol):
    """An optimizer that makes the steps of a batch by itself."""

    param_groups: list[dict[str, Any]]

    def step(self, batch: Mapping[str, Any]) -> Tensor:
        """One step a row; the mean loss of the rows, each from before its step."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it back."""


@dataclass(frozen=True, kw_only=True)
class TorchModel(Model):
    """A model that is a torch network: write `net`, and `loss_of` where the loss is not of rows.

    Args:
        epochs: Passes over the training rows.
        batch_rows: Rows of a batch.
        seed: Of the order of rows and of everything random in the model.
        lr: Learning rate at the beginning.
        weight_decay: Of the optimizer.
        optimizer: Which. `rows` is row-wise AdaGrad, one row after another in a compiled loop, for
            models that have `row_steps`.
        schedule: How the learning rate goes on: the same, down a line or half a cosine to 0.
        loss: Name of a loss; empty for the model's own.
        patience: Epochs without a better validation after which training ends, and the best
            weights are kept; 0 trains all epochs and keeps the last.
        average: Share from 0 to 1 of the mean of weights so far that each step keeps: their
            exponential moving average is what is validated and kept. 0 for none.
        precision: Of the network's arithmetic while it trains; weights are always float32.
        threads: Of torch, in the process that trains or predicts.
    """

    default_loss = "bce"

    lr: float = 1e-3
    weight_decay: float = 0.0
    optimizer: Literal["adam", "adamw", "adagrad", "sgd", "rows"] = "adam"
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

        Raises:
            ConfigError: The model has no label, and no loss of its own.
        """
        if self.label_column is None:
            raise ConfigError(
                f"Model {self.name!r} has no column with role='label', so it needs a loss_of of "
                "its own."
            )
        loss = get_loss(self.loss or self.default_loss)
        found: Tensor = loss(net(batch), batch[self.label_column])
        return found

    def row_steps(self, net: nn.Module) -> RowSteps | None:  # noqa: ARG002
        """Steps that take the place of `loss_of` and the optimizer where that is `rows`.

        Args:
            net: Whose parameters they change.

        Returns:
            None where the model has none.
        """
        return None

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
        """Goes over the batches, as `Model.train` says.

        Raises:
            ConfigError: There is patience, and nothing to validate on.
            DataError: The loss is no longer finite.
        """
        if self.patience and not run.has_validation:
            raise ConfigError(
                f"model.patience is {self.patience}, and the data have no rows to validate on. "
                "Cut some from train, data.valid: {kind: random, share: 0.1}, or leave it 0."
            )
        torch.set_num_threads(self.threads)
        torch.manual_seed(self.seed)
        device = torch.device("cpu") if self.optimizer == "rows" else _device()
        net = self.net()
        if run.start is not None:
            before = torch.load(run.start / _WEIGHTS, map_location="cpu", weights_only=True)
            net.load_state_dict(grown_state(before, net, self.new_rows, seed=self.seed))
        net.to(device)
        module = net if run.world_size == 1 else DistributedDataParallel(_joined(net))
        optimizer = self._make_optimizer(net) if self.optimizer != "rows" else self._steps(net, run)
        keeper, so_far = self._keeper(net), EpochLoss(device)
        kept: dict[str, Any] = {
            "optimizer": optimizer,
            "keeper": keeper,
            "loss": so_far,
            "random": Generators(),
        }
        run.restore(net, **kept)
        for epoch in run.epochs:
            for group in optimizer.param_groups:
                group["lr"] = self.lr * self._factor(epoch)
            net.train()
            for rows in batches:
                batch = to_tensors(rows, device)
                num_here = num_rows(batch)
                if not num_here:
                    self._check_alone(run)
                    continue
                if isinstance(optimizer, torch.optim.Optimizer):
                    with torch.autocast(
                        device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
                    ):
                        loss = self.loss_of(module, batch) * run.weight
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                else:
                    loss = optimizer.step(batch)
                keeper.step()
                so_far.add(loss, num_here * run.weight)
                run.save_if_due(net, **kept)
            mean = so_far.take()
            if not math.isfinite(mean):
                raise DataError(
                    f"The loss of epoch {epoch} is {mean}. Lower model.lr "
                    f"({self.lr:g}), or look for extreme values: tadka model check."
                )
            run.log(loss=mean, lr=optimizer.param_groups[0]["lr"])
            if keeper.ends(run):
                run.stop()
            run.save(net, **kept)
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

    def _steps(self, net: nn.Module, run: ModelRun) -> RowSteps:
        found = self.row_steps(net)
        if found is None:
            raise ConfigError(
                f"model.optimizer is 'rows', and model {self.name!r} with these parameters has no "
                "steps of rows. Choose another one, such as adam."
            )
        if run.world_size > 1:
            raise ConfigError(
                f"model.optimizer is 'rows', which has one rank; stream.train.ranks is "
                f"{run.world_size}. Set it to 1, or choose another optimizer, such as adam."
            )
        return found

    def _keeper(self, net: nn.Module) -> Keeper:
        return Keeper(net, self.task, average=self.average, patience=self.patience)

    def _check_alone(self, run: ModelRun) -> None:
        """A batch without rows is left out, which ranks can do only together."""
        if run.world_size > 1:
            raise DataError(
                f"train_preprocess of model {self.name!r} gave a batch without rows, and ranks "
                "that train together take the same steps. Return None to leave rows out."
            )

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


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _joined(net: nn.Module) -> nn.Module:
    """A network whose process has joined the others that train."""
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return net
