"""Classifiers of sparse histories and of dense vectors by the same layers.

Letters of shapes: B rows of a batch, L items of a history, K dimensions of a vector, C classes.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from tadka.models.net.groups import Mlp
from tadka.models.table.embedding import RowEmbedding


class HistoryNet(nn.Module):
    """Layers over the mean of the vectors of a history.

    Args:
        num_items: Rows of the vocabulary, row 0 included.
        dim: K.
        num_classes: C.
        hidden: Sizes of the hidden layers.
        dropout: Share of units left out in training.
        vocabulary: Name of the items' vocabulary.

    Source: Covington, Adams and Sargin 2016, "Deep neural networks for YouTube recommendations",
        section 3.2: averaged embeddings below layers of ReLU.
    """

    def __init__(
        self,
        num_items: int,
        dim: int,
        num_classes: int,
        *,
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
        vocabulary: str = "item",
    ) -> None:
        super().__init__()
        self.items = RowEmbedding(num_items, dim, vocabulary, scale=dim**-0.5)
        self.layers = Mlp(dim, *hidden, num_classes, dropout=dropout)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits, shape (B, C)."""
        mean_BK = nn.functional.embedding_bag(
            batch["history"], self.items.weight, mode="mean", padding_idx=0
        )
        found: Tensor = self.layers(mean_BK)
        return found


class VectorNet(nn.Module):
    """The same layers over a vector that comes with the row.

    Args:
        dim: K.
        num_classes: C.
        hidden: Sizes of the hidden layers.
        dropout: Share of units left out in training.
    """

    def __init__(
        self, dim: int, num_classes: int, *, hidden: Sequence[int] = (64,), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = Mlp(dim, *hidden, num_classes, dropout=dropout)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits, shape (B, C)."""
        found: Tensor = self.layers(batch["vector"])
        return found
