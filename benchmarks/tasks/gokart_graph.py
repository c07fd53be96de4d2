"""gokart: tasks as its documentation writes them, pickles in a folder."""

import os

import gokart
import luigi

NUM_BODIES = [0]


class Source(gokart.TaskOnKart[int]):
    def run(self) -> None:
        NUM_BODIES[0] += 1
        self.dump(0)


class Step(gokart.TaskOnKart[int]):
    number = luigi.IntParameter()

    def requires(self) -> gokart.TaskOnKart[int]:
        return Step(number=self.number - 1) if self.number > 1 else Source()

    def run(self) -> None:
        NUM_BODIES[0] += 1
        self.dump(self.load() + 1)


class Leaf(gokart.TaskOnKart[int]):
    number = luigi.IntParameter()

    def requires(self) -> gokart.TaskOnKart[int]:
        return Source()

    def run(self) -> None:
        NUM_BODIES[0] += 1
        self.dump(self.load() + self.number)


class Total(gokart.TaskOnKart[int]):
    num = luigi.IntParameter()

    def requires(self) -> list[gokart.TaskOnKart[int]]:
        return [Leaf(number=number) for number in range(1, self.num + 1)]

    def run(self) -> None:
        NUM_BODIES[0] += 1
        self.dump(sum(self.load()))


def configure(workspace: str) -> None:
    """Where outputs go; BENCH_TUNED leaves out the five log files a task."""
    config = luigi.configuration.get_config()
    config.set("TaskOnKart", "workspace_directory", workspace)
    if os.environ.get("BENCH_TUNED"):
        config.set("TaskOnKart", "should_dump_supplementary_log_files", "false")
        config.set("TaskOnKart", "complete_check_at_run", "false")
    if os.environ.get("BENCH_STRICT"):
        config.set("TaskOnKart", "strict_check", "true")


def build(shape: str, num: int, workspace: str) -> int:
    configure(workspace)
    if num == 1:
        return gokart.build(Source())
    if shape == "chain":
        return gokart.build(Step(number=num - 1))
    return gokart.build(Total(num=num - 2))


def num_bodies() -> int:
    return NUM_BODIES[0]
