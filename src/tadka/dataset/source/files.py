"""Files of Parquet, CSV or JSON lines, on any file system, by a path with places for partitions."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source
from tadka.dataset.source.rows import read_rows
from tadka.dataset.source.template import Level, Names, Template, text_of
from tadka.dataset.thread import in_threads
from tadka.storage.uri import is_local, reading, resolve, version_of

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = {
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
}  # suffix -> format
_COMPRESSIONS = ("gz", "bz2", "zst")
_NUM_LISTERS = 16  # folders of a store listed at once; each is a request that mostly waits
_NUM_SHOWN = 5


class _Entry(NamedTuple):
    """A name in a folder."""

    name: str
    is_directory: bool
    num_bytes: int
    modified: str


@dataclass(frozen=True, slots=True)
class _Place:
    """A file or folder that matches the template so far."""

    path: str
    texts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    entry: _Entry | None = None


@dataclass(frozen=True)
class Files(Source):
    """Files that a path names.

    Args:
        path: A path or URI, in which `{column}` stands for the value of a partition and `*`, `?`,
            `[ab]`, `**` are wildcards. A folder stands for all files below it. Names that begin
            with `_` or `.` are left out unless they are spelt.
        format: `"parquet"`, `"csv"`, `"tsv"` or `"jsonl"`; by default what the suffix says. Text
            may be compressed: `.gz`, `.bz2`, `.zst`.

    Raises:
        ConfigError: The path is no template, or the format is not known.
    """

    path: str
    format: str | None = None

    def __post_init__(self) -> None:
        if self.format not in (None, *FORMATS.values()):
            known = ", ".join(dict.fromkeys(FORMATS.values()))
            raise ConfigError(f"Format {self.format!r} is not known; it must be one of {known}.")
        if not self.path or "::" in self.path:
            raise ConfigError(
                f"Path {self.path!r} of a table must be a path or one URI, such as "
                "'s3://bucket/dt={dt}/*.parquet'."
            )
        # the protocol's library may be absent where a definition is only looked at
        self._names  # noqa: B018 - a template that is wrong is refused here

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return Template(self.path.partition("://")[2] or self.path, self.path).names

    @property
    def partition_names(self) -> tuple[str, ...] | None:
        """The columns in the path, in order."""
        return self._names

    def to_config(self) -> str | dict[str, Any]:
        """The path alone where that says all."""
        return self.path if self.format is None else super().to_config()

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:
        """The files that match now; only folders of wanted partitions are listed.

        Args:
            columns: Of the table; its partitions are those of the path.
            keep: Which partitions are wanted.

        Raises:
            ConfigError: Path and columns have different partitions.
            NotFound: No file matches, or none of a wanted partition.
            DataError: A value is not of its type, or a folder cannot be listed.
        """
        file_system, path = resolve(self.path)
        template = Template(path, self.path)
        template.check(columns)
        walk = _Walk(file_system, template, columns, keep)
        with reading(self.path):
            file_system.invalidate_cache()  # a listing kept from before may lack new files
            places = walk.places()
            if not places:
                raise NotFound(walk.explanation())
        uris = _uris(file_system)
        formats = _Formats(self.format)
        root = uris(template.root)
        files = []
        for place in places:
            entry = place.entry
            assert entry is not None, "a place at the end of a walk is a file"
            values = place.values
            name = entry.name
            files.append(
                InputFile(
                    uris(place.path), values, entry.num_bytes, entry.modified, formats.of(name)
                )
            )
        files.sort(key=lambda file: file.uri)
        return Listing(files, root=root)

    def batches(self, file: InputFile, columns: Columns) -> "Iterator[pa.RecordBatch]":
        """Rows of a text file.

        Args:
            file: CSV, TSV or JSON lines.
            columns: Of the table.

        Raises:
            DataError: The file is damaged, lacks a column, or a row is not as declared.
        """
        return read_rows(file, columns)


class _Formats:
    """The format of a file by its name."""

    def __init__(self, given: str | None) -> None:
        self._given = given

    def of(self, name: str) -> str:
        if self._given is not None:
            return self._given
        stem, _, suffix = name.rpartition(".")
        if suffix in _COMPRESSIONS:
            suffix = stem.rpartition(".")[2]
        found = FORMATS.get(suffix.lower())
        if found is None:
            raise DataError(
                f"File {name!r} has no suffix that tells its format. Give Files(path, format=...), "
                f"or a pattern such as *.parquet; suffixes are {', '.join(FORMATS)}."
            )
        return found


class _Walk:
    """Goes down a template level by level, and remembers why nothing was found."""

    def __init__(
        self, file_system: Any, template: Template, columns: Columns, keep: Keep | None
    ) -> None:
        self._file_system = file_system
        self._is_local = is_local(file_system)
        self._template = template
        self._columns = columns
        self._keep = keep
        self._before: list[_Place] = []
        self._level: Level | None = None
        self._refused: list[str] = []

    def places(self) -> list[_Place]:
        template = self._template
        found = self._root()
        for index, level in enumerate(template.levels):
            self._before, self._level = found, level
            is_last = index == len(template.levels) - 1
            found = self._below(found, level, template.complete[index], is_last=is_last)
            if not found:
                return []
        return self._expanded(found)

    def explanation(self) -> str:
        """Why nothing was found, in a sentence for the user."""
        text = f"No file matches {self._template.shown!r}"
        if self._refused:
            shown = _some(sorted(dict.fromkeys(self._refused)))
            return f"{text} in the partitions that are wanted; there are {shown}."
        folder = self._before[0].path if self._before else self._template.root
        wanted = "" if self._level is None else f" has no {str(self._level)!r}"
        while folder.strip("/") and not self._exists(folder):
            folder, _, missing = folder.rstrip("/").rpartition("/")
            wanted = f" has no {missing!r}"
        names = [entry.name for entry in self._list(folder or "/", with_files=True)]
        inside = f"in it are {_some(sorted(names))}" if names else "it is empty"
        return f"{text}: folder {_uris(self._file_system)(folder or '/')!r}{wanted}; {inside}."

    def _root(self) -> list[_Place]:
        root = self._template.root
        if self._template.levels:
            return [_Place(root)]
        entry = self._entry(root)
        return [] if entry is None else [_Place(root, entry=entry)]

    def _below(
        self, places: list[_Place], level: Level, complete: list[str], *, is_last: bool
    ) -> list[_Place]:
        if level.is_any_depth:
            found = [below for place in places for below in self._depths(place)]
            return found if not is_last else self._expanded(found, is_deep=False)
        if level.is_literal:
            name = str(level)
            joined = (_Place(f"{p.path}/{name}", p.texts, p.values) for p in places)
            if not is_last:
                return list(joined)
            looked = ((place, self._entry(place.path)) for place in joined)
            return [_Place(p.path, p.texts, p.values, e) for p, e in looked if e is not None]
        names = Names(level, complete, self._columns)
        found = []
        for place, entries in self._listed(places, with_files=is_last):
            known: dict[Any, Mapping[str, Any]] = {}  # one mapping for all files of a folder
            for entry in entries:
                if not level.admits_hidden(entry.name):
                    continue
                path = f"{place.path.rstrip('/')}/{entry.name}"
                read = names.read(entry.name, place.texts, path)
                if read is None:
                    continue
                texts, new = read
                values = place.values
                if new:
                    values = known.setdefault(tuple(new.values()), {**values, **new})
                    if not self._is_wanted(values):
                        continue
                found.append(_Place(path, texts, values, entry))
        return found

    def _is_wanted(self, values: Mapping[str, Any]) -> bool:
        if self._keep is None:
            return True
        try:
            is_wanted = self._keep(values)
        except KeyError:  # of a partition further down
            if len(values) == len(self._template.names):
                raise
            return True
        if not is_wanted:
            self._refused.append(text_of(values))
        return is_wanted

    def _expanded(self, places: list[_Place], *, is_deep: bool = True) -> list[_Place]:
        """Files, and those in the folders among the places."""
        files: list[_Place] = []
        while places:
            files.extend(p for p in places if p.entry is not None and not p.entry.is_directory)
            folders = [p for p in places if p.entry is None or p.entry.is_directory]
            below = [
                _Place(f"{place.path.rstrip('/')}/{entry.name}", place.texts, place.values, entry)
                for place, entries in self._listed(folders, with_files=True)
                for entry in entries
                if entry.name[:1] not in ("_", ".")
            ]
            places = below if is_deep else [p for p in below if not _is_directory(p)]
        return files

    def _depths(self, place: _Place) -> Iterator[_Place]:
        """A folder and all folders below it."""
        yield place
        for entry in self._list(place.path, with_files=False):
            if entry.name[:1] not in ("_", "."):
                path = f"{place.path.rstrip('/')}/{entry.name}"
                yield from self._depths(_Place(path, place.texts, place.values))

    def _listed(
        self, places: list[_Place], *, with_files: bool
    ) -> Iterable[tuple[_Place, list[_Entry]]]:
        if self._is_local or len(places) < 2:
            return ((place, self._list(place.path, with_files=with_files)) for place in places)
        listed = in_threads(
            lambda place: self._list(place.path, with_files=with_files), places, _NUM_LISTERS
        )
        return list(zip(places, listed, strict=True))

    def _list(self, folder: str, *, with_files: bool) -> list[_Entry]:
        try:
            if self._is_local:
                return _scan(folder, with_files=with_files)
            infos = self._file_system.ls(folder, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        entries = [self._entry_of(info) for info in infos if info["name"].rstrip("/") != folder]
        return [entry for entry in entries if with_files or entry.is_directory]

    def _entry(self, path: str) -> _Entry | None:
        try:
            if self._is_local:
                return _stat(path)
            return self._entry_of(self._file_system.info(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _exists(self, path: str) -> bool:
        return self._entry(path) is not None

    def _entry_of(self, info: Mapping[str, Any]) -> _Entry:
        path = str(info["name"]).rstrip("/")
        name = path.rpartition("/")[2]
        if info["type"] == "directory":
            return _Entry(name, is_directory=True, num_bytes=0, modified="")
        version = version_of(self._file_system, path, info)
        return _Entry(name, is_directory=False, num_bytes=int(info["size"]), modified=version)


def _scan(folder: str, *, with_files: bool) -> list[_Entry]:
    entries = []
    with os.scandir(folder) as listed:
        for item in listed:
            if item.is_dir():
                entries.append(_Entry(item.name, is_directory=True, num_bytes=0, modified=""))
            elif with_files:
                try:
                    found = item.stat()
                except FileNotFoundError as error:
                    if not item.is_symlink():
                        continue  # it went while we looked
                    raise NotFound(f"Link {item.path!r} points to no file. Remove it.") from error
                modified = f"{found.st_mtime_ns}-{found.st_ino}"
                entries.append(_Entry(item.name, False, found.st_size, modified))
    return entries


def _stat(path: str) -> _Entry:
    found = Path(path).stat()
    name = path.rstrip("/").rpartition("/")[2]
    if stat.S_ISDIR(found.st_mode):
        return _Entry(name, is_directory=True, num_bytes=0, modified="")
    return _Entry(name, False, found.st_size, f"{found.st_mtime_ns}-{found.st_ino}")


def _is_directory(place: _Place) -> bool:
    return place.entry is not None and place.entry.is_directory


def _uris(file_system: Any) -> Any:
    """What makes a URI of a path."""
    if is_local(file_system):
        return str
    return file_system.unstrip_protocol


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NUM_SHOWN])
    more = len(names) - _NUM_SHOWN
    return shown if more <= 0 else f"{shown} and {more} more"
