"""Tables of Delta Lake, at a version."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source
from tadka.dataset.source.template import text_of
from tadka.storage.uri import is_local, resolve


@dataclass(frozen=True)
class Delta(Source):
    """A Delta table; its Parquet files are read as they are.

    Args:
        uri: Its folder.
        version: Which; the newest by default. Old versions are gone after a VACUUM.

    Raises:
        ConfigError: The version is negative.
    """

    uri: str
    version: int | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.version < 0:
            raise ConfigError(f"Version {self.version} of Delta table {self.uri!r} is negative.")

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:
        """The files of the version, which is the snapshot.

        Args:
            columns: Of the table; its partitions are those of Delta.
            keep: Which partitions are wanted.

        Raises:
            ConfigError: Partitions are not declared as what they are.
            NotFound: There is no such table or version, or no file is wanted.
            DataError: The table has deletion vectors or renamed columns.
        """
        file_system, root = resolve(self.uri)
        with self._reading():
            table = require("deltalake", extra="delta").DeltaTable(self.uri, version=self.version)
            self._check(table, columns)
            names = table.metadata().partition_columns
            wanted = ["size_bytes", "modification_time", *(f"partition.{name}" for name in names)]
            actions = require("pyarrow", extra="dataset").table(table.get_add_actions(flatten=True))
            rows = actions.select(wanted).to_pylist()
            uris = table.file_uris()  # of the same files; the paths among the actions are encoded
        found, refused = [], []
        for row, uri in zip(rows, uris, strict=True):
            values = {name: row[f"partition.{name}"] for name in names}
            if keep is not None and not keep(values):
                refused.append(text_of(values))
                continue
            path = resolve(uri)[1] if is_local(file_system) else uri
            modified = str(row["modification_time"])
            found.append(InputFile(path, values, row["size_bytes"], modified))
        if not found:
            there = f"; there are {', '.join(sorted(set(refused))[:5])}" if refused else ""
            raise NotFound(
                f"Delta table {self.uri!r} has no file at version {table.version()} in the "
                f"partitions that are wanted{there}."
            )
        found.sort(key=lambda file: file.uri)
        shown = root if is_local(file_system) else self.uri
        return Listing(found, str(table.version()), shown)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        errors = require("deltalake.exceptions", extra="delta")
        try:
            yield
        except errors.TableNotFoundError as error:
            raise NotFound(f"{self.uri!r} is no Delta table: {error}.") from error
        except (errors.DeltaError, OSError) as error:
            what = "" if self.version is None else f" at version {self.version}"
            raise DataError(f"Delta table {self.uri!r} cannot be read{what}: {error}.") from error

    def _check(self, table: Any, columns: Columns) -> None:
        names = table.metadata().partition_columns
        declared = [name for name, column in columns.items() if column.is_partition]
        for name in declared:
            if name not in names:
                raise ConfigError(
                    f"Partition {name!r} is none of Delta table {self.uri!r}, which has "
                    f"{', '.join(names) or 'none'}. Declare Column[...]."
                )
        for name in names:
            if name in columns and name not in declared:
                raise ConfigError(
                    f"Column {name!r} is a partition of Delta table {self.uri!r}; declare "
                    "Partition[...]."
                )
        features = table.protocol().reader_features or []
        mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
        if mapping != "none":
            raise DataError(
                f"Delta table {self.uri!r} has columns of other names in its files "
                f"(columnMapping {mapping!r}), which only Spark reads: use Catalog(...)."
            )
        if "deletionVectors" in features and _num_rows(table.deletion_vectors()):
            raise DataError(
                f"Delta table {self.uri!r} has deletion vectors, so its files hold rows that were "
                "deleted. Run REORG TABLE ... APPLY (PURGE), or read it by Spark: Catalog(...)."
            )


def _num_rows(found: Any) -> int:
    return int(require("pyarrow", extra="dataset").table(found).num_rows)
