"""One method of stream_fm, measured once: ``python -m fm.cell METHOD DIRECTORY``."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import harness


def measure(method: str, directory: str) -> dict[str, Any]:
    begun_at = time.perf_counter()
    module = importlib.import_module(f"fm.{method}")
    # Ray ends workers without awaiting them: their CPU time must be read while they live.
    meter = harness.Meter(follow=method.startswith("ray"))
    files = sorted(map(str, Path(directory).glob("*.parquet")))
    learner = module.run(files, meter)
    outcome = learner if isinstance(learner, dict) else learner.outcome()
    wall_s = outcome.get("wall_s", meter.wall_s)
    start_at = outcome.get("start_at", meter.start_at)
    cpu_s = outcome.get("cpu_s", meter.cpu_s)
    return {
        **outcome,
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "startup_s": start_at - begun_at,
        "first_batch_s": outcome.get("first_batch_s", outcome["first_at"] - start_at),
        "idle_share": 1 - outcome["step_s"] / wall_s,
        "headline": f"{wall_s:.2f} s wall, {cpu_s:.2f} s CPU, {outcome['rows']} rows, "
        f"loss {outcome['loss']:.4f}",
    }


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
