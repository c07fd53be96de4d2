"""Which code, which Python and which libraries a version comes from."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("duckdb", "pyarrow", "numpy", "pyspark", "deltalake", "pyiceberg")
"""Those whose version can change rows."""
_TIMEOUT_S = 10.0


def code_of(file: str | Path | None) -> dict[str, Any]:
    """The commit that a definition stands in.

    Args:
        file: The Python file or YAML of the definition; None where it was typed in.

    Returns:
        `module`, the file's path below its repository; `commit`, None outside of any; `is_dirty`,
        whether something was changed since the commit.
    """
    if file is None:
        return {"module": None, "commit": None, "is_dirty": None}
    path = Path(file).resolve()
    top = _git(path.parent, "rev-parse", "--show-toplevel")
    if top is None:
        return {"module": path.name, "commit": None, "is_dirty": None}
    changes = _git(path.parent, "status", "--porcelain", "--untracked-files=normal")
    return {
        "module": str(path.relative_to(Path(top).resolve())),
        "commit": _git(path.parent, "rev-parse", "HEAD"),
        "is_dirty": None if changes is None else bool(changes),
    }


def environment() -> dict[str, Any]:
    """Python, platform, and the versions of the libraries that make rows."""
    packages = {"tadka": metadata.version("tadka")}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "packages": packages,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None without git, outside of a repository, or where it takes too long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # it may not write, not even its index
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
