"""Dask with its default settings: futures of row groups, eight of them at a time."""

import importlib
from itertools import islice
from typing import Any

import pyarrow.parquet as pq
from distributed import Client, as_completed
from harness import Meter
from peers.dask_session import LOOPBACK

from fm.model import Learner
from fm.ratings import BATCH_ROWS, as_numpy, preprocess, row_groups, warm_up


# user code
def load(path: str, n: int) -> list[dict[str, Any]]:
    batches = pq.ParquetFile(path).iter_batches(BATCH_ROWS, row_groups=[n])
    return [preprocess(as_numpy(batch)) for batch in batches]


# end of user code


def run(files: list[str], meter: Meter) -> Learner:
    learner = Learner()
    # user code
    client = Client(n_workers=2, threads_per_worker=1, **LOOPBACK)
    # end of user code
    client.wait_for_workers(2)
    client.run(importlib.import_module, __name__)  # loads what `load` needs, and torch with it
    client.run(warm_up)
    meter.start()
    # user code
    pieces = iter(row_groups(files))
    first = [client.submit(load, *piece) for piece in islice(pieces, 8)]
    running = as_completed(first, with_results=True)
    for _, batches in running:
        learner.fit(batches)
        for piece in islice(pieces, 1):
            running.add(client.submit(load, *piece))
    # end of user code
    meter.stop()
    client.shutdown()
    return learner
