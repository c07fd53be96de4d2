"""What a full or broken disk does to those who write, said in one way."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tadka.core.error import DataError

_FULL_DISK = re.compile(
    r"no space left|disk quota|file too large|input/output error", re.IGNORECASE
)


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turns what the disk refuses into DataError.

    Args:
        directory: That is written to, for the message.

    Raises:
        DataError: The disk is full or broken.
    """
    try:
        yield
    except Exception as error:  # engines have their own errors; only those of the disk are meant
        number = getattr(error, "errno", None)
        is_full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        if not is_full and not _FULL_DISK.search(str(error)):
            raise
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"Folder {str(directory)!r} cannot be written: {reason}. "
            "Free some space or choose another place."
        ) from error
