"""What is known of the machine and the project."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tadka.task.engine.environment import commit_of, environment_of, libraries
from tests.unit.task.engine.steps import Number


def git(folder: Path, *words: str) -> str:
    given = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(folder), *words]
    return subprocess.run(given, check=True, capture_output=True, text=True).stdout.strip()


def test_an_environment_is_plain_json() -> None:
    found = environment_of(Number)

    assert found == json.loads(json.dumps(found))
    assert ".".join(map(str, sys.version_info[:3])) == found["python"]


def test_imported_libraries_are_there_with_their_versions() -> None:
    found = libraries()

    assert np.__version__ == found["numpy"]
    assert "json" not in found
    assert not any("." in name for name in found)


def test_the_commit_is_read_from_the_files_of_a_repository(tmp_path: Path) -> None:
    assert None is commit_of(tmp_path)
    git(tmp_path, "init", "-q")
    assert None is commit_of(tmp_path)
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)

    assert head == commit_of(inner)
    git(tmp_path, "pack-refs", "--all")
    assert head == commit_of(inner)
    git(tmp_path, "worktree", "add", "-q", str(tmp_path / "tree"))
    assert head == commit_of(tmp_path / "tree")
    git(tmp_path, "checkout", "-q", "--detach")
    assert head == commit_of(tmp_path)
