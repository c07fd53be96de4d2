"""What tells whether the inputs of a version are still what they were, at three levels.

| level | compares | may answer |
|---|---|---|
| `listing` | names, sizes, times of change | a hint: a file copied anew looks changed |
| `footer` | names, sizes, footers of Parquet, both ends of text files | "no difference seen" |
| `content` | all bytes; of what is no file, all rows in any order | "same" |

A value that changes in place may leave size and footer as they were, so only `content` says "same".
"""

import base64
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from typing import Any

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.dataset.measure.rowhash import RowHash
from tadka.dataset.source.footer import Footer, digests
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source
from tadka.dataset.source.template import text_of
from tadka.dataset.thread import in_threads
from tadka.storage.uri import reading, resolve

LEVELS = ("listing", "footer", "content")
_END_BYTES = 64 << 10  # of a text file, that stand for its footer
_CHUNK_BYTES = 1 << 20
_NUM_SHOWN = 5
_HOW = {
    "listing": "of another size or time",
    "footer": "of another size or footer",
    "content": "of other content",
}


@dataclass(frozen=True, slots=True)
class FilePrint:
    """What is known of one file.

    Args:
        partition: Values of its partitions, `"dt=2026-01-01"`; empty without any.
        num_bytes: Its size.
        modified: Time of the last change with the inode, or version in the store.
        footer: Digest of the footer, or of both ends of a text file; empty below that level.
        content: Digest of all bytes, or of all rows of what is no file, in any order; empty below
            that level.
    """

    partition: str
    num_bytes: int
    modified: str
    footer: str = ""
    content: str = ""

    def at(self, level: str) -> tuple[object, ...]:
        """What a level compares.

        Args:
            level: At most that at which it was taken.
        """
        if level == "listing":
            return self.num_bytes, self.modified
        return (self.content,) if level == "content" else (self.num_bytes, self.footer)


