"""tadka: the files, two replicas of preprocess, one training rank."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import Meter

from fm.model import Learner
from fm.ratings import BATCH_ROWS, preprocess
from tadka.stream import Stage, Train, read

# Made when the rank imports this module, hence before it is ready, as with every other method.
learner = Learner()


# user code
def train(batches: Any, run: Any) -> Any:
    # end of user code
    meter = Meter()
    meter.start()
    # user code
    for _ in run.epochs:
        learner.fit(batches)
    # end of user code
    meter.stop()
    # Reading the CPU time of the whole tree comes after the last batch, as with the others.
    reading_s = time.perf_counter() - meter.stop_at
    return {**learner.outcome(), "reading_s": reading_s, "cpu_s": meter.cpu_s}


def run(files: list[str], _meter: Meter) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        os.chdir(directory)
        source = str(Path(files[0]).with_name("*.parquet"))
        # user code
        flow = read(source, batch_rows=BATCH_ROWS) | Stage(preprocess, replicas=2) | Train(train)
        report = flow.run(progress="none")
        # end of user code
    return {
        **report.result,
        "wall_s": report.seconds - report.result["reading_s"],
        "startup_s": report.startup_s,
        "first_batch_s": report.first_batch_s,
        "transport": report.transport,
        "stages": [
            {
                "name": s.name,
                "busy": s.busy_share,
                "in": s.wait_input_share,
                "out": s.wait_output_share,
            }
            for s in report.stages
        ],
    }
