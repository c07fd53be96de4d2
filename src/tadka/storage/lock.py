"""The lock of a folder, for the one process that writes to it."""

import fcntl
import os
from pathlib import Path

from tadka.core.error import DataError


def lock_folder(folder: Path, refusal: str) -> int:
    """A descriptor that holds the lock of a folder until it is closed, or its process ends.

    Args:
        folder: It gets a file `lock`.
        refusal: What to say where another process holds it.

    Raises:
        DataError: Another process holds it.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise DataError(refusal) from error
    return descriptor
