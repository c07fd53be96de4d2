"""The request log on its way from a worker to the log writer: a ring of bytes in shared memory.

One producer, one consumer, and neither waits: where there is no room a row is dropped and counted.
The layout is that of engine/ring.h, through which the compiled loop puts its rows.
"""

import mmap
import os
import secrets
import struct
import threading
from typing import NamedTuple

from tadka.core.error import ConfigError, DataError

SERVED, SHADOW = 0, 1
"""Roles of a score: it was answered, or it was only computed."""

DEFAULT_CAPACITY = 8 << 20
MIN_CAPACITY, MAX_CAPACITY = 1 << 12, 1 << 30

_MAGIC = 0x31676E6972646174
_HEADER_BYTES = 4096
_HEAD = struct.Struct("<QQQ")  # magic, capacity, identity
_RECORD = struct.Struct("<II")  # size, kind
_ROW = struct.Struct("<IIqdIIHHB3x")
_IS_ROW, _IS_SKIP = 0x776F7201, 0x70696B02
_MAX_TEXT = 2**16 - 1
# Places of the counts, in words of 8 bytes from the start of the header.
_HEAD_AT, _TAIL_AT, _DAMAGED_AT, _LOST_AT, _WRITTEN_AT, _DROPPED_AT = 8, 16, 17, 18, 24, 25


class LogRow(NamedTuple):
    """One score of one request.

    Args:
        time_us: When it was answered, microseconds since 1970 in UTC.
        role: `SERVED` or `SHADOW`.
        version: Of the model.
        score: In [0, 1].
        model: Its name.
        request_id: The client's, or the server's own.
        message: The request as it came.
    """

    time_us: int
    role: int
    version: int
    score: float
    model: str
    request_id: str
    message: bytes


