"""A training rank's process: hands the user's loop its batches."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadka.core.error import StageError
from tadka.stream.codec import Batch
from tadka.stream.counters import Counters
from tadka.stream.function import traceback_of
from tadka.stream.link import Arrival, Link, LinkOrder
from tadka.stream.run import Run, RunOrder, all_over
from tadka.stream.wire import Kind

_WAIT_MS = 250
_STAT_PERIOD_NS = 250_000_000
_MPI_RANK = "OMPI_COMM_WORLD_RANK"


class Stopped(BaseException):
    """Ends the user's loop when the run is interrupted.

    Not an Exception, so that loops which catch those let it through.
    """


@dataclass(frozen=True, kw_only=True)
class RankOrder(RunOrder):
    """Everything a rank's process needs to know.

    Args:
        link: How to reach the coordinator; rank r is worker ``link.worker + r``.
        name: The stage's name.
        rank: Which rank; -1 to ask MPI.
        repeats: Whether padding counts as data.
        ack_every: Steps that are told together while batches are waiting.
        function: The user's ``train(batches, run)``.
    """

    link: LinkOrder
    name: str
    rank: int
    repeats: bool
    ack_every: int
    function: Callable[..., Any]


class _EpochEnd:
    """Stands in the queue where an epoch is over: batches of the next may be behind it."""


class Batches:
    """Iterable over the batches of an epoch; iterate again for the next epoch.

    A batch is finished when the next one is asked for. Leaving the loop early and iterating
    again goes on with the rest of the same epoch.
    """

    def __init__(self, order: RankOrder, link: Link) -> None:
        start = order.checkpoint
        self.epoch = start.position.epoch if start else 0
        self.step = start.step if start else 0
        self.rounds = 0  # steps of this epoch, since the start or the resume
        self.weight = 1.0
        self.metrics: list[dict[str, Any]] = []
        self.on_stop: Callable[[], None] = lambda: None
        self.counters = Counters()
        self._order = order
        self._link = link
        self._num_acked = 0
        self._begun = (-1, False)  # the last step: its number and whether it is padding
        self._queued = (-1, False)  # the last step that came, the same
        self._queue: deque[Arrival | _EpochEnd] = deque()
        self._position: dict[str, Any] | None = None
        self._is_started = False
        self._is_stopped = False
        self._mark_ns = time.monotonic_ns()
        self._stat_ns = 0

    def __iter__(self) -> Iterator[Batch]:
        if not self.counters.batches:
            self._mark_ns = time.monotonic_ns()  # what the loop sets up before is nobody's wait
        if self.epoch >= self._order.num_epochs:
            raise all_over(self._order.num_epochs)
        while True:
            arrival = self._next()
            if arrival is None:
                return
            self.rounds += 1
            self.step += 1
            self.weight = 0.0 if arrival.is_pad and not self._order.repeats else 1.0
            self.counters.batches += 1
            if not arrival.is_pad:
                self.counters.rows_out += arrival.rows
            batch = self._link.open(arrival)
            del arrival
            if not self.counters.first_batch_ns:
                self.counters.first_batch_ns = time.monotonic_ns()
            yield batch
            del batch
            self._finish_step()

    def start(self) -> None:
        """Wait until everybody is ready."""
        while not self._is_started:
            self._receive(_WAIT_MS)  # the first batches may come along with the word
        self._mark_ns = time.monotonic_ns()

    def tell_saved(self, path: Path) -> None:
        """A checkpoint has been written."""
        self._link.send(Kind.SAVED, text=str(path))

    def position(self) -> dict[str, Any]:
        """Where the stream stands after the steps taken so far."""
        self._position = None
        self._flush()
        self._link.send(Kind.SAVE, [self.epoch, self.rounds])
        while self._position is None:
            self._receive(_WAIT_MS)
        return self._position

    def close(self, result: Any) -> None:
        """Say goodbye."""
        self._account("busy_ns")
        self._flush()
        self._stat()
        try:
            text = json.dumps(result)
        except (TypeError, ValueError):
            text = "null"  # the loop may return its model: that is not for a report
        self._link.send(Kind.BYE, text=text)
        self._link.close()

    def _finish_step(self) -> None:
        """The loop asks for the next batch, so it has trained the last one."""
        # Several at a time: a message costs as much as a small batch. Their producers have
        # other credits left, and before waiting for a batch everything is told.
        if self.rounds - self._num_acked >= self._order.ack_every or self._link.is_due:
            self._flush()

    def _flush(self) -> None:
        trained = None
        if self.rounds > self._num_acked:
            trained = (self.epoch, self.rounds)
            self._num_acked = self.rounds
        self._link.flush(trained)
        if time.monotonic_ns() - self._stat_ns > _STAT_PERIOD_NS:
            self._stat()

    def _stat(self) -> None:
        self._stat_ns = time.monotonic_ns()
        self.counters.measure()
        self._link.send(Kind.STAT, self.counters.to_ints())
        if self.metrics:
            self._link.send(Kind.METRIC, text=json.dumps(self.metrics))
            self.metrics = []

    def _account(self, share: str) -> None:
        now_ns = time.monotonic_ns()
        setattr(self.counters, share, getattr(self.counters, share) + now_ns - self._mark_ns)
        self._mark_ns = now_ns

    def _next(self) -> Arrival | None:
        """The next step's batch; None at the end of the epoch."""
        if not self._queue or self._link.is_due:
            self._receive(0)
        while True:
            if self._is_stopped:
                self.on_stop()
                raise Stopped
            head = self._queue[0] if self._queue else None
            if isinstance(head, _EpochEnd):
                self._queue.popleft()
                self._flush()
                self.epoch += 1
                self.rounds = self._num_acked = 0
                return None
            if head is not None and self._link.is_here(head):
                self._queue.popleft()
                self._begun = (head.step, head.is_pad)
                return head
            self._flush()
            self._account("busy_ns")
            self._receive(_WAIT_MS)
            self._account("wait_input_ns")

    def _receive(self, timeout_ms: int) -> None:
        for kind, values, text in self._link.receive(timeout_ms):
            if kind == Kind.IN:
                for arrival in self._link.arrivals(values):
                    self._enqueue(arrival)
            elif kind == Kind.EPOCH:
                self._queue.append(_EpochEnd())
            elif kind == Kind.POSITION:
                self._position = json.loads(text)
            elif kind == Kind.START:
                self._is_started = True
            elif kind == Kind.STOP:
                self._is_started = self._is_stopped = True

    def _enqueue(self, arrival: Arrival) -> None:
        """Steps come in order, but for those made again after their producer died."""
        place = (arrival.step, arrival.is_pad)
        if place > self._queued:
            self._queued = place
            self._queue.append(arrival)
            return
        if place <= self._begun:
            self._link.drop(arrival)  # the coordinator had not heard that it was fetched
            return
        for at, waiting in enumerate(self._queue):
            if (
                isinstance(waiting, Arrival)
                and waiting.step == arrival.step
                and waiting.is_pad == arrival.is_pad
            ):
                if self._link.is_here(waiting):
                    self._link.drop(arrival)
                else:
                    self._link.drop(waiting)
                    self._queue[at] = arrival
                return


