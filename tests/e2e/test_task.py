"""The example of tasks by the command, as its README says, and its page in a browser."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import elements_of
from tests.command import run_command

DATA = pytest.mark.needs_data("ml-100k", "adult")


def tadka(folder: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    return run_command(folder, *map(str, words), environment={"COLUMNS": "160"})


@pytest.mark.needs_data("ml-100k")
def test_what_the_readme_says_of_the_command(repository: Path, data: Path, tmp_path: Path) -> None:
    report = f"{repository}/examples/task/films.py:film_report"
    words = (report, "--folder", data / "ml-100k")

    first = tadka(tmp_path, "task", "run", *words, "--json")
    assert 0 == first.returncode, first.stderr
    assert 9 == json.loads(first.stdout)["counts"]["ran"]

    again = tadka(tmp_path, "task", "run", *words, "--json")
    assert 0 == again.returncode, again.stderr
    assert 9 == json.loads(again.stdout)["counts"]["hit"]

    why = tadka(tmp_path, "task", "why", *words, "--penalty", "100")
    assert "penalty 10.0 -> 100.0" in why.stdout, why.stderr
    other = tadka(tmp_path, "task", "run", *words, "--penalty", "100", "--json")
    counts = json.loads(other.stdout)["counts"]
    assert (2, 7) == (counts["ran"], counts["hit"])

    value = tadka(tmp_path, "task", "load", "FilmReport", "--json")
    assert 0.9 < json.loads(value.stdout)["rmse"] < 0.98, value.stdout
    listed = json.loads(tadka(tmp_path, "task", "ls", "--json").stdout)
    assert 11 == len(listed)
    runs = tadka(tmp_path, "task", "runs", "diff", "last~1", "last")
    assert 0 == runs.returncode, runs.stderr


@DATA
@pytest.mark.needs_chromium
def test_the_page_of_the_example_opens_without_a_complaint(
    repository: Path, data: Path, tmp_path: Path, chromium: str
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, repository / "examples/task/main.py", "--json"),
            *("--workspace", tmp_path / "work", "--page", tmp_path / "graph.html"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        env={**os.environ, "TADKA_DATA": str(data)},
    )
    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert ["FilmReport", "Weights"] == found["changed"]
    assert found["again"]["hit"] == found["first"]["ran"] == 17

    shown, complaints = elements_of(chromium, tmp_path / "graph.html")

    assert [] == complaints
    assert 17 == shown.count('id="t-')
    assert "CensusReport" in shown
