"""Ray Data as its documentation shows it: read_parquet, map_batches, iter_torch_batches."""

import ray
from harness import Meter
from peers import ray_session

from fm.model import Learner
from fm.ratings import BATCH_ROWS, preprocess


def run(files: list[str], meter: Meter) -> Learner:
    learner = Learner()
    with ray_session.started(num_cpus=2):
        meter.start()
        fit(files, learner)
        meter.stop()
    return learner


def fit(files: list[str], learner: Learner) -> None:
    # user code
    ratings = ray.data.read_parquet(files)
    batches = ratings.map_batches(preprocess, batch_size=BATCH_ROWS)
    learner.fit(batches.iter_torch_batches(batch_size=BATCH_ROWS, prefetch_batches=4))
    # end of user code
