"""Neighbours of some nodes, hop by hop, and the subgraph they make, in its own numbers.

Each node's edges are drawn once, when it is first reached. So `layers[h]` are the edges into the
nodes first reached after h hops, and the nodes stand in the order of hops: seeds, then theirs, ...
A network of L layers needs in its first layer the edges into nodes of all hops but the last, in
its last layer those into the seeds alone: `Subgraph.block`.

Shape letters: B seeds, N nodes of the subgraph, E edges, F nodes whose edges are drawn, K draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError
from tadka.models.graph.csr import Floats, Graph, checked_rows
from tadka.models.graph.numbering import Numbering, Positions, Rows
from tadka.models.kernel.backend import kernels


@dataclass(frozen=True, eq=False)
class Layer:
    """Edges from `src` to `dst`, positions in the subgraph's nodes, in ascending order of `dst`.

    Args:
        src: Neighbours that were drawn, int32, shape (E,).
        dst: The nodes that they were drawn for, int32, shape (E,).
        weight: Entries of the matrix that was asked for, float32, shape (E,), or None.
        num_src: `src` is below it: nodes reached up to this hop.
        num_dst: `dst` is below it: nodes reached before.
    """

    src: Positions
    dst: Positions
    weight: Floats | None
    num_src: int
    num_dst: int

    @property
    def indptr(self) -> npt.NDArray[np.int64]:
        """Where the edges of each `dst` begin, shape (num_dst+1,)."""
        return np.searchsorted(self.dst, np.arange(self.num_dst + 1))


@dataclass(frozen=True, eq=False)
class Subgraph:
    """Nodes around some seeds, and edges between them.

    Args:
        seeds: Position of each seed in `nodes`, int32, shape (B,).
        nodes: Rows of the graph, each once, int64, shape (N,); the seeds first, then by hops.
        layers: Edges by hops; see `Layer`.
    """

    seeds: Positions
    nodes: Rows
    layers: tuple[Layer, ...]

    def block(self, index: int) -> Layer:
        """The edges for one layer of a network with as many layers as there are hops.

        Args:
            index: Of the layer, from 0, the one that sees the input, of vectors of all `nodes`.

        Returns:
            Edges from `num_src` vectors, what the layer gets, to `num_dst`, what it gives: those
            of the first `num_dst` nodes. The last layer gives those of the unique seeds.
        """
        hops = self.layers[: len(self.layers) - index]
        if len(hops) == 1:
            return hops[0]
        weights = [hop.weight for hop in hops if hop.weight is not None]
        return Layer(
            np.concatenate([hop.src for hop in hops]),
            np.concatenate([hop.dst for hop in hops]),
            np.concatenate(weights) if len(weights) == len(hops) else None,
            hops[-1].num_src,
            hops[-1].num_dst,
        )


# ------------------------------------------------------------------ sampling


def sample(
    graph: Graph,
    seeds: npt.ArrayLike,
    fanouts: Sequence[int | None],
    rng: np.random.Generator | None = None,
    *,
    matrix: Literal["mean", "symmetric"] | Floats | None = None,
    replace: bool = False,
) -> Subgraph:
    """Draws neighbours of seeds, of those neighbours, and so on; a function of its arguments alone.

    Args:
        graph: The graph.
        seeds: Rows, shape (B,); one that occurs twice is one node.
        fanouts: Neighbours to draw for each node, hop by hop; None for all, which needs no `rng`.
        rng: Where draws come from. For the same subgraphs whatever the number of workers, make it
            of seed, epoch and batch.
        matrix: Weights that the edges get. `"mean"`: 1 / number of edges drawn for the node.
            `"symmetric"`: entries of D^-1/2 A D^-1/2 for a graph without weights, as in
            `Graph.normalised`. An array (E,) in the order of `graph.indices`: its entries. Those
            of a matrix A are multiplied by degree / number drawn, so that the sum over drawn
            neighbours has the expectation of `A @ x`, and equals it where all were drawn.
        replace: Draw with replacement: always `fanout` draws, if a node has any edge, the same
            edge maybe twice. Without, each edge at most once, so all of a node that has no more.

    Returns:
        The subgraph. A node without edges gets none.

    Raises:
        ConfigError: A fanout is below 1, `rng` is missing, or `matrix` does not fit the graph.
        DataError: A seed is not a node.
    """
    _check(graph, fanouts, rng, matrix)
    seeds_B = checked_rows(seeds, graph.num_nodes)
    with Numbering(graph.num_nodes) as numbering:
        positions_B = numbering.add(seeds_B)
        layers: list[Layer] = []
        num_dst = 0
        extents: list[tuple[Rows, Rows]] = []  # where the edges of each node begin, how many
        for fanout in fanouts:
            num_before, num_dst = num_dst, numbering.num_nodes
            if len(extents) == len(layers):
                extents.append(_extent(graph, numbering.since(num_before)))
            start_F, degree_F = extents[-1]
            count_F, edge_E = _drawn(start_F, degree_F, fanout, rng, replace=replace)
            src_E = numbering.add(graph.indices, edge_E)
            weight = _scale(matrix, degree_F, count_F)
            if weight is not None and isinstance(matrix, np.ndarray):
                weight *= matrix[edge_E]
            elif weight is not None and matrix == "symmetric":
                extents.append(_extent(graph, numbering.since(num_dst)))  # the next hop's, too
                root_N = np.sqrt(np.concatenate([degree for _, degree in extents]))
                weight /= root_N.astype(np.float32)[src_E]
            dst_E = np.empty(len(src_E), np.int32)
            kernels().owners(num_before, np.asarray(count_F, np.int64), dst_E)
            layers.append(Layer(src_E, dst_E, weight, numbering.num_nodes, num_dst))
        return Subgraph(positions_B, numbering.since(0), tuple(layers))


def _check(graph: Graph, fanouts: Sequence[int | None], rng: object, matrix: object) -> None:
    for fanout in fanouts:
        if fanout is not None and not (isinstance(fanout, int | np.integer) and fanout >= 1):
            raise ConfigError(
                f"Fanout {fanout} must be a whole number of at least 1, or None for all."
            )
        if fanout is not None and rng is None:
            raise ConfigError(f"Fanout {fanout} draws neighbours; sample needs rng for that.")
    if isinstance(matrix, str) and matrix not in {"mean", "symmetric"}:
        raise ConfigError(f"matrix is {matrix!r}; it must be 'mean', 'symmetric' or an array.")
    if isinstance(matrix, str) and matrix == "symmetric" and graph.weight is not None:
        raise ConfigError("The graph has weights; give matrix=graph.normalised() instead.")
    if isinstance(matrix, np.ndarray) and matrix.shape != (graph.num_edges,):
        raise ConfigError(
            f"matrix has shape {matrix.shape}; it must have an entry for each of the "
            f"{graph.num_edges} edges."
        )


def _extent(graph: Graph, rows_F: Rows) -> tuple[Rows, Rows]:
    start_F = np.asarray(graph.indptr[rows_F], np.int64)
    return start_F, np.asarray(graph.indptr[rows_F + 1], np.int64) - start_F


def _drawn(
    start_F: Rows,
    degree_F: Rows,
    fanout: int | None,
    rng: np.random.Generator | None,
    *,
    replace: bool,
) -> tuple[Rows, Rows]:
    """How many edges each node gets, and their places in `graph.indices`, node by node."""
    if fanout is None or rng is None:
        return degree_F, _ranges(start_F, degree_F)
    if replace:
        has_edges_F = degree_F > 0
        offset_KF = _offsets(rng, (fanout, int(has_edges_F.sum())), degree_F[has_edges_F])
        return fanout * has_edges_F, (start_F[has_edges_F] + offset_KF).T.reshape(-1)
    count_F = np.minimum(degree_F, fanout)
    edge_E = np.empty(int(count_F.sum()), np.int64)
    unit_KL = rng.random((fanout, int((degree_F > fanout).sum())))
    kernels().pick(start_F, degree_F, unit_KL, edge_E)
    return count_F, edge_E


def _ranges(start_F: Rows, count_F: Rows) -> Rows:
    """start, start + 1, ... of each node, one after another."""
    found: Rows = np.empty(int(count_F.sum()), np.int64)
    kernels().ranges(np.ascontiguousarray(start_F, np.int64), np.asarray(count_F, np.int64), found)
    return found


def _offsets(rng: np.random.Generator, shape: tuple[int, int], bound_F: Rows) -> Rows:
    """Whole numbers below `bound_F`; the bias of rounding is below bound / 2^53."""
    return (rng.random(shape) * bound_F).astype(np.int64)


def _scale(matrix: object, degree_F: Rows, count_F: Rows) -> Floats | None:
    """The part of each edge's weight that depends on the node it was drawn for alone."""
    if matrix is None:
        return None
    share_F = 1.0 / np.maximum(count_F, 1)
    if isinstance(matrix, str):
        scale_F = share_F if matrix == "mean" else np.sqrt(degree_F) * share_F
    else:
        scale_F = degree_F * share_F
    return np.repeat(scale_F.astype(np.float32), count_F)
