"""Vectors of users and items by graph convolutions, below a wide and deep head.

Letters of shapes: U users and I items, row 0 of both for the unseen; N = I + U nodes, items first;
M nodes of a subgraph, S of them seeds; K dimensions, B rows of a batch, n negatives a row;
R nodes of a block, E edges of it.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tadka.models.graph.csr import Graph
from tadka.models.graph.propagate import Adjacency, spmm
from tadka.models.graph.sampler import Subgraph
from tadka.models.net.graph import adjacencies
from tadka.models.net.groups import Mlp
from tadka.models.net.kept import Kept
from tadka.models.net.tables import MappedEmbedding, TableEmbedding

_BLOCK_NODES, _BLOCK_EDGES = 1 << 16, 1 << 21


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
        num_items: I.
        num_rows: B.
    """

    subgraph: Subgraph
    own: npt.NDArray[np.float32]
    num_items: int
    num_rows: int

    def __len__(self) -> int:
        return self.num_rows

    def to_tensors(self, device: Any) -> Around:
        """What the net takes.

        Args:
            device: Where the tensors go.
        """
        nodes_M = self.subgraph.nodes
        is_user_M = nodes_M >= self.num_items
        place_M = np.argsort(np.argsort(is_user_M, kind="stable"), kind="stable")
        return Around(
            torch.tensor(nodes_M[is_user_M] - self.num_items, device=device),
            torch.tensor(nodes_M[~is_user_M], device=device),
            torch.tensor(place_M, device=device),
            torch.tensor(self.own, device=device),
            torch.tensor(self.subgraph.seeds, dtype=torch.int64, device=device),
            adjacencies(self.subgraph, device),
        )


