"""Several things done at once, which an error or Ctrl-C ends soon."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

A = TypeVar("A")
B = TypeVar("B")

# A signal that arrives just before the main thread falls asleep does not wake it, so its naps are
# short: else Ctrl-C would be heard when the thread is woken for another reason, hours later.
NAP_S: Final = 0.5


def in_threads(
    work: Callable[[A], B],
    items: Sequence[A],
    num_threads: int,
    stop: threading.Event | None = None,
) -> list[B]:
    """What is made of each item, in their order.

    Where an item fails, or Ctrl-C arrives, those that wait are left alone and those in work are
    waited for, so that nothing goes on behind the back of who handles the error.

    Args:
        work: Called with each item, in any thread.
        items: In the order in which they are begun.
        num_threads: How many are worked on at once. A single item is in the thread of the caller,
            where Ctrl-C arrives.
        stop: Set when those in work had better end; `work` may look at it now and then, and raise
            whatever it likes.
    """
    if len(items) < 2 or num_threads < 2:
        return [work(item) for item in items]
    changed = threading.Condition()
    in_work, is_over = 0, False

    def counted(item: A) -> B:
        nonlocal in_work
        with changed:
            if is_over:
                raise CancelledError
            in_work += 1
        try:
            return work(item)
        finally:
            with changed:
                in_work -= 1
                changed.notify_all()

    pool = ThreadPoolExecutor(num_threads)
    try:
        futures = [pool.submit(counted, item) for item in items]
        return [_result(future) for future in futures]
    except BaseException:  # KeyboardInterrupt too: it arrives here and not in the threads
        if stop is not None:
            stop.set()
        raise
    finally:
        # Ctrl-C may come while the pool starts a thread, which it then does not know
        with changed:
            is_over = True
            changed.wait_for(lambda: in_work == 0)
        pool.shutdown(cancel_futures=True)


def _result(future: Future[B]) -> B:
    while not future.done():
        wait([future], NAP_S)
    return future.result()
