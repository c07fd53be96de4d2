import json
from pathlib import Path

import pytest

from tests.unit.cli.test_model import first, place, tadka, told

__all__ = ["place"]  # the fixture


def test_show_tells_all_of_a_run(place: Path) -> None:
    run = first(place)["run"]

    done = tadka(place, "show", run[:6])

    assert 0 == done.returncode, done.stderr
    for words in (run, "product/1", "600 rows", "model.lr", "0.05", "auc", "▁", "Python", "torch"):
        assert words in done.stdout, words
    assert "data.csv.encoding" not in done.stdout  # as it is by default
    assert "data.csv.encoding" in tadka(place, "show", run[:6], "--all").stdout


def test_show_is_the_same_by_id_version_and_folder(place: Path) -> None:
    by_version = told(place, "show", "product/1")
    by_folder = told(place, "show", first(place)["folder"])

    by_id = told(place, "show", first(place)["run"])

    assert by_id == by_version
    for key in (
        "id",
        "folder",
        "params",
        "metrics",
        "history",
        "dataset",
        "code",
        "parent",
        "versions",
    ):
        assert by_id[key] == by_folder[key], key


def test_show_tells_where_a_run_comes_from(place: Path) -> None:
    done = tadka(place, "show", "product/2")
    found = told(place, "show", "product/2")

    assert "lineage" in done.stdout
    assert [first(place)["run"]] == found["parents"]
    assert first(place)["run"] == found["parent"]


@pytest.mark.parametrize("command", ["show", "evaluate", "made"])
def test_a_run_that_does_not_exist_is_named(place: Path, command: str) -> None:
    done = tadka(place, command, "nosuchrun")

    assert 1 == done.returncode
    assert "There is no run 'nosuchrun'" in done.stderr
    assert "tadka model runs" in done.stderr


def test_a_folder_of_no_run_is_named(tmp_path: Path) -> None:
    done = tadka(tmp_path, "show", ".")

    assert 1 == done.returncode
    assert "tracking.jsonl" in done.stderr


def test_compare_shows_differences_and_marks_the_best(place: Path) -> None:
    done = tadka(place, "compare", "product/1", "product/2")
    found = told(place, "compare", "product/1", "product/2")

    assert 0 == done.returncode, done.stderr
    assert "*" in done.stdout
    assert {"model.lr": [0.05, 0.01]} == found["params"]
    assert {} == found["facts"]
    low, high = found["metrics"]["log_loss"]
    assert found["runs"][0 if low < high else 1] == found["best"]["log_loss"]
    assert 2 == tadka(place, "compare", "product/1").returncode


def test_runs_are_listed_newest_first(place: Path) -> None:
    found = told(place, "runs", "--model", "product", "--limit", "100")

    started = [run["started"] for run in found]
    assert sorted(started, reverse=True) == started
    assert first(place)["run"] in {run["id"] for run in found}
    assert first(place)["run"][:8] in tadka(place, "runs", "--limit", "100").stdout
    assert [] == told(place, "runs", "--experiment", "other")


def test_a_registry_without_runs_says_so(tmp_path: Path) -> None:
    done = tadka(tmp_path, "runs", "--tracking", f"sqlite:///{tmp_path}/mine.db")

    assert 0 == done.returncode, done.stderr
    assert "There are no runs" in done.stdout


def test_an_alias_names_a_version_everywhere(place: Path) -> None:
    assert 0 == tadka(place, "alias", "product/1", "champion").returncode
    moved = tadka(place, "alias", "product@champion", "challenger")

    assert "product@challenger is product/1 now" in moved.stdout
    assert first(place)["run"] == told(place, "show", "product@challenger")["id"]
    assert "@challenger @champion" in tadka(place, "fed", "train.parquet").stdout


@pytest.mark.parametrize(
    ("version", "status", "words"),
    [
        ("product", 2, "write it as fm/3"),
        ("product/99", 1, "no version '99'"),
        ("prodct/1", 1, "Did you mean 'product'"),
        ("product@nobody", 1, "no alias 'nobody'"),
    ],
)
def test_a_version_that_does_not_exist_gets_no_alias(
    place: Path, version: str, status: int, words: str
) -> None:
    done = tadka(place, "alias", version, "champion")

    assert status == done.returncode
    assert words in done.stderr


def test_made_goes_back_to_the_first_run(place: Path) -> None:
    found = told(place, "made", "product/2")

    assert [first(place)["run"]] == [run["id"] for run in found["parents"]]
    assert found["missing"] is None
    lines = tadka(place, "made", "product/2").stdout.splitlines()
    assert 2 == len(lines)
    assert first(place)["run"][:8] in lines[1]


def test_fed_names_runs_and_versions_of_a_data_set(place: Path) -> None:
    fingerprint = told(place, "show", "product/1")["dataset"]["fingerprint"]

    by_hash = told(place, "fed", fingerprint[:8])

    assert by_hash == told(place, "fed", "train.parquet")
    assert any(name.startswith("product/1") for name in by_hash["versions"])
    assert first(place)["run"] in {run["id"] for run in by_hash["runs"]}
    assert "fed no run" in tadka(place, "fed", "nothing.parquet").stdout


def test_what_was_not_sent_anywhere_is_made_of_what_its_folder_says(
    place: Path, tmp_path: Path
) -> None:
    words = ("--set", "tracking.offline=true", "--set", f"tracking.folder={tmp_path}")
    done = tadka(place, "train", "config.yaml", "--set", "model.epochs=1", *words, "--json")
    found = json.loads(done.stdout)

    lineage = told(tmp_path, "made", found["folder"])

    assert found["run"] == lineage["run"]["id"]
    assert not (tmp_path / "runs").exists()  # no registry was made for it
