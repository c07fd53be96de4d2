"""Files of a table: segments of a fixed number of rows, and the manifest that names them.

A folder holds

    manifest.json            sizes, and the version of each segment; replaced by rename: the commit
    SEGMENT-VERSION.segment  values, (rows of a segment, D), then the sums of AdaGrad, float32
    lock                     held (flock) by the process that writes

A segment that a manifest names is never written to again: who changes it makes a copy of the next
version first. So a crash leaves the last commit, and a checkpoint elsewhere is a link to the files.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.storage.publish import publish_file, sync

_FORMAT = 1
_USUAL_BYTES = 1 << 26
_DTYPES = ("float32", "float16")


@dataclass
class Segment:
    """Part of a table: views of one mapped file."""

    values: npt.NDArray[Any]
    sums: npt.NDArray[np.float32]
    file: "np.memmap[Any, np.dtype[np.uint8]]"


@dataclass(frozen=True)
class Layout:
    """Where things stand in a segment.

    Args:
        dim: D.
        dtype: Of the values: `"float32"` or `"float16"`.
        segment_rows: Rows of a segment.
    """

    dim: int
    dtype: str
    segment_rows: int

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise ConfigError(f"A table of {self.dtype!r} is not known; use float32 or float16.")
        if self.dim < 1 or self.segment_rows < 1:
            raise ConfigError(
                f"A table has at least 1 dimension and 1 row a segment; these are {self.dim} and "
                f"{self.segment_rows}."
            )

    @staticmethod
    def usual_rows(dim: int, dtype: str) -> int:
        """Rows of a segment of about 64 MiB."""
        row_bytes = dim * (2 if dtype == "float16" else 4) + 4
        return 1 << max((_USUAL_BYTES // row_bytes).bit_length() - 1, 10)

    @property
    def values_bytes(self) -> int:
        """Bytes of the values of a whole segment."""
        size = self.segment_rows * self.dim * np.dtype(self.dtype).itemsize
        return -(-size // 4) * 4

    def make(self, path: Path, num_rows: int) -> Segment:
        """A new segment file of zeros, with space on the disk for its first `num_rows` rows.

        Raises:
            DataError: The disk is full, or the file cannot be made.
        """
        path.unlink(missing_ok=True)
        try:
            with path.open("xb") as file:
                os.truncate(file.fileno(), self.values_bytes + 4 * self.segment_rows)
        except OSError as error:
            raise _not_written(path, error) from error
        self.reserve(path, num_rows)
        return self.map(path, "r+")

    def reserve(self, path: Path, num_rows: int) -> None:
        """Takes space on the disk now: where it runs out later, a mapped write kills the process.

        Raises:
            DataError: The disk is full.
        """
        row_bytes = self.dim * np.dtype(self.dtype).itemsize
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, max(num_rows * row_bytes, 1))
                os.posix_fallocate(file.fileno(), self.values_bytes, max(num_rows * 4, 1))
        except OSError as error:
            raise _not_written(path, error) from error

    def map(self, path: Path, mode: Any) -> Segment:
        """A segment file in memory.

        Args:
            path: The file.
            mode: `"r"` or `"r+"`.

        Raises:
            DataError: It is missing, or shorter than a segment.
        """
        try:
            size = self.values_bytes + 4 * self.segment_rows
            file = np.memmap(path, np.uint8, mode, shape=(size,))
        except (OSError, ValueError) as error:
            raise DataError(
                f"Table {str(path.parent)!r} is damaged: segment {path.name!r} cannot be read "
                f"({error}). Restore the folder from a copy."
            ) from error
        row_bytes = self.dim * np.dtype(self.dtype).itemsize
        data = file.view(np.ndarray)  # memmap's own indexing is slower
        values = data[: self.segment_rows * row_bytes].view(self.dtype)
        sums = data[self.values_bytes :].view(np.float32)
        return Segment(values.reshape(self.segment_rows, self.dim), sums, file)


@dataclass(frozen=True)
class Manifest:
    """What a commit of a table says.

    Args:
        layout: Of the segments.
        num_rows: Number of rows, row 0 included.
        scale: Of the first vectors.
        seed: Of what is drawn.
        eps: Of AdaGrad.
        num_pushes: So far; what is drawn in a push depends on it.
        versions: Of each segment.
    """

    layout: Layout
    num_rows: int
    scale: float
    seed: int
    eps: float
    num_pushes: int = 0
    versions: tuple[int, ...] = ()

    def path(self, folder: Path, number: int) -> Path:
        """File of a segment."""
        return segment_path(folder, number, self.versions[number])

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a folder.

        Raises:
            NotFound: There is none.
            DataError: It is damaged, or of another format.
        """
        path = folder / "manifest.json"
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise NotFound(
                f"There is no table in {str(folder)!r}: it has no manifest.json. Check the path."
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f"{str(path)!r} cannot be read: {error}.") from error
        with suppress(KeyError, TypeError, AttributeError):
            if found.pop("format") == _FORMAT:
                layout, versions = Layout(**found.pop("layout")), tuple(found.pop("versions"))
                manifest = cls(layout=layout, versions=versions, **found)
                if len(versions) == -(-manifest.num_rows // layout.segment_rows):
                    return manifest
        raise DataError(
            f"{str(path)!r} is not the manifest of a table of format {_FORMAT}. Check the path, or "
            "open it with the version of tadka that wrote it."
        )

    def write(self, folder: Path) -> None:
        """Commits, then removes the segments of the folder that it does not name.

        Raises:
            DataError: It cannot be written.
        """
        sync(folder)  # the names of the segments, before that which names them
        with publish_file(folder / "manifest.json") as file:
            file.write(json.dumps({"format": _FORMAT, **asdict(self)}).encode())
        self.sweep(folder)

    def sweep(self, folder: Path) -> None:
        """Removes the segments of a folder that the manifest does not name."""
        named = {self.path(folder, number) for number in range(len(self.versions))}
        for path in sorted(folder.glob("*.segment")):
            if path not in named:
                path.unlink()


def segment_path(folder: Path, number: int, version: int) -> Path:
    """File of a segment in a version."""
    return folder / f"{number:06d}-{version:06d}.segment"


def next_version(folder: Path) -> int:
    """A version that no segment of a folder has."""
    names = [path.stem.partition("-")[2] for path in folder.glob("*.segment")]
    return 1 + max((int(name) for name in names if name.isdigit()), default=0)


def commit(folder: Path, manifest: Manifest, fill: Callable[[Segment, int, int], None]) -> None:
    """Writes a whole table, beside and then in place of the one that the folder holds.

    Args:
        folder: Made where it does not exist.
        manifest: What to commit; the versions are chosen here.
        fill: Fills a segment with the rows from its second to before its third argument.

    Raises:
        DataError: It cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    layout = manifest.layout
    starts = range(0, manifest.num_rows, layout.segment_rows)
    version = next_version(folder)
    for number, start in enumerate(starts):
        stop = min(start + layout.segment_rows, manifest.num_rows)
        segment = layout.make(segment_path(folder, number, version), stop - start)
        fill(segment, start, stop)
        segment.file.flush()
    replace(manifest, versions=(version,) * len(starts)).write(folder)


def _not_written(path: Path, error: OSError) -> DataError:
    return DataError(
        f"Segment {str(path)!r} cannot be written: {error.strerror}. Free some space, or choose "
        "another folder; what was saved before is whole."
    )
