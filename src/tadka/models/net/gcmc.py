"""Graph convolutional matrix completion: ratings as edges of several kinds.

Letters of shapes: U users and I items, row 0 of both for the unseen; R levels of ratings; E
ratings; H hidden, K output dimensions; S shared matrices; B rows of a batch.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tadka.models.graph.propagate import spmm
from tadka.models.net.kept import Kept
from tadka.models.net.pairs import Matrix
from tadka.models.table.embedding import RowEmbedding


class GCMCNet(Kept):
    """Messages along the ratings of each level, a dense layer, and a bilinear decoder.

    A level's vectors are those of the level below it plus some of its own, so that rare levels
    learn from their neighbours. The encoder goes over all ratings once a batch.

    Args:
        users: Row of the user of each rating, shape (E,).
        items: Row of the item, shape (E,).
        levels: Level of the rating, in [0, R), shape (E,).
        values: Rating of each level, ascending, shape (R,).
        num_users: U.
        num_items: I.
        hidden: H.
        dim: K.
        dropout: Share of nodes whose messages, and of hidden units that, are left out in training.
        bases: S.
        vocabulary: Names of the vocabularies of users and items.

    Source: van den Berg, Kipf and Welling 2017, "Graph convolutional matrix completion",
        arXiv:1706.02263, equations 2, 3, 5 and 10 to 12, with symmetric normalisation.
    """

    values: Tensor

    def __init__(
        self,
        users: npt.ArrayLike,
        items: npt.ArrayLike,
        levels: npt.ArrayLike,
        values: npt.ArrayLike,
        num_users: int,
        num_items: int,
        *,
        hidden: int = 128,
        dim: int = 64,
        dropout: float = 0.5,
        bases: int = 2,
        vocabulary: tuple[str, str] = ("user", "item"),
    ) -> None:
        super().__init__()
        value_R = np.asarray(values, np.float32)
        self.register_buffer("values", torch.tensor(value_R))
        self.dropout = dropout
        self.num_levels = len(value_R)
        self.graphs = nn.ModuleList(
            _graphs(
                np.asarray(users),
                np.asarray(items),
                np.asarray(levels),
                (num_users, num_items, self.num_levels),
            )
        )
        scale = (3 / hidden) ** 0.5
        width = self.num_levels * hidden
        self.users = RowEmbedding(num_users, width, vocabulary[0], scale=scale)
        self.items = RowEmbedding(num_items, width, vocabulary[1], scale=scale)
        with torch.no_grad():  # a level sums those below it
            self.users.weight *= self.num_levels**-0.5
            self.items.weight *= self.num_levels**-0.5
        self.user_out = nn.Linear(hidden, dim, bias=False)
        self.item_out = nn.Linear(hidden, dim, bias=False)
        self.bases = nn.Parameter(torch.randn(bases, dim, dim) * dim**-0.5)
        self.shares = nn.Parameter(torch.randn(self.num_levels, bases) * bases**-0.5)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits of the levels, shape (B, R).

        The score is the mean rating under their probabilities: eq. 4 of the source.
        """
        user_UK, item_IK = self.made()
        user_BK = nn.functional.embedding(batch["user"], user_UK)
        item_BK = nn.functional.embedding(batch["item"], item_IK)
        by_base_BS = torch.stack([((user_BK @ q) * item_BK).sum(dim=1) for q in self.bases], dim=1)
        return by_base_BS @ self.shares.T

    def make(self) -> tuple[Tensor, Tensor]:
        """Codes of all users and items, (U, K) and (I, K)."""
        users_R = self._node_vectors(self.users.weight)
        items_R = self._node_vectors(self.items.weight)
        graphs = [graph for graph in self.graphs if isinstance(graph, Matrix)]
        user_UH = torch.stack(
            [spmm(g.adjacency, x) for g, x in zip(graphs, items_R, strict=True)]
        ).sum(dim=0)
        item_IH = torch.stack(
            [spmm(g.adjacency.transpose(), x) for g, x in zip(graphs, users_R, strict=True)]
        ).sum(dim=0)
        drop = nn.functional.dropout
        user_UH = drop(user_UH.relu(), self.dropout, self.training)
        item_IH = drop(item_IH.relu(), self.dropout, self.training)
        return self.user_out(user_UH), self.item_out(item_IH)

    def _node_vectors(self, weight_NRH: Tensor) -> tuple[Tensor, ...]:
        """Vectors of each level: R times (N, H)."""
        vectors_NRH = weight_NRH.view(len(weight_NRH), self.num_levels, -1).cumsum(dim=1)
        kept_N11 = nn.functional.dropout(
            vectors_NRH.new_ones(len(vectors_NRH), 1, 1), self.dropout, self.training
        )
        return tuple((vectors_NRH * kept_N11).contiguous().unbind(dim=1))


def _graphs(
    user_E: npt.NDArray[np.integer],
    item_E: npt.NDArray[np.integer],
    level_E: npt.NDArray[np.integer],
    sizes: tuple[int, int, int],
) -> list[Matrix]:
    """For each level its ratings, each over the root of the degrees of both its ends."""
    num_users, num_items, num_levels = sizes
    degree_U = np.maximum(np.bincount(user_E, minlength=num_users), 1)
    degree_I = np.maximum(np.bincount(item_E, minlength=num_items), 1)
    value_E = (degree_U[user_E] * degree_I[item_E]) ** -0.5
    graphs = []
    for level in range(num_levels):
        of_level = np.flatnonzero(level_E == level)
        of_level = of_level[np.argsort(user_E[of_level], kind="stable")]
        counts_U = np.bincount(user_E[of_level], minlength=num_users)
        indptr_U1 = np.concatenate([[0], np.cumsum(counts_U)])
        graphs.append(Matrix(indptr_U1, item_E[of_level], num_items, value_E[of_level]))
    return graphs
