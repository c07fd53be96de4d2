"""What a net makes of all of its weights at once, and keeps while it predicts."""

from typing import Self

import torch
from torch import Tensor, nn


class Kept(nn.Module):
    """A net that makes two tensors of all of its weights, one of users and one of items.

    While it learns they are made for each batch. Where nothing is learnt they are made once, and
    stay until `train` or `eval` is called: weights are not to be changed meanwhile.
    """

    _kept: tuple[Tensor, Tensor] | None = None

    def make(self) -> tuple[Tensor, Tensor]:
        """Both, of the weights as they are."""
        raise NotImplementedError

    def made(self) -> tuple[Tensor, Tensor]:
        """What `make` gives, or what has been kept of it."""
        if self._kept is not None:
            return self._kept
        found = self.make()
        if not self.training and not torch.is_grad_enabled():
            self._kept = found
        return found

    def train(self, mode: bool = True) -> Self:
        """Forgets what has been kept."""
        self._kept = None
        return super().train(mode)
