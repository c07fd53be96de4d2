"""One process of a measurement: ``python -m tasks.one SYSTEM SHAPE NUM WORKSPACE RESULT``."""

import importlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from tasks.shape import check_shape, expected


def peak_bytes() -> int:
    """Of this process. Not ru_maxrss: that has the memory of the process which started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def measure(system: str, shape: str, num: int, workspace: str) -> dict[str, Any]:
    check_shape(shape)
    began = time.perf_counter()
    module = importlib.import_module(f"tasks.{system}_graph")
    import_s = time.perf_counter() - began
    logging.disable(logging.INFO)
    if hasattr(module, "prepare"):
        module.prepare(shape, num, workspace)
    began = time.perf_counter()
    value = module.build(shape, num, workspace)
    wall_s = time.perf_counter() - began
    if value != expected(shape, num):
        raise RuntimeError(f"{system} gives {value}, not {expected(shape, num)}.")
    return {
        "wall_s": wall_s,
        "import_s": import_s,
        "peak_bytes": peak_bytes(),
        "num_bodies": module.num_bodies(),
    }


def main() -> None:
    system, shape, num, workspace, result = sys.argv[1:]
    # the others walk a chain by recursion; at Python's own limit they fail. tasks.cell gives them
    # the stack for it
    if system != "tadka":
        sys.setrecursionlimit(200_000)
    found = measure(system, shape, int(num), workspace)
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
