"""Stored bytes by their content: each file or folder once, under its SHA-256.

    objects/a/ab12...           a file
    objects/a/ab12....d/        a folder; its hash is that of the list of its files
    objects/.aside/SESSION/     what a process and its workers have written and not yet published
    objects/.lock               shared by who publishes, alone for who removes
    quarantine/                 what was not as it was written

What is written aside is brought to the disk, then renamed, then the folders are brought to the
disk: so a name in `objects` never stands for less than all of its bytes. A session's folder is
locked (flock) by the process that began it; who finds it unlocked removes it.
"""

# Paths are strings here: making a Path takes longer than the call.
# ruff: noqa: PTH102, PTH103, PTH104, PTH108, PTH110, PTH112, PTH116, PTH120, PTH123, PTH208

import contextlib
import fcntl
import hashlib
import itertools
import json
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tadka.core.error import DataError
from tadka.storage.publish import sync
from tadka.task.store.flush import Disk
from tadka.task.store.row import Output

_logger = logging.getLogger(__name__)

_TOKEN = 12
"""Characters of the name of a file aside, before its suffix."""

MOST_HELD_BYTES = 1 << 14
"""Of a result that waits for its group in memory: the file is made when many are."""

_CHUNK = 1 << 20
_READ_ONLY = 0o444
_FOLDERS = "0123456789abcdef"


class Damaged(DataError):
    """Stored bytes are not as they were written; they were moved to the quarantine.

    Args:
        message: What is wrong.
        content: Hash of the bytes as they were written.
    """

    def __init__(self, message: str, content: str = "") -> None:
        super().__init__(message)
        self.content = content

    def __reduce__(self) -> tuple[type["Damaged"], tuple[str, str]]:
        return type(self), (str(self), self.content)


