"""Workers and ranks around a real `Transfer`, in one process and without sockets.

Every process of a run is an object with a queue of messages to and from the coordinator; a random
generator decides who acts next, how many of its messages have come by then, who is killed and
when its death is noticed. So a run is a pure function of its `Scenario`, and a seed that fails
fails again.

The models follow worker.py, rank.py, link.py and conductor.py rule by rule: what they may make,
what they answer, and in which order. Rows are stood for by names: a batch is the tuple of
(epoch, chunk, batch) and of its place among its siblings at each stage.
"""

import dataclasses
import heapq
import json
import random
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from tadka.stream.position import Position
from tadka.stream.transfer import BatchRef, Transfer, Uneven
from tadka.stream.wire import IN_SIZE, Kind

Item = tuple[int, ...]

_MOST_ALIASED = 4
_FETCHES_AHEAD = 8
_OUT_ENTRIES = 8


class StageFailed(Exception):
    """A user's function that raises, under on_error="skip"."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that a run depends on.

    Args:
        seed: Of all that is left to chance.
        num_lanes: Chunks whose batches alternate.
        num_replicas: Of each stage.
        num_ranks: 0 where the last stage writes parts.
        chunks: Batches of each chunk, by epoch.
        uneven: As in `Transfer`.
        fans: How many batches come of one, drawn by name, by stage.
        failing: One in so many batches raises at a stage; 0 for none.
        num_credits: Batches a worker may have out.
        credit_bytes: The same in bytes.
        num_places: Places in a worker's shared memory; batches that find none go by message.
        num_kills: Most workers killed at random.
        kill_share: How likely a kill is at each turn.
        late: Turns until a dead worker's replacement is there, at most; None for no replacement
            while another worker of the stage lives.
        notice: Turns until a death is noticed, at most.
        pause_share: How likely a process is stopped for a while at each turn.
        save_share: How likely rank 0 saves after a step.
        has_barrier: Whether ranks wait for each other in every step, as in an allreduce.
        done_chunks: Parts already written.
        start: Where to go on from.
    """

    seed: int = 0
    num_lanes: int = 2
    num_replicas: tuple[int, ...] = (2,)
    num_ranks: int = 1
    chunks: tuple[tuple[int, ...], ...] = ((3, 3, 3, 3),)
    uneven: Uneven = "pad"
    fans: tuple[tuple[int, ...], ...] = ((1,),)
    failing: int = 0
    num_credits: int = 4
    credit_bytes: int = 1 << 40
    num_places: int = 0
    num_kills: int = 0
    kill_share: float = 0.0
    late: int | None = 0
    notice: int = 50
    pause_share: float = 0.0
    save_share: float = 0.2
    has_barrier: bool = True
    done_chunks: frozenset[int] = frozenset()
    start: Position | None = None

    @property
    def num_stages(self) -> int:
        return len(self.num_replicas)

    def outputs(self, stage: int, item: Item) -> Iterator[Item]:
        """What a stage's function makes of a batch."""
        fan = self.fans[stage]
        drawn = _hash(stage, item)
        num_out = fan[drawn % len(fan)]
        for place in range(num_out):
            yield (*item, place)
        if self.failing and (drawn // 64) % self.failing == 0:
            raise StageFailed

    def chunk_items(self, epoch: int, chunk: int) -> tuple[list[Item], bool]:
        """Final batches of a chunk in order, and whether a function raised on the way."""
        items: list[Item] = [(epoch, chunk, batch) for batch in range(self.chunks[epoch][chunk])]
        has_failed = False
        for stage in range(self.num_stages):
            made: list[Item] = []
            try:
                for item in items:
                    for output in self.outputs(stage, item):
                        made.append(output)  # noqa: PERF402 - may end in the middle
            except StageFailed:  # what was made before stays, the rest of the chunk is skipped
                has_failed = True
            items = made
        return items, has_failed

    def epoch_items(self, epoch: int) -> list[Item]:
        """The order of an epoch: a function of the plan alone."""
        order: list[Item] = []
        num_chunks = len(self.chunks[epoch])
        for first in range(0, num_chunks, self.num_lanes):
            group = range(first, min(first + self.num_lanes, num_chunks))
            lanes = [deque(self.chunk_items(epoch, chunk)[0]) for chunk in group]
            while lanes:
                lanes = [lane for lane in lanes if lane]
                order += [lane.popleft() for lane in lanes]
        return order


@lru_cache(maxsize=1 << 16)
def _hash(stage: int, item: Item) -> int:
    return zlib.crc32(repr((stage, item)).encode())


def num_rows(item: Item) -> int:
    """Rows of a batch; any number will do."""
    return 1 + sum(item) % 5


@dataclass(slots=True, eq=False)
class Arrival:
    """A batch dealt to a process, as in link.py."""

    producer: int
    serial: int
    token: int
    seq: int
    where: int
    step: int
    is_pad: bool
    item: Item | None = None  # once it has been fetched
    is_requested: bool = False


@dataclass(slots=True, eq=False)
class _Lease:
    token: int
    epoch: int
    chunk: int
    group: int
    lane: int
    first: int
    next_out: int = 0
    num_in_flight: int = 0
    outputs: Iterator[Item] | None = None
    inbox: deque[Arrival] = field(default_factory=deque)
    is_ended: bool = False
    has_failed: bool = False  # here: the rest of the chunk is skipped
    is_incomplete: bool = False  # here or before: a part must not be published
    part: list[Item] | None = None

    @property
    def key(self) -> tuple[int, int, int, int]:
        return self.epoch, self.group, self.next_out, self.lane


class Process:
    """What workers and ranks have in common: the link."""

    def __init__(self, world: "Simulation", number: int) -> None:
        self.world = world
        self.number = number
        self.down: deque[tuple[Kind, list[int]]] = deque()  # from the coordinator
        self.up: deque[tuple[Kind, list[int]]] = deque()
        self.replies: dict[int, deque[tuple[int, Item]]] = {}  # by producer, also the peers
        self.arenas: set[int] = set()
        self.wanted: dict[tuple[int, int], Arrival] = {}
        self.num_requested = 0
        self.taken: list[int] = []
        self.gone: list[int] = []
        self.gone_later: list[int] = []
        self.aliased: dict[tuple[int, int], tuple[int, Item]] = {}
        self.is_alive = True
        self.is_started = False
        self.paused_until = 0
        self.up.append((Kind.READY, []))

    # -- link.py

    def send(self, kind: Kind, values: list[int]) -> None:
        self.up.append((kind, values))

    def take(self, arrival: Arrival) -> None:
        self.taken += (arrival.producer, arrival.serial)

    def drop(self, arrival: Arrival) -> None:
        wanted = self.wanted.pop((arrival.producer, arrival.serial), None)
        if wanted is not None and wanted.is_requested:
            self.num_requested -= 1
        if arrival.item is None:
            self.gone += (arrival.producer, arrival.serial)

    def flush_link(self, trained: tuple[int, int] | None = None) -> None:
        self.gone += self.gone_later
        self.gone_later = []
        if self.taken:
            self.send(Kind.TAKEN, self.taken)
            self.taken = []
        if trained is not None:
            self.send(Kind.ACK, [*trained, *self.gone])
            self.gone = []
        elif self.gone:
            self.send(Kind.GONE, self.gone)
            self.gone = []

    def receive(self, *, must: bool) -> None:
        """Take in a random part of what is on its way: replies, then messages."""
        chance = self.world.random
        for producer, queue in self.replies.items():
            for _ in range(chance.randint(0, len(queue)) if not must else len(queue)):
                serial, item = queue.popleft()
                arrival = self.wanted.pop((producer, serial), None)
                if arrival is not None:
                    self.num_requested -= 1
                    arrival.item = item
                    self.gone += (producer, serial)
        least = 1 if must and self.down else 0
        for _ in range(chance.randint(least, len(self.down))):
            kind, values = self.down.popleft()
            if kind is Kind.PEER:
                self.replies[values[0]] = deque()
                self.arenas.add(values[0])
            elif kind is Kind.RETIRE:
                self._forget(values[0])
            else:
                self.handle(kind, values)
        self._request()

    def _forget(self, producer: int) -> None:
        self.arenas.discard(producer)
        for key in [key for key in self.wanted if key[0] == producer]:
            self.num_requested -= self.wanted.pop(key).is_requested
        self.replies.pop(producer, None)

    def _request(self) -> None:
        for (producer, serial), arrival in self.wanted.items():
            if self.num_requested >= _FETCHES_AHEAD:
                return
            if not arrival.is_requested and producer in self.replies:
                arrival.is_requested = True
                self.num_requested += 1
                self.world.request(self.number, producer, serial)

    def arrivals(self, values: list[int]) -> list[Arrival]:
        found = []
        for at in range(0, len(values), IN_SIZE):
            producer, serial, token, seq, _, _, where, step, is_pad = values[at : at + IN_SIZE]
            arrival = Arrival(producer, serial, token, seq, where, step, bool(is_pad))
            if where < 0:
                self.wanted[(producer, serial)] = arrival
            found.append(arrival)
        return found

    def is_here(self, arrival: Arrival) -> bool:
        return arrival.where >= 0 or arrival.item is not None

    def open(self, arrival: Arrival) -> Item:
        if arrival.item is not None:
            return arrival.item
        assert arrival.producer in self.arenas, f"{self} was not told where {arrival} is"
        serial, item = self.world.arenas[arrival.producer][arrival.where]
        assert serial == arrival.serial, f"{self} reads memory that was written again: {arrival}"
        if len(self.aliased) >= _MOST_ALIASED:
            self.gone += (arrival.producer, arrival.serial)
        else:
            self.aliased[(arrival.producer, arrival.serial)] = (arrival.where, item)
        return item

    def release(self, arrival: Arrival) -> None:
        """The last alias of a batch's memory is gone."""
        ticket = (arrival.producer, arrival.serial)
        if self.is_alive and ticket in self.aliased:
            where, item = self.aliased.pop(ticket)
            content = self.world.arenas[arrival.producer][where]
            assert content == (arrival.serial, item), f"{self} saw a batch change: {arrival}"
            self.gone_later += ticket

    @property
    def has_input(self) -> bool:
        if self.down or any(self.replies.values()):
            return True
        return self.num_requested < _FETCHES_AHEAD and any(
            not arrival.is_requested and arrival.producer in self.replies
            for arrival in self.wanted.values()
        )

    @property
    def has_answers(self) -> bool:
        return bool(self.taken or self.gone or self.gone_later)

    # -- the rest differs

    def handle(self, kind: Kind, values: list[int]) -> None:
        raise NotImplementedError

    def can_act(self) -> bool:
        raise NotImplementedError

    def act(self) -> None:
        raise NotImplementedError


class Worker(Process):
    """A replica of a stage, as in worker.py."""

    def __init__(self, world: "Simulation", number: int, stage: int) -> None:
        super().__init__(world, number)
        scenario = world.scenario
        self.stage = stage
        self.is_last = stage == scenario.num_stages - 1
        self.leases: dict[int, _Lease] = {}
        self.flight: dict[int, tuple[_Lease, int]] = {}
        self.flight_bytes = 0
        self.last_bytes = 0
        self.places: dict[int, int] = {}
        self.free_places = list(range(scenario.num_places))
        self.served: dict[int, Item] = {}  # the batch server's
        self.requests: deque[tuple[int, int]] = deque()
        self.next_serial = 0
        self.entries: list[int] = []
        world.arenas[number] = {}

    def __str__(self) -> str:
        leases = [
            f"{le.token}:{le.epoch}/{le.chunk} out={le.next_out} flight={le.num_in_flight} "
            f"inbox={len(le.inbox)} ended={le.is_ended}"
            for le in self.leases.values()
        ]
        return (
            f"worker {self.number} of stage {self.stage} alive={self.is_alive} "
            f"flight={len(self.flight)} leases={leases} down={len(self.down)}"
        )

    def handle(self, kind: Kind, values: list[int]) -> None:
        if kind is Kind.BACK:
            for value in values:
                if value & 1:
                    self._free(value >> 1)
                else:
                    lease, size_bytes = self.flight.pop(value >> 1)
                    lease.num_in_flight -= 1
                    self.flight_bytes -= size_bytes
        elif kind is Kind.LEASE:
            token, epoch, chunk, group, lane, first = values
            lease = _Lease(token, epoch, chunk, group, lane, first)
            if self.stage == 0:
                lease.outputs = self._read(lease)
            if self.is_last and not self.world.scenario.num_ranks:
                lease.part = []
            self.leases[token] = lease
        elif kind is Kind.IN:
            for arrival in self.arrivals(values):
                if arrival.token in self.leases:
                    self.leases[arrival.token].inbox.append(arrival)
                else:
                    self._discard(arrival)
        elif kind is Kind.END:
            if values[0] in self.leases:
                self.leases[values[0]].is_ended = True
                self.leases[values[0]].is_incomplete |= bool(values[1])
        elif kind is Kind.CANCEL:
            cancelled = self.leases.pop(values[0], None)
            if cancelled is not None:
                for arrival in cancelled.inbox:
                    self._discard(arrival)
                if cancelled.outputs is not None:
                    cancelled.outputs.close()  # type: ignore[attr-defined] # a generator
        else:
            assert kind is Kind.START, kind
            self.is_started = True

    def _free(self, serial: int) -> None:
        place = self.places.pop(serial, -1)
        if place >= 0:
            del self.world.arenas[self.number][place]
            self.free_places.append(place)
        else:
            del self.served[serial]

    def _discard(self, arrival: Arrival) -> None:
        self.take(arrival)
        self.drop(arrival)

    def _can_go_on(self, lease: _Lease) -> bool:
        if lease.outputs is not None:
            return True
        if lease.inbox:
            return self.is_here(lease.inbox[0])
        return lease.is_ended

    def choose(self) -> _Lease | None:
        scenario = self.world.scenario
        has_credit = (
            len(self.flight) < scenario.num_credits
            and self.flight_bytes + self.last_bytes <= scenario.credit_bytes
        )
        free = [
            lease
            for lease in self.leases.values()
            if self._can_go_on(lease)
            and (has_credit or lease.num_in_flight == 0 or lease.part is not None)
        ]
        return min(free, key=lambda lease: lease.key, default=None)

    def can_act(self) -> bool:
        if not self.is_alive:
            return False
        if self.has_input or self.entries or self.has_answers:
            return True
        return self.is_started and self.choose() is not None

    def act(self) -> None:
        chance = self.world.random
        self.receive(must=self.choose() is None)
        lease = self.choose() if self.is_started else None
        if lease is None:
            self.flush()
        else:
            self._advance(lease)
            if chance.random() < 0.2:
                self.flush()

    def flush(self) -> None:
        if self.entries:
            self.send(Kind.OUT, self.entries)
            self.entries = []
        self.flush_link()

    def _advance(self, lease: _Lease) -> None:
        if lease.outputs is None:
            if not lease.inbox:
                self._finish(lease)
                return
            lease.outputs = self._apply_to(lease, lease.inbox.popleft())
        try:
            item = next(lease.outputs, None)
        except StageFailed:
            self.flush()
            lease.has_failed = lease.is_incomplete = True
            lease.outputs = None
            lease.is_ended = lease.is_ended or self.stage == 0
            return
        if item is not None:
            self._pass_on(lease, item)
        else:
            lease.outputs = None
            lease.is_ended = lease.is_ended or self.stage == 0

    def _read(self, lease: _Lease) -> Iterator[Item]:
        scenario = self.world.scenario
        for batch in range(scenario.chunks[lease.epoch][lease.chunk]):
            yield from scenario.outputs(0, (lease.epoch, lease.chunk, batch))

    def _apply_to(self, lease: _Lease, arrival: Arrival) -> Iterator[Item]:
        if lease.has_failed:
            self._discard(arrival)
            return
        try:
            yield from self.world.scenario.outputs(self.stage, self.open(arrival))
        finally:
            self.take(arrival)
            self.release(arrival)

    def _pass_on(self, lease: _Lease, item: Item) -> None:
        seq = lease.next_out
        lease.next_out += 1
        if lease.part is not None:
            lease.part.append(item)
            return
        if self.is_last and seq < lease.first:
            return
        serial = self.next_serial
        self.next_serial += 1
        if self.free_places:
            where = self.free_places.pop()
            self.world.arenas[self.number][where] = (serial, item)
            self.places[serial] = where
        else:
            where = -1
            self.served[serial] = item
        size_bytes = 10 * num_rows(item)
        self.flight[serial] = (lease, size_bytes)
        self.flight_bytes += size_bytes
        self.last_bytes = size_bytes
        lease.num_in_flight += 1
        in_work = {id(owner) for owner, _ in self.flight.values()}
        assert len(self.flight) <= self.world.scenario.num_credits + len(in_work), str(self)
        self.entries += (lease.token, seq, num_rows(item), size_bytes, serial, where)
        if len(self.entries) >= 6 * _OUT_ENTRIES:
            self.flush()

    def _finish(self, lease: _Lease) -> None:
        rows = 0
        if lease.part is not None and not lease.is_incomplete:
            self.world.publish(lease.chunk, lease.part)
            rows = sum(map(num_rows, lease.part))
        self.flush()
        del self.leases[lease.token]
        done = [lease.token, lease.next_out, rows, int(lease.is_incomplete)]
        self.send(Kind.DONE, done)

    def serve(self) -> None:
        """One turn of the thread that hands out batches."""
        consumer, serial = self.requests.popleft()
        if serial in self.served:
            self.world.reply(consumer, self.number, serial, self.served[serial])


class _EpochEnd:
    pass


class Rank(Process):
    """A training rank, as in rank.py: in every step all ranks wait for each other."""

    def __init__(self, world: "Simulation", number: int) -> None:
        super().__init__(world, number)
        start = world.scenario.start or Position()
        self.rank = number - 1
        self.epoch = start.epoch
        self.rounds = 0
        self.num_acked = 0
        self.num_begun = 0  # steps over all epochs
        self.begun = (-1, False)
        self.queue: deque[Arrival | _EpochEnd] = deque()
        self.held: Arrival | None = None
        self.is_training = False
        self.is_saving = False
        self.is_over = False
        self.trained: dict[int, list[tuple[Item, bool]]] = {}
        self.trained_in(self.epoch)

    def __str__(self) -> str:
        return (
            f"rank {self.rank} epoch={self.epoch} rounds={self.rounds} training={self.is_training} "
            f"saving={self.is_saving} over={self.is_over} queue={list(self.queue)[:3]}"
        )

    def trained_in(self, epoch: int) -> list[tuple[Item, bool]]:
        return self.trained.setdefault(epoch, [])

    def handle(self, kind: Kind, values: list[int]) -> None:
        if kind is Kind.IN:
            for arrival in self.arrivals(values):
                self._enqueue(arrival)
        elif kind is Kind.EPOCH:
            self.queue.append(_EpochEnd())
        elif kind is Kind.POSITION:
            self.is_saving = False
        else:
            assert kind is Kind.START, kind
            self.is_started = True

    def _enqueue(self, arrival: Arrival) -> None:
        if (arrival.step, arrival.is_pad) <= self.begun:
            self.drop(arrival)
            return
        for at, waiting in enumerate(self.queue):
            if (
                isinstance(waiting, Arrival)
                and waiting.step == arrival.step
                and waiting.is_pad == arrival.is_pad
            ):
                if self.is_here(waiting):
                    self.drop(arrival)
                else:
                    self.drop(waiting)
                    self.queue[at] = arrival
                return
        self.queue.append(arrival)

    def _head_is_here(self) -> bool:
        if not self.queue:
            return False
        head = self.queue[0]
        return isinstance(head, _EpochEnd) or self.is_here(head)

    def _is_barrier_open(self) -> bool:
        if not self.world.scenario.has_barrier:
            return True
        return all(rank.num_begun >= self.num_begun for rank in self.world.ranks)

    def can_act(self) -> bool:
        if self.is_over:
            return False
        if self.is_training:  # inside the user's step no message is read
            return self._is_barrier_open()
        if self.has_input or self.has_answers or self.rounds > self.num_acked:
            return True
        return self.is_started and not self.is_saving and self._head_is_here()

    def act(self) -> None:
        chance = self.world.random
        if self.is_training:
            self.is_training = False
            if self.rounds - self.num_acked >= 4 or chance.random() < 0.3:
                self.flush()
            if self._begins_to_save():
                return
        self.receive(must=not self._head_is_here())
        if self.is_started and self.epoch == len(self.world.scenario.chunks):
            self._close()  # a run that was over is resumed
            return
        if not self.is_started or self.is_saving or not self._head_is_here():
            self.flush()
            return
        head = self.queue.popleft()
        if isinstance(head, _EpochEnd):
            self.flush()
            self.epoch += 1
            self.rounds = self.num_acked = 0
            if self.epoch == len(self.world.scenario.chunks):
                self._close()
            else:
                self.trained_in(self.epoch)
                self._begins_to_save()
            return
        assert head.step >> 40 == self.epoch, f"{self} was dealt {head}"
        self.rounds += 1
        self.num_begun += 1
        self.begun = (head.step, head.is_pad)
        self.trained_in(self.epoch).append((self.open(head), head.is_pad))
        if self.held is not None:
            self.release(self.held)  # the loop's variable is bound to the next batch only now
        self.held = head
        self.is_training = True

    def flush(self) -> None:
        trained = None
        if self.rounds > self.num_acked:
            trained = (self.epoch, self.rounds)
            self.num_acked = self.rounds
        self.flush_link(trained)

    def _begins_to_save(self) -> bool:
        if self.rank != 0 or self.world.random.random() > self.world.scenario.save_share:
            return False
        self.flush()
        self.send(Kind.SAVE, [self.epoch, self.rounds])
        self.is_saving = True
        return True

    def _close(self) -> None:
        if self.held is not None:
            self.release(self.held)
        self.flush()
        self.send(Kind.BYE, [])
        self.is_over = True


@dataclass(frozen=True, slots=True)
class Saved:
    """A position and what it stands for."""

    epoch: int
    num_trained: int  # of this run and epoch, by ranks that wait for each other; no padding
    position: Position


class Simulation:
    """A run from start to end.

    Args:
        scenario: What happens.
        script: Called after every turn; may kill.
    """

    def __init__(
        self, scenario: Scenario, script: Callable[["Simulation"], None] | None = None
    ) -> None:
        self.scenario = scenario
        self.script = script
        self.random = random.Random(scenario.seed)
        self.arenas: dict[int, dict[int, tuple[int, Item]]] = {}
        self.published: dict[int, list[Item]] = {}
        self.saved: list[Saved] = []
        self.num_kills = 0
        self.num_leased: dict[tuple[int, int], int] = {}
        self.turn = 0
        self.transfer = Transfer(
            num_lanes=scenario.num_lanes,
            num_replicas=scenario.num_replicas,
            num_ranks=scenario.num_ranks,
            num_epochs=len(scenario.chunks),
            num_chunks=lambda epoch: len(scenario.chunks[epoch]),
            uneven=scenario.uneven,
            position=scenario.start,
            done_chunks=scenario.done_chunks,
        )
        self._later: list[tuple[int, int, Callable[[], None]]] = []  # heap
        self._num_later = 0
        self._ready: set[int] = set()
        self._saves: list[tuple[int, int]] = []
        self._is_started = False
        self.ranks = [Rank(self, number + 1) for number in range(scenario.num_ranks)]
        self.processes: dict[int, Process] = {rank.number: rank for rank in self.ranks}
        self._next_number = scenario.num_ranks + 1
        for stage, num_replicas in enumerate(scenario.num_replicas):
            for _ in range(num_replicas):
                self.start_worker(stage)
        self._num_expected = len(self.processes)
        self._weights: dict[int, float] = {}

    # -- what a script may use

    @property
    def workers(self) -> list[Worker]:
        """Those that live."""
        return [p for p in self.processes.values() if isinstance(p, Worker) and p.is_alive]

    def start_worker(self, stage: int) -> None:
        self.processes[self._next_number] = Worker(self, self._next_number, stage)
        self._next_number += 1

    def after(self, turns: int, call: Callable[[], None]) -> None:
        self._num_later += 1
        heapq.heappush(self._later, (self.turn + turns, self._num_later, call))

    def kill(self, worker: Worker, *, notice: int = 0, late: int | None = 0) -> None:
        """SIGKILL; its death is noticed, and it is replaced, after so many turns."""
        assert worker.is_alive
        worker.is_alive = False
        self.num_kills += 1
        worker.requests.clear()
        # What its sockets had not handed to the kernel yet is lost.
        for _ in range(self.random.randint(0, len(worker.up))):
            worker.up.pop()
        for process in self.processes.values():
            queue = process.replies.get(worker.number)
            for _ in range(self.random.randint(0, len(queue)) if queue else 0):
                assert queue is not None
                queue.pop()
        self.after(notice, lambda: self._bury(worker, late))

    def describe(self) -> str:
        """The state, for a person who has to find out why nothing moves."""
        transfer = self.transfer
        lines = [repr(self.scenario), f"turn {self.turn}, kills {self.num_kills}"]
        lines += [str(p) for p in self.processes.values() if p.is_alive]
        lines.append(
            f"transfer: epoch {transfer._epoch} step {transfer._step} lane {transfer._lane} "
            f"lanes {[(c.index, c.first, len(c.ready), c.num_out) for c in transfer._lanes]} "
            f"lost {[(c.index, list(c.lost)) for c in transfer._chunks.values() if c.lost]} "
            f"redo {[c.index for c in transfer._redo]} depths {transfer.depths}"
        )
        return "\n".join(lines)

    # -- one turn

    def run(self) -> "Simulation":
        """To the end, and until everything has settled."""
        while self._step():
            self.turn += 1
            assert self.turn < 2_000_000, f"No end.\n{self.describe()}"
            if self.script is not None:
                self.script(self)
        self.check()
        return self

    def is_over(self) -> bool:
        if self.ranks:
            return all(rank.is_over for rank in self.ranks)
        return self.transfer.is_delivered

    def _step(self) -> bool:
        chance = self.random
        while self._later and self._later[0][0] <= self.turn:
            heapq.heappop(self._later)[2]()
        self._kill_or_pause()
        doers: list[tuple[float, Callable[[], None]]] = []
        is_waiting = False
        for process in self.processes.values():
            weight = self._weight(process.number)
            if process.up:
                doers.append((1.0, lambda process=process: self._hear(process)))  # type: ignore[misc]
            if not process.is_alive:
                continue
            if process.paused_until > self.turn:
                is_waiting = True
                continue
            if isinstance(process, Worker) and process.requests:
                doers.append((1.0, process.serve))
            if process.can_act():
                doers.append((weight, process.act))
        if doers:
            weights = [weight for weight, _ in doers]
            chance.choices([doer for _, doer in doers], weights)[0]()
            return True
        if self._later:
            self.turn = max(self.turn, self._later[0][0] - 1)
            return True
        return is_waiting

    def _weight(self, number: int) -> float:
        if number not in self._weights:
            self._weights[number] = self.random.choice((0.05, 0.5, 1.0, 1.0, 3.0))
        return self._weights[number]

    def _kill_or_pause(self) -> None:
        scenario, chance = self.scenario, self.random
        if not self._is_started or self.is_over():
            return
        if self.num_kills < scenario.num_kills and chance.random() < scenario.kill_share:
            victims = [
                worker
                for worker in self.workers
                if scenario.late is not None
                or sum(other.stage == worker.stage for other in self.workers) > 1
            ]
            if victims:
                late = None if scenario.late is None else chance.randint(0, scenario.late)
                self.kill(
                    chance.choice(victims), notice=chance.randint(0, scenario.notice), late=late
                )
        if scenario.pause_share and chance.random() < scenario.pause_share:
            process = chance.choice(list(self.processes.values()))
            process.paused_until = self.turn + chance.randint(1, 300)

    # -- conductor.py

    def _hear(self, process: Process) -> None:
        transfer, number = self.transfer, process.number
        for _ in range(self.random.randint(1, min(4, len(process.up)))):
            kind, values = process.up.popleft()
            if kind is Kind.READY:
                if not process.is_alive:
                    continue
                self._greet(process)
            elif number not in self._ready:
                continue  # its last words came after its death was noted
            elif kind is Kind.OUT:
                transfer.on_out(number, values)
            elif kind is Kind.DONE:
                transfer.on_done(number, values[0], values[1], values[2], bool(values[3]))
            elif kind is Kind.TAKEN:
                transfer.on_taken(values)
            elif kind is Kind.GONE:
                transfer.on_gone(values)
            elif kind is Kind.ACK:
                transfer.on_ack(number - 1, values[0], values[1])
                transfer.on_gone(values[2:])
            elif kind is Kind.SAVE:
                self._saves.append((values[0], values[1]))
            else:
                assert kind is Kind.BYE
                self._ready.discard(number)
        self._send_all()
        self._check_bounds()

    def _greet(self, process: Process) -> None:
        self._ready.add(process.number)
        if isinstance(process, Worker):
            self.transfer.add_worker(process.number, process.stage)
        else:
            self.transfer.add_rank(process.number, process.number - 1)
        if not self._is_started and len(self._ready) == self._num_expected:
            self._is_started = True
            self.transfer.start()

    def _bury(self, worker: Worker, late: int | None) -> None:
        if worker.number in self._ready:
            self._ready.discard(worker.number)
            self.transfer.on_death(worker.number)
            self._send_all()
            self._check_bounds()
        else:
            del self.arenas[worker.number]
        if late is not None:
            self.after(late, lambda: self.start_worker(worker.stage))

    def _send_all(self) -> None:
        self._saves = [save for save in self._saves if not self._answer(*save)]
        for number, messages in self.transfer.take_messages().items():
            for message in messages:
                if message.kind is Kind.RETIRE and message.values[0] == number:
                    del self.arenas[number]
                    continue
                if message.kind is Kind.LEASE:
                    chunk = (message.values[1], message.values[2])
                    self.num_leased[chunk] = self.num_leased.get(chunk, 0) + 1
                if message.kind is Kind.PEER:
                    assert message.values[0] in self.arenas, "dealt from the forgotten"
                self.processes[number].down.append((message.kind, list(message.values)))

    def _answer(self, epoch: int, rounds: int) -> bool:
        position = self.transfer.position(epoch, rounds)
        if position is None:
            return False
        position = Position.from_dict(json.loads(json.dumps(position.to_dict())))
        trained = [
            item
            for rank in self.ranks
            for item, is_pad in rank.trained.get(epoch, [])[:rounds]
            if not is_pad
        ]
        self.saved.append(Saved(epoch, len(trained), position))
        self.ranks[0].down.append((Kind.POSITION, []))
        return True

    def request(self, consumer: int, producer: int, serial: int) -> None:
        worker = self.processes[producer]
        if isinstance(worker, Worker) and worker.is_alive:
            worker.requests.append((consumer, serial))

    def reply(self, consumer: int, producer: int, serial: int, item: Item) -> None:
        queue = self.processes[consumer].replies.get(producer)
        if queue is not None:
            queue.append((serial, item))

    def publish(self, chunk: int, items: list[Item]) -> None:
        assert self.published.setdefault(chunk, items) == items, "a part made twice differs"

    # -- what must hold

    def held(self) -> list[BatchRef]:
        transfer = self.transfer
        producers = [*transfer._workers.values(), *transfer._dead.values()]
        return [ref for producer in producers for ref in producer.held.values()]

    def _check_bounds(self) -> None:
        scenario, transfer = self.scenario, self.transfer
        most = scenario.num_lanes + max(scenario.num_lanes, scenario.num_replicas[0])
        assert len(transfer._chunks) <= most, f"Too far ahead.\n{self.describe()}"
        assert min(transfer.depths) >= 0, f"Depths {transfer.depths}.\n{self.describe()}"

    def check(self) -> None:
        """At the end: everything once and in order, and nothing left behind."""
        state = self.describe()
        assert self.is_over(), f"Nothing moves, and it is not over.\n{state}"
        self._check_order(state)
        transfer = self.transfer
        # What was made again for a rank that had trained it and is gone: nobody reads it.
        unread = {
            (values[at], values[at + 1])
            for rank in self.ranks
            for kind, values in rank.down
            if kind is Kind.IN
            for at in range(0, len(values), IN_SIZE)
        }
        assert {(ref.producer, ref.serial) for ref in self.held()} <= unread, state
        late = {producer for producer, _ in unread}
        assert set(transfer._dead) <= late, state
        assert transfer._leases == {}, state
        assert transfer._chunks == {}, state
        assert not any(transfer._unacked), state
        assert transfer.depths == [0] * self.scenario.num_stages, state
        assert len(transfer._positions) <= 1 + 2 * len(self.scenario.chunks), state
        assert set(self.arenas) - late == {w.number for w in self.workers} - late, state
        for worker in self.workers:
            assert not worker.leases, state
            assert not worker.flight, state
            assert worker.flight_bytes == 0, state
            kept = {(worker.number, serial) for serial in (*worker.places, *worker.served)}
            assert kept <= unread, state
        for process in [*self.workers, *self.ranks]:
            assert not process.wanted, state
            assert process.num_requested == 0, state
            assert not process.aliased, state
            known = transfer._workers[process.number].known
            assert known <= set(transfer._workers) | late, state
        if not self.num_kills:
            assert transfer.num_stale == transfer.num_reissued == 0, state

    def _check_order(self, state: str) -> None:
        scenario, transfer = self.scenario, self.transfer
        if not self.ranks:
            self._check_parts(state)
            return
        start = scenario.start or Position()
        num_steps = num_padded = rows = dropped = 0
        for epoch in range(start.epoch, len(scenario.chunks)):
            expected = scenario.epoch_items(epoch)[start.step if epoch == start.epoch else 0 :]
            over = len(expected) % len(self.ranks)
            pads = 0
            if over and scenario.uneven == "drop":
                dropped += sum(map(num_rows, expected[-over:]))
                expected = expected[:-over]
            elif over:
                pads = len(self.ranks) - over
            for rank in self.ranks:
                steps = [(item, False) for item in expected[rank.rank :: len(self.ranks)]]
                if pads and rank.rank >= over:
                    steps.append((expected[-1], True))
                assert rank.trained.get(epoch) == steps, f"Rank {rank.rank}, {epoch}.\n{state}"
            num_steps += -(-len(expected) // len(self.ranks))
            num_padded += pads
            rows += sum(map(num_rows, expected))
        assert (num_steps, num_padded) == (transfer.num_steps, transfer.num_padded), state
        assert (rows, dropped) == (transfer.rows_dealt, transfer.rows_dropped), state
        assert transfer.is_delivered, state

    def _check_parts(self, state: str) -> None:
        scenario = self.scenario
        parts = {}
        for chunk in range(len(scenario.chunks[0])):
            items, has_failed = scenario.chunk_items(0, chunk)
            if chunk not in scenario.done_chunks and not has_failed:
                parts[chunk] = items
        assert self.published == parts, state
        assert sorted(self.transfer.chunks_written) == sorted(parts), state
        rows = sum(num_rows(item) for items in parts.values() for item in items)
        assert rows == self.transfer.rows_written, state


def draw(seed: int) -> Scenario:
    """A random scenario; small numbers, so that corners come up often."""
    chance = random.Random(seed)
    num_stages = chance.choice((1, 1, 2, 2, 3))
    num_ranks = chance.choice((0, 1, 2, 3, 3, 4, 7))
    num_epochs = chance.choice((1, 1, 2, 3)) if num_ranks else 1
    most = chance.choice((1, 3, 12))
    chunks = tuple(
        tuple(chance.randint(0, most) for _ in range(chance.choice((0, 1, 2, 5, 9, 16))))
        for _ in range(num_epochs)
    )
    done = frozenset(chunk for chunk in range(len(chunks[0])) if chance.random() < 0.3)
    num_kills = chance.choice((0, 1, 3, 3, 10))
    return Scenario(
        seed=seed,
        num_lanes=chance.choice((1, 2, 2, 3, 4)),
        num_replicas=tuple(chance.choice((1, 1, 2, 2, 3, 4)) for _ in range(num_stages)),
        num_ranks=num_ranks,
        chunks=chunks,
        uneven=chance.choice(("pad", "drop", "repeat")),
        fans=tuple(
            chance.choice(((1,), (1,), (0, 1), (0, 1, 3), (0,), (2,))) for _ in range(num_stages)
        ),
        failing=chance.choice((0, 0, 0, 20)),
        num_credits=chance.choice((1, 1, 2, 4, 16)),
        credit_bytes=chance.choice((1, 60, 1 << 40, 1 << 40)),
        num_places=chance.choice((0, 0, 2, 1000, 1000)),
        num_kills=num_kills,
        kill_share=chance.choice((0.002, 0.01, 0.05)),
        late=chance.choice((0, 20, 300, None)),
        notice=chance.choice((0, 5, 60)),
        pause_share=chance.choice((0.0, 0.0, 0.003)),
        has_barrier=chance.random() < 0.7,
        done_chunks=frozenset() if num_ranks else done,
    )


def resume(scenario: Scenario, saved: Saved, seed: int) -> Scenario:
    """Go on from a position with other numbers of workers and ranks."""
    chance = random.Random(seed)
    return dataclasses.replace(
        scenario,
        seed=seed,
        num_replicas=tuple(chance.choice((1, 2, 3)) for _ in scenario.num_replicas),
        num_ranks=chance.choice((1, 2, 3, 5)),
        num_places=chance.choice((0, 2, 1000)),
        start=saved.position,
    )
