"""What a full or broken disk does to those who write, said in one way."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tadka.core.error import DataError, TadkaError

_FULL_DISK = re.compile(
    r".*(no space left|disk quota|file too large|input/output error).*", re.IGNORECASE
)
_PATH = re.compile(r"""["'](/[^"'\\]+)""")
_FULL_BYTES = 64 << 20
"""A disk with less room than this may be full for those who write large blocks."""


@contextmanager
def writing(*folders: Path) -> Iterator[None]:
    """Turns what the disk refuses into DataError.

    Args:
        folders: That are written to, for the message: the one that is meant first, then those where
            something is put aside.

    Raises:
        DataError: The disk is full or broken.
    """
    try:
        yield
    except TadkaError:  # it says what is wrong already
        raise
    except Exception as error:  # engines have their own errors; only those of the disk are meant
        number = getattr(error, "errno", None)
        is_full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        found = _FULL_DISK.search(str(error))
        if not is_full and found is None:
            raise
        reason = found[0].strip() if found else str(error).strip().splitlines()[0]
        raise full(_blamed(reason, folders), reason) from error


def full(folder: Path, reason: str) -> DataError:
    """The error of a folder without room.

    Args:
        folder: The place.
        reason: What was said of it.
    """
    return DataError(
        f"Folder {str(folder)!r} cannot be written: {reason.removesuffix('.')}. "
        "Free some space or choose another place."
    )


def _blamed(reason: str, folders: tuple[Path, ...]) -> Path:
    """That of the file that is named, else the first one without room."""
    if named := _PATH.search(reason):
        path = Path(named[1])
        return next((folder for folder in folders if path.is_relative_to(folder)), path.parent)
    for folder in folders:
        with suppress(OSError):
            if shutil.disk_usage(folder).free < _FULL_BYTES:
                return folder
    return folders[0]
