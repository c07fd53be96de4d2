"""Building, opening and sampling a power-law graph that is larger than the memory it is built in.

Writes edges to Parquet in a temporary folder: E draws of two ends among N = E / 10 nodes, node k of
a shuffled ranking with a probability proportional to k^-0.6, so that degrees have a tail of
exponent 1 + 1/0.6. Builds the graph both ways round (2 E entries) in a process of its own, whose
peak memory is that of the build; opens and samples it in another one. The folder is removed.

    python benchmarks/graph_scale.py --edges 20_000_000 --memory 512M

With `--train`, the edges are pairs of E / 12 users and E / 60 items, drawn alike, and the model
`representation` (64 dimensions, 10 negatives, 10 neighbours in each of 2 layers) is trained on
`--rows` of them, its neighbours drawn from the graph of all, as `tadka model train` does it: data
are prepared and checked, vocabularies and graph made (the first process), then one worker draws and
one process trains (the second one and its own). Tables are mapped files, or `--tables memory`.

    python benchmarks/graph_scale.py --train --edges 20_000_000 --rows 131_072

Ends with one line of JSON: seconds, bytes a node and an edge on disk, peak memory.
"""

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from harness import tree_pids

EXPONENT = 0.6
PART_ROWS = 1 << 20
SEEDS, FANOUTS, BATCHES = 1024, (10, 10), 50
USERS_AN_EDGE, ITEMS_AN_EDGE = 1 / 12, 1 / 60


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


def write_pairs(folder: Path, num_pairs: int, num_first: int) -> None:
    """Parquet parts of users and items; the first one has `num_first` rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sizes = [max(2, int(num_pairs * share)) for share in (USERS_AN_EDGE, ITEMS_AN_EDGE)]
    starts = [0, *range(num_first, num_pairs, PART_ROWS)]
    for part, (start, stop) in enumerate(itertools.pairwise([*starts, num_pairs])):
        rng = np.random.default_rng([1, part])
        draws = rng.random((2, stop - start)) ** (1 / (1 - EXPONENT))
        ids = [(size * draw).astype(np.int64) for size, draw in zip(sizes, draws, strict=True)]
        table = pa.table({"user": ids[0] * 7 + 3, "item": ids[1] * 7 + 5})  # keys, no rows
        path = folder / f"part-{part:04}.parquet"
        pq.write_table(table, path, compression="zstd", row_group_size=1 << 16)


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


def measure_prepare(folder: str, tables: str, is_checked: str) -> dict[str, Any]:
    """What `train` does before the loop; the state stays in the folder."""
    import torch  # noqa: F401  # before the clock

    from tadka.models.data.check import check
    from tadka.models.data.prepare import prepare
    from tadka.models.graph import Graph
    from tadka.models.library.taken import GRAPH
    from tadka.models.train.bind import bind

    before, config, found = peak_mb(), _config(folder, tables), {}
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        found[f"{name}_s"], start = round(now - start, 1), now
        found[f"after_{name}_peak_mb"] = round(peak_mb())

    data = prepare(config.data, Path(folder, "data"))
    lap("prepare")
    if is_checked == "True":
        check(data, config.model.inputs, task=config.model.task, config=config.check)
        lap("check")
    model = bind(config.model, data, _state(folder), None)
    lap("bind")
    graph = Graph.open(_state(folder) / GRAPH)
    rows = model.state.size("user") + model.state.size("item")
    return {
        "nodes": graph.num_nodes,
        "entries": graph.num_edges,
        "graph_bytes": _disk(_state(folder) / GRAPH),
        "vocabulary_bytes_a_node": round(_disk(_state(folder) / "vocabulary") / rows, 1),
        "interpreter_and_torch_mb": round(before),
        **found,
    }


def measure_train(folder: str, tables: str, num_rows: str) -> dict[str, Any]:
    """One epoch over the first part."""
    import dataclasses

    from tadka.models.data.prepare import prepare
    from tadka.models.define.state import State
    from tadka.models.train.loop import run_loop

    config, run = _config(folder, tables), Path(folder, "run")
    data = prepare(config.data, Path(folder, "data"))
    part = {"train": data.parts["train"][:1]}
    part_data = dataclasses.replace(data, parts=part, counts={"train": int(num_rows)})
    model = config.model.bound(State(_state(folder)))
    with Watch(run) as watch:
        report = run_loop(
            model,
            part_data,
            config.stream,
            run,
            start=None,
            origin={"run": "", "module": None, "code": ""},
            resume=False,
            progress="none",
        )
    batches = [
        {name: column[: model.batch_rows] for name, column in rows.items()}
        for rows in itertools.islice(part_data.scan("train", None, model.batch_rows), 4)
    ]
    drawn = [model.train_preprocess(rows, np.random.default_rng(0))["around"] for rows in batches]
    edges = np.mean([sum(len(hop.src) for hop in each.subgraph.layers) for each in drawn])
    rows_per_s = report.rows_out / report.seconds
    return {
        "rows": report.rows_out,
        "steps": report.steps,
        "train_s": round(report.seconds, 1),
        "first_batch_s": report.first_batch_s,
        "rows_per_s": round(rows_per_s),
        "edges_a_batch": round(edges),
        "nodes_a_batch": round(np.mean([len(each.subgraph.nodes) for each in drawn])),
        "sampled_edges_per_s": round(edges * rows_per_s / model.batch_rows),
        "stages": {
            stage.name: {
                "busy": round(stage.busy_share, 2),
                "waits_in": round(stage.wait_input_share, 2),
                "waits_out": round(stage.wait_output_share, 2),
                "cpu_s": round(stage.cpu_s, 1),
                "peak_mb": round(stage.peak_memory_bytes / 2**20),
            }
            for stage in report.stages
        },
        "tables_bytes": _disk(run / "model" / "weights"),
        "tables_peak_disk_bytes": watch.disk_bytes,
        "peak_mb_by_process": watch.table(),
    }


def _config(folder: str, tables: str) -> Any:
    from tadka.models.train.config import read

    return read(
        {
            "data": {"train": str(Path(folder, "pairs"))},
            "model": {"name": "representation", "epochs": 1, "tables": tables},
            "check": {"accept": ["NoDuplicates"]},
        }
    )


def _state(folder: str) -> Path:
    return Path(folder, "run", "model", "state")


def _disk(folder: Path) -> int:
    """Bytes on the disk below a folder, each file once."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found[status.st_ino] = status.st_blocks * 512
    return sum(found.values())


