"""Runs: edges as keys that sort by row and column.

The key of an edge is `(row - first) << bits | column`, with `bits` for a column.
Shape letters: K keys.
"""

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError
from tadka.models.graph.edges import Block, Weights

Keys = npt.NDArray[np.int64]
Run = tuple[Keys, Weights | None]
"""Keys and their weights."""


def key_bits(num_nodes: int) -> int:
    """Bits that hold a node of so many."""
    if num_nodes > 2**35:
        raise ConfigError(f"The graph has {num_nodes} nodes; at most 2^35 can be built.")
    return max(1, (num_nodes - 1).bit_length())


def run_of(block: Block, bits: int, first_row: int | Keys = 0) -> Run:
    """The keys of a block, counted from `first_row`, one for all edges or one for each."""
    return (block[0] - first_row) << bits | block[1], block[2]


def joined(runs: list[Run]) -> Run:
    """One run of many; without weights where there is none."""
    if not runs:
        return np.empty(0, np.int64), None
    weights = [weights for _, weights in runs if weights is not None]
    return np.concatenate([keys for keys, _ in runs]), np.concatenate(weights) if weights else None


def ordered(run: Run, *, is_unique: bool) -> Run:
    """By key, equal keys by weight, so that the order of input does not count; changes `run`."""
    keys_K, weights_K = run
    if weights_K is None:
        keys_K.sort()
    else:
        order_K = np.argsort(keys_K)
        keys_K, weights_K = keys_K[order_K], weights_K[order_K]
        if (keys_K[1:] == keys_K[:-1]).any():  # seldom, and twice as slow
            order_K = np.lexsort((weights_K, keys_K))
            keys_K, weights_K = keys_K[order_K], weights_K[order_K]
    if is_unique and len(keys_K):
        is_first_K = np.empty(len(keys_K), bool)
        is_first_K[0] = True
        np.not_equal(keys_K[1:], keys_K[:-1], out=is_first_K[1:])
        if weights_K is not None:
            starts = np.flatnonzero(is_first_K)
            weights_K = np.add.reduceat(weights_K, starts, dtype=np.float64).astype(np.float32)
        keys_K = keys_K[is_first_K]
    return keys_K, weights_K
