"""What an index holds: entries, executions and runs."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class Output:
    """One stored output of a task.

    Args:
        name: Of the output; "" where the task has only one.
        content: SHA-256 of its bytes, 64 hex digits; of a folder, of the list of its files.
        suffix: Of its file, such as ".parquet".
        num_bytes: Its size; of a folder, the sizes of its files together.
        description: Rows, columns and statistics, as JSON.
        is_folder: Whether it is a folder of files.
        mtime_ns: When the file was written; another time later is a reason to look at the bytes.
        aside: Where it waits for its group to be committed; no part of what is stored.
        data: The bytes, where they are few and no file has them yet; no part of it either.
    """

    name: str
    content: str
    suffix: str
    num_bytes: int
    description: Mapping[str, Any] = field(default_factory=dict)
    is_folder: bool = False
    mtime_ns: int = 0
    aside: str | None = field(default=None, compare=False, repr=False)
    data: bytes | None = field(default=None, compare=False, repr=False)

    def named(self, name: str, description: Mapping[str, Any] | None = None) -> "Output":
        """The same bytes under a name.

        Args:
            name: Of the output.
            description: Of its value; as it was where it is None.
        """
        kept = self.description if description is None else description
        return Output(
            *(name, self.content, self.suffix, self.num_bytes, kept),
            *(self.is_folder, self.mtime_ns, self.aside, self.data),
        )

    def written(self, aside: str | None = None) -> "Output":
        """The same, when a file has its bytes.

        Args:
            aside: The file; None where it has its name already.
        """
        return Output(
            *(self.name, self.content, self.suffix, self.num_bytes, self.description),
            *(self.is_folder, self.mtime_ns, aside),
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes the same output of."""
        found: dict[str, Any] = {
            "name": self.name,
            "content": self.content,
            "suffix": self.suffix,
            "num_bytes": self.num_bytes,
            "mtime_ns": self.mtime_ns,
        }
        if self.description:
            found["description"] = self.description
        if self.is_folder:
            found["is_folder"] = True
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Output":
        """An output of what `to_json` gave; names that a newer tadka added are passed over."""
        return cls(**{name: found[name] for name in _OUTPUT if name in found})


_OUTPUT = ("name", "content", "suffix", "num_bytes", "description", "is_folder", "mtime_ns")


@dataclass(frozen=True)
class Entry:
    """A result: what it was made from, and where its bytes are.

    Args:
        key: Of everything that it was made from.
        task: Path of the class: `"shop.features.Features"`.
        task_id: What the task is: class and significant fields.
        parts: What the key was made of, by name; `why` compares them.
        fields: Of the task, as JSON.
        outputs: Its bytes.
        run: Id of the run that made it.
        created_at: Seconds since 1970.
        seconds: That its `run` took.
        peak_bytes: Of memory; None where it was not measured.
        seed: That its random numbers began from; None without one.
        environment: Id of the environment that it was made in.
        approved_from: Key of the entry whose bytes were approved for this one.
    """

    key: str
    task: str
    task_id: str
    parts: Mapping[str, Any]
    fields: Mapping[str, Any]
    outputs: tuple[Output, ...]
    run: str
    created_at: float
    seconds: float
    peak_bytes: int | None = None
    seed: int | None = None
    environment: str = ""
    approved_from: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes the same entry of."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found["parts"], found["fields"] = dict(self.parts), dict(self.fields)
        found["outputs"] = [output.to_json() for output in self.outputs]
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Entry":
        """An entry of what `to_json` gave; names that a newer tadka added are passed over."""
        known = {name: found[name] for name in cls.__dataclass_fields__ if name in found}
        known["outputs"] = tuple(Output.from_json(output) for output in found["outputs"])
        return cls(**known)


@dataclass(frozen=True)
class Execution:
    """What a run did with one task, once.

    Args:
        run: Id of the run.
        task: Path of the class.
        task_id: What the task is.
        status: "ran", "failed", "retried" or "skipped"; hits are only counted.
        started_at: Seconds since 1970.
        seconds: That it took.
        key: Of the result; None where it was not known yet.
        attempt: 1 for the first.
        peak_bytes: Of memory; None where it was not measured.
        error: Why it failed.
        log: Path of what it printed, below the workspace.
        metrics: What the task logged.
        details: What else is to be said, as JSON: `plots` for the card, `warnings`, the `kind` of
            a failure.
    """

    run: str
    task: str
    task_id: str
    status: str
    started_at: float
    seconds: float
    key: str | None = None
    attempt: int = 1
    peak_bytes: int | None = None
    error: str | None = None
    log: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes the same execution of."""
        return {**self.__dict__, "metrics": dict(self.metrics), "details": dict(self.details)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Execution":
        """An execution of what `to_json` gave."""
        return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})


@dataclass(frozen=True)
class RunRow:
    """One `build`.

    Args:
        id: Of the run.
        task: Path of the class that was built.
        task_id: What the task is.
        started_at: Seconds since 1970.
        environment: Id of its environment.
        ended_at: Seconds since 1970; None while it runs, or where it was killed.
        status: "running", "ok", "failed" or "interrupted".
        details: Counts and what else is to be said, as JSON.
    """

    id: str
    task: str
    task_id: str
    started_at: float
    environment: str = ""
    ended_at: float | None = None
    status: str = "running"
    details: Mapping[str, Any] = field(default_factory=dict)

    def ended(self, status: str, ended_at: float, details: Mapping[str, Any] | None) -> "RunRow":
        """The same run at its end.

        Args:
            status: One of those above, but "running".
            ended_at: Seconds since 1970.
            details: What else is to be said, beside what was.
        """
        said = {**self.details, **(details or {})}
        return replace(self, status=status, ended_at=ended_at, details=said)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` makes the same run of."""
        return {**self.__dict__, "details": dict(self.details)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "RunRow":
        """A run of what `to_json` gave."""
        return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})


