"""Limit: one thread that copies between local buffers in rotation, and reads nothing."""

import time

import numpy as np

from transport.payload import BATCH, NUM_BUFFERS, NUM_BYTES


def run(num_batches: int) -> dict[str, float]:
    sources = [list(map(np.copy, BATCH.values())) for _ in range(NUM_BUFFERS)]
    targets = [list(map(np.copy, BATCH.values())) for _ in range(NUM_BUFFERS)]
    start_at, start_cpu_s = time.perf_counter(), time.process_time()
    for number in range(num_batches):
        source, target = sources[number % NUM_BUFFERS], targets[number % NUM_BUFFERS]
        for into, array in zip(target, source, strict=True):
            np.copyto(into, array)
    wall_s, cpu_s = time.perf_counter() - start_at, time.process_time() - start_cpu_s
    size = NUM_BYTES * num_batches
    return {
        "mb_per_s": size / 1e6 / wall_s,
        "cpu_s_per_gb": cpu_s / (size / 1e9),
        "batches": num_batches,
    }
