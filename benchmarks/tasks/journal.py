"""What bodies did, written by themselves: one line each, appended in one call.

tadka knows nothing of it. Lines are in the order in which they were written, by all processes.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = "BENCH_JOURNAL"
MAKER = "BENCH_MAKER"
"""Pid of the process that builds; bodies may run in its workers."""


def tell(event: str, label: str, maker: str | None = None) -> None:
    """Append an event: "start" and "end" of a body, "done" of a build, "killing" and "killed"."""
    maker = maker or os.environ[MAKER]
    line = f"{label} {event} {maker} {os.getpid()} {time.monotonic_ns()}\n"
    journal = os.open(os.environ[PATH], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(journal, line.encode())
    finally:
        os.close(journal)


@contextmanager
def body(label: str) -> Iterator[None]:
    """Around a body."""
    tell("start", label)
    yield
    tell("end", label)


def events(path: Path, label: str) -> list[tuple[str, str]]:
    """What happened to one result: event and maker."""
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [(line[1], line[2]) for line in lines if line[0] == label]


def num_starts(found: list[tuple[str, str]]) -> int:
    """Bodies that began."""
    return sum(event == "start" for event, _ in found)


def num_doubles(found: list[tuple[str, str]]) -> int:
    """Bodies that began while another's result was being made, or was there.

    A result is being made from the start of its body until the build that wanted it is done, or is
    killed. Where a body goes on after its build was killed and another has begun, that is one, too.
    A body may still begin between the word that a build is to be killed and its end.
    """
    making: set[str] = set()
    dying: set[str] = set()
    dead: set[str] = set()
    num, is_there = 0, False
    for event, maker in found:
        if event == "start":
            num += is_there or bool(making - {maker}) or maker in dead
            if maker not in dying:
                making.add(maker)
        elif event == "end":
            num += maker in dying and bool(making)
        elif event == "killing":
            making.discard(maker)
            dying.add(maker)
        elif event == "killed":
            dead.add(maker)
        elif event in ("done", "stored"):
            making.discard(maker)
            is_there = True
        elif event == "damaged":  # by us: it must be made again
            is_there = False
    return num
