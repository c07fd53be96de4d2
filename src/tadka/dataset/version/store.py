"""Where versions lie: a folder of one or several datasets, local or in an object store.

```
out/ctr/
    versions/6f1d0c2ab3e44c55/
        manifest.json      without it there is no version
        definition.yaml    the definition, for people; the manifest has it, too
        data/              files of the output; `data-RANDOM/` in object stores
        sample.parquet     rows for a look
        inputs.json        of a pinned version: which files of its inputs are copied to `inputs/`
    tags/2026-01.json      the id that a tag stands for
```

A local version is written aside and renamed. Object stores cannot rename: there the files come
first, in a folder that no other writer has, and the manifest last. A process killed on the way
leaves no version, only files that `clean` removes.

Equal content is one version, and the rows that came first stay. Where later inputs gave them again,
a manifest with the new inputs takes the place of the old one, in one step, too.
"""

import json
import math
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.dataset.measure.measure import ColumnStatistics
from tadka.dataset.thread import in_threads
from tadka.dataset.version.fingerprint import LEVELS, Fingerprint, compare
from tadka.dataset.version.manifest import Manifest, TableRecord
from tadka.dataset.version.version import Version
from tadka.storage.conditional import create_file
from tadka.storage.publish import aside_name, publish_directory, publish_file
from tadka.storage.uri import is_local, join, reading, resolve, stat, store_errors

A = TypeVar("A")
B = TypeVar("B")

