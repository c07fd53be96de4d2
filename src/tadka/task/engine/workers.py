"""Runs jobs in processes of this machine.

Ordinary jobs share processes, which stay for the next job. A job with a limit on its memory, or
with GPUs, has a process of its own, which ends with it.
"""

import contextlib
import math
import pickle
import selectors
import socket
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tadka.core.error import LaunchError
from tadka.core.extra import require
from tadka.core.resource import Resources
from tadka.launch.launcher import Exit, ProcessSpec
from tadka.launch.local import LocalLauncher, LocalProcess
from tadka.task.define.cut import cut
from tadka.task.define.frozen import main_name
from tadka.task.define.task import Task
from tadka.task.engine.job import Failure, Job, Outcome
from tadka.task.engine.serve import Asked, Definition, Orders, encode, listening, serve
from tadka.task.engine.tokens import Capacity, Tokens
from tadka.task.settings import current
from tadka.task.store.store import Store

_SOCKET = "build"
_START_S = 60.0  # for a worker to begin, which is not in the timeout of its job
_END_S = 5.0  # for a process of its own to end, once it has given its outcome


class _Worker:
    """A process, and the job that it runs."""

    def __init__(
        self, process: LocalProcess, log: Path, *, is_shared: bool, num_threads: int
    ) -> None:
        self.process = process
        self.log = log
        self.is_shared = is_shared
        self.num_threads = num_threads
        self.connection: Connection | None = None  # until it has called
        self.job: Job | None = None
        self.message: bytes | None = None  # the job, until it is sent
        self.began = 0.0
        self.until = math.inf
        self.outcome: Outcome | None = None  # of a process that has still to end


