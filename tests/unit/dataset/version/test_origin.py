import platform
import subprocess
from pathlib import Path

import pytest

import tadka
from tadka.dataset.version.origin import code_of, environment


def git(folder: Path, *arguments: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(folder), *options, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_commit_and_changes_are_known(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file = tmp_path / "sub" / "ctr.py"
    file.write_text("a = 1\n", encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")

    commit = git(tmp_path, "rev-parse", "HEAD")
    assert {"module": "sub/ctr.py", "commit": commit, "is_dirty": False} == code_of(file)
    file.write_text("a = 2\n", encoding="utf-8")
    assert code_of(str(file))["is_dirty"]


def test_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").touch()

    assert {"module": "a.py", "commit": None, "is_dirty": True} == code_of(tmp_path / "a.py")


def test_without_repository_or_git_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = {"module": "a.py", "commit": None, "is_dirty": None}
    assert unknown == code_of(tmp_path / "a.py")
    assert {"module": None, "commit": None, "is_dirty": None} == code_of(None)
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert unknown == code_of(tmp_path / "a.py")


def test_environment_names_what_makes_rows() -> None:
    found = environment()

    assert platform.python_version() == found["python"]
    assert tadka.__version__ == found["packages"]["tadka"]
    assert {"pyarrow", "numpy"} <= set(found["packages"])
