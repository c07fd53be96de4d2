"""A graph as compressed sparse rows (CSR): arrays in memory, or files mapped into it.

Shape letters: N nodes, E edges, R rows asked for. Edge e of row i, `indptr[i] <= e < indptr[i+1]`,
goes from i to `indices[e]`; the edges of a row stand in ascending order of `indices`. So a graph
is a function of its edges, not of the order in which they were given.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError, NotFound
from tadka.models.graph.folder import mapped, read_manifest, verify_file

_BLOCK = 1 << 22  # entries looked at in one go where a whole array is walked

Ints = npt.NDArray[np.integer[Any]]
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Graph:
    """Edges by row, in CSR.

    It pickles as the path of its folder where it has one, else as its arrays.

    Args:
        indptr: Where the edges of each row begin, int64, shape (N+1,).
        indices: The node at the other end, int32 or int64, shape (E,).
        weight: Of each edge, float32, shape (E,); None where all count alike.
        is_symmetric: Whether for each edge i-j there is an edge j-i of the same weight; None where
            nobody knows yet, and then it is found out when it matters.
        folder: Where the arrays are mapped from; see `Graph.open`.

    Raises:
        DataError: Shapes or types do not fit each other.
    """

    def __init__(
        self,
        indptr: Rows,
        indices: Ints,
        weight: Floats | None = None,
        *,
        is_symmetric: bool | None = None,
        folder: Path | None = None,
    ) -> None:
        self.indptr, self.indices, self.weight = indptr, indices, weight
        self.folder = folder
        self._is_symmetric = is_symmetric
        if indptr.ndim != 1 or not len(indptr) or indptr.dtype != np.int64:
            raise DataError(
                f"indptr has shape {indptr.shape} and type {indptr.dtype}; it must be int64 of "
                "shape (nodes + 1,)."
            )
        if indices.dtype not in (np.int32, np.int64) or indices.ndim != 1:
            raise DataError(
                f"indices has shape {indices.shape} and type {indices.dtype}; it must be int32 or "
                "int64 of shape (edges,)."
            )
        if indptr[0] != 0 or indptr[-1] != len(indices):
            raise DataError(
                f"indptr runs from {indptr[0]} to {indptr[-1]}; with {len(indices)} indices it "
                f"must run from 0 to {len(indices)}."
            )
        if weight is not None and weight.shape != indices.shape:
            raise DataError(
                f"weight has shape {weight.shape}; it must be that of indices, {indices.shape}."
            )

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = False) -> "Graph":
        """The graph that `build_graph` wrote; nothing is read but what is used.

        Args:
            folder: Of the graph.
            verify: Read all and compare it with its checksums first.

        Returns:
            A graph whose arrays are files mapped read-only.

        Raises:
            NotFound: There is no graph in the folder.
            DataError: A file is missing, too short, too long or, with `verify`, damaged.
        """
        folder = Path(folder).resolve()
        manifest = read_manifest(folder)
        files = manifest["files"]
        num_nodes, num_edges = manifest["num_nodes"], manifest["num_edges"]
        lengths = {"indptr": num_nodes + 1, "indices": num_edges, "weight": num_edges}
        arrays = {
            name: mapped(folder / f"{name}.bin", np.dtype(file["dtype"]), lengths[name])
            for name, file in files.items()
        }
        if verify:
            for name, file in files.items():
                verify_file(folder / f"{name}.bin", arrays[name], file["crc32"])
        try:
            return cls(
                arrays["indptr"],
                arrays["indices"],
                arrays.get("weight"),
                is_symmetric=manifest["is_symmetric"],
                folder=folder,
            )
        except DataError as error:
            raise DataError(f"Graph {str(folder)!r} is damaged: {error} Build it again.") from error

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is not None:
            return Graph.open, (self.folder,)
        return _graph, (self.indptr, self.indices, self.weight, self._is_symmetric)

    def __repr__(self) -> str:
        return f"Graph(num_nodes={self.num_nodes}, num_edges={self.num_edges})"

    @property
    def num_nodes(self) -> int:
        """Rows, with those that have no edge."""
        return len(self.indptr) - 1

    @property
    def num_edges(self) -> int:
        """Entries of `indices`; an undirected edge counts twice."""
        return len(self.indices)

    @property
    def num_bytes(self) -> int:
        """Size of all arrays, on disk or in memory."""
        weight_bytes = 0 if self.weight is None else self.weight.nbytes
        return self.indptr.nbytes + self.indices.nbytes + weight_bytes

    @property
    def is_symmetric(self) -> bool:
        """Whether each edge also goes the other way with the same weight."""
        if self._is_symmetric is None:
            self._is_symmetric = _is_symmetric(self)
        return self._is_symmetric

    def degree(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
        """Number of edges of each row.

        Args:
            rows: Nodes, shape (R,); None for all.

        Returns:
            int64, shape (R,) or (N,).

        Raises:
            DataError: A row is not a node.
        """
        if rows is None:
            return np.diff(self.indptr)
        rows_R = checked_rows(rows, self.num_nodes)
        found: Rows = self.indptr[rows_R + 1] - self.indptr[rows_R]
        return found

    def neighbours(self, row: int) -> Ints:
        """Where the edges of one node go, ascending.

        Args:
            row: The node.

        Returns:
            A view of `indices`, shape (degree,).

        Raises:
            NotFound: There is no such node.
        """
        if not 0 <= row < self.num_nodes:
            raise NotFound(f"There is no node {row}; the graph has {self.num_nodes}, from 0.")
        return self.indices[self.indptr[row] : self.indptr[row + 1]]

    def normalised(self) -> Floats:
        """Entries of D^-1/2 A D^-1/2, where D are the sums of weights of rows (and of columns).

        Returns:
            float32, shape (E,): `w_ij / sqrt(d_i d_j)`; 1 stands for w where there are no weights.
            0 where a sum is 0. For a graph that is not symmetric, d_j is the sum of column j.

        Raises:
            DataError: A weight is negative.

        Source: Kipf and Welling 2017, equation 2 (without the loops: build them in with
        `self_loops=True`).
        """
        if self.weight is not None and len(self.weight) and float(self.weight.min()) < 0:
            raise DataError("An edge has a negative weight; a square root needs sums of 0 or more.")
        scale_N = _inverse_root(self._row_sums())
        scale_of_column_N = scale_N if self.is_symmetric else _inverse_root(self._column_sums())
        values_E = np.empty(self.num_edges, np.float32)
        for start, stop, source in _row_blocks(self.indptr):
            end = self.indices[start:stop]
            block = scale_N[source] * scale_of_column_N[end]
            values_E[start:stop] = block if self.weight is None else block * self.weight[start:stop]
        return values_E

    def _row_sums(self) -> npt.NDArray[np.float64]:
        if self.weight is None:
            return np.diff(self.indptr).astype(np.float64)
        sums_N = np.zeros(self.num_nodes)
        for start, stop, source in _row_blocks(self.indptr):
            first = int(source[0])
            part = np.bincount(source - first, self.weight[start:stop])
            sums_N[first : first + len(part)] += part
        return sums_N

    def _column_sums(self) -> npt.NDArray[np.float64]:
        sums_N = np.zeros(self.num_nodes)
        for start in range(0, self.num_edges, _BLOCK):
            end = self.indices[start : start + _BLOCK]
            weight = None if self.weight is None else self.weight[start : start + _BLOCK]
            sums_N += np.bincount(end, weight, self.num_nodes)
        return sums_N

    @property
    def is_small(self) -> bool:
        """Whether int32 holds every node and every position of an edge."""
        return self.indices.dtype == np.int32 and self.num_edges < 2**31


def checked_rows(rows: npt.ArrayLike, num_nodes: int) -> Rows:
    """Rows of nodes as int64, shape (R,).

    Raises:
        DataError: They are no whole numbers, have another shape, or one is not a node.
    """
    rows_R = np.asarray(rows)
    if rows_R.ndim != 1 or (rows_R.dtype.kind not in "iu" and len(rows_R)):
        raise DataError(
            f"Rows of nodes have shape {rows_R.shape} and type {rows_R.dtype}; they must be whole "
            "numbers of shape (rows,)."
        )
    if len(rows_R) and not (0 <= rows_R.min() and rows_R.max() < num_nodes):
        worst = rows_R.min() if rows_R.min() < 0 else rows_R.max()
        raise DataError(f"Row {worst} is not a node; they are from 0 to {num_nodes - 1}.")
    return rows_R.astype(np.int64, copy=False)


def _graph(indptr: Rows, indices: Ints, weight: Floats | None, is_symmetric: bool | None) -> Graph:
    return Graph(indptr, indices, weight, is_symmetric=is_symmetric)


def index_type(num_nodes: int) -> np.dtype[Any]:
    """The type that indices of so many nodes are kept in: int32 below 2^31 nodes."""
    return np.dtype(np.int32 if num_nodes < 2**31 else np.int64)


def _row_blocks(indptr: Ints) -> Any:
    """Edges in blocks that do not depend on rows' lengths: (start, stop, row of each edge)."""
    num_edges = int(indptr[-1])
    for start in range(0, num_edges, _BLOCK):
        stop = min(start + _BLOCK, num_edges)
        first = int(np.searchsorted(indptr, start, "right")) - 1
        last = int(np.searchsorted(indptr, stop, "left"))
        bounds = np.clip(indptr[first : last + 1], start, stop)
        yield start, stop, np.repeat(np.arange(first, last), np.diff(bounds))


