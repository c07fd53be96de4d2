import json
from pathlib import Path

import pytest

from tadka.core.error import DataError, NotFound
from tadka.registry import DatasetRef, Registry, send
from tadka.registry.kept import address_of, read_kept


def test_a_folder_tells_what_the_registry_would(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/registry.db"
    data = DatasetRef(name="clicks", uri="clicks.parquet", fingerprint="aabbcc", num_rows=9)
    run = Registry(uri, offline=True).begin(
        "fm", params={"model": {"dim": 4}}, dataset=data, code="12", directory=tmp_path / "run"
    )
    run.log({"loss": 0.5, "recall@20": float("inf")}, step=0)
    going = read_kept(tmp_path / "run")
    run.log({"loss": 0.25}, step=1)
    run.finish(metrics={"auc": 0.7})

    found = read_kept(tmp_path / "run")

    assert ("running", None) == (going.status, going.seconds)
    assert (run.id, "fm", "finished", "12") == (found.id, found.model, found.status, found.code)
    assert {"model.dim": 4} == found.params
    assert {"loss": 0.25, "recall@20": float("inf"), "auc": 0.7} == found.metrics
    assert [(0, 0.5), (1, 0.25)] == found.history("loss")
    assert [] == found.history("nothing")
    assert data == found.dataset
    assert str(tmp_path / "run") == found.directory
    assert found.seconds is not None
    assert uri == address_of(tmp_path / "run")


def test_the_folder_of_a_run_of_an_earlier_version_is_known(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    folder = tmp_path / "run"
    run = Registry(registry.uri, offline=True).begin(
        "fm", environment={"folder": str(folder)}, directory=folder
    )
    run.finish()
    file = folder / "tracking.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    del lines[0]["directory"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    send(folder)

    assert str(folder) == read_kept(folder).directory
    assert str(folder) == registry.run(run.id).directory


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"tracking\.jsonl"):
        read_kept(tmp_path)
    (tmp_path / "tracking.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no run"):
        read_kept(tmp_path)
    with pytest.raises(DataError, match="holds no run"):
        address_of(tmp_path)
