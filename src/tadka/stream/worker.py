"""A replica of a stage: takes leases and batches, calls the user's function, passes on."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tadka.core.error import DataError
from tadka.stream.arena import Allocator, map_arena
from tadka.stream.codec import Batch, Views, aligned_bytes, encode, num_rows
from tadka.stream.counters import Counters
from tadka.stream.function import Function, UserError, cause_of, traceback_of
from tadka.stream.link import Arrival, BatchServer, Link, LinkOrder
from tadka.stream.plan import ChunkReader, Plan, random_generator
from tadka.stream.sink import Part, Sink
from tadka.stream.wire import OUT_SIZE, Kind

_STAT_PERIOD_NS = 250_000_000
_MOST_ENTRIES = 16


@dataclass(frozen=True, kw_only=True)
class WorkerOrder:
    """Everything a replica needs to know.

    Args:
        link: How to reach the coordinator.
        stage: Index of the stage, from 0; stage 0 reads.
        num_stages: Stages of the flow.
        name: The stage's name.
        replica: Index of the replica, from 0.
        function: The user's function or class; None passes batches on as they are.
        init: Arguments for a class.
        on_error: ``stop``, or ``skip`` the chunk.
        plan: What is read.
        sink: Where the last stage writes, if it does.
        arena: Path of this replica's shared memory; "" if batches go by message.
        address: Where to serve batches that go by message.
        check_share: Share of chunks that are worked twice and compared.
    """

    link: LinkOrder
    stage: int
    num_stages: int
    name: str
    replica: int
    function: Callable[..., Any] | None
    init: dict[str, Any]
    on_error: str
    plan: Plan
    sink: Sink | None
    arena: str
    address: str
    check_share: float

    @property
    def is_last(self) -> bool:
        """Whether this stage's batches are final."""
        return self.stage == self.num_stages - 1


@dataclass(slots=True, eq=False)
class _Lease:
    token: int
    epoch: int
    chunk: int
    group: int
    lane: int
    first: int
    is_checked: bool
    next_in: int = 0  # batches begun
    next_out: int = 0  # batches made
    num_in_flight: int = 0
    rows: int = 0
    outputs: Iterator[Batch] | None = None
    inbox: deque[Arrival] = field(default_factory=deque)
    is_ended: bool = False  # the stage before has sent all
    has_failed: bool = False  # here: what still comes in is thrown away
    is_incomplete: bool = False  # here or before: a part of it is not written
    part: Part | None = None

    @property
    def key(self) -> tuple[int, int, int, int]:
        """Place of its next batch in the order of the stream."""
        return self.epoch, self.group, self.next_out, self.lane


