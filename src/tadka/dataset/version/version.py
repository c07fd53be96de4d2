"""A version: rows that were written once, with the record of where they come from."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.measure.measure import read_output
from tadka.dataset.version.diff import Difference, diff
from tadka.dataset.version.handover import to_mlflow
from tadka.dataset.version.manifest import Manifest
from tadka.dataset.version.page import page
from tadka.dataset.version.pin import pin, pinned_paths
from tadka.dataset.version.verify import Verification, verify
from tadka.storage.publish import publish_file
from tadka.storage.uri import join, reading, resolve

if TYPE_CHECKING:
    import pyarrow as pa

_NUM_READERS = 4  # files read at once; each takes a batch of memory


@dataclass(frozen=True)
class Version:
    """Rows of a dataset as they were written, never changed afterwards.

    Args:
        path: URI of its folder.
        manifest: Its record.
        tags: Names for it, as they were when it was looked up.
    """

    path: str
    manifest: Manifest
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = f" ({', '.join(self.tags)})" if self.tags else ""
        return f"{self.name} {self.id}{shown}: {self.num_rows:,} rows"

    @property
    def id(self) -> str:
        """16 hex digits; equal for equal content."""
        return self.manifest.id

    @property
    def name(self) -> str:
        """Of the dataset."""
        return self.manifest.name

    @property
    def created_at(self) -> datetime:
        """When it was written, in UTC."""
        return datetime.fromisoformat(self.manifest.created_at)

    @property
    def written_at(self) -> datetime:
        """When it was written last, in UTC: later than created where other inputs gave it again."""
        return datetime.fromisoformat(self.manifest.renewed_at or self.manifest.created_at)

    @property
    def num_rows(self) -> int:
        """Of the output."""
        return self.manifest.num_rows

    def files(self) -> list[str]:
        """URIs of the output's files, in order; what `tadka.stream.read` and others take.

        Columns of `partition_by` stand in their paths, as `split=train/`.
        """
        return [join(self.path, file.path) for file in self.manifest.files]

    def batches(self, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
        """The rows, a part at a time, with the columns of `partition_by`.

        Args:
            columns: Names of those that are wanted, in this order; all by default.

        Raises:
            ConfigError: There is no such column.
            NotFound: A file is gone.
            DataError: A file cannot be read.
        """
        wanted, schema = self._wanted(columns)
        for table in self._tables(self.files(), wanted):
            yield from table.select(schema.names).cast(schema).to_batches()

    def read(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """All rows in memory.

        Args:
            columns: Names of those that are wanted, in this order; all by default.

        Raises:
            ConfigError: There is no such column.
            NotFound: A file is gone.
            DataError: A file cannot be read.
        """
        pa = require("pyarrow", extra="dataset")
        wanted, schema = self._wanted(columns)

        def one(uri: str) -> list[Any]:
            return [t.select(schema.names).cast(schema) for t in self._tables([uri], wanted)]

        with ThreadPoolExecutor(_NUM_READERS) as pool:
            parts = [table for tables in pool.map(one, self.files()) for table in tables]
        return pa.concat_tables([schema.empty_table(), *parts])

    def sample(self) -> "pa.Table":
        """Up to 1,000 rows for a look, the same ones each time.

        Raises:
            NotFound: The version was written without.
            DataError: The file cannot be read.
        """
        parquet = require("pyarrow.parquet", extra="dataset")
        uri = join(self.path, "sample.parquet")
        file_system, path = resolve(uri)
        with reading(uri), file_system.open(path, "rb") as file:
            return parquet.read_table(file)

    def verify(self, level: str = "content") -> Verification:
        """Whether inputs and output are still what they were.

        Args:
            level: How far to look: `"listing"` (names, sizes, times), `"footer"` (also what
                footers say) or `"content"` (every byte, which alone can find them the same).

        Returns:
            What was found, by table.

        Raises:
            ConfigError: There is no such level.
        """
        return verify(self, level)

    def pin(self) -> dict[str, str]:
        """Copies the inputs into the folder of the version, so that it can be made again later.

        Returns:
            Paths of the copies by table, to be used in place of the definition's.

        Raises:
            DataError: An input is no longer what it was, or the disk is full.
            ConfigError: A table does not lie in files.
        """
        return pin(self)

    def pinned(self) -> Mapping[str, str]:
        """Paths of the copies that `pin` made, by table; empty where it was not called."""
        return pinned_paths(self)

    def diff(self, other: "Version") -> Difference:
        """What differs between this version and another.

        Args:
            other: The newer one, say.
        """
        return diff(self, other)

    def page(self) -> str:
        """A report about the columns as one HTML page; reads the label's column."""
        return page(self)

    def save_page(self, path: str | Path) -> None:
        """Writes `page` to a file.

        Args:
            path: Of the file.

        Raises:
            DataError: It cannot be written.
        """
        with publish_file(path) as file:
            file.write(self.page().encode())

    def to_mlflow(self) -> Any:
        """A dataset as MLflow has it, for `mlflow.log_input(dataset, context="training")`.

        Raises:
            MissingExtra: MLflow is not installed.
        """
        return to_mlflow(self)

    def _wanted(self, columns: Sequence[str] | None) -> tuple[list[OutputColumn], "pa.Schema"]:
        """Columns by their names, with the schema that rows of them have."""
        pa = require("pyarrow", extra="dataset")
        known = {column.name: column for column in self.manifest.columns}
        names = list(known) if columns is None else list(columns)
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"Version {self.id} of {self.name!r} has no column {name!r}; its columns are "
                    f"{', '.join(known)}."
                )
        chosen = [known[name] for name in names]
        return chosen, pa.schema([(column.name, column.kind.arrow) for column in chosen])

    def _tables(
        self, files: Sequence[str], columns: Sequence[OutputColumn]
    ) -> "Iterator[pa.Table]":
        manifest = self.manifest
        return read_output(
            files, columns, format=manifest.format, partition_by=manifest.partition_by
        )
