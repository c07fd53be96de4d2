"""Builds a graph out of core: edges are dealt to buckets on disk by row, each is sorted in memory.

An edge is one number, its *key*: `row << bits | column`. A first pass over the input counts edges
by ranges of rows; a second writes keys to one file for each bucket, a range of rows with no more
edges than fit; then bucket after bucket is sorted and written behind the one before. A bucket that
is still too large (a row of very many edges, or very many edges in all) is dealt again, by finer
ranges of keys, so that no single row has to fit into memory.

Memory: `memory` is divided into shares of 64 bytes for each edge of a bucket (its key, the sorted
copy and, with weights, their order, 40 bytes at most) and of 256 for each of a block of the input.
Beside that stand the ranges (at most 2^16 counters) and what pyarrow holds of
the pages of one row group.
The files that are written go to the page cache, which the kernel takes back when it is asked to.

Shape letters: N nodes, E edges, B edges of a block, K keys of a bucket.
"""

import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError
from tadka.core.resource import parse_bytes
from tadka.models.graph.csr import FORMAT, MANIFEST, Graph, Ints, index_type, key_bits
from tadka.models.graph.edges import Block, Edges, EdgeSource, Rows, Weights
from tadka.storage.publish import publish_directory

_LEAST_MEMORY = 1 << 20
_NUM_RANGES = 1 << 16
_MOST_BUCKETS = 256  # files that are open at the same time
_ROW_BLOCK = 1 << 20

Keys = npt.NDArray[np.int64]
Run = tuple[Keys, Weights | None]
"""Keys and their weights."""


def build_graph(
    edges: Edges,
    folder: str | Path,
    *,
    num_nodes: int | None = None,
    symmetric: bool = False,
    weight: str | npt.ArrayLike | None = None,
    unique: bool = False,
    self_loops: bool = False,
    columns: tuple[str, str] = ("src", "dst"),
    memory: str | int = "1G",
    replace: bool = False,
) -> Graph:
    """Writes a graph to a folder, with bounded memory, and opens it.

    Args:
        edges: Table files (Parquet is read in batches, other formats piece by piece), globs or
            folders; or two arrays (src, dst), shape (E,) each. Ends are rows, from 0.
        folder: The folder to make, with `indptr.bin`, `indices.bin`, `weight.bin` where there are
            weights, and `graph.json`. It appears whole or not at all.
        num_nodes: Number of nodes, at most 2^35; None for the largest row and one.
        symmetric: Add each edge the other way round, too (but a loop only once). Not for edges
            that hold both directions already, unless `unique`.
        weight: Of each edge: the name of a column, or an array (E,) with edges from arrays.
        unique: Keep one of equal edges, with the sum of their weights.
        self_loops: Give each node one loop of weight 1, in place of any loops of the input.
        columns: Of both ends, for files.
        memory: The most that is used beside the page cache, at least `"1M"`; see above.
        replace: Whether a folder that is there may be replaced.

    Returns:
        The graph, its arrays mapped from the folder.

    Raises:
        ConfigError: An argument is wrong.
        NotFound: A file does not exist.
        DataError: The folder exists, or an edge is not one: negative or beyond `num_nodes`, null,
            no whole number, with a weight that is not finite; or a file is damaged. It is named.
    """
    memory_bytes = parse_bytes(memory)
    if memory_bytes < _LEAST_MEMORY:
        raise ConfigError(f"memory is {memory!r}; a graph is built with at least '1M'.")
    source = EdgeSource(edges, columns, weight, _nodes_given(num_nodes))
    with publish_directory(folder, replace=replace) as aside:
        builder = _Builder(aside, source, symmetric, unique, self_loops, memory_bytes)
        builder.build()
    return Graph.open(folder)


