"""Graph convolutional matrix completion."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from tadka.models.define.catalog import register
from tadka.models.define.column import Column
from tadka.models.define.encode import encode
from tadka.models.define.model import Prepared, Rows
from tadka.models.net.gcmc import GCMCNet
from tadka.models.train.torch import TorchModel


@register("gcmc")
class GCMC(TorchModel):
    """Ratings as edges of several kinds (van den Berg, Kipf and Welling 2017).

    Args:
        hidden: Length of the messages.
        dim: Length of the vectors that are compared.
        dropout: Share of nodes and hidden units left out in training.
    """

    task = "rating"
    default_loss = "ce"
    inputs = (
        Column("user", "key", vocabulary=True),
        Column("item", "key", vocabulary=True),
        Column("label", "float32", role="label"),
    )
    hidden: int = 64
    dim: int = 32
    dropout: float = 0.3
    batch_rows: int = 8192

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        """The ratings of train."""
        rows = data.read("train", ["user", "item", "label"])
        values, level_E = np.unique(np.asarray(rows["label"], np.float32), return_inverse=True)
        found = {"values": values, "levels": level_E}
        return found | {name: self.state.rows(name, rows[name]) for name in ("user", "item")}

    def train_preprocess(self, rows: Rows) -> dict[str, Any]:
        """Pairs and the level of their rating."""
        batch = encode(self.inputs, self.state, rows)
        return {**batch, "label": np.searchsorted(self.state["values"], batch["label"])}

    def net(self) -> nn.Module:
        """Vectors, and the ratings as graphs."""
        state = self.state
        return GCMCNet(
            *(state["user"], state["item"], state["levels"], state["values"]),
            *(state.size("user"), state.size("item")),
            hidden=self.hidden,
            dim=self.dim,
            dropout=self.dropout,
        )

    def output_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """The mean of the ratings under their probabilities."""
        return {"score": net(batch).softmax(dim=1) @ net.get_buffer("values")}
