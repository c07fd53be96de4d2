"""Tasks for tests: a class of the name that another module has too, and more."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from tadka.task.define.field import param
from tadka.task.define.run import Run
from tadka.task.define.task import Part, Task
from tadka.task.output.out import Out

DAY = dt.date(2026, 1, 31)


class Mode(Enum):
    FAST = "f"


class Clicks(Task[dict[str, int]]):
    day: dt.date = DAY
    tags: set[str] = param(default_factory=set)
    mode: Mode = Mode.FAST
    bucket: str = param(default="logs", significant=False)

    def run(self) -> dict[str, int]:
        return {}


class Link(Task[int]):
    number: int
    before: "Link | None" = None

    def run(self, before: int | None) -> int:
        return self.number


class Total(Task[int]):
    parts: Sequence[Task[int]]
    by_name: Mapping[str, Task[int]] = param(default_factory=dict)
    scale: float = 1.0

    def run(self, parts: Iterator[int], run: Run) -> int:
        return sum(parts)


class Train(Task[dict[str, object]]):
    clicks: Clicks
    out = {"weights": Out("npy"), "report": Out("json")}

    def run(self, clicks: dict[str, int]) -> dict[str, object]:
        return {}


class Score(Task[int]):
    weights: Part[list[float]]

    def run(self, weights: list[float]) -> int:
        return 0


class Note(Task[str]):
    """Says something, which is not significant."""

    text: str = ""
    significant = False

    def run(self) -> str:
        return self.text


class Story(Task[str]):
    notes: list[Task[str]] = param(default_factory=list)
    title: Task[str] | None = None

    def run(self, notes: list[str]) -> str:
        return ""
