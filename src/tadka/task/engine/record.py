"""What a build writes down and tells of its tasks: entries, executions, logs and events."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadka.task.define.frozen import path_of
from tadka.task.engine.event import Event, EventKind
from tadka.task.engine.job import Job, Outcome
from tadka.task.engine.need import NEEDS, recorded
from tadka.task.engine.work import Work
from tadka.task.lookup import Codes, Found
from tadka.task.store.row import Entry, Execution
from tadka.task.store.store import Store

Listener = Callable[[Event], object]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """A job that was submitted.

    Args:
        work: Whose.
        job: It.
        found: What was known when it began.
        started_at: Seconds since 1970.
    """

    work: Work
    job: Job
    found: Found
    started_at: float


class Record:
    """Makes the rows of one run, and tells who listens.

    Args:
        run: Id of the run.
        store: Where logs go.
        on_event: Who listens; None for nobody.
    """

    def __init__(self, run: str, store: Store, on_event: Listener | None) -> None:
        self.run = run
        self.environment = ""
        self.num_done = 0
        self.num_tasks = 0
        self._store = store
        self._on_event = on_event
        self._is_warned = False

    def entry(self, running: Running, outcome: Outcome, codes: Codes) -> Entry:
        """The row of a result.

        Args:
            running: What ran.
            outcome: How it ended: well.
            codes: Of classes.
        """
        job, task = running.job, running.work.task
        parts: Mapping[str, Any] = vars(running.found.parts)
        if outcome.needs:
            contents = {
                other.id: codes.content(other, job.needed[other.id].outputs)
                for call in outcome.needs
                for other in call
            }
            parts = {**parts, NEEDS: recorded(outcome.needs, contents)}
        return Entry(
            job.key,
            running.found.parts.task,
            task.id,
            parts,
            {name: field.to_json(task.__dict__[name]) for name, field in task.fields.items()},
            outcome.outputs,
            self.run,
            time.time(),
            outcome.seconds,
            outcome.peak_bytes,
            job.seed,
            self.environment,
        )

    def execution(self, running: Running, status: str, outcome: Outcome) -> Execution:
        """The row of a job that ended; what it printed becomes a file.

        Args:
            running: What ran.
            status: "ran", "failed" or "retried".
            outcome: How it ended.
        """
        work, failure = running.work, outcome.error
        details: dict[str, Any] = {}
        if outcome.plots:
            details["plots"] = list(outcome.plots)
        if outcome.warnings:
            details["warnings"] = list(outcome.warnings)
        if failure is not None:
            details["kind"] = failure.kind
        if outcome.log or (failure is not None and failure.traceback):
            work.log = self._write_log(running.job, outcome)
        return Execution(
            self.run,
            running.found.parts.task,
            work.task.id,
            status,
            running.started_at,
            outcome.seconds,
            running.job.key,
            running.job.attempt,
            outcome.peak_bytes,
            None if failure is None else failure.message,
            work.log,
            outcome.metrics,
            details,
        )

    def unrun(self, work: Work, status: str) -> Execution:
        """The row of a task that did not run.

        Args:
            work: It; its error says why.
            status: "failed" or "skipped".
        """
        return Execution(
            self.run,
            path_of(type(work.task)),
            work.task.id,
            status,
            time.time(),
            0.0,
            work.key,
            work.attempts,
            error=work.error,
        )

    def tell(
        self, kind: EventKind, work: Work | None = None, *, seconds: float | None = None
    ) -> None:
        """Tells who listens; an error of theirs is logged, once.

        Args:
            kind: What happened.
            work: To which task; None for the build.
            seconds: That it took; those of the task unless given.
        """
        if self._on_event is None:
            return
        task, key, error, attempt = None, None, None, 0
        if work is not None:
            task, key, error, attempt = work.task, work.key, work.error, work.attempts
            seconds = work.seconds if seconds is None else seconds
        event = Event(
            kind,
            self.run,
            task,
            key,
            seconds or 0.0,
            attempt,
            error,
            self.num_done,
            self.num_tasks,
        )
        try:
            self._on_event(event)
        except Exception:  # it is the user's, and what is built is safe
            if not self._is_warned:
                self._is_warned = True
                _logger.warning("on_event failed at %r; the build goes on.", kind, exc_info=True)

    def _write_log(self, job: Job, outcome: Outcome) -> str | None:
        """What a task printed, and the traceback where it failed; gives its path."""
        attempt = f"-{job.attempt}" if job.attempt > 1 else ""
        path = Path("logs", self.run, f"{type(job.task).__name__}-{job.key[:8]}{attempt}.txt")
        text = outcome.log + (outcome.error.traceback if outcome.error is not None else "")
        try:
            whole = self._store.folder / path
            whole.parent.mkdir(parents=True, exist_ok=True)
            whole.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:  # the disk is full, perhaps; the task need not fail for it
            _logger.warning("Log %s cannot be written: %s.", path, error.strerror)
            return None
        return str(path)
