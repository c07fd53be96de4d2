"""The rules by which batches go from stage to stage to ranks: ghee's Transfer Manager.

`Transfer` is a state machine without sockets, clocks or processes: calls go in, messages come
out of `take_messages`. That is what lets a test kill anyone between any two messages.

Words. A *chunk* is leased to one worker of each stage (its *path*); the lease has a *token*, and
messages with a token that is no longer valid are dropped. Batches of a chunk are numbered by
`seq` at each stage. Only descriptors pass through here; the batches themselves go from memory
to memory.

Rules, with the reason for each in docs/stream.md:

1. Order. Chunks are taken in groups of `num_lanes`; batches of a group's chunks alternate, one
   lane after the other. The order is thus a function of the plan alone, a position is one
   integer per lane, and the replicas of the first stage work on different lanes.
2. One recovery. A lease that met a dead process is revoked and its chunk leased again, from the
   first final batch that cannot be had any more. Everything else stays as it is.
3. Steps stick. The step of a batch follows from the order, so a batch that is made again gets
   the same step, and a rank drops what it already has.
4. Credits are the producer's: it may have so many batches out that nobody has worked in yet.
   Every lease may always have one, so whatever is needed next can be made. What was dealt may
   not be acknowledged before more is dealt, for ranks wait for each other inside a step. So
   when a rank has nothing to train, the chunk it waits for has its credits back at once; and
   so has a batch that is made again.
5. Padding is dealt as soon as the last step is, not when it is acknowledged: ranks wait for each
   other inside a step.
6. A batch may be dealt although it is lost: it keeps its place in the rank's queue until it has
   been made again.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tadka.stream.position import Position
from tadka.stream.wire import OUT_SIZE, Kind

Uneven = Literal["pad", "drop", "repeat"]

_MERGED = (Kind.IN, Kind.BACK)

_Cursor = tuple[int, int, int, list[tuple[int, int]]]
"""Step, group, lane, lanes: a position in the making, cheaper to note at every step."""


@dataclass(slots=True, eq=False)
class BatchRef:
    """A batch somebody has made and somebody may still need."""

    producer: int
    serial: int
    token: int
    seq: int
    rows: int
    size_bytes: int
    where: int
    stage: int
    chunk: "ChunkState"
    consumer: int = -1
    num_users: int = 0  # who still may look into its memory
    is_free: bool = False  # nobody does any more
    has_credit: bool = True
    step: int = -1
    sent_to: list[tuple[int, int]] = field(default_factory=list)  # rank, is_pad


@dataclass(slots=True, eq=False)
class ChunkState:
    """A chunk from its first lease until its last batch is delivered."""

    epoch: int
    index: int
    group: int
    lane: int
    first: int = 0  # next seq in order; all before have been given a step
    ready: "deque[BatchRef]" = field(default_factory=deque)  # first, first + 1, ...
    num_out: int | None = None
    lease: "Lease | None" = None
    lost: dict[int, BatchRef] = field(default_factory=dict)  # dealt, and gone with its producer
    is_closed: bool = False

    @property
    def is_exhausted(self) -> bool:
        return self.num_out is not None and self.first >= self.num_out

    def __lt__(self, other: "ChunkState") -> bool:
        return (self.epoch, self.index) < (other.epoch, other.index)


@dataclass(slots=True, eq=False)
class Lease:
    """A chunk in work."""

    token: int
    chunk: ChunkState
    path: list[int]  # worker of each stage


@dataclass(slots=True, eq=False)
class _Worker:
    stage: int
    leases: dict[int, Lease] = field(default_factory=dict)
    held: dict[int, BatchRef] = field(default_factory=dict)  # serial -> what it made
    known: set[int] = field(default_factory=set)  # producers it was told of
    is_alive: bool = True


@dataclass(slots=True)
class Message:
    """Something to send: destination, kind, integers, and text for some kinds."""

    kind: Kind
    values: list[int]
    text: str = ""


class Transfer:
    """Deals chunks by lease, batches by step, and takes back what dead processes had.

    Args:
        num_lanes: Chunks of a group; at least 1.
        num_replicas: Of each stage.
        num_ranks: 0 where the last stage writes instead of passing on to ranks.
        num_epochs: Passes over the data, at least 1.
        num_chunks: Chunks of an epoch.
        uneven: What a rank gets that would have no batch in an epoch's last round.
        position: Where to start.
        done_chunks: Chunks that need no work (parts already written).
    """

    def __init__(
        self,
        *,
        num_lanes: int,
        num_replicas: Sequence[int],
        num_ranks: int,
        num_epochs: int,
        num_chunks: Callable[[int], int],
        uneven: Uneven = "pad",
        position: Position | None = None,
        done_chunks: Iterable[int] = (),
    ) -> None:
        self.num_ranks = num_ranks
        self.num_stages = len(num_replicas)
        self.depths = [0] * self.num_stages  # batches made by a stage and not yet worked in
        self.rows_written = 0
        self.rows_dealt = 0
        self.rows_dropped = 0
        self.num_padded = 0
        self.num_steps = 0
        self.num_reissued = 0
        self.num_stale = 0
        self.chunks_written: list[int] = []
        self.is_delivered = False
        self._num_lanes = num_lanes
        self._num_chunks = num_chunks
        self._num_epochs = num_epochs
        self._uneven = uneven
        self._max_open = num_lanes + max(num_lanes, num_replicas[0])
        self._max_leases = math.ceil(self._max_open / num_replicas[0])
        self._workers: dict[int, _Worker] = {}
        self._ranks: list[int] = [-1] * num_ranks
        self._outbox: dict[int, list[Message]] = {}
        self._next_token = 1
        self._leases: dict[int, Lease] = {}
        self._chunks: dict[tuple[int, int], ChunkState] = {}  # open ones
        self._redo: list[ChunkState] = []  # heap
        self._dead: dict[int, _Worker] = {}  # with memory still in use
        self._is_started = False
        self._done_chunks = set(done_chunks)

        start = position or Position()
        self._epoch = start.epoch
        self._step = start.step
        self._base = start.step
        self._group = start.group
        self._lane = start.lane
        self._lanes: list[ChunkState] = []
        self._round: list[BatchRef] = []  # of an incomplete round, under "drop"
        self._last: BatchRef | None = None  # kept for padding
        self._unacked: list[deque[tuple[int, int, BatchRef]]] = [deque() for _ in range(num_ranks)]
        self._acked: tuple[int, int] = (start.epoch, 0)
        self._positions: dict[tuple[int, int], Position | _Cursor] = {(start.epoch, 0): start}
        self._next_chunk = (start.epoch, 0)
        if position is not None and num_ranks:
            self._lanes = [
                self._open(start.epoch, index, first=first) for index, first in start.lanes
            ]
            for chunk in self._lanes:
                heapq.heappush(self._redo, chunk)
            self._next_chunk = (start.epoch, (start.group + 1) * num_lanes)

    # -- what happens ------------------------------------------------------------------------

    def add_worker(self, worker: int, stage: int) -> None:
        """A worker of a stage is ready."""
        self._workers[worker] = _Worker(stage)
        if self._is_started:
            self._send(worker, Kind.START)
            self._lease_chunks()

    def add_rank(self, worker: int, rank: int) -> None:
        """A rank is ready."""
        self._ranks[rank] = worker
        self._workers[worker] = _Worker(self.num_stages)

    def start(self) -> None:
        """Everybody is ready: deal."""
        self._is_started = True
        for worker in self._workers:
            self._send(worker, Kind.START)
        self._lease_chunks()
        self._deliver()

    def on_out(self, worker: int, values: Sequence[int]) -> None:
        """A worker has made batches: entries as in `wire.Kind.OUT`."""
        producer = self._workers[worker]
        stage = producer.stage
        for at in range(0, len(values), OUT_SIZE):
            token, seq, rows, size_bytes, serial, where = values[at : at + OUT_SIZE]
            lease = self._leases.get(token)
            if lease is None or lease.path[stage] != worker:
                self.num_stale += 1
                self._send(worker, Kind.BACK, [2 * serial])
                self._send(worker, Kind.BACK, [2 * serial + 1])
                continue
            ref = BatchRef(worker, serial, token, seq, rows, size_bytes, where, stage, lease.chunk)
            producer.held[serial] = ref
            self.depths[stage] += 1
            if stage + 1 < self.num_stages:
                self._deal(ref, lease.path[stage + 1])
            else:
                self._accept(ref)
        if stage + 1 == self.num_stages:
            self._deliver()

    def on_done(self, worker: int, token: int, num_out: int, rows: int, has_failed: bool) -> None:
        """A stage is done with a lease."""
        lease = self._leases.get(token)
        stage = self._workers[worker].stage
        if lease is None or lease.path[stage] != worker:
            self.num_stale += 1
            return
        del self._workers[worker].leases[token]
        if stage + 1 < self.num_stages:
            self._send(lease.path[stage + 1], Kind.END, [token, int(has_failed)])
            self._lease_chunks()
            return
        chunk = lease.chunk
        chunk.lease = None
        del self._leases[token]
        if self.num_ranks:
            chunk.num_out = num_out
        else:
            self.rows_written += rows
            if not has_failed:
                self.chunks_written.append(chunk.index)
            self._close(chunk)
        self._lease_chunks()
        self._deliver()

    def on_taken(self, values: Sequence[int]) -> None:
        """A stage has worked these batches in."""
        for at in range(0, len(values), 2):
            ref = self._ref(values[at], values[at + 1])
            if ref is not None:
                self._credit(ref)

    def on_gone(self, values: Sequence[int]) -> None:
        """Nobody in that process looks into the memory of these batches any more."""
        for at in range(0, len(values), 2):
            ref = self._ref(values[at], values[at + 1])
            if ref is not None:
                ref.num_users -= 1
                if ref.num_users <= 0:
                    self._free(ref)

    def on_ack(self, rank: int, epoch: int, rounds: int) -> None:
        """A rank has trained `rounds` steps of `epoch`."""
        unacked = self._unacked[rank]
        while unacked and unacked[0][:2] < (epoch, rounds):
            self._credit(unacked.popleft()[2])
        if rank == 0 and (epoch, rounds) > self._acked:
            self._acked = (epoch, rounds)
            # Made in order, so the old ones are at the front.
            for key in list(self._positions):
                if key >= self._acked:
                    break
                del self._positions[key]
        self._deliver()

    def on_death(self, worker: int) -> list[ChunkState]:
        """A worker of a stage is gone.

        Returns:
            Chunks that it had and that are leased again.
        """
        dead = self._dead[worker] = self._workers.pop(worker)
        dead.is_alive = False
        self._outbox.pop(worker, None)
        # It no longer looks into anything.
        for other in [*self._workers.values(), *self._dead.values()]:
            for ref in [r for r in other.held.values() if r.consumer == worker]:
                self._credit(ref)
                self._free(ref)
        revoked = [lease.chunk for lease in dead.leases.values()] + self._lose(dead)
        chunks = sorted(dict.fromkeys(revoked))
        for chunk in chunks:
            self._revoke(chunk)
        if not dead.held and worker in self._dead:
            self._retire(worker)
        self._lease_chunks()
        self._deliver()
        return chunks

    # -- what is asked ------------------------------------------------------------------------

    def take_messages(self) -> dict[int, list[Message]]:
        """Messages to send, by destination, in order; they are forgotten here."""
        outbox, self._outbox = self._outbox, {}
        return outbox

    def position(self, epoch: int, rounds: int) -> Position | None:
        """Where the stream stands after `rounds` steps of each rank in `epoch`.

        Returns:
            None while not all batches of that round have been dealt.
        """
        found = self._positions.get((epoch, rounds))
        if found is None or isinstance(found, Position):
            return found
        step, group, lane, lanes = found
        return Position(epoch=epoch, step=step, group=group, lane=lane, lanes=tuple(lanes))

    # -- leases -------------------------------------------------------------------------------

    def _open(self, epoch: int, index: int, first: int = 0) -> ChunkState:
        state = self._chunks.get((epoch, index))
        if state is None:
            group, lane = divmod(index, self._num_lanes)
            state = ChunkState(epoch, index, group, lane, first)
            self._chunks[(epoch, index)] = state
        return state

    def _close(self, chunk: ChunkState) -> None:
        chunk.is_closed = True
        del self._chunks[(chunk.epoch, chunk.index)]

    def _peek(self) -> tuple[int, int] | None:
        """The next chunk that was never leased."""
        epoch, index = self._next_chunk
        while epoch < self._num_epochs:
            num_chunks = self._num_chunks(epoch)
            while index < num_chunks and index in self._done_chunks:
                index += 1
            if index < num_chunks:
                self._next_chunk = (epoch, index)
                return self._next_chunk
            epoch, index = epoch + 1, 0
        return None

    def _lease_chunks(self) -> None:
        if not self._is_started:
            return
        while True:
            while self._redo and self._redo[0].lease is not None:
                heapq.heappop(self._redo)
            fresh = None if self._redo else self._peek()
            if not self._redo and (fresh is None or len(self._chunks) >= self._max_open):
                return
            # A chunk of the group in work is needed by those that are leased already.
            is_urgent = fresh is None or fresh < (self._epoch, self._end_of_group)
            path = self._choose_path(is_urgent=is_urgent)
            if path is None:
                return
            if fresh is None:
                chunk = heapq.heappop(self._redo)
            else:
                chunk = self._open(*fresh)
                self._next_chunk = (fresh[0], fresh[1] + 1)
            self._lease(chunk, path)

    @property
    def _end_of_group(self) -> int:
        return (self._group + 1) * self._num_lanes

    def _choose_path(self, *, is_urgent: bool) -> list[int] | None:
        """The least loaded worker of each stage; None where a stage has none to spare."""
        path: list[int] = []
        for stage in range(self.num_stages):
            best, fewest = -1, 1 << 62
            for worker, state in self._workers.items():
                if state.stage == stage and len(state.leases) < fewest:
                    best, fewest = worker, len(state.leases)
            if best < 0 or (stage == 0 and not is_urgent and fewest >= self._max_leases):
                return None
            path.append(best)
        return path

    def _lease(self, chunk: ChunkState, path: list[int]) -> None:
        token = self._next_token
        self._next_token += 1
        lease = Lease(token, chunk, path)
        self._leases[token] = lease
        chunk.lease = lease
        first = chunk.first + len(chunk.ready)
        if chunk.lost:
            first = min(first, *chunk.lost)
        order = [token, chunk.epoch, chunk.index, chunk.group, chunk.lane, first]
        for worker in path:
            self._workers[worker].leases[token] = lease
            self._send(worker, Kind.LEASE, order)

    def _revoke(self, chunk: ChunkState) -> None:
        lease = chunk.lease
        if lease is not None:
            chunk.lease = None
            del self._leases[lease.token]
            for worker in lease.path:
                state = self._workers.get(worker)
                if state is not None:
                    state.leases.pop(lease.token, None)
                    self._send(worker, Kind.CANCEL, [lease.token])
        self.num_reissued += 1
        heapq.heappush(self._redo, chunk)

    def _lose(self, dead: _Worker) -> list[ChunkState]:
        """Forget batches whose memory went with their producer; chunks to lease again.

        Shared memory outlives its producer: such batches stay as they are.
        """
        chunks = []
        for ref in [ref for ref in dead.held.values() if ref.where < 0]:
            if ref.is_free:  # it had been fetched
                continue
            del dead.held[ref.serial]
            chunk = ref.chunk
            if ref.has_credit:
                self.depths[ref.stage] -= 1
                ref.has_credit = False
            if ref.stage + 1 < self.num_stages:
                if chunk.lease is not None and chunk.lease.token == ref.token:
                    chunks.append(chunk)
            elif ref.step >= 0:
                chunk.lost[ref.seq] = ref
                chunks.append(chunk)
            else:
                while chunk.ready and chunk.ready[-1].seq >= ref.seq:
                    other = chunk.ready.pop()
                    if other.producer != ref.producer or other.where >= 0:
                        self._credit(other)
                        self._free(other)
                chunk.num_out = None
                chunks.append(chunk)
        return chunks

    # -- order --------------------------------------------------------------------------------

    def _accept(self, ref: BatchRef) -> None:
        """Put a final batch where the order will find it."""
        chunk = ref.chunk
        if ref.seq == chunk.first + len(chunk.ready):
            chunk.ready.append(ref)
            return
        old = chunk.lost.pop(ref.seq, None)
        if old is None:  # we have it: another batch of the chunk was lost
            self._credit(ref)
            self._free(ref)
            return
        ref.step = old.step
        self._credit(ref)  # the lost one's was enough
        if old in self._round:
            self._round[self._round.index(old)] = ref
        if self._last is old:
            self._last = ref
            ref.num_users += 1
        for rank, is_pad in old.sent_to:
            self._deal_step(ref, rank, is_pad)
        if not ref.num_users and ref not in self._round:  # it was dropped meanwhile
            self._free(ref)

    def _deliver(self) -> None:
        if not self._is_started:
            return
        if not self.num_ranks:
            self.is_delivered = not self._chunks and self._peek() is None
            return
        while self._epoch < self._num_epochs:
            if not self._lanes:
                if not self._open_group():
                    self._end_epoch()
                continue
            chunk = self._lanes[self._lane]
            if chunk.ready:
                ref = chunk.ready.popleft()
                chunk.first += 1
                self._lane = (self._lane + 1) % len(self._lanes)
                self._give_step(ref)
            elif chunk.is_exhausted:
                del self._lanes[self._lane]
                self._lane = self._lane % len(self._lanes) if self._lanes else 0
                self._close(chunk)
                self._lease_chunks()
            else:
                self._relieve(chunk)
                return
        self.is_delivered = True

    def _relieve(self, chunk: ChunkState) -> None:
        """Where a rank has nothing to train, give back the credits of the chunk it waits for."""
        if self._unacked[(self._step - self._base) % self.num_ranks]:
            return
        for ref in self._round:
            if ref.chunk is chunk:
                self._credit(ref)
        for unacked in self._unacked:
            for _, _, ref in unacked:
                if ref.chunk is chunk:
                    self._credit(ref)

    def _open_group(self) -> bool:
        num_chunks = self._num_chunks(self._epoch)
        first = self._end_of_group
        if first >= num_chunks:
            return False
        self._group += 1
        self._lane = 0
        last = min(first + self._num_lanes, num_chunks)
        self._lanes = [self._open(self._epoch, index) for index in range(first, last)]
        self._lease_chunks()
        return True

    def _give_step(self, ref: BatchRef) -> None:
        rank = (self._step - self._base) % self.num_ranks
        ref.step = self._step
        self._step += 1
        if self._uneven == "drop":
            # A round is dealt only when it is complete: nobody begins a step alone.
            self._round.append(ref)
            if rank == self.num_ranks - 1:
                for other, member in enumerate(self._round):
                    self._deal_new_step(member, other)
                self._round = []
        else:
            self._keep_last(ref)
            self._deal_new_step(ref, rank)
        if rank == self.num_ranks - 1:
            rounds = (self._step - self._base) // self.num_ranks
            lanes = [(chunk.index, chunk.first) for chunk in self._lanes]
            self._positions[self._epoch, rounds] = (self._step, self._group, self._lane, lanes)

    def _end_epoch(self) -> None:
        num_steps = self._step - self._base
        over = num_steps % self.num_ranks
        rounds = num_steps // self.num_ranks
        if over and self._uneven == "drop":
            for ref in self._round:
                self.rows_dropped += ref.rows
                self._credit(ref)
                self._free(ref)
            self._round = []
        elif over:
            rounds += 1
            assert self._last is not None
            for rank in range(over, self.num_ranks):
                self.num_padded += 1
                self._deal_step(self._last, rank, is_pad=1)
        for worker in self._ranks:
            self._send(worker, Kind.EPOCH, [self._epoch, rounds])
        self._epoch += 1
        self._step = self._base = 0
        self._group, self._lane, self._lanes = -1, 0, []
        after = Position(epoch=self._epoch)
        self._positions[(self._epoch - 1, rounds)] = after
        self._positions[(self._epoch, 0)] = after
        self.num_steps += rounds
        self._forget_last()

    # -- batches ------------------------------------------------------------------------------

    def _deal_new_step(self, ref: BatchRef, rank: int) -> None:
        round_ = (ref.step - self._base) // self.num_ranks
        self._unacked[rank].append((self._epoch, round_, ref))
        self.rows_dealt += ref.rows
        self._deal_step(ref, rank, is_pad=0)

    def _deal_step(self, ref: BatchRef, rank: int, is_pad: int) -> None:
        ref.sent_to.append((rank, is_pad))
        # Steps are counted from 0 in every epoch; a rank may hold batches of two.
        self._deal(ref, self._ranks[rank], (ref.chunk.epoch << 40) | ref.step, is_pad)

    def _deal(self, ref: BatchRef, consumer: int, step: int = -1, is_pad: int = 0) -> None:
        ref.consumer = consumer
        ref.num_users += 1
        known = self._workers[consumer].known
        is_there = ref.producer in self._workers or ref.producer in self._dead
        if is_there and ref.producer not in known:
            known.add(ref.producer)
            self._send(consumer, Kind.PEER, [ref.producer])
        entry = [ref.producer, ref.serial, ref.token, ref.seq, ref.rows, ref.size_bytes]
        self._send(consumer, Kind.IN, [*entry, ref.where, step, is_pad])

    def _keep_last(self, ref: BatchRef) -> None:
        if self.num_ranks > 1:
            self._forget_last()
            ref.num_users += 1
            self._last = ref

    def _forget_last(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.num_users -= 1
            if last.num_users <= 0:
                self._free(last)

    def _ref(self, producer: int, serial: int) -> BatchRef | None:
        worker = self._workers.get(producer) or self._dead.get(producer)
        return None if worker is None else worker.held.get(serial)

    def _credit(self, ref: BatchRef) -> None:
        if ref.has_credit:
            ref.has_credit = False
            self.depths[ref.stage] -= 1
            self._send(ref.producer, Kind.BACK, [2 * ref.serial])
            self._forget(ref)

    def _free(self, ref: BatchRef) -> None:
        if not ref.is_free:
            ref.is_free = True
            self._send(ref.producer, Kind.BACK, [2 * ref.serial + 1])
            self._forget(ref)

    def _forget(self, ref: BatchRef) -> None:
        """Credit and memory come back in either order; after both, the batch is history."""
        if ref.has_credit or not ref.is_free:
            return
        worker = self._workers.get(ref.producer) or self._dead.get(ref.producer)
        if worker is not None:
            worker.held.pop(ref.serial, None)
            if not worker.is_alive and not worker.held:
                self._retire(ref.producer)

    def _retire(self, producer: int) -> None:
        """Nothing of a dead producer is needed any more: its memory can go."""
        del self._dead[producer]
        for worker, state in self._workers.items():
            if producer in state.known:
                state.known.discard(producer)
                self._send(worker, Kind.RETIRE, [producer])
        self._send(producer, Kind.RETIRE, [producer])  # to the coordinator itself

    def _send(self, worker: int, kind: Kind, values: Iterable[int] = ()) -> None:
        if worker not in self._workers and kind is not Kind.RETIRE:
            return
        messages = self._outbox.setdefault(worker, [])
        if kind in _MERGED and messages and messages[-1].kind is kind:
            messages[-1].values.extend(values)
        else:
            messages.append(Message(kind, list(values)))
