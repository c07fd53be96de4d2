from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import NotFound
from tadka.models import compare, send
from tadka.models.train.past import differences, find
from tadka.registry import DatasetRef, Registry, RunRecord
from tests.models import fit


def record(name: str, params: dict[str, Any], metrics: dict[str, float], data: str) -> RunRecord:
    return RunRecord(
        id=name,
        mlflow_id="",
        model="fm",
        experiment="tadka",
        status="finished",
        started=datetime(2026, 1, 31, tzinfo=UTC),
        seconds=1.0,
        params=params,
        metrics=metrics,
        dataset=DatasetRef(name="d", uri="d", fingerprint=data),
        code="1234",
        directory="",
        environment={},
        parent=None,
        tags={},
        artifacts="",
    )


def test_runs_differ_in_what_is_not_the_same_in_all() -> None:
    first = record("a", {"lr": 0.1, "dim": 4}, {"rmse": 0.9, "auc": 0.7}, "aa")
    second = record("b", {"lr": 0.2, "dim": 4, "drop": 1}, {"rmse": 0.8}, "aa")

    found = differences([first, second])

    assert {"lr": (0.1, 0.2), "drop": (None, 1)} == found.params
    assert {"rmse": (0.9, 0.8), "auc": (0.7, None)} == found.metrics
    assert {"rmse": 1} == found.best
    assert {} == found.facts
    other = differences([first, record("c", {}, {}, "bb")])
    assert {"data": ("aa", "bb")} == other.facts


def test_runs_are_compared_from_their_folders(tmp_path: Path) -> None:
    runs = [fit(tmp_path / str(lr), {"name": "tiny", "epochs": 1, "lr": lr}) for lr in (0.1, 0.01)]

    found = compare(*[run.folder for run in runs])

    assert [run.run for run in runs] == [one.id for one in found.runs]
    assert (0.1, 0.01) == found.params["model.lr"]
    assert runs[0].metrics["auc"] == found.metrics["auc"][0]
    with pytest.raises(NotFound):
        find(tmp_path)


def test_a_run_that_was_kept_is_sent_with_its_model(tmp_path: Path) -> None:
    done = fit(tmp_path, {"name": "tiny", "epochs": 2})
    uri = f"sqlite:///{tmp_path}/registry.db"

    run, version = send(done.folder, uri)

    assert done.run == run
    assert version is not None
    assert ("tiny", 1, run) == (version.name, version.version, version.run)
    kept, sent = find(done.folder), Registry(uri).run(run)
    for key in ("id", "model", "params", "metrics", "dataset", "code", "status", "parent"):
        assert getattr(kept, key) == getattr(sent, key), key
    assert 2 == len(kept.history("loss"))
    assert kept.history("loss") == sent.history("loss")
    assert (run, version) == send(done.folder, uri)  # twice changes nothing
