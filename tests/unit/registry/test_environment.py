import subprocess
from importlib.metadata import version
from pathlib import Path

from tadka.registry.environment import environment, lock_text


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    done = subprocess.run(
        ["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_versions_that_are_installed_are_found(tmp_path: Path) -> None:
    found = environment(tmp_path)

    assert found["packages"]["numpy"] == version("numpy")
    assert f"numpy=={version('numpy')}\n" in lock_text(found["packages"])
    assert {"python", "platform", "hostname"} <= found.keys()
    assert "commit" not in found  # no repository


def test_the_commit_and_changes_since_are_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "fm.py").write_text("1")
    git(tmp_path, "add", "fm.py")
    git(tmp_path, "commit", "-q", "-m", "fm")
    commit = git(tmp_path, "rev-parse", "HEAD")

    assert environment(tmp_path)["commit"] == commit
    (tmp_path / "fm.py").write_text("2")
    assert environment(tmp_path)["commit"] == f"{commit}+changes"