class Workers:
    """Runs jobs in processes of this machine, as many as fit; see `Executor`.

    Args:
        store: Of inputs and outputs.
        workers: Jobs at a time; one for each core unless given.
        capacity: What all jobs together may use; what this machine has, unless given.
        launcher: Starts the processes; one of our own unless given.
    """

    def __init__(
        self,
        store: Store,
        workers: int | None = None,
        *,
        capacity: Capacity | None = None,
        launcher: LocalLauncher | None = None,
    ) -> None:
        self.capacity = Capacity.of_machine(workers) if capacity is None else capacity
        self._store = store
        self._tokens = Tokens(self.capacity)
        self._is_ours = launcher is None
        self._launcher = launcher
        self._address: Path | None = None
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._workers: dict[int, _Worker] = {}
        self._num_started = 0
        self._is_closed = False
        self._ended: list[Outcome] = []
        self._definitions: dict[str, bytes] = {}

    # ------------------------------------------------------------ what may begin

    def check(self, task: Task[Any]) -> None:
        """Says before a build begins what can never run here.

        Args:
            task: Of the build.

        Raises:
            ConfigError: It needs more than there is, or something that only a cluster has.
        """
        self._tokens.check(task)

    def choose(self, waiting: Iterable[Resources]) -> Resources | None:
        """Which of the waiting jobs is to begin next: the largest, with some exceptions.

        Args:
            waiting: What they need, each different need once; the oldest first.

        Returns:
            One of `waiting`; None where all have to wait for an outcome.
        """
        return self._tokens.choose(waiting)

    def has_room(self, resources: Resources) -> bool:
        """Whether a job that needs this could begin now.

        Args:
            resources: Of the job.
        """
        return self._tokens.choose([resources]) is not None

    # ------------------------------------------------------------ running

    def submit(self, job: Job) -> None:
        """Begins a job.

        Args:
            job: Its outcome, good or bad, comes from `wait`, once.
        """
        self._tokens.take(job.number, job.resources)
        try:
            data = encode(replace(job, task=cut(job.task)))
        except Exception as error:  # noqa: BLE001 - it runs methods of the user's objects
            last = "".join(traceback.format_exception_only(error)).strip()
            message = f"{type(job.task).__name__} cannot be sent to a worker process: {last}"
            self._finish(job, Outcome(job.number, error=Failure("error", message)))
            return
        try:
            worker = self._idle(job.resources) or self._start(job)
        except (LaunchError, OSError) as error:
            message = f"No worker process can be started for {type(job.task).__name__}: {error}"
            self._finish(job, Outcome(job.number, error=Failure("error", message)))
            return
        worker.job, worker.message = job, pickle.dumps((job.number, data), protocol=5)
        worker.began = time.monotonic()
        if worker.connection is not None:
            self._send(worker)
        elif job.resources.timeout_s is not None:
            worker.until = worker.began + _START_S + job.resources.timeout_s

    def wait(self, timeout_s: float | None) -> list[Outcome]:
        """What has ended since the last call.

        Args:
            timeout_s: How long to wait for the first; None is until one comes.

        Returns:
            At once an empty list, when nothing runs.
        """
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            is_over = bool(self._ended) or not self._tokens.num_running or now >= until
            self._poll(now if is_over else until)
            if is_over or self._ended:
                ended, self._ended = self._ended, []
                return ended

    def close(self) -> None:
        """Ends what still runs; after it nothing can begin."""
        if self._is_closed:
            return
        self._is_closed = True
        for worker in list(self._workers.values()):
            self._hang_up(worker)
            if not self._is_ours:
                worker.process.kill()
                worker.process.wait(_END_S)
        self._workers.clear()
        if self._launcher is not None and self._is_ours:
            self._launcher.close()
            self._launcher = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._address is not None:
            self._address.unlink(missing_ok=True)
        self._selector.close()

    # ------------------------------------------------------------ processes

    def _idle(self, needs: Resources) -> _Worker | None:
        """A process that waits and would do; the one that ended last: its memory is warm."""
        if _is_alone(needs):
            return None
        for worker in reversed(self._workers.values()):
            is_free = worker.is_shared and worker.job is None and worker.connection is not None
            if is_free and worker.num_threads == _num_threads(needs):
                return worker
        return None

    def _start(self, job: Job) -> _Worker:
        is_shared = not _is_alone(job.resources)
        if is_shared:
            self._make_room()
        if self._launcher is None:
            self._launcher = LocalLauncher()
        if self._listener is None:
            self._address = self._launcher.directory / f"{_SOCKET}-{id(self):x}"
            self._listener = listening(self._address)
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        assert self._address is not None
        self._num_started += 1
        number = self._num_started
        orders = Orders(
            address=self._address,
            number=number,
            store=self._store,
            settings=current(),
            main_name=main_name(),
            log=self._address.with_name(f"{self._address.name}-{number}.log"),
        )
        needs, num_threads = job.resources, _num_threads(job.resources)
        process = self._launcher.start(
            ProcessSpec(
                name=f"worker-{number}" if is_shared else type(job.task).__name__,
                entry=serve,
                args=(orders,),
                # Not the timeout: it is that of the job, and begins when the process does.
                resources=Resources(
                    cpu=num_threads if is_shared else needs.cpu,
                    memory=needs.memory,
                    gpu=needs.gpu,
                ),
            )
        )
        worker = _Worker(process, orders.log, is_shared=is_shared, num_threads=num_threads)
        self._workers[number] = worker
        ended = partial(self._bury, number, worker)
        self._selector.register(process, selectors.EVENT_READ, ended)
        return worker

    def _make_room(self) -> None:
        """Ends processes that wait and were of no use, when there are enough of them."""
        shared = [worker for worker in self._workers.values() if worker.is_shared]
        idle = [worker for worker in shared if worker.job is None and worker.connection is not None]
        most = math.ceil(min(self.capacity.workers, self.capacity.cpu))
        for worker in idle[: max(0, len(shared) + 1 - most)]:
            self._hang_up(worker)

    def _hang_up(self, worker: _Worker) -> None:
        """Has a process end by itself."""
        if worker.connection is not None:
            self._selector.unregister(worker.connection)
            worker.connection.close()
            worker.connection = None
        worker.is_shared = False

    def _send(self, worker: _Worker) -> None:
        """Sends a worker the job that it has; one that is dead says so by its end."""
        assert worker.connection is not None
        assert worker.job is not None
        assert worker.message is not None
        message, worker.message = worker.message, None
        worker.began = time.monotonic()
        worker.until = worker.began + (worker.job.resources.timeout_s or math.inf)
        with contextlib.suppress(OSError):
            worker.connection.send_bytes(message)

    # ------------------------------------------------------------ what they say

    def _poll(self, until: float) -> None:
        """Takes what comes until a moment, or what is there; once."""
        now = time.monotonic()
        until = min(until, min((w.until for w in self._workers.values()), default=math.inf))
        timeout_s = None if math.isinf(until) else max(0.0, until - now)
        for key, _ in self._selector.select(timeout_s):
            if self._selector.get_map().get(key.fd) == key:  # and not closed by the one before
                key.data()
        now = time.monotonic()
        for worker in self._workers.values():
            if worker.until <= now:
                worker.until = math.inf
                worker.process.kill("timeout")

    def _accept(self) -> None:
        assert self._listener is not None
        connection = Connection(self._listener.accept()[0].detach())
        self._selector.register(connection, selectors.EVENT_READ, partial(self._greet, connection))

    def _greet(self, connection: Connection) -> None:
        """The first message says whose connection it is."""
        self._selector.unregister(connection)
        try:
            number = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            connection.close()
            return
        worker = self._workers.get(number)
        if worker is None:  # its end was seen first
            connection.close()
            return
        worker.connection = connection
        self._selector.register(
            connection, selectors.EVENT_READ, partial(self._hear, worker, connection)
        )
        if worker.message is not None:
            self._send(worker)

    def _hear(self, worker: _Worker, connection: Connection) -> None:
        try:
            said = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError):  # its end will be seen, too
            self._hang_up(worker)
            return
        if isinstance(said, Asked):
            with contextlib.suppress(OSError):
                connection.send_bytes(encode(self._definition(said.name)))
            return
        assert isinstance(said, Outcome)
        assert worker.job is not None
        worker.until = math.inf
        if worker.is_shared:
            job, worker.job = worker.job, None
            self._finish(job, said)
            return
        limit = worker.process.limit
        if said.error is not None and limit is not None and limit.num_oom_kills():
            # the kernel chose a process that the task had started
            said = replace(said, error=replace(said.error, kind="out of memory"))
        worker.outcome = said
        worker.until = time.monotonic() + _END_S
        self._hang_up(worker)

    def _bury(self, number: int, worker: _Worker) -> None:
        """A process has ended; its job, if it has one, with it."""
        connection = worker.connection
        while connection is not None and connection.poll(0):  # what it said before
            self._hear(worker, connection)
            connection = worker.connection
        ended = worker.process.exit()
        if ended is None:
            return
        self._selector.unregister(worker.process)
        self._hang_up(worker)
        del self._workers[number]
        if worker.job is not None:
            outcome = worker.outcome
            if outcome is None:
                seconds = time.monotonic() - worker.began
                failure = _failure(worker.job, ended)
                log = _text(worker.log)
                outcome = Outcome(worker.job.number, seconds=seconds, log=log, error=failure)
            self._finish(worker.job, outcome)
        worker.log.unlink(missing_ok=True)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        self._tokens.give(job.number)
        self._ended.append(outcome)

    def _definition(self, name: str) -> Definition:
        """Something that the program that runs here defines."""
        if name not in self._definitions:
            main = sys.modules["__main__"]
            if not hasattr(main, name):
                return Definition(None)
            try:
                self._definitions[name] = require("cloudpickle").dumps(
                    getattr(main, name), protocol=5
                )
            except Exception as error:  # noqa: BLE001 - it runs methods of the user's objects
                return Definition(
                    None, f" that can be sent to a worker process: {type(error).__name__}: {error}"
                )
        return Definition(self._definitions[name])


def _is_alone(needs: Resources) -> bool:
    """Whether a job has a process of its own."""
    return needs.memory is not None or needs.gpu > 0


def _num_threads(needs: Resources) -> int:
    return math.ceil(needs.cpu)


def _text(log: Path) -> str:
    """What a job had printed; nothing where it had not begun."""
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _failure(job: Job, ended: Exit) -> Failure:
    """Why a process ended before it had an outcome."""
    name, needs = type(job.task).__name__, job.resources
    if ended.reason == "timeout":
        return Failure("timeout", f"{name} was stopped at its timeout of {needs.timeout_s:g} s.")
    if ended.reason == "out of memory":
        return Failure("out of memory", f"{name} ran out of memory: {ended}.", ended.detail)
    text = f"The process of {name} ended before it was done: {ended}."
    if str(ended) == "killed by SIGKILL" and needs.memory is None:
        text += (
            " If the machine had no memory left, declare resources = Resources(memory=...), so "
            "that fewer tasks run beside it."
        )
    return Failure("killed", text, ended.detail)
