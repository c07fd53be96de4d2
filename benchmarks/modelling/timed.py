"""tadka's models with a clock around their epochs; nothing else of them is changed."""

import json
from pathlib import Path
from typing import Any

from modelling.tadka_fit import Clock
from tadka.models.define.catalog import register
from tadka.models.library.bpr import BPR
from tadka.models.library.fm import FM
from tadka.models.library.lightgcn import LightGCN

TIMES = "times.json"


def _timed(model: Any, base: Any, batches: Any, run: Any) -> Any:
    clock = Clock(run)
    learnt = base.train(model, batches, clock)
    told = {"wall_s": clock.seconds, "cpu_s": clock.cpu_s}
    Path(run.folder, TIMES).write_text(json.dumps(told), encoding="utf-8")
    return learnt


@register("timed_fm")
class TimedFM(FM):
    """FM, timed."""

    def train(self, batches: Any, run: Any) -> Any:
        return _timed(self, FM, batches, run)


@register("timed_bpr")
class TimedBPR(BPR):
    """BPR, timed."""

    def train(self, batches: Any, run: Any) -> Any:
        return _timed(self, BPR, batches, run)


@register("timed_lightgcn")
class TimedLightGCN(LightGCN):
    """LightGCN, timed."""

    def train(self, batches: Any, run: Any) -> Any:
        return _timed(self, LightGCN, batches, run)
