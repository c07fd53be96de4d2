import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from tests.command import run_command

ROWS = """
from tadka.features import Features


class Visit(Features, size=1024):
    user: str
    shop: int

    @property
    def user_shop(self) -> str:
        return f"{self.user}_{self.shop}"
"""
CONFIG = """
features: rows.py:Visit
model: ffm
train: train.parquet
valid: valid.parquet
label: liked
out: model
dim: 4
calibration: platt
precision: float16
training: {epochs: 3, threads: 1}
"""


def visits(num_rows: int, seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    user, shop = random.integers(0, 6, num_rows), random.integers(0, 6, num_rows)
    liked = random.random(num_rows) < np.where((user + shop) % 2, 0.8, 0.2)
    return pa.table({"user": [f"u{n}" for n in user], "shop": shop, "liked": liked})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    (folder / "rows.py").write_text(ROWS)
    (folder / "config.yaml").write_text(CONFIG)
    parquet.write_table(visits(2000, 0), folder / "train.parquet")
    parquet.write_table(visits(500, 1), folder / "valid.parquet", row_group_size=200)
    done = run(folder, "fit", "config.yaml", "--json", "--progress", "none")
    assert done.returncode == 0, done.stderr
    (folder / "fit.json").write_text(done.stdout)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_command(folder, "score", *words)


def test_fit_prints_metrics_and_the_curve(place: Path) -> None:
    result = json.loads((place / "fit.json").read_text())

    assert result["metrics"]["valid_auc"] > 0.7
    assert 1 <= len(result["curve"]) <= 3
    assert (place / "model" / "report.html").is_file()


def test_fit_does_not_replace_a_model_unasked(place: Path) -> None:
    done = run(place, "fit", "config.yaml")

    assert done.returncode == 2
    assert "--replace" in done.stderr


def test_fit_names_a_mistaken_key(place: Path) -> None:
    done = run(place, "fit", "config.yaml", "--set", "training.epoch=3", "--set", "out=other")

    assert done.returncode == 2
    assert "Did you mean 'epochs'" in done.stderr
    assert not (place / "other").exists()


def test_fit_tells_every_epoch(place: Path) -> None:
    done = run(place, "fit", "config.yaml", "--set", "out=told", "--progress", "none")

    assert done.returncode == 0, done.stderr
    assert "valid auc" in done.stdout
    assert "report.html" in done.stdout


def test_predict_writes_scores_beside_kept_columns(place: Path) -> None:
    done = run(place, "predict", "model", "valid.parquet", "--out", "s.parquet", "--keep", "user")

    assert done.returncode == 0, done.stderr
    scores = parquet.read_table(place / "s.parquet")
    assert ["user", "score"] == scores.column_names
    assert 500 == scores.num_rows
    assert parquet.read_table(place / "valid.parquet")["user"].equals(scores["user"])


def test_predict_prints_csv_with_one_header(place: Path) -> None:
    done = run(place, "predict", "model", "valid.parquet")

    assert done.returncode == 0, done.stderr
    assert 501 == len(done.stdout.splitlines())
    table = csv.read_csv(pa.py_buffer(done.stdout.encode()))
    assert ["score"] == table.column_names
    assert pa.float64() == table["score"].type


def test_predict_names_a_missing_column(place: Path) -> None:
    table = parquet.read_table(place / "valid.parquet").drop_columns(["shop"])
    parquet.write_table(table, place / "short.parquet")

    done = run(place, "predict", "model", "short.parquet", "--out", "none.parquet")

    assert done.returncode == 1
    assert "no column 'shop'" in done.stderr
    assert not (place / "none.parquet").exists()


def test_show_lists_what_a_model_is(place: Path) -> None:
    done = run(place, "show", "model", "--check")

    assert done.returncode == 0, done.stderr
    for words in ("ffm", "rows:Visit", "float16", "platt", "valid auc", "every file is as saved"):
        assert words in done.stdout


def test_show_refuses_a_damaged_model(place: Path) -> None:
    damaged = place / "damaged"
    damaged.mkdir()
    for file in (place / "model").iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "latent.npy").write_bytes((damaged / "latent.npy").read_bytes()[:-1])

    done = run(place, "show", "damaged", "--check")

    assert done.returncode == 1
    assert "latent.npy" in done.stderr


def test_a_folder_without_a_model_is_refused(place: Path) -> None:
    done = run(place, "show", ".")

    assert done.returncode == 1
    assert "model.json" in done.stderr
