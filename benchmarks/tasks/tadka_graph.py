"""tadka: results kept as JSON, brought to the disk before `build` returns."""

from collections.abc import Iterator

from tadka.task import Task
from tadka.task import build as build_task


class Source(Task[int]):
    def run(self) -> int:
        return 0


class Step(Task[int]):
    before: Task[int]
    number: int

    def run(self, before: int) -> int:
        return before + 1


class Leaf(Task[int]):
    source: Source
    number: int

    def run(self, source: int) -> int:
        return source + self.number


class Total(Task[int]):
    leaves: list[Leaf]

    def run(self, leaves: Iterator[int]) -> int:
        return sum(leaves)


NUM_BODIES = 0


def root(shape: str, num: int) -> Task[int]:
    source = Source()
    if num == 1:
        return source
    if shape == "fan":
        return Total(leaves=[Leaf(source=source, number=one) for one in range(1, num - 1)])
    last: Task[int] = source
    for one in range(1, num):
        last = Step(before=last, number=one)
    return last


def build(shape: str, num: int, workspace: str) -> int:
    def count(event: object) -> None:
        global NUM_BODIES
        NUM_BODIES += event.kind == "finished"  # type: ignore[attr-defined]

    return build_task(root(shape, num), workspace=workspace, on_event=count)


def num_bodies() -> int:
    return NUM_BODIES
