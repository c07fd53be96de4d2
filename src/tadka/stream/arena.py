"""Shared memory for batches on one host, which no crash can leave behind.

The coordinator makes one anonymous memory file (memfd) per producer and keeps it open; producer
and consumers map it through ``/proc/PID/fd/N``. It has no name in ``/dev/shm`` and is not bounded
by that mount's size; pages exist once touched. What a producer has announced stays readable
after its death, because the file belongs to the coordinator, and the kernel frees it all when
the coordinator ends, however it ends.
"""

import mmap
import os
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

_PAGE_BYTES = 4096


class Arena:
    """The coordinator's hold on one producer's memory.

    Args:
        size_bytes: Most bytes of batches in it at a time.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES
        self._descriptor = os.memfd_create("tadka-batches", os.MFD_CLOEXEC)
        os.ftruncate(self._descriptor, self.size_bytes)
        self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"

    def close(self) -> None:
        """Let go; the memory is freed when the last process has unmapped it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def map_arena(path: str) -> mmap.mmap:
    """Map the memory of a producer.

    Raises:
        OSError: The file cannot be opened, e.g. because the coordinator is gone.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)


class Allocator:
    """Places batches in a mapped arena.

    Freed places are used again last in, first out, so that a producer and a consumer of equal
    speed stay in a few cache-warm places however large the arena is.
    """

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self._size_bytes = len(memory)
        self._end = 0
        self._places: dict[int, int] = {}  # offset -> bytes, of every place ever cut
        self._free: list[int] = []

    def allocate(self, size_bytes: int) -> int | None:
        """Offset of a place of at least `size_bytes`; None when there is no room now."""
        places, free = self._places, self._free
        for index in range(len(free) - 1, -1, -1):
            # A much larger place is kept for the large batch that will come again.
            if size_bytes <= places[free[index]] <= 4 * size_bytes + _PAGE_BYTES:
                return free.pop(index)
        if len(free) == len(places):  # nothing is in use: cut anew
            places.clear()
            free.clear()
            self._end = 0
        room_bytes = -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES
        if self._end + room_bytes > self._size_bytes:
            return None
        offset = self._end
        self._end += room_bytes
        places[offset] = room_bytes
        return offset

    def free(self, offset: int) -> None:
        """Give a place back."""
        self._free.append(offset)


class Lifetimes:
    """Tells when the last array that looks into a batch's memory is gone.

    A batch's columns alias memory that the producer will write again. The memory is given back
    only after the garbage collector has seen the last alias go, so keeping a batch, or a torch
    tensor made from it, is always safe.
    """

    def __init__(self, on_gone: Callable[[Any], None]) -> None:
        self._on_gone = on_gone
        self._watched: dict[int, weakref.ref[np.ndarray[Any, Any]]] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, memory: np.ndarray[Any, Any], ticket: Any) -> None:
        """Call ``on_gone(ticket)`` when `memory` and everything made from it is gone."""
        key = id(memory)
        watched, on_gone = self._watched, self._on_gone

        def gone(_: object) -> None:
            del watched[key]
            on_gone(ticket)

        watched[key] = weakref.ref(memory, gone)
