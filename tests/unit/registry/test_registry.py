import math
import multiprocessing
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError, NotFound, Unreachable
from tadka.registry import DatasetRef, Registry, send
from tadka.registry.environment import environment
from tadka.registry.registry import TrackedRun
from tests.unit.registry.conftest import Server

DATA = DatasetRef(name="rates", uri="/data/rates", fingerprint="ab" * 32, num_rows=80)
SIGNATURE = {"inputs": {"user": "int64"}, "outputs": {"score": "float32"}}


def begin(registry: Registry, folder: Path, name: str = "fm", **values: Any) -> TrackedRun:
    return registry.begin(name, directory=folder, **{"dataset": DATA, "code": "c0de", **values})


def train_on(run: TrackedRun) -> None:
    for step in range(2, 2003):  # so many that they are sent on the way
        run.log({"loss": 1 / step}, step=step)
    run.finish(metrics={"rmse": 0.9})


def finished(registry: Registry, folder: Path, name: str = "fm", **values: Any) -> str:
    run = begin(registry, folder, name, **values)
    run.finish()
    return run.id


def test_a_run_is_found_as_it_was(registry: Registry, tmp_path: Path) -> None:
    params = {"model": {"dim": 16, "lr": 1e-3, "loss": "bce", "side": None, "k": "12"}, "ks": [5]}
    surroundings = {"python": "3.11.2", "packages": {"numpy": "2.0"}, "commit": "abc"}
    run = begin(registry, tmp_path / "run", params=params, environment=surroundings)
    for epoch in range(1, 4):
        run.log({"loss": np.float32(1 / 2**epoch), "recall@20": epoch}, step=epoch)
    (tmp_path / "report.html").write_text("<p>")
    run.finish(
        metrics={"rmse": 0.94, "loss": 0.1, "worst": math.inf, "odd": math.nan},
        artifacts={"pages/best.html": tmp_path / "report.html"},
    )
    found = registry.run(run.id)

    assert run.is_sent
    assert (run.id, "fm", "tadka", "finished") == (
        found.id,
        found.model,
        found.experiment,
        found.status,
    )
    assert {
        "model.dim": 16,
        "model.lr": 1e-3,
        "model.loss": "bce",
        "model.side": None,
        "model.k": "12",
        "ks": [5],
    } == found.params
    assert (0.94, 0.1, 3.0, math.inf) == tuple(
        found.metrics[name] for name in ("rmse", "loss", "recall@20", "worst")
    )
    assert [(1, 1.0), (2, 2.0), (3, 3.0)] == found.history("recall@20")
    assert [(1, 0.5), (2, 0.25), (3, 0.125), (3, 0.1)] == found.history("loss")
    assert found.history("unknown") == []
    assert found.dataset == DATA
    assert (found.code, found.environment) == ("c0de", surroundings)
    assert found.directory == str(tmp_path / "run")
    assert [found.directory] == [one.directory for one in registry.runs()]
    assert found.seconds is not None
    assert found.seconds >= 0
    kept = Path(found.artifacts.removeprefix("file://"))
    assert (kept / "pages" / "best.html").read_text() == "<p>"
    assert (kept / "environment" / "requirements.txt").read_text() == "numpy==2.0\n"
    assert kept.is_relative_to(tmp_path / "artifacts")  # beside the database


def test_runs_are_listed_the_newest_first(registry: Registry, tmp_path: Path) -> None:
    assert registry.runs() == []
    ids = [finished(registry, tmp_path / name, name) for name in ("fm", "mf", "gcn")]

    assert {*ids} == {run.id for run in registry.runs()}
    assert [ids[1]] == [run.id for run in registry.runs("mf")]
    assert len(registry.runs(limit=2)) == 2
    other = Registry(registry.uri, experiment="other")
    assert other.runs() == []
    assert ids[0] == other.run(ids[0]).id  # an id is one in all experiments


def test_the_beginning_of_an_id_is_enough(registry: Registry, tmp_path: Path) -> None:
    run = finished(registry, tmp_path / "run")

    assert registry.resolve(run[:6]) == run
    assert registry.resolve(registry.run(run).mlflow_id[:8]) == run
    wrong = ("1" if run[0] == "0" else "0") + run[1:]
    with pytest.raises(NotFound, match=f"Did you mean '{run}'"):
        registry.run(wrong)
    with pytest.raises(NotFound, match="no run"):
        registry.run("no such' or 1")
    for n in range(2):
        journal = tmp_path / str(n) / "tracking.jsonl"
        begin(Registry(registry.uri, offline=True), tmp_path / str(n)).finish()
        journal.write_text(re.sub('"run":"[^"]*"', f'"run":"twin-{n}"', journal.read_text()))
        send(tmp_path / str(n))
    with pytest.raises(NotFound, match=r"may be each of twin-0, twin-1\. Write more"):
        registry.run("twin")


