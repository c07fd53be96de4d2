"""torch DataLoader, all arrays in one tensor, packed beforehand (so packing costs nothing)."""

from transport.dataloader import loader
from transport.payload import BATCH, measure, pack


def run(num_batches: int) -> dict[str, float]:
    batches = loader(num_batches, pack(BATCH))
    return measure(batches, num_batches, arrays=lambda tensor: {"packed": tensor.numpy()})
