"""Brings many new files to the disk for the price of one.

Each `fsync` of a small file costs a write of the journal, 100 to 200 microseconds on a fast disk.
`syncfs` brings all of a file system to the disk in one, also what other programs have written
lately, so it is used only for many files at once, and where little else waits. It is trusted only
where it is known to wait for the disk and to tell of errors: on ext4, XFS and tmpfs, since Linux
5.8.
"""

import contextlib
import ctypes
import os
import platform
import re
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tadka.storage.publish import sync

_TRUSTED = ("ext4", "xfs", "tmpfs")
_SINCE = (5, 8)
_MANY = 8
"""Files from which on one `syncfs` is cheaper."""

_MAX_DIRTY_KIB = 256 * 1024
"""Of the whole machine, that a group may have to wait for."""


class Disk:
    """The file system that a folder is on.

    Args:
        folder: It exists. Errors are told of files that are written from now on.
    """

    def __init__(self, folder: str | Path) -> None:
        self._syncfs = _syncfs() if _file_system_of(folder) in _TRUSTED else None
        if self._syncfs is not None:
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)

    def flush(self, paths: Sequence[str | Path]) -> None:
        """Brings files and folders to the disk.

        Args:
            paths: Of what was written, or of folders that something was renamed into.

        Raises:
            OSError: The disk does not take them. They must be written again: what the system has
                given up it does not try a second time.
        """
        # an error may be that of another program's file: then each of ours tells of its own
        if self._syncfs is None or not self._is_quick(paths) or self._syncfs(self._descriptor):
            for path in paths:
                sync(path)

    @staticmethod
    def _is_quick(paths: Sequence[str | Path]) -> bool:
        return len(paths) >= _MANY and _dirty_kib() < _MAX_DIRTY_KIB


def _syncfs() -> Any:
    """The system's call; None where there is none that tells of errors."""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    if platform.system() != "Linux" or found is None or tuple(map(int, found.groups())) < _SINCE:
        return None
    return getattr(ctypes.CDLL(None), "syncfs", None)


def _file_system_of(folder: str | Path) -> str | None:
    """The kind of file system that a folder is on; None where the system does not say."""
    with contextlib.suppress(OSError):
        device = Path(folder).stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        # 27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            mount, _, kind = line.partition(" - ")
            if mount.split(" ")[2] == wanted:
                return kind.split(" ")[0]
    return None


def _dirty_kib() -> int:
    """What waits to be written on this machine."""
    with contextlib.suppress(OSError):
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        return sum(map(int, re.findall(r"^(?:Dirty|Writeback):\s+(\d+)", text, re.MULTILINE)))
    return _MAX_DIRTY_KIB
