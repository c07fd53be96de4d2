"""What is moved, how it is read, and how the speed is measured: the same for every method."""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from harness import Meter

Batch = Mapping[str, np.ndarray]

# As many buffers as two workers with eight slots each hold: with `columns` they lie in the
# second or third cache level, with `images` outside of most caches, as a ring's slots do.
NUM_BUFFERS = 16
# Batches after the CPU was read and before the clock starts: what queued up meanwhile is gone.
_SETTLE = 2 * NUM_BUFFERS


def make(name: str) -> dict[str, np.ndarray]:
    """The arrays of a payload: ``columns`` (491,520 B) or ``images`` (9.63 MB)."""
    rng = np.random.default_rng(3)
    if name == "images":
        return {"image": rng.integers(0, 256, (64, 3, 224, 224), dtype=np.uint8)}
    columns: dict[str, np.ndarray] = {}
    for number in range(10):
        columns[f"id{number}"] = rng.integers(0, 1 << 40, 4096)
        columns[f"value{number}"] = rng.random(4096, dtype=np.float32)
    return columns


# From the environment, because it then reaches the producers of every method in the same way.
NAME = os.environ.get("TRANSPORT_PAYLOAD", "columns")
BATCH = make(NAME)
NUM_BYTES = sum(array.nbytes for array in BATCH.values())


def touch(batch: Batch) -> int:
    """Read one byte of every 64 (a cache line) of each array."""
    return sum(int(array.reshape(-1).view(np.uint8)[::64].sum()) for array in batch.values())


def pack(batch: Batch) -> np.ndarray:
    """All arrays one after the other, as bytes."""
    return np.concatenate([array.reshape(-1).view(np.uint8) for array in batch.values()])


def measure(
    batches: Iterable[Any],
    num_batches: int,
    *,
    arrays: Callable[[Any], Batch] = lambda batch: batch,
    drain: bool = False,
) -> dict[str, float]:
    """Consume `num_batches`, and measure the steady part of it.

    Args:
        batches: At least `num_batches` of them.
        num_batches: How many to take.
        arrays: From what arrives to arrays by name.
        drain: Take what is left after that, too, without measuring it.
    """
    expected = touch(BATCH)
    num_warm = max(NUM_BUFFERS, num_batches // 10)
    meter, count = Meter(), 0
    start_at = 0.0
    for batch in batches:
        if count == num_batches:
            continue
        if touch(arrays(batch)) != expected:
            raise RuntimeError(f"Batch {count} is not what was sent.")
        del batch  # some transports hold the next one back until this one is let go
        count += 1
        if count == num_warm:
            meter.start()
        if count == num_warm + _SETTLE:
            start_at = time.perf_counter()
        if count == num_batches:
            meter.stop()
            if not drain:
                break
    if count != num_batches:
        raise RuntimeError(f"{count} of {num_batches} batches came.")
    megabytes = NUM_BYTES * (num_batches - num_warm - _SETTLE) / 1e6
    gigabytes_by_cpu = NUM_BYTES * (num_batches - num_warm) / 1e9
    return {
        "mb_per_s": megabytes / (meter.stop_at - start_at),
        "cpu_s_per_gb": meter.cpu_s / gigabytes_by_cpu,
        "batches": count,
    }
