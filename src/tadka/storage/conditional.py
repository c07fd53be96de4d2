"""Files that are made only where there is none: of two who try at once, one does."""

import os
from pathlib import Path
from typing import Any

from tadka.core.error import DataError
from tadka.storage.publish import aside_name, sync
from tadka.storage.uri import is_local, store_errors


def create_file(file_system: Any, path: str, data: bytes) -> bool:
    """Writes a whole file unless there is one.

    Args:
        file_system: Of `tadka.storage.resolve`. An object store must know conditional writes, as
            S3 does.
        path: Of the file, in the file system.
        data: What to write.

    Returns:
        Whether it was written.

    Raises:
        DataError: It cannot be written.
    """
    try:
        if is_local(file_system):
            return _create_local(Path(path), data)
        file_system.pipe_file(path, data, mode="create")
    except store_errors() as error:
        file_system.invalidate_cache()
        if not file_system.exists(path):
            raise DataError(f"{_uri(file_system, path)!r} cannot be written: {error}.") from error
        # A request whose answer was lost is sent again, and then meets its own file.
        return not is_local(file_system) and read_file(file_system, path) == data
    return True


def replace_file(file_system: Any, path: str, data: bytes) -> None:
    """Writes a whole file, in place of one that may be there.

    Args:
        file_system: Of `tadka.storage.resolve`.
        path: Of the file, in the file system.
        data: What to write.

    Raises:
        DataError: It cannot be written.
    """
    try:
        if is_local(file_system):
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = target.parent / aside_name(target.name)
            _write(aside, data)
            aside.replace(target)
            sync(target.parent)
        else:
            file_system.pipe_file(path, data)
    except store_errors() as error:
        raise DataError(f"{_uri(file_system, path)!r} cannot be written: {error}.") from error


def read_file(file_system: Any, path: str) -> bytes | None:
    """The bytes of a file; None where there is none.

    Args:
        file_system: Of `tadka.storage.resolve`.
        path: Of the file, in the file system.

    Raises:
        DataError: It cannot be read.
    """
    try:
        data: bytes = file_system.cat_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except store_errors() as error:
        raise DataError(f"{_uri(file_system, path)!r} cannot be read: {error}.") from error
    return data


def names_in(file_system: Any, folder: str) -> list[str]:
    """Names in a folder, sorted, without hidden ones; none where there is no such folder.

    Args:
        file_system: Of `tadka.storage.resolve`.
        folder: Its path, in the file system.

    Raises:
        DataError: It cannot be listed.
    """
    try:
        file_system.invalidate_cache()  # others write, too
        paths = file_system.ls(folder, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except store_errors() as error:
        raise DataError(f"{_uri(file_system, folder)!r} cannot be listed: {error}.") from error
    names = {str(path).rstrip("/").rpartition("/")[2] for path in paths}
    return sorted(name for name in names if name and not name.startswith("."))


def remove_file(file_system: Any, path: str) -> None:
    """Removes a file; none there is no error.

    Args:
        file_system: Of `tadka.storage.resolve`.
        path: Of the file, in the file system.

    Raises:
        DataError: It cannot be removed.
    """
    try:
        file_system.rm_file(path)
    except FileNotFoundError:
        pass
    except store_errors() as error:
        raise DataError(f"{_uri(file_system, path)!r} cannot be removed: {error}.") from error


def _uri(file_system: Any, path: str) -> str:
    """A path as people write it."""
    return path if is_local(file_system) else str(file_system.unstrip_protocol(path))


def _create_local(path: Path, data: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / aside_name(path.name)
    try:
        _write(aside, data)
        os.link(aside, path)  # unlike a rename, it fails where the name is taken
    except FileExistsError:
        return False
    finally:
        aside.unlink(missing_ok=True)
    sync(path.parent)
    return True


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
