"""One method, measured once: ``python -m ctr.cell MODULE METHOD DIRECTORY [ARGUMENT]``."""

import importlib
import sys
from pathlib import Path
from typing import Any

import harness

from ctr import timing


def measure(module: str, method: str, directory: str, *arguments: str) -> dict[str, Any]:
    """Run the method on one core."""
    timing.pin()
    run = getattr(importlib.import_module(f"ctr.{module}"), method)
    figures: dict[str, Any] = run(Path(directory), *map(int, arguments))
    return figures


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
