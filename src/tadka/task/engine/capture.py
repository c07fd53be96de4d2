"""What a task prints and logs, as text; the end of it where it is long."""

import contextlib
import io
import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any, Self, TextIO

MOST_CHARACTERS = 64 * 1024
"""That are kept of one task."""

_guard = threading.Lock()
"""Of who opens and closes blocks; writing needs it not."""


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()  # a thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


class Tail:
    """The end of a text that is written bit by bit.

    Args:
        copy: A file that holds the same at any time, for when this process is killed.
    """

    def __init__(self, copy: TextIO | None = None) -> None:
        self._copy = copy
        self._parts: list[str] = []
        self._length = 0
        self._is_cut = False

    def add(self, text: str) -> None:
        """Takes more text.

        Args:
            text: Any.
        """
        self._parts.append(text)
        self._length += len(text)
        self._write(text)
        if self._length > 2 * MOST_CHARACTERS:
            self._cut()

    def __str__(self) -> str:
        if self._length > MOST_CHARACTERS:
            self._cut()
        text = "".join(self._parts)
        return f"[the beginning was left out]\n{text}" if self._is_cut else text

    def _cut(self) -> None:
        kept = "".join(self._parts)[-MOST_CHARACTERS:]
        self._parts, self._length, self._is_cut = [kept], len(kept), True
        if self._copy is not None:
            self._copy.seek(0)
            self._copy.truncate()
            self._write(kept)

    def _write(self, text: str) -> None:
        if self._copy is not None:
            with contextlib.suppress(OSError):  # a full disk
                self._copy.write(text)
                self._copy.flush()


class Capture:
    """A block whose standard output, errors and log records are kept; what C code prints is not.

    Several threads may have one each: one object stands for standard output as long as any does,
    and gives what is printed to the block of the thread that prints.

    Args:
        is_shown: Whether they also go where they would without it.
        copy: A file for them, too, as of `Tail`.
    """

    def __init__(self, *, is_shown: bool, copy: TextIO | None = None) -> None:
        self.is_shown = is_shown
        self.thread = 0
        self._tail = Tail(copy)

    def __str__(self) -> str:
        return str(self._tail)

    def __enter__(self) -> Self:
        self.thread = threading.get_ident()
        with _guard:
            self._streams = [_stream(name) for name in ("stdout", "stderr")]
            for place in self._places():
                place.captures = *place.captures, self
            if len(_handler.captures) == 1:
                logging.root.addHandler(_handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _guard:
            for place in self._places():
                place.captures = tuple([one for one in place.captures if one is not self])
            for stream in self._streams:
                if not stream.captures:
                    setattr(sys, stream.name, stream.real)
            if not _handler.captures:
                logging.root.removeHandler(_handler)

    def _places(self) -> list["_Stream | _Handler"]:
        return [*self._streams, _handler]

    def add(self, text: str) -> None:
        """Keeps text that is shown already.

        Args:
            text: Any.
        """
        self._tail.add(text)


def _of_thread(captures: tuple[Capture, ...]) -> list[Capture]:
    """The open blocks of this thread, the innermost first.

    Of a thread that has none, as a body may begin one, the blocks of who opened the last.
    """
    thread = threading.get_ident()
    found = [one for one in reversed(captures) if one.thread == thread]
    return found or [one for one in reversed(captures) if one.thread == captures[-1].thread]


class _Stream(io.TextIOBase):
    """Stands for standard output or errors while blocks are open, of one or more threads."""

    def __init__(self, name: str, real: Any) -> None:
        self.name = name
        self.real = real
        self.captures: tuple[Capture, ...] = ()

    @property
    def _is_shown(self) -> bool:
        return self.real is not None and all(one.is_shown for one in _of_thread(self.captures))

    def write(self, text: str) -> int:
        for capture in _of_thread(self.captures):
            capture.add(text)
            if not capture.is_shown:
                return len(text)
        if self.real is not None:
            self.real.write(text)
        return len(text)

    def flush(self) -> None:
        if self._is_shown:
            self.real.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._is_shown and self.real.isatty())

    def fileno(self) -> int:
        """Of the real file: what other programs write there is not kept."""
        return int(self.real.fileno())

    @property
    def buffer(self) -> Any:
        """Of the real file: bytes are not kept."""
        return self.real.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.real, "encoding", None) or "utf-8"


def _stream(name: str) -> _Stream:
    """What stands for a file of `sys`; the same for all blocks, unless somebody replaced it."""
    found = getattr(sys, name)
    if not isinstance(found, _Stream):
        found = _Stream(name, found)
        setattr(sys, name, found)
    return found


class _Handler(logging.Handler):
    """Gives log records to the blocks that are open."""

    captures: tuple[Capture, ...] = ()

    def emit(self, record: logging.LogRecord) -> None:
        captures = _of_thread(self.captures)
        if not captures:
            return
        try:
            text = f"{self.format(record)}\n"
        except Exception:  # noqa: BLE001 - a broken record is reported, as all handlers do it
            self.handleError(record)
            return
        for capture in captures:
            capture.add(text)
            if not capture.is_shown:
                return
        # Python shows warnings where nobody listens; because of this handler somebody does
        is_alone = not any(one is not self for one in logging.root.handlers)
        errors = sys.stderr.real if isinstance(sys.stderr, _Stream) else sys.stderr
        if is_alone and record.levelno >= logging.WARNING and errors is not None:
            errors.write(text)


_handler = _Handler()
_handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
