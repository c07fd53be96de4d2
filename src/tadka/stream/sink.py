"""Writing results: one part per chunk, named by plan and chunk, so that every row is written once.

A part is written aside and renamed. A chunk that is worked again after a crash replaces its own
part by an equal one, and a resumed run does not work chunks whose part is there.
"""

import json
import re
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tadka.core.error import DataError
from tadka.storage.format import open_writer
from tadka.storage.publish import publish_file
from tadka.storage.uri import join, resolve
from tadka.stream.codec import Batch

_MANIFEST = "_tadka.json"
_SHORT_HASH = 8


class Abandoned(Exception):  # noqa: N818 - not an error: it tells publish_file to leave nothing
    """A part that is not wanted any more."""


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
        if manifest is None and not names:
            self._write_manifest({"plan_hash": plan_hash, "is_complete": False})
            return []
        if self.overwrite and not is_resumed:
            self._remove(names)
            self._write_manifest({"plan_hash": plan_hash, "is_complete": False})
            return []
        if manifest is None:
            raise DataError(
                f"Directory {self.uri!r} holds {names[0]!r} and no {_MANIFEST}: it is not this "
                "library's output. Write to an empty directory, or write(..., overwrite=True)."
            )
        is_same = manifest.get("plan_hash") == plan_hash
        if is_resumed and is_same:
            return self._chunks(names, plan_hash)
        raise DataError(
            f"Directory {self.uri!r} already holds the "
            f"{'complete' if manifest.get('is_complete') else 'unfinished'} output of "
            + (
                "this very plan. Go on with run(resume=True), "
                if is_same
                else f"another plan ({str(manifest.get('plan_hash'))[:12]}, this one is "
                f"{plan_hash[:12]}): the input, the batch size or the seed differ. "
            )
            + "Write elsewhere, or replace it by write(..., overwrite=True)."
        )

    def finish(self, plan_hash: str, rows: int) -> list[str]:
        """Record that the output is complete; returns the URIs of its parts."""
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
        files, path = resolve(self.uri)
        if not files.exists(path):
            return []
        files.invalidate_cache(path)  # object stores list from memory otherwise
        found = files.ls(path, detail=False)
        names = sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in found)
        # Hidden names are what a killed process was writing; "_" is metadata, ours included.
        for name in names:
            if name.startswith(".part-"):
                with suppress(FileNotFoundError):
                    files.rm_file(f"{path}/{name}")
        return [name for name in names if name and name[0] not in "._"]

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
            return dict(json.loads(text))
        except ValueError:
            return {}  # not ours, or damaged: treated as another run's

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
        if self._writer is None:
            file = self._stack.enter_context(publish_file(self._uri))
            self._writer = open_writer(file, self._sink.suffix, table.schema)
        self._writer.write(table)
        self.num_rows += len(table)

    def publish(self) -> None:
        """Make the part visible; nothing is written for a chunk without output."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()
            self._stack.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        with suppress(Abandoned, DataError):
            error = Abandoned()
            self._stack.__exit__(Abandoned, error, None)
        self._writer = None


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
    if isinstance(column, np.ndarray) and column.ndim > 1:
        flat = pa.array(column.reshape(-1))
        for size in reversed(column.shape[1:]):
            flat = pa.FixedSizeListArray.from_arrays(flat, size)
        return flat
    return column
