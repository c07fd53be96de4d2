"""One transport, measured once: ``python -m transport.cell METHOD NUM_BATCHES``."""

import importlib
import resource
import sys
from typing import Any

import harness


def measure(method: str, num_batches: str) -> dict[str, Any]:
    """Run the method and add a line for the progress display."""
    # torch sends one descriptor for each tensor.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    figures: dict[str, Any] = importlib.import_module(f"transport.{method}").run(int(num_batches))
    speed, cost = figures["mb_per_s"], figures["cpu_s_per_gb"]
    return {**figures, "headline": f"{speed:,.0f} MB/s, {cost:.2f} CPU s/GB"}


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
