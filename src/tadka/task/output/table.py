"""Frames as Parquet and Feather: one file, or a folder of parts.

pandas and Arrow go through an Arrow table; polars reads and writes its own files, since only it
keeps its own types (Enum, Categorical).
"""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadka.core.error import DataError, NotFound
from tadka.core.extra import require
from tadka.storage.tabular import parsing, unreadable
from tadka.task.output.frame import from_table, library_of, nulls_of, refuse_objects, to_table
from tadka.task.output.mold import (
    cannot_hold,
    cast_into,
    is_kept_by_parquet,
    mold_from,
    mold_of,
)
from tadka.task.output.out import SUFFIXES, Out

if TYPE_CHECKING:
    import pyarrow as pa

_MOLD = b"tadka.mold"
_MAX_PARTS = 10_000  # a frame that needs more has larger ones


class Frames:
    """What Parquet and Feather share: parts, and whose frame it is."""

    name: str

    def suffix(self, out: Out) -> str:  # noqa: ARG002 - others depend on it
        """Of the file, or of each part."""
        return SUFFIXES[self.name.lower()][0]

    def is_folder(self, out: Out) -> bool:
        """Whether the frame is kept in parts."""
        return out.max_bytes is not None

    def write(self, value: Any, target: Path, out: Out) -> list[int] | None:
        """Writes a frame; where it is kept in parts, `target` becomes a folder.

        Returns:
            Nulls of each column, where an Arrow table was made.

        Raises:
            DataError: A column cannot be held, or not as it is.
        """
        is_polars = library_of(type(value)) == "polars"
        if is_polars:
            self._check_polars(value)
            whole: Any = value
        else:
            whole = self._prepare(to_table(value, self.name))
        if out.max_bytes is None:
            self._write_one(whole, target, out, is_polars=is_polars)
            return None if is_polars else nulls_of(whole)
        target.mkdir(exist_ok=True)
        for i, part in enumerate(_parts(whole, int(out.max_bytes), is_polars=is_polars)):
            path = target / f"part-{i:06d}{self.suffix(out)}"
            self._write_one(part, path, out, is_polars=is_polars)
        return None if is_polars else nulls_of(whole)

    def read(self, target: Path, type_: Any, out: Out) -> Any:  # noqa: ARG002 - the file tells
        """The frame, of the library that `type_` names, else of the one that wrote it.

        Raises:
            DataError: The file is damaged, or a part is missing.
        """
        paths = [target] if not target.is_dir() else _in_order(target)
        library = library_of(type_)
        if library is None and self._is_of_polars(paths[0]):
            library = "polars"
        if library in {"polars", "lazy"}:
            with _reading(target, self.name):
                return self._read_polars(paths, is_lazy=library == "lazy")
        pa = require("pyarrow", extra="arrow")
        with parsing(str(target), self.name):
            tables = [self._read_table(path) for path in paths]
            return from_table(_without_mold(pa.concat_tables(tables)), library)

    def _write_one(self, frame: Any, path: Path, out: Out, *, is_polars: bool) -> None:
        if is_polars:
            self._write_polars(frame, path, out)
            return
        pa = require("pyarrow", extra="arrow")
        try:
            self._write_table(frame, path, out)
        except (pa.ArrowException, TypeError, OSError) as error:  # Parquet's own is an OSError
            for name in frame.column_names:
                try:
                    self._write_table(frame.select([name]).slice(0, 0), io.BytesIO(), out)
                except (pa.ArrowException, TypeError, OSError) as reason:
                    type_ = frame.schema.field(name).type
                    raise cannot_hold(self.name, name, type_, str(reason)) from reason
            if isinstance(error, OSError):  # of the disk
                raise
            raise DataError(f"The frame cannot be kept as {self.name}: {error}.") from error

    def _check_polars(self, frame: Any) -> None:
        """Refuses what would come back as another type, by writing no rows."""
        polars = require("polars", extra="polars")
        refuse_objects(frame, self.name)
        for name, dtype in frame.schema.items():
            buffer = io.BytesIO()
            try:
                self._write_polars(frame.clear().select(name), buffer, Out())
                buffer.seek(0)
                back = self._scan_polars(buffer).collect().schema[name]
            except (polars.exceptions.PolarsError, TypeError, NotImplementedError) as error:
                raise cannot_hold(self.name, name, dtype, str(error)) from error
            if back != dtype:
                raise cannot_hold(self.name, name, dtype, f"it would come back as {back}")

    def _read_polars(self, paths: list[Path], *, is_lazy: bool) -> Any:
        polars = require("polars", extra="polars")
        frame = polars.concat([self._scan_polars(path) for path in paths])
        return frame if is_lazy else frame.collect()

    # what the two formats differ in

    def _prepare(self, table: "pa.Table") -> "pa.Table":
        raise NotImplementedError

    def _is_of_polars(self, path: Path) -> bool:
        raise NotImplementedError

    def _write_table(self, table: "pa.Table", target: Any, out: Out) -> None:
        raise NotImplementedError

    def _read_table(self, path: Path) -> "pa.Table":
        raise NotImplementedError

    def _write_polars(self, frame: Any, target: Any, out: Out) -> None:
        raise NotImplementedError

    def _scan_polars(self, source: Any) -> Any:
        raise NotImplementedError


