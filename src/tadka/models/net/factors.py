"""Nets that rank by products of a user's and an item's vector: matrix factorization, LightGCN.

Letters of shapes: U users and I items, row 0 of both for the unseen; B rows of a batch; K
dimensions; E pairs.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tadka.models.graph.propagate import propagate_mean
from tadka.models.net.kept import Kept
from tadka.models.net.pairs import Matrix
from tadka.models.table.embedding import RowEmbedding


class FactorNet(nn.Module):
    """A vector for each user and item.

    Args:
        num_users: U.
        num_items: I.
        dim: K.
        scale: Standard deviation of the first vectors.
        vocabulary: Names of the vocabularies of users and items.

    Source: Koren, Bell and Volinsky 2009, "Matrix factorization techniques for recommender
        systems"; trained by BPR as in Rendle et al. 2009, arXiv:1205.2618, section 4.3.1.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        dim: int,
        *,
        scale: float = 0.1,
        vocabulary: tuple[str, str] = ("user", "item"),
    ) -> None:
        super().__init__()
        self.user = RowEmbedding(num_users, dim, vocabulary[0], scale=scale)
        self.item = RowEmbedding(num_items, dim, vocabulary[1], scale=scale)
        with torch.no_grad():
            self.user.weight[0] = 0
            self.item.weight[0] = 0

    def tables(self) -> tuple[Tensor, Tensor]:
        """Vectors that rank, (U, K) and (I, K)."""
        return self.user.weight, self.item.weight

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Products of `user` (B,) and `item`, which is (B,) or (B, n): scores of its shape."""
        users_UK, items_IK = self.tables()
        user_BK = nn.functional.embedding(batch["user"], users_UK)
        item = nn.functional.embedding(batch["item"], items_IK)
        if item.ndim == 3:
            return torch.einsum("bk,bnk->bn", user_BK, item)
        found: Tensor = (user_BK * item).sum(dim=1)
        return found

    def penalty(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Half the squared length of the vectors behind a batch's scores, over B.

        Source: He et al. 2020 (LightGCN), eq. 15: of the trained vectors, not the propagated ones.
        """
        # Lengths of all vectors are added up by row: reading vectors again would cost far more.
        users_U = self.user.weight.square().sum(dim=1)
        items_I = self.item.weight.square().sum(dim=1)
        used = users_U[batch["user"]].sum() + items_I[batch["item"]].sum()
        found: Tensor = 0.5 * used / max(len(batch["user"]), 1)
        return found


class LightGCNNet(Kept, FactorNet):
    """Vectors that are means over the graph of known pairs.

    Args:
        indptr: Where items of each user begin, shape (U+1,).
        items: Rows of items, shape (E,).
        num_items: I.
        dim: K.
        layers: Products with the normalised matrix.
        scale: Standard deviation of the first vectors.
        vocabulary: Names of the vocabularies of users and items.

    Source: He et al. 2020, "LightGCN", arXiv:2002.02126, equations 7 and 8.
    """

    def __init__(
        self,
        indptr: npt.ArrayLike,
        items: npt.ArrayLike,
        num_items: int,
        dim: int,
        *,
        layers: int = 3,
        scale: float = 0.1,
        vocabulary: tuple[str, str] = ("user", "item"),
    ) -> None:
        indptr_U1 = np.asarray(indptr)
        num_users = len(indptr_U1) - 1
        super().__init__(num_users, num_items, dim, scale=scale, vocabulary=vocabulary)
        self.layers = layers
        self.graph = _bipartite(indptr_U1, np.asarray(items), num_items)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Propagated vectors, (U, K) and (I, K)."""
        return self.made()

    def make(self) -> tuple[Tensor, Tensor]:
        """Vectors propagated over the graph."""
        both_NK = torch.cat([self.user.weight, self.item.weight])
        mean_NK = propagate_mean(self.graph.adjacency, both_NK, self.layers)
        num_users = len(self.user.weight)
        return mean_NK[:num_users], mean_NK[num_users:]


def _bipartite(
    indptr_U1: npt.NDArray[np.integer], item_E: npt.NDArray[np.integer], num_items: int
) -> Matrix:
    """D^-1/2 A D^-1/2 over users, then items: each pair is an edge in both directions."""
    num_users = len(indptr_U1) - 1
    user_E = np.repeat(np.arange(num_users), np.diff(indptr_U1))
    order_E = np.argsort(item_E, kind="stable")
    degree_N = np.concatenate([np.diff(indptr_U1), np.bincount(item_E, minlength=num_items)])
    node_E, other_E = user_E, num_users + item_E
    column_E = np.concatenate([other_E, node_E[order_E]])
    row_E = np.concatenate([node_E, other_E[order_E]])
    root_N = np.maximum(degree_N, 1) ** -0.5
    return Matrix(
        np.concatenate([[0], np.cumsum(degree_N)]),
        column_E,
        num_users + num_items,
        root_N[row_E] * root_N[column_E],
        is_symmetric=True,
    )
