"""What a worker process does: it asks the build for jobs, one after the other.

Both sides send pickles. What the program that builds defines itself (a script, a notebook) is
pickled by name like everything else, and the worker asks for the definition when it comes to such
a name: so both sides mean the same class, also in pickles that a task reads or writes.
"""

import contextlib
import os
import pickle
import socket
import sys
import threading
import traceback
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from tadka.core.extra import require
from tadka.task.define.frozen import name_main
from tadka.task.engine.job import Failure, Job, Kind, Outcome
from tadka.task.engine.loading import loading
from tadka.task.engine.perform import perform
from tadka.task.settings import Settings, use
from tadka.task.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a worker has to know.

    Args:
        address: A socket of the build.
        number: Of the worker.
        store: Of inputs and outputs.
        settings: Of the build's process.
        main_name: What the build's program is called.
        log: A file for what the job prints that runs, as a process that is killed says no more.
    """

    address: Path
    number: int
    store: Store
    settings: Settings
    main_name: str
    log: Path


@dataclass(frozen=True, slots=True)
class Asked:
    """A worker wants the definition of a name of the build's program."""

    name: str


@dataclass(frozen=True, slots=True)
class Definition:
    """The answer.

    Args:
        pickle: By cloudpickle; None where there is none.
        reason: Why not.
    """

    pickle: bytes | None
    reason: str = ""


def serve(orders: Orders) -> None:
    """Runs jobs until the build closes the connection; the body of a worker process.

    Args:
        orders: Of the build.
    """
    connection = _connected(orders.address)
    main = _Main(connection)
    main.install()
    name_main(orders.main_name)
    use(orders.settings)
    connection.send_bytes(encode(orders.number))
    folder = Path.cwd()
    with orders.log.open("w", encoding="utf-8", errors="backslashreplace") as log:
        while True:
            try:
                number, data = pickle.loads(connection.recv_bytes())
            except EOFError:
                return
            os.chdir(folder)  # the job before may have gone elsewhere
            log.seek(0)
            log.truncate()
            with main:
                message = _answer(number, data, orders.store, log)
            connection.send_bytes(message)


def encode(value: object) -> bytes:
    """A pickle for the other side; what has no name that can be imported goes by value.

    Args:
        value: Any.

    Raises:
        Exception: Whatever the value's own pickling raises.
    """
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - whatever the object's own methods raise
        return bytes(require("cloudpickle").dumps(value, protocol=5))


def listening(address: Path) -> socket.socket:
    """A socket for `Orders.address`; only who may look into its folder can use it.

    Args:
        address: Of a file that does not exist.
    """
    with _Near(address) as short, contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(short)
        listener.listen()
        undo.pop_all()
    return listener


class _Near:
    """A path short enough for a socket, which takes no more than 107 bytes."""

    def __init__(self, address: Path) -> None:
        self._address = address

    def __enter__(self) -> str:
        self._descriptor = os.open(self._address.parent, os.O_PATH | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._descriptor}/{self._address.name}"

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)


def _connected(address: Path) -> Connection:
    end = socket.socket(socket.AF_UNIX)
    with _Near(address) as short:
        end.connect(short)
    return Connection(end.detach())


class _Main:
    """Stands for the build's program: gives `__main__` the names that something looks for.

    Only while a job runs: the connection is in use otherwise.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._is_open = False

    def install(self) -> None:
        """Takes the place of this process's own program, which is of no use to anybody."""
        module = ModuleType("__main__")
        vars(module)["__getattr__"] = self._get
        self._module = sys.modules["__main__"] = module

    def __enter__(self) -> None:
        self._is_open = True

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._is_open = False

    def _get(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        with self._lock:
            if name in vars(self._module):
                return vars(self._module)[name]
            found = self._ask(name)
            if found.pickle is None:
                raise AttributeError(f"module '__main__' has no attribute {name!r}{found.reason}")
        value = require("cloudpickle").loads(found.pickle)
        setattr(self._module, name, value)
        return value

    def _ask(self, name: str) -> Definition:
        if not self._is_open:
            return Definition(None)
        self._connection.send_bytes(encode(Asked(name)))
        answer = pickle.loads(self._connection.recv_bytes())
        assert isinstance(answer, Definition)
        return answer


def _answer(number: int, data: bytes, store: Store, log: TextIO) -> bytes:
    """The outcome of a job, as the build reads it."""
    try:
        with loading():
            job = pickle.loads(data)
        assert isinstance(job, Job)
    except Exception as error:  # noqa: BLE001 - it runs modules and methods of the user
        return encode(_failed(number, "A worker process cannot load the task", error))
    with _alone(job.key, store):
        outcome = perform(job, store, log=log)
    try:
        return encode(outcome)
    except Exception as error:  # noqa: BLE001 - the same
        store.discard(outcome.outputs)
        return encode(_failed(number, "What the task logged or needs cannot be pickled", error))


def _alone(key: str, store: Store) -> AbstractContextManager[object]:
    """One body at a time of a key.

    The lock of a result is its build's. When that is killed the kernel frees it a moment before it
    ends the workers, and another build may begin. So workers have a lock of their own for a body.
    """
    return nullcontext() if store.is_remote else store.locks.held(key[::-1])


def _failed(number: int, what: str, error: Exception) -> Outcome:
    kind: Kind = "out of memory" if isinstance(error, MemoryError) else "error"
    last = "".join(traceback.format_exception_only(error)).strip()
    text = "".join(traceback.format_exception(error))
    return Outcome(number, error=Failure(kind, f"{what}: {last}", text))
