"""The workers of a server, and who of them gets the next connection."""

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tadka.serve.board import Board
from tadka.serve.process import CONNECTIONS, End, Process

QUICK_S = 5.0
"""A worker that ends before it is ready, or sooner than this after, ended quickly."""

MAX_QUICK_ENDS = 3
"""After as many quick ends in a row a worker is not started again."""

_FIRST_PAUSE_S = 0.1
_LOOK_S = 1.0  # between two looks at who was busy
_MAX_DESCRIPTORS = 32  # in one message; the kernel takes 253, the worker 64


class Restarts:
    """When a process that ends is started again: at once, or later if it ends again and again."""

    def __init__(self) -> None:
        self.num_quick = 0
        self._ready_s: float | None = None

    def ready(self) -> None:
        """It is at work now."""
        self._ready_s = time.monotonic()

    def end(self) -> float:
        """It has just ended; seconds to wait before it is started again."""
        ready_s, self._ready_s = self._ready_s, None
        if ready_s is not None and time.monotonic() - ready_s >= QUICK_S:
            self.num_quick = 0
            return 0.0
        self.num_quick += 1
        return min(QUICK_S, _FIRST_PAUSE_S * 2.0 ** (self.num_quick - 1))


class Slot:
    """The place of one worker, which several processes may fill one after the other.

    Args:
        index: From 0.
        counts: Its numbers on the board.
    """

    def __init__(self, index: int, counts: Any) -> None:
        self.index = index
        self.name = f"tadka-serve-{index}"
        self.restarts = Restarts()
        self.process: Process | None = None
        self.due_s: float | None = None  # when it is started again, on the monotonic clock
        self.is_ready = False
        self.is_leaving = False
        self._counts = counts
        self._num_handed = 0  # connections, to the present process
        self._before = (0, 0)  # connections that its predecessors opened and closed
        self._at_look = (0, 0, 0)  # nanoseconds of work, wakes, connections handed over

    @property
    def is_lost(self) -> bool:
        """Whether nobody is in it, and nobody will be."""
        return self.process is None and self.due_s is None

    def fill(self, start: Callable[["Slot"], Process]) -> Process:
        """Starts a process in it."""
        self.due_s = None
        self.is_ready = self.is_leaving = False
        self._num_handed = 0
        self._before = (self._count("opened"), self._count("closed"))
        self._at_look = (self._count("busy_ns"), self._count("wakes"), 0)
        self.process = start(self)
        return self.process

    def ready(self) -> None:
        """Its process takes connections now."""
        self.is_ready = True
        self.restarts.ready()

    def empty(self) -> End:
        """Buries the process; its connections are closed, whether or not it could count them."""
        assert self.process is not None
        end = self.process.close()
        self.process = None
        self.is_ready = False
        self._counts["closed"] = self._counts["opened"]
        self._counts["pid"] = 0
        return end

    def num_open(self) -> int:
        """Connections that it holds, or will hold when it reads what was sent to it."""
        return self._num_handed - (self._count("closed") - self._before[1])

    def busy_ns(self) -> int:
        """How long it worked since the last look."""
        return self._count("busy_ns") - self._at_look[0]

    def look(self) -> None:
        """Begins to count `busy_ns` anew."""
        wakes = self._count("wakes")
        if wakes != self._at_look[1] and self._num_handed == self._at_look[2]:
            # It has read all that was sent; what it did not count it has refused, short of memory.
            self._num_handed = self._count("opened") - self._before[0]
        self._at_look = (self._count("busy_ns"), wakes, self._num_handed)

    def _count(self, name: str) -> int:
        return int(self._counts[name])

    def hand_over(self, connections: Sequence[socket.socket]) -> bool:
        """Whether the worker gets the connections; this process closes its own ends of them."""
        assert self.process is not None
        descriptors = [connection.fileno() for connection in connections]
        if not self.process.send(CONNECTIONS, descriptors):
            return False
        for connection in connections:
            connection.close()
        self._num_handed += len(connections)
        return True


class Pool:
    """All workers.

    Args:
        board: With one slot of counters for each.
        num_workers: How many, at least 1.
        max_connections: That one of them may hold.
    """

    def __init__(self, board: Board, num_workers: int, max_connections: int) -> None:
        self.slots = [Slot(index, board.workers[index]) for index in range(num_workers)]
        self.num_refused = 0
        self._max_connections = max_connections
        self._looked_s = 0.0

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    @property
    def processes(self) -> list[Process]:
        """Those that live, or ended and are not buried yet."""
        return [slot.process for slot in self.slots if slot.process is not None]

    @property
    def is_ready(self) -> bool:
        """Whether every worker takes connections."""
        return all(slot.is_ready for slot in self.slots)

    def takers(self) -> list[Slot]:
        """Workers that take connections."""
        return [slot for slot in self.slots if slot.is_ready and not slot.is_leaving]

    def hand_over(self, connections: Iterable[socket.socket]) -> None:
        """Gives each connection to the worker with the fewest; of several, the least busy.

        Args:
            connections: Just accepted. Those that nobody has room for are closed and counted.
        """
        self._share(connections, self.takers())
        now = time.monotonic()
        if now - self._looked_s >= _LOOK_S:
            self._looked_s = now
            for slot in self.slots:
                slot.look()

    def _share(self, connections: Iterable[socket.socket], takers: list[Slot]) -> None:
        num_open = {slot: slot.num_open() for slot in takers}
        shares: dict[Slot, list[socket.socket]] = {slot: [] for slot in takers}
        for connection in connections:
            chosen = min(
                takers, key=lambda slot: (num_open[slot], slot.busy_ns(), slot.index), default=None
            )
            if chosen is None or num_open[chosen] >= self._max_connections:
                self.num_refused += 1
                connection.close()
                continue
            num_open[chosen] += 1
            shares[chosen].append(connection)
        left: list[socket.socket] = []
        for slot, share in shares.items():
            for first in range(0, len(share), _MAX_DESCRIPTORS):
                part = share[first : first + _MAX_DESCRIPTORS]
                if slot in takers and slot.hand_over(part):
                    continue
                # It has just died, or reads nothing: somebody else takes them.
                takers = [other for other in takers if other is not slot]
                left += part
        if left:
            self._share(left, takers)
