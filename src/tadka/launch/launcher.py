"""What every launcher offers: start a process from a function, watch it, say why it ended.

`Launcher` is the one door through which stages, ranks, tasks and submissions become processes.
ghee's *swimmy* manages pods; here `local` manages processes, and `ray` and `kubernetes` follow
behind the same protocol.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tadka.core.resource import Resources

Reason = Literal["finished", "error", "signal", "out of memory", "stopped", "silent"]


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A function to run in a process of its own.

    Args:
        name: Shown in errors and process lists; letters, digits and ``-_.#``.
        entry: Function called in the child; travels by cloudpickle.
        args: Its arguments; travel by cloudpickle.
        resources: What one process may use. `replicas` is the caller's business.
        env: Variables added to the parent's environment.
        num_ranks: Above 0, the processes of one MPI job: `entry` runs in each of them.
    """

    name: str
    entry: Callable[..., object]
    args: tuple[Any, ...] = ()
    resources: Resources = field(default_factory=Resources)
    env: Mapping[str, str] = field(default_factory=dict)
    num_ranks: int = 0


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a process ended.

    Args:
        reason: ``finished``, ``error`` (its function raised), ``signal``, ``out of memory``,
            ``stopped`` (we asked), or ``silent`` (killed after missed heartbeats).
        code: Exit status, or minus the signal's number.
        detail: The child's traceback, or a sentence.
    """

    reason: Reason
    code: int
    detail: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether the process ended without having been asked to and without finishing."""
        return self.reason not in ("finished", "stopped")

    def __str__(self) -> str:
        return self.detail.strip().splitlines()[-1] if self.detail.strip() else self.reason


class Process(Protocol):
    """A started process."""

    @property
    def name(self) -> str:
        """The name from its `ProcessSpec`."""

    @property
    def pid(self) -> int:
        """Process id on its host."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process ends, for `poll` loops."""

    def silence_s(self) -> float:
        """Seconds since the last heartbeat arrived."""

    def exit(self) -> Exit | None:
        """How it ended, or None while it runs."""

    def kill(self, reason: Reason = "stopped") -> None:
        """End it and its children now (SIGKILL); no-op when it has ended."""

    def wait(self, timeout_s: float) -> Exit | None:
        """Wait for the end; None when it still runs after `timeout_s`."""


class Launcher(Protocol):
    """Starts processes somewhere."""

    def start(self, spec: ProcessSpec) -> Process:
        """Start one process (or one MPI job).

        Raises:
            LaunchError: The function cannot be pickled, the machine lacks what `resources`
                asks for, or the program cannot be started.
        """

    def close(self) -> None:
        """Kill what still runs and remove every file of this launcher."""
