"""Atomic writes: a name holds either its old content or all of the new, whatever happens between.

A local file is written aside under a hidden name in the same folder, flushed to the disk and
renamed. A process killed in the middle leaves at most that hidden file (`.NAME.PID-RANDOM.tmp`),
which `expand` does not list; it may be deleted.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from tadka.core.error import ConfigError, DataError
from tadka.storage.uri import is_local, resolve, store_errors

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
# An object becomes visible when its upload completes, so nothing has to be moved afterwards.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "oss"})


@contextmanager
def publish_file(uri: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `uri` when the block ends well.

    Args:
        uri: The file to write; missing folders are made, an existing file is replaced. Where it is
            a symbolic link, the file it points to is replaced.

    Yields:
        A file opened for writing. Leave it open: closing it is part of publishing.

    Raises:
        DataError: The file cannot be written, for example because the disk is full. The old
            content, if any, is untouched.
    """
    file_system, path = resolve(uri)
    if is_local(file_system):
        opened = _local_file(os.path.realpath(path))
    elif _OBJECT_STORES.intersection(_protocols(file_system)):
        opened = _stored_object(file_system, path)
    else:
        opened = _moved_file(file_system, path)
    with _writing(uri, file_system, path) as blame, opened as file, blame:
        yield file


@contextmanager
def publish_directory(uri: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """An empty folder that takes the place of `uri` when the block ends well.

    Args:
        uri: The local folder to make; missing folders above it are made.
        replace: Whether an existing folder may be replaced. It is moved aside first, so for an
            instant the name does not exist.

    Yields:
        A folder beside the target, to fill with files.

    Raises:
        ConfigError: The URI is not local: stores cannot rename a folder in one step.
        DataError: The target exists and `replace` is false, or it cannot be written.
    """
    file_system, text = resolve(uri)
    if not is_local(file_system):
        raise ConfigError(
            f"Folder {str(uri)!r} is not local, and its store cannot rename a folder in one step. "
            "Publish its files one by one with publish_file, a manifest last."
        )
    target = Path(os.path.realpath(text))
    if not replace and target.exists():
        raise _exists_already(uri)
    with _writing(uri, file_system, text) as blame:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.parent / aside_name(target.name)
        aside.mkdir()
        try:
            with blame:
                yield aside
            sync_tree(aside)
            _rename_directory(aside, target, uri, replace=replace)
        except BaseException:  # KeyboardInterrupt too: nothing may be left; it is raised on
            shutil.rmtree(aside, ignore_errors=True)
            raise
        sync(target.parent)


def _protocols(file_system: Any) -> tuple[str, ...]:
    protocol = file_system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def aside_name(name: str) -> str:
    """A hidden name beside `name` that no other writer has.

    Args:
        name: Of a file or folder.
    """
    # 255 bytes is the longest name most file systems take; the random part must survive
    return f".{name[:180]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


@contextmanager
def _local_file(path: str) -> Iterator[BinaryIO]:
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    if os.path.exists(path) and not os.path.isfile(path):
        # a folder, or a device that a rename would destroy
        raise DataError(f"{path!r} is not a regular file; it cannot be replaced. Choose another.")
    aside = os.path.join(folder, aside_name(name))
    file = cast(BinaryIO, open(aside, "xb"))  # noqa: SIM115 - closed before the rename, below
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(aside, path)
    except BaseException:  # KeyboardInterrupt too: nothing may be left; it is raised on
        with suppress(OSError):  # closing flushes again, and a full disk is still full
            file.close()
        os.unlink(aside)
        raise
    sync(folder)


@contextmanager
def _stored_object(file_system: Any, path: str) -> Iterator[BinaryIO]:
    file = file_system.open(path, "wb", autocommit=False)
    try:
        yield file
        file.close()
        file.commit()
    except BaseException:  # KeyboardInterrupt too: nothing may be left; it is raised on
        file.closed = True  # otherwise the collector closes it, which would upload the rest
        file.discard()
        raise


@contextmanager
def _moved_file(file_system: Any, path: str) -> Iterator[BinaryIO]:
    folder, _, name = path.rpartition("/")
    file_system.makedirs(folder, exist_ok=True)
    aside = f"{folder}/{aside_name(name)}"
    try:
        with file_system.open(aside, "wb") as file:
            yield file
        file_system.mv(aside, path)
    except BaseException:  # KeyboardInterrupt too: nothing may be left; it is raised on
        with suppress(FileNotFoundError):
            file_system.rm_file(aside)
        raise


class _Blame:
    """Surrounds the user's block and remembers an error there that writing did not cause."""

    def __init__(self, *, is_local: bool) -> None:
        self.foreign: BaseException | None = None
        self._is_local = is_local

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # a store reports failed uploads in many ways; the local disk by these numbers
        if self._is_local and getattr(error, "errno", None) not in _DISK_ERRORS:
            self.foreign = error


@contextmanager
def _writing(uri: str | Path, file_system: Any, path: str) -> Iterator[_Blame]:
    """Turns the errors of file systems into DataError, with the URI and the reason."""
    blame = _Blame(is_local=is_local(file_system))
    try:
        yield blame
    except store_errors() as error:
        if error is blame.foreign:
            raise
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            free = _free_bytes(path) if is_local(file_system) else "an unknown number of"
            raise DataError(
                f"{str(uri)!r} cannot be written: the disk is full ({free} bytes are free). "
                "Free some space or choose another place."
            ) from error
        raise DataError(f"{str(uri)!r} cannot be written: {error}.") from error


def _free_bytes(path: str) -> int:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def _exists_already(uri: str | Path) -> DataError:
    return DataError(
        f"Folder {str(uri)!r} exists already. Choose another name, or pass replace=True."
    )


def _rename_directory(aside: Path, target: Path, uri: str | Path, *, replace: bool) -> None:
    old = target.parent / aside_name(target.name)
    while True:
        if replace:
            with suppress(FileNotFoundError):  # none there, or another process took it away
                os.rename(target, old)
        try:
            os.rename(aside, target)
        except OSError as error:
            is_taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
            if is_taken and not replace:
                raise _exists_already(uri) from error
            if not is_taken:
                with suppress(FileNotFoundError):  # put back what was moved aside, if anything
                    os.rename(old, target)
                raise
        else:
            is_taken = False
        _remove(old)
        if not is_taken:
            return
        # another process published between the two renames: now take its folder aside


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Flushes every file below a folder, and the folders, to the disk."""
    for directory, _, names in os.walk(folder):
        for name in names:
            sync(Path(directory, name))
        sync(directory)


def sync(path: str | Path) -> None:
    """Flushes a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
