"""A training from a configuration, and what its folder is good for afterwards."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, NotFound, StageError, Unreachable
from tadka.models import Column, evaluate, load, predict, register, train
from tadka.models.define.catalog import _REGISTERED
from tadka.models.train import flow
from tadka.models.train.config import StreamConfig
from tadka.registry import Registry
from tadka.registry.kept import read_kept
from tests import models
from tests.models import config, fit, ratings, weights


def test_a_model_learns_and_its_folder_predicts(tmp_path: Path) -> None:
    done = fit(tmp_path, {"name": "tiny", "epochs": 12})

    assert 0.75 < done.metrics["auc"] <= 1
    assert list(range(12)) == [epoch["epoch"] for epoch in done.history]
    assert done.history[-1]["loss"] < done.history[0]["loss"]
    assert {"valid_auc", "valid_log_loss"} <= done.history[0].keys()
    trained = load(done.folder)
    table = ratings(100, seed=3)
    found = trained.predict(table, batch_rows=7)
    assert found.column_names == ["score", "probability"]
    assert len(table) == len(found)
    assert found["score"].to_pylist() == pytest.approx(trained.predict(table)["score"].to_pylist())


def test_streamed_and_here_give_the_same_weights(tmp_path: Path) -> None:
    here = fit(tmp_path / "here", {"name": "tiny"})
    values = config(tmp_path / "local", {"name": "tiny"}, stream={"on": "local"})
    local = train(values, progress="none")

    first, second = weights(here), weights(local)
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)
    assert here.metrics == local.metrics


def test_a_seed_decides_everything_random(tmp_path: Path) -> None:
    runs = [fit(tmp_path / str(n), {"name": "tiny", "seed": s}) for n, s in enumerate((1, 1, 2))]

    first, again, other = (weights(run)["user.weight"] for run in runs)
    assert first.equal(again)
    assert not first.equal(other)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(tmp_path / "whole", {"name": "tiny", "epochs": 4})
    net = models.Tiny.loss_of
    steps = []

    def fails(self: Any, *arguments: Any) -> Any:
        steps.append(1)
        if len(steps) == 25:  # in the third epoch of ten steps
            raise RuntimeError("out of luck")
        return net(self, *arguments)

    monkeypatch.setattr(models.Tiny, "loss_of", fails)
    values = config(tmp_path / "stopped", {"name": "tiny", "epochs": 4})
    with pytest.raises(StageError, match="out of luck"):
        train(values, progress="none")
    (folder,) = (tmp_path / "stopped" / "runs").glob("tiny-*")
    with pytest.raises(NotFound, match="holds no trained model"):
        load(folder)
    done = train(values, resume=folder, progress="none")

    assert all(weights(whole)[name].equal(value) for name, value in weights(done).items())
    assert whole.metrics == done.metrics
    assert [0, 1, 2, 3] == [epoch["epoch"] for epoch in done.history]


def test_patience_keeps_the_best_weights(tmp_path: Path) -> None:
    done = fit(tmp_path, {"name": "tiny", "epochs": 60, "lr": 0.3, "patience": 2})

    by_epoch = [epoch["valid_auc"] for epoch in done.history]
    assert len(by_epoch) < 60
    assert len(by_epoch) - 3 == int(np.argmax(by_epoch))
    assert evaluate(done.folder, part="valid")["auc"] == max(by_epoch)


def test_training_goes_on_from_another_run_and_grows(tmp_path: Path) -> None:
    first = fit(tmp_path / "first", {"name": "tiny", "epochs": 8})
    more = ratings(300, seed=5)
    more = more.set_column(0, "user", pa.array(more["user"].to_numpy() + 10))
    values = config(tmp_path / "next", {"name": "tiny", "epochs": 1, "lr": 0.0})
    values["data"] |= models.write(tmp_path / "more", train=more)

    second = train(values, start=first.folder, progress="none")

    before, after = load(first.folder), load(second.folder)
    known = np.arange(1000, 1000 + models.NUM_USERS)
    assert before.model.state.rows("user", known).tolist() == (
        after.model.state.rows("user", known).tolist()
    )
    assert before.model.state.size("user") < after.model.state.size("user")
    size = before.model.state.size("user")
    assert weights(first)["user.weight"].equal(weights(second)["user.weight"][:size])
    assert (
        first.run
        == json.loads((second.folder / "tracking.jsonl").read_text().splitlines()[0])["parent"]
    )


def test_unseen_ids_and_no_rows_get_answers(tmp_path: Path) -> None:
    trained = load(fit(tmp_path, {"name": "tiny"}).folder)

    found = trained.predict({"user": [1, 1000], "item": [2, 5000]})
    assert np.isfinite(found["score"].to_numpy()).all()
    assert 0 == len(trained.predict(ratings(0)))
    assert 0 == trained.model.state.rows("user", np.array([1]))[0]


def test_predictions_of_files_keep_rows_and_order(tmp_path: Path) -> None:
    done = fit(tmp_path, {"name": "tiny"})
    rows = ratings(500, seed=9).append_column("note", pa.array([f"n{i}" for i in range(500)]))
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=60)

    report = predict(
        done.folder, tmp_path / "rows.parquet", tmp_path / "out", keep=["user", "note"]
    )

    found = pa.concat_tables([pq.read_table(uri) for uri in report.outputs])
    assert rows["note"].to_pylist() == found["note"].to_pylist()
    assert ["user", "note", "score", "probability"] == found.column_names
    expected = load(done.folder).predict(rows)["score"].to_pylist()
    assert expected == pytest.approx(found["score"].to_pylist(), abs=1e-5)


def test_a_trained_model_gives_the_same_bits_in_another_process(tmp_path: Path) -> None:
    done = fit(tmp_path, {"name": "tiny"})
    here = load(done.folder).predict(ratings(50, seed=4))["score"].to_numpy()

    code = (
        "import sys; from tests.models import ratings; from tadka.models import load; "
        "print(load(sys.argv[1]).predict(ratings(50, seed=4))['score'].to_numpy().tobytes().hex())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, done.folder], capture_output=True, text=True, check=True
    )
    assert here.tobytes().hex() == told.stdout.strip()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (["model.name=tinny"], ConfigError, "no model 'tinny'. Did you mean 'tiny'"),
        (["model.dims=3"], ConfigError, "key 'model.dims' is unknown. Did you mean 'dim'"),
        (["model.lr=fast"], ConfigError, "key 'model.lr'"),
        (["stream.train.rank=2"], ConfigError, "key 'stream.train.rank' is unknown"),
        (["model.loss=bcee"], StageError, "bce"),
        (["model.module=nowhere.py"], NotFound, "nowhere.py"),
        (["data.train=none.parquet"], NotFound, "none.parquet"),
        (["data.columns={label: item}"], DataError, "label"),
    ],
    ids=["model", "parameter", "type", "stream", "loss", "module", "file", "label"],
)
def test_wrong_configurations_are_told_before_work(
    tmp_path: Path, changes: list[str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        train(config(tmp_path, {"name": "tiny"}), changes, progress="none")


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"Lower model\.lr"):
        fit(tmp_path, {"name": "tiny", "lr": 1e30, "optimizer": "sgd"})
    told = next((tmp_path / "runs").glob("tiny-*/tracking.jsonl")).read_text()
    assert '"failed"' in told


def test_patience_wants_rows_to_validate_on(tmp_path: Path) -> None:
    values = config(tmp_path, {"name": "tiny", "patience": 1})
    del values["data"]["valid"]
    with pytest.raises(StageError, match=r"data\.valid"):
        train(values, progress="none")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    values = config(tmp_path, {"name": "tiny"})
    values["tracking"]["folder"] = str(tmp_path / "file" / "runs")
    with pytest.raises(DataError, match="runs"):
        train(values, progress="none")


def test_a_model_that_no_catalog_has_travels_to_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = load(fit(tmp_path, {"name": "tiny"}).folder)
    expected = trained.predict(ratings(20))
    text = cloudpickle.dumps(trained.stages((), StreamConfig())[1].init)
    monkeypatch.delitem(_REGISTERED, "tiny")  # as in a process that did not run the user's script

    assert expected.equals(cloudpickle.loads(text)["trained"].predict(ratings(20)))
    with pytest.raises(ConfigError, match="not known here"):
        load(trained.folder)


def test_a_label_has_the_name_that_the_model_gives_it(tmp_path: Path) -> None:
    @register("clicks")
    class Clicks(models.Tiny):
        inputs = (*models.Tiny.inputs[:2], Column("click", "float32", role="label"))

    done = fit(tmp_path, {"name": "clicks"}, overrides=["data.columns={click: label}"])

    assert 0.5 < done.metrics["auc"]


def test_a_model_without_label_says_what_it_needs(tmp_path: Path) -> None:
    @register("unlabelled")
    class Unlabelled(models.Tiny):
        inputs = models.Tiny.inputs[:2]  # type: ignore[assignment]

    with pytest.raises(StageError, match="needs a loss_of"):
        fit(tmp_path, {"name": "unlabelled"})


def test_a_model_of_a_file_is_found_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_model.py").write_text(
        "from tadka.models import register\nfrom tests.models import Tiny\n"
        "@register('own')\nclass Own(Tiny):\n    '''A model.'''\n"
    )
    monkeypatch.chdir(tmp_path)
    done = fit(tmp_path, {"name": "own", "module": "own_model.py"})
    monkeypatch.chdir("/")
    monkeypatch.delitem(_REGISTERED, "own")
    monkeypatch.delitem(sys.modules, "own_model")

    assert done.metrics == evaluate(done.folder)


class Away(Registry):
    """A registry that goes away when it has been told of a run's end."""

    def begin(self, *arguments: Any, **options: Any) -> Any:
        run = super().begin(*arguments, **options)
        run.is_sent = True
        return run

    def publish(self, *_: Any) -> Any:
        raise Unreachable("The server is gone.")


