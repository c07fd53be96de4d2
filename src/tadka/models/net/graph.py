"""Graph convolutions over lists of edges: of a whole graph, or of one that was sampled.

Letters of shapes: M nodes of a subgraph, W words of all of them, B rows of a batch, D different
words, H units of a layer, C classes.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tadka.models.graph.propagate import Adjacency, spmm
from tadka.models.graph.sampler import Subgraph


class Nodes(NamedTuple):
    """Nodes of a subgraph.

    Args:
        words: Numbers of words, shape (W,).
        starts: Where those of each node begin, shape (M,).
        share: One over the number of words of the node that a word is of, shape (W,).
        own: What each node counts in its own sum, shape (M,).
        seeds: Places of the batch's rows among the nodes, shape (B,).
        blocks: Matrices of the layers, from vectors of more nodes to those of fewer.
    """

    words: Tensor
    starts: Tensor
    share: Tensor
    own: Tensor
    seeds: Tensor
    blocks: tuple[Adjacency, ...]


def to_nodes(
    words_W: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    own_M: npt.NDArray[np.float32],
    seeds_B: npt.NDArray[np.int32],
    blocks: tuple[Adjacency, ...],
    device: torch.device,
) -> Nodes:
    """Arrays as tensors.

    Args:
        words_W: Numbers of words.
        starts: Where those of each node begin, shape (M+1,).
        own_M: What each node counts in its own sum.
        seeds_B: Places of the batch's rows.
        blocks: Matrices of the layers.
        device: Where the tensors go.
    """
    count_M = np.diff(starts)
    share_W = np.repeat(1.0 / np.maximum(count_M, 1), count_M).astype(np.float32)
    return Nodes(
        torch.tensor(words_W, device=device),
        torch.tensor(starts[:-1], device=device),
        torch.tensor(share_W, device=device),
        torch.tensor(own_M, device=device),
        torch.tensor(seeds_B, dtype=torch.int64, device=device),
        blocks,
    )


def adjacencies(subgraph: Subgraph, device: torch.device) -> tuple[Adjacency, ...]:
    """Matrices of all layers, the one that sees the input first.

    Args:
        subgraph: With as many hops as there are layers.
        device: Where they go.
    """
    blocks = [subgraph.block(index) for index in range(len(subgraph.layers))]
    return tuple(Adjacency.of_block(block).to(device) for block in blocks)


class GraphNet(nn.Module):
    """Layers of graph convolutions over bags of words, whose last one gives the classes.

    Neighbours come as sparse matrices, so the same weights learn on the whole graph and on sampled
    neighbours, and with all neighbours drawn both give the same logits.

    Args:
        num_words: D.
        num_classes: C.
        hidden: H of the layers but the last.
        num_layers: Of convolutions, at least 1.
        dropout: Share of words and of units left out in training.
        is_sage: Whether a node has weights of its own beside those for the mean of its neighbours,
            as in GraphSAGE, instead of being one of its neighbours, as in GCN.

    Source: Kipf and Welling 2017, "Semi-supervised classification with graph convolutional
        networks", arXiv:1609.02907, eq. 2 and 9; Hamilton, Ying and Leskovec 2017, "Inductive
        representation learning on large graphs", arXiv:1706.02216, algorithm 1 (mean aggregator,
        without its normalisation).
    """

    def __init__(
        self,
        num_words: int,
        num_classes: int,
        *,
        hidden: int = 16,
        num_layers: int = 2,
        dropout: float = 0.5,
        is_sage: bool = False,
    ) -> None:
        super().__init__()
        self.is_sage, self.dropout = is_sage, dropout
        sizes = [hidden] * (num_layers - 1) + [num_classes]
        self.words = nn.Parameter(torch.empty(num_words, sizes[0] * (1 + is_sage)))
        self.layers = nn.ModuleList(
            nn.Linear(size, after * (1 + is_sage), bias=False) for size, after in pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        nn.init.xavier_uniform_(self.words)
        for linear in self.layers.parameters():
            nn.init.xavier_uniform_(linear)

    def forward(self, batch: Mapping[str, Nodes]) -> Tensor:
        """Logits of the rows of a batch, whose nodes are `node`, shape (B, C)."""
        nodes = batch["node"]
        # Words first, then neighbours: A (X W) never makes the wide product A X.
        share_W = nn.functional.dropout(nodes.share, self.dropout, self.training)
        x_MH = nn.functional.embedding_bag(
            nodes.words, self.words, nodes.starts, mode="sum", per_sample_weights=share_W
        )
        x_MH = self._mixed(x_MH, nodes, 0)
        for place, layer in enumerate(self.layers, start=1):
            x_MH = nn.functional.dropout(x_MH.relu(), self.dropout, self.training)
            x_MH = self._mixed(layer(x_MH), nodes, place)
        logits_BC: Tensor = x_MH[nodes.seeds]
        return logits_BC

    def _mixed(self, x_MH: Tensor, nodes: Nodes, place: int) -> Tensor:
        """Vectors of the next layer's nodes: of each node and its neighbours together."""
        block = nodes.blocks[place]
        num_nodes = block.shape[0]
        if self.is_sage:
            own_MH, x_MH = x_MH.chunk(2, dim=1)
            own_MH = own_MH[:num_nodes]
        else:
            own_MH = nodes.own[:num_nodes, None] * x_MH[:num_nodes]
        mixed_MH: Tensor = own_MH + spmm(block, x_MH.contiguous()) + self.biases[place]
        return mixed_MH