def run_rank(order: RankOrder) -> None:
    """Entry point of a rank's process."""
    rank = order.rank if order.rank >= 0 else int(os.environ[_MPI_RANK])
    if order.rank < 0:
        os.environ["RANK"] = str(rank)
        if os.environ["LOCAL_WORLD_SIZE"] != "1":  # else it sees its own GPUs only
            os.environ["LOCAL_RANK"] = str(rank)
    link_order = LinkOrder(
        worker=order.link.worker + rank, control=order.link.control, config=order.link.config
    )
    link = Link(link_order)
    feed = Batches(order, link)
    run = Run(order, rank, feed)
    feed.on_stop = run.save_on_stop
    link.send(Kind.READY, text="")
    feed.start()
    try:
        result = order.function(feed, run)
    except Stopped:
        result = None
    except Exception as error:  # the user's function: told to the coordinator
        told = {
            "stage": order.name,
            "replica": rank,
            "where": f"step {feed.step} of epoch {feed.epoch}",
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback_of(error),
        }
        link.send(Kind.ERROR, [0, 0], text=json.dumps(told))
        link.close()
        raise StageError(told["error"]) from error
    feed.close(result)


def environment(rank: int, world_size: int, port: int, num_gpus: int) -> Mapping[str, str]:
    """What torchrun would set for a rank, so that an unchanged loop finds its group.

    A rank with GPUs sees only its own, hence it is the local rank 0 of 1.
    """
    is_alone = num_gpus > 0
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": "0" if is_alone else str(rank),
        "LOCAL_WORLD_SIZE": "1" if is_alone else str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