class Ring:
    """One ring: a worker puts rows, the log writer takes them.

    There may be one producer and one consumer at a time; several threads that put share a lock.

    Args:
        descriptor: Of the memory that `create` made; it may be closed afterwards.
        index: Which ring of that memory, from 0.

    Attributes:
        memory: What the compiled loop takes for a `td_ring`.
        identity: Random; tells this ring from those of other servers.

    Raises:
        DataError: The memory holds no such ring.
    """

    def __init__(self, descriptor: int, index: int = 0) -> None:
        total = os.fstat(descriptor).st_size
        _, capacity, _ = _HEAD.unpack(os.pread(descriptor, _HEAD.size, 0).ljust(_HEAD.size, b"\0"))
        stride = _HEADER_BYTES + capacity
        if not _is_capacity(capacity) or not 0 <= index < total // stride:
            raise DataError(f"The memory of {total} bytes holds no log ring {index}.")
        self.memory = memoryview(mmap.mmap(descriptor, stride, offset=index * stride))
        magic, own_capacity, identity = _HEAD.unpack_from(self.memory)
        if (magic, own_capacity) != (_MAGIC, capacity):
            raise DataError(f"The memory of {total} bytes holds no log ring {index}.")
        self._words = self.memory[:_HEADER_BYTES].cast("Q")
        self._fence_lock = threading.Lock()
        self.capacity = capacity
        self.identity = f"{identity:016x}"
        self._taken = self.tail

    @staticmethod
    def create(num_rings: int, capacity: int = DEFAULT_CAPACITY) -> int:
        """Memory with empty rings.

        Args:
            num_rings: One for each worker.
            capacity: Bytes of each, a power of two from 4 KiB to 1 GiB. A row longer than half of
                it is always dropped. Memory is taken as the ring is filled for the first time.

        Returns:
            A descriptor that the caller closes; children inherit it where told to.

        Raises:
            ConfigError: `capacity` is no such number.
        """
        if not _is_capacity(capacity):
            raise ConfigError(
                f"A log ring of {capacity} bytes was asked for; it must be a power of two from "
                f"{MIN_CAPACITY} to {MAX_CAPACITY}."
            )
        descriptor = os.memfd_create("tadka-log")
        stride = _HEADER_BYTES + capacity
        os.ftruncate(descriptor, stride * num_rings)
        for index in range(num_rings):
            head = _HEAD.pack(_MAGIC, capacity, secrets.randbits(64))
            os.pwrite(descriptor, head, stride * index)
        return descriptor

    @property
    def head(self) -> int:
        """Where the next row goes; positions only rise."""
        return self._words[_HEAD_AT]

    @property
    def tail(self) -> int:
        """Where the first row begins that is not safe yet."""
        return self._words[_TAIL_AT]

    @property
    def taken(self) -> int:
        """Where the first row begins that this consumer has not taken."""
        return self._taken

    @property
    def written(self) -> int:
        """Rows that were put."""
        return self._words[_WRITTEN_AT]

    @property
    def dropped(self) -> int:
        """Rows for which there was no room."""
        return self._words[_DROPPED_AT]

    @property
    def damaged(self) -> int:
        """Times that the consumer met nonsense, and went on behind it."""
        return self._words[_DAMAGED_AT]

    @property
    def lost(self) -> int:
        """Rows that the consumer took and could not write."""
        return self._words[_LOST_AT]

    # ------------------------------------------------------------ the producer

    def put(
        self,
        time_us: int,
        role: int,
        version: int,
        score: float,
        model: str,
        request_id: str,
        message: bytes,
    ) -> bool:
        """Appends a row; see `LogRow`.

        Returns:
            Whether there was room; where not, the row is dropped and counted.
        """
        name, sender = model.encode(), request_id.encode()
        size = _aligned(_ROW.size + len(name) + len(sender) + len(message))
        head = _aligned(self.head)
        at = head & (self.capacity - 1)
        to_end = self.capacity - at
        skip = to_end if size > to_end else 0
        free = self.capacity - (head - self.tail)
        # A row of half the ring always fits an empty one, wherever it begins.
        is_short = size <= self.capacity // 2 and max(len(name), len(sender)) <= _MAX_TEXT
        if not is_short or free > self.capacity or size + skip > free:
            self._words[_DROPPED_AT] += 1
            return False
        if skip:
            _RECORD.pack_into(self.memory, _HEADER_BYTES + at, skip, _IS_SKIP)
            at = 0
        start = _HEADER_BYTES + at
        sizes = (len(message), len(name), len(sender))
        _ROW.pack_into(self.memory, start, size, _IS_ROW, time_us, score, version, *sizes, role)
        body = b"".join((name, sender, message))
        self.memory[start + _ROW.size : start + _ROW.size + len(body)] = body
        self._words[_WRITTEN_AT] += 1
        self._fence()
        self._words[_HEAD_AT] = head + skip + size
        return True

    # ------------------------------------------------------------ the consumer

    def take(self, max_rows: int) -> list[LogRow]:
        """The next rows, in the order they were put.

        They stay in the ring until `commit`: a consumer that starts anew gets them again.

        Args:
            max_rows: Take no more than these.

        Returns:
            Empty where there are none. Nonsense in the memory is counted, and what lies before
            `head` is given up.
        """
        head = self.head
        self._fence()
        rows: list[LogRow] = []
        while self._taken != head and len(rows) < max_rows:
            at = self._taken & (self.capacity - 1)
            left = min(head - self._taken, self.capacity - at)
            if head - self._taken > self.capacity or left < _RECORD.size or at % 8:
                return self._give_up(head, rows)
            size, kind = _RECORD.unpack_from(self.memory, _HEADER_BYTES + at)
            if size % 8 or not _RECORD.size <= size <= left:
                return self._give_up(head, rows)
            if kind == _IS_ROW:
                row = self._row(at, size)
                if row is None:
                    return self._give_up(head, rows)
                rows.append(row)
            elif kind != _IS_SKIP:
                return self._give_up(head, rows)
            self._taken += size
        return rows

    def commit(self, position: int | None = None) -> None:
        """Makes room of what was taken, which is safe now.

        Args:
            position: Skips to here first, where another consumer made rows safe and died before it
                could say so. A position that cannot be is ignored.
        """
        if position is not None and self._taken <= position <= self.head:
            self._taken = position
        self._fence()
        self._words[_TAIL_AT] = self._taken

    def lose(self, num_rows: int) -> None:
        """Counts rows that were taken and could not be written."""
        self._words[_LOST_AT] += num_rows

    def _row(self, at: int, size: int) -> LogRow | None:
        if size < _ROW.size:
            return None
        memory, start = self.memory, _HEADER_BYTES + at
        _, _, time_us, score, version, *sizes, role = _ROW.unpack_from(memory, start)
        message_size, model_size, id_size = sizes
        if _ROW.size + model_size + id_size + message_size > size:
            return None
        start += _ROW.size
        model = str(memory[start : start + model_size], errors="replace")
        start += model_size
        request_id = str(memory[start : start + id_size], errors="replace")
        start += id_size
        message = bytes(memory[start : start + message_size])
        return LogRow(time_us, role, version, score, model, request_id, message)

    def _give_up(self, head: int, rows: list[LogRow]) -> list[LogRow]:
        self._taken = head
        self._words[_DAMAGED_AT] += 1
        return rows

    def _fence(self) -> None:
        # A lock is the only barrier that Python has: what was read or written before stays before.
        # Twice, as what follows may move up into the first. (Words of the header are one store.)
        for _ in range(2):
            with self._fence_lock:
                pass


def _is_capacity(capacity: int) -> bool:
    return MIN_CAPACITY <= capacity <= MAX_CAPACITY and capacity & (capacity - 1) == 0


def _aligned(size: int) -> int:
    return (size + 7) & ~7
