"""Where results are made: machine, Python, versions of libraries, commit of the project."""

import getpass
import os
import platform
import re
import socket
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_STANDARD = frozenset(sys.stdlib_module_names)


def environment_of(cls: type) -> dict[str, Any]:
    """The environment of this process, as JSON. It takes less than a millisecond.

    Args:
        cls: A class of the project whose commit is wanted.

    Returns:
        `host`, `user`, `system`, `python`, `program`, `commit` (None outside of a repository) and
        `libraries`, the versions of those that are imported by now.
    """
    return {
        "host": socket.gethostname(),
        "user": _user(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "program": sys.argv[0] if sys.argv else "",
        "commit": commit_of(_folder_of(cls)),
        "libraries": libraries(),
    }


def libraries() -> dict[str, str]:
    """Versions of the installed libraries that are imported, by name."""
    installed = _installed(tuple(sys.path))
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        if "." in name or name in _STANDARD or name.startswith("_"):
            continue
        version = installed.get(_plain(name)) or getattr(module, "__dict__", {}).get("__version__")
        if isinstance(version, str):
            found[name] = version
    return dict(sorted(found.items()))


def commit_of(folder: Path) -> str | None:
    """The commit that is checked out in the repository around a folder, read from its files.

    Args:
        folder: Somewhere in it.

    Returns:
        None outside of a repository, or before its first commit.
    """
    try:
        for parent in (folder, *folder.parents):
            git = parent / ".git"
            if git.is_file():  # of a worktree
                git = parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            if git.is_dir():
                return _head(git)
    except (OSError, UnicodeError):  # a repository that cannot be read is none
        return None
    return None


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    common = git / "commondir"
    home = git / common.read_text(encoding="utf-8").strip() if common.is_file() else git
    if (home / name).is_file():
        return (home / name).read_text(encoding="utf-8").strip()
    packed = home / "packed-refs"
    if packed.is_file():
        for line in packed.read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {name}"):
                return line.split(" ")[0]
    return None


def _folder_of(cls: type) -> Path:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(file).resolve().parent if file else Path.cwd()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return str(os.getuid())


@cache
def _installed(path: tuple[str, ...]) -> dict[str, str]:
    """Version by name, as the folders beside installed libraries say it."""
    return {name: version for folder in reversed(path) for name, version in _distributions(folder)}


def _distributions(folder: str) -> Iterator[tuple[str, str]]:
    try:
        names = os.listdir(folder or ".")  # noqa: PTH208 - of many folders, at each start
    except OSError:
        return
    for name in names:
        found = re.match(r"(.+?)-([^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info$", name)
        if found:
            yield _plain(found[1]), found[2]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
