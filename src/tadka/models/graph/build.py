"""Builds a graph of edges: out of core to a folder, or in memory.

Shape letters: N nodes, E edges.
"""

import operator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError
from tadka.core.resource import parse_bytes
from tadka.models.graph.bucket import Builder
from tadka.models.graph.csr import Graph, index_type
from tadka.models.graph.edges import Edges, EdgeSource, completed, largest
from tadka.models.graph.run import joined, key_bits, ordered, run_of
from tadka.storage.publish import publish_directory

_LEAST_MEMORY = 1 << 20
_BLOCK_ROWS = 1 << 20


def build_graph(
    edges: Edges,
    folder: str | Path,
    *,
    num_nodes: int | None = None,
    symmetric: bool = False,
    weight: str | npt.ArrayLike | None = None,
    unique: bool = False,
    self_loops: bool = False,
    columns: tuple[str, str] = ("src", "dst"),
    memory: str | int = "1G",
    replace: bool = False,
) -> Graph:
    """Writes a graph to a folder, with bounded memory, and opens it.

    Args:
        edges: Table files (Parquet is read in batches, other formats piece by piece), globs or
            folders; or two arrays (src, dst), shape (E,) each. Ends are rows, from 0.
        folder: The folder to make, with `indptr.bin`, `indices.bin`, `weight.bin` where there are
            weights, and `graph.json`. It appears whole or not at all.
        num_nodes: Number of nodes, at most 2^35; None for the largest row and one.
        symmetric: Add each edge the other way round, too (but a loop only once). Not for edges
            that hold both directions already, unless `unique`.
        weight: Of each edge: the name of a column, or an array (E,) with edges from arrays.
        unique: Keep one of equal edges, with the sum of their weights.
        self_loops: Give each node one loop of weight 1, in place of any loops of the input.
        columns: Of both ends, for files.
        memory: The most that is used beside the page cache, at least `"1M"`; see
            `tadka.models.graph.bucket`.
        replace: Whether a folder that is there may be replaced.

    Returns:
        The graph, its arrays mapped from the folder.

    Raises:
        ConfigError: An argument is wrong.
        NotFound: A file does not exist.
        DataError: The folder exists, or an edge is not one: negative or beyond `num_nodes`, null,
            no whole number, with a weight that is not finite; or a file is damaged. It is named.
    """
    memory_bytes = parse_bytes(memory)
    if memory_bytes < _LEAST_MEMORY:
        raise ConfigError(f"memory is {memory!r}; a graph is built with at least '1M'.")
    source = EdgeSource(edges, columns, weight, _nodes_given(num_nodes))
    with publish_directory(folder, replace=replace) as aside:
        builder = Builder(aside, source, symmetric, unique, self_loops, memory_bytes)
        builder.build()
    return Graph.open(folder)


def graph_of(
    src: npt.ArrayLike,
    dst: npt.ArrayLike,
    num_nodes: int | None = None,
    *,
    symmetric: bool = False,
    weight: npt.ArrayLike | None = None,
    unique: bool = False,
    self_loops: bool = False,
) -> Graph:
    """The graph that `build_graph` would write, in memory.

    Args:
        src: One end of each edge, shape (E,).
        dst: The other, shape (E,).
        num_nodes: As in `build_graph`, at most 2^31.
        symmetric: As there.
        weight: As there, shape (E,).
        unique: As there.
        self_loops: As there.

    Raises:
        ConfigError: There are too many nodes.
        DataError: An edge is not one.
    """
    source = EdgeSource((src, dst), weight=weight, num_nodes=_nodes_given(num_nodes))
    blocks = list(source.blocks(_BLOCK_ROWS))
    num_nodes = source.num_nodes
    if num_nodes is None:
        num_nodes = max((largest(block) for block in blocks), default=-1) + 1
    bits = key_bits(num_nodes)
    if num_nodes > 2**31:
        raise ConfigError(f"The graph has {num_nodes} nodes; use build_graph above 2^31.")
    blocks = list(completed(iter(blocks), symmetric, self_loops, num_nodes, weight is not None))
    keys, weights = ordered(joined([run_of(block, bits) for block in blocks]), is_unique=unique)
    indptr = np.zeros(num_nodes + 1, np.int64)
    np.cumsum(np.bincount(keys >> bits, minlength=num_nodes), out=indptr[1:])
    indices = (keys & ((1 << bits) - 1)).astype(index_type(num_nodes))
    if weight is not None and weights is None:  # there was no block
        weights = np.empty(0, np.float32)
    return Graph(indptr, indices, weights, is_symmetric=symmetric or None)


def _nodes_given(num_nodes: int | None) -> int | None:
    if num_nodes is None:
        return None
    try:
        count = operator.index(num_nodes)
    except TypeError:
        count = -1
    if count < 0:
        raise ConfigError(f"num_nodes is {num_nodes!r}; it must be a whole number, at least 0.")
    return count
