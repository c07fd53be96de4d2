"""A table in mapped files, for more rows than there is memory.

Letters of shapes: N rows of a call, U rows that differ, D dimensions of a vector.
"""

import os
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.models.table.segment import Layout, Manifest, Segment, next_version, segment_path
from tadka.models.table.table import (
    Init,
    Rows,
    Vectors,
    adagrad,
    checked_push,
    checked_rows,
    checked_size,
    first_vectors,
)
from tadka.storage.lock import lock_folder

_CHUNK_ROWS = 1 << 16  # made at a time when a table grows


class MappedTable:
    """A table in segments of mapped files: D times 4 or 2, and 4 bytes a row, on the disk.

    The kernel keeps in memory what is used. Growth adds to the last segment or adds segments, and
    moves no row. What was pushed is kept by `save`; the first push to a segment after that copies
    the segment. A pickled table is its folder, read-only, as of the last `save`.

    Args:
        folder: Of a table that exists; use `open` or `create`.
        read_only: See `open`.
    """

    def __init__(self, folder: str | Path, *, read_only: bool = False) -> None:
        self.folder = Path(folder).absolute()
        self._is_read_only = read_only
        self._changed: set[int] = set()  # segments that no manifest names yet
        self._manifest = Manifest.read(self.folder)
        if not read_only:
            lock = lock_folder(
                self.folder,
                f"Another process writes to table {str(self.folder)!r}; one may at a time. Wait "
                "for it, stop it, or open the table with read_only=True.",
            )
            self._unlock = weakref.finalize(self, os.close, lock)
            self._manifest = Manifest.read(self.folder)
            self._manifest.sweep(self.folder)
            self._version = next_version(self.folder)
        self._segments = self._mapped()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        num_rows: int,
        dim: int,
        *,
        dtype: str = "float32",
        segment_rows: int | None = None,
        init: Init | None = None,
        scale: float = 0.01,
        seed: int = 0,
        eps: float = 1e-8,
    ) -> "MappedTable":
        """A new table, saved.

        Args:
            folder: Made where it does not exist.
            num_rows: Number of rows, row 0 included.
            dim: D.
            dtype: Of the values: `"float32"`, or `"float16"`. Steps are computed in float32 and
                rounded at random, up as often as the rest is large, so small ones are not lost.
            segment_rows: Rows of a segment; None: about 64 MiB.
            init: First vectors; None: normal with mean 0.
            scale: Standard deviation of that.
            seed: Of what is drawn.
            eps: See `adagrad`.

        Raises:
            ConfigError: There is a table in the folder already, or a wrong setting.
            DataError: It cannot be written.
        """
        layout = Layout(dim, dtype, segment_rows or Layout.usual_rows(dim, dtype))
        if (Path(folder) / "manifest.json").exists():
            raise ConfigError(
                f"There is a table in {str(folder)!r} already. Use MappedTable.open, or choose "
                "another folder."
            )
        Path(folder).mkdir(parents=True, exist_ok=True)
        Manifest(layout, 0, scale, seed, eps).write(Path(folder))
        table = cls(folder)
        table.grow(num_rows, init)
        table.save()
        return table

    @classmethod
    def open(cls, folder: str | Path, *, read_only: bool = False) -> "MappedTable":
        """A table as it was last saved.

        Args:
            folder: Where it is.
            read_only: Pull only; any number of processes may. Otherwise this process alone has it.

        Raises:
            NotFound: There is none.
            DataError: A file is damaged, or another process writes to it.
        """
        return cls(folder, read_only=read_only)

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return self._manifest.layout.dim

    @property
    def num_rows(self) -> int:
        """Number of rows, row 0 included."""
        return self._manifest.num_rows

    @property
    def num_pushes(self) -> int:
        """Steps that were ever made."""
        return self._manifest.num_pushes

    def pull(self, rows_N: npt.ArrayLike) -> Vectors:
        """See `Table.pull`."""
        rows = checked_rows(rows_N, self.num_rows)
        if len(self._segments) == 1:
            return self._segments[0].values.take(rows, axis=0).astype(np.float32, copy=False)
        vectors = np.empty((len(rows), self.dim), np.float32)
        if (np.diff(rows) >= 0).all():
            for number, piece, places in self._pieces(rows):
                vectors[piece] = self._segments[number].values.take(places, axis=0)
        else:
            order = np.argsort(rows, kind="stable")
            for number, piece, places in self._pieces(rows[order]):
                vectors[order[piece]] = self._segments[number].values.take(places, axis=0)
        return vectors

    def push(self, rows_N: npt.ArrayLike, gradients_ND: npt.ArrayLike, lr: float) -> None:
        """See `Table.push`."""
        rows, gradients = checked_push(rows_N, gradients_ND, self.num_rows, self.dim)
        seed = [self._manifest.seed, 1, self._manifest.num_pushes]
        rng = None if self._manifest.layout.dtype == "float32" else np.random.default_rng(seed)
        for number, piece, places in self._pieces(rows):
            segment = self._writable(number)
            values = segment.values.take(places, axis=0).astype(np.float32, copy=False)
            sums = segment.sums[places]
            adagrad(values, sums, gradients[piece], lr, self._manifest.eps)
            segment.values[places] = values if rng is None else rounded(values, rng)
            segment.sums[places] = sums
        self._manifest = replace(self._manifest, num_pushes=self._manifest.num_pushes + 1)

    def grow(self, num_rows: int, init: Init | None = None) -> None:
        """See `Table.grow`."""
        old, layout = self._manifest.num_rows, self._manifest.layout
        checked_size(num_rows, old, is_growing=True)
        for start in _cuts(old, num_rows, layout.segment_rows):
            number, place = divmod(start, layout.segment_rows)
            end = min(num_rows, (number + 1) * layout.segment_rows)
            if number == len(self._segments):
                self._add_segment(end - start)
            segment = self._writable(number)
            layout.reserve(self._path(number), end - number * layout.segment_rows)
            stop = min(start + _CHUNK_ROWS, end)
            segment.values[place : place + stop - start] = first_vectors(
                start,
                stop,
                layout.dim,
                init=init,
                scale=self._manifest.scale,
                seed=self._manifest.seed,
            )
            segment.sums[place : place + stop - start] = 0.0
        self._manifest = replace(self._manifest, num_rows=num_rows)

    def truncate(self, num_rows: int) -> None:
        """See `Table.truncate`; what was pushed is saved with it."""
        self._check_writable()
        checked_size(num_rows, self.num_rows, is_growing=False)
        num_segments = -(-num_rows // self._manifest.layout.segment_rows)
        del self._segments[num_segments:]
        self._changed = {number for number in self._changed if number < num_segments}
        versions = self._manifest.versions[:num_segments]
        self._manifest = replace(self._manifest, num_rows=num_rows, versions=versions)
        self.save()

    def save(self, folder: str | Path | None = None) -> None:
        """Makes durable what was pushed and grown. See `Table.save`.

        Args:
            folder: Also leaves the table there, by links to its files where the file system can;
                a table that was opened read-only, there alone.

        Raises:
            ConfigError: The table was opened read-only, and no folder is given.
            DataError: It cannot be written.
        """
        if not self._is_read_only or folder is None:
            self._check_writable()
            for number in sorted(self._changed):
                self._segments[number].file.flush()
            self._manifest.write(self.folder)
            self._changed = set()
            self._version += 1
        target = self.folder if folder is None else Path(folder).absolute()
        if target != self.folder:
            self._link(target)

    def close(self) -> None:
        """Lets others write; what was not saved is lost. The table is of no use after it."""
        self._segments = []
        if not self._is_read_only:
            self._unlock()

    def __repr__(self) -> str:
        dtype = self._manifest.layout.dtype
        shape = f"num_rows={self.num_rows:,}, dim={self.dim}, dtype={dtype!r}"
        return f"MappedTable({str(self.folder)!r}, {shape})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.folder),)

    def _mapped(self) -> list[Segment]:
        """The segments of the manifest, or of a newer one that removed them meanwhile."""
        while True:
            manifest = self._manifest
            numbers = range(len(manifest.versions))
            try:
                return [manifest.layout.map(self._path(number), "r") for number in numbers]
            except DataError:
                self._manifest = Manifest.read(self.folder)
                if self._manifest == manifest:
                    raise

    def _pieces(self, rows_U: Rows) -> Iterator[tuple[int, slice, Rows]]:
        """Segments of ascending rows: number, which of the rows, and their places in it."""
        if not len(rows_U):
            return
        segment_rows = self._manifest.layout.segment_rows
        numbers = rows_U // segment_rows
        starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows_U)], strict=True):
            number = int(numbers[start])
            yield number, slice(start, stop), rows_U[start:stop] - number * segment_rows

    def _path(self, number: int) -> Path:
        return self._manifest.path(self.folder, number)

    def _writable(self, number: int) -> Segment:
        """A segment that may be written to: a copy, if a manifest names the present version."""
        self._check_writable()
        if number not in self._changed:
            layout, old = self._manifest.layout, self._segments[number]
            used = min(layout.segment_rows, self.num_rows - number * layout.segment_rows)
            new = layout.make(segment_path(self.folder, number, self._version), used)
            new.values[:used], new.sums[:used] = old.values[:used], old.sums[:used]
            self._segments[number] = new
            self._set_version(number)
        return self._segments[number]

    def _add_segment(self, num_rows: int) -> None:
        self._check_writable()
        number = len(self._segments)
        path = segment_path(self.folder, number, self._version)
        self._segments.append(self._manifest.layout.make(path, num_rows))
        versions = (*self._manifest.versions, 0)
        self._manifest = replace(self._manifest, versions=versions)
        self._set_version(number)

    def _set_version(self, number: int) -> None:
        versions = list(self._manifest.versions)
        versions[number] = self._version
        self._manifest = replace(self._manifest, versions=tuple(versions))
        self._changed.add(number)

    def _check_writable(self) -> None:
        if self._is_read_only:
            raise ConfigError(
                f"Table {str(self.folder)!r} was opened read-only. Open it without read_only."
            )

    def _link(self, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        version = next_version(target)
        for number in range(len(self._segments)):
            path = segment_path(target, number, version)
            try:
                os.link(self._path(number), path)
            except OSError:  # another file system, or one without links
                shutil.copyfile(self._path(number), path)
        versions = (version,) * len(self._segments)
        replace(self._manifest, versions=versions).write(target)


def rounded(values_UD: Vectors, rng: np.random.Generator) -> npt.NDArray[np.float16]:
    """Float32 as float16, up or down at random, so that the mean is the value.

    A step of less than half the distance of two float16 would otherwise always be lost.

    Args:
        values_UD: Any values.
        rng: What is drawn from.

    Source: stochastic rounding, Gupta et al., Deep Learning with Limited Numerical Precision
    (2015).
    """
    # float16 has 13 bits of the mantissa less: what is added to them carries as often as they say
    bits = rng.integers(0, 1 << 13, values_UD.shape, np.uint32)
    bits += np.ascontiguousarray(values_UD).view(np.uint32)
    bits &= np.uint32(~0x1FFF & 0xFFFFFFFF)
    return bits.view(np.float32).astype(np.float16)


def _cuts(start: int, stop: int, segment_rows: int) -> Iterator[int]:
    """Where pieces of new rows begin: none is longer than a chunk, none crosses a segment."""
    while start < stop:
        yield start
        start = min(start + _CHUNK_ROWS, (start // segment_rows + 1) * segment_rows)


def _reopened(folder: str) -> MappedTable:
    return MappedTable.open(folder, read_only=True)
