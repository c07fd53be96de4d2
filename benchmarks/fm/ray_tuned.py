"""Ray Data without what holds it up on one small machine, and warm from a run over one file.

Its second reader starts 32 actors to read the footers of 8 files, and then makes one task of
them all; by default idle workers end after a second, and all run at nice 15 (those two Ray reads
from the environment: see `environment` in stream_fm.py).
"""

import ray
from harness import Meter
from peers import ray_session

from fm.model import Learner
from fm.ratings import BATCH_ROWS, preprocess


def run(files: list[str], meter: Meter) -> Learner:
    learner = Learner()
    with ray_session.started(num_cpus=2):
        fit(files[:1], Learner())
        meter.start()
        fit(files, learner)
        meter.stop()
    return learner


def fit(files: list[str], learner: Learner) -> None:
    # user code
    ray.data.DataContext.get_current().use_datasource_v2 = False
    ratings = ray.data.read_parquet(files, override_num_blocks=len(files))
    batches = ratings.map_batches(preprocess, batch_size=BATCH_ROWS)
    learner.fit(batches.iter_torch_batches(batch_size=BATCH_ROWS, prefetch_batches=4))
    # end of user code