_ID = re.compile(r"[0-9a-f]{16}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_LATEST = "latest"
_INEXACT = 1e-6
"""Of the largest value: what another order of adding may change."""
_NUM_THREADS = 8
"""Of requests to a store at once."""


class Store:
    """Versions below one path, by id, tag, beginning of the id, or `"latest"`.

    Args:
        path: A folder or a URI; it need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._file_system, self._root = resolve(path)

    def __repr__(self) -> str:
        return f"Store({self.path!r})"

    # ------------------------------------------------------------ reading

    def versions(self) -> list[Version]:
        """All versions, the one that was written last at the end.

        Raises:
            DataError: A manifest is damaged, or of a newer tadka.
        """
        ids = [name for name in self._names("versions") if _ID.fullmatch(name)]
        tags = self._tags()
        found = in_threads(self._manifest, ids, _NUM_THREADS)
        versions = [
            self._version(manifest, tags)
            for manifest in found
            if manifest is not None  # being written now, or left over
        ]
        return sorted(versions, key=lambda version: (version.written_at, version.id))

    def version(self, name: str = _LATEST) -> Version:
        """One version.

        Args:
            name: `"latest"`, a tag, an id, or the beginning of exactly one id.

        Raises:
            NotFound: There is none of that name.
            ConfigError: Several ids begin so.
            DataError: Its manifest is damaged, or of a newer tadka.
        """
        if name == _LATEST:
            versions = self.versions()
            if not versions:
                raise NotFound(f"Store {self.path!r} has no version. Write one first, or check it.")
            return versions[-1]
        tags = self._tags()
        found = [tags[name]] if name in tags else self._ids_that_begin(name)
        if len(found) > 1:
            raise ConfigError(
                f"{len(found)} versions of store {self.path!r} begin with {name!r}: "
                f"{', '.join(found)}. Give more of the id."
            )
        manifest = self._manifest(found[0]) if found else None
        if manifest is None:
            shown = f"its tags are {', '.join(sorted(tags))}" if tags else "it has no tags"
            raise NotFound(
                f"Store {self.path!r} has no version {name!r}; {shown}. Give a tag, an id, the "
                "beginning of one, or 'latest'."
            )
        return self._version(manifest, tags)

    # ------------------------------------------------------------ writing

    @contextmanager
    def prepare(self, scratch: Path | None = None) -> Iterator[Path]:
        """A local folder to write a version into; it is gone when the block ends.

        Args:
            scratch: Where the folder of a store that is not local lies; the system's folder for
                such things unless given.

        Yields:
            An empty folder, on the disk of the store where that is local, so that `publish` need
            not copy. It holds what the version is to hold: `data/` and `sample.parquet`.

        Raises:
            DataError: It cannot be made.
        """
        if not is_local(self._file_system):
            with tempfile.TemporaryDirectory(prefix="tadka-", dir=scratch) as folder_aside:
                yield Path(folder_aside)
            return
        versions = Path(self._root, "versions")
        folder = versions / aside_name("prepared")
        try:  # around the making, too: Ctrl-C may come before the next statement
            try:
                versions.mkdir(parents=True, exist_ok=True)
                folder.mkdir()
            except OSError as error:
                raise DataError(
                    f"Store {self.path!r} cannot be written: {error.strerror}."
                ) from error
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, prepared: Path, manifest: Manifest, tag: str | None = None) -> Version:
        """Makes a version of a folder: afterwards it is there as a whole, or not at all.

        Args:
            prepared: Folder with the files; they are moved away where the store is local.
            manifest: Names the files of the output, below the folder.
            tag: A name for it.

        Returns:
            The version; the one that is there already where the content is equal. Its record of the
            inputs is renewed where these have changed.

        Raises:
            ConfigError: The tag is no name.
            DataError: The tag stands for other content, a file lacks, the version is there already
                and has lost a file or has other values where the hash does not look, or the disk is
                full.
        """
        if tag is not None:
            self.check_tag(tag)
            self._refuse_taken(tag, manifest.id)  # before there is anything to take back
        for file in manifest.files:
            if not prepared.joinpath(file.path).is_file():
                raise DataError(f"File {file.path!r} of the manifest is not in {str(prepared)!r}.")
        put = self._move if is_local(self._file_system) else self._upload
        if self._manifest(manifest.id) is not None or not put(prepared, manifest):
            self._renew(manifest)
        if tag is not None:
            self.tag(tag, manifest.id)
        return self.version(manifest.id)

    def check_tag(self, tag: str) -> None:
        """Whether a text can be a tag.

        Args:
            tag: A name, such as `"2026-01"`.

        Raises:
            ConfigError: It cannot.
        """
        if not _TAG.fullmatch(tag) or _ID.fullmatch(tag) or tag == _LATEST:
            raise ConfigError(
                f"Tag {tag!r} is not possible; a tag has up to 100 letters, digits and '._+-', "
                f"begins with a letter or a digit, and is neither an id nor {_LATEST!r}."
            )

    def tag(self, tag: str, name: str) -> None:
        """Gives a version a name that stays.

        Args:
            tag: A name; naming the same version again changes nothing.
            name: The version, as in `version`.

        Raises:
            ConfigError: The tag is no name.
            NotFound: There is no such version.
            DataError: The tag stands for another version.
        """
        self.check_tag(tag)
        version = self.version(name)
        text = json.dumps({"version": version.id, "created_at": _now().isoformat()}) + "\n"
        self._refuse_taken(tag, version.id)
        if not self._create(f"tags/{tag}.json", text.encode()):
            self._refuse_taken(tag, version.id)

    def untag(self, tag: str) -> None:
        """Takes a tag away; the version stays.

        Args:
            tag: Its name.

        Raises:
            NotFound: There is no such tag.
        """
        if tag not in self._tags():
            raise NotFound(f"Store {self.path!r} has no tag {tag!r}.")
        self._remove(f"tags/{tag}.json")

    def clean(
        self, *, older_than: timedelta = timedelta(days=1), is_dry: bool = False
    ) -> list[str]:
        """Removes what killed processes left: folders without manifest, files that nobody names.

        Args:
            older_than: What was changed since then stays; it may belong to a process at work.
            is_dry: Whether only to look, and remove nothing.

        Returns:
            What was, or would be, removed, below the path of the store.

        Raises:
            DataError: A manifest is damaged, or something cannot be removed.
        """
        self._file_system.invalidate_cache()
        found = [f"{folder}/{name}" for folder in ("versions", "tags")
                 for name in self._names(folder) if name.startswith(".")]  # fmt: skip
        for name in self._names("versions"):
            folder = f"versions/{name}"
            inside = self._names(folder) if _ID.fullmatch(name) else []
            if not _ID.fullmatch(name):
                continue
            if "manifest.json" not in inside:
                found.append(folder)
                continue
            manifest = self._manifest(name)
            used = {file.path.split("/")[0] for file in manifest.files} if manifest else set()
            if "inputs.json" in inside:
                used.add("inputs")
            found += [
                f"{folder}/{item}"
                for item in inside
                if item.startswith((".", "data", "inputs")) and item not in {*used, "inputs.json"}
            ]
        before = _now() - older_than
        removed = [path for path in found if self._changed_at(path) <= before]
        for path in [] if is_dry else removed:
            self._remove(path)
        return sorted(removed)

    # ------------------------------------------------------------ files

    def _uri(self, path: str) -> str:
        return join(self._root if is_local(self._file_system) else self.path, path)

    def _path(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    def _names(self, folder: str) -> list[str]:
        """What lies in a folder of the store, hidden or not; nothing where there is none."""
        with reading(self._uri(folder)):
            self._file_system.invalidate_cache()  # other processes write, too
            try:
                paths = self._file_system.ls(self._path(folder), detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in paths)
        return sorted({name for name in names if name})

    def _bytes(self, path: str) -> bytes | None:
        with reading(self._uri(path)):
            try:
                data: bytes = self._file_system.cat_file(self._path(path))
            except (FileNotFoundError, NotADirectoryError):
                return None
            return data

    def _manifest(self, version: str) -> Manifest | None:
        path = f"versions/{version}/manifest.json"
        data = self._bytes(path)
        if data is None:
            return None
        manifest = Manifest.from_json(data, self._uri(path))
        if manifest.id != version:
            raise DataError(
                f"{self._uri(path)!r} is the manifest of version {manifest.id!r}, not of "
                f"{version!r}. Rename the folder to that, or delete it."
            )
        return manifest

    def _version(self, manifest: Manifest, tags: dict[str, str]) -> Version:
        return Version(
            path=self._uri(f"versions/{manifest.id}"),
            manifest=manifest,
            tags=tuple(sorted(tag for tag, version in tags.items() if version == manifest.id)),
        )

    def _tags(self) -> dict[str, str]:
        """The id that each tag stands for."""
        tags = [
            name.removesuffix(".json")
            for name in self._names("tags")
            if name.endswith(".json") and not name.startswith(".")
        ]
        found = zip(tags, in_threads(self._tagged, tags, _NUM_THREADS), strict=True)
        return {tag: version for tag, version in found if version is not None}

    def _tagged(self, tag: str) -> str | None:
        path = f"tags/{tag}.json"
        data = self._bytes(path)
        if data is None:
            return None
        try:
            version = str(json.loads(data)["version"])
        except (ValueError, TypeError, LookupError) as error:
            raise DataError(
                f"{self._uri(path)!r} is damaged: it names no version. Delete it and tag again."
            ) from error
        return version

    def _ids_that_begin(self, text: str) -> list[str]:
        if not re.fullmatch(r"[0-9a-f]{1,16}", text):
            return []
        ids = [n for n in self._names("versions") if _ID.fullmatch(n) and n.startswith(text)]
        if len(ids) < 2:
            return ids
        return [id_ for id_ in ids if self._bytes(f"versions/{id_}/manifest.json") is not None]

    def _refuse_taken(self, tag: str, version: str) -> None:
        taken = self._tagged(tag)
        if taken is not None and taken != version:
            raise DataError(
                f"Tag {tag!r} of store {self.path!r} stands for version {taken!r}, whose content "
                f"differs from that of {version!r}. Choose another tag, or take this one away "
                "with Store.untag()."
            )

    def _renew(self, manifest: Manifest) -> None:
        """Takes down that a version was made again, from other inputs or after another one."""
        version = self.version(manifest.id)
        _refuse_broken(version)
        _refuse_other_values(version, manifest)
        content = (manifest.definition_digest, manifest.parameters)
        found = ((v.id, v.manifest) for v in self.versions())
        last = [id_ for id_, m in found if (m.definition_digest, m.parameters) == content][-1]
        tables = _newer_records(version.manifest, manifest)
        if last == version.id and tables == version.manifest.tables:
            return
        renewed = replace(
            version.manifest,
            tables=tables,
            renewed_at=_now().isoformat(timespec="microseconds"),
        )
        with publish_file(self._uri(f"versions/{version.id}/manifest.json")) as file:
            file.write(renewed.to_json().encode())

    def _move(self, prepared: Path, manifest: Manifest) -> bool:
        """Whether it became a version; not where another process was first."""
        target = Path(self._path(f"versions/{manifest.id}"))
        try:
            # a folder without manifest is no version: somebody deleted a part of it
            with publish_directory(target, replace=target.exists()) as aside:
                for item in sorted(prepared.iterdir()):
                    shutil.move(item, aside / item.name)
                aside.joinpath("definition.yaml").write_text(manifest.definition, encoding="utf-8")
                aside.joinpath("manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        except DataError:
            if self._manifest(manifest.id) is None:
                raise
            return False
        return True

    def _upload(self, prepared: Path, manifest: Manifest) -> bool:
        """As `_move`."""
        folder = f"versions/{manifest.id}"
        own = f"data-{secrets.token_hex(4)}"  # two writers of equal content order it differently
        moved = replace(
            manifest,
            files=tuple(
                replace(file, path=own + file.path.removeprefix("data")) for file in manifest.files
            ),
        )
        names = {
            str(path.relative_to(prepared)): path
            for path in sorted(prepared.rglob("*"))
            if path.is_file()
        }

        def copy(name: str) -> None:
            under = own + name.removeprefix("data") if name.startswith("data/") else name
            with names[name].open("rb") as file, publish_file(self._uri(f"{folder}/{under}")) as to:
                shutil.copyfileobj(file, to, 1 << 22)

        try:
            in_threads(copy, list(names), _NUM_THREADS)
            with publish_file(self._uri(f"{folder}/definition.yaml")) as file:
                file.write(manifest.definition.encode())
        except BaseException:  # KeyboardInterrupt too: nothing may be left; it is raised on
            with suppress(DataError):
                self._remove(f"{folder}/{own}")
            raise
        # where this is interrupted nobody knows whether the manifest has arrived: the files stay,
        # and `clean` removes them if no manifest names them
        is_first = self._create(f"{folder}/manifest.json", moved.to_json().encode())
        if not is_first:
            self._remove(f"{folder}/{own}")
        return is_first

    def _create(self, path: str, data: bytes) -> bool:
        """Writes a whole file unless there is one; whether it did. Of two at once, one does."""
        return create_file(self._file_system, self._path(path), data)

    def _remove(self, path: str) -> None:
        try:
            self._file_system.invalidate_cache()
            self._file_system.rm(self._path(path), recursive=True)
        except FileNotFoundError:
            pass  # another process cleans, too
        except store_errors() as error:
            raise DataError(f"{self._uri(path)!r} cannot be removed: {error}.") from error

    def _changed_at(self, path: str) -> datetime:
        """When anything in a file or folder changed last."""
        place = self._path(path)
        if is_local(self._file_system):
            seconds = 0.0
            for item in (Path(place), *Path(place).rglob("*")):
                with suppress(FileNotFoundError):  # its process is at work
                    seconds = max(seconds, item.lstat().st_mtime)
            return datetime.fromtimestamp(seconds, UTC)
        with reading(self._uri(path)):
            found = self._file_system.find(place)
            times = [self._file_system.modified(item) for item in found]
        return max(times, default=datetime.fromtimestamp(0, UTC))


def _refuse_broken(version: Version) -> None:
    """Refuses to give a version whose files are not as they were written."""
    for uri, file in zip(version.files(), version.manifest.files, strict=True):
        try:
            num_bytes = stat(uri).size_bytes
        except NotFound:
            num_bytes = None
        if num_bytes != file.num_bytes:
            shown = "is gone" if num_bytes is None else f"has {num_bytes:,} bytes"
            raise DataError(
                f"Version {version.id!r} is there already and is damaged: {uri!r} {shown} and had "
                f"{file.num_bytes:,} bytes. Remove {version.path!r} and write again."
            )


def _newer_records(old: Manifest, new: Manifest) -> dict[str, TableRecord]:
    """Of each table what is known now; what was known where that is more and still holds."""
    records = {}
    for name, record in new.tables.items():
        known = old.tables.get(name)
        if known is not None:
            before = Fingerprint.from_dict(known.fingerprint)
            now = Fingerprint.from_dict(record.fingerprint)
            is_more = LEVELS.index(now.level) > LEVELS.index(before.level)
            if not is_more and not compare(before, now).is_changed:
                record = known
        records[name] = record
    return records


def _refuse_other_values(version: Version, manifest: Manifest) -> None:
    """Refuses to give rows for others that differ by more than the order of adding them.

    The hash does not look at columns that are not exact, their statistics do.
    """
    for name in manifest.inexact:
        old, new = version.manifest.statistics.get(name), manifest.statistics.get(name)
        if old is not None and new is not None and not _is_close(old, new):
            raise DataError(
                f"Version {version.id!r} is there already with other values of {name!r} (mean "
                f"{old.mean} and now {new.mean}, from {old.min} to {old.max} and now from "
                f"{new.min} to {new.max}); the hash leaves this column out, as it is not exact. "
                f"Write to another store, or remove {version.path!r} and write again."
            )


def _is_close(old: ColumnStatistics, new: ColumnStatistics) -> bool:
    if (old.num_null, old.num_nan) != (new.num_null, new.num_nan):
        return False
    largest = max((abs(x) for x in (old.min, old.max) if isinstance(x, int | float)), default=0.0)
    return all(
        math.isclose(a, b, rel_tol=0.0, abs_tol=_INEXACT * largest)
        if isinstance(a, int | float) and isinstance(b, int | float)
        else a == b  # infinities, or nothing
        for a, b in ((old.min, new.min), (old.max, new.max), (old.mean, new.mean))
    )


def find_version(text: str) -> Version:
    """The version that a text names.

    Args:
        text: `"out/ctr"` for the latest version of a store, `"out/ctr@2026-01"` for one by tag, id
            or beginning of the id.

    Raises:
        NotFound: There is none.
        ConfigError: Several ids begin so.
        DataError: Its manifest is damaged, or of a newer tadka.
    """
    path, sign, name = text.rpartition("@")
    return Store(path).version(name) if sign and "/" not in name else Store(text).version()


def _now() -> datetime:
    return datetime.now(UTC)
