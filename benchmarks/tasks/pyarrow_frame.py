"""pyarrow alone: zstd Parquet and an fsync, no task, hash or description."""

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


class Keeper:
    def __init__(self, workspace: str, frames: dict[int, pd.DataFrame]) -> None:
        self._folder, self._frames = Path(workspace), frames
        self._folder.mkdir(exist_ok=True)

    def dump(self, num: int) -> None:
        path = self._folder / f"{num}.parquet"
        pq.write_table(pa.Table.from_pandas(self._frames[num]), path, compression="zstd")
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def load(self, num: int) -> pd.DataFrame:
        return pq.read_table(self._folder / f"{num}.parquet").to_pandas()
