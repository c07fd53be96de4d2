"""The index in PostgreSQL, for many machines; needs the extra `database`."""

import json
import os
import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.task.store.row import (
    COLUMNS,
    Columns,
    Entry,
    Execution,
    Lazy,
    RunRow,
    columns_of,
    compact,
    entry_of,
    environment_of,
    parts_of,
)

T = TypeVar("T")

VERSION = 1
_PAGE = 1000
"""Rows that are read at once."""

_ATTEMPTS = 5
"""Of a transaction that the server gave up for the sake of another one."""

_GIVEN_UP = ("40001", "40P01")  # serialization failure, deadlock

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tadka_version(version INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS tadka_entry(
    key TEXT PRIMARY KEY, task TEXT NOT NULL, task_id TEXT NOT NULL, run TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL, body TEXT NOT NULL, parts TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tadka_entry_of_id ON tadka_entry(task_id, created_at);
CREATE INDEX IF NOT EXISTS tadka_entry_of_time ON tadka_entry(created_at);
CREATE TABLE IF NOT EXISTS tadka_detail(digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tadka_run(
    id TEXT PRIMARY KEY, started_at DOUBLE PRECISION NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tadka_run_of_time ON tadka_run(started_at);
CREATE TABLE IF NOT EXISTS tadka_execution(
    number BIGSERIAL PRIMARY KEY, run TEXT NOT NULL, task_id TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tadka_execution_of_run ON tadka_execution(run);
CREATE TABLE IF NOT EXISTS tadka_environment(id TEXT PRIMARY KEY, body TEXT NOT NULL)
"""
_COLUMNS = ", ".join(COLUMNS[:-1])
# The words in these are our own; values are bound.
_FIND = f"SELECT {_COLUMNS} FROM tadka_entry "  # noqa: S608
_ADD = (
    f"INSERT INTO tadka_entry({', '.join(COLUMNS)}) VALUES({', '.join(':' + c for c in COLUMNS)}) "
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{c}=excluded.{c}' for c in COLUMNS[1:])}"
)
_UNLESS_NEWER = " WHERE tadka_entry.run=excluded.run OR tadka_entry.created_at<:since"
_PUT_RUN = (
    "INSERT INTO tadka_run VALUES(:id, :started_at, :body) "
    "ON CONFLICT (id) DO UPDATE SET started_at=excluded.started_at, body=excluded.body"
)


class SqlIndex:
    """Rows in tables of a PostgreSQL database whose names begin with `tadka_`.

    Args:
        url: As SQLAlchemy takes it: `"postgresql://user:$PASSWORD@host/name"`. `$NAME` is an
            environment variable.

    Raises:
        ConfigError: The URL is not understood, or an environment variable is not set.
        MissingExtra: SQLAlchemy or psycopg is not installed.
        DataError: The database does not answer, or its tables are of another version.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._sqlalchemy = require("sqlalchemy", extra="database")
        require("psycopg", extra="database")
        self._target = self._parsed(url)
        self._engine: Any = None
        self._process = 0
        try:
            self._transaction(self._prepare)
        except BaseException:  # KeyboardInterrupt, too: no connection stays; it is raised on
            self.close()
            raise

    def __repr__(self) -> str:
        return f"SqlIndex({self._target.render_as_string(hide_password=True)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return SqlIndex, (self.url,)

    def close(self) -> None:
        """Closes all connections; the next use opens one again."""
        if self._engine is not None and self._process == os.getpid():
            self._engine.dispose()
        self._engine = None

    # ------------------------------------------------------------ entries

    def find(self, key: str) -> Entry | None:
        """The entry of a key; None where there is none.

        Args:
            key: Of the result.
        """
        rows = self._rows(_FIND + "WHERE key=:key", key=key)
        return self._entry(rows[0]) if rows else None

    def reading(self) -> AbstractContextManager[None]:
        """A block of many `find`s; each sees the rows of its moment."""
        return nullcontext()

    def newest(self, task_id: str) -> Entry | None:
        """The entry of a task that was made last; None where there is none.

        Args:
            task_id: What the task is.
        """
        query = _FIND + "WHERE task_id=:id ORDER BY created_at DESC LIMIT 1"
        rows = self._rows(query, id=task_id)
        return self._entry(rows[0]) if rows else None

    def entries(
        self, *, task: str | None = None, since: float | None = None, limit: int | None = None
    ) -> Iterator[Entry]:
        """Entries, the one that was made last first.

        Args:
            task: Of this class only: its path, or the end of it after a dot.
            since: Not made before; seconds since 1970.
            limit: At most so many.
        """
        where = ["TRUE"]
        if task is not None:
            where.append("(task=:task OR right(task, length(:task)+1)='.'||:task)")
        if since is not None:
            where.append("created_at>=:since")
        left, last = limit, ("", "")
        while left is None or left > 0:
            size = _PAGE if left is None else min(left, _PAGE)
            after = " AND (created_at,key)<(:at,:key)" if last[1] else ""
            rows = self._rows(
                f"{_FIND} WHERE {' AND '.join(where)}{after} "
                "ORDER BY created_at DESC,key DESC LIMIT :size",
                **({"task": task} if task is not None else {}),
                **({"since": since} if since is not None else {}),
                **({"at": last[0], "key": last[1]} if last[1] else {}),
                size=size,
            )
            yield from map(self._entry, rows)
            if len(rows) < size:
                return
            last = (rows[-1][4], rows[-1][0])
            left = None if left is None else left - size

    def search(self, prefix: str, *, limit: int | None = None) -> list[Entry]:
        """Entries whose key or whose task's id begins so, the one that was made last first.

        Args:
            prefix: Hexadecimal digits.
            limit: At most so many.
        """
        query = (
            f"{_FIND} WHERE starts_with(key, :prefix) OR starts_with(task_id, :prefix) "
            "ORDER BY created_at DESC,key DESC LIMIT :limit"
        )
        return [self._entry(row) for row in self._rows(query, prefix=prefix, limit=limit)]

    def contents(self) -> set[str]:
        """Content hashes of all outputs that an entry names."""
        rows = self._rows("SELECT body FROM tadka_entry")
        return {output["content"] for (text,) in rows for output in json.loads(text)["outputs"]}

    def add(
        self,
        entries: Sequence[Entry],
        executions: Sequence[Execution] = (),
        *,
        since: Mapping[str, float] | None = None,
    ) -> set[str]:
        """Adds all rows, or none; they are durable afterwards as far as the server is.

        Args:
            entries: A key that is there already gets the new entry.
            executions: What was done.
            since: An entry that another run put there at or after the time of its key stays; None
                for none.

        Returns:
            The keys whose entries are now as given.

        Raises:
            DataError: They cannot be written.
        """
        details: dict[str, str] = {}
        known: dict[int, str] = {}
        # in one order everywhere, so that two who add the same keys do not wait for each other
        ordered = sorted(entries, key=lambda entry: entry.key)
        rows = [
            dict(zip(COLUMNS, columns_of(entry, details, known), strict=True)) for entry in ordered
        ]
        if since is not None:
            for row in rows:
                row["since"] = since[row["key"]]
        texts = [{"digest": digest, "text": text} for digest, text in sorted(details.items())]
        done = [
            {"run": row.run, "task_id": row.task_id, "body": compact(row.to_json())}
            for row in executions
        ]
        text = self._sqlalchemy.text

        def write(connection: Any) -> set[str]:
            if texts:
                query = "INSERT INTO tadka_detail VALUES(:digest, :text) ON CONFLICT DO NOTHING"
                connection.execute(text(query), texts)
            if rows:
                connection.execute(text(_ADD + ("" if since is None else _UNLESS_NEWER)), rows)
            if done:
                query = (
                    "INSERT INTO tadka_execution(run, task_id, body) VALUES(:run, :task_id, :body)"
                )
                connection.execute(text(query), done)
            if since is None:
                return {entry.key for entry in entries}
            query = "SELECT key, run FROM tadka_entry WHERE key=ANY(:keys)"
            found = connection.execute(text(query), {"keys": [row["key"] for row in rows]}).all()
            runs = dict(found)
            return {entry.key for entry in entries if runs.get(entry.key) == entry.run}

        return self._transaction(write)

    def remove(self, keys: Collection[str]) -> None:
        """Removes entries; what is not there is passed over.

        Args:
            keys: Of the entries.
        """
        self._rows("DELETE FROM tadka_entry WHERE key=ANY(:keys)", keys=sorted(keys))

    # ------------------------------------------------------------ runs

    def begin_run(self, run: RunRow) -> None:
        """Adds a run.

        Args:
            run: That begins.
        """
        self._rows(_PUT_RUN, id=run.id, started_at=run.started_at, body=compact(run.to_json()))

    def end_run(
        self, run: str, status: str, ended_at: float, details: Mapping[str, Any] | None = None
    ) -> None:
        """Says how a run ended.

        Args:
            run: Its id.
            status: As in `RunRow`.
            ended_at: Seconds since 1970.
            details: Counts and what else is to be said.

        Raises:
            NotFound: There is no such run.
        """
        self.begin_run(self.run(run).ended(status, ended_at, details))

    def run(self, run: str) -> RunRow:
        """A run.

        Args:
            run: Its id.

        Raises:
            NotFound: There is no such run.
        """
        rows = self._rows("SELECT body FROM tadka_run WHERE id=:id", id=run)
        if not rows:
            raise NotFound(f"{self!r} has no run {run!r}. See: tadka task runs.")
        return RunRow.from_json(json.loads(rows[0][0]))

    def runs(self, *, limit: int | None = None) -> list[RunRow]:
        """Runs, the one that began last first.

        Args:
            limit: At most so many.
        """
        query = "SELECT body FROM tadka_run ORDER BY started_at DESC, id DESC LIMIT :limit"
        return [RunRow.from_json(json.loads(text)) for (text,) in self._rows(query, limit=limit)]

    def executions(self, run: str) -> list[Execution]:
        """What a run did, in the order in which it was written down.

        Args:
            run: Its id.
        """
        query = "SELECT body FROM tadka_execution WHERE run=:run ORDER BY number"
        return [Execution.from_json(json.loads(text)) for (text,) in self._rows(query, run=run)]

    def add_environment(self, environment: Mapping[str, Any]) -> str:
        """Keeps an environment; equal ones are one.

        Args:
            environment: Versions of libraries, host and what else is to be said, as JSON.

        Returns:
            Its id.
        """
        id_, body = environment_of(environment)
        query = "INSERT INTO tadka_environment VALUES(:id, :body) ON CONFLICT DO NOTHING"
        self._rows(query, id=id_, body=body)
        return id_

    def environment(self, id_: str) -> dict[str, Any]:
        """An environment.

        Args:
            id_: Of `add_environment`.

        Raises:
            NotFound: There is no such environment.
        """
        rows = self._rows("SELECT body FROM tadka_environment WHERE id=:id", id=id_)
        if not rows:
            raise NotFound(f"{self!r} has no environment {id_!r}.")
        found: dict[str, Any] = json.loads(rows[0][0])
        return found

    # ------------------------------------------------------------ the database

    def _entry(self, row: Columns) -> Entry:
        return entry_of(row, Lazy(lambda: self._parts(row[0])))

    def _parts(self, key: str) -> dict[str, Any]:
        def detail(digest: str) -> str:
            query = "SELECT text FROM tadka_detail WHERE digest=:digest"
            return str(self._rows(query, digest=digest)[0][0])

        rows = self._rows("SELECT parts FROM tadka_entry WHERE key=:key", key=key)
        if not rows:
            raise NotFound(f"Entry {key!r} was removed from {self!r}.")
        return parts_of(rows[0][0], detail)

    def _rows(self, query: str, **values: Any) -> list[Any]:
        def read(connection: Any) -> list[Any]:
            result = connection.execute(self._sqlalchemy.text(query), values)
            return list(result.all()) if result.returns_rows else []

        return self._transaction(read)

    def _transaction(self, act: Callable[[Any], T]) -> T:
        """What `act` gives in a transaction, tried again where the server gave it up."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._errors(), self._connected().begin() as connection:
                    return act(connection)
            except DataError as error:
                state = getattr(getattr(error.__cause__, "orig", None), "sqlstate", None)
                if state not in _GIVEN_UP or attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _connected(self) -> Any:
        if self._engine is None or self._process != os.getpid():
            if self._engine is not None:
                self._engine.dispose(close=False)  # the parent's, which goes on using them
            self._engine = self._sqlalchemy.create_engine(self._target, pool_pre_ping=True)
            self._process = os.getpid()
        return self._engine

    def _prepare(self, connection: Any) -> None:
        text = self._sqlalchemy.text
        # CREATE TABLE IF NOT EXISTS fails where two do it at once
        connection.execute(text("SELECT pg_advisory_xact_lock(1952738145)"))
        for statement in _SCHEMA.split(";"):
            connection.execute(text(statement))
        found = connection.execute(text("SELECT version FROM tadka_version")).scalar()
        if found is None:
            connection.execute(
                text("INSERT INTO tadka_version VALUES(:version)"), {"version": VERSION}
            )
        elif found != VERSION:
            cure = (
                "Update tadka."
                if found > VERSION
                else "Use another database, or drop the tables whose names begin with 'tadka_': "
                "the next run makes new ones, and runs again what they do not know."
            )
            raise DataError(f"{self!r} has version {found}; this tadka reads {VERSION}. {cure}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._sqlalchemy.exc.SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise DataError(
                f"{self!r} cannot be used: {reason}. Check that the server runs and that the user "
                "may read and write there."
            ) from error

    def _parsed(self, text: str) -> Any:
        try:
            url = self._sqlalchemy.make_url(text)
        except (self._sqlalchemy.exc.ArgumentError, ValueError) as error:
            raise ConfigError(
                f"Index URL is not understood ({type(error).__name__}); it is such as "
                "'postgresql://user:$PASSWORD@host/name'."
            ) from error
        url = url.set(drivername="postgresql+psycopg")
        for part in ("username", "password"):
            value = getattr(url, part)
            if value is None or "$" not in str(value):
                continue
            try:
                url = url.set(**{part: string.Template(str(value)).substitute(os.environ)})
            except KeyError as error:
                raise ConfigError(
                    f"Index URL names the environment variable {error.args[0]!r}, which is not "
                    "set. Set it, and start again."
                ) from error
            except ValueError:
                pass  # a "$" that begins no name stands for itself
        return url
