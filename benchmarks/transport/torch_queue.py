"""torch.multiprocessing: a queue of tensors."""

from collections.abc import Iterator
from typing import Any

import torch

from transport.dataloader import to_arrays
from transport.payload import BATCH, measure


def produce(queue: Any, num_batches: int) -> None:
    torch.set_num_threads(1)
    for _ in range(num_batches):
        queue.put({name: torch.from_numpy(array) for name, array in BATCH.items()})
    queue.close()
    queue.join_thread()
    # The tensors' descriptors are fetched from here, so this process must outlive them.
    torch.multiprocessing.get_context().Event().wait()


def run(num_batches: int) -> dict[str, float]:
    context = torch.multiprocessing.get_context("fork")
    queue = context.Queue(maxsize=8)
    for _ in range(2):
        args = (queue, num_batches // 2 + 1)
        context.Process(target=produce, args=args, daemon=True).start()

    def batches() -> Iterator[Any]:
        while True:
            yield queue.get()

    return measure(batches(), num_batches, arrays=to_arrays)
