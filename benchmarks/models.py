"""Training speed of factorization machines, BPR and LightGCN against their peers.

Same rows, batches and dimensions, one thread in each process. FM: Frappe's 57,722 rows eight times
over, ten fields, 16 factors, batches of 1,024, Adam. BPR: 500,000 made-up pairs of 20,000 users and
10,000 items, 64 dimensions, one negative a pair; implicit's and tadka's steps are of one pair, so
their batches mean nothing, RecBole's are of 1,024 by Adam. LightGCN: LastFM's 42,135 pairs, 3
layers, 64 dimensions, batches of 2,048, Adam.

Rows/s are those of the median epoch after the first. tadka's are of `tadka.models.train` as users
run it: from Parquet, with its checkpoints and its log, one preprocess worker beside the trainer.
"In one process" is the same with `stream.on: here`, on one core as the peers are. Peers have their
rows in memory, encoded.
"""

import os
import sys
import tempfile
from pathlib import Path

import harness

# Name of a cell: its method in modelling/, and the arguments behind the folder of the data.
FM = {
    "RecBole FM": ("recbole_fit.fm",),
    "FuxiCTR FM": ("fuxictr_fit.fm",),
    "DeepCTR-Torch FM": ("deepctr_fit.fm",),
    "tadka FM": ("tadka_fit.train", "fm"),
    "tadka FM in one process": ("tadka_fit.train", "fm", "here"),
    "tadka FM on arrays": ("arrays.fm",),
}
BPR = {
    "RecBole BPR": ("recbole_fit.bpr",),
    "implicit BPR": ("implicit_fit.bpr",),
    "implicit BPR on 2 threads": ("implicit_fit.bpr", "2"),
    "tadka BPR": ("tadka_fit.train", "bpr"),
    "tadka BPR in one process": ("tadka_fit.train", "bpr", "here"),
    "tadka BPR by Adam": ("tadka_fit.train", "bpr_adam"),
}
LIGHTGCN = {
    "RecBole LightGCN": ("recbole_fit.lightgcn",),
    "LightGCN's published loop": ("lightgcn_loop.lightgcn",),
    "tadka LightGCN": ("tadka_fit.train", "lightgcn"),
    "tadka LightGCN in one process": ("tadka_fit.train", "lightgcn", "here"),
}
SAMPLING = {
    "sample": ("sampling.tadka",),
    "Python loop": ("sampling.loop",),
}
# Against what a target is; "implicit BPR on 2 threads" is there to be seen.
PEERS = {
    "fm": ("RecBole FM", "FuxiCTR FM", "DeepCTR-Torch FM"),
    "bpr": ("RecBole BPR", "implicit BPR"),
    "lightgcn": ("RecBole LightGCN", "LightGCN's published loop"),
}
QUICK_LEFT_OUT = (
    "DeepCTR-Torch FM",
    "RecBole BPR",
    "tadka BPR by Adam",
    "implicit BPR on 2 threads",
)


def main() -> int:
    bench = harness.Bench(
        "models",
        __doc__,
        packages=[
            "tadka",
            "torch",
            "numpy",
            "recbole",
            "fuxictr",
            "deepctr-torch",
            "implicit",
            "scipy",
        ],
    )
    options = bench.parse()
    harness.use_own_environment()
    source = str(harness.HERE.parent / "src")
    sys.path.insert(0, source)  # the checkout beside this file, wherever tadka is installed from
    from modelling import rows, sampling

    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        rows.write(Path(directory))
        sampling.write(Path(directory))
        env = {
            "PYTHONPATH": os.pathsep.join([str(harness.HERE), source]),
            "BENCH_EPOCHS": "4" if options.quick else str(rows.EPOCHS),
        }
        cells = [
            harness.Cell(name, ["-m", "modelling.cell", method, directory, *more], env=env)
            for name, (method, *more) in {**FM, **BPR, **LIGHTGCN, **SAMPLING}.items()
            if bench.wants(name) and not (options.quick and name in QUICK_LEFT_OUT)
        ]
        bench.run(cells)
    for model, ours, aim in (
        ("fm", "tadka FM", ">= 2"),
        ("bpr", "tadka BPR", ">= 1"),
        ("lightgcn", "tadka LightGCN", ">= 1.5"),
    ):
        bench.target(f"{model}_vs_best", against_best(bench, ours, PEERS[model]), aim)
    bench.target(
        "sampler_vs_loop",
        bench.ratio(("sample", "edges_per_s"), ("Python loop", "edges_per_s")),
        ">= 20",
    )
    bench.target("trainer_busy", bench.median("tadka FM", "busy"), ">= 0.9")
    overhead = bench.ratio(("tadka FM on arrays", "rows_per_s"), ("tadka FM", "rows_per_s"))
    bench.target("stream_overhead", overhead, "<= 1.1")
    tables = [
        harness.Table(
            title,
            ["", "rows/s", "CPU s of the trainer an epoch", "trainer busy", "preprocess busy"],
            [
                [
                    name,
                    harness.spread(bench.values(name, "rows_per_s"), 0),
                    harness.spread(last_of(bench, name, "train_cpu_s"), 2),
                    harness.spread(bench.values(name, "busy"), 2),
                    harness.spread(bench.values(name, "preprocess_busy"), 2),
                ]
                for name in cells_of
            ],
        )
        for title, cells_of in (("FM", FM), ("BPR", BPR), ("LightGCN", LIGHTGCN))
    ]
    edges = [[name, harness.spread(bench.values(name, "edges_per_s"), 0)] for name in SAMPLING]
    tables.append(harness.Table("Neighbours, fanouts 10 and 10", ["", "edges/s"], edges))
    return bench.finish(tables, remarks(bench))


def against_best(bench: harness.Bench, ours: str, peers: tuple[str, ...]) -> float | None:
    """The least of the ratios to the peers, each a median over the rounds; None without peers."""
    ratios = [bench.ratio((ours, "rows_per_s"), (peer, "rows_per_s")) for peer in peers]
    return min((ratio for ratio in ratios if ratio is not None), default=None)


def last_of(bench: harness.Bench, cell: str, key: str) -> list[float]:
    """The last epoch's figure in each round."""
    return [values[-1] for values in bench.values(cell, key)]  # type: ignore[index]


def remarks(bench: harness.Bench) -> list[str]:
    """Ratios that are no targets."""
    found = []
    for model, ours in (
        ("fm", "tadka FM in one process"),
        ("bpr", "tadka BPR in one process"),
        ("bpr", "tadka BPR by Adam"),
        ("lightgcn", "tadka LightGCN in one process"),
    ):
        ratio = against_best(bench, ours, PEERS[model])
        if ratio is not None:
            found.append(f"{ours} against the fastest peer: {ratio:.2f}")
    two = ("tadka BPR", "rows_per_s"), ("implicit BPR on 2 threads", "rows_per_s")
    if (ratio := bench.ratio(*two)) is not None:
        found.append(f"tadka BPR against implicit with 2 threads: {ratio:.2f}")
    busy = {name: bench.median(name, "busy") for name in ("tadka BPR", "tadka LightGCN")}
    told = [f"{name} {share:.2f}" for name, share in busy.items() if share is not None]
    if told:
        found.append(f"trainer_busy is FM's; of the others: {', '.join(told)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
