"""Builds tasks: everything that they need, each task at most once, and only what is not stored.

A task goes this way: it is *ready* when all that it needs is there; its key is looked up, and a hit
ends it; else it is *pending* until there is room; its key is locked and looked up once more, as
another process may have made it; it runs; its result joins a group that is committed in a moment,
and those that need it may read it already.
"""

import heapq
import logging
import secrets
import time
import warnings
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.core.resource import Resources
from tadka.task.define.frozen import Input, path_of
from tadka.task.define.task import Task, arguments_of, inputs_of, whole_of
from tadka.task.engine.environment import environment_of
from tadka.task.engine.executor import Executor
from tadka.task.engine.group import Group, Item, Settled
from tadka.task.engine.inline import Inline
from tadka.task.engine.job import Failure, Job, Outcome, Ready, seed_of
from tadka.task.engine.link import has_path, names_of, refuse_doubles
from tadka.task.engine.loading import refuse_build
from tadka.task.engine.need import NEEDS, restored_calls
from tadka.task.engine.record import Listener, Record, Running
from tadka.task.engine.report import Report
from tadka.task.engine.tokens import grown, needs_process
from tadka.task.engine.work import Work, Works
from tadka.task.force import Forced, forced
from tadka.task.graph import Graph
from tadka.task.key import parts_of
from tadka.task.lookup import Codes, Found, OnCodeChange, find, reasons_of
from tadka.task.store.row import Entry, RunRow
from tadka.task.store.store import Store

if TYPE_CHECKING:
    from tadka.launch.local import LocalLauncher

_logger = logging.getLogger(__name__)

_MOST_PENDING = 256
"""Tasks that are looked up before there is room for them."""

_POLL_S = 0.05
"""Between two looks at a key that another process is making."""

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
"""Before a task that failed is tried again."""

MOST_DAMAGES = 3
"""Times that one result is made again in a build because its bytes were damaged."""


