"""Processes somewhere: start, watch, stop. See docs/launch.md."""

from tadka.launch.launcher import Exit, Launcher, Process, ProcessSpec
from tadka.launch.local import LocalLauncher, num_gpus
from tadka.launch.memory import MemoryLimit, available_bytes

__all__ = [
    "Exit",
    "Launcher",
    "LocalLauncher",
    "MemoryLimit",
    "Process",
    "ProcessSpec",
    "available_bytes",
    "num_gpus",
]
