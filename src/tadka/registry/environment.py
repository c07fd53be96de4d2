"""What ran a training: versions of all that is installed, Python, commit, machine."""

import platform
import socket
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from tadka.core.git import ask_git


def environment(folder: str | Path = ".") -> dict[str, Any]:
    """What runs here: enough to make the same again.

    Args:
        folder: In the git repository whose commit counts.

    Returns:
        `python`, `platform`, `hostname`; `commit` (with `+changes` where files differ from it) in
        a git repository only; `packages`: version by normalised name, sorted.
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hostname": socket.gethostname(),
    }
    commit = commit_of(folder)
    if commit:
        found["commit"] = commit
    found["packages"] = _packages()
    return found


def commit_of(folder: str | Path = ".") -> str:
    """The commit that is checked out, with `+changes` where files differ from it.

    Args:
        folder: In the git repository.

    Returns:
        The empty text outside of a repository, or before its first commit.
    """
    commit = ask_git(Path(folder), "rev-parse", "HEAD")
    if not commit:
        return ""
    changes = ask_git(Path(folder), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if changes else commit


def lock_text(packages: dict[str, str]) -> str:
    """Packages in the form that `pip install -r` reads.

    Args:
        packages: Version by name.
    """
    return "".join(f"{name}=={version}\n" for name, version in sorted(packages.items()))


def _packages() -> dict[str, str]:
    versions: dict[str, str] = {}
    for found in distributions():
        name = found.metadata["Name"] if found.metadata else None
        if name:  # a folder that is left of an uninstall has none
            # the first on sys.path is the one that is imported
            versions.setdefault(name.lower().replace("_", "-").replace(".", "-"), found.version)
    return dict(sorted(versions.items()))
