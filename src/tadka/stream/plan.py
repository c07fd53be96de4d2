"""From files to an ordered list of chunks: what is read, in which order, cut where.

The plan is made from footers and listings before any process starts. The order of an epoch is
a pure function of (plan, seed, epoch), so a position in the stream is a handful of integers.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tadka.core.error import ConfigError, DataError
from tadka.core.hashing import digest
from tadka.storage.format import read_piece, scan
from tadka.storage.tabular import TableScan
from tadka.storage.uri import expand, stat
from tadka.stream.column import to_numpy

BatchFormat = Literal["numpy", "arrow"]
_CHUNK_BATCHES = 8
_CHUNKS_PER_LANE = 4
_SCAN_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where rows come from; made by `tadka.stream.read`."""

    uris: tuple[str, ...]
    columns: tuple[str, ...] | None
    batch_rows: int
    chunk_rows: int
    shuffle: bool
    seed: int
    batch_format: BatchFormat

    def __post_init__(self) -> None:
        for name in ("batch_rows", "chunk_rows"):
            value = getattr(self, name)
            if not is_whole(value, 1):
                raise ConfigError(f"read() has {name}={value!r}; it must be a whole number from 1.")
        if self.batch_format not in ("numpy", "arrow"):
            raise ConfigError(
                f"read() has batch_format={self.batch_format!r}; it must be 'numpy' or 'arrow'."
            )
        if not is_whole(self.seed, 0):
            raise ConfigError(f"read() has seed={self.seed!r}; it must be a whole number from 0.")

    @classmethod
    def make(
        cls,
        uris: str | Sequence[str],
        *,
        columns: Sequence[str] | None,
        batch_rows: int,
        chunk_rows: int | None,
        shuffle: bool,
        seed: int,
        batch_format: BatchFormat,
    ) -> "Source":
        """A source with defaults filled in."""
        if isinstance(columns, str) or (columns is not None and not list(columns)):
            raise ConfigError(
                f"read() has columns={columns!r}; it must be a list of at least one name, as in "
                "read(..., columns=['user', 'item']), or None for all."
            )
        if chunk_rows is None:
            chunk_rows = _CHUNK_BATCHES * batch_rows if is_whole(batch_rows, 1) else 1
        return cls(
            uris=(uris,) if isinstance(uris, str) else tuple(str(uri) for uri in uris),
            columns=None if columns is None else tuple(columns),
            batch_rows=batch_rows,
            chunk_rows=chunk_rows,
            shuffle=bool(shuffle),
            seed=seed,
            batch_format=batch_format,
        )


@dataclass(frozen=True)
class Span:
    """Rows `start` to `stop` of one piece of one file; `stop` is None for all there are.

    A piece is what a format can read alone: a Parquet row group, an Arrow record batch, a whole
    CSV file.
    """

    file: int
    piece: int
    start: int
    stop: int | None

    @property
    def num_rows(self) -> int | None:
        """How many, None where only reading can tell."""
        return None if self.stop is None else self.stop - self.start


