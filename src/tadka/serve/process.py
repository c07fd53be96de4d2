"""A child process of a server, and the socket over which the two talk.

Children are started afresh, never forked with state: threads of torch or OpenMP in the parent must
not hurt them. A message is one byte that says what, and what belongs to it.
"""

import contextlib
import ctypes
import errno
import faulthandler
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import cloudpickle

import tadka.core.error as errors
from tadka.core.error import LaunchError, TadkaError

# From the parent.
CONNECTIONS, DRAIN = b"c", b"d"
# From the child. It leaves when it was asked to end by somebody else: SIGTERM.
READY, FAILED, LEAVES = b"r", b"e", b"t"

FAILURE_STATUS = 2
"""Exit status of a child that could not begin; it has said why."""

# For `python -c`, as only the parent's sys.path is sure to lead to this tadka. The name of the
# process stands behind it for those who look at the list of processes.
_BOOTSTRAP = (
    "import importlib, json, os, sys; order = os.fdopen(int(sys.argv[1]), 'rb'); "
    "head = json.loads(order.readline()); sys.path[:] = head['sys_path']; "
    "importlib.import_module(head['entry']).main(head, order)"
)
# One worker for each core: what computes in it must not take them all again.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_MESSAGE_BYTES = 1 << 16
_PR_SET_NAME = 15


@dataclass(frozen=True)
class End:
    """How a process ended.

    Args:
        status: Exit status; negative for a signal.
        failure: What it said before it ended, or None.
    """

    status: int
    failure: TadkaError | None

    def __str__(self) -> str:
        if self.failure is not None:
            return str(self.failure)
        if self.status < 0:
            return f"ended by signal {_signal_name(-self.status)}"
        return f"ended with exit status {self.status}"


class Process:
    """A child that runs `main(head, order)` of a module.

    It should be made by a thread that outlives it: the kernel ends it with that thread.

    Args:
        name: For messages and the list of processes.
        entry: Dotted name of the module.
        order: Pickled for the child, which reads it from the open file `order`.
        descriptors: Kept open in the child under the same numbers.

    Raises:
        LaunchError: It cannot be started, also for want of descriptors or memory here, or the order
            cannot be pickled. Nothing of it is left.
    """

    def __init__(
        self, name: str, entry: str, order: object, descriptors: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.failure: TadkaError | None = None
        try:
            self._start(entry, order, descriptors)
        except OSError as error:
            hint = " Raise the limit of open files: ulimit -n."
            raise LaunchError(
                f"{name} cannot be started: {error.strerror or error}."
                f"{hint if error.errno == errno.EMFILE else ''}"
            ) from error

    def _start(self, entry: str, order: object, descriptors: Sequence[int]) -> None:
        with contextlib.ExitStack() as done, contextlib.ExitStack() as undo:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            done.callback(theirs.close)
            undo.callback(mine.close)
            mine.setblocking(False)
            head = {
                "name": self.name,
                "entry": entry,
                "sys_path": [path for path in sys.path if isinstance(path, str)],
                "parent_pid": os.getpid(),
                "control": theirs.fileno(),
            }
            file = os.memfd_create("tadka-order")
            done.callback(os.close, file)
            try:
                pickled = cloudpickle.dumps(order)
            except Exception as error:  # of the user's objects, any kind
                raise LaunchError(f"{self.name} cannot be started: {error}.") from error
            with open(os.dup(file), "wb") as out:  # noqa: PTH123 - a descriptor
                out.write(json.dumps(head).encode() + b"\n" + pickled)
            os.lseek(file, 0, os.SEEK_SET)
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, str(file), self.name],
                stdin=subprocess.DEVNULL,
                env=dict.fromkeys(_THREADS, "1") | os.environ,
                pass_fds=(file, theirs.fileno(), *descriptors),
            )
            undo.callback(self._popen.wait)  # after the next: callbacks run from last to first
            undo.callback(self._popen.kill)
            self.control = mine
            self.pid = self._popen.pid
            self.pidfd = os.pidfd_open(self.pid)
            undo.pop_all()

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> bool:
        """Whether the child will get it; it does not when it ended, or does not listen."""
        try:
            socket.send_fds(self.control, [message], list(descriptors))
        except OSError:
            return False
        return True

    def receive(self) -> bytes | None:
        """What the child said, b"" where it will say no more, None for nothing at present.

        Why it failed is kept as `failure`.
        """
        try:
            message: bytes = self.control.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if message[:1] == FAILED:
            self.failure = read_failure(message)
        return message

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> End:
        """Waits for the end, which must be near, and forgets the process."""
        status = self._popen.wait()
        while self.receive():  # what it said last
            pass
        os.close(self.pidfd)
        self.control.close()
        return End(status, self.failure)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have none
        return str(number)


def begin(head: Mapping[str, Any]) -> socket.socket:
    """What a child does first.

    Args:
        head: As its `main` gets it.

    Returns:
        The child's end of the socket to the parent.
    """
    # The terminal sends it to all; the parent tells us what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, head["name"].encode()[:15])
    if sys.stderr is not None:
        faulthandler.enable()
    os.set_inheritable(head["control"], False)  # what models start is no business of the parent's
    return socket.socket(fileno=head["control"])


def failure_message(error: TadkaError) -> bytes:
    """What a child sends when it cannot begin."""
    text = json.dumps({"kind": type(error).__name__, "text": str(error)})
    return FAILED + text.encode()[: _MESSAGE_BYTES - 1]


def read_failure(message: bytes) -> TadkaError:
    """The error of a `failure_message`."""
    try:
        told: Mapping[str, Any] = json.loads(message[1:])
    except ValueError:  # cut
        told = {"kind": "", "text": message[1:].decode(errors="replace")}
    kind = getattr(errors, told["kind"], LaunchError)
    made: TadkaError = kind(told["text"])
    return made


def read_order(order: BinaryIO) -> Any:
    """What the parent gave `Process` as order."""
    return cloudpickle.load(order)
