"""One body for each key: locks by the kernel on one machine, leases in an object store.

`FileLocks` locks one byte of a file for each key. The kernel frees it when the process ends,
however that happens. Such a lock belongs to the process, so threads of one process are kept apart
by a table of what this process holds; and it is gone as soon as the process closes *any* descriptor
of the file, so that is opened once in a process and stays open. A child of `fork` holds nothing.

`LeaseLocks` makes `KEY/NUMBER.json` where there is none, and says in it every few seconds that the
holder lives. Who sees no such sign for as long as a lease lasts, by its own clock, takes the next
number; so does who sees one for the first time that is much older, by the clocks of both. The
number is the fencing token: results are published only by who has the highest one.
"""

import contextlib
import fcntl
import json
import math
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tadka.core.error import ConfigError, DataError
from tadka.storage.conditional import create_file, names_in, read_file, remove_file, replace_file

_FIRST_WAIT_S = 0.001
_LONGEST_WAIT_S = 0.05
"""Between two tries of who waits for a process on this machine."""

_LONGEST_PAUSE_S = 2.0
"""Between two looks at an object store."""

_NUM_THREADS = 8
"""Of requests at once."""

_DIFFERENCE_S = 600.0
"""That clocks of two machines may have."""


def _never() -> bool:
    return False


class Locks(Protocol):
    """Locks by key. One that is taken stays until `release`, in whichever thread."""

    def acquire(
        self, key: str, *, wait: bool = True, should_stop: Callable[[], bool] = _never
    ) -> bool:
        """Takes the lock of a key; whether it did."""

    def release(self, key: str) -> None:
        """Gives the lock of a key back."""

    def is_held(self, key: str) -> bool:
        """Whether this process still has the lock: asked right before a result is published."""

    def forget(self, key: str) -> None:
        """Removes what is known of a key that nobody locks again, such as that of a run."""

    def held(
        self, key: str, *, wait: bool = True, should_stop: Callable[[], bool] = _never
    ) -> AbstractContextManager[bool]:
        """The lock of a key for the length of a block, which learns whether it was taken."""


class _Held:
    """What both kinds of locks have in common."""

    def acquire(
        self, key: str, *, wait: bool = True, should_stop: Callable[[], bool] = _never
    ) -> bool:
        raise NotImplementedError

    def release(self, key: str) -> None:
        raise NotImplementedError

    @contextmanager
    def held(
        self, key: str, *, wait: bool = True, should_stop: Callable[[], bool] = _never
    ) -> Iterator[bool]:
        """The lock of a key for the length of a block.

        Args:
            key: Of a result.
            wait: Whether to wait for who has it.
            should_stop: Asked while waiting; True ends the wait without the lock.

        Yields:
            Whether it was taken.
        """
        is_taken = self.acquire(key, wait=wait, should_stop=should_stop)
        try:
            yield is_taken
        finally:
            if is_taken:
                self.release(key)


# ---------------------------------------------------------------- one machine


@dataclass
class _LockFile:
    """A file that this process has opened to lock bytes of it."""

    descriptor: int
    guard: threading.Lock = field(default_factory=threading.Lock)
    offsets: set[int] = field(default_factory=set)


_FILES: dict[tuple[int, int], _LockFile] = {}
"""By device and inode: two descriptors of one file would drop each other's locks."""
_OPENING = threading.Lock()


def _after_fork() -> None:
    global _OPENING
    _OPENING = threading.Lock()  # a thread of the parent may have held it
    for file in _FILES.values():
        file.guard, file.offsets = threading.Lock(), set()


os.register_at_fork(after_in_child=_after_fork)


