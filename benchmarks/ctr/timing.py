"""How a cell measures: passes over the rows until they fill some time, the median pass."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any


def pin() -> None:
    """Keep this process and its threads on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def us_per_call(
    call: Callable[[Any], Any], rows: Sequence[Any], *, seconds: float = 1.0, least: int = 3
) -> float:
    """Microseconds of `call(row)`; a first pass over the rows does not count.

    Args:
        call: One row's work.
        rows: Each pass takes all of them, in order.
        seconds: Passes are made until this much time is used.
        least: Passes, whatever the time.
    """
    spent: list[float] = []
    while len(spent) <= least or sum(spent) < seconds:
        begun_at = time.perf_counter()
        for row in rows:
            call(row)
        spent.append(time.perf_counter() - begun_at)
    return statistics.median(spent[1:]) / len(rows) * 1e6


def us_per_row(
    call: Callable[[], Any], num_rows: int, *, seconds: float = 1.0, least: int = 3
) -> float:
    """The same of a call that does `num_rows` rows at once."""
    return us_per_call(lambda _: call(), [None], seconds=seconds, least=least) / num_rows
