"""Moving batches from two producers to one consumer, in megabytes per second.

Payloads: `columns` is 20 columns of 4096 rows (10 int64, 10 float32: 491,520 B), `images` is
64 x 3 x 224 x 224 uint8 (9.63 MB). The producers do no work; the consumer reads one byte of every
64 of each array, and checks that the sum is that of what was sent. Start-up and the first tenth
of the batches are left out; CPU time is that of all processes.

Limits of the same round: a consumer that only reads local buffers, 16 in rotation (as many as two
workers with eight slots each would hold), one thread that copies between 16 pairs of buffers, and
a ring without messages between a producer and the consumer (see transport/limit_ring.py).
"""

import sys
import tempfile
from pathlib import Path

import harness

METHODS = {
    "limit_read": "limit: consumer only reads",
    "limit_memcpy": "limit: memcpy",
    "limit_ring": "limit: copy in, read on another core, no messages",
    "tadka_flow": "tadka",
    "zeromq": "ZeroMQ ipc, pickle 5",
    "ray_core": "Ray object store",
    "dataloader": "torch DataLoader",
    "dataloader_packed": "torch DataLoader, one packed tensor",
    "torch_queue": "torch.multiprocessing queue",
    "dask_futures": "Dask futures",
}
# Batches so that each method moves for about two seconds.
NUM_BATCHES = {
    "columns": {
        "limit_read": 30_000,
        "limit_memcpy": 30_000,
        "limit_ring": 20_000,
        "tadka_flow": 20_000,
        "zeromq": 6_000,
        "ray_core": 1_500,
        "dataloader": 500,
        "dataloader_packed": 3_000,
        "torch_queue": 500,
        "dask_futures": 500,
    },
    "images": {
        "limit_read": 3_000,
        "limit_memcpy": 2_000,
        "limit_ring": 1_200,
        "tadka_flow": 1_200,
        "zeromq": 700,
        "ray_core": 300,
        "dataloader": 300,
        "torch_queue": 300,
        "dask_futures": 150,
    },
}
# What the targets need, and the nearest plain peer.
QUICK = ("limit_read", "limit_memcpy", "limit_ring", "tadka_flow", "zeromq", "dataloader")


def main() -> int:
    bench = harness.Bench(
        "stream_transport",
        __doc__,
        packages=["tadka", "torch", "ray", "distributed", "pyarrow", "pyzmq", "numpy"],
    )
    options = bench.parse()
    harness.use_own_environment()
    from peers import ray_session

    methods = [m for m in (QUICK if options.quick else METHODS) if bench.wants(m)]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        ray_environment = ray_session.environment(Path(directory))
        cells = []
        for payload, counts in NUM_BATCHES.items():
            for method in methods:
                if method in counts:
                    env = {"TRANSPORT_PAYLOAD": payload, "TRANSPORT_BATCHES": str(counts[method])}
                    env |= ray_environment if method == "ray_core" else {}
                    arguments = ["-m", "transport.cell", method, str(counts[method])]
                    cells.append(harness.Cell(name_of(method, payload), arguments, env, 180))
        bench.run(cells)
    for name, over, under, aim in (
        ("columns_vs_read", ("tadka_flow", "columns"), ("limit_read", "columns"), ">= 0.65"),
        ("images_vs_memcpy", ("tadka_flow", "images"), ("limit_memcpy", "images"), ">= 0.75"),
    ):
        speeds = (name_of(*over), "mb_per_s"), (name_of(*under), "mb_per_s")
        bench.target(name, bench.ratio(*speeds), aim)
    for payload, counts in NUM_BATCHES.items():
        for method in methods:
            ours, theirs = name_of("tadka_flow", payload), name_of(method, payload)
            ratio = bench.ratio((ours, "mb_per_s"), (theirs, "mb_per_s"))
            if ratio is not None and method in counts and method != "tadka_flow":
                bench.raw.setdefault("tadka_vs", {})[theirs] = round(ratio, 3)
    return bench.finish([table(bench, payload, methods) for payload in NUM_BATCHES])


def name_of(method: str, payload: str) -> str:
    return f"{method} {payload}"


def table(bench: harness.Bench, payload: str, methods: list[str]) -> harness.Table:
    rows = []
    for method in methods:
        cell = name_of(method, payload)
        if method not in NUM_BATCHES[payload]:
            continue
        if cell in bench.missing or cell in bench.failed:
            rows.append([METHODS[method], "missing" if cell in bench.missing else "failed", "-"])
            continue
        speed = harness.spread(bench.values(cell, "mb_per_s"), 0)
        rows.append([METHODS[method], speed, harness.spread(bench.values(cell, "cpu_s_per_gb"))])
    return harness.Table(payload, ["method", "MB/s", "CPU s/GB"], rows)


if __name__ == "__main__":
    sys.exit(main())
