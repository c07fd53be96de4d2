"""Classes of nodes by graph convolutions: on all neighbours, or on some that are drawn.

Letters of shapes: B rows of a batch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

import tadka.models.library.nodes as nodes
from tadka.models.define.catalog import register
from tadka.models.define.column import Column
from tadka.models.define.model import Prepared, Rows
from tadka.models.library.classifier import Classifier
from tadka.models.net.graph import GraphNet


@register("gcn")
class GCN(Classifier):
    """Graph convolutional network (Kipf and Welling 2017).

    Args:
        hidden: Units of the layers but the last.
        fanouts: Neighbours to draw in training, one number a layer; 0 for all of them.
        dropout: Share of words and units left out in training.
    """

    inputs = (Column("node", "int64"), Column("label", "int64", role="label", low=0))
    is_sage = False
    hidden: int = 16
    fanouts: tuple[int, ...] = (0, 0)
    dropout: float = 0.5
    lr: float = 1e-2
    weight_decay: float = 5e-4

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        return {**nodes.learn(data), **super().prepare(data)}

    @classmethod
    def example(cls, num_rows: int, seed: int = 0) -> Mapping[str, Any]:
        return nodes.example(num_rows, seed)

    def train_preprocess(self, rows: Rows, rng: np.random.Generator) -> Rows:  # type: ignore[override]
        found = nodes.batch_of(self.state, rows["node"], self.fanouts, rng, is_mean=self.is_sage)
        return {"node": found, "label": np.asarray(rows["label"], np.int64)}

    def predict_preprocess(self, rows: Rows) -> Rows:
        none = [0] * len(self.fanouts)  # draws nothing: all neighbours, so one answer
        return {"node": nodes.batch_of(self.state, rows["node"], none, is_mean=self.is_sage)}

    def net(self) -> nn.Module:
        return GraphNet(
            self.state.meta["num_words"],
            self.state.meta["num_classes"],
            hidden=self.hidden,
            num_layers=len(self.fanouts),
            dropout=self.dropout,
            is_sage=self.is_sage,
        )
