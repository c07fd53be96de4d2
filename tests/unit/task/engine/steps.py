"""Tasks that write down that they ran."""

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tadka.core.error import DataError
from tadka.core.resource import Resources
from tadka.task.define.field import param
from tadka.task.define.run import Run
from tadka.task.define.task import Part, Task
from tadka.task.output.out import Out, check

BOOK = "TADKA_TEST_BOOK"


def note(text: str) -> None:
    """One line in the book; whole lines also of many processes at once."""
    descriptor = os.open(os.environ[BOOK], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{text}\n".encode())
    os.close(descriptor)


def noted() -> list[str]:
    path = Path(os.environ[BOOK])
    return path.read_text(encoding="utf-8").split() if path.exists() else []


class Number(Task[int]):
    value: int

    def run(self) -> int:
        note(f"Number{self.value}")
        return self.value


class Half(Task[int]):
    """Two numbers have one half: what is below is cut off."""

    of: Task[int]

    def run(self, of: int) -> int:
        note("Half")
        return of // 2


class WideHalf(Half):
    resources = Resources(cpu=2)


class Sum(Task[int]):
    parts: list[Task[int]]
    extra: int = 0

    def run(self, parts: list[int]) -> int:
        note("Sum")
        return sum(parts) + self.extra


class Lazy(Task[list[int]]):
    parts: list[Task[int]]

    def run(self, parts: Iterator[int]) -> list[int]:
        assert not isinstance(parts, list)
        return list(parts)


class Pair(Task[dict[str, Any]]):
    out = {"first": Out("json"), "second": Out("txt")}

    def run(self, run: Run) -> dict[str, Any]:
        note("Pair")
        run.dump([1, 2], "first")
        return {"second": "two"}


class TakesPart(Task[list[int]]):
    first: Part[list[int]]

    def run(self, first: list[int]) -> list[int]:
        return first


class Failing(Task[int]):
    message: str = "no luck"

    def run(self) -> int:
        note("Failing")
        print("before the end")
        raise ValueError(self.message)


class Flaky(Task[int]):
    """Fails as often as it is told to."""

    times: int
    retries = 2

    def run(self) -> int:
        note("Flaky")
        if noted().count("Flaky") <= self.times:
            raise OSError("not yet")
        return 1


class Checked(Task[int]):
    value: int

    @check
    def is_positive(self, value: int) -> bool:
        return value > 0

    @check(severity="warn")
    def is_small(self, value: int) -> bool:
        return value < 100

    def run(self) -> int:
        note("Checked")
        return self.value


class Empty(Task[list[int]]):
    out = Out("json", min_rows=1)

    def run(self) -> list[int]:
        return []


class Random(Task[float]):
    salt: int = 0

    def run(self) -> float:
        return random.random()


class Seeded(Task[float]):
    seed = 7

    def run(self, run: Run) -> float:
        assert run.seed == 7
        return random.random()


class Chatty(Task[int]):
    def run(self, run: Run) -> int:
        print("hello")
        run.log(auc=0.5, rows=3)
        run.plot({"x": [1, 2], "y": [3.0, float("nan")]}, "x", "y")
        (run.folder / "scratch").write_text("x", encoding="utf-8")
        return 1


class Needing(Task[int]):
    """Asks for what it learns only while it runs."""

    numbers: Task[int]

    def run(self, numbers: int, run: Run) -> int:
        note("Needing")
        return 100 + sum(run.need([Number(value=i) for i in range(numbers)]))


class Circular(Task[int]):
    other: int

    def run(self, run: Run) -> int:
        return int(run.need(Circular(other=1 - self.other)))


class Named(Task[int]):
    value: int
    salt: int = 0
    out = Out("json", path="named/{value}.json")

    def run(self) -> int:
        note("Named")
        return self.value


class Slow(Task[int]):
    seconds: float = param(default=0.3, significant=False)

    def run(self) -> int:
        note("Slow")
        time.sleep(self.seconds)
        return 1


class Folder(Task[dict[str, str]]):
    """Kept as a folder by functions of its own."""

    @staticmethod
    def save(value: dict[str, str], folder: Path) -> None:
        for name, text in value.items():
            (folder / name).write_text(text, encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> dict[str, str]:
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}

    out = Out(save=save, load=load)

    def run(self) -> dict[str, str]:
        return {"a": "1", "b": "2"}


class TakesFolder(Task[str]):
    folder: Task[dict[str, str]]

    def run(self, folder: dict[str, str]) -> str:
        return json.dumps(folder, sort_keys=True)


class Refusing(Task[int]):
    """Its state cannot be told."""

    def fingerprint(self) -> dict[str, str]:
        raise DataError("the table is gone")

    def run(self) -> int:
        return 1


class Outside(Task[int]):
    """Takes its value from where no key sees it."""

    def run(self) -> int:
        note("Outside")
        return int(os.environ["TADKA_TEST_VALUE"])


class Asking(Task[int]):
    """Asks for what no input says."""

    def run(self, run: Run) -> int:
        note("Asking")
        return 100 + int(run.need(Outside()))


class Apart(Task[int]):
    """Has a process of its own."""

    resources = Resources(timeout_s=60)

    def run(self) -> int:
        return 1


class AskingApart(Task[int]):
    def run(self, run: Run) -> int:
        return int(run.need(Apart()))


class Unplaced(Task[int]):
    """Has a place in the workspace only where its text allows."""

    text: str
    out = Out("json", path="placed/{text}.json")

    def run(self) -> int:
        note("Unplaced")
        return 1


class OnManyGpus(Task[int]):
    resources = Resources(gpu=1000)

    def run(self) -> int:
        return 1


class Wanting(Task[int]):
    """Asks for what cannot be built."""

    what: str

    def run(self, run: Run) -> int:
        wanted: dict[str, list[Task[int]]] = {
            "one path": [Named(value=1), Named(value=1, salt=1)],
            "outside": [Unplaced(text="../../evil")],
            "too much": [OnManyGpus()],
        }
        return sum(run.need(wanted[self.what]))


class Only(Task[int]):
    """Can be made for the value of the day, and no other."""

    value: int

    def run(self) -> int:
        note(f"Only{self.value}")
        if os.environ["TADKA_TEST_VALUE"] != str(self.value):
            raise ValueError(f"{self.value} cannot be made any more")
        return self.value


class Choosing(Task[int]):
    """Asks for what an earlier answer says."""

    def run(self, run: Run) -> int:
        return int(run.need(Only(value=run.need(Outside()))))


class InFolder(Task[str]):
    folder: Path = param(significant=False)

    def fingerprint(self) -> dict[str, str]:
        return {"text": (self.folder / "text").read_text()}

    def run(self) -> str:
        return (self.folder / "text").read_text()


class AskingInFolder(Task[str]):
    folder: Path = param(significant=False)

    def run(self, run: Run) -> str:
        note("AskingInFolder")
        return str(run.need(InFolder(folder=self.folder)))


class Meeting(Task[int]):
    """Ends only when the other one runs."""

    pipe: Path
    is_reader: bool

    def run(self) -> int:
        self.pipe.open("r" if self.is_reader else "w").close()
        return int(self.is_reader)


class AskingForMeeting(Task[list[int]]):
    pipe: Path
    out = Out("json")

    def run(self, run: Run) -> list[int]:
        note("AskingForMeeting")
        return run.need([Meeting(pipe=self.pipe, is_reader=b) for b in (True, False)])
