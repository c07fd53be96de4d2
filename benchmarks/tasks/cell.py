"""One measurement of the benchmark `task`: ``python -m tasks.cell KIND ...``."""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness

STACK_BYTES = 512 << 20
"""For those who walk a chain by recursion; address space, taken only where it is used."""

NUM_IMPORTS, NUM_IMPORTS_PEERS = 5, 2
HEAVY = ("numpy", "pandas", "polars", "pyarrow", "sqlalchemy", "pydantic", "rich")


@contextmanager
def workspace() -> Iterator[str]:
    """A folder that is not there yet; it stays until the end of the benchmark.

    ext4 does not give away again the inodes of files that were removed in the last minutes, and
    looks at each of them whenever a file is made: what one system leaves to be removed would be
    paid by the next.
    """
    kept = os.environ.get("BENCH_PLACE")
    if kept:
        yield f"{tempfile.mkdtemp(dir=kept)}/workspace"
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield f"{folder}/workspace"


def graph(system: str, shape: str, num: str) -> dict[str, Any]:
    """A graph made, and found made in a second process."""
    with workspace() as place:
        fresh = one("tasks.one", system, shape, num, place)
        cached = one("tasks.one", system, shape, num, place)
    # a task is made once, or the two are not the same work; Hamilton's diskcache adapter aside
    if fresh["num_bodies"] != int(num) or cached["num_bodies"] != 0:
        ran = f"{fresh['num_bodies']} and {cached['num_bodies']}"
        raise RuntimeError(f"{system} ran {ran} bodies, not {num} and none.")
    fresh_us, cached_us = (1e6 * found["wall_s"] / int(num) for found in (fresh, cached))
    return {
        "fresh_us": fresh_us,
        "cached_us": cached_us,
        "fresh_s": fresh["wall_s"],
        "cached_s": cached["wall_s"],
        "fresh_mb": fresh["peak_bytes"] / 1e6,
        "cached_mb": cached["peak_bytes"] / 1e6,
        "headline": f"{fresh_us:,.0f} us a task, cached {cached_us:,.1f} us",
    }


def empty(system: str) -> dict[str, Any]:
    """The memory of a process that builds one task."""
    with workspace() as place:
        found = one("tasks.one", system, "chain", "1", place)
    peak_mb = found["peak_bytes"] / 1e6
    return {"peak_mb": peak_mb, "headline": f"{peak_mb:.0f} MB"}


def frame(system: str, num_rows: str) -> dict[str, Any]:
    """A frame kept, and loaded in a second process."""
    with workspace() as place:
        dumped = one("tasks.frame", system, "dump", num_rows, place)
        loaded = one("tasks.frame", system, "load", num_rows, place)
    dump_s, load_s = dumped["wall_s"], loaded["wall_s"]
    return {
        "dump_s": dump_s,
        "load_s": load_s,
        "bytes": dumped["bytes"],
        "headline": f"dump {dump_s:.2f} s, load {load_s:.3f} s, {dumped['bytes'] / 1e6:.1f} MB",
    }


def imports(module: str) -> dict[str, Any]:
    """How long an import takes, the best of a few processes."""
    code = (
        "import sys, time\nbegan = time.perf_counter()\n"
        f"import {module}\nprint(time.perf_counter() - began)\n"
        f"print(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    times: list[float] = []
    for _ in range(NUM_IMPORTS if module.startswith("tadka") else NUM_IMPORTS_PEERS):
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        seconds, heavy = done.stdout.split("\n")[-3:-1]
        times.append(float(seconds))
    if module.startswith("tadka") and heavy:
        raise RuntimeError(f"import {module} loads {heavy}.")
    return {
        "import_s": min(times),
        "median_s": statistics.median(times),
        "heavy": heavy,
        "headline": f"{min(times):.3f} s",
    }


def one(module: str, system: str, *arguments: str) -> dict[str, Any]:
    """What a process of its own found; what was written before it is on the disk."""
    if system != "tadka":
        _, most = resource.getrlimit(resource.RLIMIT_STACK)
        limit = STACK_BYTES if most == resource.RLIM_INFINITY else min(STACK_BYTES, most)
        resource.setrlimit(resource.RLIMIT_STACK, (limit, most))
    os.sync()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        result = Path(folder) / "result.json"
        subprocess.run([sys.executable, "-m", module, system, *arguments, str(result)], check=True)
        found: dict[str, Any] = json.loads(result.read_text())
    return found


KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "graph": graph,
    "empty": empty,
    "frame": frame,
    "imports": imports,
}

if __name__ == "__main__":
    harness.run_cell(lambda: KINDS[sys.argv[1]](*sys.argv[2:]))
