"""Quality of the models on real data, each by the published split where there is one.

Settings were chosen on parts of the training rows; docs/benchmarks.md says where that is not wholly
so (MR, daily). Where seeds matter, the mean over several is told. The figures do not depend on the
machine's load; the seconds do. The data are in ../shared/data or below TADKA_DATA.

    python quality.py --methods u1,cora_acc    some of the cells
    python quality.py --methods daily --earlier run.log --write
                                               and cells of an earlier run, by its last line
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import Bench, Cell, Table, use_own_environment

SEEDS = range(5)
TARGETS = {
    "u1_rmse": ("u1", "value", "<= 0.910"),
    "u1_rmse_side": ("u1_side", "value", "<= 0.905"),
    "cora_acc": ("cora_acc", "value", ">= 0.810"),
    "cora_sampled_gap": ("cora_sampled_gap", "value", "<= 0.01"),
    "lastfm_gain": ("lastfm_gain", "value", ">= 1.03"),
    "mr_acc": ("mr_acc", "value", ">= 0.76"),
    "cifar_gain": ("cifar_gain", "value", ">= 0.10"),
    "adult_auc": ("adult_auc", "value", ">= 0.92"),
    "daily_recall": ("daily", "recall", ">= 0.98"),
    "daily_cost": ("daily", "cost", "<= 0.15"),
}
TIMEOUT_S = 3600.0


def over_seeds(cell: Callable[[int], dict[str, Any]], metric: str) -> dict[str, Any]:
    """Mean of a metric over the seeds."""
    values = [cell(seed)[metric] for seed in SEEDS]
    return {"value": statistics.mean(values), "deviation": statistics.pstdev(values)}


def lastfm_gain(bpr: Any, lightgcn: Any) -> dict[str, Any]:
    """Recall of LightGCN by that of BPR, each the mean over the seeds."""
    found: dict[str, Any] = {}
    for name, cell in (("bpr", bpr), ("lightgcn", lightgcn)):
        runs = [cell(seed) for seed in SEEDS]
        for metric in ("recall@20", "ndcg@20"):
            found[f"{name}_{metric}"] = statistics.mean(run[metric] for run in runs)
    return {"value": found["lightgcn_recall@20"] / found["bpr_recall@20"], **found}


def cells() -> dict[str, Callable[[], dict[str, Any]]]:
    """Every cell by its name; imported late, because only a cell's own process needs torch."""
    import quality_growth as growth
    import quality_perception
    import quality_recommend as recommend

    return {
        "u1": lambda: over_seeds(recommend.u1, "rmse"),
        "u1_side": lambda: over_seeds(recommend.u1_side, "rmse"),
        "lastfm_gain": lambda: lastfm_gain(recommend.lastfm_bpr, recommend.lastfm_lightgcn),
        **quality_perception.CELLS,
        "daily": lambda: growth.daily(0),
        "segment": lambda: growth.segments(0),
    }


NAMES = (
    *("u1", "u1_side", "lastfm_gain", "cora_acc", "cora_sampled_gap", "mr_acc", "cifar_gain"),
    *("adult_auc", "daily", "segment"),
)


def run_cell(name: str) -> None:
    """Measures one cell and tells the harness."""
    begun_s = time.monotonic()
    found = cells()[name]()
    found["seconds"] = round(time.monotonic() - begun_s, 1)
    found["headline"] = f"{found.get('value', found.get('recall', 'done'))}"
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(found))


def rows_of(bench: Bench) -> list[list[Any]]:
    """A row for each figure of each cell."""
    rows: list[list[Any]] = []
    for name in NAMES:
        found = bench.results[0].get(name) if bench.results else None
        if found is None:
            continue
        told = {"headline", "elapsed_s", "others_cores", "peak_bytes", "runs", "seconds"}
        for key, value in flat(found):
            if key.partition(".")[0] not in told and isinstance(value, int | float):
                rows.append([name, key, f"{value:.4f}" if isinstance(value, float) else value])
        rows.append([name, "seconds", found["seconds"]])
        rows.append([name, "peak MB", round(found["peak_bytes"] / 2**20)])
    return rows


def flat(found: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Nested figures by dotted name."""
    rows: list[tuple[str, Any]] = []
    for key, value in found.items():
        if isinstance(value, dict):
            rows += flat(value, f"{above}{key}.")
        else:
            rows.append((above + key, value))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cells that are asked for and prints the table."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--cell", choices=NAMES)
    parser.add_argument("--earlier", type=Path, action="append", default=[])
    mine, others = parser.parse_known_args(arguments)
    if mine.cell:
        run_cell(mine.cell)
        return 0
    bench = Bench(
        "quality",
        __doc__,
        packages=["tadka", "torch", "numpy", "lightgbm", "optuna", "scikit-learn"],
        rounds=1,
        is_timed=False,
    )
    bench.parse(others)
    use_own_environment()
    here = ["quality.py", "--cell"]
    chosen = [Cell(name, [*here, name], timeout_s=TIMEOUT_S) for name in NAMES if bench.wants(name)]
    bench.run(chosen, warm_up=False)
    for log in mine.earlier:
        (before,) = json.loads(log.read_text().splitlines()[-1])["raw"]["rounds"]
        bench.results[0] = {**before, **bench.results[0]}
    for target, (cell, key, aim) in TARGETS.items():
        if bench.wants(cell) or cell in bench.results[0]:
            bench.target(target, bench.median(cell, key), aim)
    return bench.finish([Table("Quality", ["cell", "figure", "value"], rows_of(bench))])


if __name__ == "__main__":
    sys.exit(main())
