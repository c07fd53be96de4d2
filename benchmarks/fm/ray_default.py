"""Ray Data as its documentation shows it: read_parquet, map_batches, iter_torch_batches."""

import ray

import local_ray
from fm.model import Learner
from fm.ratings import BATCH_ROWS, preprocess
from harness import Meter


def run(files: list[str], meter: Meter, *, warm: bool = False) -> Learner:
    learner = Learner()
    with local_ray.started(num_cpus=2):
        if warm:
            fit(files[:1], Learner())
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