def _inverse_root(sums: npt.NDArray[np.float64]) -> Floats:
    with np.errstate(divide="ignore"):
        root = 1.0 / np.sqrt(sums)
    root[~np.isfinite(root)] = 0.0
    return root.astype(np.float32)


def _is_symmetric(graph: Graph) -> bool:
    """Sorted by (column, row), a symmetric matrix reads as it does by (row, column)."""
    row_E = np.repeat(np.arange(graph.num_nodes, dtype=graph.indices.dtype), graph.degree())
    order_E = np.lexsort((row_E, graph.indices))
    same = np.array_equal(graph.indices[order_E], row_E)
    same = same and np.array_equal(row_E[order_E], graph.indices)
    weight = graph.weight
    return bool(same and (weight is None or np.array_equal(weight[order_E], weight)))


# ------------------------------------------------------------------ two kinds of nodes


def bipartite(
    user_rows: npt.ArrayLike, item_rows: npt.ArrayLike, num_users: int, num_items: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Users and items in one space of nodes: user u is node u, item i is node `num_users + i`.

    Args:
        user_rows: Of each pair, shape (E,).
        item_rows: Of each pair, shape (E,).
        num_users: Rows of users.
        num_items: Rows of items.

    Returns:
        Both ends of each edge, int64, shape (E,), and the number of nodes: what `build_graph`
        and `graph_of` take, with `symmetric=True`.

    Raises:
        DataError: The arrays differ in length, or a row is outside its range.

    >>> src, dst, num_nodes = bipartite([0, 1], [0, 2], num_users=2, num_items=3)
    >>> src.tolist(), dst.tolist(), num_nodes
    ([0, 1], [2, 4], 5)
    """
    user_E = np.asarray(user_rows, dtype=np.int64)
    item_E = np.asarray(item_rows, dtype=np.int64)
    if user_E.ndim != 1 or user_E.shape != item_E.shape:
        raise DataError(
            f"user_rows has shape {user_E.shape} and item_rows {item_E.shape}; both must be (E,)."
        )
    for name, rows, bound in (("user", user_E, num_users), ("item", item_E, num_items)):
        if len(rows) and not (0 <= rows.min() and rows.max() < bound):
            worst = int(rows.min()) if rows.min() < 0 else int(rows.max())
            raise DataError(f"There is a {name} row {worst}; it must be from 0 to {bound - 1}.")
    return user_E, item_E + num_users, int(num_users + num_items)
