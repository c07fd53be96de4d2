"""Two towers."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tadka.models.define.catalog import register
from tadka.models.library.implicit import ImplicitModel
from tadka.models.loss.ranking import in_batch
from tadka.models.net.two_tower import TwoTowerNet


@register("two_tower")
class TwoTower(ImplicitModel):
    """A user's and an item's net, the batch's other items as negatives (Yi et al. 2019).

    Args:
        hidden: Sizes of the hidden layers of both.
        temperature: What cosines are divided by.
        dropout: Share of hidden units left out in training.
    """

    hidden: tuple[int, ...] = (64,)
    temperature: float = 0.1
    dropout: float = 0.0
    power: float = 1.0  # the batch's items come as often as they are taken
    # What the loss of the batch's other items leaves nothing to set of is no parameter here.
    loss: ClassVar[str] = ""  # type: ignore[misc]
    negatives: ClassVar[int] = 0  # type: ignore[misc]
    reg: ClassVar[float] = 0.0  # type: ignore[misc]

    def net(self) -> nn.Module:
        """Both towers."""
        return TwoTowerNet(
            self.state.size(self.user_column),
            self.state.size(self.item_column),
            self.dim,
            hidden=self.hidden,
            dropout=self.dropout,
            temperature=self.temperature,
            vocabulary=(self.user_column, self.item_column),
        )

    def loss_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Softmax over the batch's items, corrected for how often each comes."""
        share_B = torch.from_numpy(self.state["share"][batch["item"].cpu().numpy()])
        log_q = share_B.clamp(min=1e-12).log().float()
        return in_batch(
            net(batch, all_pairs=True),
            batch["item"],
            users=batch["user"],
            log_q=log_q.to(batch["item"].device),
        )
