"""torch DataLoader as its documentation shows it: an IterableDataset split over the workers."""

import multiprocessing
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
from harness import Meter
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from fm.model import Learner
from fm.ratings import BATCH_ROWS, as_numpy, preprocess, row_groups, warm_up


# user code
class Ratings(IterableDataset):
    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        for path, n in row_groups(self.files)[info.id :: info.num_workers]:
            for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, row_groups=[n]):
                yield preprocess(as_numpy(batch))


# end of user code


class Gated(IterableDataset):
    """Yields nothing until the gate is open: persistent workers start without doing the work."""

    def __init__(self, dataset: IterableDataset) -> None:
        self.dataset = dataset
        self.is_open = multiprocessing.get_context("fork").Value("b", 0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.is_open.value:
            yield from self.dataset
        else:
            warm_up()


def run(files: list[str], meter: Meter) -> Learner:
    learner = Learner()
    # user code
    dataset = Ratings(files)
    # end of user code
    gated = dataset = Gated(dataset)
    # user code
    loader = DataLoader(dataset, batch_size=None, num_workers=2, persistent_workers=True)
    # end of user code
    learner.fit(loader)
    gated.is_open.value = 1
    meter.start()
    # user code
    learner.fit(loader)
    # end of user code
    meter.stop()
    return learner
