"""Tables of Apache Iceberg, at a snapshot."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tadka.core.error import ConfigError, DataError, NotFound, TadkaError
from tadka.core.extra import require
from tadka.dataset.expression.kind import Kind
from tadka.dataset.source.footer import Footer, check_columns, schemas, type_text
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source, schema_of
from tadka.dataset.source.template import text_of
from tadka.storage.tabular import open_binary, parsing
from tadka.storage.uri import is_local, resolve

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Iceberg(Source):
    """An Iceberg table; its Parquet files are read as they are.

    Columns are those of Iceberg, whatever files call them: files from before a column was renamed
    or added are staged.

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
            DataError: The catalog does not answer, the table lacks a column, a file is not Parquet,
                or rows were deleted beside the files.
        """
        with self._reading():
            table = self._opened()
            current = table.current_snapshot()
            if current is None:
                raise NotFound(
                    f"Iceberg table {self.table!r} has no snapshot; nothing was written yet."
                )
            snapshot = current.snapshot_id if self.snapshot is None else self.snapshot
            if table.snapshot_by_id(snapshot) is None:
                raise NotFound(
                    f"Iceberg table {self.table!r} has no snapshot {snapshot}; it may have "
                    f"expired. The current one is {current.snapshot_id}."
                )
            scan = table.scan(snapshot_id=snapshot)
            # an old snapshot has the names that it had, the current one those of today
            schema = table.schema() if self.snapshot is None else scan.projection()
            fields = self._fields(schema, columns)
            found, refused = [], []
            for task in scan.plan_files():
                file = self._file(table, schema, task, columns)
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
            known = table.schemas()
            is_whole = known.keys() == set(range(len(known)))  # maintenance may have removed some
            if not is_whole or not all(_has_names(schema, fields) for schema in known.values()):
                found = self._named(table, found, fields)
            return Listing(found, str(snapshot), _path(table.location()))

    def batches(self, file: InputFile, columns: Columns) -> "Iterator[pa.RecordBatch]":
        """The rows of a file in which columns have other names, or are missing.

        Args:
            file: Of `resolve`.
            columns: Of the table.

        Raises:
            DataError: The file is damaged, or a column is not of its type.
        """
        pa = require("pyarrow", extra="dataset")
        pq = require("pyarrow.parquet", extra="dataset")
        schema, names = schema_of(columns), file.names or {}
        stored = {n: name for n in schema.names if (name := names.get(n, n)) is not None}
        with parsing(file.uri, "Parquet"), open_binary(file.uri) as opened:
            parquet = pq.ParquetFile(opened)
            types = {
                name: type_text(parquet.schema_arrow.field(there).type)
                for name, there in stored.items()
            }
            complaints = check_columns(
                [Footer(file.uri, parquet.metadata.num_rows, types, "")],
                {name: columns[name] for name in stored},
            )
            if complaints:
                raise DataError(" ".join(complaints))
            for batch in parquet.iter_batches(columns=list(stored.values()), use_threads=False):
                arrays = [
                    batch.column(stored[field.name]).cast(field.type)
                    if field.name in stored
                    else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ]
                yield pa.record_batch(arrays, schema=schema)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        errors = require("pyiceberg.exceptions", extra="iceberg")
        try:
            yield
        except TadkaError:
            raise
        except (errors.NoSuchTableError, errors.NoSuchNamespaceError) as error:
            raise NotFound(
                f"Catalog {self.catalog!r} has no Iceberg table {self.table!r}. Check the name."
            ) from error
        except Exception as error:  # of any library that a catalog uses: REST, SQL, a store
            raise DataError(f"Iceberg table {self.table!r} cannot be read: {error}.") from error

    def _opened(self) -> Any:
        catalogs = require("pyiceberg.catalog", extra="iceberg")
        try:
            catalog = catalogs.load_catalog(self.catalog)
        except ValueError as error:
            raise ConfigError(
                f"Iceberg catalog {self.catalog!r} is not configured: {error}."
            ) from error
        return catalog.load_table(self.table)

    def _fields(self, schema: Any, columns: Columns) -> dict[str, Any]:
        """The fields of the columns that stand in files, by name."""
        there = {field.name: field for field in schema.fields}
        for name in columns:
            if name not in there:
                raise DataError(
                    f"Iceberg table {self.table!r} has no column {name!r}; its columns are: "
                    f"{', '.join(there)}."
                )
        return {name: there[name] for name, column in columns.items() if not column.is_partition}

    def _named(
        self, table: Any, files: Sequence[InputFile], fields: Mapping[str, Any]
    ) -> list[InputFile]:
        """The files, with the names that columns have in them where these are others."""
        read = require("pyiceberg.io.pyarrow", extra="iceberg").pyarrow_to_schema
        mapping = table.name_mapping()
        named = []
        for file, stored in zip(files, schemas(files), strict=True):
            there = {
                f.field_id: f.name
                for f in read(stored, mapping, downcast_ns_timestamp_to_us=True).fields
            }
            names = {name: there.get(field.field_id) for name, field in fields.items()}
            for name, field in fields.items():
                if names[name] is None and field.initial_default is not None:
                    raise DataError(
                        f"File {file.uri!r} lacks column {name!r}, which has the initial value "
                        f"{field.initial_default!r}. Rewrite the files (rewrite_data_files), or "
                        "read the table by Spark: Catalog(...)."
                    )
            is_plain = all(name == there for name, there in names.items())
            named.append(file if is_plain else replace(file, names=names))
        return named

    def _file(self, table: Any, schema: Any, task: Any, columns: Columns) -> InputFile:
        file = task.file
        if task.delete_files:
            raise DataError(
                f"Iceberg table {self.table!r} has deleted rows beside its files. Rewrite them "
                "(rewrite_data_files), or read it by Spark: Catalog(...)."
            )
        if file.file_format.name != "PARQUET":
            raise DataError(f"File {file.file_path!r} is {file.file_format.name}, not Parquet.")
        values = {
            schema.find_column_name(part.source_id): file.partition[index]
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


def _has_names(schema: Any, fields: Mapping[str, Any]) -> bool:
    """Whether the fields have the same names in another schema of their table."""
    there = {field.name: field.field_id for field in schema.fields}
    return all(there.get(name) == field.field_id for name, field in fields.items())


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
