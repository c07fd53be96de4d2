"""Work in threads that errors and Ctrl-C end."""

import os
import signal
import threading

import pytest

from tadka.dataset.thread import in_threads

_PATIENCE_S = 30.0


def test_results_are_in_the_order_of_the_items() -> None:
    meeting = threading.Barrier(2)

    def work(item: int) -> int:
        meeting.wait(_PATIENCE_S)  # both are in work at once, or the barrier breaks
        return item * 10

    assert [30, 10, 20, 0] == in_threads(work, [3, 1, 2, 0], 2)
    assert [] == in_threads(work, [], 2)


@pytest.mark.parametrize(("items", "num_threads"), [([1], 8), ([1, 2], 1)])
def test_what_needs_no_threads_has_none(items: list[int], num_threads: int) -> None:
    found = in_threads(lambda _: threading.current_thread(), items, num_threads)

    assert {threading.current_thread()} == set(found)


def test_an_error_leaves_the_others() -> None:
    stop = threading.Event()
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError("no")
        assert stop.wait(_PATIENCE_S)

    with pytest.raises(ValueError, match="no"):
        in_threads(work, range(100), 2, stop)

    assert len(begun) < 10


def test_ctrl_c_ends_those_in_work_and_leaves_the_others() -> None:
    stop = threading.Event()
    begun, ended = [], []

    def work(item: int) -> None:
        begun.append(item)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(_PATIENCE_S)
        ended.append(item)

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(100), 2, stop)

    assert [0, 1] == sorted(begun)
    assert [0, 1] == sorted(ended)