class Objects:
    """A local folder of objects.

    Args:
        root: Holds `objects` and `quarantine`; it is made when something is written.
        session: Of the process that publishes what this one writes; None begins one.
    """

    def __init__(self, root: Path, session: str | None = None) -> None:
        self.root = root
        self.session = session
        self._folder = f"{root}/objects"
        self._aside: str | None = None
        self._disk: Disk | None = None
        self._descriptor: int | None = None
        self._process = 0
        if session is not None:
            self._aside = f"{self._folder}/.aside/{session}"

    # ------------------------------------------------------------ writing

    def begin(self, suffix: str = "", *, is_folder: bool = False) -> Path:
        """Where to write a new object.

        Args:
            suffix: Of its name, such as ".parquet".
            is_folder: Whether to make an empty folder; a file is for the caller to make.

        Raises:
            DataError: The workspace cannot be written.
        """
        with self._writing():
            path = f"{self._open()}/{_token()}{suffix}"
            if is_folder:
                os.mkdir(path)
        return Path(path)

    def put(self, aside: Path) -> Output:
        """Closes an object: its bytes are hashed and change no more. It is not durable yet.

        Args:
            aside: Of `begin`, with all that belongs to it.

        Returns:
            An output without name; `publish` takes it.

        Raises:
            DataError: Nothing was written, or something that is neither file nor folder.
        """
        suffix = aside.name[_TOKEN:]
        try:
            found = os.lstat(aside)
            if stat.S_ISDIR(found.st_mode):
                content, num_bytes = _close_folder(aside)
                return Output("", content, suffix, num_bytes, {}, True, 0, str(aside))
            if not stat.S_ISREG(found.st_mode):
                raise DataError(f"{str(aside)!r} is neither a file nor a folder; write one.")
            content, num_bytes, mtime_ns = _close_file(aside)
        except FileNotFoundError as error:
            raise DataError(
                f"Nothing was written to {str(aside)!r}; write a file there."
            ) from error
        except OSError as error:
            raise DataError(f"{str(aside)!r} cannot be read: {error.strerror}.") from error
        return Output("", content, suffix, num_bytes, {}, False, mtime_ns, str(aside))

    def keep(self, data: bytes, suffix: str) -> Output:
        """A file of some bytes; few of them wait in memory, not in a file.

        Args:
            data: What is in it.
            suffix: Of its name, such as ".json".

        Raises:
            DataError: The workspace cannot be written.
        """
        mtime_ns = time.time_ns()
        content = hashlib.sha256(data).hexdigest()
        output = Output("", content, suffix, len(data), {}, False, mtime_ns, None, data)
        return output if len(data) <= MOST_HELD_BYTES else self.spill([output])[0]

    def spill(self, outputs: Iterable[Output]) -> list[Output]:
        """Writes to files what waits in memory.

        Args:
            outputs: Of `keep`; others stay as they are.

        Raises:
            DataError: The workspace cannot be written.
        """
        found: list[Output] = []
        written: list[str] = []
        try:
            with self._writing():
                for output in outputs:
                    if output.data is None:
                        found.append(output)
                        continue
                    aside = f"{self._open()}/{_token()}{output.suffix}"
                    written.append(aside)
                    _write_file(aside, output.data, output.mtime_ns)
                    found.append(output.written(aside))
        except BaseException:
            for aside in written:
                _remove(aside)
            raise
        return found

    def publish(self, outputs: Sequence[Output], *, is_durable: bool = True) -> None:
        """Gives objects their names, durably; of equal content one is kept.

        Args:
            outputs: Of `put` or `spill`, of this process or a worker; others are passed over.
            is_durable: False for copies of what lies elsewhere.

        Raises:
            DataError: The disk does not take them. None of them may be used.
        """
        new: dict[str, Output] = {}
        doubles: list[str] = []
        for output in outputs:
            if output.aside is None:
                continue
            path = self._path(output)
            if path in new or self.has(output):
                doubles.append(output.aside)
            elif not os.path.exists(output.aside):
                raise _gone(output.aside)
            else:
                new[path] = output
        try:
            with self._writing():
                self._open()
                disk = self._disk = self._disk or Disk(self._folder)
                asides = [str(output.aside) for output in new.values()]
                if is_durable:
                    disk.flush([path for aside in asides for path in _all_of(aside)])
                for path, output in new.items():
                    self._rename(output, path)
                # also those of objects that are there: their writer may not have come to it
                touched = {os.path.dirname(self._path(o)) for o in outputs if o.aside is not None}
                if is_durable:
                    disk.flush(sorted(touched))
        except BaseException:
            # what a disk has refused once it may seem to take later, without having it
            for output in new.values():
                _remove(str(output.aside))
            raise
        for aside in doubles:
            _remove(aside)

    def discard(self, outputs: Sequence[Output]) -> None:
        """Removes what waits aside.

        Args:
            outputs: Of `put`.
        """
        for output in outputs:
            if output.aside is not None:
                _remove(output.aside)

    def remove(self, path: Path) -> None:
        """Removes an object; only within `alone`.

        Args:
            path: Of `contents`.
        """
        with self._writing():
            _remove(str(path))

    def _rename(self, output: Output, path: str) -> None:
        aside = str(output.aside)
        try:
            os.rename(aside, path)
        except FileNotFoundError as error:
            raise _gone(aside) from error
        except OSError:
            if not os.path.isdir(path):
                raise
            if self.has(output):
                _remove(aside)  # another process published the same folder just now
            else:
                self._move_away(output, "it has lost files")
                os.rename(aside, path)

    # ------------------------------------------------------------ reading

    def has(self, output: Output) -> bool:
        """Whether an object is there and has its size.

        Args:
            output: Names it.
        """
        return self._size(output) == output.num_bytes

    def check_size(self, output: Output) -> bool:
        """Whether an object is there; one of another size goes to the quarantine.

        Args:
            output: Names it.
        """
        size = self._size(output)
        if size is not None and size != output.num_bytes:
            self.quarantine(output, f"it has {size:,} bytes and had {output.num_bytes:,}")
            return False
        return size is not None

    def path(self, output: Output) -> Path:
        """Where an object is, or would be.

        Args:
            output: Names it.
        """
        return Path(self._path(output))

    def name(self, output: Output) -> str:
        """Where an object is below the root.

        Args:
            output: Names it.
        """
        return self._path(output)[len(str(self.root)) + 1 :]

    def is_touched(self, output: Output) -> bool:
        """Whether a file was written to, as far as its time shows it.

        Args:
            output: Names it.
        """
        return not output.is_folder and os.stat(self._path(output)).st_mtime_ns != output.mtime_ns

    def verify(self, output: Output) -> None:
        """Reads an object and compares its hash.

        Args:
            output: Names it.

        Raises:
            Damaged: It has other bytes, and was moved to the quarantine, or it is gone.
        """
        reason = self._fault(output)
        if reason is not None:
            self.quarantine(output, reason)
            raise Damaged(self._message(output, reason), output.content)

    def quarantine(self, output: Output, reason: str) -> None:
        """Moves an object out of the way, unless another process has just mended it.

        Args:
            output: Names it.
            reason: What is wrong with it.
        """
        with self._writing(), self.alone():
            if self._fault(output) is not None:
                self._move_away(output, reason)

    def _move_away(self, output: Output, reason: str) -> None:
        folder = self.root / "quarantine"
        folder.mkdir(exist_ok=True)
        moved = folder / f"{output.content}-{time.time_ns()}{output.suffix}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._path(output), moved)
            _logger.warning("%s", self._message(output, f"{reason}; it is now {str(moved)!r}"))

    def _message(self, output: Output, reason: str) -> str:
        return (
            f"Stored object {self._path(output)!r} is damaged: {reason}. The task that made it "
            "runs again when it is next built."
        )

    def _fault(self, output: Output) -> str | None:
        """What is wrong with an object; None where it is as it was written."""
        path = self._path(output)
        try:
            if output.is_folder:
                content = hashlib.sha256(_listing(path)).hexdigest()
            else:
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return "it is gone"
        except OSError as error:
            return f"it cannot be read ({error.strerror})"
        return None if content == output.content else "it has other bytes than were written"

    def _path(self, output: Output) -> str:
        content = output.content
        return f"{self._folder}/{content[0]}/{content}{'.d' if output.is_folder else ''}"

    def _size(self, output: Output) -> int | None:
        """Bytes of an object; None where it is not there."""
        try:
            found = os.stat(self._path(output))
            if stat.S_ISDIR(found.st_mode) != output.is_folder:
                return None
            return _folder_bytes(self._path(output)) if output.is_folder else found.st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    # ------------------------------------------------------------ all of them

    def contents(self) -> Iterator[tuple[str, Path]]:
        """Hash and path of every object."""
        for folder in sorted(Path(self._folder).glob("[0-9a-f]")):
            for path in sorted(folder.iterdir()):
                yield path.name.removesuffix(".d"), path

    def sweep(self) -> list[Path]:
        """Removes what sessions left whose processes are gone.

        Returns:
            The folders that were removed.
        """
        removed = []
        aside = Path(self._folder, ".aside")
        for folder in sorted(aside.iterdir()) if aside.is_dir() else ():
            if folder.name != self.session and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        return removed

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """A block in which nobody removes objects: from publishing to the row that names them."""
        self.open()
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which nobody publishes."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        descriptor = os.open(f"{self._folder}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    # ------------------------------------------------------------ the session

    def open(self) -> None:
        """Begins the session, so that others can write for it.

        Raises:
            DataError: The workspace cannot be written.
        """
        with self._writing():
            self._open()

    def _open(self) -> str:
        """The folder of the session; the first call of the process that begins it makes it."""
        if self._aside is None:
            aside = Path(self._folder, ".aside")
            aside.mkdir(parents=True, exist_ok=True)
            self._make_folders()
            self.sweep()
            self._disk = Disk(self._folder)
            self.session, self._descriptor = _begin_session(aside)
            self._process = os.getpid()
            self._aside = f"{aside}/{self.session}"
        return self._aside

    def _make_folders(self) -> None:
        names = [name for name in os.listdir(self._folder) if not name.startswith(".")]
        if len(names) < len(_FOLDERS):
            for name in _FOLDERS:
                os.makedirs(f"{self._folder}/{name}", exist_ok=True)
        for folder in (self._folder, self.root, self.root.parent):
            sync(folder)

    def close(self) -> None:
        """Ends the session, if it began here, and removes what it did not publish."""
        is_ours = self._process == os.getpid()  # and not that of a parent
        if self._descriptor is not None and self._aside is not None and is_ours:
            shutil.rmtree(self._aside, ignore_errors=True)
            os.close(self._descriptor)
            self._descriptor = self._aside = self.session = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"Workspace {str(self.root)!r} cannot be written: {error.strerror or error}. Free "
                "some space, check its permissions, or choose another."
            ) from error


