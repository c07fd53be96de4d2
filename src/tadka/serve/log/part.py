"""A file of the request log while it grows: an Arrow stream that its writer holds locked.

The stream is written batch by batch, and a batch that did not fit is taken back, so a part is good
at any time; a writer that is killed leaves at most a torn end, which is not read. The lock dies
with the writer. A part that nobody locks is for anybody to publish.
"""

import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadka.core.extra import require
from tadka.storage.publish import publish_file

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".arrow.part"

_POSITIONS = "tadka.positions"
_PUBLISHED_ROWS = 1 << 16
"""Of a batch of a published file; the batches of a part are as small as they came."""


class Part:
    """A part that this process holds locked.

    Args:
        path: Of the file.
        descriptor: The file, opened for reading and writing and locked.
        started_s: Unix time at which it was begun.
        schema: Of the batches to come; None where none come.
    """

    def __init__(
        self, path: Path, descriptor: int, started_s: float, schema: "pa.Schema | None" = None
    ) -> None:
        self.path = path
        self.started_s = started_s
        self.num_bytes = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._schema = schema
        self._sink = io.BytesIO()
        self._stream: Any = None

    @classmethod
    def create(cls, folder: Path, schema: "pa.Schema", now_s: float) -> "Part":
        """A new part, which so far is empty.

        Args:
            folder: Made where it is missing.
            schema: Of the batches to come.
            now_s: Unix time.

        Raises:
            OSError: It cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        when = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%S")
        count = 0
        while True:
            path = folder / f"{when}-{os.getpid()}-{count:03d}{SUFFIX}"
            count += 1
            if path.with_suffix("").exists():  # published by us within this second
                continue
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            except FileExistsError:
                continue
            descriptor = _lock(path)
            if descriptor is None:  # another writer started, and took the new file for a left one
                continue
            return cls(path, descriptor, now_s, schema)

    def append(self, batch: "pa.RecordBatch", positions: Mapping[str, int]) -> None:
        """Writes a batch.

        Args:
            batch: Of the part's schema.
            positions: How far the rings are safe with this batch, by their identities.

        Raises:
            OSError: It cannot be written; the part is as it was, as after any other error.
        """
        if self.num_bytes == 0:  # the schema goes before the first batch
            ipc = require("pyarrow.ipc", extra="arrow")
            self._sink = io.BytesIO()  # not the one of a stream whose first batch failed
            self._stream = ipc.new_stream(self._sink, self._schema)
        try:
            self._stream.write_batch(batch, custom_metadata={_POSITIONS: json.dumps(positions)})
            data = memoryview(self._sink.getvalue())
        finally:
            self._sink.seek(0)
            self._sink.truncate()
        end = self.num_bytes
        try:
            while data:
                written = os.pwrite(self._descriptor, data, end)
                data, end = data[written:], end + written
        except OSError:
            with suppress(OSError):  # the next batch is written over what this one left
                os.ftruncate(self._descriptor, self.num_bytes)
            raise
        self.num_bytes = end

    def has_room(self) -> bool:
        """Whether the disk has room for the part once more, as publishing needs it."""
        return shutil.disk_usage(self.path.parent).free > self.num_bytes

    def publish(self) -> int:
        """Makes the part a file that anybody may read, and removes it.

        Returns:
            How many rows were published.

        Raises:
            DataError: The file cannot be written, for example as the disk is full; the part stays.
            OSError: The part cannot be opened at present; it stays.
        """
        ipc = require("pyarrow.ipc", extra="arrow")
        target = self.path.with_suffix("")
        num_rows = 0
        # Where the target exists, a writer was killed before it could remove the part.
        if not target.exists():
            batches = (batch for batch, _ in _read(self.path))
            if (first := next(batches, None)) is not None:
                with publish_file(target) as file, ipc.new_file(file, first.schema) as writer:
                    for batch in _joined(first, batches):
                        writer.write_batch(batch)
                        num_rows += batch.num_rows
        self.remove()
        return num_rows

    def positions(self) -> dict[str, int]:
        """How far the rings are safe with this part, by their identities.

        Raises:
            OSError: The part cannot be opened at present.
        """
        last: dict[str, int] = {}
        for _, found in _read(self.path):
            last = found
        return last

    def remove(self) -> None:
        """Deletes the part and what publishing it left aside, and gives up the lock."""
        for aside in self.path.parent.glob(f".{self.path.with_suffix('').name}.*.tmp"):
            aside.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Gives up the lock; the next writer will publish the part."""
        os.close(self._descriptor)


def left_parts(folder: Path) -> list[Part]:
    """The parts in a folder whose writers are dead, locked for this process.

    Args:
        folder: Of a log.
    """
    parts = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        descriptor = _lock(path)
        if descriptor is not None:
            parts.append(Part(path, descriptor, os.fstat(descriptor).st_mtime))
    return parts


def _lock(path: Path) -> int | None:
    """The file, opened and locked; None where another process has it, or it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:  # published and removed before we had the lock
        os.close(descriptor)
        return None
    return descriptor


def _read(path: Path) -> Iterator[tuple["pa.RecordBatch", dict[str, int]]]:
    """The whole batches of a part with their positions; a torn end is left out."""
    pa = require("pyarrow", extra="arrow")
    ipc = require("pyarrow.ipc", extra="arrow")
    try:
        mapped = pa.memory_map(str(path))
    except FileNotFoundError:  # somebody has deleted it
        return
    # Any other reason why it cannot be opened may pass; only what it holds can be a torn end.
    try:
        with mapped as file, ipc.open_stream(file) as stream:
            while True:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                batch.validate(full=True)
                yield batch, json.loads(metadata[_POSITIONS])
    except (StopIteration, pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return


def _joined(
    first: "pa.RecordBatch", others: Iterator["pa.RecordBatch"]
) -> Iterator["pa.RecordBatch"]:
    """The same rows in few batches."""
    pa = require("pyarrow", extra="arrow")
    held, num_rows = [first], first.num_rows
    for batch in others:
        held.append(batch)
        num_rows += batch.num_rows
        if num_rows >= _PUBLISHED_ROWS:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held, num_rows = [], 0
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()
