"""Where the jobs of a build run.

A build asks `choose` which of its waiting shapes of job may begin, submits one of that shape, and
goes on until it is told None; then it waits for outcomes.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from tadka.core.resource import Resources
from tadka.task.define.task import Task
from tadka.task.engine.job import Job, Outcome


class Executor(Protocol):
    """Runs jobs, some at a time."""

    def check(self, task: Task[Any]) -> None:
        """Says before a build begins what can never run here.

        Args:
            task: Of the build.

        Raises:
            ConfigError: It needs more than there is.
        """

    def choose(self, waiting: Iterable[Resources]) -> Resources | None:
        """Which of the waiting jobs is to begin next.

        Args:
            waiting: What they need, each different need once; the oldest first.

        Returns:
            One of `waiting`, for `submit`; None where all have to wait for an outcome.
        """

    def has_room(self, resources: Resources) -> bool:
        """Whether a job that needs this could begin now; `choose` among one.

        Args:
            resources: Of the job.
        """

    def submit(self, job: Job) -> None:
        """Begins a job, which `choose` has let in.

        Args:
            job: Its outcome, good or bad, comes from `wait`, once.
        """

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """What has ended since the last call.

        Args:
            timeout_s: How long to wait for the first; None is until one comes.

        Returns:
            At once an empty list, when nothing runs.
        """

    def close(self) -> None:
        """Ends what still runs."""
