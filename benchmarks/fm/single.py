"""One process reads, preprocesses and trains: the base of every comparison."""

import pyarrow.parquet as pq
from harness import Meter

from fm.model import Learner
from fm.ratings import BATCH_ROWS, as_numpy, preprocess, warm_up


def run(files: list[str], meter: Meter) -> Learner:
    learner = Learner()
    warm_up()
    meter.start()
    # user code
    for path in files:
        batches = pq.ParquetFile(path).iter_batches(BATCH_ROWS)
        learner.fit(preprocess(as_numpy(batch)) for batch in batches)
    # end of user code
    meter.stop()
    return learner
