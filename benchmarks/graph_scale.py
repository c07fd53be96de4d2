"""Building, opening and sampling a power-law graph that is larger than the memory it is built in.

Writes edges to Parquet in a temporary folder: E draws of two ends among N = E / 10 nodes, node k of
a shuffled ranking with a probability proportional to k^-0.6, so that degrees have a tail of
exponent 1 + 1/0.6. Builds the graph both ways round (2 E entries) in a process of its own, whose
peak memory is that of the build; opens and samples it in another one. The folder is removed.

    python benchmarks/graph_scale.py --edges 20_000_000 --memory 512M

Ends with one line of JSON: seconds, bytes a node and an edge on disk, peak memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

EXPONENT = 0.6
PART_ROWS = 1 << 20
SEEDS, FANOUTS, BATCHES = 1024, (10, 10), 50


def write_edges(folder: Path, num_edges: int, num_nodes: int) -> None:
    """Parquet parts of edges; nodes of neighbouring ranks are far apart."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    step = next(
        s for s in range(int(num_nodes * 0.618), 2 * num_nodes) if np.gcd(s, num_nodes) == 1
    )
    for part, start in enumerate(range(0, num_edges, PART_ROWS)):
        rng = np.random.default_rng([0, part])
        draws = rng.random((2, min(PART_ROWS, num_edges - start)))
        rank = (num_nodes * draws ** (1 / (1 - EXPONENT))).astype(np.int64)
        src, dst = (rank * step + np.array([[0], [num_nodes // 2]])) % num_nodes
        table = pa.table({"src": src, "dst": dst})
        pq.write_table(table, folder / f"part-{part:04}.parquet", compression="zstd")


def measure_build(edges: str, folder: str, memory: str) -> dict[str, Any]:
    import pyarrow.parquet  # noqa: F401  # before the clock: its import is no part of the build

    from tadka.models.graph import build_graph

    before = peak_mb()
    start = time.perf_counter()
    graph = build_graph(edges, folder, symmetric=True, memory=memory)
    seconds = time.perf_counter() - start
    sizes = {path.name: path.stat().st_size for path in Path(folder).glob("*.bin")}
    return {
        "nodes": graph.num_nodes,
        "entries": graph.num_edges,
        "build_s": round(seconds, 2),
        "input_edges_per_s": round(graph.num_edges / 2 / seconds),
        "bytes_a_node_on_disk": round(sizes["indptr.bin"] / graph.num_nodes, 2),
        "bytes_an_entry_on_disk": round(sizes["indices.bin"] / graph.num_edges, 2),
        "interpreter_mb": round(before),
        "build_peak_mb": round(peak_mb()),
    }


def measure_use(folder: str) -> dict[str, Any]:
    from tadka.models.graph import Graph, sample

    before = peak_mb()
    start = time.perf_counter()
    graph = Graph.open(folder)
    open_s = time.perf_counter() - start
    degree = graph.degree()
    num_drawn, start = 0, time.perf_counter()
    for batch in range(BATCHES):
        rng = np.random.default_rng([0, batch])
        found = sample(graph, rng.integers(0, graph.num_nodes, SEEDS), FANOUTS, rng)
        num_drawn += sum(len(layer.src) for layer in found.layers)
    seconds = time.perf_counter() - start
    return {
        "open_ms": round(1e3 * open_s, 1),
        "max_degree": int(degree.max()),
        "nodes_without_edges": int((degree == 0).sum()),
        "sampled_edges_per_s": round(num_drawn / seconds),
        "sample_batch_ms": round(1e3 * seconds / BATCHES, 2),
        "sampler_added_mb": round(peak_mb() - before),  # with the file pages it touched
    }


def peak_mb() -> float:
    """Of this program; ru_maxrss would begin with that of the process it was forked from."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def in_fresh_process(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edges", type=int, default=20_000_000)
    parser.add_argument("--memory", default="512M", help="what build_graph may use")
    parser.add_argument("--stage", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage, *arguments = options.stage
        run = {"build": measure_build, "use": measure_use}[stage]
        print(json.dumps(run(*arguments)))
        return
    with tempfile.TemporaryDirectory(prefix="tadka-graph-") as name:
        edges, folder = Path(name, "edges"), Path(name, "graph")
        edges.mkdir()
        write_edges(edges, options.edges, max(2, options.edges // 10))
        parquet_bytes = sum(path.stat().st_size for path in edges.iterdir())
        result = {
            "benchmark": "graph_scale",
            "edges": options.edges,
            "memory": options.memory,
            "parquet_bytes_an_edge": round(parquet_bytes / options.edges, 2),
            **in_fresh_process("--stage", "build", str(edges), str(folder), options.memory),
            **in_fresh_process("--stage", "use", str(folder)),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
