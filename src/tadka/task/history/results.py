"""Stored results: listed, found by name, and loaded, by the index and without their classes."""

import datetime as dt
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.task.define.annotation import kind_of
from tadka.task.define.declaration import closest
from tadka.task.define.frozen import Input, path_of
from tadka.task.define.restore import Classes, ids_in
from tadka.task.define.task import Part, Task, type_of_output, whole_of
from tadka.task.history.restore import restored
from tadka.task.look.table import Table, num_rows_of, shown_fields
from tadka.task.look.word import duration, moment, size
from tadka.task.output.codec import codec_of, codec_of_stored
from tadka.task.plan import opened, plan
from tadka.task.store.row import Entry, Output
from tadka.task.store.store import Store

Workspace = str | Path | Store | None
Since = dt.datetime | dt.date | dt.timedelta | str | float

_HEX = re.compile(r"[0-9a-f]{6,64}")
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d|w)")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_MOST_NAMES = 1_000  # results that are looked through for a class of a nearly equal name


@dataclass(frozen=True)
class Row:
    """A stored result, in figures.

    Args:
        entry: It, as the index has it.
    """

    entry: Entry

    @property
    def task(self) -> str:
        """Path of the class."""
        return self.entry.task

    @property
    def key(self) -> str:
        """Of the result."""
        return self.entry.key

    @property
    def fields(self) -> Mapping[str, Any]:
        """Of the task, as plain JSON."""
        return self.entry.fields

    @property
    def num_rows(self) -> int | None:
        """Of its outputs together; None where none has rows."""
        return num_rows_of(output.description for output in self.entry.outputs)

    @property
    def num_bytes(self) -> int:
        """Of its outputs together."""
        return sum(output.num_bytes for output in self.entry.outputs)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        entry = self.entry
        return {
            "task": entry.task,
            "id": entry.task_id,
            "key": entry.key,
            "created_at": entry.created_at,
            "run": entry.run,
            "seconds": entry.seconds,
            "num_rows": self.num_rows,
            "num_bytes": self.num_bytes,
            "peak_bytes": entry.peak_bytes,
            "approved_from": entry.approved_from,
            "fields": dict(entry.fields),
        }

    def cells(self) -> dict[str, str]:
        """As text for people, by column."""
        return {
            "task": self.task.rpartition(".")[2],
            "key": self.key[:12],
            "fields": shown_fields(self.fields),
            "created": moment(self.entry.created_at),
            "seconds": duration(self.entry.seconds),
            "rows": "-" if self.num_rows is None else f"{self.num_rows:,}",
            "size": size(self.num_bytes),
        }


class Rows(Table[Row]):
    """Stored results, the one that was made last first; printed as a table."""


def ls(
    task: type[Task[Any]] | str | None = None,
    *,
    workspace: Workspace = None,
    since: Since | None = None,
    where: Mapping[str, Any] | None = None,
    limit: int | None = None,
) -> Rows:
    """Stored results, by class, time and parameters.

    Args:
        task: A class of tasks, its path, or the end of that: `"Features"`.
        workspace: As in `build`.
        since: Not made before: a time, a day, or an age such as `"7d"` or a timedelta.
        where: Values of fields: `{"lr": 0.1}`; of fields of inputs, too: `{"clicks.day": day}`.
        limit: At most so many.

    Returns:
        The one that was made last first. It prints as a table, and has `to_pandas()`.

    Raises:
        ConfigError: `since` is no time.
        DataError: The index cannot be read.
    """
    wanted = {name: _plain(value) for name, value in (where or {}).items()}
    with opened(workspace) as store:
        if not store.exists:
            return Rows()
        path = path_of(task) if isinstance(task, type) else task
        found = store.index.entries(
            task=None if path is None else path.replace(":", "."),
            since=None if since is None else moment_of(since),
            limit=None if wanted else limit,
        )
        values = _Values(store)
        rows = Rows()
        for entry in found:
            if limit is not None and len(rows) >= limit:
                break
            if all(values.is_equal(entry, name, value) for name, value in wanted.items()):
                rows.append(Row(entry))
        return rows


