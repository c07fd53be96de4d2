"""Steps of matrix factorization by BPR, one pair after another, in a compiled loop.

A step changes the three vectors that it reads and no others, so a batch costs as much as it has
rows, whatever the size of the tables: Adam over all vectors costs as much as there are vectors.

Letters of shapes: U users, I items, B rows of a batch, K dimensions, n negatives of a row.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tadka.models.kernel.backend import kernels

_EPS = 1e-8


class PairSteps:
    """Row-wise AdaGrad on the vectors of users and items; see `tadka.models.kernel.reference.bpr`.

    Args:
        user: Vectors of users, float32 on the CPU, shape (U, K); changed in place.
        item: Vectors of items, likewise, shape (I, K).
        lr: Learning rate; `param_groups` has it, as torch's optimizers do.
        reg: What half the squared length of a pair's three vectors costs.
    """

    def __init__(self, user: Tensor, item: Tensor, *, lr: float, reg: float = 0.0) -> None:
        self.param_groups: list[dict[str, Any]] = [{"lr": lr}]
        self._tables = user.detach(), item.detach()
        self._sums = torch.zeros(len(user)), torch.zeros(len(item))
        self._reg = reg

    def step(self, batch: Mapping[str, Any]) -> Tensor:
        """Steps for `user` (B,), `item` (B,) and `negative` (B, n): their mean loss, a scalar.

        Raises:
            IndexError: A row is out of range.
        """
        negative_Bn = batch["negative"]
        loss = kernels().bpr(
            *(table.numpy() for table in self._tables),
            *(sums.numpy() for sums in self._sums),
            batch["user"].numpy(),
            batch["item"].numpy(),
            negative_Bn.numpy(),
            self.param_groups[0]["lr"],
            self._reg,
            _EPS,
        )
        return torch.tensor(loss / max(negative_Bn.numel(), 1))

    def state_dict(self) -> dict[str, Any]:
        """Sums of squared gradients."""
        return {"user": self._sums[0], "item": self._sums[1]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self._sums[0].copy_(state["user"])
        self._sums[1].copy_(state["item"])
