"""A pool of threads with what grpcio asks of one, and no more.

`concurrent.futures.ThreadPoolExecutor` keeps a result, a condition and a state for every call,
which nobody looks at under grpcio, and which costs a tenth of a whole request there.
"""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

_logger = logging.getLogger("tadka.serve")


class Job:
    """A call that a thread makes.

    Args:
        call: What is to be done.
    """

    __slots__ = ("_call", "_callbacks", "_is_done")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._callbacks: deque[Callable[[Job], object]] = deque()
        self._is_done = False

    def add_done_callback(self, callback: Callable[["Job"], object]) -> None:
        """Calls back once when the job is done; at once where it is.

        Args:
            callback: Gets the job.
        """
        self._callbacks.append(callback)
        if self._is_done:
            self._tell()

    def run(self) -> None:
        """Does it; what it raises goes to the log."""
        try:
            self._call()
        except BaseException:  # the thread is for other jobs, too
            _logger.exception("A call under grpcio failed.")
        self._is_done = True
        self._tell()

    def _tell(self) -> None:
        # The thread that adds a callback and the one that is done may both be here: each callback
        # is taken out by one of them.
        while self._callbacks:
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                return
            callback(self)


class Threads:
    """Threads that live as long as the process.

    Args:
        num_threads: How many.
        name: They are called, with a number.
    """

    def __init__(self, num_threads: int, name: str) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for number in range(num_threads):
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True).start()

    def submit(self, function: Callable[..., object], *args: Any) -> Job:
        """Has a thread call a function, after what was submitted before.

        Args:
            function: To be called.
            *args: With these.
        """
        job = Job(lambda: function(*args))
        self._jobs.put(job)
        return job

    def _work(self) -> None:
        while True:
            self._jobs.get().run()
