"""ZeroMQ ipc, PUSH and PULL; pickle 5 with the arrays out of band, received without a copy.

No acknowledgement, no lease: what is queued when a process dies is lost.
"""

import multiprocessing
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

import zmq

from transport.payload import BATCH, measure

_HIGH_WATER_MARK = 4  # messages at each end of each producer


def produce(address: str, num_batches: int) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.sndhwm = _HIGH_WATER_MARK
        socket.connect(address)
        for _ in range(num_batches):
            buffers: list[pickle.PickleBuffer] = []
            head = pickle.dumps(BATCH, protocol=5, buffer_callback=buffers.append)
            socket.send_multipart([head, *buffers], copy=False)


def run(num_batches: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        address = f"ipc://{directory}/socket"
        context = zmq.Context()
        socket = context.socket(zmq.PULL)
        socket.rcvhwm = _HIGH_WATER_MARK
        socket.bind(address)
        for _ in range(2):
            args = (address, num_batches // 2 + 1)
            multiprocessing.get_context("spawn").Process(
                target=produce, args=args, daemon=True
            ).start()

        def batches() -> Iterator[Any]:
            while True:
                head, *buffers = socket.recv_multipart(copy=False)
                yield pickle.loads(head.buffer, buffers=[frame.buffer for frame in buffers])

        try:
            return measure(batches(), num_batches)
        finally:
            context.destroy(linger=0)
