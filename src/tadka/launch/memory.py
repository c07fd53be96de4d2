"""Memory limits for one process: a control group where we may make one, else RLIMIT_DATA.

A control group limits everything the process touches, shared memory included, and counts its
out-of-memory kills, so the reason of a death is exact. RLIMIT_DATA covers private memory only,
counts what is asked for rather than what is used, and shows as MemoryError in the child.
"""

import contextlib
import os
import re
import resource as rlimit
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tadka.core.error import LaunchError
from tadka.launch.guard import PREFIX, lock

Mechanism = Literal["cgroup-v1", "cgroup-v2", "rlimit"]

_TRIES = 5
_LIMIT_FILE = {"cgroup-v1": "memory.limit_in_bytes", "cgroup-v2": "memory.max"}
_USAGE_FILE = {"cgroup-v1": "memory.usage_in_bytes", "cgroup-v2": "memory.current"}
_EVENT_FILE = {"cgroup-v1": "memory.oom_control", "cgroup-v2": "memory.events"}
# Page cache that nobody has touched lately: the kernel gives it back before it kills.
_CACHE_KEY = {"cgroup-v1": "total_inactive_file", "cgroup-v2": "inactive_file"}


@dataclass(frozen=True)
class Group:
    """A control group that this process is in.

    Args:
        mechanism: Which version's files it has.
        path: Its directory.
        top: The directory of the uppermost group that can be seen from here.
    """

    mechanism: Mechanism
    path: Path
    top: Path


@dataclass(frozen=True)
class MemoryLimit:
    """A limit made by the parent and entered by the child.

    Args:
        limit_bytes: The most memory the process may use.
        mechanism: What enforces it; recorded so that a report can say so.
        group: Control group directory, None for ``rlimit``.
        lock: The maker's descriptor, by which others know that the group is in use.
    """

    limit_bytes: int
    mechanism: Mechanism
    group: str | None = None
    lock: int | None = field(default=None, compare=False, repr=False)

    def enter(self) -> None:
        """Put the calling process under the limit; called in the child before user code."""
        if self.group is None:
            _, most = rlimit.getrlimit(rlimit.RLIMIT_DATA)
            least = self.limit_bytes if most < 0 else min(self.limit_bytes, most)
            rlimit.setrlimit(rlimit.RLIMIT_DATA, (least, most))
        else:
            (Path(self.group) / "cgroup.procs").write_text(str(os.getpid()))

    def relax(self) -> None:
        """Let the calling process say that it ran out of memory; only ``rlimit`` hinders it."""
        if self.group is None:
            _, most = rlimit.getrlimit(rlimit.RLIMIT_DATA)
            rlimit.setrlimit(rlimit.RLIMIT_DATA, (most, most))

    def num_oom_kills(self) -> int:
        """Processes the kernel killed for exceeding this limit; 0 under ``rlimit``."""
        if self.group is None:
            return 0
        return _read_key(Path(self.group) / _EVENT_FILE[self.mechanism], "oom_kill")

    def remove(self) -> None:
        """Remove the control group; its processes must have ended."""
        if self.group is not None:
            with contextlib.suppress(OSError):
                Path(self.group).rmdir()
        if self.lock is not None:
            with contextlib.suppress(OSError):
                os.close(self.lock)


def make_limit(name: str, limit_bytes: int, mechanism: Mechanism | None = None) -> MemoryLimit:
    """A limit on this machine, ready to be entered by the child.

    Args:
        name: Of the control group; begins with the name of the launcher's directory.
        limit_bytes: The most memory the process may use.
        mechanism: What must enforce it; None takes the strongest that there is.

    Raises:
        LaunchError: This machine does not let us use `mechanism`.
    """
    for parent in limit_parents():
        if mechanism in (None, parent.mechanism):
            limit = _make_group(parent, name, limit_bytes)
            if limit is not None:
                return limit
    if mechanism not in (None, "rlimit"):
        raise LaunchError(
            f"Memory cannot be limited by {mechanism!r} here: no control group can be made. "
            "Use 'rlimit', or leave the choice to the launcher (None)."
        )
    return MemoryLimit(limit_bytes, "rlimit")


def limit_parents() -> list[Group]:
    """Groups in which a group with a memory limit may be made, best first."""
    found = []
    for group in own_groups():
        if group.mechanism == "cgroup-v1" or _delegates_memory(group.path):
            found.append(group)
        elif (
            # Version 2 lets no group have both processes and children with limits. A neighbour
            # of our own group will do, unless the child would escape a limit of ours by it.
            group.path != group.top
            and _read_number(group.path / "memory.max") is None
            and _delegates_memory(group.path.parent)
        ):
            found.append(Group("cgroup-v2", group.path.parent, group.top))
    return [group for group in found if os.access(group.path, os.W_OK)]


