"""Vectors of users and items by graph convolutions, below a wide and deep head.

Letters of shapes: U users and I items, row 0 of both for the unseen; N = U + I nodes, users first;
M nodes of a subgraph, S of them seeds; K dimensions, B rows of a batch, n negatives a row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tadka.models.graph import Adjacency, Graph, Subgraph, spmm
from tadka.models.net.graph import adjacencies
from tadka.models.net.groups import Mlp
from tadka.models.table.embedding import SparseEmbedding
from tadka.models.table.table import MemoryTable


class TableEmbedding(SparseEmbedding):
    """A table in memory whose rows are in the net's state, so that checkpoints have them.

    The buffers are the table's own memory: what is loaded into them is in the table.

    Args:
        table: Where the vectors are; it must not grow.
        vocabulary: Name of the vocabulary of its rows.
        lr: Learning rate of its steps.
    """

    values: Tensor
    sums: Tensor

    def __init__(self, table: MemoryTable, vocabulary: str, *, lr: float) -> None:
        super().__init__(table, vocabulary, lr=lr)
        self.register_buffer("values", torch.from_numpy(table.values))
        self.register_buffer("sums", torch.from_numpy(table.sums))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002
        return self  # the table stays in the memory of the machine; vectors go to the device

    def forward(self, rows: Tensor) -> Tensor:
        """Vectors of rows, of any shape, with K appended to it."""
        if self.training and torch.is_grad_enabled():
            return super().forward(rows)
        # of the buffers, which a copy of the net has of its own
        return nn.functional.embedding(rows.cpu(), self.values).to(rows.device)


class Around(NamedTuple):
    """Seeds and what is around them: see `Neighbourhood`."""

    users: Tensor
    items: Tensor
    place: Tensor
    own: Tensor
    seeds: Tensor
    blocks: tuple[Adjacency, ...]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The nodes of a batch and their neighbours, on their way to the net.

    Args:
        subgraph: Its seeds are the users of the rows, their items, then their negatives.
        own: Entries of the matrix' diagonal for its nodes, shape (M,).
        num_users: U.
        num_rows: B.
    """

    subgraph: Subgraph
    own: npt.NDArray[np.float32]
    num_users: int
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows

    def to_tensors(self, device: Any) -> Around:
        """What the net takes.

        Args:
            device: Where the tensors go.
        """
        nodes_M = self.subgraph.nodes
        is_item_M = nodes_M >= self.num_users
        place_M = np.argsort(np.argsort(is_item_M, kind="stable"), kind="stable")
        return Around(
            torch.tensor(nodes_M[~is_item_M], device=device),
            torch.tensor(nodes_M[is_item_M] - self.num_users, device=device),
            torch.tensor(place_M, device=device),
            torch.tensor(self.own, device=device),
            torch.tensor(self.subgraph.seeds, dtype=torch.int64, device=device),
            adjacencies(self.subgraph, device),
        )


class RepresentationNet(nn.Module):
    """A node's vector is its own, for what is particular, beside layers over its surroundings.

    The wide part of a score is the product of the vectors of user and item themselves, which
    remembers pairs; the deep part is the product of what graph convolutions and layers of ReLU make
    of them, which generalises. So a score is one product of two vectors, which can be exported,
    ranked by and looked up.

    Args:
        graph: Of users and items, symmetric, N nodes.
        matrix: Entries of D^-1/2 (A + I) D^-1/2 beside its diagonal, shape (E,).
        num_users: U.
        dim: K.
        num_layers: Of convolutions.
        hidden: Sizes of the hidden layers above.
        table_lr: Learning rate of the tables' vectors.
        seed: Of their first values.
        vocabulary: Names of the vocabularies of users and items.

    Source: Kipf and Welling 2017, arXiv:1609.02907, eq. 2; Cheng et al. 2016, "Wide & deep learning
        for recommender systems", arXiv:1606.07792, eq. 3.
    """

    def __init__(
        self,
        graph: Graph,
        matrix: npt.NDArray[np.float32],
        num_users: int,
        dim: int,
        *,
        num_layers: int = 2,
        hidden: Sequence[int] = (64,),
        table_lr: float = 0.05,
        seed: int = 0,
        vocabulary: tuple[str, str] = ("user", "item"),
    ) -> None:
        super().__init__()
        sizes = (num_users, graph.num_nodes - num_users)
        self.user, self.item = (
            TableEmbedding(MemoryTable(size, dim, scale=0.1, seed=seed + place), name, lr=table_lr)
            for place, (size, name) in enumerate(zip(sizes, vocabulary, strict=True))
        )
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(num_layers))
        self.heads = nn.ModuleList(Mlp(dim, *hidden, dim) for _ in range(2))
        self.graph, self.matrix = graph, matrix
        self._tables: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Scores: of `around`, those of each row's item, then its negatives, shape (B, 1+n).

        Without it, of `user` and `item`, both (B,), by the vectors of all nodes, shape (B,).
        """
        if "around" not in batch:
            users_UK, items_IK = self.tables()
            score_B: Tensor = (users_UK[batch["user"]] * items_IK[batch["item"]]).sum(dim=1)
            return score_B
        around: Around = batch["around"]
        own_MK = torch.cat([self.user(around.users), self.item(around.items)])[around.place]
        deep_MK = self._convolved(own_MK, around.own, around.blocks)
        num_rows = len(batch["user"])
        own_SK, deep_SK = own_MK[around.seeds], deep_MK[around.seeds]
        user_BK = self._headed(own_SK[:num_rows], deep_SK[:num_rows], 0)
        item_SK = self._headed(own_SK[num_rows:], deep_SK[num_rows:], 1)
        item_nBK = item_SK.view(-1, num_rows, item_SK.shape[1])
        return torch.einsum("bk,nbk->bn", user_BK, item_nBK)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Vectors of all users and items, (U, 2K) and (I, 2K), over the whole graph."""
        if self._tables is not None:
            return self._tables
        device = next(self.parameters()).device
        own_NK = torch.cat([self.user.values, self.item.values]).to(device)
        whole = Adjacency.of(self.graph, self.matrix).to(device)
        own_N = torch.tensor(1.0 / (self.graph.degree() + 1.0), dtype=torch.float32, device=device)
        deep_NK = self._convolved(own_NK, own_N, (whole,) * len(self.layers))
        num_users = len(self.user.values)
        tables = (
            self._headed(own_NK[:num_users], deep_NK[:num_users], 0),
            self._headed(own_NK[num_users:], deep_NK[num_users:], 1),
        )
        if not self.training and not torch.is_grad_enabled():
            self._tables = tables
        return tables

    def train(self, mode: bool = True) -> Self:
        """Forgets the vectors that prediction has kept."""
        self._tables = None
        return super().train(mode)

    def _convolved(self, x_MK: Tensor, own_M: Tensor, blocks: Sequence[Adjacency]) -> Tensor:
        for layer, block in zip(self.layers, blocks, strict=True):
            num_nodes = block.shape[0]
            mixed_MK = own_M[:num_nodes, None] * x_MK[:num_nodes] + spmm(block, x_MK)
            x_MK = layer(mixed_MK).relu()
        return x_MK

    def _headed(self, own_SK: Tensor, deep_SK: Tensor, side: int) -> Tensor:
        return torch.cat([own_SK, self.heads[side](deep_SK)], dim=1)
