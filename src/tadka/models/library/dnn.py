"""Classifiers by layers: of sparse histories, and of dense vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from tadka.models.define.catalog import register
from tadka.models.define.column import Column
from tadka.models.define.model import Prepared, Rows
from tadka.models.library.classifier import Classifier
from tadka.models.net.dnn import HistoryNet, VectorNet


@dataclass(frozen=True, kw_only=True)
class _Layers(Classifier):
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.0


@register("dnn")
class DNN(_Layers):
    """Layers over the mean vector of a history's items.

    Args:
        dim: Length of the items' vectors.
    """

    inputs = (
        Column("history", "list[int64]", vocabulary="item"),
        Column("label", "int64", role="label", low=0),
    )
    dim: int = 32

    def net(self) -> nn.Module:
        """Items' vectors and layers."""
        sizes = self.state.size("item"), self.dim, self.state.meta["num_classes"]
        return HistoryNet(*sizes, hidden=self.hidden, dropout=self.dropout)


@register("dnn_vector")
class DNNVector(_Layers):
    """The same layers over vectors that come with the rows."""

    inputs = (
        Column("vector", "list[float32]"),
        Column("label", "int64", role="label", low=0),
    )

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        """How many classes there are, and how long vectors are."""
        rows = next(data.scan("train", ["vector"], 1))
        return {**super().prepare(data), "length": len(np.asarray(rows["vector"].flatten()))}

    def train_preprocess(self, rows: Rows) -> dict[str, Any]:
        """Vectors of one length, and labels."""
        batch: dict[str, Any] = super().train_preprocess(rows)
        length = self.state.meta["length"]
        vector = np.zeros((len(rows["vector"]), length), np.float32)
        width = min(length, batch["vector"].shape[1])
        vector[:, :width] = batch["vector"][:, :width]
        return {**batch, "vector": vector}

    def predict_preprocess(self, rows: Rows) -> dict[str, Any]:
        """Vectors of one length."""
        return self.train_preprocess(rows)

    def net(self) -> nn.Module:
        """The layers."""
        meta = self.state.meta
        return VectorNet(
            meta["length"], meta["num_classes"], hidden=self.hidden, dropout=self.dropout
        )