def test_a_registry_that_goes_away_does_not_lose_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "Registry", Away)
    with pytest.warns(RuntimeWarning, match="tadka model send"):
        done = fit(tmp_path, {"name": "tiny"})

    assert load(done.folder).record["run"] == done.run


def test_ranks_train_together_and_stop_together(tmp_path: Path) -> None:
    model = {"name": "tiny", "epochs": 40, "lr": 0.3, "patience": 1}
    stream = {"on": "local", "train": {"ranks": 2}}
    done = train(config(tmp_path, model, stream=stream), progress="none")

    by_epoch = [epoch["valid_auc"] for epoch in done.history]
    assert 2 < len(by_epoch) < 40
    assert len(by_epoch) - 2 == int(np.argmax(by_epoch))
    assert evaluate(done.folder, part="valid")["auc"] == pytest.approx(max(by_epoch))


def test_the_registry_knows_data_by_the_place_that_it_was_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = config(tmp_path, {"name": "tiny", "epochs": 1})
    monkeypatch.setenv("ROWS", str(tmp_path / "rows"))
    train_uri = values["data"]["train"]
    values["data"]["train"] = train_uri.replace(str(tmp_path / "rows"), "${ROWS}")
    assert "${ROWS}" in values["data"]["train"]

    kept = read_kept(train(values, progress="none").folder)

    assert kept.dataset is not None
    assert (train_uri, Path(train_uri).name) == (kept.dataset.uri, kept.dataset.name)
