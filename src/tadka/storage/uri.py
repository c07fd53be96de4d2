"""URIs of files on any file system: finding, listing and identifying them."""

import glob
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadka.core.error import ConfigError, DataError, MissingExtra, NotFound
from tadka.core.extra import require

_EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}  # protocol -> library, extra
_TAGS = ("ETag", "etag", "generation", "md5", "content_md5")  # what stores call a content version


@dataclass(frozen=True)
class FileStat:
    """What identifies the content of a file without reading it.

    Args:
        uri: The file.
        size_bytes: Its size.
        version: The store's own version or checksum (an ETag) where it has one, otherwise the time
            of the last change in nanoseconds. Different versions mean different content.
    """

    uri: str
    size_bytes: int
    version: str


def resolve(uri: str | Path) -> tuple[Any, str]:
    """The file system of a URI and the path inside it.

    Args:
        uri: A local path (`~` is the home folder) or a URI such as `s3://bucket/key`.

    Returns:
        An `fsspec` file system and the path that its methods take; a local path is absolute.

    Raises:
        ConfigError: The URI is empty or its protocol is unknown.
        MissingExtra: The library for the protocol is not installed.
    """
    text = str(uri)
    if not text:
        raise ConfigError("A URI is ''; it must be a path or a URI such as 's3://bucket/key'.")
    protocol = text.partition("://")[0] if "://" in text else "file"
    if protocol in _EXTRAS:
        library, extra = _EXTRAS[protocol]
        require(library, extra=extra)
    url_to_fs = require("fsspec.core").url_to_fs  # late: fsspec is slow to load
    try:
        file_system, path = url_to_fs(os.path.expanduser(text) if protocol == "file" else text)
    except ImportError as error:
        raise MissingExtra(f"URI {text!r} cannot be opened: {error}.") from error
    except ValueError as error:
        known = ", ".join(sorted(require("fsspec").available_protocols()))
        raise ConfigError(
            f"URI {text!r} is not understood ({error}); its protocol must be one of {known}."
        ) from error
    return file_system, str(path)


def local_path(uri: str | Path) -> str | None:
    """The path that `resolve` gives for a path or URI of this machine; needs no library for that.

    Args:
        uri: A local path or a URI.

    Returns:
        An absolute path; None where only `resolve` knows what is meant.
    """
    text = str(uri).removeprefix("file://")
    if not text or "::" in text or "://" in text:
        return None
    return str(Path(text).expanduser().absolute())


def is_local(file_system: Any) -> bool:
    """Whether the paths of a file system are plain paths of this machine."""
    local = require("fsspec.implementations.local")
    return isinstance(file_system, local.LocalFileSystem)


def _canonical(file_system: Any, path: str, uri: str | Path) -> str:
    """URI of a path that `uri` led to: plain for a local file, with its protocol elsewhere."""
    first, is_chain, rest = str(uri).partition("::")
    if is_local(file_system):
        return path
    if not is_chain:
        return str(file_system.unstrip_protocol(path))
    if "://" in first:  # a file in an archive: the archive stands after it
        return f"{first.partition('://')[0]}://{path}::{rest}"
    protocol = rest.partition("://")[0] if "://" in rest else "file"
    return f"{first}::{protocol}://{path}"  # a cache in front of another file system


def expand(patterns: str | Path | Sequence[str | Path]) -> list[str]:
    """URIs of all files that the patterns name, sorted, each once.

    Args:
        patterns: One or several files, glob patterns (`*`, `?`, `[ab]`, `**`) or directories. A
            directory stands for all files below it, except those whose name, or whose folder's
            name, begins with `_` or `.`; the same names are left out of a pattern's matches
            unless the pattern spells them.

    Returns:
        Absolute paths for local files, URIs elsewhere.

    Raises:
        NotFound: A pattern matches no file; every pattern must match.
        ConfigError: There is no pattern, or one is not a URI.
        DataError: The file system refuses to list.
    """
    given = [patterns] if isinstance(patterns, str | Path) else list(patterns)
    if not given:
        raise ConfigError("No file was given; it needs at least one path, pattern or directory.")
    found: set[str] = set()
    for pattern in given:
        files = _expand_one(pattern)
        if not files:
            raise NotFound(
                f"No file matches {str(pattern)!r}. Check the path; names that begin with '_' or "
                "'.' are left out."
            )
        found.update(files)
    return sorted(found)


