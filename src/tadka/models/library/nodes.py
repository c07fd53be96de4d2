"""Nodes of a graph with words, as batches: some nodes, those around them, and all of their words.

The data have two further tables: `nodes` with the columns `node` and `words` (a list of whole
numbers), and `edges` with `source` and `target`, which count in both directions.

Letters of shapes: N nodes of the graph, M of a subgraph, E edges, W words of several nodes, one
after another, B rows of a batch, L layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tadka.core.error import DataError
from tadka.models.define.model import Prepared
from tadka.models.graph.build import graph_of
from tadka.models.graph.csr import Graph
from tadka.models.graph.sampler import Subgraph, sample
from tadka.models.net.graph import Nodes, adjacencies, to_nodes


def learn(data: Prepared) -> dict[str, Any]:
    """Graph and words as arrays; node 0 stands for all that are not in the table.

    Args:
        data: With the tables `nodes` and `edges`.

    Returns:
        `keys` (N,), ascending; `indptr` and `indices` of the graph with N+1 nodes; `matrix` (E,),
        the entries of D^-1/2 (A + I) D^-1/2 beside its diagonal; `word_indptr` (N+2,) and `words`,
        numbers of words from 0; the fact `num_words`.

    Raises:
        DataError: A table has not these columns, a node stands there twice, or an edge goes to a
            node that is not there.
    """
    nodes = _columns(data, "nodes", ("node", "words"))
    edges = _columns(data, "edges", ("source", "target"))
    key_N = np.asarray(nodes["node"])
    order_N = np.argsort(key_N, kind="stable")
    keys_N = key_N[order_N]
    if (keys_N[1:] == keys_N[:-1]).any():
        twice = keys_N[1:][keys_N[1:] == keys_N[:-1]][0]
        raise DataError(f"Table 'nodes' has node {twice} twice; each must be there once.")
    source_E, target_E = (rows_of(keys_N, np.asarray(edges[n])) for n in ("source", "target"))
    for name, row_E in (("source", source_E), ("target", target_E)):
        if (row_E == 0).any():
            missing = np.asarray(edges[name])[row_E == 0][0]
            raise DataError(f"Table 'edges' has node {missing}, which table 'nodes' has not.")
    graph = graph_of(source_E, target_E, len(keys_N) + 1, symmetric=True, unique=True)
    lists = nodes["words"].take(pa.array(order_N))
    words, word_W = np.unique(np.asarray(lists.flatten()), return_inverse=True)
    lengths_N = np.asarray(lists.value_lengths().fill_null(0))
    return {
        "keys": keys_N,
        "indptr": graph.indptr,
        "indices": graph.indices,
        "matrix": with_loops(graph),
        "word_indptr": np.concatenate([[0, 0], np.cumsum(lengths_N)]),
        "words": word_W.astype(np.int64),
        "num_words": max(len(words), 1),
    }


def with_loops(graph: Graph) -> npt.NDArray[np.float32]:
    """Entries of D^-1/2 (A + I) D^-1/2 beside its diagonal, D the degrees with the loops, (E,).

    Args:
        graph: A, without loops.

    Source: Kipf and Welling 2017, arXiv:1609.02907, eq. 2.
    """
    root_N = (graph.degree() + 1.0) ** -0.5
    row_E = np.repeat(np.arange(graph.num_nodes), graph.degree())
    return np.asarray(root_N[row_E] * root_N[graph.indices], np.float32)


def _columns(data: Prepared, table: str, names: Sequence[str]) -> dict[str, Any]:
    found = data.table(table)
    for name in names:
        if name not in found.column_names:
            raise DataError(
                f"Table {table!r} has no column {name!r}; it has: {', '.join(found.column_names)}."
            )
    return {name: found[name].combine_chunks() for name in names}


def rows_of(keys_N: npt.NDArray[Any], values_B: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Nodes of the graph by key, shape (B,); 0 for keys that it has not.

    Args:
        keys_N: As `learn` gave them.
        values_B: Keys.
    """
    place_B = np.searchsorted(keys_N, values_B)
    is_there_B = place_B < len(keys_N)
    is_there_B[is_there_B] = keys_N[place_B[is_there_B]] == values_B[is_there_B]
    return np.where(is_there_B, place_B + 1, 0)


@dataclass(frozen=True, eq=False)
class NodeBatch:
    """Nodes and what is around them, on their way to the net.

    Args:
        subgraph: With entries of a matrix as weights.
        words: Of all of its nodes, shape (W,).
        starts: Where those of each node begin, shape (M+1,).
        own: Entries of the matrix' diagonal, shape (M,).
    """

    subgraph: Subgraph
    words: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    own: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.subgraph.seeds)

    def to_tensors(self, device: Any) -> Nodes:
        """What the net takes.

        Args:
            device: Where the tensors go.
        """
        blocks = adjacencies(self.subgraph, device)
        return to_nodes(self.words, self.starts, self.own, self.subgraph.seeds, blocks, device)


def batch_of(
    state: Mapping[str, Any] | Any,
    values_B: npt.ArrayLike,
    fanouts: Sequence[int],
    rng: np.random.Generator | None = None,
    *,
    is_mean: bool = False,
) -> NodeBatch:
    """Nodes, with neighbours drawn around them.

    Args:
        state: Arrays of `learn`.
        values_B: Keys of nodes.
        fanouts: Neighbours to draw for each node, hop by hop; 0 for all.
        rng: Where draws come from.
        is_mean: Whether neighbours count alike, as in GraphSAGE, and not as in GCN's matrix.
    """
    graph = Graph(state["indptr"], state["indices"], is_symmetric=True)
    seeds_B = rows_of(state["keys"], np.asarray(values_B))
    subgraph = sample(
        graph,
        seeds_B,
        [fanout or None for fanout in fanouts],
        rng,
        matrix="mean" if is_mean else state["matrix"],
    )
    begin_M = state["word_indptr"][subgraph.nodes]
    count_M = state["word_indptr"][subgraph.nodes + 1] - begin_M
    starts = np.concatenate([[0], np.cumsum(count_M)])
    place_W = np.repeat(begin_M - starts[:-1], count_M) + np.arange(starts[-1])
    own_M = 1.0 / (graph.degree(subgraph.nodes) + 1.0)
    return NodeBatch(subgraph, state["words"][place_W], starts, own_M.astype(np.float32))


def example(num_rows: int, seed: int = 0) -> dict[str, pa.Table]:
    """Papers of two kinds that cite their own kind; see `Model.example`.

    Args:
        num_rows: Of `train`.
        seed: Of all of it.
    """
    rng = np.random.default_rng(seed)
    num_nodes = num_rows + 20
    kind_N = rng.integers(0, 2, num_nodes)
    ends_E2 = rng.integers(0, num_nodes, (6 * num_nodes, 2))
    ends_E2 = ends_E2[kind_N[ends_E2[:, 0]] == kind_N[ends_E2[:, 1]]]
    words_N4 = rng.integers(0, 12, (num_nodes, 4)) + 4 * kind_N[:, None]
    train = {"node": np.arange(num_rows) + 100, "label": kind_N[:num_rows]}
    edges = {"source": ends_E2[:, 0] + 100, "target": ends_E2[:, 1] + 100}
    nodes = {
        "node": np.arange(num_nodes) + 100,
        "words": pa.array([np.unique(row) for row in words_N4], pa.list_(pa.int64())),
    }
    return {"train": pa.table(train), "nodes": pa.table(nodes), "edges": pa.table(edges)}
