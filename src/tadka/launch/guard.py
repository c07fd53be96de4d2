"""Ends every process that a launcher leaves behind, and removes every file.

A child dies with its parent because the kernel sees to it; what the child has started does not.
So each launcher keeps one small process beside it, ``python -I -S guard.py DIRECTORY PARENT``,
which does nothing until the launcher's process is gone, however it went. The same functions
serve the launcher while it lives. Standard library only: the guard starts in milliseconds.

Whose a process is stands in its environment (`MARK`), which its children inherit, so that a
daemon in a session of its own is found, too. Locks tell whether a launcher lives: the kernel
drops them with the process, and process ids come round again.
"""

import contextlib
import fcntl
import math
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

MARK = "TADKA_PROCESS"
PREFIX = "tadka-launch-"  # of directories and control groups; the rest of the name is random
# A mount point, not a file of ours.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108

# They outlive their users only to remove the shared memory those leave, and then end.
_CLEANERS = (b"resource_tracker", b"torch_shm_manager")
_ROUNDS = 20


def lock(directory: Path) -> int | None:
    """A descriptor that locks `directory` while it is open; None when another has the lock.

    Raises:
        OSError: The directory is gone, or belongs to somebody else.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def wait_readable(descriptors: Iterable[int], timeout_s: float | None) -> bool:
    """Whether one of them is readable within `timeout_s`; a pidfd is at the process's end."""
    # Not select.select, which takes no descriptor above 1023.
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else math.ceil(1000 * timeout_s)))


def end_marked(
    mark: str, *, session: int = 0, groups: Iterable[Path] = (), patience_s: float = 2.0
) -> None:
    """Kill processes until none is left, and wait for their ends.

    Args:
        mark: How the value of `MARK` begins in their environment.
        session: A session whose processes go, too; 0 for none.
        groups: Control groups whose processes go, too.
        patience_s: How long a process that cleans up after others may take to do so.
    """
    # What a process forks while we look is found in the next round.
    for _ in range(_ROUNDS):
        found = _find(mark, session, groups)
        cleaners = {pid: found.pop(pid) for pid in list(found) if _is_cleaner(pid)}
        if found:
            _kill(found)
        _wait(cleaners, patience_s if not found else 0)
        if not found:
            break
    rest = _find(mark, session, groups)
    _kill(rest)


def clear(directory: Path, group_parents: Iterable[Path]) -> None:
    """Kill all processes of the launcher that owned `directory`; remove all its files."""
    groups = [g for parent in group_parents for g in parent.glob(f"{directory.name}-*")]
    end_marked(f"{directory}/", groups=groups)
    for group in groups:
        with contextlib.suppress(OSError):
            group.rmdir()
    shutil.rmtree(SHARED_MEMORY / directory.name, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def _find(mark: str, session: int, groups: Iterable[Path]) -> dict[int, int]:
    """Process ids with a descriptor of each; who is dead but not yet buried does not count."""
    members: set[int] = set()
    for group in groups:
        with contextlib.suppress(OSError):
            members |= set(map(int, (group / "cgroup.procs").read_text().split()))
    needle = f"\0{MARK}={mark}".encode()
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        pid = int(entry.name)
        try:
            descriptor = os.pidfd_open(pid)  # first: from here on the id cannot change hands
        except OSError:
            continue
        is_ours = False
        with contextlib.suppress(OSError):
            # Fields after the name, which may hold anything: state, parent, group, session.
            status = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if status[0] not in (b"Z", b"X"):
                is_ours = (
                    pid in members
                    or (session > 0 and int(status[3]) == session)
                    or needle in b"\0" + (entry / "environ").read_bytes()
                )
        if is_ours:
            found[pid] = descriptor
        else:
            os.close(descriptor)
    return found


def _is_cleaner(pid: int) -> bool:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return any(name in command for name in _CLEANERS)
    return False


def _kill(found: dict[int, int]) -> None:
    for descriptor in found.values():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    _wait(found, 2.0)


def _wait(found: dict[int, int], timeout_s: float) -> None:
    """Wait for the ends of processes, and close their descriptors."""
    until = time.monotonic() + timeout_s
    for descriptor in found.values():
        wait_readable([descriptor], max(0.0, until - time.monotonic()))
        os.close(descriptor)


def main(directory: str, parent: str, group_parents: list[str]) -> None:
    """Wait for the end of process `parent` or of standard input, then `clear`."""
    with contextlib.suppress(ProcessLookupError):
        ends = [sys.stdin.fileno(), os.pidfd_open(int(parent))]
        # Without the comparison, a parent that was gone before we looked would be waited for
        # in the process that has its id now.
        if os.getppid() == int(parent):
            wait_readable(ends, None)
    clear(Path(directory), list(map(Path, group_parents)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
