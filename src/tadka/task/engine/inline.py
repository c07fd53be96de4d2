"""Runs jobs one by one in the process of the build."""

import random
import sys
import time
from collections.abc import Iterable
from typing import Any

from tadka.core.resource import Resources
from tadka.task.define.task import Task
from tadka.task.engine.job import Job, Outcome
from tadka.task.engine.perform import perform
from tadka.task.store.store import Store


class Inline:
    """An executor without processes of its own: `wait` runs the job that was submitted.

    What tasks print is shown, and the state of random numbers is what it was before, in the end.

    Args:
        store: Of inputs and outputs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._jobs: list[Job] = []
        self._state: Any = None
        self._numpy_state: Any = None

    def check(self, task: Task[Any]) -> None:
        """Takes every task; those that need a process of their own go elsewhere."""

    def choose(self, waiting: Iterable[Resources]) -> Resources | None:
        """The oldest, when nothing waits to run."""
        return None if self._jobs else next(iter(waiting), None)

    def has_room(self, resources: Resources) -> bool:  # noqa: ARG002 - it has no limits
        """Whether nothing waits to run."""
        return not self._jobs

    def submit(self, job: Job) -> None:
        """Takes a job, for `wait`."""
        if self._state is None:
            self._state = random.getstate()
            numpy = sys.modules.get("numpy")
            self._numpy_state = None if numpy is None else numpy.random.get_state()
        self._jobs.append(job)

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """Runs what was submitted."""
        if not self._jobs:
            if timeout_s:
                time.sleep(timeout_s)
            return []
        jobs, self._jobs = self._jobs, []
        return [perform(job, self._store, is_worker=False) for job in jobs]

    def close(self) -> None:
        """Gives generators of random numbers their state back."""
        self._jobs.clear()
        if self._state is not None:
            random.setstate(self._state)
            self._state = None
        if self._numpy_state is not None:
            sys.modules["numpy"].random.set_state(self._numpy_state)
            self._numpy_state = None
