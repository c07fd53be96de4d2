"""A child process of a server and what the two say to each other."""

import errno
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import psutil
import pytest

from tadka.core.error import DataError, LaunchError, NotFound, TadkaError
from tadka.serve.process import (
    DRAIN,
    FAILED,
    FAILURE_STATUS,
    READY,
    End,
    Process,
    begin,
    failure_message,
    read_failure,
    read_order,
)
from tests.descriptors import open_descriptors

DEADLINE_S = 20


def main(head: Mapping[str, Any], order: BinaryIO) -> None:
    """What the child does: this module is its entry, too."""
    control = begin(head)
    told = read_order(order)
    if told == "fail":
        control.send(failure_message(NotFound("Nothing is there.")))
        sys.exit(FAILURE_STATUS)
    control.send(READY)
    _, descriptors, _, _ = socket.recv_fds(control, 64, 8)
    for descriptor in descriptors:
        with socket.socket(fileno=descriptor) as given:
            given.sendall(f"{head['name']} {told}".encode())
    if control.recv(64) != DRAIN:
        sys.exit(3)


@pytest.fixture
def start() -> Iterator[Callable[[object], Process]]:
    started: list[Process] = []

    def start(order: object) -> Process:
        process = Process("child", __name__, order)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.control.fileno() >= 0:
            process.kill()
            process.close()


def hear(process: Process) -> bytes | None:
    assert select.select([process.control], [], [], DEADLINE_S)[0]
    return process.receive()


def test_a_child_gets_its_order_and_descriptors_and_ends_when_told(
    start: Callable[[object], Process],
) -> None:
    process = start({"rows": 3})
    assert READY == hear(process)
    mine, theirs = socket.socketpair()
    with mine:
        with theirs:
            assert process.send(b"c", [theirs.fileno()])
        assert b"child {'rows': 3}" == mine.recv(100)
    assert process.send(DRAIN)
    assert b"" == hear(process)

    end = process.close()

    assert (0, None) == (end.status, end.failure)
    assert "ended with exit status 0" == str(end)


def test_why_a_child_could_not_begin_is_the_error_that_it_met(
    start: Callable[[object], Process],
) -> None:
    end = start("fail").close()

    assert FAILURE_STATUS == end.status
    assert isinstance(end.failure, NotFound)
    assert "Nothing is there." == str(end)


def test_a_killed_child_ends_by_its_signal_and_hears_nothing_more(
    start: Callable[[object], Process],
) -> None:
    process = start(None)
    assert READY == hear(process)
    process.kill()
    assert b"" == hear(process)

    assert not process.send(DRAIN)
    end = process.close()

    assert -signal.SIGKILL == end.status
    assert "ended by signal SIGKILL" == str(end)


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert "ended by signal 35" == str(End(-35, None))
    assert "ended by signal SIGRTMIN" == str(End(-signal.SIGRTMIN, None))


def test_nothing_was_said_yet(start: Callable[[object], Process]) -> None:
    process = start(None)
    assert READY == hear(process)

    assert process.receive() is None


def test_an_order_that_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(LaunchError, match=r"child cannot be started: .*pickle"):
        Process("child", __name__, threading.Lock())


@pytest.mark.parametrize("call", ["socket.socketpair", "os.memfd_create", "os.pidfd_open"])
def test_what_cannot_be_started_for_want_of_descriptors_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    children, descriptors = set(psutil.Process().children()), open_descriptors()
    monkeypatch.setattr(call, fail)

    wanted = r"child cannot be started: Too many open files\. .* ulimit -n\."
    with pytest.raises(LaunchError, match=wanted):
        Process("child", __name__, None)

    assert open_descriptors() <= descriptors
    assert set(psutil.Process().children()) <= children


@pytest.mark.parametrize("error", [DataError("Row 3 is wrong."), LaunchError("ä")])
def test_a_failure_arrives_as_the_error_it_was(error: TadkaError) -> None:
    arrived = read_failure(failure_message(error))

    assert (type(error), str(error)) == (type(arrived), str(arrived))


def test_a_failure_too_long_for_a_message_arrives_cut() -> None:
    message = failure_message(DataError("x" * 100_000))

    assert message.startswith(FAILED)
    assert len(message) <= 1 << 16
    assert "xxx" in str(read_failure(message))
