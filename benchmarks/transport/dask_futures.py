"""Dask: futures of batches, sixteen ahead, fetched straight from the workers."""

from collections.abc import Iterator
from typing import Any

from distributed import Client, as_completed
from peers.dask_session import LOOPBACK

from transport.payload import BATCH, NUM_BUFFERS, measure


def produce(_number: int) -> Any:
    return BATCH


def run(num_batches: int) -> dict[str, float]:
    client = Client(n_workers=2, threads_per_worker=1, direct_to_workers=True, **LOOPBACK)
    client.wait_for_workers(2)

    def batches() -> Iterator[Any]:
        first = [client.submit(produce, number) for number in range(NUM_BUFFERS)]
        running = as_completed(first, with_results=True)
        for number, (_, batch) in enumerate(running, start=NUM_BUFFERS):
            yield batch
            running.add(client.submit(produce, number))

    try:
        return measure(batches(), num_batches)
    finally:
        client.shutdown()
