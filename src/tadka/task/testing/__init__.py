"""Tests of tasks, in memory: a body with stub inputs, a graph on empty frames, frames compared.

expected = ...
assert_frames_equal(run_with(Features(clicks=Clicks(day=day)), clicks=frame), expected)
run_empty(Train(...)).raise_failures()
"""

from tadka.task.testing.body import run_with
from tadka.task.testing.comparison import Difference, assert_frames_equal, compare_frames
from tadka.task.testing.empty import EmptyReport, EmptyResult, run_empty

__all__ = [
    "Difference",
    "EmptyReport",
    "EmptyResult",
    "assert_frames_equal",
    "compare_frames",
    "run_empty",
    "run_with",
]
