"""What models of implicit feedback share: known pairs, drawn negatives, vectors that rank.

Rows are pairs of a user and an item that the user has taken; there is no label.

Shapes: U users and I items, row 0 of both for the unseen; B rows of a batch; n negatives a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tadka.models.define.column import Column
from tadka.models.define.model import Prepared, Rows
from tadka.models.loss.catalog import get as get_loss
from tadka.models.loss.negatives import draw, popularity
from tadka.models.loss.pairs import to_csr
from tadka.models.train.torch import TorchModel


@dataclass(frozen=True, kw_only=True)
class ImplicitModel(TorchModel):
    """A model that ranks items for users, learnt from pairs and drawn negatives.

    Its net has `tables()`, vectors of all users and items, and scores of `user` and `item` of a
    batch.

    Args:
        dim: Length of the vectors.
        negatives: Items drawn for each row that the user has not taken.
        power: Popularity to this power is how often an item is drawn; 0: all alike.
        reg: What the squared length of a batch's vectors costs, where the net has a `penalty`.
    """

    task = "ranking"
    default_loss = "bpr"
    inputs = (
        Column("user", "key", vocabulary=True),
        Column("item", "key", vocabulary=True),
    )

    dim: int = 64
    negatives: int = 1
    power: float = 0.0
    reg: float = 0.0

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        """Pairs of train as CSR, and how often each item is drawn."""
        columns = data.read("train", [self.user_column, self.item_column])
        user_E = self.state.rows(self.user_column, columns[self.user_column])
        item_E = self.state.rows(self.item_column, columns[self.item_column])
        num_items = self.state.size(self.item_column)
        indptr_U1, items_E = to_csr(user_E, item_E, self.state.size(self.user_column))
        return {
            "seen_indptr": indptr_U1,
            "seen_items": items_E,
            "share": popularity(num_items, items_E, self.power),
        }

    def train_preprocess(  # type: ignore[override]  # the generator is an option of the contract
        self, rows: Rows, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Pairs, each with negatives in `negative` (B, n)."""
        batch = self.predict_preprocess(rows)
        batch["negative"] = draw(
            rng,
            self.state.size(self.item_column),
            batch["user"],
            self.state["seen_indptr"],
            self.state["seen_items"],
            self.negatives,
            share=self.state["share"] if self.power else None,
        )
        return batch

    def predict_preprocess(self, rows: Rows) -> dict[str, Any]:
        """Pairs, as rows of vocabularies."""
        return {
            "user": self.state.rows(self.user_column, rows[self.user_column]),
            "item": self.state.rows(self.item_column, rows[self.item_column]),
        }

    def loss_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        """Positives above negatives, and the length of their vectors."""
        items_Bn = torch.cat([batch["item"][:, None], batch["negative"]], dim=1)
        scored = {"user": batch["user"], "item": items_Bn}
        score_Bn = net(scored)
        loss: Tensor = get_loss(self.loss or self.default_loss)(score_Bn[:, 0], score_Bn[:, 1:])
        if self.reg:
            bare: Any = getattr(net, "module", net)  # the net itself, where ranks train together
            loss = loss + self.reg * bare.penalty(scored)
        return loss

    def vectors(self, model: Any) -> Mapping[str, np.ndarray]:
        """Vectors of users and items, whose products rank."""
        with torch.inference_mode():
            users_UK, items_IK = model.eval().tables()
        return {
            self.user_column: users_UK.detach().float().cpu().numpy(),
            self.item_column: items_IK.detach().float().cpu().numpy(),
        }
