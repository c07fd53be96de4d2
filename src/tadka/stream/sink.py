"""Writing results: one part per chunk, named by plan and chunk, so that every row is written once.

A part is written aside and renamed. A chunk that is worked again after a crash replaces its own
part by an equal one, and a resumed run does not work chunks whose part is there.
"""

import io
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tadka.core.error import ConfigError, DataError
from tadka.storage.format import open_writer
from tadka.storage.publish import publish_file
from tadka.storage.uri import join, resolve
from tadka.stream.codec import Batch

_MANIFEST = "_tadka.json"
_SHORT_HASH = 8


class Abandoned(Exception):
    """A part that is not wanted any more: no error, it tells `publish_file` to leave nothing."""


@dataclass(frozen=True, kw_only=True)
class Sink:
    """Where results go; made by `tadka.stream.write`.

    Args:
        uri: Directory of the parts, on any file system.
        suffix: Their format, e.g. ``.parquet``.
        overwrite: Whether another run's output may be replaced.
    """

    uri: str
    suffix: str
    overwrite: bool

    def __post_init__(self) -> None:
        try:  # now, not when the first chunk is written
            open_writer(io.BytesIO(), self.suffix, pa.schema([("x", pa.int64())])).close()
        except DataError as error:
            raise ConfigError(f"write() has suffix={self.suffix!r}: {error}") from None

    def part(self, plan_hash: str, chunk: int) -> str:
        """URI of a chunk's part."""
        return join(self.uri, f"part-{chunk:06d}-{plan_hash[:_SHORT_HASH]}{self.suffix}")

    def prepare(self, plan_hash: str, *, is_resumed: bool) -> list[int]:
        """Make the directory ready and claim it for a plan.

        Returns:
            Chunks whose part is there already; empty unless `is_resumed`.

        Raises:
            DataError: The directory holds something else, named in the message.
        """
        manifest = self._manifest()
        names = self._names()
        if manifest is None and names:
            # Not even to be overwritten: a wrong path must not cost somebody else's files.
            raise DataError(
                f"Directory {self.uri!r} holds {names[0]!r} and no {_MANIFEST}: it is not this "
                "library's output. Write to an empty or new directory."
            )
        is_same = manifest is not None and manifest.get("plan_hash") == plan_hash
        if is_resumed and is_same:
            self.sweep()
            return self._chunks(names, plan_hash)
        if manifest is None or (self.overwrite and not is_resumed):
            self.sweep()
            self._remove(names)
            self._write_manifest({"plan_hash": plan_hash, "is_complete": False})
            return []
        raise DataError(
            f"Directory {self.uri!r} already holds the "
            f"{'complete' if manifest.get('is_complete') else 'unfinished'} output of "
            + (
                "this very plan. Go on with run(resume=True), "
                if is_same
                else f"another plan ({str(manifest.get('plan_hash', 'unknown'))[:12]}, this one is "
                f"{plan_hash[:12]}): the input, the batch size or the seed differ. "
            )
            + "Write elsewhere, or replace it by write(..., overwrite=True)"
            + (" and a run that does not resume." if is_resumed else ".")
        )

    def finish(self, plan_hash: str, rows: int) -> list[str]:
        """Record that the output is complete; returns the URIs of its parts."""
        self.sweep()
        names = sorted(name for name in self._names() if self._chunk(name, plan_hash) is not None)
        self._write_manifest(
            {"plan_hash": plan_hash, "is_complete": True, "rows": rows, "parts": names}
        )
        return [join(self.uri, name) for name in names]

    def _chunk(self, name: str, plan_hash: str) -> int | None:
        pattern = rf"part-(\d+)-{plan_hash[:_SHORT_HASH]}{re.escape(self.suffix)}"
        found = re.fullmatch(pattern, name)
        return int(found[1]) if found else None

    def _chunks(self, names: list[str], plan_hash: str) -> list[int]:
        found = (self._chunk(name, plan_hash) for name in names)
        return sorted(chunk for chunk in found if chunk is not None)

    def _names(self) -> list[str]:
        """What the directory holds, less hidden names and metadata ("_"), ours included."""
        return [name for name in self._list() if name[0] not in "._"]

    def _list(self) -> list[str]:
        files, path = resolve(self.uri)
        files.invalidate_cache(path)  # object stores list from memory otherwise
        if not files.exists(path):
            return []
        found = files.ls(path, detail=False)
        return sorted(filter(None, (str(name).rstrip("/").rsplit("/", 1)[-1] for name in found)))

    def sweep(self) -> None:
        """Remove what killed processes were writing; only once the directory is ours."""
        files, path = resolve(self.uri)
        for name in self._list():
            if name.startswith(".part-"):
                with suppress(FileNotFoundError):
                    files.rm_file(f"{path}/{name}")

    def _remove(self, names: list[str]) -> None:
        files, path = resolve(self.uri)
        with suppress(FileNotFoundError):
            files.rm_file(f"{path}/{_MANIFEST}")
        for name in names:
            files.rm(f"{path}/{name}", recursive=True)

    def _manifest(self) -> dict[str, Any] | None:
        files, path = resolve(self.uri)
        try:
            text = files.cat_file(f"{path}/{_MANIFEST}")
        except (FileNotFoundError, NotADirectoryError):
            if files.isfile(path):
                raise DataError(
                    f"write({self.uri!r}) names a file; parts need a directory."
                ) from None
            return None
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        return values if isinstance(values, dict) else {}  # damaged: treated as another run's

    def _write_manifest(self, values: dict[str, Any]) -> None:
        with publish_file(join(self.uri, _MANIFEST)) as file:
            file.write(json.dumps({"tadka": 1, **values}, indent=1).encode())


