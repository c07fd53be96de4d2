"""Where rows come from: tables in memory, files, versions of datasets; read a batch at a time."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.core.hashing import digest
from tadka.dataset.version.store import Store, find_version
from tadka.dataset.version.version import Version
from tadka.models.data.config import Csv
from tadka.storage.format import read_piece, scan, suffix_of
from tadka.storage.publish import publish_file
from tadka.storage.tabular import open_binary, parsing, project
from tadka.storage.uri import expand, is_local, join, reading, resolve, stat

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536
_TEXTS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}


class Source(Protocol):
    """Rows that can be read again and again, always in the same order."""

    @property
    def schema(self) -> "pa.Schema":
        """Columns with their types."""

    @property
    def num_rows(self) -> int | None:
        """How many there are; None where only reading tells."""

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """The rows, a batch at a time; all columns unless named."""


class TableSource:
    """Rows in memory.

    Args:
        table: They.
    """

    def __init__(self, table: "pa.Table") -> None:
        self._table = table

    @property
    def schema(self) -> "pa.Schema":
        """Columns with their types."""
        return self._table.schema

    @property
    def num_rows(self) -> int | None:
        """How many there are."""
        return int(self._table.num_rows)

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """The rows, a batch at a time."""
        table = self._table if columns is None else self._table.select(list(columns))
        yield from table.to_batches(max_chunksize=BATCH_ROWS)


class FileSource:
    """Rows in files of one schema; of Parquet and texts no more than a batch is in memory.

    Args:
        uris: One or several files, in order.
        csv: How texts with separators are read.

    Raises:
        NotFound: There is no such file.
        DataError: A file is damaged, or has other columns than the first.
    """

    def __init__(self, uris: Sequence[str], csv: Csv | None = None) -> None:
        self.uris = list(uris)
        self._csv = csv or Csv()
        self._num_rows: int | None = 0
        self._schema: Any = None
        for uri in self.uris:
            if suffix_of(uri) in _TEXTS:
                self._num_rows = None
                with self._open_text(uri, self._schema) as reader:
                    schema = reader.schema
                if self._schema is not None and set(schema.names) == set(self._schema.names):
                    continue  # their types are those of the first, whatever their values suggest
                _refuse_bytes(uri, schema, self._csv)
            else:
                found = scan(uri)
                schema = found.schema
                known = found.num_rows
                self._num_rows = None if None in (known, self._num_rows) else self._num_rows + known  # type: ignore[operator]
            if self._schema is None:
                self._schema = project(uri, schema, None)
            elif not self._schema.equals(schema, check_metadata=False):
                raise DataError(
                    f"File {uri!r} has the columns {_told(schema)}; {self.uris[0]!r} has "
                    f"{_told(self._schema)}. Files of one part must have the same."
                )

    @property
    def schema(self) -> "pa.Schema":
        """Columns with their types, of all files."""
        return self._schema

    @property
    def num_rows(self) -> int | None:
        """How many there are, by the footers; None for texts."""
        return self._num_rows

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """The rows, a batch at a time.

        Args:
            columns: Names of those to read, in this order; all for None.

        Raises:
            DataError: A column is missing, or a file is damaged.
        """
        names = list(project(self.uris[0], self._schema, columns).names)
        for uri in self.uris:
            if suffix_of(uri) == ".parquet":
                yield from parquet_batches(uri, names, BATCH_ROWS)
            elif suffix_of(uri) in _TEXTS:
                with parsing(uri, "CSV"), self._open_text(uri, self._schema) as reader:
                    for batch in reader:
                        yield batch.select(names)
            else:
                found = scan(uri, names)
                for index in range(len(found.piece_rows)):
                    yield from read_piece(found, index).to_batches(max_chunksize=BATCH_ROWS)

    def _open_text(self, uri: str, schema: "pa.Schema | None") -> Any:
        pa = require("pyarrow", extra="arrow")
        csv = require("pyarrow.csv", extra="arrow")
        suffix = suffix_of(uri)
        with parsing(uri, "CSV"):
            source = open_binary(uri, memory_map=False)
            return csv.open_csv(
                pa.CompressedInputStream(source, "gzip") if suffix.endswith(".gz") else source,
                read_options=csv.ReadOptions(
                    use_threads=False,
                    column_names=list(self._csv.names) or None,
                    encoding=self._csv.encoding,
                ),
                parse_options=csv.ParseOptions(
                    delimiter=self._csv.separator or _TEXTS[suffix], newlines_in_values=True
                ),
                convert_options=csv.ConvertOptions(
                    column_types=schema, strings_can_be_null=True, null_values=["", "NA", "null"]
                ),
            )


class VersionSource:
    """Rows of a version of a `tadka.dataset`.

    Args:
        version: It.
    """

    def __init__(self, version: Version) -> None:
        self.version = version

    @property
    def schema(self) -> "pa.Schema":
        """Columns with their types, those of its partitions among them."""
        pa = require("pyarrow", extra="arrow")
        columns = self.version.manifest.columns
        return pa.schema([(column.name, column.kind.arrow) for column in columns])

    @property
    def num_rows(self) -> int | None:
        """How many there are, by its manifest."""
        return self.version.num_rows

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """The rows, a batch at a time."""
        yield from self.version.batches(columns)


def parquet_batches(
    uri: str, columns: Sequence[str] | None, batch_rows: int
) -> "Iterator[pa.RecordBatch]":
    """Rows of a Parquet file without a whole row group in memory, however large it is.

    Args:
        uri: Of the file.
        columns: Names of those to read, in this order; all for None.
        batch_rows: The most rows of a batch.

    Raises:
        NotFound: There is no such file.
        DataError: It is damaged, or a column is missing.
    """
    parquet = require("pyarrow.parquet", extra="arrow")
    with parsing(uri, "Parquet"), open_binary(uri) as source:
        file = parquet.ParquetFile(source)
        names = project(uri, file.schema_arrow, columns).names
        for batch in file.iter_batches(batch_rows, columns=names, use_threads=False):
            yield batch.select(names)


def open_source(given: Sequence[str], csv: Csv | None = None) -> FileSource | VersionSource:
    """The rows that a configuration names.

    Args:
        given: Files, patterns or folders; or one version of a dataset.
        csv: How texts with separators are read.

    Raises:
        NotFound: There are none.
        DataError: A file is damaged.
    """
    version = version_at(given[0]) if len(given) == 1 else None
    return VersionSource(version) if version is not None else FileSource(expand(given), csv)


def version_at(text: str) -> Version | None:
    """The version of a dataset that a text names; None where it names something else.

    Args:
        text: Folder of a version (`out/ctr/versions/ID`) or of a store (`out/ctr`, the latest
            version of it), or `out/ctr@tag`.

    Raises:
        NotFound: The store has no such version.
    """
    path, sign, name = text.rstrip("/").rpartition("@")
    if sign and "/" not in name and _exists(join(path, "versions")):
        return find_version(text)
    path = text.rstrip("/")
    if _exists(join(path, "manifest.json")):
        above, _, folder = path.rpartition("/")
        if above.rpartition("/")[2] == "versions":
            return Store(above.rpartition("/")[0] or ".").version(folder)
    return find_version(path) if _exists(join(path, "versions")) else None


def identity(source: FileSource | VersionSource, cache: Path | None = None) -> dict[str, str]:
    """What tells the content of rows: equal for equal content, wherever it lies.

    Args:
        source: Of the rows.
        cache: Folder that keeps hashes of files whose size and time did not change.

    Returns:
        Of files, their names with the SHA-256 of their bytes (of remote ones the store's version,
        where it has one); of a version its id and output hash.
    """
    if isinstance(source, VersionSource):
        manifest = source.version.manifest
        return {"version": manifest.id, "output_hash": manifest.output_hash}
    kept = _kept(cache)
    num_kept = len(kept)
    found = {}
    for number, uri in enumerate(source.uris):
        told = stat(uri)
        key = f"{uri}|{told.size_bytes}|{told.version}"
        if not is_local(resolve(uri)[0]) and told.version:
            kept[key] = told.version
        if key not in kept:
            kept[key] = file_hash(uri)
        found[f"{number:05d} {uri.rpartition('/')[2]}"] = kept[key]
    if cache is not None and len(kept) > num_kept:
        with publish_file(cache / "hashes.json") as file:
            file.write(json.dumps(kept, indent=1, sort_keys=True).encode())
    return found


def file_hash(uri: str) -> str:
    """SHA-256 of the bytes of a file.

    Args:
        uri: Of the file.
    """
    file_system, path = resolve(uri)
    with reading(uri), file_system.open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 of files, and of all files below folders, by their names.

    Args:
        folder: That they are in.
        names: Of files and folders.
    """
    files: dict[str, str] = {}
    for name in names:
        place = folder / name
        below = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        files.update({path.relative_to(folder).as_posix(): file_hash(str(path)) for path in below})
    return digest(files)


def _kept(cache: Path | None) -> dict[str, str]:
    """Hashes of a former call; a damaged file is the same as none."""
    if cache is not None:
        with suppress(OSError, ValueError):
            kept = json.loads((cache / "hashes.json").read_text(encoding="utf-8"))
            if isinstance(kept, Mapping):
                return dict(kept)
    return {}


def _exists(uri: str) -> bool:
    try:
        file_system, path = resolve(uri)
    except (ConfigError, NotFound):
        return False
    with reading(uri):
        return bool(file_system.exists(path))


def _refuse_bytes(uri: str, schema: "pa.Schema", csv: Csv) -> None:
    """Text that is not of the encoding would become bytes in silence."""
    types = require("pyarrow", extra="arrow").types
    for field in schema:
        if types.is_binary(field.type):
            raise DataError(
                f"File {uri!r}, column {field.name!r} is not {csv.encoding} text. Name its "
                "encoding at data.csv.encoding, such as latin-1."
            )


def _told(schema: "pa.Schema") -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
