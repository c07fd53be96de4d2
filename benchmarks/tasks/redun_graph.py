"""redun: expressions over a SQLite file.

A chain as one nested expression fails: its scheduler recurses, in C too, some 200 deep. So here
the chain is cut: a task makes the next hundred expressions once it has the number before them.
"""

import os
from pathlib import Path
from typing import Any

from redun import Scheduler, task
from redun.config import Config

redun_namespace = "bench"
NUM_BODIES = [0]
PIECE = 100
OPTIONS: dict[str, Any] = {"check_valid": "shallow"} if os.environ.get("BENCH_TUNED") else {}


@task(**OPTIONS)
def source() -> int:
    NUM_BODIES[0] += 1
    return 0


@task(**OPTIONS)
def step(before: int, number: int) -> int:
    del number  # only makes it another call
    NUM_BODIES[0] += 1
    return before + 1


@task(**OPTIONS)
def leaf(before: int, number: int) -> int:
    NUM_BODIES[0] += 1
    return before + number


@task(**OPTIONS)
def total(leaves: list[int]) -> int:
    NUM_BODIES[0] += 1
    return sum(leaves)


@task(**OPTIONS)
def chain(before: int, number: int, num: int) -> Any:
    """The steps from `number` to below `num`; one in a hundred tasks is such a piece."""
    end = min(number + PIECE, num)
    value: Any = before
    for one in range(number, end):
        value = step(value, one)
    return value if end == num else chain(value, end, num)


@task(**OPTIONS)
def fan(num: int) -> Any:
    first = source()
    return total([leaf(first, number) for number in range(1, num - 1)])


def build(shape: str, num: int, workspace: str) -> int:
    Path(workspace).mkdir(parents=True, exist_ok=True)
    scheduler = Scheduler(config=Config({"backend": {"db_uri": f"sqlite:///{workspace}/redun.db"}}))
    scheduler.load()
    if num == 1:
        return scheduler.run(source())
    root = chain(source(), 1, num) if shape == "chain" else fan(num)
    return scheduler.run(root)


def num_bodies() -> int:
    return NUM_BODIES[0]
