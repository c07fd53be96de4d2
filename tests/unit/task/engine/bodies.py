"""Tasks that do in a process what tests of processes want."""

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tadka.core.resource import Resources
from tadka.task.define.field import param
from tadka.task.define.run import Run
from tadka.task.define.task import Task
from tadka.task.output.out import Out


class Number(Task[int]):
    value: int = 0

    def run(self) -> int:
        print(f"number {self.value}")
        return self.value


class LongText(Task[str]):
    """More than waits in memory for its group."""

    def run(self) -> str:
        return "x" * 100_000


class Sum(Task[int]):
    numbers: list[Task[int]]

    def run(self, numbers: list[int]) -> int:
        return sum(numbers)


class Deep(Task[int]):
    before: "Deep | None" = None
    level: int = 0

    def run(self, before: int | None) -> int:
        assert self.before is None or self.before.level == self.level - 1
        return (before or 0) + 1


class Where(Task[dict[str, object]]):
    """Says in which process it runs."""

    number: int = 0
    out = Out("json")

    def run(self) -> dict[str, object]:
        return {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


class WhereThreads(Where):
    resources = Resources(cpu=2)


class WhereAlone(Where):
    resources = Resources(memory="1G")


class Meeting(Task[int]):
    """Ends only when another one runs, which reads what this one writes, or the other way round."""

    pipe: Path
    is_reader: bool

    def run(self) -> int:
        with open(self.pipe, "r" if self.is_reader else "w") as file:  # noqa: PTH123
            return len(file.read()) if self.is_reader else file.write("hello")


class MeetsAndReads(Task[str]):
    """Reads its input when another one is about to do so, the first time."""

    texts: list[Task[str]]
    pipe: Path
    is_reader: bool

    def run(self, texts: Iterator[str]) -> str:
        has_met = self.pipe.with_suffix(f".{self.is_reader}")
        if not has_met.exists():
            has_met.touch()
            self.pipe.open("r" if self.is_reader else "w").close()
        return "".join(texts)


class Moves(Task[str]):
    folder: Path
    number: int = 0

    def run(self) -> str:
        before = str(Path.cwd())
        os.chdir(self.folder)
        return before


class OnGpu(Task[str]):
    number: int
    resources = Resources(cpu=0.5, gpu=1)

    def run(self) -> str:
        return os.environ["CUDA_VISIBLE_DEVICES"]


class NoGpu(Task[str]):
    def run(self) -> str:
        return os.environ["CUDA_VISIBLE_DEVICES"]


class Lingers(Task[int]):
    """Its process does not end when it should."""

    resources = Resources(memory="1G")

    def run(self) -> int:
        atexit.register(threading.Event().wait)
        return 1


class Closes(Task[int]):
    """Closes what is not its own."""

    def run(self) -> int:
        os.closerange(3, 1000)
        return 1


class Ends(Task[int]):
    """Ends its process, one way or another."""

    how: str

    def run(self) -> int:
        print("before the end", flush=True)
        if self.how == "segfault":
            ctypes.string_at(0)
        elif self.how == "raise":
            raise ValueError("no such day")
        elif self.how == "sys.exit":
            sys.exit(3)
        elif self.how.isdigit():
            os._exit(int(self.how))
        else:
            os.kill(os.getpid(), signal.Signals[self.how])
        return 0


class Chatters(Task[int]):
    def run(self) -> int:
        for number in range(100_000):
            print(f"line {number}")
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


class Says(Task[int]):
    """Writes a line with its process id, and stays."""

    pipe: Path
    resources = Resources(cpu=0.5)

    def run(self) -> int:
        with open(self.pipe, "w") as file:  # noqa: PTH123
            file.write(f"{os.getpid()}\n")
        threading.Event().wait()
        return 0


class Late(Task[int]):
    resources = Resources(timeout_s=0.2)
    number: int = 0

    def run(self) -> int:
        if self.number == 0:
            threading.Event().wait()
        return self.number


class Eats(Task[int]):
    """Takes memory, by itself or by a program that it starts."""

    megabytes: int
    by: str = "itself"
    resources = Resources(memory="192M")

    def run(self) -> int:
        if self.by == "itself":
            return sum(len(bytearray(1 << 20)) for _ in [bytearray(self.megabytes << 20)])
        code = f"len(bytearray({self.megabytes} << 20))"
        subprocess.run([sys.executable, "-c", code], check=True)
        return 0


class Setting(Task[str]):
    """A task that it makes itself has values of the settings."""

    def run(self, run: Run) -> str:
        return Named().name


class Named(Task[str]):
    name: str = "of the class"

    def run(self) -> str:
        return self.name


class Noisy(Task[int]):
    note: str = param(default="", significant=False)

    def run(self, run: Run) -> int:
        run.log(auc=0.5)
        return run.seed


class Flaky(Task[int]):
    """Fails until its file has enough lines."""

    file: Path
    failures: int
    how: str = "raise"
    retries = 2

    def run(self) -> int:
        with self.file.open("a") as file:
            file.write("x\n")
        attempt = len(self.file.read_text().splitlines())
        if attempt <= self.failures:
            if self.how == "raise":
                raise ConnectionError(f"attempt {attempt}")
            os._exit(7)
        return attempt


class Split(Task[dict[str, int]]):
    number: int
    out = {"half": Out("json"), "rest": Out("json")}

    def run(self) -> dict[str, int]:
        return {"half": self.number // 2, "rest": self.number % 2}


class Grows(Task[int]):
    megabytes: int
    resources = Resources(memory="192M")

    def run(self) -> int:
        return len(bytearray(self.megabytes << 20))


class GrowsOnce(Task[int]):
    """Is killed for its memory, then fails, then succeeds."""

    file: Path
    resources = Resources(memory="192M")
    retries = 1

    def run(self) -> int:
        with self.file.open("a") as file:
            file.write("x\n")
        attempt = len(self.file.read_text().splitlines())
        if attempt == 1:
            bytearray(250 << 20)
        elif attempt == 2:
            raise ConnectionError("attempt 2")
        return attempt


class Holds(Task[list[float]]):
    """Holds memory that it only declares, and says when."""

    number: int
    seconds: float = 0.05

    def run(self) -> list[float]:
        begin = time.monotonic()
        time.sleep(self.seconds)
        return [begin, time.monotonic()]


class HoldsMuch(Holds):
    resources = Resources(cpu=0.25, memory="2000M")


class HoldsLittle(Holds):
    resources = Resources(cpu=0.25, memory="200M")
