"""Ray Data with its workers kept, at normal priority, and warm from a first run over one file.

By default Ray ends idle workers after a second, so that a run pays for starting new ones, and
runs its workers at nice 15. Ray reads both from the environment, which stream_fm.py sets.
"""

from fm import ray_default
from fm.model import Learner
from harness import Meter


def run(files: list[str], meter: Meter) -> Learner:
    return ray_default.run(files, meter, warm=True)
