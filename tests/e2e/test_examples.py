"""What examples/ promise, run as a reader would run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.needs_data("frappe")
def test_factorization_machines_gain_a_hundredth_of_auc_on_frappe(
    repository: Path, data: Path, tmp_path: Path
) -> None:
    """The program itself stops when a row alone scores otherwise than in its table."""
    done = subprocess.run(
        [
            sys.executable,
            repository / "examples" / "ctr" / "main.py",
            "frappe",
            "--json",
            "--out",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        env={**os.environ, "TADKA_DATA": str(data)},
    )

    assert 0 == done.returncode, done.stderr
    lines = {line["method"]: line for line in json.loads(done.stdout)}
    peer = lines["scikit-learn LR"]
    assert lines["Fm"]["auc"] >= peer["auc"] + 0.01
    assert lines["Ffm"]["auc"] >= peer["auc"] + 0.01
    assert lines["Linear"]["auc"] >= peer["auc"] - 0.005
    assert {"frappe-Ffm", "frappe-Fm", "frappe-Linear"} == {f.name for f in tmp_path.iterdir()}
