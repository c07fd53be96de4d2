"""Limit: the least that copying in and reading once costs between two processes.

A producer copies the arrays, column by column, into 16 shared buffers in turn; the consumer reads
each where it lies. The two watch each other's counter without sleeping, so there are no messages,
no leases, no other process: what is missing to `limit_read` is the price of reading what another
core has just written.
"""

import mmap
import os
from collections.abc import Iterator

import numpy as np

from transport.payload import BATCH, NUM_BUFFERS, NUM_BYTES, Batch, measure

_ALIGNED = 4096


def _views(memory: mmap.mmap, number: int) -> Batch:
    room = -(-NUM_BYTES // _ALIGNED) * _ALIGNED
    views, at = {}, number * room
    for name, array in BATCH.items():
        views[name] = np.ndarray(array.shape, array.dtype, memory, at)
        at += array.nbytes
    return views


def run(num_batches: int) -> dict[str, float]:
    memory = mmap.mmap(-1, NUM_BUFFERS * (NUM_BYTES + _ALIGNED))
    counters = np.frombuffer(mmap.mmap(-1, _ALIGNED), np.int64)  # written, read: 64 bytes apart
    buffers = [_views(memory, number) for number in range(NUM_BUFFERS)]
    pid = os.fork()
    if pid == 0:
        _produce(buffers, counters, num_batches)
        os._exit(0)

    def consume() -> Iterator[Batch]:
        for number in range(num_batches):
            while counters[0] <= number:
                os.sched_yield()
            yield buffers[number % NUM_BUFFERS]
            counters[8] = number + 1

    try:
        return measure(consume(), num_batches)
    finally:
        os.waitpid(pid, 0)


def _produce(buffers: list[Batch], counters: np.ndarray, num_batches: int) -> None:
    for number in range(num_batches):
        while number - counters[8] >= NUM_BUFFERS - 1:
            os.sched_yield()
        for name, target in buffers[number % NUM_BUFFERS].items():
            target[...] = BATCH[name]
        counters[0] = number + 1