class Build:
    """One build of tasks and all that they need.

    Args:
        tasks: What is wanted.
        store: Where results are.
        workers: Processes at once; None or 1 runs one task at a time, in this process where no task
            limits its memory or time or has GPUs.
        force: Tasks, classes, names of classes, or `below(...)` of these: what runs although its
            result is stored. What depends on it follows only if the content is another.
        on_code_change: As in `lookup`; a class's own setting wins.
        on_event: Told of everything that happens. What it raises does not end the build; the first
            such error is logged.
        keep_going: Whether tasks that do not depend on a failed one still run.
        launcher: Starts worker processes; one for this machine unless given.

    Raises:
        ConfigError: Something is wrong that can be known before anything runs.
    """

    def __init__(
        self,
        tasks: Iterable[Input[Any]],
        *,
        store: Store,
        workers: int | None = None,
        force: Forced | Iterable[Forced] = (),
        on_code_change: OnCodeChange | None = None,
        on_event: Listener | None = None,
        keep_going: bool = True,
        launcher: "LocalLauncher | None" = None,
    ) -> None:
        refuse_build()
        if workers is not None and (type(workers) is not int or workers < 1):
            raise ConfigError(f"workers={workers!r}; it must be a whole number of at least 1.")
        if on_code_change not in (None, "rerun", "warn", "ignore"):
            raise ConfigError(
                f"on_code_change={on_code_change!r}; it must be 'rerun', 'warn' or 'ignore'."
            )
        self._roots = [_task_of(item) for item in tasks]
        self._store = store
        self._workers = workers or 1
        self._on_code_change: OnCodeChange = on_code_change or "rerun"
        self._keep_going = keep_going
        self._launcher = launcher
        self._record = Record(_run_id(), store, on_event)
        self._codes = Codes()
        self._works = Works()
        self._pending: dict[Resources, deque[tuple[Work, Found]]] = {}
        self._num_pending = 0
        self._later: list[tuple[float, int, Work]] = []
        self._running: dict[int, Running] = {}
        self._number = 0
        self._warned: set[type] = set()
        self._classes: set[type] = set()
        self._paths: dict[str, tuple[Task[Any], str]] = {}  # said by classes, and whose they are
        self._calls: dict[str, deque[list[tuple[Task[Any], str]]]] = {}  # to be checked, by key
        self._blind: set[type] = set()  # classes with code that could not be looked into
        self._is_stopping = False
        self._is_first_build: bool | None = None  # of the workspace; None until it matters
        self._executor: Executor = Inline(store)
        self._group = Group(store)
        graph = Graph(self._roots)
        meant = forced(graph, force)
        self._add(graph)
        for node in meant:
            self._works[node.id].is_forced = True

    def run(self) -> Report:
        """Builds.

        Returns:
            What was done; failures of tasks are in it.

        Raises:
            DataError: The workspace cannot be read or written.
            KeyboardInterrupt: Somebody pressed Ctrl-C; what was done until then is committed.
        """
        begin = time.perf_counter()
        row = self._row()
        with self._store.using(row):
            status = "failed"
            try:
                self._record.tell("build started")
                self._loop()
                status = "ok" if self._report(begin).is_ok else "failed"
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            finally:
                self._end(status, begin)
        report = self._report(begin)
        self._record.tell("build finished", seconds=report.seconds)
        return report

    # ------------------------------------------------------------ begin and end

    def _add(self, graph: Graph, *, is_recorded: bool = False) -> None:
        """Takes tasks in, when it is sure that they can run here.

        Args:
            graph: With all that they need.
            is_recorded: Whether bodies asked for them in an earlier build.

        Raises:
            ConfigError: They cannot, or would write where another task does.
        """
        new = [node.task for node in graph if node.id not in self._works]
        paths = refuse_doubles(new, self._paths)
        fresh = {type(task): task for task in new if type(task) not in self._classes}
        is_apart = self._workers > 1 or any(
            needs_process(task.resources) for task in fresh.values()
        )
        if is_apart and isinstance(self._executor, Inline):
            # late: what starts processes is slow to load, and small builds need none
            workers = require("tadka.task.engine.workers")
            self._executor.close()
            self._executor = workers.Workers(self._store, self._workers, launcher=self._launcher)
        for task in fresh.values():
            self._executor.check(task)
        self._paths.update(paths)
        self._classes.update(fresh)
        self._works.add(graph, is_recorded=is_recorded)
        self._record.num_tasks = len(self._works)

    def _row(self) -> RunRow:
        """The run as it begins."""
        cls = type(self._roots[0]) if self._roots else Task
        self._record.environment = self._store.index.add_environment(environment_of(cls))
        return RunRow(
            self._record.run,
            path_of(cls) if self._roots else "",
            self._roots[0].id if self._roots else "",
            time.time(),
            self._record.environment,
            details={"roots": [task.id for task in self._roots], "num_tasks": len(self._works)},
        )

    def _report(self, begin: float) -> Report:
        seconds = time.perf_counter() - begin
        return Report(self._record.run, self._works, self._roots, self._store, seconds)

    def _end(self, status: str, begin: float) -> None:
        """Ends what runs, gives locks back whatever happens, and commits what is done."""
        try:
            self._executor.close()
        finally:
            for running in self._running.values():
                self._store.locks.release(running.job.key)
            self._group.close()
        for settled in self._group.settled():
            self._settle(settled)
        counts = self._report(begin).counts
        works = [self._works.get(task.id) for task in self._roots]
        keys = [None if work is None else work.entry_key for work in works]
        details = {"counts": counts, "num_tasks": len(self._works), "keys": keys}
        try:
            self._store.index.end_run(self._record.run, status, time.time(), details)
        except DataError as error:  # the disk is full, perhaps; the report says more
            _logger.warning("The end of run %s is not written down: %s", self._record.run, error)

    # ------------------------------------------------------------ the loop

    def _loop(self) -> None:
        works, group = self._works, self._group
        while works.num_open or group.num_open or self._running:
            self._look_at_ready()
            self._begin_pending()
            for settled in group.settled():
                self._settle(settled)
            if self._running:
                for outcome in self._executor.wait(self._patience_s()):
                    self._ended(outcome)
            elif works.ready:
                continue
            elif self._num_pending:
                self._fail_pending()
            elif group.num_open:  # others may wait for our locks while we wait for theirs
                group.wait(self._patience_s())
            elif self._later:
                time.sleep(self._patience_s() or 0.0)
            elif works.num_open:
                self._fail_circle()

    def _patience_s(self) -> float | None:
        """How long there is nothing to do but to wait for outcomes; None is for ever."""
        due = [_POLL_S] if self._group.num_open else []
        if self._later:
            due.append(max(0.0, self._later[0][0] - time.monotonic()))
        return min(due, default=None)

    def _put_off(self, work: Work, pause_s: float) -> None:
        self._number += 1
        heapq.heappush(self._later, (time.monotonic() + pause_s, self._number, work))

    # ------------------------------------------------------------ is the result there?

    def _look_at_ready(self) -> None:
        ready = self._works.ready
        while self._later and self._later[0][0] <= time.monotonic():
            ready.append(heapq.heappop(self._later)[2])
        with ExitStack() as stack:
            is_reading = False
            while ready and self._num_pending < _MOST_PENDING:
                work = ready.popleft()
                if not work.is_hopeless and not work.is_done:
                    self._look_at(work)
                if not is_reading and work.status == "hit":  # more of them are likely to follow
                    is_reading = True
                    stack.enter_context(self._store.index.reading())

    def _look_at(self, work: Work) -> None:
        if work.is_checking:
            work.is_checking = False
            work.needed = {id_: o for id_, o in (work.needed or {}).items() if o.is_done}
        others = work.parents if work.needed is None else (*work.parents, *work.needed.values())
        if any(other.ready is None for other in others):
            self._wait_again(work, others)
            return
        if self._is_stopping:
            self._skip(work, "the build stopped after a failure")
            return
        task = work.task
        try:
            code = self._codes.of(type(task))
            parts = parts_of(task, code, self._contents(work))
        except Exception as error:  # noqa: BLE001 - `fingerprint` is the user's
            self._fail(work, f"{type(error).__name__}: {error}")
            return
        if code.opaque and type(task) not in self._blind:
            self._blind.add(type(task))
            _warn_of_opaque(type(task), code.opaque)
        found = find(task, parts, self._store, self._on_code_change)
        work.key = found.key
        if found.entry is None or work.is_forced:
            self._pend(work, found)
            return
        is_good: bool | None = True
        if _asks(type(task)):
            # once its body has begun, it goes on to the end, and writes down what it asks for now
            is_known = _is_same(found.entry, work.stale_entry)
            is_good = False if is_known else self._has_good_needs(work, found.entry)
        if is_good:
            self._hit(work, found, found.entry)
        elif is_good is not None:
            work.stale_entry = found.entry
            self._pend(work, found)

    def _wait_again(self, work: Work, others: Iterable[Work]) -> None:
        """For results that were lost, or asked for; a work whose needs failed is skipped."""
        lacking = [other for other in others if not other.is_done]
        hopeless = next((other for other in lacking if other.is_hopeless), None)
        if hopeless is None:
            self._works.wait_for(work, lacking)
        else:
            is_cause = hopeless.status == "failed"
            self._skip(work, f"{hopeless.name} failed" if is_cause else hopeless.error or "")

    def _contents(self, work: Work) -> dict[str, str]:
        """What each input is, by place."""
        found = {}
        for place, item in inputs_of(work.task):
            other = self._works[whole_of(item).id]
            assert other.ready is not None
            if not isinstance(item, Task):
                found[place] = self._codes.content(item, other.ready.outputs)
                continue
            if other.content is None:
                other.content = self._codes.content(item, other.ready.outputs)
            found[place] = other.content
        return found

    def _has_good_needs(self, work: Work, entry: Entry) -> bool | None:
        """Whether what the body asked for is as it was; None where that must be built first.

        One call is looked at after the other, as what a body asks for may follow from what it was
        given before: behind the first difference only the body can tell.
        """
        written = entry.parts.get(NEEDS)
        if not written:
            return True
        calls = self._calls.pop(entry.key, None)
        if calls is None:
            found = restored_calls(written)
            if found is None:
                return False
            calls = deque(found)
        while calls:
            tasks = [task for task, _ in calls[0]]
            try:
                self._need(work, tasks, is_recorded=True)
            except ConfigError:
                return False
            others = [self._works[task.id] for task in tasks]
            if any(other.is_hopeless for other in others):
                work.needed = {id_: o for id_, o in (work.needed or {}).items() if o.is_done}
                self._works.forget(Graph(tasks))
                return False
            if not all(other.is_done for other in others):
                self._calls[entry.key] = calls
                work.is_checking = True
                self._works.wait_for(work, others)
                return None
            if any(
                other.ready is not None
                and self._codes.content(other.task, other.ready.outputs) != content
                for other, (_, content) in zip(others, calls[0], strict=True)
            ):
                return False
            calls.popleft()
        return True

    def _need(self, work: Work, tasks: Sequence[Task[Any]], *, is_recorded: bool = False) -> None:
        """Takes in what a body asks for, or asked for in an earlier build.

        Raises:
            ConfigError: It cannot run here, writes where another task does, or waits for the asker.
        """
        self._add(Graph(tasks), is_recorded=is_recorded)
        others = {task.id: self._works[task.id] for task in tasks}
        if any(self._works.is_above(work, other) for other in others.values()):
            asked = ", ".join(map(repr, tasks))
            raise ConfigError(f"{work.task!r} asked for {asked}, which needs it in turn.")
        work.needed = {**(work.needed or {}), **others}

    def _hit(self, work: Work, found: Found, entry: Entry) -> None:
        task = work.task
        cls = type(task)
        if found.is_other_code and cls not in self._warned:
            self._warned.add(cls)
            if (cls.on_code_change or self._on_code_change) == "warn":
                warnings.warn(
                    f"The code of {cls.__name__} changed, and its stored results are used "
                    "nevertheless (on_code_change='warn').",
                    stacklevel=2,
                )
        work.entry_key = entry.key
        self._works.done(work, "hit", Ready(cls, entry.outputs))
        self._record.num_done += 1
        if has_path(cls):  # the name may stand for another version
            for name, output in names_of(task, entry.key, entry.outputs):
                self._group.link(name, output)
        self._record.tell("hit", work)

    # ------------------------------------------------------------ running

    def _pend(self, work: Work, found: Found) -> None:
        needs = work.task.resources
        if work.num_memory_kills:
            needs = grown(needs, work.num_memory_kills)
        self._pending.setdefault(needs, deque()).append((work, found))
        self._num_pending += 1

    def _begin_pending(self) -> None:
        while self._pending:
            needs = self._executor.choose(self._pending)
            if needs is None:
                return
            waiting = self._pending[needs]
            work, found = waiting.popleft()
            self._num_pending -= 1
            if not waiting:
                del self._pending[needs]
            if not work.is_hopeless:
                self._begin(work, found, needs)

    def _begin(self, work: Work, found: Found, resources: Resources) -> None:
        """Takes the lock of a key and looks once more; then the task runs."""
        locks = self._store.locks
        if not locks.acquire(found.key, wait=False):
            self._put_off(work, _POLL_S)
            return
        try:
            entry = None if work.is_forced else self._store.hit(found.key)
            if entry is not None and not _is_same(entry, work.stale_entry):
                locks.release(found.key)
                self._works.ready.append(work)
                return
            if not work.attempts:
                work.reasons = self._reasons(work, found)
            work.attempts += 1
            self._number += 1
            needed = (work.needed or {}).items()
            job = Job(
                self._number,
                work.task,
                {p: self._ready(item) for p, item in inputs_of(work.task)},
                found.key,
                seed_of(work.task),
                work.attempts,
                resources,
                {id_: other.ready for id_, other in needed if other.ready is not None},
            )
            self._running[job.number] = Running(work, job, found, time.time())
            self._record.tell("started", work)
            self._executor.submit(job)
        except BaseException:  # KeyboardInterrupt, too: nobody else would release it
            locks.release(found.key)
            raise

    def _ready(self, item: Input[Any]) -> Ready:
        ready = self._works[whole_of(item).id].ready
        assert ready is not None
        return ready

    def _reasons(self, work: Work, found: Found) -> tuple[str, ...]:
        if work.is_forced:
            return ("forced",)
        if work.stale_entry is not None:
            return ("a task that it asked for gives another result",)
        if self._is_first_build is None:
            self._is_first_build = next(self._store.index.entries(limit=1), None) is None
        newest = None if self._is_first_build else self._store.index.newest(work.task.id)
        return reasons_of(found, newest)

    # ------------------------------------------------------------ what ended

    def _ended(self, outcome: Outcome) -> None:
        running = self._running[outcome.number]
        work, failure = running.work, outcome.error
        work.seconds += outcome.seconds
        if failure is None and not outcome.is_waiting:
            self._succeeded(running, outcome)
            del self._running[outcome.number]  # its lock is the group's to give back now
            return
        self._store.locks.release(running.job.key)
        del self._running[outcome.number]
        if failure is None:
            work.attempts -= 1
            try:
                self._need(work, [task for call in outcome.needs for task in call])
            except ConfigError as error:
                self._fail(work, f"{type(error).__name__}: {error}")
            else:
                self._wait_again(work, (work.needed or {}).values())
        elif failure.kind == "damaged" and self._mend(running, failure.content):
            work.attempts -= 1
        elif self._may_retry(work, failure):
            self._retry(running, outcome)
        else:
            self._fail(work, failure.message, running, outcome)

    def _succeeded(self, running: Running, outcome: Outcome) -> None:
        work = running.work
        work.warnings = tuple(outcome.warnings)
        work.is_forced, work.stale_entry, work.error = False, None, None
        entry = self._record.entry(running, outcome, self._codes)
        execution = self._record.execution(running, "ran", outcome)
        links = names_of(work.task, entry.key, entry.outputs)
        self._group.add(Item(execution, entry, links, work))
        self._works.done(work, "ran", Ready(type(work.task), outcome.outputs))

    def _may_retry(self, work: Work, failure: Failure) -> bool:
        if self._is_stopping:
            return False
        if failure.kind == "out of memory" and work.task.resources.memory is not None:
            work.num_memory_kills += 1
            return work.num_memory_kills <= max(1, work.task.retries)
        return work.attempts - work.num_memory_kills <= work.task.retries

    def _retry(self, running: Running, outcome: Outcome) -> None:
        work = running.work
        assert outcome.error is not None
        self._group.add(Item(self._record.execution(running, "retried", outcome)))
        work.error = outcome.error.message
        self._record.tell("retried", work)
        self._put_off(work, min(_FIRST_PAUSE_S * 2 ** (work.attempts - 1), _LONGEST_PAUSE_S))

    def _mend(self, running: Running, content: str) -> bool:
        """Lets run again what made bytes that were damaged; whether that is possible."""
        work, job = running.work, running.job
        given = {whole_of(item).id: job.inputs[place] for place, item in inputs_of(work.task)}
        culprits = [
            (self._works[id_], ready)
            for id_, ready in {**given, **job.needed}.items()
            if any(output.content == content for output in ready.outputs)
        ]
        # another job may have met the same damage, so that it is being mended, or was
        damaged = [other for other, ready in culprits if other.ready is ready]
        if not culprits or any(other.num_damages >= MOST_DAMAGES for other in damaged):
            return False
        for other in damaged:
            other.num_damages += 1
            other.attempts = 0
            self._works.reopen(other)
        self._look_again()
        self._works.wait_for(work, [other for other, _ in culprits])
        return True

    def _look_again(self) -> None:
        """A result is another now, or will be: keys of what is pending may be out of date."""
        for waiting in self._pending.values():
            self._works.ready.extend(work for work, _ in waiting)
        self._pending, self._num_pending = {}, 0

    def _fail(
        self,
        work: Work,
        message: str,
        running: Running | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        """A task failed for good; what depends on it is skipped."""
        skipped = self._works.fail(work, message)
        if running is not None and outcome is not None:
            self._group.add(Item(self._record.execution(running, "failed", outcome)))
        else:
            self._group.add(Item(self._record.unrun(work, "failed")))
        self._record.num_done += 1
        self._record.tell("failed", work)
        self._tell_skipped(skipped)
        if not (self._keep_going or self._is_stopping or work.is_recorded):
            self._is_stopping = True
            busy = {id(other.work) for other in self._running.values()}
            for other in self._works.open():
                if id(other) not in busy:
                    self._skip(other, "the build stopped after a failure")

    def _skip(self, work: Work, reason: str) -> None:
        if work.status == "open":
            self._tell_skipped(self._works.skip(work, reason))

    def _tell_skipped(self, skipped: Iterable[Work]) -> None:
        for work in skipped:
            self._record.num_done += 1
            self._group.add(Item(self._record.unrun(work, "skipped")))
            self._record.tell("skipped", work)

    def _fail_pending(self) -> None:
        """Nothing runs, and still there is no room: more is asked for than there is."""
        pending, self._pending, self._num_pending = self._pending, {}, 0
        for needs, waiting in pending.items():
            for work, _ in waiting:
                self._fail(work, f"{work.task!r} needs more than this machine has: {needs}.")

    def _fail_circle(self) -> None:
        """Nothing runs and nothing is ready: bodies asked for each other's results."""
        for work in self._works.open():
            if work.needed:
                names = ", ".join(other.name for other in work.needed.values())
                self._fail(work, f"{work.task!r} asked for {names}, which waits for it in turn.")
                return
        raise AssertionError(f"Run {self._record.run} waits for {self._works.open()[:3]}.")

    def _settle(self, settled: Settled) -> None:
        """A group is on the disk, or is not."""
        error = settled.error
        if error is not None and not isinstance(error, DataError | OSError):
            raise error
        for item in settled.items:
            work, entry = item.owner, item.entry
            if entry is None:
                continue
            if error is not None:
                self._fail(work, f"{type(error).__name__}: {error}")
            elif entry.key in settled.lost:
                self._lost(work, entry)
            else:
                work.entry_key = entry.key
                if work.ready is not None:  # what waited in memory is in files now
                    work.ready = work.ready.in_files()
                self._record.num_done += 1
                self._record.tell("finished", work)

    def _lost(self, work: Work, entry: Entry) -> None:
        """Another machine was faster, because our lease had ended: its result is the result."""
        self._look_again()
        other = self._store.hit(entry.key)
        if other is None:
            self._works.reopen(work)
            return
        work.entry_key = other.key
        self._works.done(work, "hit", Ready(type(work.task), other.outputs))
        self._record.num_done += 1
        self._record.tell("hit", work)


def _run_id() -> str:
    """Ids of runs sort by their time."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"


def _task_of(item: Any) -> Task[Any]:
    if not isinstance(item, Input):
        hint = " Make one: give its fields." if isinstance(item, type) else ""
        raise ConfigError(f"build takes tasks, and was given {item!r}.{hint}")
    return whole_of(item)


def _warn_of_opaque(cls: type[Task[Any]], names: Sequence[str]) -> None:
    several = len(names) > 1
    warnings.warn(
        f"{cls.__name__} uses {', '.join(names)}, which cannot be looked into: "
        f"{'other values of them make' if several else 'another value of it makes'} no new result. "
        "Hand it over as a field, or name in `code_files` or `fingerprint` what it is made from.",
        stacklevel=2,
    )


def _asks(cls: type[Task[Any]]) -> bool:
    """Whether `run` of a class may ask for other tasks."""
    return any(argument.is_run for argument in arguments_of(cls))


def _is_same(entry: Entry, stale: Entry | None) -> bool:
    return stale is not None and (entry.run, entry.created_at) == (stale.run, stale.created_at)
