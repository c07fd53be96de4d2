"""New numbers for the nodes of a subgraph, from 0, in the order in which they first come.

Shape letters: K nodes, with repeats.
"""

import threading
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tadka.models.kernel.backend import kernels

# Nodes up to which a table of 4 bytes a node in each thread finds a node's new number: ten times
# faster than sorting. Only the pages that were touched are in memory.
_MOST_TABLE_NODES = 1 << 28

Rows = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]


class _Table(threading.local):
    """New number of each node and 1 more; all 0 between uses."""

    def __init__(self) -> None:
        self.table = np.zeros(0, np.int32)

    def of(self, num_nodes: int) -> Positions:
        if len(self.table) < num_nodes:
            self.table = np.zeros(num_nodes, np.int32)
        return self.table


_table = _Table()


class Numbering:
    """Numbers nodes from 0 in the order in which they first come; ends with its block.

    Args:
        num_nodes: Of the graph.
    """

    def __init__(self, num_nodes: int) -> None:
        self.num_nodes = 0
        self._parts: list[Rows] = []
        self._table = _table.of(num_nodes) if num_nodes <= _MOST_TABLE_NODES else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        if reason[0] is not None:  # who knows where it was left; the next use makes a new one
            _table.table = np.zeros(0, np.int32)
        elif self._table is not None:
            for part in self._parts:
                self._table[part] = 0

    def since(self, start: int) -> Rows:
        """Nodes from number `start` on; it must be one at which an `add` began."""
        parts, at = [], 0
        for part in self._parts:
            if at >= start:
                parts.append(part)
            at += len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def add(self, nodes: npt.NDArray[np.integer[Any]], at_K: Rows | None = None) -> Positions:
        """Numbers of nodes, shape (K,); those not seen before get new ones.

        Args:
            nodes: Nodes.
            at_K: Places of those that are asked for; None for all.
        """
        at_K = np.arange(len(nodes)) if at_K is None else at_K
        if self._table is None:
            return self._add_sorted(nodes[at_K])
        new, number_K = np.empty(len(at_K), np.int64), np.empty(len(at_K), np.int32)
        num_new = kernels().number(
            np.ascontiguousarray(nodes), at_K, self._table, self.num_nodes, new, number_K
        )
        self._parts.append(new[:num_new])
        self.num_nodes += num_new
        return number_K

    def _add_sorted(self, nodes_K: npt.NDArray[np.integer[Any]]) -> Positions:
        """The same without a table: sorts all nodes so far."""
        seen = self.since(0)
        found, first, inverse = np.unique(
            np.concatenate([seen, nodes_K]), return_index=True, return_inverse=True
        )
        order = np.argsort(first)
        number = np.empty(len(found), np.int32)
        number[order] = np.arange(len(found), dtype=np.int32)
        self._parts.append(found[order][len(seen) :])
        self.num_nodes = len(found)
        positions: Positions = number[inverse[len(seen) :]]
        return positions
