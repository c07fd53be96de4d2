"""Sampling of neighbours: `tadka.models.graph.sample`, and the loop that one writes first.

The graph is made up: nodes get their neighbours by a power law, so that some have thousands. Both
draw without replacement, up to the fanout, and number the nodes of the subgraph anew.
"""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NUM_NODES, NUM_EDGES = 200_000, 2_000_000
NUM_SEEDS, FANOUTS = 1024, (10, 10)
BATCHES = {"tadka": 40, "loop": 3}


def write(directory: Path) -> None:
    """Makes the graph."""
    from tadka.models.graph import build_graph

    rng = np.random.default_rng(0)
    src, dst = ((NUM_NODES * rng.random(NUM_EDGES) ** 2).astype(np.int64) for _ in range(2))
    build_graph((src, dst), directory / "graph", num_nodes=NUM_NODES, symmetric=True)


def tadka(directory: str) -> dict[str, Any]:
    """Ours."""
    from tadka.models.graph import Graph, sample

    graph = Graph.open(Path(directory, "graph"))
    return _measure("tadka", lambda seeds, rng: _edges(sample(graph, seeds, FANOUTS, rng)))


def loop(directory: str) -> dict[str, Any]:
    """A Python loop over nodes, with NumPy for the neighbours of each."""
    from tadka.models.graph import Graph

    graph = Graph.open(Path(directory, "graph"))
    indptr, indices = np.asarray(graph.indptr), np.asarray(graph.indices)
    return _measure("loop", lambda seeds, rng: _walk(indptr, indices, seeds, rng))


def _walk(indptr: Any, indices: Any, seeds: np.ndarray, rng: np.random.Generator) -> int:
    number = {int(node): place for place, node in enumerate(dict.fromkeys(seeds.tolist()))}
    frontier, num_edges = list(number), 0
    for fanout in FANOUTS:
        src, dst, reached = [], [], []
        for node in frontier:
            neighbours = indices[indptr[node] : indptr[node + 1]]
            if len(neighbours) > fanout:
                neighbours = neighbours[rng.choice(len(neighbours), fanout, replace=False)]
            for other in neighbours.tolist():
                if other not in number:
                    number[other] = len(number)
                    reached.append(other)
                src.append(number[other])
                dst.append(number[node])
        frontier = reached
        num_edges += len(src)
    return num_edges


def _edges(subgraph: Any) -> int:
    return sum(len(layer.src) for layer in subgraph.layers)


def _batches(count: int) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
    for number in range(count):
        rng = np.random.default_rng([0, number])
        yield rng.integers(0, NUM_NODES, NUM_SEEDS), rng


def _measure(name: str, draw: Any) -> dict[str, Any]:
    for seeds, rng in _batches(1):  # a warm-up
        draw(seeds, rng)
    edges, seconds = [], []
    for seeds, rng in _batches(BATCHES[name]):
        start_s = time.perf_counter()
        edges.append(draw(seeds, rng))
        seconds.append(time.perf_counter() - start_s)
    per_s = statistics.median(count / spent for count, spent in zip(edges, seconds, strict=True))
    return {
        "edges_per_s": per_s,
        "edges_per_batch": statistics.mean(edges),
        "headline": f"{per_s:,.0f} edges/s",
    }
