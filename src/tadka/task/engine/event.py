"""What a build tells while it goes on."""

from dataclasses import dataclass
from typing import Any, Literal

from tadka.task.define.frozen import path_of
from tadka.task.define.task import Task

EventKind = Literal[
    "build started",
    "started",
    "hit",
    "finished",
    "retried",
    "failed",
    "skipped",
    "build finished",
]


@dataclass(frozen=True)
class Event:
    """Something happened in a build.

    Args:
        kind: What. `"finished"` comes when the result is on the disk.
        run: Id of the build's run.
        task: Which task; None of the build as a whole.
        key: Of its result, where it is known.
        seconds: That it took.
        attempt: 1 for the first; 0 where nothing ran.
        error: Why it failed.
        num_done: Tasks of the build that are finished, hit, failed or skipped.
        num_tasks: Tasks of the build.
    """

    kind: EventKind
    run: str
    task: Task[Any] | None = None
    key: str | None = None
    seconds: float = 0.0
    attempt: int = 0
    error: str | None = None
    num_done: int = 0
    num_tasks: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON, with path and id of the task."""
        found = {**self.__dict__, "task": None, "task_id": None}
        if self.task is not None:
            found |= {"task": path_of(type(self.task)), "task_id": self.task.id}
        return found
