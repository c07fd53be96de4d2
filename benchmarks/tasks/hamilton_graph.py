"""Hamilton: one function a node, in a module that is written for the purpose, and its cache."""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from hamilton import driver

NUM_BODIES = [0]
MODULES: dict[str, Any] = {}


def prepare(shape: str, num: int, workspace: str) -> None:
    """Write and import the module; no part of the time."""
    folder = Path(workspace).parent / f"code-{Path(workspace).name}"
    folder.mkdir(exist_ok=True)
    name = f"hamilton_{shape}_{num}"
    lines = ["from tasks.hamilton_graph import NUM_BODIES", ""]

    def function(name: str, arguments: str, value: str) -> None:
        lines.extend(
            [f"def {name}({arguments}) -> int:", "    NUM_BODIES[0] += 1", f"    return {value}"]
        )

    function("t0", "", "0")
    if shape == "chain":
        for one in range(1, num):
            function(f"t{one}", f"t{one - 1}: int", f"t{one - 1} + 1")
    else:
        names = [f"t{one}" for one in range(1, num - 1)]
        for one in range(1, num - 1):
            function(f"t{one}", "t0: int", f"t0 + {one}")
        arguments = ", ".join(f"{one}: int" for one in names)
        function(f"t{num - 1}", arguments, f"sum(({', '.join(names)},))" if names else "0")
    (folder / f"{name}.py").write_text("\n".join(lines) + "\n")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    MODULES[f"{shape}{num}"] = importlib.import_module(name)


def build(shape: str, num: int, workspace: str) -> int:
    Path(workspace).mkdir(parents=True, exist_ok=True)
    builder = driver.Builder().with_modules(MODULES[f"{shape}{num}"])
    if os.environ.get("BENCH_TUNED"):
        from hamilton.plugins.h_diskcache import DiskCacheAdapter

        builder = builder.with_adapters(DiskCacheAdapter(cache_vars=None, cache_path=workspace))
    else:
        builder = builder.with_cache(path=workspace)
    return builder.build().execute([f"t{num - 1}"])[f"t{num - 1}"]


def num_bodies() -> int:
    return NUM_BODIES[0]
