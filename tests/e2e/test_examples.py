"""What examples/ promise, run as a reader would run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run_example(
    repository: Path, data: Path, name: str, *arguments: str | Path
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, repository / "examples" / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        env={**os.environ, "TADKA_DATA": str(data)},
    )


@pytest.mark.needs_data("frappe")
def test_two_versions_answer_with_the_scores_of_training_and_are_logged(
    repository: Path, data: Path, tmp_path: Path
) -> None:
    """The program itself stops when one score of one door differs in one bit."""
    done = run_example(repository, data, "ctr/serve.py", "--json", "--keep", tmp_path)

    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert ["gRPC", "JSON", "Open Inference Protocol"] == found["doors"]
    assert 8000 <= sum(found["answered"].values())
    assert 0 < found["answered"]["2"] < 400
    assert found["answered"] == found["logged"]
    assert {"log.request_id", "user", "item", "feature.item_daytime"} <= set(found["log_columns"])


@pytest.mark.needs_data("ml-100k")
@pytest.mark.needs_spark
def test_both_engines_write_the_same_rows_and_one_star_is_found(
    repository: Path, data: Path, tmp_path: Path
) -> None:
    """The program itself stops when hashes differ or verify names another partition."""
    done = run_example(repository, data, "dataset/main.py", "--json", "--out", tmp_path / "likes")

    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert {"duckdb", "spark"} == set(found["hashes"])
    assert 1 == len(set(found["hashes"].values()))
    assert 82_992 == found["num_rows"]
    assert ("same", "changed") == (found["before"]["status"], found["after"]["status"])
    assert ["day=1998-03-01"] == list(found["after"]["inputs"]["Rating"]["partitions"])


@pytest.mark.needs_data("frappe")
def test_factorization_machines_gain_a_hundredth_of_auc_on_frappe(
    repository: Path, data: Path, tmp_path: Path
) -> None:
    """The program itself stops when a row alone scores otherwise than in its table."""
    done = run_example(repository, data, "ctr/main.py", "frappe", "--json", "--out", tmp_path)

    assert 0 == done.returncode, done.stderr
    lines = {line["method"]: line for line in json.loads(done.stdout)}
    peer = lines["scikit-learn LR"]
    assert lines["Fm"]["auc"] >= peer["auc"] + 0.01
    assert lines["Ffm"]["auc"] >= peer["auc"] + 0.01
    assert lines["Linear"]["auc"] >= peer["auc"] - 0.005
    assert {"frappe-Ffm", "frappe-Fm", "frappe-Linear"} == {f.name for f in tmp_path.iterdir()}
