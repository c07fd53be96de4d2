"""The example of models by the command, as docs/models.md says, on real ratings."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.command import run_here


def tadka(folder: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    return run_here(folder, "model", *map(str, words), environment={"TADKA_TRACKING": ""})


def told(folder: Path, *words: str | Path) -> Any:
    done = tadka(folder, *words, "--json")
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.needs_data("ml-100k")
def test_the_example_is_trained_shown_judged_and_applied(
    repository: Path, data: Path, tmp_path: Path
) -> None:
    folder = ("--set", f"data.folder={data}/ml-100k")
    config = repository / "examples" / "fm.yaml"
    fit = told(tmp_path, "train", config, "--set", "model.epochs=1", *folder)
    assert 0.93 < fit["metrics"]["rmse"] < 1.05

    shown = tadka(tmp_path, "show", "fm/1")
    assert 0 == shown.returncode, shown.stderr
    assert "ml-100k" in shown.stdout
    assert 0 == tadka(tmp_path, "alias", "fm/1", "champion").returncode
    assert fit["run"] == told(tmp_path, "show", "fm@champion")["id"]
    assert fit["metrics"] == pytest.approx(told(tmp_path, "evaluate", "fm@champion")["metrics"])

    rows = pa.table({"user": [1, 2, 999_999], "item": [1, 1, 1], "minute": [7, 8, 9]})
    parquet.write_table(rows, tmp_path / "rows.parquet")
    found = told(tmp_path, "predict", "fm@champion", "rows.parquet", "out", "--keep", "minute")
    scores = pa.concat_tables([parquet.read_table(tmp_path / file) for file in found["files"]])
    assert [7, 8, 9] == scores["minute"].to_pylist()
    assert all(1 < score < 6 for score in scores["score"].to_pylist())  # also of the unseen user
