"""torch DataLoader, one tensor for each array."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from transport.payload import BATCH, Batch, measure


class Source(IterableDataset):
    """Yields numpy arrays, which the loader turns into new tensors.

    One and the same tensor would be moved to shared memory once, and then be sent without a copy.
    """

    def __init__(self, num_batches: int, value: Any) -> None:
        self.num_batches = num_batches
        self.value = value

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.num_batches):
            yield self.value


def run(num_batches: int) -> dict[str, float]:
    return measure(loader(num_batches, BATCH), num_batches, arrays=to_arrays)


def loader(num_batches: int, value: Any) -> DataLoader:
    """Two workers with four batches ahead each; each has some to spare at the end."""
    source = Source(num_batches // 2 + 1, value)
    return DataLoader(source, batch_size=None, num_workers=2, prefetch_factor=4)


def to_arrays(tensors: dict[str, Any]) -> Batch:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
