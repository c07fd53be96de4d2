"""Importing the room, and a build of small results, load no heavy library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    *("PIL", "cloudpickle", "fsspec", "matplotlib", "numpy", "pandas", "polars", "psycopg"),
    *("pyarrow", "pydantic", "rich", "s3fs", "sqlalchemy", "torch", "typer", "yaml", "zmq"),
}
PIPELINE = """
from tadka.task import Out, Run, Task, build, check, param, plan

class Empty(Task[list[int]]):
    number: int = 0

    def run(self) -> list[int]:
        return [self.number]

plan(Empty(), workspace="store")
assert [0] == build(Empty(), workspace="store")
assert [0] == build(Empty(), workspace="store")
"""
PEAK_MB = 41  # a quarter of what gokart takes for an empty pipeline


def loaded_by(code: str, place: Path) -> tuple[set[str], float]:
    """Libraries that a fresh interpreter loads for some code, and its memory at the peak in MB."""
    (place / "code.py").write_text(code)
    told = (
        "import re, runpy, sys; runpy.run_path('code.py', run_name='pipeline')\n"
        # not getrusage, whose peak is at least that of the process that started this one
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == done.returncode, done.stderr
    *_, peak_kb, names = done.stdout.splitlines()
    return set(names.split()), int(peak_kb) / 1024


def test_importing_the_room_loads_only_what_defines_names_on_demand(tmp_path: Path) -> None:
    code = "import sys, tadka.task\nassert not [n for n in sys.modules if 'tadka.task.' in n]"

    libraries, _ = loaded_by(code, tmp_path)

    assert set() == HEAVY & libraries


@pytest.mark.parametrize("name", ["Task", "build", "plan", "ls", "gc", "approve", "load_settings"])
def test_a_public_name_loads_no_heavy_library(name: str, tmp_path: Path) -> None:
    libraries, _ = loaded_by(f"from tadka.task import {name}", tmp_path)

    assert set() == HEAVY & libraries


def test_a_build_of_small_results_stays_small(tmp_path: Path) -> None:
    libraries, peak_mb = loaded_by(PIPELINE, tmp_path)

    assert set() == HEAVY & libraries
    assert peak_mb <= PEAK_MB