def _expand_one(pattern: str | Path) -> list[str]:
    file_system, path = resolve(pattern)
    with reading(pattern):
        file_system.invalidate_cache()  # a listing kept from before may lack new files
        kind = _kind(file_system, path)  # first, so that a file named 'a[1].csv' is found
        if kind == "file":
            return [_canonical(file_system, path, pattern)]
        if kind == "directory":
            return _files_below(file_system, path, pattern)
        if not glob.has_magic(path):
            return []
        files: list[str] = []
        base = path[: _first_magic(path)].rpartition("/")[0]  # what the user spelt is not judged
        spelt = {part[0] for part in path[len(base) :].split("/") if part[:1] in ("_", ".")}
        for match, info in file_system.glob(path, detail=True).items():
            relative = match[len(base) :]
            if any(part[:1] in ("_", ".") and part[0] not in spelt for part in relative.split("/")):
                continue
            if info["type"] == "directory":
                files.extend(_files_below(file_system, match, pattern))
            else:
                files.append(_canonical(file_system, match, pattern))
        return files


def _first_magic(path: str) -> int:
    return min(path.find(sign) for sign in "*?[" if sign in path)


def _kind(file_system: Any, path: str) -> str | None:
    try:
        return str(file_system.info(path)["type"])
    except FileNotFoundError:
        return None


def _files_below(file_system: Any, directory: str, uri: str | Path) -> list[str]:
    root = directory.rstrip("/")
    files = []
    for path in file_system.find(directory):
        parts = path[len(root) :].split("/")
        is_marker = not parts[-1]  # stores keep empty "folders" as keys that end in "/"
        if not is_marker and not any(part[:1] in ("_", ".") for part in parts):
            files.append(_canonical(file_system, path, uri))
    return files


def stat(uri: str | Path) -> FileStat:
    """Size and version of a file.

    Args:
        uri: One file, not a pattern.

    Returns:
        What identifies its content.

    Raises:
        NotFound: There is no such file.
        DataError: It is a directory, or the file system refuses.
    """
    file_system, path = resolve(uri)
    with reading(uri):
        file_system.invalidate_cache(path)  # a listing kept from before may hold an old version
        info = file_system.info(path)
        if info["type"] == "directory":
            raise DataError(f"{str(uri)!r} is a directory; it must be a file.")
        version = version_of(file_system, path, info)
    return FileStat(_canonical(file_system, path, uri), int(info["size"]), version)


def version_of(file_system: Any, path: str, info: Mapping[str, Any]) -> str:
    """The version of a file, as in `FileStat`.

    Args:
        file_system: Where it is.
        path: Its path there.
        info: What the file system's `info` says of it.

    Returns:
        A checksum, a time in nanoseconds, or nothing where the file system knows neither.
    """
    if is_local(file_system):
        return str(os.stat(path).st_mtime_ns)
    tag = next((info[name] for name in _TAGS if info.get(name)), None)
    if tag:
        return str(tag).strip('"')
    try:
        return str(int(file_system.modified(path).timestamp() * 1e9))
    except NotImplementedError:  # plain HTTP servers, archives: size is all there is
        return ""


def join(uri: str | Path, *parts: str) -> str:
    """A URI with further names below it.

    Args:
        uri: A directory.
        parts: Relative paths; `"/"` separates names on every file system.

    Returns:
        The joined URI; `uri` itself where there are no parts.

    Raises:
        ConfigError: A part is empty or absolute.

    >>> join("s3://bucket/run", "model", "weights.npy")
    's3://bucket/run/model/weights.npy'
    """
    text = str(uri)
    for part in parts:
        if not part or part.startswith("/") or "://" in part:
            raise ConfigError(
                f"Path {part!r} cannot be joined to {str(uri)!r}; it must be relative, not empty."
            )
        text = text + part if text.endswith("/") else f"{text}/{part}"
    return text


@contextmanager
def reading(uri: str | Path) -> Iterator[None]:
    """Turns the errors of file systems into tadka's, with the URI in the message.

    Args:
        uri: The file being read.

    Raises:
        NotFound: The file does not exist.
        DataError: It is a directory, access is refused, or the store fails.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"File {str(uri)!r} does not exist. Check the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"{str(uri)!r} is a directory; it must be a file.") from error
    except PermissionError as error:
        raise DataError(
            f"File {str(uri)!r} cannot be read: access denied. Check its permissions, or the "
            "credentials of the store."
        ) from error
    except store_errors() as error:
        raise DataError(f"File {str(uri)!r} cannot be read: {error}.") from error


def store_errors() -> tuple[type[Exception], ...]:
    """Errors that file systems raise: `OSError`, and those of a store's library once loaded."""
    loaded: list[type[Exception]] = [OSError]
    for module, name in (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError")):
        if module in sys.modules:
            loaded.append(getattr(sys.modules[module], name))
    return tuple(loaded)
