"""Tables of a database: PostgreSQL, SQLite, or whatever SQLAlchemy speaks to."""

import datetime as dt
import decimal
import difflib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import Kind
from tadka.dataset.source.listing import Columns, InputFile, Keep, Listing, Source, schema_of
from tadka.dataset.source.secret import expand, is_secret, refuse_literal

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_PER_BATCH = 20_000
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


@dataclass(frozen=True)
class Database(Source):
    """A table or view of a database, read as a whole.

    Args:
        url: As SQLAlchemy takes it: `"postgresql://user:$PASSWORD@host/name"`,
            `"sqlite:///path.db"`. `$NAME` is an environment variable; a password written out is
            refused.
        table: Its name, with the schema where it needs one: `"public.users"`.

    Raises:
        ConfigError: The URL is none, or holds a password.
    """

    url: str
    table: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if not parts.scheme or "://" not in self.url:
            raise ConfigError(
                f"Database URL {self.url!r} is not understood; it is such as "
                "'postgresql://user@host/name' or 'sqlite:///path.db'."
            )
        if not self.table:
            raise ConfigError(f"Database {self.url!r} needs the name of a table.")
        refuse_literal(parts.password, "The URL of a database")
        for name, value in parse_qsl(parts.query):
            if is_secret(name):
                refuse_literal(value, f"{name!r} in the URL of a database")

    @property
    def partition_names(self) -> tuple[str, ...] | None:
        """None of them: all columns are in the rows."""
        return ()

    def resolve(self, columns: Columns, keep: Keep | None = None) -> Listing:  # noqa: ARG002
        """The table as one piece, with its number of rows.

        Args:
            columns: Of the table; no partitions.
            keep: Not asked.

        Raises:
            ConfigError: A column is declared as a partition.
            NotFound: There is no such table.
            DataError: The database does not answer, or the table lacks a column.
        """
        sqlalchemy = require("sqlalchemy", extra="database")
        for column in columns.values():
            if column.is_partition:
                raise ConfigError(
                    f"Column {column.name!r} of {self.table!r} is declared as a partition, which a "
                    "table of a database has not. Declare Column[...]."
                )
        with self._connected() as connection:
            table = self._reflected(connection, columns)
            count = sqlalchemy.select(sqlalchemy.func.count()).select_from(table)
            num_rows = connection.execute(count).scalar()
        # the URL as it was written: with $NAME, not with what it stands for
        return Listing(
            [InputFile(f"{self.url}#{self.table}", {}, 0, f"{num_rows} rows", "database")]
        )

    def batches(self, file: InputFile, columns: Columns) -> "Iterator[pa.RecordBatch]":  # noqa: ARG002
        """All rows, as the database gives them.

        Args:
            file: Of `resolve`.
            columns: Of the table.

        Raises:
            DataError: A value is not as declared; the message holds it with the number of its row.
        """
        pa = require("pyarrow", extra="dataset")
        sqlalchemy = require("sqlalchemy", extra="database")
        wanted = list(columns.values())
        schema = schema_of(columns)
        with self._connected() as connection:
            table = self._reflected(connection, columns)
            query = sqlalchemy.select(*(table.c[column.name] for column in wanted))
            streaming = connection.execution_options(stream_results=True, yield_per=_ROWS_PER_BATCH)
            start = 1
            with streaming.execute(query) as result:
                for rows in result.partitions():
                    cells = zip(wanted, zip(*rows, strict=True), strict=True)
                    arrays = [
                        pa.array(self._values(column, values, start), column.kind.arrow)
                        for column, values in cells
                    ]
                    yield pa.record_batch(arrays, schema=schema)
                    start += len(rows)

    def stage(
        self,
        listing: Listing,
        columns: Columns,
        directory: Path,
        proceed: Callable[[], None] = lambda: None,
    ) -> Listing:
        """The table as one Parquet file.

        The number of rows is that of the file: some may have come since they were counted.

        Args:
            listing: Of this source.
            columns: Of the table.
            directory: An existing folder for the file.
            proceed: Called between batches; what it raises ends the work.

        Raises:
            DataError: A row is not as declared; the message names it.
        """
        pq = require("pyarrow.parquet", extra="dataset")
        staged = super().stage(listing, columns, directory, proceed)
        (file,) = staged.files
        num_rows = pq.read_metadata(file.uri).num_rows
        return replace(staged, files=[replace(file, modified=f"{num_rows} rows")])

    def _values(self, column: Column[Any], values: Sequence[Any], start: int) -> list[Any]:
        read = _reader(column.kind)
        made = []
        for row, value in enumerate(values, start):
            try:
                made.append(None if value is None else read(value, column.kind))
            except (TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"Column {column.name!r} of {self.table!r} is {value!r} in row {row} as read; "
                    f"the table declares {column.kind}{f' ({error})' if str(error) else ''}."
                ) from error
        return made

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        sqlalchemy = require("sqlalchemy", extra="database")
        scheme, _, rest = self._expanded().partition("://")
        if _DRIVERS.get(scheme) is not None:
            require("psycopg", extra="database")
        try:
            engine = sqlalchemy.create_engine(
                f"{_DRIVERS.get(scheme, scheme)}://{rest}", poolclass=sqlalchemy.pool.NullPool
            )
        except (sqlalchemy.exc.ArgumentError, ValueError, ImportError) as error:
            raise ConfigError(f"Database URL {self.url!r} is not understood: {error}.") from error
        try:
            with engine.connect() as connection:
                yield connection
        except sqlalchemy.exc.SQLAlchemyError as error:
            # its own text would hold the URL with the password, that of the driver does not
            reason = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
            raise DataError(f"Database {self.url!r} cannot be read: {reason}.") from error

    def _expanded(self) -> str:
        """The URL with the values of variables, as URLs have them: they may hold @, & and %."""
        where = f"Database {self.url!r}"
        address, mark, query = self.url.partition("?")
        password = urlsplit(self.url).password
        if password:
            quoted = quote(expand(password, where), safe="")
            address = address.replace(f":{password}@", f":{quoted}@", 1)
        if "$" in query:
            given = parse_qsl(query, keep_blank_values=True)
            query = urlencode([(name, expand(value, where)) for name, value in given])
        return expand(address, where) + mark + query

    def _reflected(self, connection: Any, columns: Columns) -> Any:
        """The table as the database describes it."""
        sqlalchemy = require("sqlalchemy", extra="database")
        schema, _, name = self.table.rpartition(".")
        try:
            table = sqlalchemy.Table(
                name, sqlalchemy.MetaData(), schema=schema or None, autoload_with=connection
            )
        except sqlalchemy.exc.NoSuchTableError as error:
            looked = sqlalchemy.inspect(connection)
            there = [
                *looked.get_table_names(schema or None),
                *looked.get_view_names(schema or None),
            ]
            close = difflib.get_close_matches(name, there, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise NotFound(
                f"Database {self.url!r} has no table {self.table!r}.{hint} Its tables are: "
                f"{', '.join(sorted(there)) or 'none'}."
            ) from error
        names = list(table.c.keys())
        for column in columns:
            if column not in names:
                close = difflib.get_close_matches(column, names, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise DataError(
                    f"Table {self.table!r} of {self.url!r} has no column {column!r}.{hint} Its "
                    f"columns are: {', '.join(names)}."
                )
        return table


def _int(value: Any, kind: Kind) -> int:
    if isinstance(value, decimal.Decimal) and value == value.to_integral_value():
        value = int(value)
    limit = 2 ** (kind.num_bits - 1)
    if isinstance(value, bool) or not isinstance(value, int) or not -limit <= value < limit:
        raise TypeError
    return value


def _float(value: Any, kind: Kind) -> float:  # noqa: ARG001 - all readers take the kind
    if isinstance(value, bool) or not isinstance(value, int | float | decimal.Decimal):
        raise TypeError
    return float(value)


def _bool(value: Any, kind: Kind) -> bool:  # noqa: ARG001
    if not isinstance(value, bool):
        raise TypeError
    return value


def _string(value: Any, kind: Kind) -> str:  # noqa: ARG001
    if not isinstance(value, str | uuid.UUID):
        raise TypeError
    return str(value)


def _bytes(value: Any, kind: Kind) -> bytes:  # noqa: ARG001
    if not isinstance(value, bytes | memoryview):
        raise TypeError
    return bytes(value)


def _date(value: Any, kind: Kind) -> dt.date:  # noqa: ARG001
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise TypeError
    return value


def _time(value: Any, kind: Kind) -> dt.datetime:
    if not isinstance(value, dt.datetime):
        raise TypeError
    if (value.tzinfo is None) != (kind.name == "time"):
        raise TypeError("it has no zone" if value.tzinfo is None else "it has a zone")
    return value


def _list(value: Any, kind: Kind) -> list[Any]:
    if not isinstance(value, list) or kind.item is None:
        raise TypeError
    item, read = kind.item, _reader(kind.item)
    return [None if part is None else read(part, item) for part in value]


def _reader(kind: Kind) -> Callable[[Any, Kind], Any]:
    if kind.is_number:
        return _int if kind.is_int else _float
    return _READERS[kind.name]


_READERS: dict[str, Callable[[Any, Kind], Any]] = {
    "bool": _bool,
    "string": _string,
    "bytes": _bytes,
    "date": _date,
    "time": _time,
    "utc": _time,
    "list": _list,
}
