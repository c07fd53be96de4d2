"""What tasks read that no task made: the state of files, for `Task.fingerprint`."""

import hashlib
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from tadka.core.hashing import digest_file
from tadka.storage.uri import expand, is_local, resolve, stat

_known: dict[tuple[str, int, int, int, int], str] = {}
"""Hashes of files of this machine by path, device, inode, size and time of the last change."""


def state_of(files: str | Path | Sequence[str | Path]) -> str:
    """What files contain, as text that changes when they do.

    Files of this machine are read, each once in a process as long as its size and time stay.
    Elsewhere size and the store's own checksum or version are taken.

    Args:
        files: One or several files, patterns or folders, as `tadka.storage` takes them.

    Returns:
        64 hexadecimal digits; the same wherever the files lie, as long as they lie so to each
        other.

    Raises:
        NotFound: A pattern matches no file.
        DataError: A file cannot be read.
    """
    found = expand(files)
    folders = zip(*(uri.split("/")[:-1] for uri in found), strict=False)
    depth = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, folders))
    hasher = hashlib.sha256()
    for uri in found:
        name = "/".join(uri.split("/")[depth:]).encode("utf-8", "surrogateescape")
        hasher.update(b"%d:%b:%b;" % (len(name), name, _content_of(uri).encode()))
    return hasher.hexdigest()


def _content_of(uri: str) -> str:
    file_system, path = resolve(uri)
    if not is_local(file_system):
        found = stat(uri)
        return f"{found.size_bytes} {found.version}"
    info = Path(path).stat()
    place = (path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
    if place not in _known:
        _known[place] = digest_file(path)
    return _known[place]
