"""Embedding tables: vectors by row that can be pulled, pushed to, and grown.

A model names rows and never a size or a place, so a table may lie in memory, in mapped files, or
one day in parts on many machines, without a change to any model.

Letters of shapes: N rows of a call, U rows that differ, D dimensions of a vector.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.models.table.segment import Layout, Manifest, Segment, commit

Rows: TypeAlias = npt.NDArray[np.int64]
Vectors: TypeAlias = npt.NDArray[np.float32]

Init: TypeAlias = Callable[[Rows], "npt.NDArray[Any] | None"]
"""Vectors of new rows, shape (N, D); None: drawn from a normal distribution."""

_SEED_ROWS = 4096  # drawn by one generator: a row's first vector does not depend on how it came
_CHUNK_ROWS = 1 << 16


class Table(Protocol):
    """What a model and the training loop ask of a table."""

    @property
    def dim(self) -> int:
        """D, the length of a vector."""

    @property
    def num_rows(self) -> int:
        """Number of rows, row 0 ("unseen") included."""

    def pull(self, rows_N: npt.ArrayLike) -> Vectors:
        """Vectors of rows, shape (N, D); a copy.

        Raises:
            DataError: A row is not in the table.
        """

    def push(self, rows_N: npt.ArrayLike, gradients_ND: npt.ArrayLike, lr: float) -> None:
        """One step of row-wise AdaGrad; gradients of a row that repeats are summed first.

        Raises:
            DataError: A row is not in the table, or the shapes do not fit.
        """

    def grow(self, num_rows: int, init: Init | None = None) -> None:
        """Adds rows until there are `num_rows`; those that are there stay as they are.

        Raises:
            ConfigError: There are more rows already.
            DataError: `init` gives vectors of another shape, or that are not finite.
        """

    def truncate(self, num_rows: int) -> None:
        """Forgets the rows from `num_rows` on.

        Raises:
            ConfigError: There are fewer rows.
        """

    def save(self, folder: str | Path) -> None:
        """A checkpoint: after a crash the folder holds the previous one or this one, whole."""


def adagrad(
    values_UD: Vectors, sums_U: Vectors, gradients_UD: Vectors, lr: float, eps: float
) -> None:
    """One step of row-wise AdaGrad, in place.

        sum of a row += mean over its D dimensions of gradient**2
        vector of a row -= lr / (sqrt(sum) + eps) * gradient

    AdaGrad (Duchi, Hazan and Singer 2011) keeps a sum for each number; one sum for a row, of the
    mean of the squares, is what FBGEMM calls EXACT_ROWWISE_ADAGRAD. It costs 4 bytes a row instead
    of 4 D.

    Args:
        values_UD: Vectors of rows that differ.
        sums_U: Their sums.
        gradients_UD: Of the loss by each vector.
        lr: Learning rate.
        eps: Keeps a row without gradient where it is.

    Source: Duchi, Hazan, Singer, Adaptive Subgradient Methods (JMLR 12, 2011); the row-wise form is
    that of Naumov et al., DLRM (2019), and FBGEMM.
    """
    sums_U += np.einsum("ud,ud->u", gradients_UD, gradients_UD) / np.float32(values_UD.shape[1])
    rates_U = np.float32(lr) / (np.sqrt(sums_U) + np.float32(eps))
    values_UD -= rates_U[:, None] * gradients_UD


def summed(rows_N: Rows, gradients_ND: Vectors) -> tuple[Rows, Vectors]:
    """Rows that differ, ascending, and the sum of each one's gradients.

    Args:
        rows_N: Rows; they may repeat.
        gradients_ND: A gradient for each.
    """
    steps = np.diff(rows_N)
    if (steps > 0).all():
        return rows_N, gradients_ND
    order = np.arange(len(rows_N)) if (steps >= 0).all() else np.argsort(rows_N, kind="stable")
    ordered = rows_N[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[starts], np.add.reduceat(gradients_ND[order], starts, axis=0)


def first_vectors(
    start: int, stop: int, dim: int, *, init: Init | None, scale: float, seed: int
) -> Vectors:
    """Vectors of new rows from `start` to `stop` - 1, shape (N, D).

    Args:
        start: First row.
        stop: Row to end before.
        dim: D.
        init: What gives them; None, or where it gives None: normal with mean 0.
        scale: Standard deviation of the normal distribution.
        seed: Of its draws. They depend on seed and row alone, not on how the table grew.

    Raises:
        DataError: `init` gives vectors of another shape, or that are not finite.
    """
    given = None if init is None else init(np.arange(start, stop))
    if given is not None:
        given = np.asarray(given, np.float32)
        if given.shape != (stop - start, dim):
            raise DataError(
                f"The vectors of {stop - start:,} new rows have shape {given.shape}; they must "
                f"have {(stop - start, dim)}."
            )
        if not np.isfinite(given).all():
            row = start + int(np.flatnonzero(~np.isfinite(given).all(axis=1))[0])
            raise DataError(f"The vector of the new row {row:,} is not finite.")
        return given
    blocks = []
    for block in range(start // _SEED_ROWS, -(-stop // _SEED_ROWS)):
        rng = np.random.default_rng([seed, block])
        drawn = rng.standard_normal((_SEED_ROWS, dim), np.float32)
        first = block * _SEED_ROWS
        blocks.append(drawn[max(start - first, 0) : stop - first])
    return np.concatenate(blocks) * np.float32(scale) if blocks else np.empty((0, dim), np.float32)


def checked_rows(rows: npt.ArrayLike, num_rows: int) -> Rows:
    """Rows as int64, shape (N,).

    Raises:
        DataError: One of them is not below `num_rows`, or they are no integers.
    """
    rows_N = np.asarray(rows)
    if rows_N.ndim != 1 or (rows_N.dtype.kind not in "iu" and rows_N.size):
        raise DataError(
            f"Rows must be one-dimensional integers, and these are {rows_N.dtype.name} of shape "
            f"{rows_N.shape}."
        )
    rows_N = rows_N.astype(np.int64, copy=False)
    if rows_N.size and (rows_N.min() < 0 or rows_N.max() >= num_rows):
        wrong = rows_N[(rows_N < 0) | (rows_N >= num_rows)]
        raise DataError(
            f"Row {wrong[0]:,} is not in a table of {num_rows:,} rows. Grow the table with its "
            "vocabulary, or take rows from the vocabulary at the size that the table has."
        )
    return rows_N


def checked_push(
    rows: npt.ArrayLike, gradients: npt.ArrayLike, num_rows: int, dim: int
) -> tuple[Rows, Vectors]:
    """Arguments of `Table.push`, checked, one row each.

    Raises:
        DataError: See `Table.push`.
    """
    rows_N = checked_rows(rows, num_rows)
    gradients_ND = np.asarray(gradients, np.float32)
    if gradients_ND.shape != (len(rows_N), dim):
        raise DataError(
            f"Gradients have shape {gradients_ND.shape}; for {len(rows_N):,} rows of a table of "
            f"dimension {dim} they must have {(len(rows_N), dim)}."
        )
    return summed(rows_N, gradients_ND)


def checked_size(num_rows: int, old: int, *, is_growing: bool) -> None:
    """Refuses to grow to fewer rows, or to cut to more.

    Raises:
        ConfigError: So it is.
    """
    if is_growing and num_rows < old:
        raise ConfigError(f"A table of {old:,} rows cannot grow to {num_rows:,}. Use truncate.")
    if not is_growing and not 0 <= num_rows <= old:
        raise ConfigError(f"A table of {old:,} rows cannot be cut to {num_rows:,}.")


class MemoryTable:
    """A table in memory, in float32: 4 D + 4 bytes a row.

    Args:
        num_rows: Number of rows, row 0 included.
        dim: D.
        init: First vectors; None: normal with mean 0.
        scale: Standard deviation of that.
        seed: Of its draws.
        eps: See `adagrad`.
    """

    def __init__(
        self,
        num_rows: int,
        dim: int,
        *,
        init: Init | None = None,
        scale: float = 0.01,
        seed: int = 0,
        eps: float = 1e-8,
    ) -> None:
        self._scale, self._seed, self._eps = scale, seed, eps
        self._values = np.empty((0, dim), np.float32)
        self._sums = np.empty(0, np.float32)
        self.grow(num_rows, init)

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return self._values.shape[1]

    @property
    def num_rows(self) -> int:
        """Number of rows, row 0 included."""
        return len(self._values)

    @property
    def values(self) -> Vectors:
        """All vectors, shape (num_rows, D), not a copy; `grow` and `truncate` leave it behind."""
        return self._values

    @property
    def sums(self) -> Vectors:
        """AdaGrad's accumulator of each row, shape (num_rows,), not a copy; likewise."""
        return self._sums

    def pull(self, rows_N: npt.ArrayLike) -> Vectors:
        """See `Table.pull`."""
        return self._values.take(checked_rows(rows_N, self.num_rows), axis=0)

    def push(self, rows_N: npt.ArrayLike, gradients_ND: npt.ArrayLike, lr: float) -> None:
        """See `Table.push`."""
        rows, gradients = checked_push(rows_N, gradients_ND, self.num_rows, self.dim)
        values, sums = self._values.take(rows, axis=0), self._sums[rows]
        adagrad(values, sums, gradients, lr, self._eps)
        self._values[rows], self._sums[rows] = values, sums

    def grow(self, num_rows: int, init: Init | None = None) -> None:
        """See `Table.grow`."""
        old = self.num_rows
        checked_size(num_rows, old, is_growing=True)
        values = np.empty((num_rows, self.dim), np.float32)
        values[:old] = self._values
        for start in range(old, num_rows, _CHUNK_ROWS):
            stop = min(start + _CHUNK_ROWS, num_rows)
            values[start:stop] = first_vectors(
                start, stop, self.dim, init=init, scale=self._scale, seed=self._seed
            )
        self._values = values
        self._sums = np.concatenate([self._sums, np.zeros(num_rows - old, np.float32)])

    def truncate(self, num_rows: int) -> None:
        """See `Table.truncate`."""
        checked_size(num_rows, self.num_rows, is_growing=False)
        self._values = self._values[:num_rows].copy()
        self._sums = self._sums[:num_rows].copy()

    def save(self, folder: str | Path) -> None:
        """See `Table.save`; `MappedTable.open` reads it, too."""
        layout = Layout(self.dim, "float32", Layout.usual_rows(self.dim, "float32"))
        manifest = Manifest(layout, self.num_rows, self._scale, self._seed, self._eps)

        def fill(segment: Segment, start: int, stop: int) -> None:
            segment.values[: stop - start] = self._values[start:stop]
            segment.sums[: stop - start] = self._sums[start:stop]

        commit(Path(folder), manifest, fill)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """A table that was saved, also one of `MappedTable`.

        Args:
            folder: Where it was saved.

        Raises:
            NotFound: There is none.
            DataError: A file is damaged.
        """
        manifest = Manifest.read(Path(folder))
        layout = manifest.layout
        table = cls(0, layout.dim, scale=manifest.scale, seed=manifest.seed, eps=manifest.eps)
        table._values = np.empty((manifest.num_rows, layout.dim), np.float32)
        table._sums = np.empty(manifest.num_rows, np.float32)
        for number in range(len(manifest.versions)):
            start = number * layout.segment_rows
            stop = min(start + layout.segment_rows, manifest.num_rows)
            segment = layout.map(manifest.path(Path(folder), number), "r")
            table._values[start:stop] = segment.values[: stop - start]
            table._sums[start:stop] = segment.sums[: stop - start]
        return table
