import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.command import run_here
from tests.models import own_models, ratings

PRODUCT = '''
from torch import nn

from tadka.models import Column, TorchModel, register


class Net(nn.Module):
    def __init__(self, users, items, dim):
        super().__init__()
        self.user, self.item = nn.Embedding(users, dim), nn.Embedding(items, dim)

    def forward(self, batch):
        return (self.user(batch["user"]) * self.item(batch["item"])).sum(-1)


@register("product")
class Product(TorchModel):
    """A product of two vectors.

    Args:
        dim: Length of a vector.
    """

    inputs = (
        Column("user", "int64", vocabulary=True),
        Column("item", "int64", vocabulary=True),
        Column("label", "float32", role="label", values=(0, 1)),
    )
    dim: int = 4

    def net(self):
        print("a net is made")
        return Net(self.state.size("user"), self.state.size("item"), self.dim)


@register("broken")
class Broken(Product):
    """Fails."""

    width: int = 1

    def net(self):
        raise RuntimeError("out of luck")
'''
CONFIG = """
data: {train: train.parquet, valid: valid.parquet, test: test.parquet}
model: {name: product, module: product.py, epochs: 3, batch_rows: 64, lr: 0.05}
stream: {on: here}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where `product` was trained, and trained again from that with another rate."""
    with pytest.MonkeyPatch.context() as patch, own_models():  # other tests see none of these
        patch.setattr(sys, "path", list(sys.path))
        yield trained(tmp_path_factory)


def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "product.py").write_text(PRODUCT)
    (folder / "config.yaml").write_text(CONFIG)
    for seed, part in enumerate(("train", "valid", "test")):
        table = ratings(600 if part == "train" else 200, seed=seed)
        parquet.write_table(table, folder / f"{part}.parquet")
    first = tadka(folder, "train", "config.yaml", "--json")
    assert 0 == first.returncode, first.stderr
    (folder / "first.json").write_text(first.stdout)
    second = tadka(folder, "train", "config.yaml", "--start", "product/1", "--set", "model.lr=0.01")
    assert 0 == second.returncode, second.stderr
    (folder / "second.txt").write_text(second.stdout)
    return folder