def test_versions_and_aliases(registry: Registry, tmp_path: Path) -> None:
    first, second = (finished(registry, tmp_path / str(n)) for n in range(2))
    version = registry.publish(first, "fm", SIGNATURE)
    registry.set_alias("fm", "champion", 1)
    again = registry.publish(first, "fm", SIGNATURE)
    challenger = registry.publish(second, "fm", SIGNATURE)

    assert (version.version, again.version, challenger.version) == (1, 1, 2)
    assert (version.run, again.aliases, version.signature) == (first, ("champion",), SIGNATURE)
    assert [str(one) for one in registry.models()] == ["fm/2", "fm/1 @champion"]
    assert registry.resolve("fm@champion") == first
    registry.set_alias("fm", "champion", 2)
    assert registry.resolve("fm@champion") == second
    assert registry.resolve("fm/1") == first
    model = Path(registry.run(first).artifacts.removeprefix("file://"), "model", "MLmodel")
    assert '{"name": "user", "type": "long", "required": true}' in model.read_text()

    with pytest.raises(NotFound, match=r"no alias 'champoin'. It has: champion"):
        registry.resolve("fm@champoin")
    with pytest.raises(NotFound, match=r"no version '3'. It has: 1, 2"):
        registry.set_alias("fm", "champion", 3)
    with pytest.raises(NotFound, match="Did you mean 'fm'"):
        registry.resolve("fmm@champion")
    with pytest.raises(NotFound, match="'fm' is a model, not a run"):
        registry.resolve("fm")
    with pytest.raises(ConfigError, match="refuses"):
        registry.set_alias("fm", "v2", 1)
    with pytest.raises(ConfigError, match="Model name 'a/b'"):
        registry.publish(first, "a/b", SIGNATURE)
    failed = begin(registry, tmp_path / "failed")
    failed.finish(status="failed")
    with pytest.raises(ConfigError, match="is failed, so it has no model"):
        registry.publish(failed.id, "fm", SIGNATURE)


def test_lineage(registry: Registry, tmp_path: Path) -> None:
    first = finished(registry, tmp_path / "1", params={"lr": 0.1})
    newer = DatasetRef(name="rates", uri="/data/new", fingerprint="cd" * 32, version="v-2")
    second = finished(registry, tmp_path / "2", parent=first, dataset=newer)
    third = finished(registry, tmp_path / "3", parent=second, dataset=None)
    registry.publish(third, "fm", SIGNATURE)

    lineage = registry.made("fm/1")
    assert (third, [second, first], None) == (
        lineage.run.id,
        [run.id for run in lineage.parents],
        lineage.missing,
    )
    assert lineage.parents[1].dataset == DATA
    assert (lineage.code, lineage.environment, lineage.dataset) == ("c0de", {}, None)
    assert "from rates abababababab (/data/rates)" in str(lineage)

    for name in (DATA.fingerprint, "ababab", "/data/rates"):
        runs, versions = registry.fed(name)
        assert {first, second, third} == {run.id for run in runs}
        assert ["fm/1"] == [str(version) for version in versions]
    assert {second, third} == {run.id for run in registry.fed("v-2")[0]}
    assert registry.fed("/data/none") == ([], [])

    lost = finished(registry, tmp_path / "4", parent="f" * 16)
    assert registry.made(lost).missing == "f" * 16
    assert "ffffffff is not in this registry" in str(registry.made(lost))


def test_a_server_does_the_same(server: Server, tmp_path: Path) -> None:
    registry = Registry(server.uri + "/", experiment="served")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"\0")
    run = begin(registry, tmp_path / "run", params={"dim": 8}, environment=environment())
    run.log({"loss": 0.5}, step=1)
    run.finish(metrics={"rmse": 1.0}, artifacts={"model": tmp_path / "model"})
    registry.publish(run.id, "served-fm", SIGNATURE)
    registry.set_alias("served-fm", "champion", 1)

    found = registry.run("served-fm@champion")
    assert (found.id, found.params, found.metrics) == (
        run.id,
        {"dim": 8},
        {"loss": 0.5, "rmse": 1.0},
    )
    assert found.environment["packages"] == environment()["packages"]
    data = registry.fed(DATA.uri)
    assert run.id in [one.id for one in data[0]]  # other tests have runs there
    assert "served-fm/1 @champion" in [str(version) for version in data[1]]


def test_a_server_that_is_down_at_the_start_is_told(tmp_path: Path, server: Server) -> None:
    server.stop()
    with pytest.raises(Unreachable, match=r"answer: .*Connection refused\. Start it.* without it"):
        Registry(server.uri)


