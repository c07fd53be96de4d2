"""Brings finished results to the disk in groups, beside the work that goes on.

The price of a durable write is that of waiting for the disk, so it is paid for many results at
once: a thread takes what has gathered for a moment, and commits it as one. Others get the locks of
the keys, and listeners hear "finished", when that is done.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import TadkaError
from tadka.task.store.row import Entry, Execution, Output
from tadka.task.store.store import Store

_logger = logging.getLogger(__name__)

_MOST = 256
"""Results of a group."""

_LONGEST_S = 0.05
"""That a result waits for others."""

_MOST_WAITING = 4096
"""Results; whoever brings more waits until the disk has taken some."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is written down of one task.

    Args:
        execution: What was done.
        entry: The result; None where there is none.
        links: Names for people, and what they stand for.
        owner: Whatever the caller wants back.
    """

    execution: Execution
    entry: Entry | None = None
    links: Sequence[tuple[str, Output]] = ()
    owner: Any = None


@dataclass(frozen=True)
class Settled:
    """A group after its commit.

    Args:
        items: Of it.
        error: Why nothing of it was written; None where all was.
        lost: Keys whose lock was lost, so that another process has them.
    """

    items: Sequence[Item]
    error: Exception | None = None
    lost: frozenset[str] = frozenset()


@dataclass
class _State:
    """What the two threads share."""

    condition: threading.Condition = field(default_factory=threading.Condition)
    waiting: list[Item] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    oldest_at: float = 0.0
    num_open: int = 0  # added and not settled
    is_urgent: bool = False
    is_closed: bool = False


class Group:
    """Gathers results, and commits them when they are many or have waited.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._state = _State()
        self._thread: threading.Thread | None = None

    @property
    def num_open(self) -> int:
        """Items that were added, and are not yet among those of `settled`."""
        return self._state.num_open

    def add(self, item: Item) -> None:
        """Takes what is to be written.

        Args:
            item: The lock of its entry's key is given back when it is.
        """
        state = self._state
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="tadka-commit", daemon=True)
            self._thread.start()
        with state.condition:
            if not state.waiting:
                state.oldest_at = time.monotonic()
            state.waiting.append(item)
            state.num_open += 1
            if len(state.waiting) in {1, _MOST}:
                state.condition.notify_all()
            while len(state.waiting) >= _MOST_WAITING:
                state.condition.wait()

    def settled(self) -> list[Settled]:
        """Groups that were committed, or failed to be, since the last call."""
        state = self._state
        if not state.settled:
            return []
        with state.condition:
            found, state.settled = state.settled, []
            state.num_open -= sum(len(one.items) for one in found)
        return found

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until something is settled, which is hastened; at once where nothing is open.

        Args:
            timeout_s: The longest wait; None for as long as it takes.
        """
        state = self._state
        with state.condition:
            if state.num_open and not state.settled:
                state.is_urgent = True
                state.condition.notify_all()
                state.condition.wait_for(lambda: bool(state.settled), timeout_s)

    def close(self) -> None:
        """Commits what is left, and ends the thread."""
        state = self._state
        with state.condition:
            state.is_closed = True
            state.condition.notify_all()
        if self._thread is not None:
            self._thread.join()

    # ------------------------------------------------------------ the thread

    def _loop(self) -> None:
        state = self._state
        while True:
            with state.condition:
                state.condition.wait_for(lambda: bool(state.waiting) or state.is_closed)
                if not state.waiting:
                    return
                left = state.oldest_at + _LONGEST_S - time.monotonic()
                state.condition.wait_for(self._is_due, max(0.0, left))
                items, state.waiting = state.waiting, []
                state.is_urgent = False
            settled = self._commit(items)
            with state.condition:
                state.settled.append(settled)
                state.condition.notify_all()

    def _is_due(self) -> bool:
        state = self._state
        return state.is_urgent or state.is_closed or len(state.waiting) >= _MOST

    def _commit(self, items: list[Item]) -> Settled:
        store = self._store
        entries = [item.entry for item in items if item.entry is not None]
        try:
            is_held = store.locks.is_held if store.is_remote else None
            executions = [item.execution for item in items]
            published = store.commit(entries, executions, is_held=is_held)
        except Exception as error:  # noqa: BLE001 - the build's own thread raises it again
            self._release(entries)
            return Settled(items, error)
        self._release(entries)
        for item in items:
            if item.entry is not None and item.entry.key in published:
                for name, output in item.links:
                    self.link(name, output)
        lost = {entry.key for entry in entries} - published
        return Settled(items, None, frozenset(lost))

    def _release(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._store.locks.release(entry.key)

    def link(self, name: str, output: Output) -> None:
        """Gives a result a name for people, where that is possible.

        Args:
            name: Below the workspace.
            output: A committed output.
        """
        try:
            self._store.link(name, output)
        except TadkaError as error:  # a convenience; the result is safe
            _logger.warning("%s", error)
