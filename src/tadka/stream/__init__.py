"""Rows from storage through stages to training or storage. See docs/stream.md."""

from tadka.stream.config import TransferConfig
from tadka.stream.flow import Flow, read, write
from tadka.stream.plan import BatchFormat
from tadka.stream.rank import Batches
from tadka.stream.report import Report, StageReport
from tadka.stream.run import Run
from tadka.stream.stage import Stage, Train

__all__ = [
    "BatchFormat",
    "Batches",
    "Flow",
    "Report",
    "Run",
    "Stage",
    "StageReport",
    "Train",
    "TransferConfig",
    "read",
    "write",
]
