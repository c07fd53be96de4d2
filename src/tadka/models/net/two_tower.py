"""Two towers: layers over a user's features, and over an item's; their cosine ranks.

Letters of shapes: U users and I items, row 0 of both for the unseen; B rows of a batch; K
dimensions.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tadka.models.net.groups import Mlp
from tadka.models.table.embedding import RowEmbedding


class Tower(nn.Module):
    """A vector of unit length for each row of a vocabulary, through layers.

    Args:
        num_rows: Rows of the vocabulary.
        dim: K.
        vocabulary: Its name.
        hidden: Sizes of the hidden layers; none for vectors as they are.
        dropout: Share of hidden units left out in training.
    """

    def __init__(
        self,
        num_rows: int,
        dim: int,
        vocabulary: str,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.rows = RowEmbedding(num_rows, dim, vocabulary, scale=dim**-0.5)
        self.layers = Mlp(dim, *hidden, dim, dropout=dropout) if hidden else nn.Identity()

    def forward(self, rows: Tensor) -> Tensor:
        """Unit vectors of rows of any shape, with K appended to it."""
        vectors = self.rows(rows)
        # what the layers add to a vector, so that they need not learn to leave it as it is
        vectors = vectors + self.layers(vectors)
        return nn.functional.normalize(vectors, dim=-1, eps=1e-6)


class TwoTowerNet(nn.Module):
    """A user's and an item's tower.

    Args:
        num_users: U.
        num_items: I.
        dim: K.
        hidden: Sizes of the hidden layers of both towers.
        dropout: Share of hidden units left out in training.
        temperature: What cosines are divided by to give scores.
        vocabulary: Names of the vocabularies of users and items.

    Source: Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
        recommendations" (RecSys), section 3.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        dim: int,
        *,
        hidden: Sequence[int] = (),
        dropout: float = 0.0,
        temperature: float = 0.1,
        vocabulary: tuple[str, str] = ("user", "item"),
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.user = Tower(num_users, dim, vocabulary[0], hidden=hidden, dropout=dropout)
        self.item = Tower(num_items, dim, vocabulary[1], hidden=hidden, dropout=dropout)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Vectors that rank, (U, K) and (I, K)."""
        device = self.user.rows.weight.device
        users_U = torch.arange(len(self.user.rows.weight), device=device)
        items_I = torch.arange(len(self.item.rows.weight), device=device)
        return self.user(users_U), self.item(items_I)

    def forward(self, batch: Mapping[str, Tensor], *, all_pairs: bool = False) -> Tensor:
        """Scores of `user` and `item`.

        Args:
            batch: Rows (B,) of both.
            all_pairs: Whether each user is scored with every row's item.

        Returns:
            Shape (B,), or (B, B).
        """
        user_BK, item_BK = self.user(batch["user"]), self.item(batch["item"])
        found: Tensor = user_BK @ item_BK.T if all_pairs else (user_BK * item_BK).sum(dim=-1)
        return found / self.temperature
