"""tadka: a frame as Parquet, described, hashed, on the disk; and its hash checked at the load."""

import sys

import pandas as pd

from tadka.task import Build, Out, Task, build
from tadka.task.settings import open_store


class Frame(Task[pd.DataFrame]):
    num: int
    out = Out("parquet")

    def run(self) -> pd.DataFrame:
        # not a global of this module, which would be part of the code
        return sys.modules["bench_frames"].FRAMES[self.num]  # type: ignore[attr-defined]


class Keeper:
    def __init__(self, workspace: str, frames: dict[int, pd.DataFrame]) -> None:
        module = type(sys)("bench_frames")
        module.FRAMES = frames  # type: ignore[attr-defined]
        sys.modules["bench_frames"] = module
        self._workspace = workspace

    def dump(self, num: int) -> None:
        with open_store(self._workspace) as store:
            Build([Frame(num=num)], store=store).run().raise_failures()

    def load(self, num: int) -> pd.DataFrame:
        return build(Frame(num=num), workspace=self._workspace)
