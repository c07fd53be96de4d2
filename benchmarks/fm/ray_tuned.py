"""Ray Data with its workers kept, at normal priority, and warm from a first run over one file.

By default Ray ends idle workers after a second, so that a run pays for starting new ones, and
runs its workers at nice 15. The environment (`ENVIRONMENT`) is read when Ray starts.
"""

from fm import ray_default
from fm.model import Learner
from harness import Meter

ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
}


def run(files: list[str], meter: Meter) -> Learner:
    return ray_default.run(files, meter, warm=True)
