"""The tasks of a build and how far each is: what is ready, what waits, what follows a failure."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from tadka.task.define.task import Task
from tadka.task.engine.job import Ready
from tadka.task.graph import Graph
from tadka.task.store.row import Entry

Status = Literal["open", "ran", "hit", "failed", "skipped"]


class Work:
    """One task of a build.

    Args:
        task: It.
        parents: What its fields need, each once.
    """

    __slots__ = (
        "attempts",
        "children",
        "content",
        "entry_key",
        "error",
        "has_freed",
        "is_checking",
        "is_forced",
        "is_recorded",
        "key",
        "log",
        "missing",
        "needed",
        "num_damages",
        "num_memory_kills",
        "parents",
        "ready",
        "reasons",
        "seconds",
        "stale_entry",
        "status",
        "task",
        "waiting",
        "warnings",
    )

    def __init__(self, task: Task[Any], parents: "Sequence[Work]") -> None:
        self.task = task
        self.parents = parents
        self.children: list[Work] = []
        self.missing = 0  # how much of what it needs is not there
        self.status: Status = "open"
        self.waiting: list[Work] | None = None  # beside children: who asked for it while running
        self.needed: dict[str, Work] | None = None  # what its body asked for, by id
        self.has_freed = False  # whether children count it as done, now or before it was lost
        self.is_forced = False
        self.is_checking = False  # whether it waits for what its body asked for in an earlier build
        self.is_recorded = False  # whether it is here only because of such a wait
        self.stale_entry: Entry | None = None  # a result that is there, and will not do
        # of the result
        self.ready: Ready | None = None
        self.content: str | None = None
        self.key: str | None = None
        self.entry_key: str | None = None
        self.seconds = 0.0
        self.attempts = 0
        self.num_damages = 0
        self.num_memory_kills = 0
        self.error: str | None = None
        self.log: str | None = None
        self.reasons: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Work({self.task!r}, {self.status})"

    @property
    def name(self) -> str:
        """For people: `Features#1a2b3c`."""
        return f"{type(self.task).__name__}#{self.task.id[:6]}"

    @property
    def is_done(self) -> bool:
        """Whether its result can be read."""
        return self.ready is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether there will be no result."""
        return self.status in ("failed", "skipped")


class Works:
    """All tasks of a build.

    Attributes:
        ready: Those whose needs are done, in the order in which they became so.
        num_open: Those of which it is not known yet how they end.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, Work] = {}
        self.ready: deque[Work] = deque()
        self.num_open = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Work]:
        return iter(self._by_id.values())

    def __contains__(self, id_: str) -> bool:
        return id_ in self._by_id

    def __getitem__(self, id_: str) -> Work:
        return self._by_id[id_]

    def get(self, id_: str) -> Work | None:
        """The work of a task's id; None where the build has none."""
        return self._by_id.get(id_)

    def add(self, graph: Graph, *, is_recorded: bool = False) -> None:
        """Takes tasks in; those that are known already stay as they are.

        Args:
            graph: With all that they need.
            is_recorded: Whether a body asked for them in an earlier build, and perhaps not in this.
        """
        for node in graph:
            known = self._by_id.get(node.id)
            if known is not None:
                known.is_recorded = known.is_recorded and is_recorded
                continue
            parents = tuple([self._by_id[parent.id] for parent in node.parents])
            work = self._by_id[node.id] = Work(node.task, parents)
            work.is_recorded = is_recorded
            for parent in parents:
                parent.children.append(work)
                if parent.status == "open":
                    work.missing += 1
                    if parent.has_freed:
                        parent.waiting = [*(parent.waiting or ()), work]
            self.num_open += 1
            if not work.missing:
                self.ready.append(work)

    def forget(self, graph: Graph) -> None:
        """Drops what failed and was only recorded: a body may ask for it, as it is now, or not.

        Args:
            graph: What was recorded.
        """
        for node in graph:
            work = self._by_id.get(node.id)
            if work is not None and work.is_recorded and work.is_hopeless:
                del self._by_id[node.id]

    def wait_for(self, work: Work, others: Iterable[Work]) -> None:
        """Puts off a work until others are done; at once ready where there is nothing to wait for.

        Args:
            work: That was ready.
            others: What it asked for, or whose result was lost.
        """
        for other in others:
            if not other.is_done and not other.is_hopeless:
                work.missing += 1
                other.waiting = other.waiting or []
                other.waiting.append(work)
        if not work.missing:
            self.ready.append(work)

    def done(self, work: Work, status: Status, ready: Ready) -> None:
        """A result is there.

        Args:
            work: Whose.
            status: "ran" or "hit".
            ready: Where its bytes are.
        """
        self.num_open -= work.status == "open"
        work.status, work.ready, work.content = status, ready, None
        freed: Iterable[Work] = () if work.has_freed else work.children
        work.has_freed = True
        if work.waiting:
            freed = [*freed, *work.waiting]
            work.waiting = None
        for child in freed:
            child.missing -= 1
            if not child.missing and child.status == "open":
                self.ready.append(child)

    def reopen(self, work: Work) -> None:
        """A result was lost: its task is to run again. Who needs it has to `wait_for` it.

        Args:
            work: That was done.
        """
        if work.ready is not None:
            work.status, work.ready, work.content = "open", None, None
            self.num_open += 1
            self.ready.append(work)

    def fail(self, work: Work, error: str) -> list[Work]:
        """A task failed for good.

        Args:
            work: It.
            error: Why.

        Returns:
            What is skipped because of it, new each time.
        """
        self.num_open -= work.status == "open"
        work.status, work.error, work.ready = "failed", error, None
        return self._skip_below(work)

    def skip(self, work: Work, reason: str) -> list[Work]:
        """A task is not run.

        Args:
            work: It; open until now.
            reason: Why.

        Returns:
            It, and what is skipped because of it.
        """
        self.num_open -= work.status == "open"
        work.status, work.error, work.ready = "skipped", reason, None
        return [work, *self._skip_below(work)]

    def _skip_below(self, work: Work) -> list[Work]:
        cause = work.error if work.status == "skipped" else f"{work.name} failed"
        skipped: list[Work] = []
        waiting = [work]
        while waiting:
            one = waiting.pop()
            for child in one.waiting or ():
                if child.is_checking and child.status == "open":
                    child.missing -= 1
                    if not child.missing:
                        self.ready.append(child)
            for child in (*one.children, *(one.waiting or ())):
                if child.status == "open" and not (child.is_checking and one not in child.parents):
                    child.status, child.error = "skipped", cause
                    self.num_open -= 1
                    skipped.append(child)
                    waiting.append(child)
        return skipped

    def open(self) -> list[Work]:
        """What is not decided."""
        return [work for work in self if work.status == "open"]

    def is_above(self, work: Work, below: Work) -> bool:
        """Whether one work waits, directly or not, for another.

        Args:
            work: Perhaps waited for.
            below: Who may wait.
        """
        seen = {id(below)}
        waiting = [below]
        while waiting:
            one = waiting.pop()
            if one is work:
                return True
            for other in (*one.parents, *(one.needed or {}).values()):
                if not other.is_done and id(other) not in seen:
                    seen.add(id(other))
                    waiting.append(other)
        return False
