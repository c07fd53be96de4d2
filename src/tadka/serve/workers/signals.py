"""Signals as something to wait for beside other descriptors.

A handler in Python runs in the main thread only, and the kernel may give a signal to any other, so
that a main thread that waits for a lock sleeps on. A byte in a socket wakes it wherever it came.
"""

import contextlib
import signal
import socket
from types import TracebackType
from typing import Self


class Signals:
    """Catches signals for the length of a `with` block, in the main thread.

    Args:
        numbers: Which.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        self._numbers = numbers
        self._mine, self._theirs = socket.socketpair()
        for end in (self._mine, self._theirs):
            end.setblocking(False)

    def fileno(self) -> int:
        """A descriptor that is readable when a signal has come."""
        return self._mine.fileno()

    def take(self) -> list[int]:
        """Those that came since the last call."""
        with contextlib.suppress(BlockingIOError):
            return [number for number in self._mine.recv(4096) if number in self._numbers]
        return []

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, _ignore) for number in self._numbers}
        self._before = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._before)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._mine.close()
        self._theirs.close()


def _ignore(*_: object) -> None:
    """The byte in the socket is what counts."""
