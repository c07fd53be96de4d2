"""Limit: a consumer that only reads, from local buffers in rotation."""

import itertools

from transport.payload import BATCH, NUM_BUFFERS, measure


def run(num_batches: int) -> dict[str, float]:
    buffers = [{name: array.copy() for name, array in BATCH.items()} for _ in range(NUM_BUFFERS)]
    return measure(itertools.cycle(buffers), num_batches)
