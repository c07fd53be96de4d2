"""One method of stream_fm, measured once: ``python -m fm.cell METHOD DIRECTORY NUM_ROWS``."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import harness


def measure(method: str, directory: str, num_rows: str) -> dict[str, Any]:
    """Run the method; everything until its wall begins is its start-up."""
    begun_at = time.perf_counter()
    module = importlib.import_module(f"fm.{method}")
    # Ray ends workers without awaiting them: their CPU time must be read while they live.
    meter = harness.Meter(follow=method.startswith("ray"))
    files = sorted(map(str, Path(directory).glob("*.parquet")))
    learner = module.run(files, meter)
    # tadka trains in a process of its own, and brings its own figures from there.
    told = learner if isinstance(learner, dict) else learner.outcome()
    if told["rows"] != int(num_rows):
        raise RuntimeError(f"{method} trained {told['rows']} rows of {num_rows}.")
    figures = {
        "wall_s": meter.wall_s,
        "cpu_s": meter.cpu_s,
        "startup_s": meter.start_at - begun_at,
        "first_batch_s": told["first_at"] - meter.start_at,
        **told,
    }
    figures["idle_share"] = 1 - told["step_s"] / figures["wall_s"]
    figures["headline"] = (
        f"{figures['wall_s']:.2f} s wall, {figures['cpu_s']:.2f} s CPU, "
        f"first batch {figures['first_batch_s']:.2f} s, loss {told['loss']:.4f}"
    )
    return figures


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