def tadka(folder: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {"COLUMNS": "160", "TADKA_TRACKING": ""}
    return run_here(folder, "model", *map(str, words), environment=environment)


def told(folder: Path, *words: str | Path) -> Any:
    """What a command printed as JSON."""
    done = tadka(folder, *words, "--json")
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def first(place: Path) -> Any:
    return json.loads((place / "first.json").read_text())


# ---------------------------------------------------------------- training and its results


def test_train_gives_metrics_and_history_and_nothing_else_as_json(place: Path) -> None:
    found = first(place)

    assert {"auc", "log_loss", "calibration"} == found["metrics"].keys()
    assert [0, 1, 2] == [epoch["epoch"] for epoch in found["history"]]
    assert Path(found["folder"], "model", "model.json").is_file()


def test_train_ends_with_the_next_step(place: Path) -> None:
    text = (place / "second.txt").read_text()

    assert "a net is made" not in text  # models print to standard error
    assert "by epoch, 3 of them" in text
    run = next(line.split()[1] for line in text.splitlines() if line.startswith("run"))
    assert f"next    tadka model show {run[:8]}" in text
    assert f"tadka model predict {run[:8]} ROWS OUT" in text


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.dimm=3", "key 'model.dimm' is unknown. Did you mean 'dim'"),
        ("model.lr=high", "key 'model.lr' is 'high'; it must be a number"),
        ("stream.trian.ranks=2", "key 'stream.trian' is unknown. Did you mean 'train'"),
        ("model.name=prodct", "no model 'prodct'. Did you mean 'product'"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(place: Path, setting: str, words: str) -> None:
    done = tadka(place, "train", "config.yaml", "--set", setting)

    assert 2 == done.returncode
    assert words in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_a_configuration_that_is_not_there_is_named(place: Path) -> None:
    done = tadka(place, "train", "absent.yaml")

    assert 1 == done.returncode
    assert "'absent.yaml' does not exist" in done.stderr


def test_an_unknown_loss_is_named_with_the_nearest(place: Path) -> None:
    done = tadka(place, "train", "config.yaml", "--set", "model.loss=bcee")

    assert 0 != done.returncode
    assert "'bcee'" in done.stderr
    assert "'bce'" in done.stderr


def test_a_missing_column_stops_training_before_it_begins(place: Path) -> None:
    parquet.write_table(ratings(50).drop_columns(["item"]), place / "short.parquet")
    before = len(told(place, "runs", "--limit", "100"))

    done = tadka(place, "train", "config.yaml", "--set", "data.train=short.parquet")

    assert 1 == done.returncode
    assert "item" in done.stderr
    assert before == len(told(place, "runs", "--limit", "100"))


def test_a_server_that_is_down_is_told_before_anything_is_trained(
    place: Path, tmp_path: Path
) -> None:
    done = tadka(
        place,
        *("train", "config.yaml", "--set", "tracking.uri=http://127.0.0.1:9"),
        *("--set", f"tracking.folder={tmp_path}"),
    )

    assert 1 == done.returncode
    assert "'http://127.0.0.1:9' does not answer" in done.stderr
    assert "tadka model send" in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_a_run_without_a_registry_is_shown_from_its_folder_and_sent_later(
    place: Path, tmp_path: Path
) -> None:
    words = ("--set", "tracking.offline=true", "--set", f"tracking.folder={tmp_path}")
    done = tadka(place, "train", "config.yaml", "--set", "model.dim=2", *words)
    assert 0 == done.returncode, done.stderr
    folder = next(line.split()[1] for line in done.stdout.splitlines() if line[:6] == "folder")
    assert f"tadka model send {folder}" in done.stdout
    kept = told(place, "show", folder)

    sent = told(place, "send", folder)

    assert kept["id"] == sent["run"]
    found = told(place, "show", sent["version"].partition(" ")[0])
    for key in ("id", "params", "metrics", "history", "dataset", "code", "status"):
        assert kept[key] == found[key], key
    assert "product" in tadka(place, "send", folder).stdout  # twice does no harm


def test_a_run_goes_on_from_its_folder_only(place: Path, tmp_path: Path) -> None:
    words = ("train", "config.yaml", "--set", f"tracking.folder={tmp_path}", "--set", "model.dim=3")
    done = tadka(place, *words, "--set", "model.name=broken")
    assert 1 == done.returncode
    assert "out of luck" in done.stderr
    (folder,) = tmp_path.glob("broken-*")

    again = tadka(place, *words, "--set", "model.name=broken", "--resume", folder)
    other = tadka(place, *words, "--resume", tmp_path)

    assert (1, 1) == (again.returncode, other.returncode)
    assert "out of luck" in again.stderr  # it begins anew: it failed before the first checkpoint
    assert "is that of no run" in other.stderr


def test_predict_keeps_the_order_and_the_columns_that_are_named(place: Path) -> None:
    done = tadka(place, "predict", "product/1", "test.parquet", "scores", "--keep", "user")

    assert 0 == done.returncode, done.stderr
    assert "200 rows" in done.stdout
    files = sorted((place / "scores").glob("*.parquet"))
    scores = pa.concat_tables([parquet.read_table(file) for file in files])
    assert ["user", "score", "probability"] == scores.column_names
    assert parquet.read_table(place / "test.parquet")["user"].equals(scores["user"])
    again = tadka(place, "predict", "product/1", "test.parquet", "scores")
    assert 1 <= again.returncode
    found = told(place, "predict", "product/1", "test.parquet", "scores", "--overwrite")
    assert 200 == found["rows"]


def test_evaluate_gives_what_training_gave(place: Path) -> None:
    found = told(place, "evaluate", "product/1")

    assert first(place)["metrics"] == pytest.approx(found["metrics"])
    valid = told(place, "evaluate", "product/1", "--part", "valid")
    last = first(place)["history"][-1]
    assert last["valid_auc"] == pytest.approx(valid["metrics"]["auc"])


def test_evaluate_takes_other_data(place: Path) -> None:
    (place / "other.yaml").write_text("data: {train: train.parquet, test: valid.parquet}")

    found = told(place, "evaluate", "product/1", "--config", "other.yaml")

    valid = told(place, "evaluate", "product/1", "--part", "valid")
    assert valid["metrics"] == pytest.approx(found["metrics"])
    mistaken = tadka(
        place, "evaluate", "product/1", "--config", "other.yaml", "--set", "data.tst=a"
    )
    assert 2 == mistaken.returncode
    assert "key 'data.tst' is unknown" in mistaken.stderr
    assert 2 == tadka(place, "evaluate", "product/1", "--set", "data.test=a").returncode


def test_check_reports_and_gives_a_status(place: Path) -> None:
    wrong = ratings(100).set_column(2, "label", pa.array([2.0] * 100, pa.float32()))
    parquet.write_table(wrong, place / "wrong.parquet")

    good = tadka(place, "check", "config.yaml")
    bad = tadka(place, "check", "config.yaml", "--set", "data.train=wrong.parquet")

    assert 0 == good.returncode, good.stderr
    assert "0 errors" in good.stdout
    assert 1 == bad.returncode
    assert "label" in bad.stdout
    report = tadka(place, "check", "config.yaml", "--set", "data.train=wrong.parquet", "--json")
    assert 1 == report.returncode
    assert not json.loads(report.stdout)["is_ok"]


# ---------------------------------------------------------------- comparisons of models


def test_bench_names_what_failed_and_goes_on(place: Path) -> None:
    words = ("bench", "config.yaml", "--models", "broken,product", "--keep", "bench.jsonl")

    done = tadka(place, *words)

    assert 1 == done.returncode
    for word in ("auc", "data", "seconds", "broken", "out of luck"):
        assert word in done.stdout, word
    assert 1 == len((place / "bench.jsonl").read_text().splitlines())
    failed, trained = json.loads(tadka(place, *words, "--json").stdout)
    assert ("broken", False) == (failed["model"], failed["is_ok"])
    kept = json.loads((place / "bench.jsonl").read_text())
    assert kept["run"] == trained["run"]  # it was not trained again


def test_bench_needs_models_that_are_known(place: Path) -> None:
    none = tadka(place, "bench", "config.yaml")
    unknown = tadka(place, "bench", "config.yaml", "--models", "product,prodct")

    assert (2, 2) == (none.returncode, unknown.returncode)
    assert "--models" in none.stderr
    assert "Did you mean 'product'" in unknown.stderr
