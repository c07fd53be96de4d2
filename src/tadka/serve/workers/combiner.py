"""One thread at a time answers, and takes along what others have waiting."""

import threading
import time
from collections import deque
from collections.abc import Sequence

from tadka.serve.answer.call import Call, Reply
from tadka.serve.answer.handler import Handler
from tadka.serve.store.live import Serving

_SHADOW_ROWS = 32
"""Scored at a time, so that a request that comes meanwhile does not wait long."""


class _Waiting:
    """A call whose thread waits."""

    __slots__ = ("call", "reply")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.reply: Reply | None = None


class Combiner:
    """Lets many threads ask one handler, which is for one thread at a time.

    The thread that gets the lock answers all calls that wait, as one batch: models that run as
    Python get many rows at once under load, and none waits without load.

    Args:
        handler: What answers.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._live = handler.live
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._serving: Serving | None = None
        self.has_shadows = threading.Event()
        """Set while rows wait for `run_shadows`."""

    def ask(self, call: Call) -> Reply:
        """The reply to a call.

        Args:
            call: Of any thread.
        """
        if self._lock.acquire(blocking=False):
            try:
                return self._answer((call,))[0]
            finally:
                self._lock.release()
        mine = _Waiting(call)
        self._waiting.append(mine)
        with self._lock:
            # Whoever takes a call answers it before the lock is free again.
            if mine.reply is None:
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                replies = self._answer([waiting.call for waiting in batch])
                for waiting, reply in zip(batch, replies, strict=True):
                    waiting.reply = reply
        assert mine.reply is not None
        return mine.reply

    def look(self) -> None:
        """Follows the store where its word was lost; for about once a second."""
        with self._lock:
            self._live.check_file()
            self._follow()

    def run_shadows(self) -> None:
        """Scores some rows for shadows, unless a request is being answered."""
        if self._lock.acquire(blocking=False):
            try:
                self._handler.run_shadows(_SHADOW_ROWS)
                if not self._handler.num_shadows:
                    self.has_shadows.clear()
            finally:
                self._lock.release()

    def _answer(self, calls: Sequence[Call]) -> list[Reply]:
        start = time.monotonic_ns()
        self._follow()
        replies = self._handler.answer(calls)
        self._handler.tally.add("wakes")
        self._handler.tally.add("busy_ns", time.monotonic_ns() - start)
        if self._handler.num_shadows:
            self.has_shadows.set()
        return replies

    def _follow(self) -> None:
        if self._live.wants_refresh():
            self._live.refresh()
        serving = self._live.current
        if serving is not self._serving:
            tally = self._handler.tally
            tally.set("generation", serving.generation)
            tally.add("swaps", 0 if self._serving is None else 1)
            self._serving = serving
