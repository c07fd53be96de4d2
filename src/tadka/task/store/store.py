"""The workspace: results by their keys, durable and whole.

    index.sqlite            which results there are: entries, runs, what runs did
    objects/a/ab12...       their bytes, by content: equal bytes lie there once
    quarantine/             bytes that were not as they were written
    locks                   one byte of it for each key that is being made
    CLASS/KEY.parquet       links to objects, for people

Results are committed in groups: the bytes of all are brought to the disk, then get their names,
then the rows of all are written in one transaction. So a process that is killed anywhere leaves no
row without its bytes; what it leaves besides is removed by the next.

In an object store the bytes are uploaded first and the rows are written last; a folder on this
machine keeps copies of what was written and read.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.storage.publish import aside_name
from tadka.storage.uri import is_local, join, local_path, resolve
from tadka.task.store.index import Index, open_index
from tadka.task.store.lock import FileLocks, LeaseLocks, Locks
from tadka.task.store.objects import Damaged as Damaged
from tadka.task.store.objects import Objects, num_bytes_at
from tadka.task.store.remote import Remote
from tadka.task.store.row import Entry, Execution, Output, RunRow

T = TypeVar("T")

Verify = Literal["load", "never", "always"]

INDEX = "index.sqlite"
LOCKS = "locks"
RESERVED = ("objects", "quarantine", "logs", LOCKS, INDEX)
_NUM_THREADS = 8
"""Of uploads at once."""


class Store:
    """A folder of results, local or in an object store.

    Args:
        workspace: A folder or a URI; it is made when something is written.
        index: Its rows, or the URL of them as in `open_index`; a file in a local workspace, small
            objects in another, unless given.
        verify: When the bytes of a result are compared with its hash: `"load"`, once in a process;
            `"always"`, at each load; `"never"`, only where a file was touched.
        cache: Where copies of an object store's results lie; a folder for each workspace in
            `~/.cache/tadka/task`, or what TADKA_CACHE names, unless given.
        session: Of the store, in another process, that commits what this one writes.

    Raises:
        ConfigError: There is no such `verify`, or no such index.
    """

    def __init__(
        self,
        workspace: str | Path,
        index: Index | str | None = None,
        *,
        verify: Verify = "load",
        cache: str | Path | None = None,
        session: str | None = None,
    ) -> None:
        if verify not in get_args(Verify):
            raise ConfigError(
                f"verify={verify!r} is unknown; it must be one of {', '.join(get_args(Verify))}."
            )
        self.workspace = str(workspace)
        self.verify = verify
        path = local_path(workspace)
        self._file_system: Any = None  # of a workspace that is not on this machine
        if path is None:
            file_system, path = resolve(workspace)
            self._file_system = None if is_local(file_system) else file_system
        self._root = path
        self._given_index, self._given_cache = index, cache
        self._remote: Remote | None = None
        folder = Path(self._root)
        if self._file_system is not None:
            self._remote = Remote(self.workspace, self._file_system, self._root)
            folder = _cache_of(self.workspace) if cache is None else Path(cache)
        self._objects = Objects(folder, session)
        self._verified: set[str] = set()

    def __repr__(self) -> str:
        return f"Store({self.workspace!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """For a worker: what it writes belongs to the session of this process."""
        self._objects.open()
        given = {
            "verify": self.verify,
            "cache": self._given_cache,
            "session": self._objects.session,
        }
        return _rebuilt, (self.workspace, self._given_index, given)

    @property
    def is_remote(self) -> bool:
        """Whether it is in an object store."""
        return self._remote is not None

    @property
    def folder(self) -> Path:
        """The workspace, or the folder on this machine that keeps copies of it."""
        return self._objects.root

    @property
    def exists(self) -> bool:
        """Whether anything was written there yet."""
        if self._file_system is None:
            return Path(self._root).exists()
        return bool(self._file_system.exists(self._root))

    @cached_property
    def index(self) -> Index:
        """The rows of the workspace.

        Raises:
            DataError: It is damaged, of another version, or cannot be opened.
        """
        if isinstance(self._given_index, str):
            return open_index(self._given_index)
        if self._given_index is not None:
            return self._given_index
        if self._remote is not None:
            return open_index(join(self.workspace, "index"))
        self._make()
        return open_index(f"sqlite:///{self.folder / INDEX}")

    @cached_property
    def locks(self) -> Locks:
        """Locks of keys, for everybody who uses the workspace.

        Raises:
            DataError: The workspace cannot be written.
        """
        if self._remote is not None:
            return LeaseLocks(self._file_system, f"{self._root.rstrip('/')}/leases")
        self._make()
        return FileLocks(self.folder / LOCKS)

    # ------------------------------------------------------------ writing

    def begin(self, suffix: str = "", *, is_folder: bool = False) -> Path:
        """Where to write the bytes of a result.

        Args:
            suffix: Of the name, such as ".parquet".
            is_folder: Whether to make an empty folder; a file is for the caller to make.

        Raises:
            DataError: The workspace cannot be written.
        """
        return self._objects.begin(suffix, is_folder=is_folder)

    def put(self, aside: Path) -> Output:
        """Closes what was written: it is hashed, and changes no more. It is not durable yet.

        Args:
            aside: Of `begin`.

        Returns:
            An output without name, for an entry; another process may commit it.

        Raises:
            DataError: Nothing was written, or something that is neither file nor folder.
        """
        return self._objects.put(aside)

    def keep(self, data: bytes, suffix: str = "") -> Output:
        """A result that is one file of these bytes. It is not durable yet.

        Args:
            data: What is in it; few bytes wait in memory for their group.
            suffix: Of the name, such as ".json".

        Returns:
            As `put`.

        Raises:
            DataError: The workspace cannot be written.
        """
        return self._objects.keep(data, suffix)

    def commit(
        self,
        entries: Sequence[Entry],
        executions: Sequence[Execution] = (),
        *,
        is_held: Callable[[str], bool] | None = None,
    ) -> set[str]:
        """Publishes a group of results; all of it is on the disk when this returns.

        Args:
            entries: Whose outputs are of `put` or `keep`, or stored already.
            executions: What was done.
            is_held: Says of a key, right before its row is written, whether its lock is still ours;
                `Locks.is_held`. An entry whose lock was lost is left out.

        Returns:
            The keys that were published: all of them, unless locks were lost.

        Raises:
            DataError: The disk or the store does not take them. None is published.
        """
        outputs = self._objects.spill(o for entry in entries for o in entry.outputs)
        if self._remote is not None:
            with ThreadPoolExecutor(_NUM_THREADS) as pool:
                waiting = (output for output in outputs if output.aside is not None)
                list(pool.map(self._remote.upload, waiting))
        with self._objects.sharing():
            if self._remote is None:
                self._objects.publish(outputs)
            kept = entries if is_held is None else [e for e in entries if is_held(e.key)]
            began = None if is_held is None else {e.key: e.created_at - e.seconds for e in kept}
            published = self.index.add(kept, executions, since=began)
            if self._remote is not None:
                self._objects.publish(outputs, is_durable=False)
        return published

    def discard(self, outputs: Sequence[Output]) -> None:
        """Removes what was written and shall not be committed.

        Args:
            outputs: Of `put`.
        """
        self._objects.discard(outputs)

    def link(self, name: str, output: Output) -> Path | None:
        """A name for people to find a result by; what it named before is replaced.

        Args:
            name: Below the workspace: `"Features/1a2b3c4d.parquet"`.
            output: A committed output.

        Returns:
            The link; None in an object store, which has none.

        Raises:
            ConfigError: The name is one that the workspace uses itself, or not below it.
            DataError: Something that is no link has the name, or it cannot be made.
        """
        parts = name.split("/")
        if parts[0] in (*RESERVED, "", ".") or ".." in parts or "\0" in name:
            raise ConfigError(
                f"Link {name!r} is not possible; it must be a path below the workspace that begins "
                f"with none of {', '.join(RESERVED)}."
            )
        if self._remote is not None:
            return None
        link = f"{self.folder}/{name}"
        target = "../" * (len(parts) - 1) + self._objects.name(output)
        try:
            _link(link, target)
        except OSError as error:
            raise DataError(
                f"Link {link!r} cannot be made: {error.strerror}. Move away what has its name."
            ) from error
        return Path(link)

    # ------------------------------------------------------------ reading

    def hit(self, key: str) -> Entry | None:
        """The entry of a key, if its bytes are there; their sizes are looked at, not they.

        Args:
            key: Of the result.

        Returns:
            None where there is no entry, or an object is gone, or has another size and was moved
            to the quarantine.
        """
        entry = self.index.find(key)
        if entry is None:
            return None
        for output in entry.outputs:
            if self._remote is None:
                is_there = self._objects.check_size(output)
            else:
                is_there = output.content in self._verified or self._remote.has(output)
            if not is_there:
                return None
        return entry

    def path(self, output: Output) -> Path:
        """Where the bytes of an output can be read, as they were written.

        Those of this session that are not committed yet are read where they wait; use `read`, as
        they may get their name meanwhile.

        Args:
            output: Of an entry, or of `put`.

        Raises:
            Damaged: They are not as they were written, and were moved to the quarantine, or they
                are gone.
            DataError: They cannot be read.
        """
        if output.aside is not None and os.path.exists(output.aside):  # noqa: PTH110 - often
            return Path(output.aside)
        if self._remote is not None:
            self._fetch(self._remote, output)
        elif output.content not in self._verified or not self._objects.has(output):
            is_trusted = output.aside is not None or self.verify == "never"
            if not (is_trusted and self._objects.has(output)) or self._objects.is_touched(output):
                self._objects.verify(output)
            self._verified.add(output.content)
        elif self.verify == "always":
            self._objects.verify(output)
        return self._objects.path(output)

    def read(self, output: Output, read: Callable[[Path], T]) -> T:
        """What a function reads from the bytes of an output.

        Args:
            output: Of an entry, or of `put`.
            read: Reads a file or a folder; called again where it was renamed meanwhile.

        Raises:
            Damaged: The bytes are not as they were written.
        """
        path = self.path(output)
        try:
            value = read(path)
        except Exception:  # whatever a reader makes of a file that is not there
            if path.exists():
                if self._remote is None and path == self._objects.path(output):
                    self._objects.verify(output)  # it may have been damaged since it was verified
                raise
        else:
            # a folder that got its name while it was read may have looked like an empty one
            if not output.is_folder or path.exists():
                return value
        return read(self.path(output))

    def _fetch(self, remote: Remote, output: Output) -> None:
        """Brings a copy of an object to this machine, unless there is one."""
        if self._objects.has(output):
            if output.content in self._verified and self.verify != "always":
                return
            with contextlib.suppress(Damaged):  # only the copy: it is fetched again
                self._objects.verify(output)
                self._verified.add(output.content)
                return
        try:
            aside = remote.download(output, self._objects.begin)
        except NotFound as error:
            raise Damaged(
                f"Stored object of {self.workspace!r} is gone: {error} The task that made it runs "
                "again when it is next built.",
                output.content,
            ) from error
        found = self._objects.put(aside)
        if found.content != output.content:
            self._objects.discard([found])
            moved = remote.quarantine(output)
            raise Damaged(
                f"Stored object {output.content!r} of {self.workspace!r} is damaged: it has other "
                f"bytes than were written; it is now {moved!r}. The task that made it runs again "
                "when it is next built.",
                output.content,
            )
        self._objects.publish([found], is_durable=False)
        self._verified.add(output.content)

    # ------------------------------------------------------------ all of it

    @contextmanager
    def using(self, run: RunRow) -> Iterator[None]:
        """A block in which nobody removes results: that of a run, which is written down first.

        Args:
            run: That begins.

        Raises:
            DataError: The workspace cannot be written.
        """
        lock = _lock_of(f"run {run.id}")
        with self.locks.held(lock):
            self.index.begin_run(run)
            with self.locks.held(_REMOVAL):  # who removes and did not see the run is done then
                pass
            yield
        self.locks.forget(lock)

    @contextmanager
    def removing(self) -> Iterator[list[RunRow]]:
        """A block in which results may be removed, unless runs are going on: no other begins.

        Yields:
            The runs that are going on; those of killed processes are not among them.
        """
        with self.locks.held(_REMOVAL):
            yield [run for run in self.index.runs() if self.is_running(run)]

    def is_running(self, run: RunRow) -> bool:
        """Whether the process of a run lives; one that was killed left it as "running".

        Args:
            run: Of the index.
        """
        if run.status != "running":
            return False
        with self.locks.held(_lock_of(f"run {run.id}"), wait=False) as is_ours:
            return not is_ours

    def sweep(self, *, is_dry: bool = False) -> list[Path]:
        """Removes what killed processes left, and objects that no entry names.

        Args:
            is_dry: Whether only to look, and remove nothing.

        Returns:
            What was, or would be, removed. In an object store only copies are looked at.
        """
        with self._objects.sharing():  # makes what is not there yet
            pass
        with self._objects.alone():
            kept = self.index.contents()
            unnamed = [path for content, path in self._objects.contents() if content not in kept]
            if is_dry:
                return unnamed
            for path in unnamed:
                self._objects.remove(path)
        return [*self._objects.sweep(), *unnamed]

    def unnamed(self, contents: Collection[str]) -> dict[str, int]:
        """Objects whose content is none of some.

        Args:
            contents: Hashes.

        Returns:
            Their sizes by path.

        Raises:
            DataError: The store does not answer.
        """
        if self._remote is not None:
            found = self._remote.contents()
            return {path: size for content, path, size in found if content not in contents}
        return {
            str(path): num_bytes_at(path)
            for content, path in self._objects.contents()
            if content not in contents
        }

    def remove_unnamed(self) -> None:
        """Removes objects that no entry names, also from an object store; only in `removing`.

        Raises:
            DataError: The store does not answer.
        """
        if self._remote is not None:
            paths = self.unnamed(self.index.contents())
            with ThreadPoolExecutor(_NUM_THREADS) as pool:
                list(pool.map(self._remote.remove, paths))
        self.sweep()

    def close(self) -> None:
        """Ends the session: what was written and not committed is removed."""
        self._objects.close()
        if "index" in self.__dict__ and not hasattr(self._given_index, "find"):
            self.index.close()
            del self.__dict__["index"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"Workspace {self.workspace!r} cannot be made: {error.strerror}. Check its "
                "permissions, or choose another."
            ) from error


def _lock_of(name: str) -> str:
    """A lock that is none of a key."""
    return hashlib.sha256(name.encode()).hexdigest()


_REMOVAL = _lock_of("removal")


def _link(link: str, target: str) -> None:
    """Makes a symbolic link, or turns one to another target. Paths are text, as this is often."""
    folder, _, name = link.rpartition("/")
    try:
        os.symlink(target, link)  # noqa: PTH211
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        _link(link, target)
    except FileExistsError:
        if os.readlink(link) != target:  # noqa: PTH115
            aside = Path(folder, aside_name(name))
            aside.symlink_to(target)
            aside.replace(link)


def _rebuilt(workspace: str, index: Index | str | None, given: dict[str, Any]) -> Store:
    return Store(workspace, index, **given)


def _cache_of(uri: str) -> Path:
    base = os.environ.get("TADKA_CACHE") or "~/.cache/tadka"
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(base).expanduser() / "task" / name
