"""A worker's or rank's connection to the coordinator and to the memory of other producers."""

import json
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

from tadka.stream.arena import Lifetimes, map_arena
from tadka.stream.codec import Batch, decode
from tadka.stream.config import CurveKeys, TransferConfig
from tadka.stream.wire import IN_SIZE, Kind, pack, receive, set_up, unpack

_FLUSH_PERIOD_NS = 2_000_000
_MOST_ALIASED = 4
_FETCHES_AHEAD = 8


@dataclass(frozen=True, kw_only=True)
class LinkOrder:
    """What a process needs to join a run.

    Args:
        worker: Its number, unique in the run.
        control: Address of the coordinator.
        config: Transport settings.
    """

    worker: int
    control: str
    config: TransferConfig

    @property
    def is_trusted(self) -> bool:
        """Whether pickled batches may be read."""
        return self.config.transport != "tcp" or self.config.keys is not None


@dataclass(slots=True, eq=False)
class Arrival:
    """A batch dealt to this process; `memory` is None until it has been fetched."""

    producer: int
    serial: int
    token: int
    seq: int
    rows: int
    size_bytes: int
    where: int
    step: int
    is_pad: bool
    memory: np.ndarray[Any, Any] | None = None
    is_requested: bool = False


class Link:
    """Messages in and out, and batches by descriptor.

    Small answers (credit, freed memory) are gathered and sent together: at the latest when the
    process is about to wait, and after two milliseconds.
    """

    def __init__(self, order: LinkOrder) -> None:
        self._context = zmq.Context()
        self._config = order.config
        self._is_trusted = order.is_trusted
        self.control = self._context.socket(zmq.DEALER)
        set_up(self.control, order.config, server=False)
        self.control.identity = pack_identity(order.worker)
        self.control.connect(order.control)
        self._poller = zmq.Poller()
        self._poller.register(self.control, zmq.POLLIN)
        self._arenas: dict[int, Any] = {}
        self._peers: dict[int, zmq.Socket[bytes]] = {}
        self._wanted: dict[tuple[int, int], Arrival] = {}  # to be fetched, in order
        self._num_requested = 0
        self._taken: list[int] = []
        self._gone: list[int] = []
        self._gone_later: deque[tuple[int, int]] = deque()
        self._lifetimes = Lifetimes(self._gone_later.append)
        self._flushed_ns = time.monotonic_ns()

    # -- messages -----------------------------------------------------------------------------

    def send(self, kind: Kind, values: Any = (), text: str | None = None) -> None:
        """Send one message now."""
        if text is None:
            self.control.send(pack(kind, values))
        else:
            self.control.send_multipart([pack(kind, values), text.encode()])

    def take(self, arrival: Arrival) -> None:
        """This batch has been worked in: its producer may have its credit back."""
        self._taken += (arrival.producer, arrival.serial)

    def drop(self, arrival: Arrival) -> None:
        """This batch will not be looked at (again)."""
        wanted = self._wanted.pop((arrival.producer, arrival.serial), None)
        if wanted is not None and wanted.is_requested:
            self._num_requested -= 1
        if arrival.memory is None:
            self._gone += (arrival.producer, arrival.serial)

    @property
    def is_due(self) -> bool:
        """Whether gathered answers have waited long enough."""
        return time.monotonic_ns() - self._flushed_ns > _FLUSH_PERIOD_NS

    def flush(self, trained: tuple[int, int] | None = None) -> None:
        """Send the gathered answers.

        Args:
            trained: Epoch and rounds a rank has trained, if it has more than it told.
        """
        while self._gone_later:
            self._gone += self._gone_later.popleft()
        if self._taken:
            self.control.send(pack(Kind.TAKEN, self._taken))
            self._taken = []
        if trained is not None:
            self.control.send(pack(Kind.ACK, (*trained, *self._gone)))
            self._gone = []
        elif self._gone:
            self.control.send(pack(Kind.GONE, self._gone))
            self._gone = []
        self._flushed_ns = time.monotonic_ns()

    def receive(self, timeout_ms: int) -> list[tuple[int, tuple[int, ...], str]]:
        """Messages that have come, as (kind, integers, text); waits for one if there is none.

        Batches asked of other producers are taken in along the way, so an empty list may
        come before the timeout.
        """
        messages: list[tuple[int, tuple[int, ...], str]] = []
        if self._peers or timeout_ms:
            for socket, _ in self._poller.poll(timeout_ms):
                if socket is not self.control:
                    self._take_in(socket)
        while (frames := receive(self.control)) is not None:
            kind, *values = unpack(frames[0])
            text = frames[1].decode() if len(frames) > 1 else ""
            if kind == Kind.PEER:
                self._meet(values[0], text)
            elif kind == Kind.RETIRE:
                self._forget(values[0])
            else:
                messages.append((kind, tuple(values), text))
        if self._wanted:
            self._request()
        return messages

    # -- batches ------------------------------------------------------------------------------

    def arrivals(self, values: tuple[int, ...]) -> list[Arrival]:
        """The batches an IN message deals; fetching of those elsewhere begins."""
        found = []
        for at in range(0, len(values), IN_SIZE):
            producer, serial, token, seq, rows, size, where, step, is_pad = values[
                at : at + IN_SIZE
            ]
            arrival = Arrival(producer, serial, token, seq, rows, size, where, step, bool(is_pad))
            if where < 0:
                self._wanted[(producer, serial)] = arrival
            found.append(arrival)
        if self._wanted:
            self._request()
        return found

    def is_here(self, arrival: Arrival) -> bool:
        """Whether `open` can be called."""
        return arrival.where >= 0 or arrival.memory is not None

    def open(self, arrival: Arrival) -> Batch:
        """The batch itself.

        Its columns alias shared memory while anybody holds them; a process that keeps many
        batches gets copies instead, so that their producer is not starved.
        """
        if arrival.memory is not None:
            return decode(arrival.memory, trusted=self._is_trusted)
        place = np.ndarray(
            arrival.size_bytes, np.uint8, self._arenas[arrival.producer], arrival.where
        )
        ticket = (arrival.producer, arrival.serial)
        if len(self._lifetimes) >= _MOST_ALIASED:
            place = place.copy()
            self._gone += ticket
        else:
            self._lifetimes.watch(place, ticket)
        return decode(place)

    def close(self) -> None:
        """Send what is left and close all sockets."""
        self.flush()
        for socket in self._peers.values():
            socket.close(linger=0)
        self.control.close()
        self._context.term()

    def _meet(self, producer: int, text: str) -> None:
        told = json.loads(text)
        if told["arena"]:
            self._arenas[producer] = map_arena(told["arena"])
        if told["address"]:
            socket = self._context.socket(zmq.DEALER)
            set_up(socket, self._config, server=False)
            socket.connect(told["address"])
            self._peers[producer] = socket
            self._poller.register(socket, zmq.POLLIN)

    def _forget(self, producer: int) -> None:
        self._arenas.pop(producer, None)  # unmapped when the last alias is gone
        for key in [key for key in self._wanted if key[0] == producer]:
            self._num_requested -= self._wanted.pop(key).is_requested
        socket = self._peers.pop(producer, None)
        if socket is not None:
            self._poller.unregister(socket)
            socket.close(linger=0)

    def _request(self) -> None:
        """Ask for batches in the order they are needed, a few at a time."""
        for (producer, serial), arrival in self._wanted.items():
            if self._num_requested >= _FETCHES_AHEAD:
                return
            if not arrival.is_requested and producer in self._peers:
                arrival.is_requested = True
                self._num_requested += 1
                self._peers[producer].send(pack(Kind.IN, [serial]))

    def _take_in(self, socket: "zmq.Socket[bytes]") -> None:
        producer = next((p for p, s in self._peers.items() if s is socket), -1)
        while socket.poll(0):
            head, body = socket.recv_multipart(copy=False)
            serial = unpack(head.bytes)[1]
            arrival = self._wanted.pop((producer, serial), None)
            if arrival is None:
                continue  # dropped meanwhile
            self._num_requested -= 1
            memory = np.frombuffer(body.buffer, np.uint8)
            arrival.memory = memory if memory.flags.writeable else memory.copy()
            self._gone += (producer, serial)


