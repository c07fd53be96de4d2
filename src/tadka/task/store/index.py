"""The index: which results there are, what they were made from, and what runs did.

A row is written after its bytes are safe, so what the index names is there, unless somebody deleted
or damaged it. Three kinds of index say the same: a SQLite file for a local workspace, PostgreSQL
for many machines, and JSON objects beside the results in an object store.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import urlsplit

from tadka.core.error import ConfigError
from tadka.task.store.index_object import ObjectIndex
from tadka.task.store.index_sql import SqlIndex
from tadka.task.store.index_sqlite import SqliteIndex
from tadka.task.store.row import Entry as Entry
from tadka.task.store.row import Execution as Execution
from tadka.task.store.row import Output as Output
from tadka.task.store.row import RunRow as RunRow


class Index(Protocol):
    """Rows of a workspace; each method says the same in every kind of index."""

    def find(self, key: str) -> Entry | None:
        """The entry of a key; None where there is none."""

    def reading(self) -> AbstractContextManager[None]:
        """A block in which this thread may see rows as they were at its beginning: many `find`s."""

    def newest(self, task_id: str) -> Entry | None:
        """The entry of a task that was made last; None where there is none."""

    def entries(
        self, *, task: str | None = None, since: float | None = None, limit: int | None = None
    ) -> Iterator[Entry]:
        """Entries, the one that was made last first."""

    def search(self, prefix: str, *, limit: int | None = None) -> list[Entry]:
        """Entries whose key or whose task's id begins so, the one that was made last first."""

    def contents(self) -> set[str]:
        """Content hashes of all outputs that an entry names."""

    def add(
        self,
        entries: Sequence[Entry],
        executions: Sequence[Execution] = (),
        *,
        since: Mapping[str, float] | None = None,
    ) -> set[str]:
        """Adds rows durably, in one transaction where the index has such.

        An entry that another run put there at or after the time of its key in `since` stays, where
        locks can be lost.

        Returns:
            Keys of the entries that are now as given.
        """

    def remove(self, keys: Collection[str]) -> None:
        """Removes entries; what is not there is passed over."""

    def begin_run(self, run: RunRow) -> None:
        """Adds a run."""

    def end_run(
        self, run: str, status: str, ended_at: float, details: Mapping[str, Any] | None = None
    ) -> None:
        """Says how a run ended."""

    def run(self, run: str) -> RunRow:
        """A run by its id."""

    def runs(self, *, limit: int | None = None) -> list[RunRow]:
        """Runs, the one that began last first."""

    def executions(self, run: str) -> list[Execution]:
        """What a run did."""

    def add_environment(self, environment: Mapping[str, Any]) -> str:
        """Keeps an environment, and gives its id."""

    def environment(self, id_: str) -> dict[str, Any]:
        """An environment by its id."""

    def close(self) -> None:
        """Closes what is open."""


def open_index(url: str) -> Index:
    """An index by its URL.

    Args:
        url: `"sqlite:///relative.db"` or `"sqlite:////absolute.db"` for a file, `"postgresql://..."`
            as SQLAlchemy takes it, in which `$NAME` stands for an environment variable, or the URI
            of a folder in an object store.

    Raises:
        ConfigError: The URL is none of these.
        MissingExtra: The library for it is not installed.
        DataError: It is damaged, of another version, or cannot be opened.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite" and url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return SqliteIndex(url.removeprefix("sqlite:///"))
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        return SqlIndex(url)
    if scheme and scheme != "sqlite":
        return ObjectIndex(url)
    raise ConfigError(
        f"Index {url!r} is not understood; it is 'sqlite:///path.db', "
        "'postgresql://user@host/name', or the URI of a folder in an object store."
    )
