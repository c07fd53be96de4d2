"""Tables of Apache Iceberg, at a snapshot."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.dataset.kind import Kind
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source
from tadka.dataset.source.template import text_of
from tadka.storage.uri import is_local, resolve


@dataclass(frozen=True)
class Iceberg(Source):
    """An Iceberg table; its Parquet files are read as they are.

    Args:
        table: Its name in the catalog, `"logs.impressions"`.
        catalog: The catalog's name in the configuration of pyiceberg (`~/.pyiceberg.yaml`, or
            environment variables such as `PYICEBERG_CATALOG__DEFAULT__URI`).
        snapshot: Its id; the current one by default.
    """

    table: str
    catalog: str = "default"
    snapshot: int | None = None

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:
        """The data files of the snapshot.

        Args:
            columns: Of the table; a partition among them must be one of Iceberg by identity.
            keep: Which partitions are wanted.

        Raises:
            ConfigError: The catalog is not configured, or a partition is none.
            NotFound: There is no such table or snapshot, or no file is wanted.
            DataError: The catalog does not answer, a file is not Parquet, or rows were deleted
                beside the files.
        """
        table = self._opened()
        current = table.current_snapshot()
        if current is None:
            raise NotFound(
                f"Iceberg table {self.table!r} has no snapshot; nothing was written yet."
            )
        snapshot = current.snapshot_id if self.snapshot is None else self.snapshot
        if table.snapshot_by_id(snapshot) is None:
            raise NotFound(
                f"Iceberg table {self.table!r} has no snapshot {snapshot}; it may have expired. "
                f"The current one is {current.snapshot_id}."
            )
        found, refused = [], []
        for task in table.scan(snapshot_id=snapshot).plan_files():
            file = self._file(table, task, columns)
            if keep is not None and not keep(file.values):
                refused.append(text_of(file.values))
                continue
            found.append(file)
        if not found:
            there = f"; there are {', '.join(sorted(set(refused))[:5])}" if refused else ""
            raise NotFound(
                f"Iceberg table {self.table!r} has no file at snapshot {snapshot} in the "
                f"partitions that are wanted{there}."
            )
        found.sort(key=lambda file: file.uri)
        return Listing(found, str(snapshot), _path(table.location()))

    def _opened(self) -> Any:
        catalogs = require("pyiceberg.catalog", extra="iceberg")
        errors = require("pyiceberg.exceptions", extra="iceberg")
        try:
            return catalogs.load_catalog(self.catalog).load_table(self.table)
        except (errors.NoSuchTableError, errors.NoSuchNamespaceError) as error:
            raise NotFound(
                f"Catalog {self.catalog!r} has no Iceberg table {self.table!r}. Check the name."
            ) from error
        except ValueError as error:
            raise ConfigError(
                f"Iceberg catalog {self.catalog!r} is not configured: {error}."
            ) from error
        except Exception as error:  # of any library that a catalog uses: REST, SQL, a store
            raise DataError(f"Iceberg table {self.table!r} cannot be read: {error}.") from error

    def _file(self, table: Any, task: Any, columns: Columns) -> InputFile:
        file = task.file
        if task.delete_files:
            raise DataError(
                f"Iceberg table {self.table!r} has deleted rows beside its files. Rewrite them "
                "(rewrite_data_files), or read it by Spark: Catalog(...)."
            )
        if file.file_format.name != "PARQUET":
            raise DataError(f"File {file.file_path!r} is {file.file_format.name}, not Parquet.")
        names = table.metadata.schema()
        values = {
            names.find_column_name(part.source_id): file.partition[index]
            for index, part in enumerate(table.specs()[file.spec_id].fields)
            if str(part.transform) == "identity"
        }
        made = {}
        for column in columns.values():
            if not column.is_partition:
                continue
            if column.name not in values:
                raise ConfigError(
                    f"Partition {column.name!r} is none of file {file.file_path!r} by identity; it "
                    f"has {', '.join(values) or 'none'}. Declare Column[...]."
                )
            made[column.name] = _value(values[column.name], column.kind)
        return InputFile(_path(file.file_path), made, file.file_size_in_bytes, "")


def _value(value: Any, kind: Kind) -> Any:
    """A value of a partition, which Iceberg keeps as days or microseconds since 1970."""
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    moments: dict[str, Callable[[int], Any]] = {
        "date": lambda days: (epoch + dt.timedelta(days=days)).date(),
        "time": lambda us: (epoch + dt.timedelta(microseconds=us)).replace(tzinfo=None),
        "utc": lambda us: epoch + dt.timedelta(microseconds=us),
    }
    if value is None or not isinstance(value, int) or kind.name not in moments:
        return value
    return moments[kind.name](value)


def _path(uri: str) -> str:
    file_system, path = resolve(uri)
    return path if is_local(file_system) else uri