def graph_of(
    src: npt.ArrayLike,
    dst: npt.ArrayLike,
    num_nodes: int | None = None,
    *,
    symmetric: bool = False,
    weight: npt.ArrayLike | None = None,
    unique: bool = False,
    self_loops: bool = False,
) -> Graph:
    """The graph that `build_graph` would write, in memory.

    Args:
        src: One end of each edge, shape (E,).
        dst: The other, shape (E,).
        num_nodes: As in `build_graph`, at most 2^31.
        symmetric: As there.
        weight: As there, shape (E,).
        unique: As there.
        self_loops: As there.

    Raises:
        ConfigError: There are too many nodes.
        DataError: An edge is not one.
    """
    source = EdgeSource((src, dst), weight=weight, num_nodes=_nodes_given(num_nodes))
    blocks = list(source.blocks(_ROW_BLOCK))
    if num_nodes is None:
        num_nodes = max((_largest(block) for block in blocks), default=-1) + 1
    bits = key_bits(num_nodes)
    if num_nodes > 2**31:
        raise ConfigError(f"The graph has {num_nodes} nodes; use build_graph above 2^31.")
    blocks = list(_completed(iter(blocks), symmetric, self_loops, num_nodes, weight is not None))
    keys, weights = _sorted(_joined([_run(block, bits, 0) for block in blocks]), is_unique=unique)
    indptr = np.zeros(num_nodes + 1, np.int64)
    np.cumsum(np.bincount(keys >> bits, minlength=num_nodes), out=indptr[1:])
    indices = (keys & ((1 << bits) - 1)).astype(index_type(num_nodes))
    if weight is not None and weights is None:  # there was no block
        weights = np.empty(0, np.float32)
    return Graph(indptr, indices, weights, is_symmetric=symmetric or None)


def _nodes_given(num_nodes: int | None) -> int | None:
    if num_nodes is not None and (isinstance(num_nodes, bool) or num_nodes < 0):
        raise ConfigError(f"num_nodes is {num_nodes!r}; it must be a number of at least 0.")
    return num_nodes


# ------------------------------------------------------------------ blocks and runs


def _largest(block: Block) -> int:
    return max((int(end.max()) for end in block[:2] if len(end)), default=-1)


