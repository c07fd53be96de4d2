"""Builds a graph out of core: edges are dealt to buckets on disk by row, each is sorted in memory.

An edge is one number, its *key*: `row << bits | column`. A first pass over the input counts edges
by ranges of rows; a second writes keys to one file for each bucket, a range of rows with no more
edges than fit; then bucket after bucket is sorted and written behind the one before. A bucket that
is still too large (a row of very many edges, or very many edges in all) is dealt again, by finer
ranges of keys, so that no single row has to fit into memory. Only one edge that is repeated more
often than fits is written as it comes, its weights in the order of the input.

Memory: `memory` is divided into shares of 64 bytes for each edge of a bucket (its key, the sorted
copy and, with weights, their order, 40 bytes at most) and of 256 for each of a block of the input.
Beside that stand the ranges (at most 2^16 counters) and what pyarrow holds of the
pages of one row group. What is written goes to the page cache, which the kernel takes back.

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

from tadka.models.graph.csr import Ints, index_type
from tadka.models.graph.edges import Block, EdgeSource, completed, largest
from tadka.models.graph.folder import FORMAT, MANIFEST
from tadka.models.graph.run import Keys, Run, joined, key_bits, ordered, run_of

_NUM_RANGES = 1 << 16
_MOST_BUCKETS = 256  # files that are open at the same time
_ROW_BLOCK = 1 << 20


class _Output:
    """One file of the graph, written from its beginning to its end, with its checksum."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.crc32 = 0
        self._file = path.open("wb")

    def write(self, array: npt.NDArray[Any]) -> None:
        data: Any = np.ascontiguousarray(array, self.dtype)
        self.crc32 = zlib.crc32(data, self.crc32)
        self._file.write(data)  # not `tofile`, whose error of a full disk has no number

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
                    file.write(np.ascontiguousarray(array))  # type: ignore[arg-type]

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


class Builder:
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
        return completed(blocks, self.symmetric, self.self_loops, self.num_nodes, self.has_weights)

    def _survey(self) -> tuple[npt.NDArray[np.int64], int]:
        """Edges by ranges of 2^shift rows, and the number of nodes."""
        counts, shift, last = np.zeros(_NUM_RANGES, np.int64), 0, -1
        for block in self.source.blocks(self.block_rows):
            last = max(last, largest(block))
            while last >> shift >= _NUM_RANGES:  # twice as wide ranges hold twice as many rows
                counts = np.concatenate(
                    [counts.reshape(-1, 2).sum(1), np.zeros(_NUM_RANGES // 2, np.int64)]
                )
                shift += 1
            for rows_B in (block[0], block[1]) if self.symmetric else (block[0],):
                counts += np.bincount(rows_B >> shift, minlength=_NUM_RANGES)
        given = self.source.num_nodes
        self.num_nodes = last + 1 if given is None else given
        if self.self_loops:  # the ranges up to that of the last edge; later rows have one edge each
            counts[: (last >> shift) + 1] += 1 << shift
        return counts, shift

    def _deal_edges(self, counts: npt.NDArray[np.int64], shift: int) -> list[_Spool]:
        # keys are counted from a bucket's first row, so that they fit 63 bits for 2^35 nodes, too
        most_rows = 1 << (63 - self.bits)
        cuts = _cuts(counts, self._target(int(counts.sum())), max(1, most_rows >> shift))
        first_rows = np.array(cuts, np.int64) << shift
        beyond = np.arange(int(first_rows[-1]) + most_rows, self.num_nodes, most_rows)
        first_rows = np.concatenate([first_rows, beyond.astype(np.int64)])
        spools = [self._spool(int(row)) for row in first_rows]
        for block in self._blocks():
            bucket_B = np.searchsorted(first_rows, block[0], "right") - 1
            _deal(run_of(block, self.bits, first_rows[bucket_B]), bucket_B, spools)
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
            run = joined(list(runs))
            spool.remove()
            self._write_run(ordered(run, is_unique=self.unique), spool.first_row)
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
