"""Importing the small rooms loads no heavy library."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["tadka", "tadka.core", "tadka.storage"])
def test_import_loads_no_heavy_library(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "heavy = {'pyarrow', 'pandas', 'torch', 's3fs', 'aiohttp', 'zmq', 'ray', 'mpi4py'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert not done.stdout.strip()
