"""The index of a local workspace: one SQLite file, written ahead (WAL) and synced at each commit.

Parts of a key that many entries share, such as the code of their class, are stored once, in the
table `detail`, by their hash.
"""

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tadka.core.error import DataError, NotFound, TadkaError
from tadka.storage.publish import sync
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

VERSION = 1
_MAGIC = 0x7464_6B61
"""Of SQLite's header: says that the file is ours ("tdka")."""

_PAGE = 1000
"""Rows that are read at once."""

_SCHEMA = """
CREATE TABLE entry(
    key TEXT PRIMARY KEY, task TEXT NOT NULL, task_id TEXT NOT NULL, run TEXT NOT NULL,
    created_at REAL NOT NULL, body TEXT NOT NULL, parts TEXT NOT NULL);
CREATE INDEX entry_of_id ON entry(task_id, created_at);
CREATE INDEX entry_of_time ON entry(created_at);
CREATE TABLE detail(digest TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run(
    id TEXT PRIMARY KEY, started_at REAL NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX run_of_time ON run(started_at);
CREATE TABLE execution(run TEXT NOT NULL, task_id TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX execution_of_run ON execution(run);
CREATE TABLE environment(id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = ", ".join(COLUMNS[:-1])
_FIND = f"SELECT {_COLUMNS} FROM entry WHERE key=?"  # noqa: S608 - our own words


class SqliteIndex:
    """Rows in a file.

    Args:
        path: The file; it is made where there is none, in a folder that exists.
        timeout_s: How long to wait for another process that writes.

    Raises:
        DataError: The file is damaged, no index, of another version, or cannot be written.
    """

    def __init__(self, path: str | Path, *, timeout_s: float = 60.0) -> None:
        self.path = Path(path)
        self._timeout_s = timeout_s
        self._local = threading.local()
        self._all: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._connection()

    def __repr__(self) -> str:
        return f"SqliteIndex({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return SqliteIndex, (self.path,)

    def close(self) -> None:
        """Closes the file for all threads; the next use opens it again."""
        for held in list(self._all):
            held.close()
        self._local = threading.local()

    # ------------------------------------------------------------ entries

    def find(self, key: str) -> Entry | None:
        """The entry of a key; None where there is none.

        Args:
            key: Of the result.
        """
        try:  # without `_errors`, which would take as long as the rest
            row = self._connection().execute(_FIND, (key,)).fetchone()
            return None if row is None else self._entry(row)
        except _ERRORS as error:
            raise self._reason(error) from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A block of many `find`s in this thread, which see the rows of one moment.

        SQLite takes its locks once, which is a third of the time of a `find`.
        """
        connection = self._connection()
        with self._errors():
            connection.execute("BEGIN")
        try:
            yield
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT")

    def newest(self, task_id: str) -> Entry | None:
        """The entry of a task that was made last; None where there is none.

        Args:
            task_id: What the task is.
        """
        rows = self._select("WHERE task_id=? ORDER BY created_at DESC LIMIT 1", (task_id,))
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
        where, values = ["1"], list[Any]()
        if task is not None:
            where.append("(task=? OR substr(task, -length(?)-1)='.'||?)")
            values += [task, task, task]
        if since is not None:
            where.append("created_at>=?")
            values.append(since)
        left, last = limit, None
        while left is None or left > 0:
            # by pages that begin after the last row: a result that is read slowly must not keep
            # a transaction open, and new rows must not be met twice
            after = "" if last is None else " AND (created_at,key)<(?,?)"
            size = _PAGE if left is None else min(left, _PAGE)
            rows = self._select(
                f"WHERE {' AND '.join(where)}{after} ORDER BY created_at DESC,key DESC LIMIT ?",
                (*values, *(() if last is None else last), size),
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
        end = f"{prefix}g"  # above all hexadecimal digits
        rows = self._select(
            "WHERE (key>=? AND key<?) OR (task_id>=? AND task_id<?) "
            "ORDER BY created_at DESC,key DESC LIMIT ?",
            (prefix, end, prefix, end, -1 if limit is None else limit),
        )
        return list(map(self._entry, rows))

    def contents(self) -> set[str]:
        """Content hashes of all outputs that an entry names."""
        found: set[str] = set()
        with self._errors():
            for (text,) in self._connection().execute("SELECT body FROM entry"):
                found.update(output["content"] for output in json.loads(text)["outputs"])
        return found

    def add(
        self,
        entries: Sequence[Entry],
        executions: Sequence[Execution] = (),
        *,
        since: Mapping[str, float] | None = None,  # noqa: ARG002
    ) -> set[str]:
        """Adds all rows, or none; they are on the disk afterwards.

        Args:
            entries: A key that is there already gets the new entry.
            executions: What was done.
            since: Not looked at: on one machine nobody loses the lock of a key.

        Returns:
            The keys of the entries.

        Raises:
            DataError: They cannot be written.
        """
        details: dict[str, str] = {}
        known: dict[int, str] = {}
        rows = [columns_of(entry, details, known) for entry in entries]
        done = [(row.run, row.task_id, compact(row.to_json())) for row in executions]
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO detail VALUES(?,?)", details.items())
            connection.executemany("INSERT OR REPLACE INTO entry VALUES(?,?,?,?,?,?,?)", rows)
            connection.executemany("INSERT INTO execution VALUES(?,?,?)", done)
        return {entry.key for entry in entries}

    def remove(self, keys: Collection[str]) -> None:
        """Removes entries; what is not there is passed over.

        Args:
            keys: Of the entries.
        """
        with self._transaction() as connection:
            connection.executemany("DELETE FROM entry WHERE key=?", [(key,) for key in keys])

    # ------------------------------------------------------------ runs

    def begin_run(self, run: RunRow) -> None:
        """Adds a run.

        Args:
            run: That begins.
        """
        row = (run.id, run.started_at, compact(run.to_json()))
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO run VALUES(?,?,?)", row)

    def end_run(
        self,
        run: str,
        status: str,
        ended_at: float,
        details: Mapping[str, Any] | None = None,
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
        with self._errors():
            row = self._connection().execute("SELECT body FROM run WHERE id=?", (run,)).fetchone()
        if row is None:
            raise NotFound(f"Index {str(self.path)!r} has no run {run!r}. See: tadka task runs.")
        return RunRow.from_json(json.loads(row[0]))

    def runs(self, *, limit: int | None = None) -> list[RunRow]:
        """Runs, the one that began last first.

        Args:
            limit: At most so many.
        """
        query = "SELECT body FROM run ORDER BY started_at DESC, id DESC LIMIT ?"
        with self._errors():
            rows = self._connection().execute(query, (-1 if limit is None else limit,)).fetchall()
        return [RunRow.from_json(json.loads(text)) for (text,) in rows]

    def executions(self, run: str) -> list[Execution]:
        """What a run did, in the order in which it was written down.

        Args:
            run: Its id.
        """
        query = "SELECT body FROM execution WHERE run=? ORDER BY rowid"
        with self._errors():
            rows = self._connection().execute(query, (run,)).fetchall()
        return [Execution.from_json(json.loads(text)) for (text,) in rows]

    def add_environment(self, environment: Mapping[str, Any]) -> str:
        """Keeps an environment; equal ones are one.

        Args:
            environment: Versions of libraries, host and what else is to be said, as JSON.

        Returns:
            Its id.
        """
        id_, text = environment_of(environment)
        with self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO environment VALUES(?,?)", (id_, text))
        return id_

    def environment(self, id_: str) -> dict[str, Any]:
        """An environment.

        Args:
            id_: Of `add_environment`.

        Raises:
            NotFound: There is no such environment.
        """
        query = "SELECT body FROM environment WHERE id=?"
        with self._errors():
            row = self._connection().execute(query, (id_,)).fetchone()
        if row is None:
            raise NotFound(f"Index {str(self.path)!r} has no environment {id_!r}.")
        found: dict[str, Any] = json.loads(row[0])
        return found

    # ------------------------------------------------------------ the file

    def _select(self, rest: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        query = f"SELECT {_COLUMNS} FROM entry {rest}"  # noqa: S608 - our own words
        with self._errors():
            return self._connection().execute(query, values).fetchall()

    def _entry(self, row: Columns) -> Entry:
        return entry_of(row, Lazy(lambda: self._parts(row[0])))

    def _parts(self, key: str) -> dict[str, Any]:
        def detail(digest: str) -> str:
            query = "SELECT text FROM detail WHERE digest=?"
            return str(connection.execute(query, (digest,)).fetchone()[0])

        with self._errors():
            connection = self._connection()
            row = connection.execute("SELECT parts FROM entry WHERE key=?", (key,)).fetchone()
            if row is None:
                raise NotFound(f"Entry {key!r} was removed from index {str(self.path)!r}.")
            return parts_of(row[0], detail)

    def _connection(self) -> sqlite3.Connection:
        held: _Held | None = getattr(self._local, "held", None)
        if held is None or held.process != os.getpid():  # SQLite's connections do not survive fork
            held = _Held(self._open())
            self._local.held = held
            self._all.add(held)
        return held.connection

    def _open(self) -> sqlite3.Connection:
        with self._errors():
            is_new = not self.path.exists()
            connection = sqlite3.connect(
                self.path, timeout=self._timeout_s, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:  # KeyboardInterrupt, too: the file is closed; it is raised on
                connection.close()
                raise
        if is_new:
            sync(self.path.parent)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._check(connection)  # before anything is written into a file that is not ours
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                # while another process makes the file, SQLite refuses this without waiting
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-32768")  # KiB: a large transaction stays in memory
        connection.execute("PRAGMA journal_size_limit=16777216")
        if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # nobody was faster
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_MAGIC}")
            connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")

    def _check(self, connection: sqlite3.Connection) -> None:
        # tables first: another process may make all of it between two of these looks
        num_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        magic = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if magic == 0 and num_tables == 0:
            return
        if magic != _MAGIC:
            raise DataError(
                f"{str(self.path)!r} is a database of another program, not an index of tadka. "
                "Choose another workspace."
            )
        if version != VERSION:
            cure = (
                "Update tadka."
                if version > VERSION
                else "Move the file away: the next run makes a new one, and runs again what it "
                "does not know."
            )
            raise DataError(
                f"Index {str(self.path)!r} has version {version}; this tadka reads {VERSION}. "
                f"{cure}"
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._errors():
            connection = self._connection()
            if connection.in_transaction:  # of `reading`
                connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:  # KeyboardInterrupt, too: nothing of it stays; it is raised on
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TadkaError:
            raise
        except _ERRORS as error:
            raise self._reason(error) from error

    def _reason(self, error: Exception) -> Exception:
        if isinstance(error, TadkaError):
            return error
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        path = repr(str(self.path))
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            text = (
                f"Index {path} is locked by another process for {self._timeout_s:g} seconds. "
                "Try again when that one is done."
            )
        elif code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
            text = f"Index {path} cannot be written: {error}. Free some space and run again."
        elif code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
            text = (
                f"Index {path} cannot be opened for writing: {error}. Check its permissions, or "
                "choose another workspace."
            )
        else:
            text = (
                f"Index {path} is damaged: {error}. Move it away with its '-wal' and '-shm' files, "
                "and run again: stored results that it named are made anew."
            )
        return DataError(text)


_ERRORS = (sqlite3.Error, ValueError, TypeError, LookupError)
"""Of SQLite, and of rows that do not hold what we wrote."""


class _Held:
    """A connection of one thread in one process."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.process = os.getpid()

    def close(self) -> None:
        if self.process == os.getpid():
            self.connection.close()
        else:  # closing the parent's would drop what SQLite knows of its locks
            _OF_PARENTS.append(self.connection)

    def __del__(self) -> None:
        self.close()


_OF_PARENTS: list[sqlite3.Connection] = []
