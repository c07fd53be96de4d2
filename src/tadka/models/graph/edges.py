"""Edges in blocks of bounded size: from files, batch by batch, or from arrays.

Shape letters: E edges, B edges of a block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.storage.format import read_piece, scan, suffix_of
from tadka.storage.tabular import open_binary, parsing
from tadka.storage.uri import expand

if TYPE_CHECKING:
    import pyarrow as pa

Rows = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]
Block = tuple[Rows, Rows, Weights | None]
"""Both ends of some edges, and their weights."""

_LOOPS = 1 << 20  # of a block

Edges = str | Path | Sequence[str | Path] | tuple[npt.ArrayLike, npt.ArrayLike]


@dataclass(frozen=True)
class EdgeSource:
    """Where edges come from; it can be gone through more than once.

    Args:
        edges: Files, globs or folders that `tadka.storage.expand` takes; or two arrays, (E,) each.
        columns: Names of the columns of both ends, for files.
        weight: Name of the column of weights for files, an array (E,) for arrays; or None.
        num_nodes: Nodes are from 0 to one less; None for as many as there are.

    Raises:
        ConfigError: `weight` does not fit `edges`.
        DataError: Arrays differ in length, or hold other than whole numbers.
    """

    edges: Edges
    columns: tuple[str, str] = ("src", "dst")
    weight: str | npt.ArrayLike | None = None
    num_nodes: int | None = None

    def __post_init__(self) -> None:
        if self.has_files and not isinstance(self.weight, str | None):
            raise ConfigError("weight is an array; with edges from files it must be a column name.")
        if not self.has_files and isinstance(self.weight, str):
            raise ConfigError(
                f"weight is {self.weight!r}; with edges from arrays it must be an array."
            )

    @property
    def has_files(self) -> bool:
        """Whether the edges are in files."""
        given = self.edges
        if isinstance(given, str | Path):
            return True
        return len(given) > 0 and isinstance(given[0], str | Path)

    def blocks(self, block_rows: int) -> Iterator[Block]:
        """All edges in order.

        Args:
            block_rows: The most edges of a block.

        Raises:
            NotFound: There is no such file.
            DataError: A file is damaged, has no such column or other than whole numbers in it,
                an end is null or not a node, or a weight is not finite; the file is named.
        """
        if not self.has_files:
            yield from self._of_arrays(block_rows)
            return
        names = [*self.columns, *([self.weight] if isinstance(self.weight, str) else [])]
        for uri in expand(self.edges):  # type: ignore[arg-type]
            for batch in _batches(uri, names, block_rows):
                yield self._checked(f"File {uri!r}", *_columns(uri, batch, names))

    def _of_arrays(self, block_rows: int) -> Iterator[Block]:
        if len(self.edges) != 2:  # type: ignore[arg-type]
            raise DataError("edges must be two arrays (src, dst), or names of files.")
        src_E, dst_E = (np.asarray(end) for end in self.edges)  # type: ignore[union-attr]
        for end in (src_E, dst_E):
            if end.ndim != 1 or len(end) != len(src_E) or (len(end) and end.dtype.kind not in "iu"):
                raise DataError(
                    f"edges have shapes {src_E.shape}, {dst_E.shape} and types {src_E.dtype}, "
                    f"{dst_E.dtype}; they must be whole numbers of one shape (edges,)."
                )
        weight_E = None if self.weight is None else np.asarray(self.weight)
        if weight_E is not None and weight_E.shape != src_E.shape:
            raise DataError(f"weight has shape {weight_E.shape}; it must be {src_E.shape}.")
        if weight_E is not None and len(weight_E) and weight_E.dtype.kind not in "iuf":
            raise DataError(f"weight has the type {weight_E.dtype}; it must be numbers.")
        for start in range(0, len(src_E), block_rows):
            part = slice(start, start + block_rows)
            weight_B = None if weight_E is None else weight_E[part].astype(np.float32)
            yield self._checked(
                "The array of edges",
                src_E[part].astype(np.int64),
                dst_E[part].astype(np.int64),
                weight_B,
            )

    def _checked(self, where: str, src_B: Rows, dst_B: Rows, weight_B: Weights | None) -> Block:
        for end_B in (src_B, dst_B):
            if len(end_B) and end_B.min() < 0:
                raise DataError(f"{where} has the node {end_B.min()}; nodes are from 0.")
            if len(end_B) and self.num_nodes is not None and end_B.max() >= self.num_nodes:
                raise DataError(
                    f"{where} has the node {end_B.max()}; with num_nodes={self.num_nodes} the "
                    f"last one is {self.num_nodes - 1}."
                )
        if weight_B is not None and not np.isfinite(weight_B).all():
            raise DataError(f"{where} has a weight that is not finite in float32.")
        return src_B, dst_B, weight_B


def _batches(uri: str, names: list[str], block_rows: int) -> "Iterator[pa.RecordBatch]":
    found = scan(uri, names)  # refuses missing columns in words of its own
    if suffix_of(uri) != ".parquet":
        for index in range(len(found.piece_rows)):
            yield from read_piece(found, index).to_batches(max_chunksize=block_rows)
        return
    # not piece by piece: a row group may be larger than the memory that we may use
    parquet = require("pyarrow.parquet", extra="arrow")
    with parsing(uri, "Parquet"), open_binary(uri, memory_map=False) as source:
        file = parquet.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
        for batch in file.iter_batches(block_rows, columns=names, use_threads=False):
            yield batch.select(names)


def _columns(uri: str, batch: "pa.RecordBatch", names: list[str]) -> Block:
    types = require("pyarrow", extra="arrow").types
    arrays: list[Any] = []
    for name, column in zip(names, batch.columns, strict=True):
        is_weight = len(arrays) == 2
        is_fine = types.is_integer(column.type) or (is_weight and types.is_floating(column.type))
        if not is_fine:
            wanted = "numbers" if is_weight else "whole numbers: rows of a vocabulary"
            raise DataError(
                f"File {uri!r}, column {name!r} has the type {column.type}; it must be {wanted}."
            )
        if column.null_count:
            raise DataError(
                f"File {uri!r}, column {name!r} has {column.null_count} nulls; it must have none."
            )
        arrays.append(column.to_numpy(zero_copy_only=False))
    weight_B: Any = arrays[2].astype(np.float32) if len(arrays) == 3 else None
    return arrays[0].astype(np.int64), arrays[1].astype(np.int64), weight_B


def largest(block: Block) -> int:
    """The largest node, -1 for a block without edges."""
    return max((int(end.max()) for end in block[:2] if len(end)), default=-1)


def completed(
    blocks: Iterator[Block],
    symmetric: bool,
    self_loops: bool,
    num_nodes: int,
    has_weights: bool,
) -> Iterator[Block]:
    """The edges with those the other way and the loops that were asked for."""
    for src_B, dst_B, weight_B in blocks:
        if self_loops:
            src_B, dst_B, weight_B = _taken(src_B != dst_B, src_B, dst_B, weight_B)
        yield src_B, dst_B, weight_B
        if symmetric:
            yield _taken(src_B != dst_B, dst_B, src_B, weight_B)
    if self_loops:
        for start in range(0, num_nodes, _LOOPS):
            row_B = np.arange(start, min(start + _LOOPS, num_nodes))
            yield row_B, row_B, np.ones(len(row_B), np.float32) if has_weights else None


def _taken(mask_B: npt.NDArray[np.bool_], src: Rows, dst: Rows, weight: Weights | None) -> Block:
    return src[mask_B], dst[mask_B], None if weight is None else weight[mask_B]
