"""Memory limits for one process: a control group where we may make one, else RLIMIT_DATA.

A control group limits everything the process touches, shared memory included, and counts its
out-of-memory kills, so the reason of a death is exact. RLIMIT_DATA covers private memory only
and shows as MemoryError in the child.
"""

import contextlib
import os
import resource as rlimit
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Mechanism = Literal["cgroup-v1", "cgroup-v2", "rlimit"]

_GROUP_PREFIX = "tadka-"
_LIMIT_FILE = {"cgroup-v1": "memory.limit_in_bytes", "cgroup-v2": "memory.max"}
_EVENT_FILE = {"cgroup-v1": "memory.oom_control", "cgroup-v2": "memory.events"}


@dataclass(frozen=True)
class MemoryLimit:
    """A limit made by the parent and entered by the child.

    Args:
        limit_bytes: The most memory the process may use.
        mechanism: What enforces it; recorded so that a report can say so.
        group: Control group directory, None for ``rlimit``.
    """

    limit_bytes: int
    mechanism: Mechanism
    group: str | None = None

    def enter(self) -> None:
        """Put the calling process under the limit; called in the child before user code."""
        if self.group is None:
            rlimit.setrlimit(rlimit.RLIMIT_DATA, (self.limit_bytes, self.limit_bytes))
        else:
            (Path(self.group) / "cgroup.procs").write_text(str(os.getpid()))

    def num_oom_kills(self) -> int:
        """Processes the kernel killed for exceeding this limit; 0 under ``rlimit``."""
        if self.group is None:
            return 0
        with contextlib.suppress(OSError):
            for line in (Path(self.group) / _EVENT_FILE[self.mechanism]).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
        return 0

    def remove(self) -> None:
        """Remove the control group; its processes must have ended."""
        if self.group is not None:
            with contextlib.suppress(OSError):
                os.rmdir(self.group)


def make_limit(name: str, limit_bytes: int) -> MemoryLimit:
    """The strongest limit this machine lets us set, ready to be entered by the child."""
    for mechanism, parent in _parents():
        _sweep(parent)
        group = parent / f"{_GROUP_PREFIX}{os.getpid()}-{name}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / _LIMIT_FILE[mechanism]).write_text(str(limit_bytes))
            # Without this, version 1 may swap instead of keeping to the limit; absent w/o swap.
            with contextlib.suppress(OSError):
                swap = {"cgroup-v1": "memory.memsw.limit_in_bytes", "cgroup-v2": "memory.swap.max"}
                value = str(limit_bytes) if mechanism == "cgroup-v1" else "0"
                (group / swap[mechanism]).write_text(value)
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        return MemoryLimit(limit_bytes, mechanism, str(group))
    return MemoryLimit(limit_bytes, "rlimit")


def available_bytes() -> int:
    """Memory this process may still take: the least of the machine's and its groups' free rest."""
    free = 1 << 62
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    used_file = {"cgroup-v1": "memory.usage_in_bytes", "cgroup-v2": "memory.current"}
    for mechanism, group in _parents():
        with contextlib.suppress(OSError, ValueError):  # "max" in version 2 means no limit
            limit = int((group / _LIMIT_FILE[mechanism]).read_text())
            free = min(free, limit - int((group / used_file[mechanism]).read_text()))
    return max(free, 0)


def _parents() -> list[tuple[Mechanism, Path]]:
    """Control groups of the calling process that limit memory."""
    found: list[tuple[Mechanism, Path]] = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                found.append(("cgroup-v2", Path("/sys/fs/cgroup") / path.lstrip("/")))
            elif "memory" in controllers.split(","):
                found.insert(0, ("cgroup-v1", Path("/sys/fs/cgroup/memory") / path.lstrip("/")))
    return [
        (mechanism, path) for mechanism, path in found if (path / _LIMIT_FILE[mechanism]).exists()
    ]


def _sweep(parent: Path) -> None:
    """Remove empty groups whose maker was killed before it could."""
    for group in parent.glob(f"{_GROUP_PREFIX}*"):
        maker = group.name.removeprefix(_GROUP_PREFIX).partition("-")[0]
        if maker.isdigit() and not Path(f"/proc/{maker}").exists():
            with contextlib.suppress(OSError):
                group.rmdir()
