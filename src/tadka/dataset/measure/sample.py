"""The rows with the least keys, whatever order all rows come in."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tadka.core.extra import require

if TYPE_CHECKING:
    import pyarrow as pa


class LeastRows:
    """Keeps the rows with the least keys; of rows with one key, one.

    Args:
        schema: Of the rows.
        max_rows: How many to keep.
        max_bytes: Where rows are large, fewer are kept, but one.
    """

    def __init__(self, schema: "pa.Schema", max_rows: int, max_bytes: int) -> None:
        self._schema = schema
        self._limit = max_rows
        self._max_bytes = max_bytes
        self._bound = 2**64 - 1  # greater keys are not wanted
        self._keys: list[npt.NDArray[np.uint64]] = []
        self._tables: list[pa.Table] = []
        self._num_rows = self._num_bytes = 0

    def add(self, keys_N: npt.NDArray[np.uint64], rows: "pa.RecordBatch | pa.Table") -> None:
        """Looks at further rows.

        Args:
            keys_N: Of the rows, shape (N,).
            rows: N of them, with the columns of the schema and perhaps others.
        """
        pa = require("pyarrow", extra="dataset")
        least, chosen = _least(keys_N, self._limit, self._bound)
        if not len(least):
            return
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        taken = table.select(self._schema.names).take(pa.array(chosen)).cast(self._schema)
        self._tables.append(taken)
        self._keys.append(least)
        self._num_rows += taken.num_rows
        self._num_bytes += taken.nbytes
        if self._num_rows > 2 * self._limit or self._num_bytes > 2 * self._max_bytes:
            self._shrink()

    def merge(self, other: "LeastRows") -> None:
        """Looks at the rows that another one kept.

        Args:
            other: Of the same schema.
        """
        table = other.table()
        if table.num_rows:
            self.add(other._keys[0], table)  # noqa: SLF001

    def table(self) -> "pa.Table":
        """The rows, in the order of their keys."""
        self._shrink()
        return self._tables[0] if self._tables else self._schema.empty_table()

    def _shrink(self) -> None:
        if not self._tables:
            return
        pa = require("pyarrow", extra="dataset")
        keys_N, first = np.unique(np.concatenate(self._keys), return_index=True)
        table = pa.concat_tables(self._tables)
        share = self._max_bytes / max(1, table.nbytes)
        if share < 1:
            self._limit = min(self._limit, max(1, int(table.num_rows * share)))
        table = table.take(pa.array(first[: self._limit])).combine_chunks()
        keys_N = keys_N[: self._limit]
        if len(keys_N) == self._limit:
            self._bound = int(keys_N[-1])
        self._keys, self._tables = [keys_N], [table]
        self._num_rows, self._num_bytes = table.num_rows, table.nbytes


def _least(
    keys_N: npt.NDArray[np.uint64], limit: int, bound: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.intp]]:
    """The least different keys up to a bound, in order, and where each stands first."""
    chosen = np.flatnonzero(keys_N <= np.uint64(bound))
    if len(chosen) > 8 * limit:  # sorting a few of them is mostly enough
        cut = np.partition(keys_N[chosen], 4 * limit)[4 * limit]
        few = chosen[keys_N[chosen] <= cut]
        least, first = np.unique(keys_N[few], return_index=True)
        if len(least) >= limit:
            return least[:limit], few[first[:limit]]
    least, first = np.unique(keys_N[chosen], return_index=True)
    return least[:limit], chosen[first[:limit]]
