"""From key to row: a hash table with open addressing, in a file that processes share.

A slot holds a row number and no key: keys stand in the log of the vocabulary, where row r has its
key at place r. So a key costs 4 bytes over the load (8 to 16 bytes) beside the log's 8. Row 0 is
"unseen", so 0 is an empty slot and a file of zeros an empty table.

The file can be made from the log at any time; it never decides what is in the vocabulary. Whoever
changes it in place writes into its head, first and durably, on which start of the machine that
happened, and removes that mark at the commit. A mark of this start is a writer that works or was
killed: what it had committed is there, because memory of a mapped file survives its process. A mark
of another start is a power failure: the table is made anew.

Letters of shapes: N keys of a call.
"""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.models.kernel.backend import kernels
from tadka.models.kernel.reference import first_slots
from tadka.models.table.text import Keys

_HEAD = 1024  # words of the head: one page
_MAGIC, _BITS, _MARK = 0x71646B74, 1, 4  # places of the head; the mark has 4 words
_MIN_BITS = 10
_CHUNK_ROWS = 1 << 18

_Slots = npt.NDArray[np.uint32]


class RowIndex:
    """Open addressing over the keys of a log, at most half full.

    Args:
        words: Head and slots, a mapped file or an array.
    """

    def __init__(self, words: _Slots) -> None:
        self._words = words
        self._slots: _Slots = words[_HEAD:].view(np.ndarray)  # memmap's own indexing is slower
        self._bits = int(words[_BITS])

    @property
    def capacity(self) -> int:
        """How many rows it takes, row 0 included, before it must be made anew."""
        return len(self._slots) // 2

    @classmethod
    def open(cls, path: Path, *, write: bool) -> "RowIndex | None":
        """The table of a file, or None where it must be made anew.

        Args:
            path: The file.
            write: Whether rows will be added. A writer takes no table that another left marked.
        """
        try:
            words = np.memmap(path, np.uint32, "r+" if write else "r")
        except (FileNotFoundError, ValueError):  # ValueError: an empty file
            return None
        if len(words) <= _HEAD or words[0] != _MAGIC or len(words) != _HEAD + (1 << words[_BITS]):
            return None
        mark = words[_MARK : _MARK + 4]
        if mark.any() and (write or not np.array_equal(mark, _this_start())):
            return None
        return cls(words)

    @classmethod
    def build(cls, keys: Keys, size: int, path: Path | None = None, room: int = 0) -> "RowIndex":
        """A table of the rows 1 to `size` - 1.

        Args:
            keys: The log; key of row r at place r.
            size: Number of rows, row 0 included.
            path: File that it takes the place of, marked; None: in memory.
            room: Rows that must fit in all.

        Raises:
            DataError: The disk is full.
        """
        bits = max(_MIN_BITS, (2 * max(size, room) - 1).bit_length())
        aside = None if path is None else path.with_suffix(".new")
        if aside is None:
            words: _Slots = np.zeros(_HEAD + (1 << bits), np.uint32)
        else:
            aside.unlink(missing_ok=True)
            _reserve(aside, 4 * (_HEAD + (1 << bits)))
            words = np.memmap(aside, np.uint32, "r+")
        words[0], words[_BITS] = _MAGIC, bits
        words[_MARK : _MARK + 4] = _this_start()  # on the page of the magic word: seen with it
        index = cls(words)
        for start in range(1, size, _CHUNK_ROWS):
            rows = np.arange(start, min(start + _CHUNK_ROWS, size), dtype=np.uint32)
            index._place(keys[start : start + len(rows)], rows)
        if aside is not None and path is not None:
            aside.replace(path)
        return index

    def mark(self) -> None:
        """Says durably that the table is being changed."""
        self._words[_MARK : _MARK + 4] = _this_start()
        self._flush()

    def unmark(self) -> None:
        """Makes the changes durable, then takes the mark away."""
        self._flush()
        self._words[_MARK : _MARK + 4] = 0  # not waited for: a mark too many costs a rebuild

    def find(self, keys_N: Keys, log: Keys, size: int) -> Keys:
        """Rows of keys, 0 where a key has none below `size`.

        Args:
            keys_N: Keys, shape (N,).
            log: Key of row r at place r, at least `size` of them.
            size: Rows from here on do not count: they are not committed, or not of this view.
        """
        rows_N = np.empty(len(keys_N), np.int64)
        keys_N = np.ascontiguousarray(keys_N)
        for start in range(0, len(keys_N), _CHUNK_ROWS):
            piece = slice(start, start + _CHUNK_ROWS)
            kernels().find(keys_N[piece], self._slots, log, size, rows_N[piece])
        return rows_N

    def add(self, keys_N: Keys, size: int) -> tuple[Keys, npt.NDArray[np.bool_]]:
        """Gives rows from `size` on to keys that have none, in order of first appearance.

        Args:
            keys_N: Keys that `find` does not know; they may repeat. Shape (N,).
            size: First new row. `size` + N must not exceed `capacity`.

        Returns:
            Row of each key, and whether it is the first appearance of its key.
        """
        # Each key claims an empty slot with the row that it would have if none repeated. Equal keys
        # walk the same slots in step, and of those that claim a slot at once the first one wins: so
        # what a key meets in the end is the first appearance of itself.
        count = len(keys_N)
        claims_N = np.arange(size, size + count, dtype=np.uint32)
        slots_N = self._home(keys_N)
        owners_N = np.zeros(count, np.int64)
        left = np.arange(count)
        last = len(self._slots) - 1
        while left.size:
            slots = slots_N[left]
            free = self._slots[slots] == 0
            # of a slot named several times the last assignment stays: backwards, the first one
            self._slots[slots[free][::-1]] = claims_N[left[free][::-1]]
            met = self._slots[slots].astype(np.int64) - size
            is_same = met >= 0
            is_same &= keys_N.take(met, mode="clip") == keys_N[left]
            owners_N[left[is_same]] = met[is_same]
            left = left[~is_same]
            slots_N[left] = (slots_N[left] + 1) & last
        is_first_N = owners_N == np.arange(count)
        rows_N = size - 1 + np.cumsum(is_first_N)
        self._slots[slots_N[is_first_N]] = rows_N[is_first_N]
        return rows_N[owners_N], is_first_N

    def _place(self, keys_N: Keys, rows_N: _Slots) -> None:
        """Puts rows of keys that differ and are not there."""
        slots_N = self._home(keys_N)
        last = len(self._slots) - 1
        while rows_N.size:
            free = self._slots[slots_N] == 0
            self._slots[slots_N[free]] = rows_N[free]
            is_left = self._slots[slots_N] != rows_N
            slots_N, rows_N = (slots_N[is_left] + 1) & last, rows_N[is_left]

    def _home(self, keys_N: Keys) -> Keys:
        return first_slots(np.ascontiguousarray(keys_N), self._bits)

    def _flush(self) -> None:
        if isinstance(self._words, np.memmap):
            self._words.flush()


def _reserve(path: Path, num_bytes: int) -> None:
    """A file of zeros with space on the disk: where it ran out later, a mapped write would kill."""
    try:
        with path.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise DataError(
            f"Index {str(path)!r} of {num_bytes:,} bytes cannot be written: {error.strerror}. Free "
            "some space, or choose another folder; what was committed before is whole."
        ) from error


def _this_start() -> _Slots:
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return np.frombuffer(bytes.fromhex(text.strip().replace("-", "")), np.uint32)
