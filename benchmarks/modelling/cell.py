"""One method of models, measured once: ``python -m modelling.cell METHOD DIRECTORY [MORE...]``.

METHOD is a module of this folder and a function in it, such as ``tadka_fit.fm``. It returns
``epoch_s``, seconds of each epoch, and ``rows`` of an epoch; the first epoch is a warm-up.
"""

import importlib
import os
import statistics
import sys
from typing import Any

import harness


def measure(method: str, *arguments: str) -> dict[str, Any]:
    """Trains, and says how many rows a second."""
    module, _, function = method.partition(".")
    cpu_before_s = os.times()
    found: dict[str, Any] = getattr(importlib.import_module(f"modelling.{module}"), function)(
        *arguments
    )
    cpu_s = sum(os.times()[:4]) - sum(cpu_before_s[:4])
    if "epoch_s" in found:
        found["rows_per_s"] = found["rows"] / statistics.median(found["epoch_s"][1:])
        found["headline"] = f"{found['rows_per_s']:,.0f} rows/s"
    return {"process_cpu_s": cpu_s, **found}


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