class Parquet(Frames):
    """Parquet, compressed by zstd at level 1."""

    name = "Parquet"

    def _prepare(self, table: "pa.Table") -> "pa.Table":
        if all(is_kept_by_parquet(field.type) for field in table.schema):
            return table
        return _with_mold(table)

    def _is_of_polars(self, path: Path) -> bool:
        parquet = require("pyarrow.parquet", extra="arrow")
        with parsing(str(path), self.name):
            return str(parquet.read_metadata(path).created_by).startswith("Polars")

    def _write_table(self, table: "pa.Table", target: Any, out: Out) -> None:
        pa = require("pyarrow", extra="arrow")
        name = out.compression or "zstd"
        # a dictionary of floats is tried in vain: 0.1 s less for five columns of a million
        names = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
        is_flat = not any(pa.types.is_nested(field.type) for field in table.schema)
        require("pyarrow.parquet", extra="arrow").write_table(
            table,
            target,
            compression=name,
            compression_level=1 if name == "zstd" else None,
            use_dictionary=names if is_flat and names else not is_flat,
        )

    def _read_table(self, path: Path) -> "pa.Table":
        parquet = require("pyarrow.parquet", extra="arrow")
        with parquet.ParquetFile(path, memory_map=True) as file:
            return file.read()

    def _write_polars(self, frame: Any, target: Any, out: Out) -> None:
        name = out.compression or "zstd"
        frame.write_parquet(
            target,
            compression="uncompressed" if name == "none" else name,
            compression_level=1 if name == "zstd" else None,
        )

    def _scan_polars(self, source: Any) -> Any:
        return require("polars", extra="polars").scan_parquet(source, glob=False)


class Feather(Frames):
    """Feather version 2 (Arrow's IPC file), compressed by lz4."""

    name = "Feather"

    def _prepare(self, table: "pa.Table") -> "pa.Table":
        # a file holds one dictionary a column, and none where there are no rows
        return table.unify_dictionaries() if table.num_rows else _with_mold(table)

    def _is_of_polars(self, path: Path) -> bool:  # noqa: ARG002 - it leaves no mark
        return False

    def _write_table(self, table: "pa.Table", target: Any, out: Out) -> None:
        ipc = require("pyarrow.ipc", extra="arrow")
        name = out.compression or "lz4"
        options = ipc.IpcWriteOptions(compression=None if name == "none" else name)
        sink = str(target) if isinstance(target, Path) else target
        with ipc.new_file(sink, table.schema, options=options) as writer:
            writer.write_table(table)

    def _read_table(self, path: Path) -> "pa.Table":
        pa = require("pyarrow", extra="arrow")
        with pa.OSFile(str(path)) as source:
            return require("pyarrow.ipc", extra="arrow").open_file(source).read_all()

    def _write_polars(self, frame: Any, target: Any, out: Out) -> None:
        name = out.compression or "lz4"
        frame.write_ipc(target, compression="uncompressed" if name == "none" else name)

    def _scan_polars(self, source: Any) -> Any:
        return require("polars", extra="polars").scan_ipc(source, glob=False)


def _with_mold(table: "pa.Table") -> "pa.Table":
    metadata = {**(table.schema.metadata or {}), _MOLD: base64.b64encode(mold_of(table))}
    return table.replace_schema_metadata(metadata)


def _without_mold(table: "pa.Table") -> "pa.Table":
    mold = (table.schema.metadata or {}).get(_MOLD)
    return table if mold is None else cast_into(table, mold_from(base64.b64decode(mold)))


def _parts(frame: Any, max_bytes: int, *, is_polars: bool) -> Iterator[Any]:
    """Slices of at most `max_bytes` in memory, in order; one where there are no rows.

    Every file holds all categories: they do not count, and rows of a part may be as large as they.
    """
    num_rows = len(frame)
    num_fixed = _num_bytes_fixed(frame, is_polars=is_polars)
    max_bytes = max(max_bytes, num_fixed)
    min_rows = -(-num_rows // _MAX_PARTS) or 1
    start = 0
    while start < num_rows or start == 0:
        rest = frame.slice(start)
        num_bytes = max(1, _num_bytes(rest, is_polars=is_polars) - num_fixed)
        num_left = num_rows - start
        length = max(min_rows, min(num_left, num_left * max_bytes // num_bytes))
        part = rest.slice(0, length)
        while length > min_rows and _num_bytes(part, is_polars=is_polars) - num_fixed > max_bytes:
            length = max(min_rows, (length + 1) // 2)  # rows differ in size
            part = rest.slice(0, length)
        yield part
        start += length


def _num_bytes(frame: Any, *, is_polars: bool) -> int:
    return int(frame.estimated_size() if is_polars else frame.nbytes)


def _num_bytes_fixed(frame: Any, *, is_polars: bool) -> int:
    """Of categories, as far as a part without rows holds them."""
    if not is_polars:
        return int(frame.slice(0, 0).nbytes)
    enums = (dtype for dtype in frame.schema.values() if str(dtype).startswith("Enum"))
    return sum(int(dtype.categories.estimated_size()) for dtype in enums)


def _in_order(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("part-*"), key=lambda path: int(path.stem.split("-")[1]))
    found = [int(path.stem.split("-")[1]) for path in paths]
    if not paths or found != list(range(len(paths))):
        raise DataError(
            f"Folder {str(folder)!r} has the parts {found!r}; they must count from 0 without a "
            "gap. It may be damaged; build it again."
        )
    return paths


@contextmanager
def _reading(target: Path, kind: str) -> Iterator[None]:
    """Turns what polars raises on bad files into DataError."""
    polars = require("polars", extra="polars")
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"File {str(target)!r} does not exist.") from None
    except (polars.exceptions.PolarsError, OSError) as error:
        raise unreadable(str(target), kind, str(error)) from error
