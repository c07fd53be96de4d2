"""Messages between the coordinator, workers and ranks, and the sockets that carry them.

A message is one frame of little-endian int64 (the kind first) and, for a few kinds, a second
frame of text. Nothing on these sockets is ever unpickled. High-water marks are off: credits,
not ZeroMQ, bound what is in flight.

Entries are flattened, so one message announces or deals many batches; under load this is what
keeps the cost per batch at a few microseconds.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum

import zmq

from tadka.stream.config import TransferConfig


class Kind(IntEnum):
    """What a message says; the comment gives its integers, and ``| text``."""

    # worker or rank -> coordinator
    READY = 1  # | address of its data server, or ""
    OUT = 2  # (token, seq, rows, nbytes, serial, where)*: batches made
    DONE = 3  # token, num_out, rows, has_failed: this stage is done with the lease
    TAKEN = 4  # (producer, serial)*: a stage has worked these in: credit
    GONE = 5  # (producer, serial)*: nobody looks into their memory any more
    ACK = 6  # epoch, rounds, (producer, serial)*: a rank has trained so many steps: credit | GONE
    STAT = 7  # see tadka.stream.counters.Counters
    ERROR = 8  # token, is_skipped | JSON: a user's function raised
    METRIC = 9  # | JSON: what the training loop logged
    SAVE = 10  # epoch, rounds: what is the position after these
    SAVED = 11  # | path of a checkpoint
    BYE = 12  # | JSON: result; the last message
    # coordinator -> worker or rank
    START = 20
    LEASE = 21  # token, epoch, chunk, group, lane, first
    END = 22  # token, has_failed: the stage before is done with the lease
    IN = 23  # (producer, serial, token, seq, rows, nbytes, where, epoch and step, is_pad)*
    BACK = 24  # (2 * serial + is_memory)*: its credit, or its memory, is the producer's again
    CANCEL = 25  # token
    PEER = 26  # producer | where its batches are: arena path or address
    RETIRE = 27  # producer: gone, and nothing of it is needed any more
    EPOCH = 28  # epoch, rounds: all its batches have been dealt
    POSITION = 29  # | JSON: answer to SAVE
    STOP = 30  # is_graceful


OUT_SIZE = 6
IN_SIZE = 9


def pack(kind: Kind, values: Sequence[int] = ()) -> bytes:
    """One message's first frame."""
    return struct.pack(f"<{len(values) + 1}q", kind, *values)


def unpack(frame: bytes) -> tuple[int, ...]:
    """Kind and integers of a first frame."""
    return struct.unpack(f"<{len(frame) // 8}q", frame)


def set_up(socket: "zmq.Socket[bytes]", config: TransferConfig, *, server: bool) -> None:
    """No high-water marks, a bounded linger, and encryption where the config has keys."""
    socket.set_hwm(0)
    socket.linger = 2000
    keys = config.keys
    if keys is None:
        return
    if server:
        socket.curve_secretkey = keys.secret
        socket.curve_publickey = keys.public
        socket.curve_server = True
    else:
        socket.curve_serverkey = keys.public
        socket.curve_secretkey = keys.secret
        socket.curve_publickey = keys.public


def receive(socket: "zmq.Socket[bytes]") -> list[bytes] | None:
    """A message's frames, or None when none has come.

    Asking ZeroMQ first whether there is one costs more than receiving one.
    """
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None
