"""What every launcher offers: start a process from a function, watch it, say why it ended.

`Launcher` is the one door through which stages, ranks, tasks and submissions become processes.
ghee's *swimmy* manages pods; here `local` manages processes, and `ray` and `kubernetes` follow
behind the same protocol.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tadka.core.resource import Resources

Reason = Literal["finished", "error", "signal", "out of memory", "stopped", "silent", "timeout"]


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A function to run in a process of its own.

    Args:
        name: Shown in errors and process lists.
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
        reason: ``finished``, ``error`` (its function raised, or it ended with another status
            than 0), ``signal``, ``out of memory``, ``stopped`` (we asked), ``silent`` (killed
            after missed heartbeats), or ``timeout`` (killed at `Resources.timeout_s`).
        code: Exit status, or minus the signal's number.
        detail: The child's traceback, or a few words; the last line alone says what happened.
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
        """A descriptor that becomes readable when the process ends, for `poll` loops.

        It is open for as long as this object lives.
        """

    def silence_s(self) -> float:
        """Seconds since the last heartbeat arrived; 0 for what has ended, and for an MPI job."""

    def exit(self) -> Exit | None:
        """How it ended, or None while it runs.

        Call it now and then: this is where a timeout is noticed, and where all that an ended
        process has started is killed and its files are removed.
        """

    def kill(self, reason: Reason = "stopped") -> None:
        """End it now (SIGKILL), as well as all that it has started; no-op when it has ended.

        Args:
            reason: What `exit` is to say.
        """

    def wait(self, timeout_s: float) -> Exit | None:
        """Wait for the end; None when it still runs after `timeout_s`."""


class Launcher(Protocol):
    """Starts processes somewhere."""

    def start(self, spec: ProcessSpec) -> Process:
        """Start one process (or one MPI job); returns before its function has begun.

        Raises:
            LaunchError: The function cannot be pickled, the machine lacks what `resources`
                asks for, or the program cannot be started.
            MissingExtra: An MPI job is asked for, and mpi4py is not installed.
        """

    def close(self) -> None:
        """Kill what still runs and remove every file of this launcher."""
