"""The index of a workspace in an object store: one JSON a result, made only where there is none.

    entries/KEY.json          the entry of a key
    ids/TASK_ID/TIME-KEY      says which entry of a task is the newest
    runs/RUN.json             a run
    runs/RUN/NUMBER.json      what it did, one file a group
    environments/ID.json      an environment

A row costs two requests, and listing all of them a request each: where many machines work on many
tasks, PostgreSQL is the better index.
"""

import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from tadka.core.error import DataError, NotFound
from tadka.storage.conditional import create_file, names_in, read_file, remove_file, replace_file
from tadka.storage.uri import resolve
from tadka.task.store.row import Entry, Execution, RunRow, compact, environment_of

A = TypeVar("A")
B = TypeVar("B")

_NUM_THREADS = 16
"""Of requests at once."""


class ObjectIndex:
    """Rows as small files of any file system that can create a file only where there is none.

    Args:
        uri: Of a folder, such as `"s3://bucket/workspace/index"`; it need not exist.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._file_system, root = resolve(uri)
        self._root = root.rstrip("/")

    def __repr__(self) -> str:
        return f"ObjectIndex({self.uri!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectIndex, (self.uri,)

    def close(self) -> None:
        """Nothing is open."""

    # ------------------------------------------------------------ entries

    def find(self, key: str) -> Entry | None:
        """The entry of a key; None where there is none.

        Args:
            key: Of the result.
        """
        found = self._json(f"entries/{key}.json")
        return None if found is None else self._entry(key, found)

    def reading(self) -> AbstractContextManager[None]:
        """A block of many `find`s; each sees the rows of its moment."""
        return nullcontext()

    def newest(self, task_id: str) -> Entry | None:
        """The entry of a task that was made last; None where there is none.

        Args:
            task_id: What the task is.
        """
        for name in reversed(self._names(f"ids/{task_id}")):
            entry = self.find(name.partition("-")[2])
            if entry is not None:  # it may have been removed
                return entry
        return None

    def entries(
        self, *, task: str | None = None, since: float | None = None, limit: int | None = None
    ) -> Iterator[Entry]:
        """Entries, the one that was made last first.

        Args:
            task: Of this class only: its path, or the end of it after a dot.
            since: Not made before; seconds since 1970.
            limit: At most so many.
        """
        found = [
            entry
            for entry in self._all()
            if (task is None or entry.task == task or entry.task.endswith(f".{task}"))
            and (since is None or entry.created_at >= since)
        ]
        found.sort(key=lambda entry: (entry.created_at, entry.key), reverse=True)
        yield from found[:limit]

    def search(self, prefix: str, *, limit: int | None = None) -> list[Entry]:
        """Entries whose key or whose task's id begins so, the one that was made last first.

        Args:
            prefix: Hexadecimal digits.
            limit: At most so many.
        """
        names = [name.removesuffix(".json") for name in self._names("entries")]
        keys = {name for name in names if name.startswith(prefix)}
        for id_ in self._names("ids"):
            if id_.startswith(prefix):
                keys.update(name.partition("-")[2] for name in self._names(f"ids/{id_}"))
        found = [entry for entry in self._in_threads(self.find, sorted(keys)) if entry is not None]
        found.sort(key=lambda entry: (entry.created_at, entry.key), reverse=True)
        return found[:limit]

    def contents(self) -> set[str]:
        """Content hashes of all outputs that an entry names."""
        return {output.content for entry in self._all() for output in entry.outputs}

    def add(
        self,
        entries: Sequence[Entry],
        executions: Sequence[Execution] = (),
        *,
        since: Mapping[str, float] | None = None,
    ) -> set[str]:
        """Adds rows, each as a whole: an object store has no transaction over several.

        Args:
            entries: A key that is there already gets the new entry.
            executions: What was done.
            since: An entry that another run put there at or after the time of its key stays; None
                for none.

        Returns:
            The keys whose entries are now as given.

        Raises:
            DataError: A row cannot be written.
        """

        def put(entry: Entry) -> bool:
            path = self._path(f"entries/{entry.key}.json")
            data = compact(entry.to_json()).encode()
            if not create_file(self._file_system, path, data):
                found = self.find(entry.key)
                is_kept = found and since is not None and found.created_at >= since[entry.key]
                if is_kept and found is not None and found.run != entry.run:
                    return False
                replace_file(self._file_system, path, data)
            name = f"ids/{entry.task_id}/{entry.created_at * 1000:015.0f}-{entry.key}"
            replace_file(self._file_system, self._path(name), b"")
            return True

        are_put = self._in_threads(put, entries)
        by_run: dict[str, list[dict[str, Any]]] = {}
        for row in executions:
            by_run.setdefault(row.run, []).append(row.to_json())
        for run, rows in by_run.items():
            name = f"runs/{run}/{time.time_ns():020d}-{secrets.token_hex(4)}.json"
            replace_file(self._file_system, self._path(name), compact(rows).encode())
        return {entry.key for entry, is_put in zip(entries, are_put, strict=True) if is_put}

    def remove(self, keys: Collection[str]) -> None:
        """Removes entries; what is not there is passed over.

        Args:
            keys: Of the entries.
        """

        def drop(key: str) -> None:
            remove_file(self._file_system, self._path(f"entries/{key}.json"))

        self._in_threads(drop, keys)

    # ------------------------------------------------------------ runs

    def begin_run(self, run: RunRow) -> None:
        """Adds a run.

        Args:
            run: That begins.
        """
        path = self._path(f"runs/{run.id}.json")
        replace_file(self._file_system, path, compact(run.to_json()).encode())

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
        found = self._json(f"runs/{run}.json")
        if found is None:
            raise NotFound(f"Index {self.uri!r} has no run {run!r}. See: tadka task runs.")
        return RunRow.from_json(found)

    def runs(self, *, limit: int | None = None) -> list[RunRow]:
        """Runs, the one that began last first.

        Args:
            limit: At most so many.
        """
        names = [name for name in self._names("runs") if name.endswith(".json")]
        found = self._in_threads(lambda name: self._json(f"runs/{name}"), names)
        runs = [RunRow.from_json(run) for run in found if run is not None]
        return sorted(runs, key=lambda run: (run.started_at, run.id), reverse=True)[:limit]

    def executions(self, run: str) -> list[Execution]:
        """What a run did, in the order in which it was written down.

        Args:
            run: Its id.
        """
        names = self._names(f"runs/{run}")
        groups = self._in_threads(lambda name: self._json(f"runs/{run}/{name}"), names)
        return [Execution.from_json(row) for group in groups for row in group or ()]

    def add_environment(self, environment: Mapping[str, Any]) -> str:
        """Keeps an environment; equal ones are one.

        Args:
            environment: Versions of libraries, host and what else is to be said, as JSON.

        Returns:
            Its id.
        """
        id_, text = environment_of(environment)
        path = self._path(f"environments/{id_}.json")
        create_file(self._file_system, path, text.encode())
        return id_

    def environment(self, id_: str) -> dict[str, Any]:
        """An environment.

        Args:
            id_: Of `add_environment`.

        Raises:
            NotFound: There is no such environment.
        """
        found: dict[str, Any] | None = self._json(f"environments/{id_}.json")
        if found is None:
            raise NotFound(f"Index {self.uri!r} has no environment {id_!r}.")
        return found

    # ------------------------------------------------------------ files

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _names(self, folder: str) -> list[str]:
        return names_in(self._file_system, self._path(folder))

    def _json(self, name: str) -> Any:
        data = read_file(self._file_system, self._path(name))
        if data is None:
            return None
        try:
            found = json.loads(data)
        except ValueError as error:
            raise self._damaged(name) from error
        if found is None:
            raise self._damaged(name)
        return found

    def _entry(self, key: str, found: Any) -> Entry:
        try:
            entry = Entry.from_json(found)
        except (TypeError, LookupError, AttributeError) as error:
            raise self._damaged(f"entries/{key}.json") from error
        if entry.key != key:
            raise self._damaged(f"entries/{key}.json")
        return entry

    def _damaged(self, name: str) -> DataError:
        return DataError(
            f"{self.uri}/{name} is damaged. Delete it, and run again: what it named is made anew."
        )

    def _all(self) -> list[Entry]:
        keys = [name.removesuffix(".json") for name in self._names("entries")]
        return [entry for entry in self._in_threads(self.find, keys) if entry is not None]

    @staticmethod
    def _in_threads(act: Callable[[A], B], items: Iterable[A]) -> list[B]:
        """What `act` gives for each, in their order; the first error is raised."""
        given = list(items)
        if len(given) < 2:
            return [act(item) for item in given]
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            return list(pool.map(act, given))