def get(name: str | Path | type[Task[Any]] | Input[Any], *, workspace: Workspace = None) -> Entry:
    """What is known of a stored result.

    Args:
        name: Beginning of its key, or of its task's id (6 digits at least); class and id as texts
            show them: `"Features#1a2b3c"`; the class, also as text, its path or the end of that,
            for the newest; the path of the file for people; or a task.
        workspace: As in `build`.

    Returns:
        The newest of those that are meant.

    Raises:
        NotFound: There is no such result.
        ConfigError: Results of several keys or tasks are meant.
        DataError: The index cannot be read.
    """
    with opened(workspace) as store:
        return find(name, store)


def load(
    name: str | Path | Entry | type[Task[Any]] | Input[Any],
    *,
    output: str | None = None,
    workspace: Workspace = None,
) -> Any:
    """The value of a stored result, without running anything; its class need not be there.

    Args:
        name: As in `get`, or what `get` gave.
        output: One of several outputs.
        workspace: As in `build`.

    Returns:
        The value; of several outputs a dict of them, unless one is named.

    Raises:
        NotFound: There is no such result, or no such output.
        ConfigError: Results of several keys or tasks are meant, or functions of the class load the
            value, and the class cannot be imported.
        DataError: The bytes are damaged or gone; a pickle needs a class that is gone.
    """
    with opened(workspace) as store:
        entry = name if isinstance(name, Entry) else find(name, store)
        if output is None and isinstance(name, Part):
            output = name.output
        if output is None:
            values = {one.name: _value(entry, one, store) for one in entry.outputs}
            return values[""] if list(values) == [""] else values
        for one in entry.outputs:
            if one.name == output:
                return _value(entry, one, store)
        hint = closest(output, [one.name for one in entry.outputs if one.name], "It has ")
        raise NotFound(f"The result {entry.key[:12]} has no output {output!r}.{hint}")


def restore(name: str | Path | Entry, *, workspace: Workspace = None) -> Task[Any]:
    """The task of a stored result: equal to the one that was built, with the same parameters.

    Args:
        name: As in `get`, or what `get` gave.
        workspace: As in `build`.

    Raises:
        NotFound: There is no such result, or the class or a result that it needs is gone.
        ConfigError: Results of several keys or tasks are meant.
        DataError: The class changed so that the task would be another one.
    """
    with opened(workspace) as store:
        return restored(name if isinstance(name, Entry) else find(name, store), store)


def find(name: str | Path | type[Task[Any]] | Input[Any], store: Store) -> Entry:
    """The newest result of a name, as in `get`.

    Args:
        name: As in `get`.
        store: Where to look.

    Raises:
        NotFound: There is none.
        ConfigError: Several are meant.
    """
    if not store.exists:
        raise NotFound(f"Workspace {store.workspace!r} does not exist, so nothing is stored in it.")
    if isinstance(name, Input):
        return _of_task(name, store)
    text = path_of(name) if isinstance(name, type) else str(name)
    entry = _by_path(text, store) or _by_digits(text, store) or _by_class(text, store)
    if entry is None:
        names = {e.task.rpartition(".")[2] for e in store.index.entries(limit=_MOST_NAMES)}
        hint = closest(text.rpartition(".")[2].partition("#")[0], sorted(names))
        raise NotFound(f"Nothing of {text!r} is stored in {store.workspace!r}.{hint}")
    return entry


