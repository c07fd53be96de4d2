"""The folder of a session for what is not kept, also where the session is killed.

A session locks its folder for as long as its process lives. The next session beside it removes the
folders whose lock is free.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tadka.core.error import ConfigError

_PREFIX = "tadka-dataset-"
_SIGN = "session"
"""A file that says that the folder was locked, so that a free lock means that its owner is dead,
and the machine where it was."""


@contextlib.contextmanager
def scratch_folder(parent: str | Path | None = None) -> Iterator[Path]:
    """A folder that is gone when the block ends; what killed sessions left beside it is removed.

    Args:
        parent: Where it is made; the system's folder for such things unless given.

    Yields:
        The folder, in which everything but `session` is free.

    Raises:
        ConfigError: It cannot be made.
    """
    above = Path(tempfile.gettempdir() if parent is None else parent)
    _sweep(above)
    try:
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=above, ignore_cleanup_errors=True)
    except OSError as error:
        raise ConfigError(
            f"No folder can be made in scratch {str(above)!r}: {error.strerror}. Name one that "
            "exists and can be written."
        ) from error
    with contextlib.ExitStack() as stack:
        folder = Path(made.name)
        with contextlib.suppress(OSError):  # no locks here (NFS): it is not swept, either
            stack.callback(os.close, _locked(folder))
            folder.joinpath(_SIGN).write_text(platform.node(), encoding="utf-8")
        yield Path(stack.enter_context(made))


def _sweep(above: Path) -> None:
    for sign in above.glob(f"{_PREFIX}*/{_SIGN}"):
        with contextlib.suppress(OSError):  # it is used, gone by now, or somebody else's
            if sign.read_text(encoding="utf-8") != platform.node():
                continue  # a shared folder, on which another machine's lock may not be seen here
            handle = _locked(sign.parent)
            shutil.rmtree(sign.parent, ignore_errors=True)
            os.close(handle)


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock of a folder while it is open.

    Raises:
        OSError: Somebody else holds it, or there are no locks.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