def is_whole(value: object, least: int) -> bool:
    """Whether a setting is a whole number, at least `least`; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


Chunk = tuple[Span, ...]
"""What one lease covers: read together, shuffled together, cut into batches."""


class Plan:
    """The chunks of every epoch.

    Args:
        source: What to read.
        scans: Footers of its files, in order.
        versions: (bytes, version) of each file.
        num_lanes: Chunks whose batches alternate; see docs/design.md.
    """

    def __init__(
        self,
        source: Source,
        scans: Sequence[TableScan],
        versions: Sequence[tuple[int, str]],
        num_lanes: int,
    ) -> None:
        self.source = source
        self.scans = list(scans)
        self.num_lanes = num_lanes
        self.versions = list(versions)
        self.hash = digest(self.describe())
        self._spans = list(self._cut())
        rows = [span.num_rows for span in self._spans]
        self.num_rows = None if None in rows else sum(row or 0 for row in rows)
        self._chunks = lru_cache(2)(self._make_chunks)

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.source, self.scans, self.versions, self.num_lanes)

    @classmethod
    def make(cls, source: Source, num_lanes: int) -> "Plan":
        """Look at the files and plan.

        Raises:
            NotFound: A pattern matches nothing.
            DataError: A file is unreadable, lacks a column, or has another schema than the first.
        """
        uris = expand(source.uris)
        with ThreadPoolExecutor(_SCAN_THREADS) as pool:
            scans = list(pool.map(lambda uri: scan(uri, source.columns), uris))
            stats = list(pool.map(stat, uris))
        for other in scans[1:]:
            _check_schema(scans[0], other)
        if not any(rows is None or rows > 0 for s in scans for rows in s.piece_rows):
            raise DataError(
                f"{', '.join(map(repr, source.uris))}: no rows in {len(scans)} files. "
                "Check that the job that writes it has finished."
            )
        return cls(source, scans, [(s.size_bytes, s.version) for s in stats], num_lanes)

    def describe(self) -> dict[str, Any]:
        """Everything that decides what batch comes when, as plain data for a checkpoint."""
        read = asdict(self.source)
        read["columns"] = self.columns
        return {
            "read": {key: value for key, value in read.items() if key != "uris"},
            "lanes": self.num_lanes,
            "files": [
                {"uri": s.uri, "bytes": size, "version": version, "rows": list(s.piece_rows)}
                for s, (size, version) in zip(self.scans, self.versions, strict=True)
            ],
        }

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are read."""
        return list(self.scans[0].schema.names)

    def chunks(self, epoch: int) -> list[Chunk]:
        """Chunks of an epoch, in order."""
        return self._chunks(epoch)

    def where(self, epoch: int, chunk: int, batch: int | None = None) -> str:
        """A chunk in words a person can look up: files and their rows, from 0.

        Args:
            epoch: Epoch of the chunk.
            chunk: Its place in the epoch's order.
            batch: A batch of it. Narrows the rows down unless they are shuffled.
        """
        spans = self.chunks(epoch)[chunk]
        step = self.source.batch_rows
        low, high = 0, 1 << 62
        if batch is not None and not self.source.shuffle:
            low, high = batch * step, (batch + 1) * step
        parts = []
        at = 0  # rows of the chunk before the span
        for span in spans:
            scanned = self.scans[span.file]
            before = scanned.piece_rows[: span.piece]
            length = 1 << 62 if span.num_rows is None else span.num_rows
            first, last = max(low - at, 0), min(high - at, length)
            at += length
            if first >= last:
                continue
            text = repr(scanned.uri)
            if None not in before:
                offset = sum(rows or 0 for rows in before) + span.start
                is_open = span.num_rows is None and high == 1 << 62
                end = "the end" if is_open else str(offset + last - 1)
                text += f" rows {offset + first} to {end}"
            parts.append(text)
        more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
        return ", ".join(parts[:3]) + more

    def _cut(self) -> Iterator[Span]:
        """Pieces, cut further where there are too few of them to keep all lanes busy."""
        sizes = [
            (file, piece, rows)
            for file, scanned in enumerate(self.scans)
            for piece, rows in enumerate(scanned.piece_rows)
            if rows != 0
        ]
        wanted = _CHUNKS_PER_LANE * self.num_lanes
        parts = -(-wanted // len(sizes)) if sizes else 1
        step_rows = self.source.batch_rows
        for file, piece, rows in sizes:
            if rows is None:
                yield Span(file, piece, 0, None)
                continue
            # Reading part of a piece means decoding all of it: cut only as far as needed.
            part_rows = max(-(-rows // parts), min(self.source.chunk_rows, rows))
            part_rows = -(-part_rows // step_rows) * step_rows
            for start in range(0, rows, part_rows):
                yield Span(file, piece, start, min(start + part_rows, rows))

    def _make_chunks(self, epoch: int) -> list[Chunk]:
        spans = self._spans
        if self.source.shuffle:
            order = random_generator(self.source.seed, epoch).permutation(len(spans))
            spans = [spans[index] for index in order]
        chunks: list[Chunk] = []
        open_spans: list[Span] = []
        open_rows = 0
        for span in spans:
            open_spans.append(span)
            open_rows += self.source.chunk_rows if span.num_rows is None else span.num_rows
            if open_rows >= self.source.chunk_rows:
                chunks.append(tuple(open_spans))
                open_spans, open_rows = [], 0
        if open_spans:
            chunks.append(tuple(open_spans))
        return chunks


def random_generator(*key: int) -> np.random.Generator:
    """Random numbers that depend on `key` alone, the same on every machine (Philox 4x64).

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; seeded through
    numpy.random.SeedSequence, whose output NumPy keeps stable.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def plan_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What changed between two `Plan.describe()`, one sentence part each."""
    changes = [
        f"read {key} was {old['read'].get(key)!r} and is {value!r}"
        for key, value in new["read"].items()
        if old["read"].get(key) != _plain(value)
    ]
    if old["lanes"] != new["lanes"]:
        changes.append(f"lanes was {old['lanes']} and is {new['lanes']}")
    before = {file["uri"]: file for file in old["files"]}
    after = {file["uri"]: file for file in new["files"]}
    changes += [f"file {uri!r} is gone" for uri in before if uri not in after]
    changes += [f"file {uri!r} is new" for uri in after if uri not in before]
    for uri, file in after.items():
        if uri in before and before[uri] != file:
            what = [key for key in file if before[uri].get(key) != file[key]]
            changes.append(f"file {uri!r} has other {' and '.join(what)}")
    if not changes and list(before) != list(after):
        changes.append("the order of the files")
    return changes


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_schema(first: TableScan, other: TableScan) -> None:
    if first.schema.equals(other.schema):
        return
    ours = {field.name: str(field.type) for field in first.schema}
    theirs = {field.name: str(field.type) for field in other.schema}
    parts = [f"{name!r} is missing" for name in ours if name not in theirs]
    parts += [f"{name!r} is extra" for name in theirs if name not in ours]
    parts += [
        f"{name!r} is {theirs[name]} instead of {kind}"
        for name, kind in ours.items()
        if name in theirs and theirs[name] != kind
    ]
    if not parts and list(ours) != list(theirs):
        parts = ["the columns come in another order"]
    if parts:  # nullability and metadata do not change what is read
        raise DataError(
            f"File {other.uri!r} has another schema than {first.uri!r}: {', '.join(parts)}. "
            "Read them separately, or name common columns with read(columns=[...])."
        )


class ChunkReader:
    """Reads chunks as batches; one per worker, so that a piece that was cut is decoded once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._piece_key: tuple[int, int] | None = None
        self._piece: pa.Table | None = None

    def batches(self, epoch: int, chunk: int) -> Iterator[Any]:
        """Batches of a chunk in order, each of `batch_rows` rows but the last.

        Raises:
            DataError: A file cannot be read, or holds nulls that NumPy has no place for.
        """
        source = self._plan.source
        spans = self._plan.chunks(epoch)[chunk]
        tables = [self._read(span) for span in spans]
        # "default": nullability may differ from file to file
        table = (
            tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")
        )
        order = None
        if source.shuffle:
            # One word more than a batch's key, so that the two never draw the same numbers.
            order = random_generator(source.seed, epoch, chunk, 0, 0, 0).permutation(len(table))
        if source.batch_format == "arrow":
            yield from self._arrow_batches(table, order)
        else:
            yield from self._numpy_batches(table, order, epoch, chunk)

    def _read(self, span: Span) -> pa.Table:
        key = (span.file, span.piece)
        if self._piece_key != key or self._piece is None:
            self._piece = None  # before reading the next: two at a time may not fit
            piece = read_piece(self._plan.scans[span.file], span.piece)
            self._piece, self._piece_key = piece, key
        piece = self._piece
        scanned = self._plan.scans[span.file]
        last = scanned.piece_rows[span.piece]
        if last is not None and len(piece) != last:
            raise DataError(
                f"File {scanned.uri!r} has changed since it was planned: a piece of {last} rows "
                f"now has {len(piece)}. Start again."
            )
        if span.stop == last or span.stop is None:
            self._piece = None
        if span.start == 0 and (span.stop is None or span.stop == len(piece)):
            return piece
        return piece.slice(span.start, (span.stop or len(piece)) - span.start)

    def _arrow_batches(self, table: pa.Table, order: Any) -> Iterator[Any]:
        step = self._plan.source.batch_rows
        for start in range(0, len(table), step):
            if order is None:
                yield table.slice(start, step)
            else:
                yield table.take(order[start : start + step])

    def _numpy_batches(
        self, table: pa.Table, order: Any, epoch: int, chunk: int
    ) -> Iterator[dict[str, Any]]:
        step, rows = self._plan.source.batch_rows, len(table)
        columns = {}
        for name in table.column_names:
            try:
                columns[name] = to_numpy(table[name])
            except DataError as error:
                where = self._plan.where(epoch, chunk)
                raise DataError(f"Column {name!r} of {where} {error}") from None
        for start in range(0, rows, step):
            if order is None:
                yield {name: _slice(c, start, step) for name, c in columns.items()}
            else:
                rows_here = order[start : start + step]
                yield {name: _pick(c, rows_here) for name, c in columns.items()}


def _slice(column: Any, start: int, num_rows: int) -> Any:
    if isinstance(column, pa.Array):
        return column.slice(start, num_rows)
    # Arrow memory is read-only and shared by all batches; a batch is the stage's own to change.
    return column[start : start + num_rows].copy()


def _pick(column: Any, rows: Any) -> Any:
    return column.take(pa.array(rows)) if isinstance(column, pa.Array) else column[rows]