@dataclass(frozen=True)
class Fingerprint:
    """What the inputs of one table were.

    Args:
        level: `"listing"`, `"footer"` or `"content"`.
        partitions: A digest of each at that level, by its values as text.
        files: By path below the root.
        snapshot: What the table calls its state; None where it has no such thing.
        root: Where the files lay.
    """

    level: str
    partitions: Mapping[str, str]
    files: Mapping[str, FilePrint]
    snapshot: str | None = None
    root: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what is said of single files is packed, about 25 bytes for each."""
        prints = list(self.files.values())
        names = list(self.partitions)
        places = {name: index for index, name in enumerate(names)}
        columns: list[list[Any]] = [
            list(self.files),
            [places[p.partition] for p in prints],
            [p.num_bytes for p in prints],
            [p.modified for p in prints],
            [p.footer for p in prints],
            [p.content for p in prints],
        ]
        packed = zlib.compress(json.dumps(columns, separators=(",", ":")).encode())
        return {
            "level": self.level,
            "root": self.root,
            "snapshot": self.snapshot,
            "num_files": len(prints),
            "partitions": dict(self.partitions),
            "files": base64.b64encode(packed).decode(),
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Fingerprint":
        """The way back.

        Args:
            given: What `to_dict` made.

        Raises:
            DataError: It is damaged.
        """
        try:
            names = list(given["partitions"])
            paths, places, *rest = json.loads(zlib.decompress(base64.b64decode(given["files"])))
            rows = zip(paths, places, *rest, strict=True)
            files = {path: FilePrint(names[place], *values) for path, place, *values in rows}
            partitions = dict(given["partitions"])
            return cls(given["level"], partitions, files, given["snapshot"], given["root"])
        except (KeyError, IndexError, TypeError, ValueError, zlib.error) as error:
            raise DataError(
                f"A fingerprint is damaged: {error!r}. Its version must be made anew."
            ) from error


@dataclass(frozen=True)
class Comparison:
    """What came of comparing inputs with what they were.

    Args:
        status: `"same"`, `"no difference seen"`, `"changed"` or `"unreadable"`.
        level: At which they were compared.
        partitions: Those that changed.
        files: Those that changed, are new or have gone, by path below the root.
        reasons: In words, for the user.
    """

    status: str
    level: str
    partitions: Sequence[str] = ()
    files: Sequence[str] = ()
    reasons: Sequence[str] = field(default=())

    @property
    def is_changed(self) -> bool:
        """Whether a difference was seen, or nothing could be."""
        return self.status in ("changed", "unreadable")


def take(
    listing: Listing,
    level: str,
    *,
    source: Source | None = None,
    columns: Columns | None = None,
    footers: Sequence[Footer] | None = None,
    staged: Listing | None = None,
    threads: int | None = None,
) -> Fingerprint:
    """The fingerprint of inputs as they are.

    Args:
        listing: As the source gave it, not staged.
        level: How much is read: `"listing"` nothing, `"footer"` the ends, `"content"` all.
        source: Of the listing; only what is no file (a database, Kafka) needs it for its content.
        columns: Of the table, for the same.
        footers: Of files in the listing, where they were read already; others are passed over.
        staged: What `stage` made of the listing. Of what is no file, the fingerprint is then that
            of the copy: the rows that were used, whatever the server has by now.
        threads: How many read at once; by default as many as there are cores.

    Raises:
        ConfigError: The level is not known, or the content of a database is asked for without its
            source.
        NotFound: A file has gone.
        DataError: A file cannot be read.
    """
    if level not in LEVELS:
        raise ConfigError(f"Level {level!r} is not known; it must be one of {', '.join(LEVELS)}.")
    files = listing.files
    copies: dict[str, InputFile] = {}
    if staged is not None:
        given = zip(files, staged.files, strict=True)
        copies = {file.uri: copy for file, copy in given if not file.is_file}
    if copies:
        files = [replace(file, modified=copies.get(file.uri, file).modified) for file in files]
    ends, contents = [""] * len(files), [""] * len(files)
    if level != "listing":
        ends = _ends(files, footers, threads)
    if level == "content":
        contents = _contents(files, copies, source, columns, threads)
    prints: dict[str, FilePrint] = {}
    names: dict[int, str] = {}  # files of one folder share their values
    for file, end, content in zip(files, ends, contents, strict=True):
        partition = names.get(id(file.values))
        if partition is None:
            partition = names[id(file.values)] = text_of(file.values)
        path = file.uri.removeprefix(listing.root).lstrip("/") or file.uri.rpartition("/")[2]
        prints[path] = FilePrint(partition, file.num_bytes, file.modified, end, content)
    return Fingerprint(level, _partitions(prints, level), prints, listing.snapshot, listing.root)


def compare(old: Fingerprint, new: Fingerprint) -> Comparison:
    """Whether inputs are what they were, at the lower of the two levels.

    Args:
        old: Of the version.
        new: Of today.
    """
    level = min(old.level, new.level, key=LEVELS.index)
    gone = [path for path in old.files if path not in new.files]
    late = [path for path in new.files if path not in old.files]
    changed = [
        path
        for path, was in old.files.items()
        if path in new.files and was.at(level) != new.files[path].at(level)
    ]
    reasons = [
        f"{_files(paths)} {what}."
        for paths, what in (
            (gone, "have gone" if len(gone) > 1 else "has gone"),
            (late, "are new" if len(late) > 1 else "is new"),
            (changed, f"{'are' if len(changed) > 1 else 'is'} {_HOW[level]}"),
        )
        if paths
    ]
    found = [*gone, *late, *changed]
    if old.snapshot != new.snapshot:
        reasons.append(f"The table is at {new.snapshot!r}, not at {old.snapshot!r} any more.")
        if not old.files and not new.files:  # the snapshot is all there is to compare
            return Comparison("changed", level, reasons=reasons)
    if found:
        partitions = {
            prints[path].partition
            for prints in (old.files, new.files)
            for path in found
            if path in prints
        }
        return Comparison("changed", level, sorted(partitions), sorted(found), reasons)
    is_same = level == "content" and bool(old.files)
    return Comparison("same" if is_same else "no difference seen", level, reasons=reasons)


def verify(
    old: Fingerprint, source: Source, columns: Columns, *, level: str, keep: Keep | None = None
) -> Comparison:
    """Looks at inputs anew and compares them with what they were.

    Args:
        old: Of the version.
        source: Where they lie.
        columns: Of the table.
        level: At which to look; more than `old` has is of no use.
        keep: Which partitions are wanted; all where none is given.
    """
    level = min(old.level, level, key=LEVELS.index)
    if not old.files and old.snapshot is None:
        reason = (
            f"Nothing is recorded of {old.root!r} that could be compared: what a table of Spark's "
            "catalog holds, Spark alone knows. Read its files, Delta(...) or Iceberg(...) instead."
        )
        return Comparison("unreadable", level, reasons=[reason])
    try:
        listing = source.resolve(columns, keep)
        return compare(old, take(listing, level, source=source, columns=columns))
    except (DataError, NotFound) as error:
        return Comparison("unreadable", level, reasons=[str(error)])


def _partitions(prints: Mapping[str, FilePrint], level: str) -> dict[str, str]:
    hashes: dict[str, Any] = {}
    for path in sorted(prints):
        found = prints[path]
        digest = hashes.get(found.partition)
        if digest is None:
            digest = hashes[found.partition] = hashlib.blake2b(digest_size=16)
        digest.update(f"{path}\0{found.at(level)}\0".encode())
    return {name: hashes[name].hexdigest() for name in sorted(hashes)}


def _ends(
    files: Sequence[InputFile], footers: Sequence[Footer] | None, threads: int | None
) -> list[str]:
    found = {footer.uri: footer.digest for footer in footers or ()}
    parquet = [f for f in files if f.format == "parquet" and f.uri not in found]
    texts = [f for f in files if f.format != "parquet"]
    found |= zip((f.uri for f in parquet), digests(parquet, threads=threads), strict=True)
    ends = in_threads(_text_ends, texts, threads or _num_cores())
    found |= zip((f.uri for f in texts), ends, strict=True)
    return [found[file.uri] for file in files]


def _text_ends(file: InputFile) -> str:
    if not file.is_file:
        return file.modified  # the number of rows, or the offsets: all there is without reading
    file_system, path = resolve(file.uri)
    with reading(file.uri):
        head = file_system.cat_file(path, start=0, end=min(file.num_bytes, _END_BYTES))
        start = max(0, file.num_bytes - _END_BYTES)
        tail = file_system.cat_file(path, start=start, end=file.num_bytes)
    return hashlib.blake2b(head + tail, digest_size=8).hexdigest()


def _contents(
    files: Sequence[InputFile],
    copies: Mapping[str, InputFile],
    source: Source | None,
    columns: Columns | None,
    threads: int | None,
) -> list[str]:
    pq = require("pyarrow.parquet", extra="dataset")
    stop = threading.Event()

    def of_bytes(file: InputFile) -> str:
        file_system, path = resolve(file.uri)
        digest = hashlib.sha256()
        with reading(file.uri), file_system.open(path, "rb") as opened:
            while (chunk := opened.read(_CHUNK_BYTES)) and not stop.is_set():
                digest.update(chunk)
        return digest.hexdigest()[:32]

    def of_rows(file: InputFile) -> str:
        if source is None or columns is None:
            raise ConfigError(
                f"The content of {file.uri!r} is its rows; take() needs source and columns."
            )
        stored = [column for column in columns.values() if not column.is_partition]
        rows = RowHash([(column.name, column.kind) for column in stored])
        copy = copies.get(file.uri)
        if copy is None:
            batches = source.batches(file, columns)
        else:
            batches = pq.ParquetFile(copy.uri).iter_batches(use_threads=False)
        for batch in batches:
            if stop.is_set():
                break
            rows.update(batch)
        return rows.hexdigest()

    def content(file: InputFile) -> str:
        found = of_bytes(file) if file.is_file else of_rows(file)
        if stop.is_set():  # it is of a part
            raise CancelledError
        return found

    return in_threads(content, files, threads or _num_cores(), stop)


def _num_cores() -> int:
    return os.cpu_count() or 1


def _files(paths: Sequence[str]) -> str:
    shown = ", ".join(repr(path) for path in paths[:_NUM_SHOWN])
    more = len(paths) - _NUM_SHOWN
    names = shown if more <= 0 else f"{shown} and {more} more"
    return f"File{'s' if len(paths) > 1 else ''} {names}"