class Worker:
    """The loop of a replica: messages in, one batch at a time, messages out."""

    def __init__(self, order: WorkerOrder) -> None:
        self._order = order
        self._config = order.link.config
        self._num_credits = self._config.num_credits
        self._credit_bytes = self._config.credit_limit_bytes
        self._call = Function(order.function, order.name, order.init)
        self._reader = ChunkReader(order.plan)
        self._link = Link(order.link)
        self._allocator = Allocator(map_arena(order.arena)) if order.arena else None
        self._server: BatchServer | None = None
        self._leases: dict[int, _Lease] = {}
        self._flight: dict[int, tuple[_Lease, int]] = {}  # serial -> lease, bytes
        self._flight_bytes = 0
        self._last_bytes = 0
        self._places: dict[int, int] = {}  # serial -> offset
        self._views: Views = {}
        self._next_serial = 0
        self._entries: list[int] = []
        self._counters = Counters()
        self._stat_ns = 0
        self._mark_ns = time.monotonic_ns()
        self._is_stopped = False

    def run(self) -> None:
        """Work until told to stop."""
        link = self._link
        address = ""
        if self._order.address and not (self._order.is_last and self._order.sink):
            self._server = BatchServer(self._order.address, self._config)
            address = self._server.address
        link.send(Kind.READY, text=address)
        self._wait("wait_input_ns")  # for START; not counted
        self._counters = Counters()
        while not self._is_stopped:
            lease, has_work = self._choose()
            if lease is not None:
                self._advance(lease)
                if link.is_due:
                    self._flush()
                    for message in link.receive(0):
                        self._handle(*message)
            elif not self._is_stopped:
                # The first stage reads for itself: what it waits for is that others keep up.
                is_held_back = has_work or self._order.stage == 0
                self._wait("wait_output_ns" if is_held_back else "wait_input_ns")
        for lease in self._leases.values():
            if lease.part is not None:
                lease.part.abandon()
        self._call.close()
        self._stat()
        link.send(Kind.BYE, text="null")
        link.close()

    # -- messages -----------------------------------------------------------------------------

    def _wait(self, share: str) -> None:
        self._flush()
        self._account("busy_ns")
        messages = self._link.receive(int(_STAT_PERIOD_NS / 1e6))
        self._account(share)
        for message in messages:
            self._handle(*message)

    def _account(self, share: str) -> None:
        now_ns = time.monotonic_ns()
        setattr(self._counters, share, getattr(self._counters, share) + now_ns - self._mark_ns)
        self._mark_ns = now_ns

    def _flush(self) -> None:
        if self._entries:
            self._link.send(Kind.OUT, self._entries)
            self._entries = []
        self._link.flush()
        if time.monotonic_ns() - self._stat_ns > _STAT_PERIOD_NS:
            self._stat()

    def _stat(self) -> None:
        self._stat_ns = time.monotonic_ns()
        self._counters.measure()
        self._link.send(Kind.STAT, self._counters.to_ints())

    def _handle(self, kind: int, values: tuple[int, ...], _text: str) -> None:
        if kind == Kind.BACK:
            for value in values:
                if value & 1:
                    self._free(value >> 1)
                else:
                    lease, size_bytes = self._flight.pop(value >> 1)
                    lease.num_in_flight -= 1
                    self._flight_bytes -= size_bytes
        elif kind == Kind.LEASE:
            self._leases[values[0]] = self._open(values)
        elif kind == Kind.IN:
            for arrival in self._link.arrivals(values):
                lease_or_none = self._leases.get(arrival.token)
                if lease_or_none is None:
                    self._discard(arrival)
                else:
                    lease_or_none.inbox.append(arrival)
        elif kind == Kind.END:
            if values[0] in self._leases:
                lease = self._leases[values[0]]
                lease.is_ended = True
                lease.is_incomplete = lease.is_incomplete or bool(values[1])
        elif kind == Kind.CANCEL:
            self._cancel(values[0])
        elif kind == Kind.STOP:
            self._is_stopped = True

    def _free(self, serial: int) -> None:
        offset = self._places.pop(serial, -1)
        if offset >= 0 and self._allocator is not None:
            self._allocator.free(offset)
        elif self._server is not None:
            self._server.free(serial)

    def _open(self, values: tuple[int, ...]) -> _Lease:
        token, epoch, chunk, group, lane, first = values
        share = self._order.check_share
        is_checked = share > 0 and share > random_generator(epoch, chunk).random()
        lease = _Lease(token, epoch, chunk, group, lane, first, is_checked)
        if self._order.stage == 0:
            lease.outputs = self._read(lease)
        if self._order.is_last and self._order.sink is not None:
            lease.part = Part(self._order.sink, self._order.plan.hash, chunk)
        return lease

    def _cancel(self, token: int) -> None:
        lease = self._leases.pop(token, None)
        if lease is not None:
            for arrival in lease.inbox:
                self._discard(arrival)
            if lease.part is not None:
                lease.part.abandon()

    def _discard(self, arrival: Arrival) -> None:
        self._link.take(arrival)
        self._link.drop(arrival)

    # -- work ---------------------------------------------------------------------------------

    def _choose(self) -> tuple[_Lease | None, bool]:
        """The lease to work on, and whether one could be worked on but for credit.

        Of the leases that can go on, the one whose next batch comes first in the stream. Each
        lease may always have one batch out, credit or not: whatever batch everybody waits for
        can thus be made, at every stage.
        """
        best: _Lease | None = None
        has_work = False
        has_credit = self._has_credit()
        for lease in self._leases.values():
            if lease.outputs is None and not self._has_input(lease):
                continue
            has_work = True
            is_free = has_credit or lease.num_in_flight == 0 or lease.part is not None
            if is_free and (best is None or lease.key < best.key):
                best = lease
        return best, has_work

    def _has_input(self, lease: _Lease) -> bool:
        """Whether a lease can begin its next batch, or be finished."""
        return self._link.is_here(lease.inbox[0]) if lease.inbox else lease.is_ended

    def _has_credit(self) -> bool:
        return (
            len(self._flight) < self._num_credits
            and self._flight_bytes + self._last_bytes <= self._credit_bytes
        )

    def _advance(self, lease: _Lease) -> None:
        """Make one batch, or find that there is none left."""
        if lease.outputs is None:
            if not lease.inbox:
                self._finish(lease)
                return
            lease.outputs = self._apply_to(lease, lease.inbox.popleft())
        try:
            batch = next(lease.outputs, None)
            if batch is not None:
                self._pass_on(lease, batch)
            elif self._order.stage == 0:
                lease.outputs = None
                lease.is_ended = True
            else:
                lease.outputs = None
        except Exception as error:  # noqa: BLE001 - a boundary: told to the coordinator
            self._fail(lease, error)

    def _read(self, lease: _Lease) -> Iterator[Batch]:
        for batch in self._reader.batches(lease.epoch, lease.chunk):
            yield from self._apply(lease, batch)

    def _apply_to(self, lease: _Lease, arrival: Arrival) -> Iterator[Batch]:
        if lease.has_failed:
            self._discard(arrival)
            return
        try:
            yield from self._apply(lease, self._link.open(arrival))
        finally:
            self._link.take(arrival)

    def _apply(self, lease: _Lease, batch: Batch) -> Iterator[Batch]:
        source = self._order.plan.source
        key = (source.seed, lease.epoch, lease.chunk, lease.next_in, self._order.stage)
        lease.next_in += 1
        self._counters.rows_in += num_rows(batch)
        if lease.is_checked:
            yield from self._call.twice(batch, key)
        else:
            yield from self._call(batch, key)

    def _pass_on(self, lease: _Lease, batch: Batch) -> None:
        seq = lease.next_out
        lease.next_out += 1
        if not self._counters.first_batch_ns:
            self._counters.first_batch_ns = time.monotonic_ns()
        if lease.part is not None:
            if not lease.has_failed:
                before = lease.part.num_rows
                lease.part.write(batch)
                self._counters.rows_out += lease.part.num_rows - before
                self._counters.batches += 1
            return
        if self._order.is_last and seq < lease.first:
            return  # had before: a resumed or repeated lease
        encoded = encode(batch)
        size_bytes = encoded.size_bytes
        serial = self._next_serial
        self._next_serial += 1
        offset = None if self._allocator is None else self._allocator.allocate(size_bytes)
        if offset is None:
            memory = aligned_bytes(size_bytes)
            encoded.write_to(memory)
            self._serve().put(serial, memory)
            offset = -1
        else:
            assert self._allocator is not None
            encoded.write_to(self._allocator.memory, offset, self._views)
            self._places[serial] = offset
        self._flight[serial] = (lease, size_bytes)
        self._flight_bytes += size_bytes
        self._last_bytes = size_bytes
        lease.num_in_flight += 1
        rows = encoded.num_rows
        self._counters.rows_out += rows
        self._counters.batches += 1
        self._entries += (lease.token, seq, rows, size_bytes, serial, offset)
        if len(self._entries) >= OUT_SIZE * _MOST_ENTRIES:
            self._flush()

    def _serve(self) -> BatchServer:
        assert self._server is not None, "every worker that passes batches on has an address"
        return self._server

    def _finish(self, lease: _Lease) -> None:
        rows = 0
        if lease.part is not None:
            try:
                if lease.is_incomplete:
                    lease.part.abandon()
                else:
                    lease.part.publish()
                    rows = lease.part.num_rows
            except DataError as error:
                self._fail(lease, error)
                return
        self._flush()
        del self._leases[lease.token]
        done = [lease.token, lease.next_out, rows, int(lease.is_incomplete)]
        self._link.send(Kind.DONE, done)

    def _fail(self, lease: _Lease, error: Exception) -> None:
        is_skipped = self._order.on_error == "skip" and isinstance(error, UserError)
        batch = max(lease.next_in - 1, 0)
        at = batch if self._order.stage == 0 else None
        told = {
            "stage": self._order.name,
            "replica": self._order.replica,
            "epoch": lease.epoch,
            "chunk": lease.chunk,
            "batch": batch,
            "where": self._order.plan.where(lease.epoch, lease.chunk, at),
            "error": f"{type(cause_of(error)).__name__}: {cause_of(error)}",
            "traceback": traceback_of(error),
        }
        self._flush()
        self._link.send(Kind.ERROR, [lease.token, int(is_skipped)], text=json.dumps(told))
        lease.has_failed = lease.is_incomplete = True
        lease.outputs = None
        if not is_skipped:
            del self._leases[lease.token]  # the run is about to end
            if lease.part is not None:
                lease.part.abandon()
        elif self._order.stage == 0:
            lease.is_ended = True


def run_worker(order: WorkerOrder) -> None:
    """Entry point of a replica's process."""
    pa.set_cpu_count(int(os.environ.get("TADKA_CPU", "1")))
    pa.set_io_thread_count(max(2, int(os.environ.get("TADKA_CPU", "1"))))
    Worker(order).run()
