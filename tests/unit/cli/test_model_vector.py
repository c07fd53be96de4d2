import json
from pathlib import Path

import pytest

from tadka.scoring.record import read_record
from tests import models
from tests.unit.cli.test_model import tadka, told
from tests.unit.models.vectors import fit, pairs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with vectors, and one that went on from it."""
    folder = tmp_path_factory.mktemp("vectors")
    first = fit(folder / "first", pairs(), epochs=2)
    more = pairs(30, first_user=115, seed=1)
    return first.folder, fit(folder / "next", more, first.folder, epochs=1).folder


def test_drift_shows_how_far_old_vectors_moved(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = tadka(tmp_path, "drift", *runs)
    found = told(tmp_path, "drift", *runs, "--moved", "2")

    assert 0 == done.returncode, done.stderr
    assert {"user", "item"} <= {line.split()[0] for line in done.stdout.splitlines()}
    assert [("user", 24), ("item", 16)] == [
        (one["vocabulary"], one["num_old"]) for one in found["vocabularies"]
    ]
    assert [2, 2] == [len(one["moved"]) for one in found["vocabularies"]]
    assert found["is_continued"]


def test_vectors_are_written_and_asked(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = tadka(tmp_path, "vectors", runs[0], "out")
    assert 0 == done.returncode, done.stderr
    assert "24 of user, 16 of item: " in done.stdout
    assert 1 == tadka(tmp_path, "vectors", runs[0], "out").returncode
    again = told(tmp_path, "vectors", runs[0], "out", "--overwrite", "--vocabulary", "item")
    assert {"item": 16} == again["num_vectors"]

    by_run = told(tmp_path, "alike", runs[0], "i1", "i2", "-k", "3")
    by_folder = told(tmp_path, "alike", "out", "i1", "i2", "-k", "3")
    shown = tadka(tmp_path, "alike", "out", "i1", "-k", "3")

    assert by_run == by_folder
    assert ["i1", "i2"] == [one["of"] for one in by_run]
    assert [3, 3] == [len(one["found"]) for one in by_run]
    assert by_run[0]["found"][0]["key"] in shown.stdout


def test_keys_together_are_one_question(runs: tuple[Path, Path], tmp_path: Path) -> None:
    options = ("--vocabulary", "user", "--together", "--metric", "product")
    (found,) = told(tmp_path, "alike", runs[0], "100", "101", *options)

    assert "100, 101" == found["of"]
    assert 10 == len(found["found"])
    assert not {100, 101} & {one["key"] for one in found["found"]}


def test_an_index_is_written_and_asked(runs: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    told(tmp_path, "vectors", runs[0], "out", "--index")

    near = told(tmp_path, "alike", "out", "i1", "-k", "15")
    exact = told(tmp_path, "alike", "out", "i1", "-k", "15", "--exact")

    assert (
        "item/index.faiss"
        == (
            json.loads((tmp_path / "out" / "vectors.json").read_text())["vocabularies"]["item"][
                "index"
            ]
        )
    )
    keys = [[one["key"] for one in found[0]["found"]] for found in (near, exact)]
    assert sorted(keys[0]) == sorted(keys[1])


def test_unknown_keys_are_named(runs: tuple[Path, Path], tmp_path: Path) -> None:
    done = tadka(tmp_path, "alike", runs[0], "i1", "nothing")

    assert 1 == done.returncode
    assert "There are no vectors of 'nothing'" in done.stderr


def test_a_model_is_exported_for_serving(tmp_path: Path) -> None:
    run = models.fit(tmp_path / "run", {"name": "logistic"}).folder

    done = tadka(tmp_path, "export", run, "out")
    again = tadka(tmp_path, "export", run, "out")

    assert 0 == done.returncode, done.stderr
    assert f"tadka serve {tmp_path / 'out' / 'model'} --features " in done.stdout
    file, name = done.stdout.split()[-1].rsplit(":", 1)
    assert ("Rows", tmp_path / "out") == (name, Path(file).parent)
    assert f"class {name}(" in Path(file).read_text()
    assert "linear" == read_record(tmp_path / "out" / "model")["kind"]
    assert 1 == again.returncode
    assert "exists" in again.stderr