class Watch:
    """Looks at the memory of this process and its descendants, and at a folder, all the time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk_bytes = 0
        self._peak: dict[int, tuple[str, int, int]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.5):
            self.disk_bytes = max(self.disk_bytes, _disk(self.folder / "tables"))
            for pid in tree_pids(os.getpid()):
                with contextlib.suppress(OSError, LookupError):
                    status = dict(
                        line.split(":", 1)
                        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    )
                    all_mb, own_mb = (int(status[n].split()[0]) >> 10 for n in ("VmHWM", "RssAnon"))
                    own_mb = max(own_mb, self._peak.get(pid, ("", 0, 0))[2])
                    self._peak[pid] = (status["Name"].strip(), all_mb, own_mb)

    def table(self) -> list[dict[str, Any]]:
        """Processes, the largest first: all that was resident, and what is the process' own."""
        found = sorted(self._peak.values(), key=lambda each: -each[1])
        return [{"name": n, "resident_mb": a, "anonymous_mb": o} for n, a, o in found if a > 1]


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


def trained(options: argparse.Namespace) -> dict[str, Any]:
    """A training; its folder is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="tadka-graph-") as name:
        pairs = Path(name, "pairs")
        pairs.mkdir()
        write_pairs(pairs, options.edges, options.rows)
        parquet_bytes = _disk(pairs)
        made = in_fresh_process("--stage", "prepare", name, options.tables, str(options.check))
        done = in_fresh_process("--stage", "train", name, options.tables, str(options.rows))
        return {
            "benchmark": "graph_scale --train",
            "edges": options.edges,
            "tables": options.tables,
            "parquet_bytes_an_edge": round(parquet_bytes / options.edges, 2),
            "graph_bytes_an_edge": round(made["graph_bytes"] / options.edges, 2),
            "graph_bytes_a_node": round(made["graph_bytes"] / made["nodes"], 1),
            "table_bytes_a_node": round(done["tables_bytes"] / made["nodes"], 1),
            "all_disk_bytes": _disk(Path(name)),
            **made,
            **done,
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edges", type=int, default=20_000_000)
    parser.add_argument("--memory", default="512M", help="what build_graph may use")
    parser.add_argument("--train", action="store_true", help="train on a graph of users and items")
    parser.add_argument("--rows", type=int, default=1 << 17, help="rows that are trained")
    parser.add_argument("--tables", default="mapped", choices=("mapped", "memory"))
    parser.add_argument("--no-check", dest="check", action="store_false", help="of the data")
    parser.add_argument("--stage", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        stage, *arguments = options.stage
        run = {
            "build": measure_build,
            "use": measure_use,
            "prepare": measure_prepare,
            "train": measure_train,
        }[stage]
        print(json.dumps(run(*arguments)))
        return
    if options.train:
        print(json.dumps(trained(options)))
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