def _token() -> str:
    """A name that no process of the session has given yet: its own beginning, and a number."""
    global _tokens
    process, beginning, numbers = _tokens
    if process != os.getpid():
        _tokens = os.getpid(), secrets.token_hex(3), itertools.count()
        return _token()
    return f"{beginning}{next(numbers):0{_TOKEN - len(beginning)}x}"


_tokens: tuple[int, str, Iterator[int]] = 0, "", itertools.count()


def _gone(aside: str) -> DataError:
    return DataError(
        f"{aside!r} is gone before it was published: the disk refused it, or another program "
        "removes files of the workspace. Run again."
    )


def _begin_session(aside: Path) -> tuple[str, int]:
    while True:
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        folder = aside / name
        folder.mkdir()
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another process swept it before it was locked
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists():
                return name, descriptor
        os.close(descriptor)


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody holds the lock of a session's folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _write_file(path: str, data: bytes, mtime_ns: int) -> None:
    """Makes a read-only file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, _READ_ONLY)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(descriptor)


def _close_file(path: Path) -> tuple[str, int, int]:
    """Hash, size and time of a file, which is read-only afterwards."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        hasher = hashlib.sha256()
        num_bytes = 0
        while data := os.read(descriptor, _CHUNK):
            hasher.update(data)
            num_bytes += len(data)
        os.fchmod(descriptor, _READ_ONLY)
        return hasher.hexdigest(), num_bytes, os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def _close_folder(folder: Path) -> tuple[str, int]:
    """Hash and size of a folder, whose files are read-only afterwards."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DataError(
                f"Output {str(path.relative_to(folder))!r} of a folder is neither a file nor a "
                "folder. Write what it stands for."
            )
        if path.is_file():
            path.chmod(_READ_ONLY)
    return hashlib.sha256(_listing(str(folder))).hexdigest(), _folder_bytes(str(folder))


def _listing(folder: str) -> bytes:
    """What a folder holds, as JSON: hash and path of each file, and paths of folders."""
    found: list[list[str | None]] = []
    for parent, names, files in os.walk(folder):
        below = os.path.relpath(parent, folder)
        found += [[None, os.path.normpath(f"{below}/{name}")] for name in names]
        for name in files:
            with open(f"{parent}/{name}", "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            found.append([content, os.path.normpath(f"{below}/{name}")])
    return json.dumps(["tadka folder 1", sorted(found, key=lambda item: str(item[1]))]).encode()


def num_bytes_at(path: Path) -> int:
    """Size of an object; 0 where it is gone.

    Args:
        path: Of `Objects.contents`.
    """
    try:
        return _folder_bytes(str(path)) if path.is_dir() else path.stat().st_size
    except FileNotFoundError:
        return 0


def _folder_bytes(folder: str) -> int:
    return sum(
        os.stat(f"{parent}/{name}").st_size
        for parent, _, names in os.walk(folder)
        for name in names
    )


def _all_of(path: str) -> Iterator[str]:
    """A file, or a folder with all that is in it."""
    if os.path.isdir(path):
        for parent, _, names in os.walk(path):
            yield from (f"{parent}/{name}" for name in names)
            yield parent
    else:
        yield path


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if os.path.isdir(path):
            going = f"{path}~{_token()}"  # who reads it finds all of it, or that it is gone
            os.rename(path, going)
            shutil.rmtree(going)
        else:
            os.unlink(path)
