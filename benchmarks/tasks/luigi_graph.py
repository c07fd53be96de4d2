"""luigi: a local target each, written through its temporary file, and no scheduler's server."""

import os
from pathlib import Path

import luigi

NUM_BODIES = [0]
FOLDER = [""]


class Kept(luigi.Task):
    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(f"{FOLDER[0]}/{self.task_id}.txt")

    def keep(self, value: int) -> None:
        NUM_BODIES[0] += 1
        with self.output().open("w") as file:
            file.write(str(value))


def read(target: luigi.LocalTarget) -> int:
    with target.open() as file:
        return int(file.read())


class Source(Kept):
    def run(self) -> None:
        self.keep(0)


class Step(Kept):
    number = luigi.IntParameter()

    def requires(self) -> luigi.Task:
        return Step(number=self.number - 1) if self.number > 1 else Source()

    def run(self) -> None:
        self.keep(read(self.input()) + 1)


class Leaf(Kept):
    number = luigi.IntParameter()

    def requires(self) -> luigi.Task:
        return Source()

    def run(self) -> None:
        self.keep(read(self.input()) + self.number)


class Total(Kept):
    num = luigi.IntParameter()

    def requires(self) -> list[luigi.Task]:
        return [Leaf(number=number) for number in range(1, self.num + 1)]

    def run(self) -> None:
        self.keep(sum(map(read, self.input())))


def build(shape: str, num: int, workspace: str) -> int:
    FOLDER[0] = workspace
    Path(workspace).mkdir(parents=True, exist_ok=True)
    if num == 1:
        root: luigi.Task = Source()
    else:
        root = Step(number=num - 1) if shape == "chain" else Total(num=num - 2)
    if os.environ.get("BENCH_TUNED"):
        config = luigi.configuration.get_config()
        config.set("worker", "check_unfulfilled_deps", "false")
        config.set("worker", "cache_task_completion", "true")
        config.set("worker", "no_install_shutdown_handler", "true")
    luigi.build([root], local_scheduler=True, log_level="WARNING")
    return read(root.output())


def num_bodies() -> int:
    return NUM_BODIES[0]
