"""Which code, which Python and which libraries a version comes from."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from tadka.core.git import ask_git

_PACKAGES = ("duckdb", "pyarrow", "numpy", "pyspark", "deltalake", "pyiceberg")
"""Those whose version can change rows."""


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
    top = ask_git(path.parent, "rev-parse", "--show-toplevel")
    if top is None:
        return {"module": path.name, "commit": None, "is_dirty": None}
    changes = ask_git(path.parent, "status", "--porcelain", "--untracked-files=normal")
    return {
        "module": str(path.relative_to(Path(top).resolve())),
        "commit": ask_git(path.parent, "rev-parse", "HEAD"),
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
