"""What travels between a build and the processes that run its tasks: jobs and how they ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tadka.core.resource import Resources
from tadka.task.define.task import Task
from tadka.task.store.row import Output

Kind = Literal["error", "check", "damaged", "timeout", "out of memory", "killed"]


@dataclass(frozen=True)
class Ready:
    """A result that a job can read.

    Args:
        cls: Class of the task that made it.
        outputs: Where its bytes are, committed or aside.
    """

    cls: type[Task[Any]]
    outputs: tuple[Output, ...]

    def in_files(self) -> "Ready":
        """The same, when files have what waited in memory."""
        if all(output.data is None for output in self.outputs):
            return self
        return Ready(self.cls, tuple([output.written() for output in self.outputs]))


@dataclass(frozen=True)
class Job:
    """A task that is to run.

    Args:
        number: Of the job in its build.
        task: What to run.
        inputs: Results by the place where the task's fields hold them: `"days[3]"`.
        key: Of the result.
        seed: Of random numbers.
        attempt: 1 for the first.
        resources: What it may use; more than the class says where it ran out of memory before.
        needed: Results by the id of tasks that `run` asked for.
    """

    number: int
    task: Task[Any]
    inputs: Mapping[str, Ready]
    key: str
    seed: int
    attempt: int = 1
    resources: Resources = field(default_factory=Resources)
    needed: Mapping[str, Ready] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why a job failed.

    Args:
        kind: What happened: `"damaged"` is an input whose bytes changed on the disk.
        message: The last line of the exception, or a sentence.
        traceback: Of the user's code; empty where there is none.
        content: Hash of the damaged bytes.
    """

    kind: Kind
    message: str
    traceback: str = ""
    content: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Args:
        number: Of the job.
        outputs: What was written, not durable yet; empty where it failed.
        seconds: That `run` took.
        peak_bytes: Of memory; None where it was not measured.
        metrics: That the task logged.
        log: The end of what it printed and logged.
        plots: For its card.
        warnings: Checks of severity "warn" that failed.
        error: Why it failed; None where it did not.
        needs: Tasks that it asked for with `Run.need`, those of each call together, each once.
        is_waiting: Whether it stopped because one of them is not built.
    """

    number: int
    outputs: tuple[Output, ...] = ()
    seconds: float = 0.0
    peak_bytes: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    log: str = ""
    plots: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    error: Failure | None = None
    needs: tuple[tuple[Task[Any], ...], ...] = ()
    is_waiting: bool = False


def seed_of(task: Task[Any]) -> int:
    """The seed of a task: that of its class, or one that its id gives.

    Args:
        task: Any.
    """
    own = type(task).seed
    return int(task.id[:8], 16) if own is None else own