def _completed(
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
        for start in range(0, num_nodes, _ROW_BLOCK):
            row_B = np.arange(start, min(start + _ROW_BLOCK, num_nodes))
            yield row_B, row_B, np.ones(len(row_B), np.float32) if has_weights else None


def _taken(mask_B: npt.NDArray[np.bool_], src: Rows, dst: Rows, weight: Weights | None) -> Block:
    return src[mask_B], dst[mask_B], None if weight is None else weight[mask_B]


def _run(block: Block, bits: int, first_row: int) -> Run:
    return (block[0] - first_row) << bits | block[1], block[2]


def _joined(runs: list[Run]) -> Run:
    if not runs:
        return np.empty(0, np.int64), None
    weights = [weights for _, weights in runs if weights is not None]
    return np.concatenate([keys for keys, _ in runs]), np.concatenate(weights) if weights else None


def _sorted(run: Run, *, is_unique: bool) -> Run:
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


# ------------------------------------------------------------------ out of core


class _Output:
    """One file of the graph, written from its beginning to its end, with its checksum."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.crc32 = 0
        self._file = path.open("wb")

    def write(self, array: npt.NDArray[Any]) -> None:
        data: Any = np.ascontiguousarray(array, self.dtype)
        self.crc32 = zlib.crc32(data, self.crc32)
        data.tofile(self._file)

    def close(self) -> None:
        self._file.close()


class _Spool:
    """Keys, and weights, of one bucket on disk, in the order they came in."""

    def __init__(self, path: Path, first_row: int) -> None:
        self.path = path
        self.first_row = first_row
        self.num_keys = 0

    def append(self, run: Run) -> None:
        self.num_keys += len(run[0])
        for suffix, array in zip((".keys", ".weights"), run, strict=True):
            if array is not None and len(array):
                with self.path.with_suffix(suffix).open("ab") as file:
                    array.tofile(file)

    def runs(self, block_rows: int, *, has_weights: bool) -> Iterator[Run]:
        """What was appended, in blocks."""
        for start in range(0, self.num_keys, block_rows):
            count = min(block_rows, self.num_keys - start)
            keys = np.fromfile(self.path.with_suffix(".keys"), np.int64, count, offset=8 * start)
            weights = None
            if has_weights:
                path = self.path.with_suffix(".weights")
                weights = np.fromfile(path, np.float32, count, offset=4 * start)
            yield keys, weights

    def remove(self) -> None:
        for suffix in (".keys", ".weights"):
            self.path.with_suffix(suffix).unlink(missing_ok=True)


class _Builder:
    """One build: survey, deal, sort, write."""

    def __init__(
        self,
        folder: Path,
        source: EdgeSource,
        symmetric: bool,
        unique: bool,
        self_loops: bool,
        memory_bytes: int,
    ) -> None:
        self.folder, self.source = folder, source
        self.symmetric, self.unique, self.self_loops = symmetric, unique, self_loops
        self.most_keys = memory_bytes // 64
        self.block_rows = min(1 << 20, memory_bytes // 256)
        self.has_weights = source.weight is not None
        self.num_nodes, self.bits = 0, 1
        self.num_spools = 0
        self.num_edges, self.next_row = 0, 0  # written so far

    def build(self) -> None:
        """Fills the folder."""
        counts, shift = self._survey()
        self.bits = key_bits(self.num_nodes)
        with ExitStack() as stack:
            types = {"indptr": np.dtype(np.int64), "indices": index_type(self.num_nodes)}
            if self.has_weights:
                types["weight"] = np.dtype(np.float32)
            self.outputs = {
                name: _Output(self.folder / f"{name}.bin", dtype) for name, dtype in types.items()
            }
            for output in self.outputs.values():
                stack.callback(output.close)
            self.outputs["indptr"].write(np.zeros(1))
            for spool in self._deal_edges(counts, shift):
                self._write_bucket(spool, 0, 1 << 63)
            self._close_rows(np.empty(0, np.int64), self.num_nodes)
        self._write_manifest()

    def _blocks(self) -> Iterator[Block]:
        blocks = self.source.blocks(self.block_rows)
        return _completed(blocks, self.symmetric, self.self_loops, self.num_nodes, self.has_weights)

    def _survey(self) -> tuple[npt.NDArray[np.int64], int]:
        """Edges by ranges of 2^shift rows, and the number of nodes."""
        counts, shift, largest = np.zeros(_NUM_RANGES, np.int64), 0, -1
        for block in self.source.blocks(self.block_rows):
            largest = max(largest, _largest(block))
            while largest >> shift >= _NUM_RANGES:  # twice as wide ranges hold twice as many rows
                counts = np.concatenate(
                    [counts.reshape(-1, 2).sum(1), np.zeros(_NUM_RANGES // 2, np.int64)]
                )
                shift += 1
            for rows_B in (block[0], block[1]) if self.symmetric else (block[0],):
                counts += np.bincount(rows_B >> shift, minlength=_NUM_RANGES)
        given = self.source.num_nodes
        self.num_nodes = largest + 1 if given is None else given
        if self.self_loops:  # the ranges up to that of the last edge; later rows have one edge each
            counts[: (largest >> shift) + 1] += 1 << shift
        return counts, shift

    def _deal_edges(self, counts: npt.NDArray[np.int64], shift: int) -> list[_Spool]:
        # keys are counted from a bucket's first row, so that they fit 63 bits for 2^35 nodes, too
        most_rows = 1 << (63 - self.bits)
        cuts = _cuts(counts, self._target(int(counts.sum())), max(1, most_rows >> shift))
        first_rows = np.array(cuts, np.int64) << shift
        beyond = np.arange(int(first_rows[-1]) + most_rows, self.num_nodes, most_rows)
        first_rows = np.concatenate([first_rows, beyond.astype(np.int64)])
        spools = [self._spool(int(row)) for row in first_rows]
        for src_B, dst_B, weight_B in self._blocks():
            bucket_B = np.searchsorted(first_rows, src_B, "right") - 1
            keys_B = (src_B - first_rows[bucket_B]) << self.bits | dst_B
            _deal((keys_B, weight_B), bucket_B, spools)
        return spools

    def _target(self, num_keys: int) -> int:
        return max(self.most_keys, -(-num_keys // _MOST_BUCKETS))

    def _spool(self, first_row: int) -> _Spool:
        self.num_spools += 1
        return _Spool(self.folder / f"spool-{self.num_spools}", first_row)

    def _write_bucket(self, spool: _Spool, low: int, high: int) -> None:
        """Writes a bucket whose keys are from `low` to below `high`, and removes it."""
        runs = spool.runs(self.block_rows, has_weights=self.has_weights)
        if spool.num_keys <= self.most_keys:
            run = _joined(list(runs))
            spool.remove()
            self._write_run(_sorted(run, is_unique=self.unique), spool.first_row)
            return
        low, high = _bounds(spool.runs(self.block_rows, has_weights=False), low, high)
        if high - low == 1:  # one edge, very many times
            self._write_repeated(runs, spool.first_row)
        else:
            for part, bounds in self._deal_again(spool, low, high):
                self._write_bucket(part, *bounds)
        spool.remove()

    def _deal_again(
        self, spool: _Spool, low: int, high: int
    ) -> list[tuple[_Spool, tuple[int, int]]]:
        shift = max(0, (high - low - 1).bit_length() - _NUM_RANGES.bit_length() + 1)
        counts = np.zeros(_NUM_RANGES, np.int64)
        for keys, _ in spool.runs(self.block_rows, has_weights=False):
            counts += np.bincount((keys - low) >> shift, minlength=_NUM_RANGES)
        cuts = _cuts(counts, self._target(spool.num_keys), _NUM_RANGES)
        lows = np.array([low + (cut << shift) for cut in cuts], np.int64)
        parts = [self._spool(spool.first_row) for _ in cuts]
        for run in spool.runs(self.block_rows, has_weights=self.has_weights):
            _deal(run, np.searchsorted(lows, run[0], "right") - 1, parts)
        spool.remove()
        return list(
            zip(parts, zip(lows.tolist(), [*lows[1:].tolist(), high], strict=True), strict=True)
        )

    def _write_repeated(self, runs: Iterator[Run], first_row: int) -> None:
        if not self.unique:
            for run in runs:
                self._write_run(run, first_row)
            return
        total, keys = 0.0, np.empty(0, np.int64)
        for run in runs:
            keys = run[0]
            total += 0.0 if run[1] is None else float(run[1].sum(dtype=np.float64))
        self._write_run((keys[:1], np.array([total], np.float32)), first_row)

    def _write_run(self, run: Run, first_row: int) -> None:
        keys_K, weights_K = run
        if not len(keys_K):
            return
        rows_K = (keys_K >> self.bits) + first_row
        self._close_rows(rows_K, int(rows_K[-1]))
        self.outputs["indices"].write(keys_K & ((1 << self.bits) - 1))
        if self.has_weights:
            assert weights_K is not None
            self.outputs["weight"].write(weights_K)
        self.num_edges += len(keys_K)

    def _close_rows(self, rows_K: Keys, until: int) -> None:
        """Writes where rows below `until` end, of which the next edges, in order, are `rows_K`."""
        for start in range(self.next_row, until, _ROW_BLOCK):
            rows = np.arange(start, min(start + _ROW_BLOCK, until))
            ends = np.searchsorted(rows_K, rows, "right")
            self.outputs["indptr"].write(ends + self.num_edges)
        self.next_row = max(self.next_row, until)

    def _write_manifest(self) -> None:
        manifest = {
            "format": FORMAT,
            "num_nodes": self.num_nodes,
            "num_edges": self.num_edges,
            "is_symmetric": self.symmetric or None,
            "files": {
                name: {"dtype": output.dtype.str, "crc32": output.crc32}
                for name, output in self.outputs.items()
            },
        }
        (self.folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")


def _cuts(counts: npt.NDArray[np.int64], target: int, most_ranges: int) -> list[int]:
    """First ranges of buckets with at most `target` edges, and one bucket for a larger range."""
    ends = np.cumsum(counts)
    used = int(np.searchsorted(ends, ends[-1])) + 1  # ranges behind it are empty
    cuts, done = [0], 0
    while True:
        end = int(np.searchsorted(ends, done + target, "right"))
        end = min(max(end, cuts[-1] + 1), cuts[-1] + most_ranges)
        if end >= used:
            return cuts
        cuts.append(end)
        done = int(ends[end - 1])


def _deal(run: Run, bucket_B: Ints, spools: list[_Spool]) -> None:
    """Appends each key to its bucket's spool."""
    keys_B, weights_B = run
    if len(spools) == 1:
        spools[0].append(run)
        return
    bucket_B = bucket_B.astype(np.uint16 if len(spools) <= 1 << 16 else np.int64)
    order_B = np.argsort(bucket_B, kind="stable")  # a radix sort for 16 bits
    keys_B = keys_B[order_B]
    weights_B = None if weights_B is None else weights_B[order_B]
    ends = np.cumsum(np.bincount(bucket_B, minlength=len(spools)))
    start = 0
    for spool, end in zip(spools, ends.tolist(), strict=True):
        if end > start:
            part = None if weights_B is None else weights_B[start:end]
            spool.append((keys_B[start:end], part))
        start = end


def _bounds(runs: Iterator[Run], low: int, high: int) -> tuple[int, int]:
    """The smallest key and one more than the largest."""
    least, most = high, low
    for keys, _ in runs:
        least, most = min(least, int(keys.min())), max(most, int(keys.max()))
    return least, most + 1
