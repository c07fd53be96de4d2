"""Copies of the inputs in the folder of a version, so that it can be made again when they are gone.

`inputs/TABLE/...` holds the files under the names that they have below the root of their table, so
that the path of the table, with another root, finds them; `inputs.json`, written last, names them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tadka.core.error import ConfigError, DataError, NotFound, TadkaError
from tadka.dataset.source.files import Files
from tadka.dataset.source.listing import InputFile, Listing
from tadka.dataset.source.source import from_config
from tadka.dataset.source.template import Template
from tadka.dataset.thread import in_threads
from tadka.dataset.version.fingerprint import Comparison, Fingerprint, compare, take
from tadka.dataset.version.manifest import TableRecord
from tadka.storage.publish import publish_file
from tadka.storage.uri import join, reading, resolve

if TYPE_CHECKING:
    from tadka.dataset.version.version import Version

_NAME = "inputs.json"
_FORMAT = 1
_NUM_THREADS = 8
_CHUNK_BYTES = 1 << 22


def pin(version: "Version") -> dict[str, str]:
    """Copies the inputs of a version into its folder; does nothing where that was done.

    Args:
        version: Whose inputs are copied.

    Returns:
        Paths of the copies by table.

    Raises:
        ConfigError: A table does not lie in files.
        DataError: An input is no longer what it was, or the disk is full.
        NotFound: An input is gone.
    """
    if (done := pinned_paths(version)) != {}:
        return done
    tables = version.manifest.tables
    sources = {name: _files(name, record) for name, record in tables.items()}
    listings = {
        name: _unchanged(name, record, sources[name], None) for name, record in tables.items()
    }
    record: dict[str, Any] = {"format_version": _FORMAT, "tables": {}}
    for name, listing in listings.items():
        folder = f"inputs/{quote(name, safe='')}"
        copies = [(file, f"{folder}/{_below(file.uri, listing.root)}") for file in listing.files]
        files = in_threads(lambda pair: _copied(version, *pair), copies, _NUM_THREADS)
        record["tables"][name] = {
            "path": "/".join([folder, *_rest(sources[name].path, listing)]),
            "files": files,
        }
        _unchanged(name, tables[name], sources[name], listing)  # nobody wrote meanwhile
    with publish_file(join(version.path, _NAME)) as file:
        file.write(json.dumps(record, indent=1).encode())
    return pinned_paths(version)


def pinned_paths(version: "Version") -> dict[str, str]:
    """Paths of the copies by table, to stand in place of the definition's.

    Args:
        version: That may be pinned.

    Returns:
        Nothing where it is not.

    Raises:
        DataError: The record of the copies is damaged.
    """
    tables = _record(version)
    return {name: join(version.path, table["path"]) for name, table in tables.items()}


def verify_pinned(version: "Version", level: str) -> Comparison | None:
    """Whether the copies are what was copied; None where there are none.

    Args:
        version: That may be pinned.
        level: Below `"content"` their sizes are all that is looked at.
    """
    is_deep = level == "content"
    try:
        tables = _record(version)
    except TadkaError as error:
        return Comparison("unreadable", level, reasons=(str(error),))
    files = [file for table in tables.values() for file in table["files"]]
    if not files:
        return None

    def reason(file: Mapping[str, Any]) -> str | None:
        try:
            num_bytes, found = _hashed(join(version.path, file["path"]), is_deep=is_deep)
        except NotFound:
            return "is gone"
        except TadkaError as error:
            return str(error)
        if num_bytes != file["num_bytes"]:
            return f"has {num_bytes:,} bytes instead of {file['num_bytes']:,}"
        return "has other content" if is_deep and found != file["sha256"] else None

    told = zip(
        (file["path"] for file in files), in_threads(reason, files, _NUM_THREADS), strict=True
    )
    changed = {path: said for path, said in told if said is not None}
    if changed:
        reasons = tuple(f"{path} {said}" for path, said in changed.items())
        return Comparison("changed", level, files=list(changed), reasons=reasons)
    return Comparison("same" if is_deep else "no difference seen", level)


def _files(name: str, record: TableRecord) -> Files:
    source = from_config(record.source)
    if not isinstance(source, Files):
        raise ConfigError(
            f"Table {name!r} comes from {type(source).__name__}; only tables in files can be "
            "pinned. Write it to Parquet first and use that."
        )
    return source


def _unchanged(name: str, record: TableRecord, source: Files, before: Listing | None) -> Listing:
    """What a table has now, if that is what the version read, or what was listed before."""
    old = Fingerprint.from_dict(record.fingerprint)
    listing = source.resolve(record.declared(), record.keeps)
    if before is not None:
        found = compare(take(before, "listing"), take(listing, "listing"))
    else:
        found = compare(old, take(listing, old.level))
    if found.status in ("changed", "unreadable"):
        where = ", ".join([*found.partitions, *found.files][:5]) or "; ".join(found.reasons)
        raise DataError(
            f"Table {name!r} is no longer what the version read ({found.status}: {where}); it "
            "cannot be pinned. Write a new version and pin that."
        )
    return listing


def _copied(version: "Version", file: InputFile, path: str) -> dict[str, Any]:
    from_system, source = resolve(file.uri)
    digest = hashlib.sha256()
    num_bytes = 0
    with (
        reading(file.uri),
        from_system.open(source, "rb") as given,
        publish_file(join(version.path, path)) as copy,
    ):
        while chunk := given.read(_CHUNK_BYTES):
            copy.write(chunk)
            digest.update(chunk)
            num_bytes += len(chunk)
    return {"uri": file.uri, "path": path, "num_bytes": num_bytes, "sha256": digest.hexdigest()}


def _hashed(uri: str, *, is_deep: bool) -> tuple[int, str | None]:
    file_system, path = resolve(uri)
    with reading(uri):
        if not is_deep:
            file_system.invalidate_cache()
            return int(file_system.info(path)["size"]), None
        digest, num_bytes = hashlib.sha256(), 0
        with file_system.open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                num_bytes += len(chunk)
    return num_bytes, digest.hexdigest()


def _record(version: "Version") -> dict[str, Any]:
    """Tables of `inputs.json`; nothing where there is none."""
    uri = join(version.path, _NAME)
    file_system, path = resolve(uri)
    with reading(uri):
        try:
            data = file_system.cat_file(path)
        except FileNotFoundError:
            return {}
    try:
        body = json.loads(data)
        if body["format_version"] > _FORMAT:
            raise DataError(
                f"{uri!r} was written by a newer tadka. Run: pip install --upgrade tadka."
            )
        tables: dict[str, Any] = {
            name: {"path": str(table["path"]), "files": _checked(table["files"])}
            for name, table in body["tables"].items()
        }
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{uri!r} is damaged. Delete it and pin the version again.") from error
    return tables


def _checked(files: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    for file in files:
        _ = (file["path"], file["num_bytes"], file["sha256"])
    return list(files)


def _below(uri: str, root: str) -> str:
    """The name of a file below the root of its table; its own where it is the root."""
    rest = uri.removeprefix(root).strip("/")
    return rest or uri.rpartition("/")[2]


def _rest(template: str, listing: Listing) -> list[str]:
    """The names that follow the root in a path with places for values."""
    levels = Template(template.partition("://")[2] or template, template).levels
    if levels:
        return [str(level) for level in levels]
    return [_below(f.uri, listing.root) for f in listing.files if f.uri == listing.root]