class RepresentationNet(Kept):
    """A node's vector is its own, for what is particular, beside layers over its surroundings.

    The wide part of a score is the product of the vectors of user and item themselves, which
    remembers pairs; the deep part is the product of what graph convolutions and layers of ReLU make
    of them, which generalises. So a score is one product of two vectors, which can be exported,
    ranked by and looked up.

    Args:
        graph: Of items and users, symmetric, N nodes.
        user: Table of the users' vectors, U rows.
        item: Of the items', I rows.
        dim: K.
        num_layers: Of convolutions.
        hidden: Sizes of the hidden layers above.

    Source: Kipf and Welling 2017, arXiv:1609.02907, eq. 2; Cheng et al. 2016, "Wide & deep learning
        for recommender systems", arXiv:1606.07792, eq. 3.
    """

    def __init__(
        self,
        graph: Graph,
        user: TableEmbedding | MappedEmbedding,
        item: TableEmbedding | MappedEmbedding,
        dim: int,
        *,
        num_layers: int = 2,
        hidden: Sequence[int] = (64,),
    ) -> None:
        super().__init__()
        self.user, self.item = user, item
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(num_layers))
        self.heads = nn.ModuleList(Mlp(dim, *hidden, dim) for _ in range(2))
        self.graph = graph

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Scores: of `around`, those of each row's item, then its negatives, shape (B, 1+n).

        Without it, of `user` and `item`, both (B,), by the vectors of all nodes, shape (B,).
        """
        if "around" not in batch:
            users_UK, items_IK = self.tables()
            users_BK, items_BK = users_UK[batch["user"].cpu()], items_IK[batch["item"].cpu()]
            score_B: Tensor = (users_BK * items_BK).sum(dim=1)
            return score_B.to(batch["user"].device)
        around: Around = batch["around"]
        own_MK = torch.cat([self.item(around.items), self.user(around.users)])[around.place]
        deep_MK = self._convolved(own_MK, around.own, around.blocks)
        num_rows = len(batch["user"])
        own_SK, deep_SK = own_MK[around.seeds], deep_MK[around.seeds]
        user_BK = self._headed(own_SK[:num_rows], deep_SK[:num_rows], 0)
        item_SK = self._headed(own_SK[num_rows:], deep_SK[num_rows:], 1)
        item_nBK = item_SK.view(-1, num_rows, item_SK.shape[1])
        return torch.einsum("bk,nbk->bn", user_BK, item_nBK)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Vectors of all users and items, (U, 2K) and (I, 2K), over the whole graph, without grad.

        Made layer by layer, a block of nodes at a time. With mapped tables they are in files, too:
        memory is bounded, and the folder of temporary files holds 3 to 4 vectors a node meanwhile.
        """
        with torch.no_grad():
            return self.made()

    def make(self) -> tuple[Tensor, Tensor]:
        """Vectors of all users and items, block by block."""
        read: Callable[[npt.NDArray[np.int64]], Tensor] = self._own
        for layer in self.layers:
            deep_NK = self._space(layer.get_parameter("weight").shape[0])
            for nodes_R in self._blocks():
                mixed_RK = self._mixed(nodes_R, read)
                deep_NK[nodes_R[0] : nodes_R[-1] + 1] = layer(mixed_RK).relu().cpu()
            read = self._reader(deep_NK)
        whole = self._space(2 * self.item.table.dim)
        num_items = self.item.table.num_rows
        for nodes_R in self._blocks():
            side = int(nodes_R[0] < num_items)
            found_RK = self._headed(self._own(nodes_R), read(nodes_R), side)
            whole[nodes_R[0] : nodes_R[-1] + 1] = found_RK.cpu()
        return whole[num_items:], whole[:num_items]

    def _convolved(self, x_MK: Tensor, own_M: Tensor, blocks: Sequence[Adjacency]) -> Tensor:
        for layer, block in zip(self.layers, blocks, strict=True):
            num_nodes = block.shape[0]
            mixed_MK = own_M[:num_nodes, None] * x_MK[:num_nodes] + spmm(block, x_MK)
            x_MK = layer(mixed_MK).relu()
        return x_MK

    def _headed(self, own_SK: Tensor, deep_SK: Tensor, side: int) -> Tensor:
        return torch.cat([own_SK, self.heads[side](deep_SK)], dim=1)

    # -- the whole graph by blocks -------------------------------------------------------------

    def _blocks(self) -> Iterator[npt.NDArray[np.int64]]:
        """All nodes in order; none of the blocks has both kinds, or many more edges than others."""
        num_items, start = self.item.table.num_rows, 0
        while start < self.graph.num_nodes:
            most = self.graph.indptr[start] + _BLOCK_EDGES
            stop = int(np.searchsorted(self.graph.indptr, most, side="right")) - 1
            stop = min(max(stop, start + 1), start + _BLOCK_NODES, self.graph.num_nodes)
            stop = num_items if start < num_items < stop else stop
            yield np.arange(start, stop)
            start = stop

    def _mixed(
        self, nodes_R: npt.NDArray[np.int64], read: Callable[[npt.NDArray[np.int64]], Tensor]
    ) -> Tensor:
        """Rows of the product of the matrix and the vectors of all nodes, (R, K)."""
        starts = self.graph.indptr[nodes_R[0] : nodes_R[-1] + 2]
        ends_E = self.graph.indices[starts[0] : starts[-1]]
        seen, place = np.unique(np.concatenate([nodes_R, ends_E]), return_inverse=True)
        root = (self.graph.degree(seen) + 1.0) ** -0.5
        own, end_E = place[: len(nodes_R)], place[len(nodes_R) :]
        value_E = root[np.repeat(own, np.diff(starts))] * root[end_E]
        x_MK = read(seen)
        device = x_MK.device
        summed_RK = nn.functional.embedding_bag(
            torch.tensor(end_E, device=device),
            x_MK,
            torch.tensor(starts[:-1] - starts[0], device=device),
            mode="sum",
            per_sample_weights=torch.tensor(value_E, dtype=torch.float32, device=device),
        )
        own_R = torch.tensor(root[own] ** 2, dtype=torch.float32, device=device)
        return own_R[:, None] * x_MK[torch.tensor(own, device=device)] + summed_RK

    def _own(self, nodes_M: npt.NDArray[np.int64]) -> Tensor:
        """Vectors of the tables, of nodes in ascending order, (M, K)."""
        num_items = self.item.table.num_rows
        cut = int(np.searchsorted(nodes_M, num_items))
        items, users = torch.tensor(nodes_M[:cut]), torch.tensor(nodes_M[cut:] - num_items)
        return torch.cat([self.item(items), self.user(users)]).to(self._device())

    def _reader(self, vectors_NK: Tensor) -> Callable[[npt.NDArray[np.int64]], Tensor]:
        device = self._device()
        return lambda nodes_M: vectors_NK[torch.tensor(nodes_M)].to(device)

    def _device(self) -> torch.device:
        return next(self.heads.parameters()).device

    def _space(self, width: int) -> Tensor:
        """Room for a vector of each node; in a file without a name where the tables are mapped."""
        shape = (self.graph.num_nodes, width)
        if not isinstance(self.item, MappedEmbedding):
            return torch.empty(shape)
        with tempfile.TemporaryFile() as file:
            return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