def pack_identity(worker: int) -> bytes:
    """ZeroMQ identity of a worker; never begins with the zero byte, which ZeroMQ keeps."""
    return b"w" + worker.to_bytes(4, "little")


def unpack_identity(identity: bytes) -> int:
    """The worker of an identity."""
    return int.from_bytes(identity[1:5], "little")


class BatchServer:
    """Hands out batches that are not in shared memory.

    From a thread of its own: the user's function may be busy for minutes.

    Args:
        address: Where to bind; ``tcp://HOST:*`` takes a free port.
    """

    def __init__(self, address: str, config: TransferConfig) -> None:
        context = zmq.Context()  # never terminated: the thread serves until the process ends
        self._batches: dict[int, Any] = {}
        self._authenticator = authenticate(context, config.keys)
        self._socket = context.socket(zmq.ROUTER)
        set_up(self._socket, config, server=True)
        self._socket.bind(address)
        self.address = self._socket.get_string(zmq.LAST_ENDPOINT)
        self._thread = threading.Thread(target=self._serve, name="batches", daemon=True)
        self._thread.start()

    def put(self, serial: int, memory: np.ndarray[Any, Any]) -> None:
        """Keep a batch until `free`."""
        self._batches[serial] = memory

    def get(self, serial: int) -> np.ndarray[Any, Any] | None:
        """A batch, or None when it is not kept (any more)."""
        return self._batches.get(serial)

    def free(self, serial: int) -> None:
        """Let a batch go; unknown ones are ignored."""
        self._batches.pop(serial, None)

    def _serve(self) -> None:
        while True:
            identity, request = self._socket.recv_multipart()
            memory = self.get(unpack(request)[1])
            if memory is not None:  # else it was freed: the asker has been told to forget it
                self._socket.send_multipart([identity, request, memory.data], copy=False)


class _OnlyKey:
    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002 - pyzmq's signature
        return key == self._public


def authenticate(context: "zmq.Context[Any]", keys: CurveKeys | None) -> ThreadAuthenticator | None:
    """Refuse every connection to this context's servers that does not hold the run's key."""
    if keys is None:
        return None
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve_callback(domain="*", credentials_provider=_OnlyKey(keys.public))
    return authenticator