class FileLocks(_Held):
    """Locks between the processes and threads of one machine.

    Args:
        path: A file on a local disk; it is made where there is none. Nothing else may open it.

    Raises:
        DataError: It cannot be opened for writing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _opened(self.path)

    def __repr__(self) -> str:
        return f"FileLocks({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return FileLocks, (self.path,)

    def acquire(
        self, key: str, *, wait: bool = True, should_stop: Callable[[], bool] = _never
    ) -> bool:
        """Takes the lock of a key; it is not reentrant.

        Args:
            key: Of a result, in hex digits.
            wait: Whether to wait for who has it.
            should_stop: Asked while waiting; True ends the wait.

        Returns:
            Whether it was taken.

        Raises:
            ConfigError: The key is no hex number.
            DataError: The file system has no such locks.
        """
        offset = _offset(key)
        pause_s = _FIRST_WAIT_S
        while not self._try(offset):
            if not wait or should_stop():
                return False
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # so that many who wait do not march
            pause_s = min(2 * pause_s, _LONGEST_WAIT_S)
        return True

    def release(self, key: str) -> None:
        """Gives the lock of a key back; any thread may.

        Args:
            key: Of `acquire`.
        """
        offset, file = _offset(key), self._file
        with file.guard:
            if offset in file.offsets:
                fcntl.lockf(file.descriptor, fcntl.LOCK_UN, 1, offset)
                file.offsets.discard(offset)

    def is_held(self, key: str) -> bool:
        """Whether this process has the lock: as long as it has not given it back.

        Args:
            key: Of `acquire`.
        """
        return _offset(key) in self._file.offsets

    def forget(self, key: str) -> None:
        """Nothing to do: a lock that was given back leaves nothing.

        Args:
            key: Of `release`.
        """

    def _try(self, offset: int) -> bool:
        file = self._file
        with file.guard:
            if offset in file.offsets:  # another thread; the kernel would let us in
                return False
            try:
                fcntl.lockf(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
            except (BlockingIOError, PermissionError):  # both stand for "somebody has it"
                return False
            except OSError as error:
                raise DataError(
                    f"{str(self.path)!r} cannot be locked: {error.strerror}. Put the workspace on "
                    "a local disk."
                ) from error
            file.offsets.add(offset)
            return True


def _opened(path: Path) -> _LockFile:
    with _OPENING:
        for identity, file in list(_FILES.items()):
            if not file.offsets and os.fstat(file.descriptor).st_nlink == 0:  # somebody deleted it
                os.close(_FILES.pop(identity).descriptor)
        try:
            found = path.stat()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _cannot_open(path, error) from error
        else:
            if (found.st_dev, found.st_ino) in _FILES:  # a second descriptor must not be closed
                return _FILES[found.st_dev, found.st_ino]
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _cannot_open(path, error) from error
        found = os.fstat(descriptor)
        return _FILES.setdefault((found.st_dev, found.st_ino), _LockFile(descriptor))


def _cannot_open(path: Path, error: OSError) -> DataError:
    return DataError(
        f"Lock file {str(path)!r} cannot be opened for writing: {error.strerror}. Check the "
        "permissions of the workspace, or choose another."
    )


def _offset(key: str) -> int:
    """The byte of a key; keys that share their first 60 bits wait for each other."""
    try:
        return int(key[:15], 16)
    except ValueError as error:
        raise ConfigError(f"Key {key!r} cannot be locked; it must be hex digits.") from error


# ---------------------------------------------------------------- object stores


@dataclass
class _Lease:
    token: int
    owner: str
    path: str
    beats: int = 0
    is_over: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock)

    def to_json(self, *, is_released: bool = False) -> bytes:
        host, process = socket.gethostname(), os.getpid()
        found = {"owner": self.owner, "host": host, "process": process, "beats": self.beats}
        return json.dumps({**found, "at": time.time(), "is_released": is_released}).encode()


class LeaseLocks(_Held):
    """Locks between machines that share an object store.

    A lease that is lost wastes work and spoils nothing: what is published is checked by its token.

    Args:
        file_system: Of `tadka.storage.resolve`; it must create a file only where there is none.
        folder: In the file system.
        seconds: After which a holder that gives no sign is taken for dead; it gives three in that
            time.

    Raises:
        ConfigError: The seconds are not positive.
    """

    def __init__(self, file_system: Any, folder: str, seconds: float = 30.0) -> None:
        if seconds <= 0:
            raise ConfigError(f"Leases of {seconds!r} seconds are none; give more than 0.")
        self.seconds = seconds
        self._file_system = file_system
        self._folder = folder.rstrip("/")
        self._forget()

    def __repr__(self) -> str:
        return f"LeaseLocks({self._folder!r}, seconds={self.seconds:g})"

    def __reduce__(self) -> tuple[Any, ...]:
        return LeaseLocks, (self._file_system, self._folder, self.seconds)

    def acquire(
        self, key: str, *, wait: bool = True, should_stop: Callable[[], bool] = _never
    ) -> bool:
        """Takes the lease of a key; it is not reentrant.

        Args:
            key: Of a result.
            wait: Whether to wait for who has it, or until that one is taken for dead.
            should_stop: Asked while waiting; True ends the wait.

        Returns:
            Whether it was taken.

        Raises:
            DataError: The store does not answer.
        """
        if self._process != os.getpid():  # a child of fork holds nothing
            self._forget()
        while not self._enter(key):
            if not wait or should_stop():
                return False
            time.sleep(_LONGEST_WAIT_S)
        try:
            lease = self._take(key, wait=wait, should_stop=should_stop)
        except BaseException:  # KeyboardInterrupt, too: other threads may try; it is raised on
            self._leave(key)
            raise
        if lease is None:
            self._leave(key)
            return False
        with self._guard:
            self._mine[key] = lease
            if self._stop is None:
                self._stop = threading.Event()
                beat = threading.Thread(target=self._beat, args=(self._stop,), daemon=True)
                beat.name = "tadka-lease"
                beat.start()
        return True

    def release(self, key: str) -> None:
        """Gives the lease of a key back; any thread may.

        Args:
            key: Of `acquire`.
        """
        lease = self._mine.get(key) if self._process == os.getpid() else None
        if lease is None:
            return
        with lease.guard:
            if not lease.is_over:
                lease.is_over = True
                # The file stays and keeps its number, so that no number is given twice. Where it
                # cannot be written, others wait until the lease is too old.
                with contextlib.suppress(DataError):
                    data = lease.to_json(is_released=True)
                    replace_file(self._file_system, lease.path, data)
        self._leave(key)

    def is_held(self, key: str) -> bool:
        """Whether the lease is still ours: asks the store.

        Args:
            key: Of `acquire`.

        Raises:
            DataError: The store does not answer.
        """
        lease = self._mine.get(key) if self._process == os.getpid() else None
        if lease is None or lease.is_over or self._highest(key) != lease.token:
            return False
        data = read_file(self._file_system, lease.path)
        return data is not None and _said(data).get("owner") == lease.owner

    def forget(self, key: str) -> None:
        """Removes the leases of a key that nobody takes again: its numbers begin anew.

        Args:
            key: Of `release`.
        """
        with contextlib.suppress(DataError):  # only tidiness
            for token in self._tokens(key):
                remove_file(self._file_system, self._path(key, token))

    def token(self, key: str) -> int | None:
        """The fencing token of a lease that this process has; None without one.

        Args:
            key: Of `acquire`.
        """
        lease = self._mine.get(key)
        return None if lease is None else lease.token

    # ------------------------------------------------------------ this process

    _stop: threading.Event | None

    def _forget(self) -> None:
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._mine: dict[str, _Lease | None] = {}  # None while it is being taken
        self._seen: dict[str, tuple[int, bytes | None, float]] = {}  # of others, since when
        self._stop = None

    def _enter(self, key: str) -> bool:
        """Whether this thread is the one of the process that may take the lease."""
        with self._guard:
            if key in self._mine:
                return False
            self._mine[key] = None
            return True

    def _leave(self, key: str) -> None:
        with self._guard:
            self._mine.pop(key, None)
            if not self._mine and self._stop is not None:
                self._stop.set()
                self._stop = None

    def _beat(self, stop: threading.Event) -> None:
        """Says of every lease of this process that its holder lives, until there are none."""
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            while not stop.wait(self.seconds / 3):
                with self._guard:
                    leases = [(key, lease) for key, lease in self._mine.items() if lease]
                list(pool.map(self._beat_one, leases))

    def _beat_one(self, item: tuple[str, _Lease]) -> None:
        key, lease = item
        # where the store does not answer now, it may next time; until then the lease ages
        with lease.guard, contextlib.suppress(DataError):
            if lease.is_over:
                return
            if self._highest(key) != lease.token:
                lease.is_over = True
                return
            lease.beats += 1
            replace_file(self._file_system, lease.path, lease.to_json())

    # ------------------------------------------------------------ the store

    def _take(self, key: str, *, wait: bool, should_stop: Callable[[], bool]) -> _Lease | None:
        pause_s = min(_LONGEST_WAIT_S, self.seconds / 20)
        while True:
            token = self._highest(key)
            data = read_file(self._file_system, self._path(key, token)) if token else None
            said = {} if data is None else _said(data)
            is_free = token == 0 or said.get("is_released", False)
            if is_free or self._is_too_old(key, token, data, said):
                lease = self._create(key, token + 1)
                if lease is not None:
                    self._seen.pop(key, None)
                    return lease
            if should_stop() or not (wait or is_free):
                return None
            if not is_free:
                time.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(2 * pause_s, self.seconds / 6, _LONGEST_PAUSE_S)

    def _is_too_old(self, key: str, token: int, data: bytes | None, said: dict[str, Any]) -> bool:
        """Whether the holder of a lease gave no sign for too long; tries before this one count."""
        now = time.monotonic()
        seen = self._seen.get(key)
        if seen is None or seen[:2] != (token, data):
            seen = self._seen[key] = token, data, now
        at = said.get("at", math.inf)
        is_old = isinstance(at, float) and time.time() - at >= self.seconds + _DIFFERENCE_S
        return is_old or now - seen[2] >= self.seconds

    def _create(self, key: str, token: int) -> _Lease | None:
        lease = _Lease(token, secrets.token_hex(8), self._path(key, token))
        if not create_file(self._file_system, lease.path, lease.to_json()):
            return None
        for older in self._tokens(key):
            if older < token:
                with contextlib.suppress(DataError):  # only tidiness
                    remove_file(self._file_system, self._path(key, older))
        return lease

    def _highest(self, key: str) -> int:
        return max(self._tokens(key), default=0)

    def _tokens(self, key: str) -> list[int]:
        names = names_in(self._file_system, f"{self._folder}/{key}")
        return [int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()]

    def _path(self, key: str, token: int) -> str:
        return f"{self._folder}/{key}/{token:08d}.json"


def _said(data: bytes) -> dict[str, Any]:
    """What a lease says; nothing where it is damaged, so that it ends when it is too old."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