class Part:
    """The part of one lease, while it is written."""

    def __init__(self, sink: Sink, plan_hash: str, chunk: int) -> None:
        self._sink = sink
        self._uri = sink.part(plan_hash, chunk)
        self._stack = ExitStack()
        self._writer: Any = None
        self.num_rows = 0

    def write(self, batch: Batch) -> None:
        """Append a batch.

        Raises:
            DataError: It is no table, or the file cannot be written.
        """
        table = to_table(batch)
        with self._or_abandon():
            if self._writer is None:
                file = self._stack.enter_context(publish_file(self._uri))
                self._writer = open_writer(file, self._sink.suffix, table.schema)
            self._writer.write(table)
        self.num_rows += len(table)

    def publish(self) -> None:
        """Make the part visible; nothing is written for a chunk without output.

        Raises:
            DataError: The file cannot be written.
        """
        with self._or_abandon():
            if self._writer is not None:
                self._writer.close()
        self._writer = None
        self._stack.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        with suppress(Abandoned, DataError), self._or_abandon():
            raise Abandoned

    @contextmanager
    def _or_abandon(self) -> Iterator[None]:
        """Passes an error on through `publish_file`, which cleans up and names the target."""
        try:
            yield
        except BaseException as error:
            writer, self._writer = self._writer, None
            if writer is not None:
                with suppress(OSError, ValueError, pa.ArrowException):
                    writer.close()  # otherwise the collector does, when the file is closed
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise


def to_table(batch: Batch) -> pa.Table:
    """A batch as an Arrow table.

    Raises:
        DataError: It is neither a dict of columns nor an Arrow table.
    """
    if isinstance(batch, pa.Table):
        return batch
    if isinstance(batch, pa.RecordBatch):
        return pa.Table.from_batches([batch])
    if not isinstance(batch, dict):
        raise DataError(
            f"write() was given a {type(batch).__name__}; it needs a dict of arrays or an Arrow "
            "table. Let the last stage return one."
        )
    try:
        return pa.table({name: _to_arrow(column) for name, column in batch.items()})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"write() cannot make a table of the batch: {error}.") from error


def _to_arrow(column: Any) -> Any:
    if not isinstance(column, np.ndarray):
        return column
    if not column.dtype.isnative:
        column = column.astype(column.dtype.newbyteorder("="))
    if column.ndim < 2:
        return column
    flat = pa.array(column.reshape(-1))
    for size in reversed(column.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat
