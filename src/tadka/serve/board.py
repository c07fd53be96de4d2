"""Counters of all workers in shared memory: each worker writes its own slot, anybody reads all.

The layout is that of engine/board.h; the loop checks that the two agree.
"""

import mmap
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

NUM_ARMS, NUM_SPANS, NUM_SCORES, NUM_STATUSES = 32, 28, 20, 17
DOORS = ("grpc", "http", "oip")

_U64 = np.uint64
TRANSPORT = (
    "opened",
    "closed",
    "bytes_in",
    "bytes_out",
    "requests",
    "refused_size",
    "refused_queue",
    "malformed",
    "resets",
    "floods",
    "idle",
    "slow",
)
ARM = np.dtype(
    [
        ("model", "S48"),
        ("version", np.uint32),
        ("last_used", np.uint32),
        ("served", _U64),
        ("shadowed", _U64),
        ("failed", _U64),
        ("score_sum", np.float64),
        ("scores", _U64, (NUM_SCORES,)),
        ("busy_ns", _U64),
        ("spans", _U64, (NUM_SPANS,)),
    ],
    align=True,
)
WORKER = np.dtype(
    [
        *((name, _U64) for name in TRANSPORT),
        ("pid", np.int64),
        ("generation", _U64),
        ("swaps", _U64),
        ("busy_ns", _U64),
        ("wakes", _U64),
        ("shed", _U64),
        ("shadow_dropped", _U64),
        ("log_written", _U64),
        ("log_dropped", _U64),
        ("log_lost", _U64),
        ("answers", _U64, (len(DOORS), NUM_STATUSES)),
        ("span_ns", _U64),
        ("spans", _U64, (NUM_SPANS,)),
        ("arms", ARM, (NUM_ARMS,)),
    ],
    align=True,
)


def span_limits_s() -> list[float]:
    """Upper ends of the spans in seconds; the last span has none.

    Returns:
        `NUM_SPANS - 1` increasing numbers.
    """
    return [2.0**bits * 1e-6 for bits in range(NUM_SPANS - 1)]


class Board:
    """The slots of all workers.

    Args:
        descriptor: Of the memory, which other processes map too; None makes private memory.
        num_workers: W.

    Attributes:
        workers: The slots, shape (W,), of type `WORKER`; they change while they are read.
    """

    def __init__(self, num_workers: int, descriptor: int | None = None) -> None:
        size = WORKER.itemsize * num_workers
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, size)
        self._counts: dict[int, Counts] = {}
        self.workers: npt.NDArray[Any] = np.frombuffer(self._memory, WORKER, num_workers)

    @staticmethod
    def create(num_workers: int) -> int:
        """Memory for a board, all zero.

        Returns:
            A descriptor that the caller closes; children inherit it where told to.
        """
        descriptor = os.memfd_create("tadka-board")
        os.ftruncate(descriptor, WORKER.itemsize * num_workers)
        return descriptor

    def counts(self, worker: int) -> "Counts":
        """What one worker counts; the same object each time, for its lock."""
        if worker not in self._counts:
            self._counts[worker] = Counts(self.workers[worker])
        return self._counts[worker]


class Counts:
    """The slot of one worker, for its writer; `tadka.serve.tally` and the loop count in it.

    Args:
        slot: Of a board; shared with readers.
    """

    def __init__(self, slot: Any) -> None:
        self.slot = slot
        # Of the thread that loads new versions, and the one that answers.
        self._lock = threading.Lock()

    def arm(self, model: str, version: int) -> Any:
        """The slot of one version of one model, cleared where it was another's.

        Args:
            model: Its name.
            version: From 1.

        Returns:
            A record of type `ARM`, to be changed in place.
        """
        return self.slot["arms"][self.arm_index(model, version)]

    def arm_index(self, model: str, version: int) -> int:
        """Where `arm` lies among the worker's slots."""
        with self._lock:
            return self._find(model, version)

    def _find(self, model: str, version: int) -> int:
        arms = self.slot["arms"]
        name = model.encode()
        newest = int(arms["last_used"].max())
        for index in range(NUM_ARMS):
            if arms[index]["model"] == name and arms[index]["version"] == version:
                arms[index]["last_used"] = newest + 1
                return index
        place = int(arms["last_used"].argmin())
        free = arms[place]
        free["model"] = b""  # a reader that looks now sees an unused slot
        for count in ("served", "shadowed", "failed", "score_sum", "scores", "busy_ns", "spans"):
            free[count] = 0
        free["version"] = version
        free["last_used"] = newest + 1
        free["model"] = name
        return place


def span_of(span_ns: int) -> int:
    """Index of the span a time falls in: the number of bits of its microseconds."""
    return min((max(span_ns, 0) // 1000).bit_length(), NUM_SPANS - 1)
