import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tadka.cli.new import names_of, write_project
from tadka.core.error import ConfigError, DataError
from tests import source
from tests.command import run_command

FILES = [
    ".dockerignore",
    ".github/workflows/ci.yml",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "pyproject.toml",
    "shop/__init__.py",
    "shop/tasks.py",
    "tadka.toml",
    "tests/test_tasks.py",
]


def files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_new_project_passes_its_own_tests(tmp_path: Path) -> None:
    done = run_command(tmp_path, "new", "shop")

    assert 0 == done.returncode, done.stderr
    assert FILES == files_in(tmp_path / "shop")
    assert "wrote    shop/Dockerfile\n" in done.stdout
    assert "next     cd shop && tadka task run shop.tasks:Report\n" in done.stdout
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path / "shop",
        env={**os.environ, "PYTHONPATH": str(source.SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == tested.returncode, tested.stdout
    assert "3 passed" in tested.stdout


def test_a_new_project_runs(tmp_path: Path) -> None:
    run_command(tmp_path, "new", "shop")

    first = run_command(tmp_path / "shop", "task", "run", "shop.tasks:Report")
    again = run_command(tmp_path / "shop", "task", "run", "shop.tasks:Report")

    assert 0 == first.returncode, first.stderr
    assert "3 ran" in first.stdout
    assert "3 hit" in again.stdout
    report = (tmp_path / "shop" / "workspace" / "report_3.txt").read_text()
    assert report.startswith("y = ")
    points = run_command(tmp_path / "shop", "task", "ls", "Points", "--json").stdout
    assert '"num_points": 200' in points, "tadka.toml says so, the class says 100"


def test_every_file_of_a_new_project_can_be_read(tmp_path: Path) -> None:
    write_project(tmp_path / "My-Shop.2")

    folder = tmp_path / "My-Shop.2"
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert "My-Shop.2" == project["project"]["name"]
    assert ["my_shop_2"] == project["tool"]["setuptools"]["packages"]
    settings = tomllib.loads((folder / "tadka.toml").read_text())
    assert ["my_shop_2.tasks.Points"] == list(settings["tasks"])
    workflow = yaml.safe_load((folder / ".github/workflows/ci.yml").read_text())
    assert "pytest" in [step.get("run") for step in workflow["jobs"]["test"]["steps"]]
    for name in files_in(folder):
        text = (folder / name).read_text()
        assert "@package@" not in text, name
        assert "@project@" not in text, name


def test_the_folder_may_be_there_if_it_is_empty(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()

    done = run_command(folder, "new", ".")

    assert 0 == done.returncode, done.stderr
    assert FILES == files_in(folder)
    assert "wrote    Dockerfile\n" in done.stdout
    assert "next     tadka task run shop.tasks:Report\n" in done.stdout


@pytest.mark.parametrize("taken", ["shop/.git", "shop/file", "shop"])
def test_a_folder_with_something_in_it_is_refused(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("mine")

    done = run_command(tmp_path, "new", "shop")

    assert 2 == done.returncode
    assert "needs a folder of its own" in done.stderr
    assert [taken] == files_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1shop", "begin with a letter"),
        ("shop!", "begin with a letter"),
        ("läden", "begin with a letter"),
        ("shop-", "begin with a letter"),
        ("tests", "Choose another"),
        ("tadka", "Choose another"),
        ("json", "Choose another"),
        ("Class", "Choose another"),
        ("async-io", None),
    ],
)
def test_names_that_could_not_be_imported_are_refused(name: str, words: str | None) -> None:
    if words is None:
        assert "async_io" == names_of(Path(name))[1]
        return
    with pytest.raises(ConfigError, match=words):
        names_of(Path(name))


def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def fail(path: Path, *args: str, **kwargs: str) -> int:
        if path.name == "Dockerfile":
            raise OSError(28, "No space left on device")
        return write(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", fail)

    with pytest.raises(DataError, match="No space left"):
        write_project(tmp_path / "deep" / "shop")
    assert [] == list(tmp_path.iterdir())


def test_the_wheel_would_have_every_template() -> None:
    project = tomllib.loads((source.ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    package = source.PACKAGE / "cli"

    shipped = {path for pattern in patterns for path in package.glob(pattern)}

    assert set((package / "template").iterdir()) <= shipped
