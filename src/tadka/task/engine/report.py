"""What a build did: the result of each task, and one error for all that failed."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from tadka.core.error import ConfigError, TadkaError
from tadka.task.define.frozen import Input, path_of
from tadka.task.define.task import Task, whole_of
from tadka.task.engine.perform import value_of
from tadka.task.engine.work import Works
from tadka.task.look.word import first_line
from tadka.task.store.row import Entry
from tadka.task.store.store import Store

Status = Literal["ran", "hit", "failed", "skipped"]

_STATUSES = ("ran", "hit", "failed", "skipped")
_MOST_LINES = 40


@dataclass(frozen=True)
class Result:
    """How one task of a build ended.

    Args:
        task: It.
        status: `"ran"`, `"hit"` (its result was stored), `"failed"`, or `"skipped"` because
            something that it needs failed.
        key: Of its result; None where it is not known.
        entry: Its result; None where there is none.
        seconds: That it ran.
        attempts: How often it ran.
        error: Why it failed, or was skipped.
        reasons: Why it ran.
        warnings: Checks of severity "warn" that failed.
        log: File of what it printed, below the workspace; None where it printed nothing.
    """

    task: Task[Any]
    status: Status
    key: str | None
    entry: Entry | None
    seconds: float
    attempts: int
    error: str | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    log: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "task": path_of(type(self.task)),
            "id": self.task.id,
            "fields": {n: f.to_json(self.task.__dict__[n]) for n, f in self.task.fields.items()},
            "status": self.status,
            "key": self.key,
            "seconds": self.seconds,
            "attempts": self.attempts,
            "error": self.error,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "log": self.log,
        }


class BuildError(TadkaError):
    """Tasks of a build failed; its message names all of them.

    Args:
        message: For people.
        failures: The tasks that failed, by id.
    """

    def __init__(self, message: str, failures: Mapping[str, Result]) -> None:
        super().__init__(message)
        self.failures = failures

    def __reduce__(self) -> tuple[Any, ...]:
        return BuildError, (str(self), dict(self.failures))


class _Results(Mapping[str, Result]):
    """Results by id, made when they are looked at: a build may have a hundred thousand."""

    def __init__(self, works: Works, store: Store) -> None:
        self._works, self._store = works, store

    def __getitem__(self, id_: str) -> Result:
        work = self._works[id_]
        entry = None
        if work.entry_key is not None and not work.is_hopeless:
            entry = self._store.index.find(work.entry_key)
        status: Status = "skipped" if work.status == "open" else work.status
        return Result(
            work.task,
            status,
            work.key,
            entry,
            work.seconds,
            work.attempts,
            work.error,
            work.reasons,
            work.warnings,
            work.log,
        )

    def __contains__(self, id_: object) -> bool:
        return isinstance(id_, str) and self._works.get(id_) is not None

    def __iter__(self) -> Iterator[str]:
        return (work.task.id for work in self._works)

    def __len__(self) -> int:
        return len(self._works)


class Report:
    """What a build did.

    Args:
        run: Id of its run.
        works: Its tasks.
        roots: What was asked for.
        store: Where the results are.
        seconds: That it took.
    """

    def __init__(
        self, run: str, works: Works, roots: Sequence[Task[Any]], store: Store, seconds: float
    ) -> None:
        self.run = run
        self.roots = tuple(roots)
        self.seconds = seconds
        self.results: Mapping[str, Result] = _Results(works, store)
        self._works = works
        self._store = store

    def __repr__(self) -> str:
        return f"Report({self.run!r}, {self._summary()})"

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many tasks ended how: `{"ran": 3, "hit": 7, "failed": 0, "skipped": 0}`."""
        found: Counter[str] = Counter(work.status for work in self._works)
        return {**{name: found[name] for name in _STATUSES[:-1]}, "skipped": _skipped(found)}

    @property
    def is_ok(self) -> bool:
        """Whether every task has its result."""
        return not self.counts["failed"] and not self.counts["skipped"]

    def value(self, task: Input[Any]) -> Any:
        """The result of a task of the build, or one output of it, read from the disk.

        Args:
            task: It.

        Raises:
            ConfigError: It is not of this build, or has no result.
            Damaged: Its bytes were damaged since.
        """
        work = self._works.get(whole_of(task).id)
        if work is None:
            raise ConfigError(f"{task!r} is no task of run {self.run}.")
        if work.ready is None:
            raise ConfigError(f"{task!r} has no result in run {self.run}: it {work.status}.")
        return value_of(task, work.ready, self._store)

    @property
    def failures(self) -> dict[str, Result]:
        """The tasks that failed, by id."""
        failed = [work.task.id for work in self._works if work.status == "failed"]
        return {id_: self.results[id_] for id_ in failed}

    def raise_failures(self) -> None:
        """Raises one error for all tasks that failed; does nothing where none did.

        Raises:
            BuildError: Some did.
        """
        if self.is_ok:
            return
        failures = self.failures
        count = f"{len(failures):,} of {len(self._works):,} tasks failed"
        lines = [
            f"  {result.task!r}: {first_line(result.error)}"
            + (f" Log: {self._store.folder / result.log}" if result.log else "")
            for result in failures.values()
        ]
        num_skipped = self.counts["skipped"]
        if num_skipped:
            tasks = "task was" if num_skipped == 1 else "tasks were"
            lines.append(f"{num_skipped:,} {tasks} skipped because of that.")
        raise BuildError("\n".join([f"{count}:", *lines]), failures)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "run": self.run,
            "is_ok": self.is_ok,
            "seconds": self.seconds,
            "counts": self.counts,
            "roots": [task.id for task in self.roots],
            "results": [result.to_json() for result in self.results.values()],
        }

    def __str__(self) -> str:
        """Counts by class, then what failed."""
        by_class: dict[str, Counter[str]] = {}
        seconds: dict[str, float] = {}
        for work in self._works:
            name = type(work.task).__name__
            by_class.setdefault(name, Counter())[work.status] += 1
            seconds[name] = seconds.get(name, 0.0) + work.seconds
        names = [name for name in _STATUSES if self.counts[name]]
        wide = max(map(len, by_class), default=0)
        lines = [f"Run {self.run}: {self._summary()}."]
        lines.append(f"  {'':{wide}}" + "".join(f"  {name:>8}" for name in (*names, "seconds")))
        for name, found in list(by_class.items())[:_MOST_LINES]:
            counts = {**found, "skipped": _skipped(found)}
            cells = "".join(f"  {counts.get(status, 0) or '':>8}" for status in names)
            lines.append(f"  {name:{wide}}{cells}  {seconds[name]:>8.2f}")
        if len(by_class) > _MOST_LINES:
            lines.append(f"  and {len(by_class) - _MOST_LINES} more classes")
        for result in self.failures.values():
            lines.append(f"Failed: {result.task!r}: {first_line(result.error)}")
        return "\n".join(lines)

    def _summary(self) -> str:
        told = [f"{number:,} {name}" for name, number in self.counts.items() if number]
        return f"{', '.join(told) or 'no tasks'} in {self.seconds:.2f} s"


def _skipped(found: Mapping[str, int]) -> int:
    return found.get("skipped", 0) + found.get("open", 0)
