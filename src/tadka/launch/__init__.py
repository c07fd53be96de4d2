"""Processes somewhere: start, watch, stop. See docs/launch.md."""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.launch.launcher import Exit, Launcher, Process, ProcessSpec
    from tadka.launch.local import LocalLauncher, num_gpus
    from tadka.launch.memory import MemoryLimit, available_bytes
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "launcher": ["Exit", "Launcher", "Process", "ProcessSpec"],
            "local": ["LocalLauncher", "num_gpus"],
            "memory": ["MemoryLimit", "available_bytes"],
        },
    )

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