def test_a_server_that_fails_later_costs_nothing(server: Server, tmp_path: Path) -> None:
    registry = Registry(server.uri, experiment="fails")
    run = begin(registry, tmp_path / "run")
    run.log({"loss": 1.0}, step=1)
    server.stop()
    with pytest.warns(RuntimeWarning, match="goes on without its tracking") as warned:
        train_on(run)
    assert (len(warned), run.is_sent) == (1, False)

    with pytest.raises(Unreachable):
        send(tmp_path / "run")
    server.start()
    assert registry.run(run.id).status == "running"
    assert run.id == send(tmp_path / "run") == send(tmp_path / "run")

    assert [run.id] == [one.id for one in registry.runs()]
    found = registry.run(run.id)
    assert (found.status, found.metrics) == ("finished", {"loss": 1 / 2002, "rmse": 0.9})
    assert [(n, 1 / n) for n in range(1, 2003)] == found.history("loss")


def test_a_server_that_comes_back_gets_the_rest_at_the_end(server: Server, tmp_path: Path) -> None:
    registry = Registry(server.uri, experiment="comes back")
    server.stop()
    with pytest.warns(RuntimeWarning, match="does not answer"):
        run = begin(registry, tmp_path / "run")
    server.start()
    run.log({"loss": 1.0}, step=1)
    run.finish()

    assert run.is_sent
    assert {"loss": 1.0} == registry.run(run.id).metrics


def test_an_offline_run_is_sent_later(registry: Registry, tmp_path: Path) -> None:
    offline = Registry(registry.uri, experiment="later", offline=True)
    run = begin(offline, tmp_path / "run", params={"dim": 8})
    run.log({"loss": 1.0}, step=1)
    (tmp_path / "run" / "model.bin").write_bytes(b"\1")
    run.finish(artifacts={"model.bin": tmp_path / "run" / "model.bin"})
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(NotFound):
        registry.run(run.id)
    with pytest.raises(ConfigError, match="offline"):
        offline.runs()

    assert (run.is_sent, run.id) == (False, send(moved))
    found = registry.run(run.id)
    assert (found.experiment, found.status, found.metrics) == ("later", "finished", {"loss": 1.0})
    kept = Path(found.artifacts.removeprefix("file://"))
    assert (kept / "model.bin").read_bytes() == b"\1"


def test_sending_again_without_its_notes_changes_nothing(
    registry: Registry, tmp_path: Path
) -> None:
    run = begin(registry, tmp_path / "run", params={"dim": 8})
    run.log({"loss": 1.0, "odd": math.nan}, step=1)
    run.finish()
    before = registry.run(run.id)
    journal = tmp_path / "run" / "tracking.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"kind":"sent"' not in line))

    assert send(tmp_path / "run") == run.id
    assert len(registry.runs()) == 1
    assert before.history("loss") == registry.run(run.id).history("loss")
    assert len(registry.run(run.id).history("odd")) == 1


def test_a_folder_goes_on_with_its_unfinished_run(registry: Registry, tmp_path: Path) -> None:
    run = begin(registry, tmp_path / "run", params={"dim": 8})
    run.log({"loss": 1.0}, step=1)
    again = begin(registry, tmp_path / "run", params={"dim": 8}, code="new")
    again.log({"loss": 0.5}, step=2)
    again.finish()

    assert run.id == again.id
    assert [(1, 1.0), (2, 0.5)] == registry.run(run.id).history("loss")
    assert registry.run(run.id).code == "new"
    with pytest.raises(ConfigError, match="which is finished"):
        begin(registry, tmp_path / "run", params={"dim": 8})
    failed = begin(registry, tmp_path / "failed")
    failed.finish(status="failed")
    more = begin(registry, tmp_path / "failed")
    assert (failed.id, registry.run(more.id).status) == (more.id, "running")
    more.finish()
    assert registry.run(more.id).status == "finished"
    begin(registry, tmp_path / "other", params={"dim": 8})
    with pytest.raises(ConfigError, match="whose params was"):
        begin(registry, tmp_path / "other", params={"dim": 9})


