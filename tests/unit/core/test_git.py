import subprocess
from pathlib import Path

import pytest

from tadka.core.git import ask_git


def test_a_repository_is_asked(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "sub").mkdir()

    assert str(tmp_path.resolve()) == ask_git(tmp_path / "sub", "rev-parse", "--show-toplevel")
    assert "" == ask_git(tmp_path, "status", "--porcelain")
    assert ask_git(tmp_path, "rev-parse", "--verify", "HEAD") is None  # no commit yet


def test_nothing_is_said_without_repository_or_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask_git(tmp_path, "rev-parse", "--show-toplevel") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_git(tmp_path, "--version") is None