class Lazy(Mapping[str, Any]):
    """A mapping that is read when somebody looks into it: a hit needs no parts of a key.

    Args:
        read: Gives the mapping; called once.
    """

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self._read = read
        self._found: Mapping[str, Any] | None = None

    def _mapping(self) -> Mapping[str, Any]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def __getitem__(self, name: str) -> Any:
        return self._mapping()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping())

    def __len__(self) -> int:
        return len(self._mapping())

    def __repr__(self) -> str:
        return repr(dict(self._mapping()))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self._mapping()),)


Columns = tuple[Any, ...]
"""Of an entry in a table, in the order of `COLUMNS`, without the last."""

COLUMNS = ("key", "task", "task_id", "run", "created_at", "body", "parts")

_LONG = 200
"""Characters of JSON from which on a part of a key is stored once for all that share it."""


def columns_of(entry: Entry, details: dict[str, str], known: dict[int, str]) -> Columns:
    """An entry as a row of a table.

    Args:
        entry: To store.
        details: Gets long parts of its key by their hash; entries of one class share them.
        known: Hashes by the identity of parts that were met in the same call.

    Returns:
        Values in the order of `COLUMNS`.
    """
    short, long = {}, {}
    for name, value in entry.parts.items():
        digest = known.get(id(value))
        if digest is None:
            is_long = not isinstance(value, str) or len(value) >= _LONG - 2
            text = compact(value) if is_long else ""
            digest = ""
            if len(text) >= _LONG:
                digest = hashlib.sha256(text.encode()).hexdigest()
                details[digest] = text
            known[id(value)] = digest
        if digest:
            long[name] = digest
        else:
            short[name] = value
    body: dict[str, Any] = {
        "seconds": entry.seconds,
        "fields": entry.fields,
        "outputs": [output.to_json() for output in entry.outputs],
    }
    for name in _RARE:
        value = getattr(entry, name)
        if value not in (None, ""):
            body[name] = value
    return (
        *(entry.key, entry.task, entry.task_id, entry.run, entry.created_at),
        *(compact(body), compact([short, long])),
    )


_RARE = ("peak_bytes", "seed", "environment", "approved_from")


def entry_of(row: Columns, parts: Mapping[str, Any]) -> Entry:
    """An entry of a row.

    Args:
        row: Values in the order of `COLUMNS`, without the last.
        parts: Of the key.
    """
    key, task, task_id, run, created_at, text = row
    body = _DECODE(text)[0]
    body["outputs"] = tuple([_filled(Output, _OUTPUT_DEFAULTS, one) for one in body["outputs"]])
    body |= {"key": key, "task": task, "task_id": task_id, "run": run, "created_at": created_at}
    body["parts"] = parts
    return _filled(Entry, _ENTRY_DEFAULTS, body)


def _filled(cls: type[R], defaults: Mapping[str, Any], values: Mapping[str, Any]) -> R:
    """A row with these values. `__init__` of a frozen dataclass takes longer than to find it."""
    made = object.__new__(cls)
    made.__dict__.update(defaults)
    made.__dict__.update(values)
    return made


def _defaults_of(cls: type) -> dict[str, Any]:
    return {f.name: f.default for f in fields(cls) if f.default is not MISSING}


_OUTPUT_DEFAULTS = {**_defaults_of(Output), "description": {}}
_ENTRY_DEFAULTS = _defaults_of(Entry)


def parts_of(text: str, detail: Callable[[str], str]) -> dict[str, Any]:
    """The parts of a key, of what `columns_of` made of them.

    Args:
        text: The last of its columns.
        detail: Gives the text of a long part by its hash.
    """
    short, long = json.loads(text)
    return {**short, **{name: json.loads(detail(digest)) for name, digest in long.items()}}


def environment_of(environment: Mapping[str, Any]) -> tuple[str, str]:
    """Id and JSON of an environment.

    Args:
        environment: As JSON.
    """
    text = json.dumps(environment, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16], text


def compact(value: object) -> str:
    """A value as JSON without spaces.

    Args:
        value: Plain JSON; mappings of any class are taken.
    """
    return _ENCODE(value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"A value of type {type(value).__name__!r} is no plain JSON.")


_DECODE = json.JSONDecoder().raw_decode  # what we wrote has no spaces around it
_ENCODE = json.JSONEncoder(separators=(",", ":"), default=_plain).encode