def test_what_cannot_be_kept_is_told_at_once(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"param 'a\(b\)' cannot be kept"):
        begin(registry, tmp_path / "run", params={"a(b)": 1})
    with pytest.raises(ConfigError, match=r"param 'a\.b' is given twice"):
        begin(registry, tmp_path / "run", params={"a.b": 1, "a": {"b": 2}})
    with pytest.raises(ConfigError, match="needs at least one letter"):
        begin(registry, tmp_path / "run", " ")
    assert not (tmp_path / "run").exists()
    run = begin(registry, tmp_path / "run")
    with pytest.raises(ConfigError, match="Metric 'loss' is 'low'"):
        run.log({"loss": "low"})
    with pytest.raises(ConfigError, match="metric 'a@b' cannot"):
        run.log({"a@b": 1})
    with pytest.raises(ConfigError, match="needs a number"):
        run.log({"a": 10**400})
    for step in (2**63, "x", math.nan, None):
        with pytest.raises(ConfigError, match="is no step"):
            run.log({"a": 1}, step=step)  # type: ignore[arg-type]
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(ConfigError, match="cannot be used"):
            run.finish(artifacts={name: tmp_path})
    with pytest.raises(NotFound, match="Artifact 'x'"):
        run.finish(artifacts={"x": tmp_path / "none"})
    with pytest.raises(ConfigError, match=r"'\.\./x' cannot be used"):
        run.finish(artifacts={"../x": tmp_path})
    with pytest.raises(ConfigError, match="'done' is not known"):
        run.finish(status="done")  # type: ignore[arg-type]
    run.finish()
    with pytest.raises(ConfigError, match="is finished"):
        run.finish()
    with pytest.raises(ConfigError, match="is finished"):
        run.log({"loss": 1})


def test_long_params_are_cut_and_many_are_kept(registry: Registry, tmp_path: Path) -> None:
    params = {"half": "\ud800", "long": "x" * 7000, **{f"p{n}": n for n in range(250)}}
    found = registry.run(finished(registry, tmp_path / "run", params=params)).params

    assert found["long"].endswith("... (cut, 7000 characters)")
    assert (len(found["long"]), len(found), found["p249"]) == (6000, 252, 249)
    assert "?" == found["half"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("runs/registry.db", "Did you mean 'sqlite:///runs/registry.db'"),
        ("file:///tmp/mlruns", "Did you mean 'sqlite:////tmp/mlruns/registry.db'"),
        ("postgresql://host/db", "it needs sqlite:///FILE"),
        ("sqlite:///", "it needs sqlite:///FILE"),
        ("http://me:secret@host:5000", "MLFLOW_TRACKING_USERNAME"),
    ],
)
def test_an_address_that_is_none_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        Registry(uri, offline=True)
    assert "secret" not in str(raised.value)


def test_the_variable_names_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADKA_TRACKING", "http://tracking:5000/")
    assert Registry(offline=True).uri == "http://tracking:5000"
    monkeypatch.delenv("TADKA_TRACKING")
    monkeypatch.chdir(tmp_path)
    assert Registry(offline=True).uri == f"sqlite:///{tmp_path.resolve()}/runs/registry.db"


def test_a_database_that_was_cut_is_told(empty_database: Path, tmp_path: Path) -> None:
    content = empty_database.read_bytes()
    (tmp_path / "cut.db").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cannot be used.*malformed"):
        Registry(f"sqlite:///{tmp_path}/cut.db").runs()


def test_a_file_that_is_no_database_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("Dear diary, this is no database")
    with pytest.raises(DataError, match="no SQLite database"):
        Registry(f"sqlite:///{tmp_path}/notes.db")
    with pytest.raises(DataError, match="cannot be used"):
        Registry(f"sqlite:///{tmp_path}/notes.db/registry.db")


def write_runs(uri: str, folder: Path, start: Any) -> None:
    start.wait()
    registry = Registry(uri)
    for n in range(2):
        run = begin(registry, folder / str(n), params={"n": n})
        for step in range(100):
            run.log({"a": step, "b": step, "c": step}, step=step)
        run.finish()
        assert run.is_sent
        registry.publish(run.id, "fm", {})


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads of libraries
@pytest.mark.usefixtures("empty_database")  # MLflow is imported before it forks, and once
def test_two_processes_write_to_one_new_file(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/registry.db"
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(2)
    folders = (tmp_path / "one", tmp_path / "two")
    writers = [fork.Process(target=write_runs, args=(uri, path, start)) for path in folders]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    registry = Registry(uri)

    assert [0, 0] == [writer.exitcode for writer in writers]
    assert len(registry.runs()) == 4
    assert all(len(run.history("c")) == 100 for run in registry.runs())
    assert [4, 3, 2, 1] == [version.version for version in registry.models()]


def test_neither_mlflow_nor_pandas_is_loaded_before_it_is_needed(tmp_path: Path) -> None:
    program = (
        "import sys, tadka.registry\n"
        "tadka.registry.Registry(offline=True).begin('fm', directory=sys.argv[1])\n"
        "print({'mlflow', 'pandas', 'sqlalchemy', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "set()\n"


def test_nothing_is_warned_of_where_nothing_is_wrong(registry: Registry, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finished(registry, tmp_path / "run")
