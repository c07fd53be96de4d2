"""What a task prints and logs, as text; the end of it where it is long."""

import contextlib
import io
import logging
import sys
from types import TracebackType
from typing import Any, Self, TextIO

MOST_CHARACTERS = 64 * 1024
"""That are kept of one task."""


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

    Args:
        is_shown: Whether they also go where they would without it.
        copy: A file for them, too, as of `Tail`.
    """

    def __init__(self, *, is_shown: bool, copy: TextIO | None = None) -> None:
        self.is_shown = is_shown
        self._tail = Tail(copy)

    def __str__(self) -> str:
        return str(self._tail)

    def __enter__(self) -> Self:
        self._before = sys.stdout, sys.stderr, _handler.capture
        self.errors = sys.stderr
        sys.stdout = _File(self._tail, sys.stdout, is_shown=self.is_shown)
        sys.stderr = _File(self._tail, sys.stderr, is_shown=self.is_shown)
        _handler.capture = self
        if self._before[2] is None:
            logging.root.addHandler(_handler)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.stdout, sys.stderr, _handler.capture = self._before
        if _handler.capture is None:
            logging.root.removeHandler(_handler)

    def add(self, text: str) -> None:
        """Keeps text that is shown already.

        Args:
            text: Any.
        """
        self._tail.add(text)


class _File(io.TextIOBase):
    """Stands for standard output or errors."""

    def __init__(self, tail: Tail, real: Any, *, is_shown: bool) -> None:
        self._tail = tail
        self._real = real
        self._is_shown = is_shown and real is not None

    def write(self, text: str) -> int:
        self._tail.add(text)
        if self._is_shown:
            self._real.write(text)
        return len(text)

    def flush(self) -> None:
        if self._is_shown:
            self._real.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return bool(self._is_shown and self._real.isatty())

    def fileno(self) -> int:
        """Of the real file: what other programs write there is not kept."""
        return int(self._real.fileno())

    @property
    def buffer(self) -> Any:
        """Of the real file: bytes are not kept."""
        return self._real.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._real, "encoding", None) or "utf-8"


class _Handler(logging.Handler):
    """Gives log records to the block that is open."""

    capture: Capture | None = None

    def emit(self, record: logging.LogRecord) -> None:
        capture = self.capture
        if capture is None:
            return
        try:
            text = f"{self.format(record)}\n"
        except Exception:  # noqa: BLE001 - a broken record is reported, as all handlers do it
            self.handleError(record)
            return
        capture.add(text)
        # Python shows warnings where nobody listens; because of this handler somebody does
        is_alone = not any(one is not self for one in logging.root.handlers)
        if capture.is_shown and is_alone and record.levelno >= logging.WARNING and capture.errors:
            capture.errors.write(text)


_handler = _Handler()
_handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
