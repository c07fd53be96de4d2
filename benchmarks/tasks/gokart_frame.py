"""gokart: a frame in its Parquet target, which is gzip; with BENCH_TUNED in its Feather target."""

import os
from typing import Any

import gokart
import luigi
import pandas as pd

from tasks.gokart_graph import configure

FRAMES: dict[int, pd.DataFrame] = {}


class Frame(gokart.TaskOnKart[pd.DataFrame]):
    num = luigi.IntParameter()

    def output(self) -> Any:
        return self.make_target(
            "frame.feather" if os.environ.get("BENCH_TUNED") else "frame.parquet"
        )

    def run(self) -> None:
        self.dump(FRAMES[self.num])


class Keeper:
    def __init__(self, workspace: str, frames: dict[int, pd.DataFrame]) -> None:
        configure(workspace)
        FRAMES.update(frames)

    def dump(self, num: int) -> None:
        gokart.build(Frame(num=num), return_value=False)

    def load(self, num: int) -> pd.DataFrame:
        return gokart.build(Frame(num=num))
