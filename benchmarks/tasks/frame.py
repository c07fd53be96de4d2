"""A frame through a task: ``python -m tasks.frame SYSTEM dump|load ROWS WORKSPACE RESULT``.

The clock runs while a task is built whose body has the frame at hand, and while another process
builds it again, which loads it. Libraries are loaded, and a small frame has gone the same way.
"""

import importlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SMALL = 10
WORDS = [f"category {number:02}" for number in range(50)]


def make(num_rows: int) -> pd.DataFrame:
    """5 columns of floats, 3 of integers, one of few texts, one of times."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"x{one}": random.standard_normal(num_rows) for one in range(5)}
    for name, most in (("user", 1_000_000), ("item", 10_000), ("count", 100)):
        columns[name] = random.integers(0, most, num_rows)
    columns["category"] = np.array(WORDS, dtype=object)[random.integers(0, 50, num_rows)]
    seconds = random.integers(0, 365 * 86_400, num_rows)
    columns["at"] = np.datetime64("2026-01-01", "us") + seconds.astype("timedelta64[s]")
    return pd.DataFrame(columns)


def main() -> None:
    system, what, rows, workspace, result = sys.argv[1:]
    logging.disable(logging.INFO)
    frames = {num: make(num) for num in (SMALL, int(rows))}
    module = importlib.import_module(f"tasks.{system}_frame")
    keeper = module.Keeper(workspace, frames)
    if what == "dump":
        keeper.dump(SMALL)
    elif not keeper.load(SMALL).equals(frames[SMALL]):
        raise RuntimeError(f"{system} gives another small frame.")
    act = keeper.dump if what == "dump" else keeper.load
    began = time.perf_counter()
    value = act(int(rows))
    wall_s = time.perf_counter() - began
    if what == "load":
        pd.testing.assert_frame_equal(frames[int(rows)], value)
    sizes = (path.stat().st_size for path in Path(workspace).rglob("*") if path.is_file())
    Path(result).write_text(json.dumps({"wall_s": wall_s, "bytes": max(sizes)}))


if __name__ == "__main__":
    main()