def available_bytes() -> int:
    """Memory this process may still take: the least of the machine's and its groups' free rest."""
    free = 1024 * _read_key(Path("/proc/meminfo"), "MemAvailable:", default=1 << 52)
    for own in own_groups():
        for path in (own.path, *own.path.parents):
            limit = _read_number(path / _LIMIT_FILE[own.mechanism])
            used = _read_number(path / _USAGE_FILE[own.mechanism])
            if limit is not None and used is not None:
                cache = _read_key(path / "memory.stat", _CACHE_KEY[own.mechanism])
                free = min(free, limit - used + cache)
            if path == own.top:
                break
    return max(free, 0)


def own_groups(
    cgroup: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo")
) -> list[Group]:
    """Memory control groups of the calling process, version 1 before version 2.

    Args:
        cgroup: Lines ``ID:CONTROLLERS:PATH``, see cgroups(7).
        mounts: Where the hierarchies are mounted, see proc(5).
    """
    paths: dict[Mechanism, str] = {}
    found = []
    with contextlib.suppress(OSError):
        for line in cgroup.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                paths["cgroup-v1"] = path
            elif not controllers:
                paths["cgroup-v2"] = path
        for mechanism, root, top in _mounts(mounts.read_text()):
            if mechanism not in paths:
                continue
            # In a container, the mount may show a part of the tree only, and we may be above it.
            own = top
            if not paths[mechanism].startswith("/.."):
                inside = os.path.relpath(paths[mechanism], root)
                own = top if inside.startswith("..") else top / inside
            found.append(Group(mechanism, own, top))
    found = [group for group in found if _has_memory(group)]
    return sorted(set(found), key=lambda group: (group.mechanism, str(group.path)))


def _mounts(text: str) -> Iterator[tuple[Mechanism, str, Path]]:
    """Version, root within the hierarchy, and mount point of every memory hierarchy."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        root, point = (
            re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), part)
            for part in before.split()[3:5]
        )
        kind, _, *options = after.split()
        if kind == "cgroup2":
            yield "cgroup-v2", root, Path(point)
        elif kind == "cgroup" and "memory" in options[-1].split(","):
            yield "cgroup-v1", root, Path(point)


def _has_memory(group: Group) -> bool:
    if group.mechanism == "cgroup-v1":
        return (group.path / _LIMIT_FILE["cgroup-v1"]).exists()
    # The uppermost group of version 2 has no limit file.
    return "memory" in _read_words(group.path / "cgroup.controllers")


def _delegates_memory(path: Path) -> bool:
    return "memory" in _read_words(path / "cgroup.subtree_control")


def _make_group(parent: Group, name: str, limit_bytes: int) -> MemoryLimit | None:
    """None where we lack the right."""
    _sweep(parent.path)
    path = parent.path / name
    for _ in range(_TRIES):
        try:
            path.mkdir(exist_ok=True)
        except OSError:
            return None
        with contextlib.suppress(OSError):
            held = lock(path)
            if held is None:
                continue  # another launcher's sweep was quicker than our lock
            limit = MemoryLimit(limit_bytes, parent.mechanism, str(path), held)
            try:
                (path / _LIMIT_FILE[parent.mechanism]).write_text(str(limit_bytes))
            except OSError:
                limit.remove()
                continue
            # Without this, the process may swap instead of keeping to the limit; absent w/o swap.
            with contextlib.suppress(OSError):
                if parent.mechanism == "cgroup-v1":
                    (path / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))
                else:
                    (path / "memory.swap.max").write_text("0")
            return limit
    return None


def _sweep(parent: Path) -> None:
    """Remove groups whose maker, and its guard, were killed before they could."""
    for group in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            held = lock(group)
            if held is not None:
                with contextlib.suppress(OSError):  # not empty
                    group.rmdir()
                os.close(held)


def _read_number(path: Path) -> int | None:
    """None for "max", and where there is no such file."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text())
    return None


def _read_words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text().split()
    return []


def _read_key(path: Path, key: str, default: int = 0) -> int:
    """The number after `key` in a file of lines ``KEY NUMBER``."""
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            words = line.split()
            if words and words[0] == key:
                return int(words[1])
    return default