def moment_of(since: Since) -> float:
    """A time in seconds since 1970.

    Args:
        since: A time, a day (UTC unless it says), ISO text of one, an age (`"7d"`), or seconds.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(since, str):
        match = _AGE.fullmatch(since.strip())
        if match:
            since = dt.timedelta(seconds=float(match[1]) * _UNITS[match[2]])
        else:
            try:
                since = dt.datetime.fromisoformat(since)
            except ValueError:
                raise ConfigError(
                    f"{since!r} is no time; write it as 2026-01-31, 2026-01-31T12:00, or an age "
                    f"such as 30min, 12h, 7d or 2w."
                ) from None
    if isinstance(since, dt.timedelta):
        return (dt.datetime.now(dt.UTC) - since).timestamp()
    if isinstance(since, dt.date):
        if not isinstance(since, dt.datetime):
            since = dt.datetime(since.year, since.month, since.day, tzinfo=dt.UTC)
        return (since if since.tzinfo else since.replace(tzinfo=dt.UTC)).timestamp()
    if isinstance(since, int | float) and not isinstance(since, bool):
        return float(since)
    raise ConfigError(f"{since!r} is no time; give a datetime, a date, a timedelta or text.")


# ---------------------------------------------------------------- by name


def _of_task(item: Input[Any], store: Store) -> Entry:
    task = whole_of(item)
    newest = store.index.newest(task.id)
    if newest is None:  # perhaps that of a task whose inputs have the same content
        step = plan(task, store=store)[task]
        newest = step.entry if step.status == "stored" else None
    if newest is None:
        raise NotFound(f"Nothing is stored of {task!r}. Build it first.")
    return newest


def _by_path(text: str, store: Store) -> Entry | None:
    """By the link for people, from here or from the workspace."""
    if store.is_remote or not ("/" in text or "." in text):
        return None
    for path in (Path(text), store.folder / text):
        if not path.is_symlink():
            continue
        target = Path(os.path.normpath(path.parent / path.readlink()))
        if store.folder.resolve() / "objects" not in target.resolve().parents:
            continue
        content = target.name.removesuffix(".d")
        for entry in store.index.entries():
            if any(output.content == content for output in entry.outputs):
                return entry
    return None


def _by_digits(text: str, store: Store) -> Entry | None:
    if not _HEX.fullmatch(text):
        return None
    found = store.index.search(text)
    if len({entry.key for entry in found}) > 1 and len({e.task_id for e in found}) > 1:
        raise _several(text, found)
    return found[0] if found else None


def _by_class(text: str, store: Store) -> Entry | None:
    name, _, digits = text.replace(":", ".").partition("#")
    if not digits:
        found = next(store.index.entries(task=name, limit=1), None)
        if found is None:
            return None
        # two classes of one name are no one result
        paths = {e.task for e in store.index.entries(task=name, limit=_MOST_NAMES)}
        if len(paths) > 1 and name not in paths:
            raise ConfigError(
                f"{text!r} is the end of {' and '.join(sorted(paths))}. Write it all."
            )
        return found
    entries = [
        entry
        for entry in store.index.search(digits)
        if f".{entry.task}".endswith(f".{name}") and digits
    ]
    if len({entry.task_id for entry in entries}) > 1:
        raise _several(text, entries)
    return entries[0] if entries else None


def _several(text: str, found: list[Entry]) -> ConfigError:
    shown = ", ".join(f"{e.task.rpartition('.')[2]} {e.key[:12]}" for e in found[:3])
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    return ConfigError(f"{text!r} is the beginning of {shown}{more}. Write more of it.")


# ---------------------------------------------------------------- values


def _value(entry: Entry, output: Output, store: Store) -> Any:
    declared = entry.parts.get("outs", {}).get(output.name, {})
    try:
        codec = codec_of_stored(declared, output.description)
    except ConfigError:
        cls = _class(entry, output)
        codec = codec_of(cls.outs[output.name], type_of_output(cls, output.name))
    return store.read(output, codec.read)


def _class(entry: Entry, output: Output) -> type[Task[Any]]:
    """The class whose own functions load an output."""
    name = entry.task.rpartition(".")[2]
    try:
        cls = Classes().of(entry.task)
    except (NotFound, DataError) as error:
        raise ConfigError(
            f"Functions of {name} load the result {entry.key[:12]}, and the class cannot be "
            f"imported. {error}"
        ) from error
    if output.name not in cls.outs:
        raise ConfigError(
            f"Functions of {name} load the output {output.name!r} of {entry.key[:12]}, and the "
            "class has no such output any more."
        )
    return cls


class _Values:
    """Fields of results, and of the results that they were made from."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fields: dict[str, Mapping[str, Any]] = {}

    def is_equal(self, entry: Entry, name: str, value: Any) -> bool:
        return any(
            found == value and isinstance(found, bool) == isinstance(value, bool)
            for found in self._of(entry.fields, name)
        )

    def _of(self, fields: Mapping[str, Any], name: str) -> Iterator[Any]:
        first, _, rest = name.partition(".")
        if name in fields:
            yield fields[name]
        if not rest or first not in fields:
            return
        for task_id in ids_in(fields[first]):
            if task_id not in self._fields:
                newest = self._store.index.newest(task_id)
                self._fields[task_id] = {} if newest is None else newest.fields
            yield from self._of(self._fields[task_id], rest)
        if isinstance(fields[first], Mapping):
            yield from self._of(fields[first], rest)


def _plain(value: Any) -> Any:
    """A value as fields have it in JSON."""
    if isinstance(value, Input):
        return value.as_json()
    if isinstance(value, dt.datetime | dt.date | dt.timedelta | Enum | PurePath):
        return kind_of(type(value), "where").to_json(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value
