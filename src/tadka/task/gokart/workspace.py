"""Results of gokart: what lies in one of its workspaces, listed and loaded.

gokart names files by an id that knows neither the code nor the module of a task, so nothing here
can stand for a result of ours: a workspace is read, and never becomes part of a store.
"""

import bz2
import datetime as dt
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from tadka.core.error import ConfigError, DataError, MissingExtra, NotFound
from tadka.core.extra import require
from tadka.storage.uri import is_local, join, reading, resolve
from tadka.task.gokart.format import FORMATS, TAIL, NotPlain, fault_of, read, unpickle_plain

_LOGS = ("task_log", "task_params", "processing_time", "random_seed", "module_versions")
_LOG = re.compile(rf"log/({'|'.join(_LOGS)})/(.+)_([0-9a-f]{{32}})\.(?:pkl|txt)")
_NAMED = re.compile(r"(?:.*/)?([^/]*?)_([0-9a-f]{32})(\.[^./]+?)?(-luigi-tmp-\d+)?")
_TIMES = ("LastModified", "updated", "mtime", "created")  # as file systems name it
_LARGEST_PARAMS = 1 << 24  # bytes of a task's parameters when unpacked
_DEEPEST = 100  # tasks within tasks whose parameters are unpacked


def from_gokart(workspace: str | Path) -> "GokartWorkspace":
    """The results in a workspace of gokart.

    Only names are read; a log or an output is read when it is asked for.

    Args:
        workspace: The folder that was gokart's `workspace_directory`, or its URI.

    Returns:
        A sequence of results, by task and path.

    Raises:
        NotFound: There is no such folder.
        DataError: It cannot be listed.
    """
    return GokartWorkspace(workspace)


@dataclass(frozen=True)
class GokartResult:
    """One output of a task of gokart.

    Args:
        task: The class; with its module where the path tells it.
        id: gokart's unique id; None where its file has none and no log tells it.
        path: Of the file below the workspace; empty where there is no file.
        num_bytes: Its size.
        changed_at: When it was written, in UTC; None where the file system does not know.
        has_ended: Whether the task's log says that it ended well.
    """

    task: str
    id: str | None
    path: str
    num_bytes: int
    changed_at: dt.datetime | None
    has_ended: bool
    _files: "_Files" = field(repr=False, compare=False)
    _half: bool = field(default=False, repr=False)

    @property
    def format(self) -> str:
        """The suffix of the file, without its dot."""
        name = self.path.partition("-luigi-tmp-")[0]
        return posixpath.splitext(name)[1].removeprefix(".").lower()

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The significant parameters as gokart kept them, as text.

        A task among them is a dict of its class under `task` and its own parameters under `params`.
        """
        found = self._log("task_params")
        if not isinstance(found, Mapping):
            return {}
        return {str(name): _unpacked(value, 0) for name, value in found.items()}

    @cached_property
    def log(self) -> Mapping[str, Any]:
        """What the task put into its `task_log`."""
        found = self._log("task_log")
        if not isinstance(found, Mapping):
            return {}
        return {str(k): value for k, value in found.items() if k != "file_path"}

    @cached_property
    def seconds(self) -> float | None:
        """How long the task ran."""
        found = self._log("processing_time")
        return float(found) if isinstance(found, int | float) else None

    @cached_property
    def seed(self) -> int | None:
        """The seed of random numbers."""
        found = self._log("random_seed")
        seed = found.get("seed") if isinstance(found, Mapping) else None
        return seed if isinstance(seed, int) else None

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """Versions of modules; gokart 1.12 writes none, its file has 0 bytes."""
        found = self._log("module_versions")
        pairs = [line.partition("==") for line in str(found or "").splitlines()]
        return {name: version for name, sign, version in pairs if sign}

    @cached_property
    def problem(self) -> str:
        """What is wrong, in words: no file, a damaged one, a damaged log. Empty where nothing is.

        The file's end and the logs are read for it, not the whole file.
        """
        return " ".join(self._problems())

    def load(self, *, is_trusted: bool = False, encoding: str = "utf-8") -> Any:
        """The value, as gokart's own `load` gives it: csv, json, parquet ... as frames of pandas.

        Args:
            is_trusted: Whether to run the code that a pickle names: loading one can do anything
                that its writer wanted. Without it, only pickles of plain values are loaded.
            encoding: Of csv, tsv, txt and ini.

        Raises:
            ConfigError: The pickle needs trust, or the format is none that can be loaded here.
            NotFound: There is no file.
            DataError: It is damaged.
            MissingExtra: The library that reads the format is not installed.
        """
        if not self.path:
            raise NotFound(f"{self._where()} has no file in {self._files.uri!r}: {self.problem}")
        if fault := self._fault():
            raise DataError(f"{self._where()} is damaged: {fault}. Run its task again.")
        _check_format(self._where(), self.format)
        with self._files.open(self.path) as file:
            try:
                return read(file, self.format, is_trusted=is_trusted, encoding=encoding)
            except NotPlain as error:
                raise ConfigError(
                    f"{self._where()} is a pickle that names {error}; loading it runs its code. "
                    "If you trust who wrote it, call load(is_trusted=True)."
                ) from error
            except MissingExtra as error:
                raise MissingExtra(f"{self._where()}: {error}", name=error.name) from error
            except DataError as error:
                raise DataError(f"{self._where()} is damaged, or of another kind: {error}.") from (
                    error.__cause__
                )

    def to_json(self) -> dict[str, Any]:
        """All that is known of it, without its value, as plain JSON."""
        return {
            "task": self.task,
            "id": self.id,
            "params": dict(self.params),
            "path": self.path,
            "format": self.format,
            "num_bytes": self.num_bytes,
            "changed_at": None if self.changed_at is None else self.changed_at.isoformat(),
            "seconds": self.seconds,
            "seed": self.seed,
            "log": {k: _plain(value) for k, value in self.log.items()},
            "versions": dict(self.versions),
            "problem": self.problem,
        }

    def _where(self) -> str:
        return (
            f"Result {self.path or self.task!r} of gokart"
            if self.path
            else (f"Task {self.task!r} of gokart")
        )

    def _log(self, kind: str) -> Any:
        return self._files.log(kind, self.id)[0]

    def _fault(self) -> str:
        if self._half:
            return "luigi was writing it, and did not finish"
        tail = self._files.tail(self.path, self.num_bytes) if self.num_bytes else b""
        return fault_of(self.format, self.num_bytes, tail)

    def _problems(self) -> Iterator[str]:
        if not self.path:
            yield (
                "It ended well, and its output is gone."
                if self.has_ended
                else "It was started and has not ended: it failed, or still runs."
            )
        elif fault := self._fault():
            yield f"The file is damaged: {fault}."
        for kind in _LOGS:
            if fault := self._files.log(kind, self.id)[1]:
                yield f"Its {kind} cannot be read: {fault}."


class GokartWorkspace(Sequence[GokartResult]):
    """The results in a workspace of gokart, by task and path; made by `from_gokart`.

    Args:
        workspace: Its folder or URI.

    Raises:
        NotFound: There is no such folder.
        DataError: It cannot be listed.
    """

    def __init__(self, workspace: str | Path) -> None:
        self.uri = str(workspace)
        self._files = _Files(self.uri)
        self._results = tuple(sorted(_results(self._files), key=lambda r: (r.task, r.path)))

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, index: int) -> GokartResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[GokartResult]: ...
    def __getitem__(self, index: int | slice) -> GokartResult | Sequence[GokartResult]:
        """A result by its number, or several."""
        return self._results[index]

    def find(
        self,
        task: str | None = None,
        *,
        where: Mapping[str, object] | None = None,
        since: dt.datetime | None = None,
    ) -> list[GokartResult]:
        """The results that fit.

        Args:
            task: A class, with or without its module.
            where: Values of parameters; they are compared as text, as gokart keeps them.
            since: Written at this time or later; without a zone it is UTC.

        Returns:
            In the order of the workspace.
        """
        wanted = {name: str(value) for name, value in (where or {}).items()}
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=dt.UTC)
        return [
            result
            for result in self._results
            if (task is None or task in {result.task, result.task.rpartition(".")[2]})
            and (since is None or (result.changed_at is not None and result.changed_at >= since))
            and all(str(result.params.get(name)) == value for name, value in wanted.items())
        ]

    def load(self, what: str, *, is_trusted: bool = False, encoding: str = "utf-8") -> Any:
        """The value of one result.

        Args:
            what: The beginning of its id, its path, or its class where that has one result.
            is_trusted: As in `GokartResult.load`.
            encoding: As in `GokartResult.load`.

        Raises:
            NotFound: Nothing fits.
            ConfigError: Several results fit, or one that cannot be loaded here.
            DataError: It is damaged.
        """
        found = [r for r in self._results if what and what == r.path]
        found = found or [r for r in self._results if what and r.id and r.id.startswith(what)]
        found = found or self.find(what)
        if not found:
            raise NotFound(f"Workspace {self.uri!r} of gokart has no result {what!r}.")
        if len(found) > 1:
            paths = [r.path or r.task for r in found[:5]] + ["..."] * (len(found) > 5)
            raise ConfigError(
                f"Workspace {self.uri!r} of gokart has {len(found)} results {what!r}: "
                f"{', '.join(paths)}. Name one by its path."
            )
        return found[0].load(is_trusted=is_trusted, encoding=encoding)

    @property
    def problems(self) -> list[GokartResult]:
        """The results with which something is wrong; each says it as `problem`."""
        return [result for result in self._results if result.problem]

    def to_json(self) -> list[dict[str, Any]]:
        """All results, as plain JSON."""
        return [result.to_json() for result in self._results]

    def to_pandas(self) -> Any:
        """A frame of pandas with a row for each result."""
        pandas = require("pandas", extra="pandas")
        return pandas.DataFrame(self.to_json(), columns=list(_COLUMNS))

    def __str__(self) -> str:
        rows = [("task", "id", "params", "path", "bytes", "written", "")]
        for result in self._results:
            when = "" if result.changed_at is None else f"{result.changed_at:%Y-%m-%d %H:%M}"
            params = ", ".join(f"{name}={_short(value)}" for name, value in result.params.items())
            id_ = (result.id or "")[:8]
            size = str(result.num_bytes) if result.path else ""
            rows.append((result.task, id_, params, result.path, size, when, result.problem))
        widths = [max(len(row[i]) for row in rows) for i in range(6)]
        return "\n".join(
            "  ".join([*map(str.ljust, row[:6], widths), row[6]]).rstrip() for row in rows
        )

    def __repr__(self) -> str:
        return f"GokartWorkspace({self.uri!r}, {len(self)} results)"


_COLUMNS = (
    "task",
    "id",
    "params",
    "path",
    "format",
    "num_bytes",
    "changed_at",
    "seconds",
    "seed",
    "log",
    "versions",
    "problem",
)


class _Files:
    """The files of a workspace, and its logs, each read at most once."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._file_system, path = resolve(uri)
        self._root = path.rstrip("/")
        self.found: dict[str, Mapping[str, Any]] = {}  # path below the workspace -> info
        self.logs: dict[tuple[str, str], str] = {}  # kind, id -> path
        self.classes: dict[str, str] = {}  # id -> class
        self._read: dict[tuple[str, str], tuple[Any, str]] = {}
        with reading(uri):
            self._file_system.invalidate_cache()
            if not self._file_system.isdir(path):
                raise NotFound(f"Folder {uri!r} does not exist; it should be gokart's workspace.")
            listed = self._file_system.find(path, detail=True)
        for place, info in listed.items():
            below = place[len(self._root) :].lstrip("/")
            if match := _LOG.fullmatch(below):
                self.logs[match[1], match[3]] = below
                self.classes[match[3]] = match[2]
            elif below:
                self.found[below] = info

    def open(self, below: str) -> Any:
        uri = join(self.uri, below)
        with reading(uri):
            return self._file_system.open(f"{self._root}/{below}", "rb")

    def tail(self, below: str, num_bytes: int) -> bytes:
        with reading(join(self.uri, below)):
            path, start = f"{self._root}/{below}", max(0, num_bytes - TAIL)
            return bytes(self._file_system.cat_file(path, start=start, end=num_bytes))

    def log(self, kind: str, id_: str | None) -> tuple[Any, str]:
        """What a log says, and what is wrong with it."""
        below = self.logs.get((kind, id_ or ""))
        if below is None:
            return None, ""
        if (kind, below) not in self._read:
            self._read[kind, below] = self._read_log(below)
        return self._read[kind, below]

    def _read_log(self, below: str) -> tuple[Any, str]:
        try:
            with self.open(below) as file:
                data = file.read()
            if below.endswith(".txt"):
                return data.decode("utf-8", "replace"), ""
            return unpickle_plain(data), ""
        except NotPlain as error:
            return None, f"it names {error}, and code of pickles is not run for a list"
        except (DataError, NotFound) as error:
            return None, str(error).rstrip(".")

    def changed_at(self, below: str) -> dt.datetime | None:
        """When a file was written; stores name it differently."""
        info = self.found[below]
        if is_local(self._file_system):
            return dt.datetime.fromtimestamp(info["mtime"], dt.UTC)
        when = next((info[name] for name in _TIMES if info.get(name)), None)
        if isinstance(when, str):
            try:
                when = dt.datetime.fromisoformat(when)
            except ValueError:
                return None
        if isinstance(when, int | float):
            return dt.datetime.fromtimestamp(when, dt.UTC)
        if isinstance(when, dt.datetime):
            return when.astimezone(dt.UTC) if when.tzinfo else when.replace(tzinfo=dt.UTC)
        return None


def _results(files: _Files) -> Iterator[GokartResult]:
    """Files whose names bear an id; those that a log names; and tasks without a file."""
    with_id: set[str] = set()
    others: set[str] = set()
    for path in files.found:
        match = _NAMED.fullmatch(path)
        if match is None:
            others.add(path)
            continue
        stem, id_, _, half = match.groups()
        with_id.add(id_)
        known = files.classes.get(id_)
        yield _result(files, _class_of(path, stem, known), id_, path, is_half=bool(half))
    for id_, name in files.classes.items():
        if id_ in with_id and not others:
            continue
        named = _paths_in(files, id_) & others
        for path in sorted(named):
            yield _result(files, name, id_, path)
        if id_ not in with_id and not named:
            yield GokartResult(name, id_, "", 0, None, ("task_log", id_) in files.logs, files)


def _result(
    files: _Files, task: str, id_: str, path: str, *, is_half: bool = False
) -> GokartResult:
    size = int(files.found[path].get("size") or 0)
    has_ended = ("task_log", id_) in files.logs
    return GokartResult(task, id_, path, size, files.changed_at(path), has_ended, files, is_half)


def _class_of(path: str, stem: str, known: str | None) -> str:
    """The class of an output; by default gokart keeps it in folders named as its module."""
    folders = path.split("/")[:-1]
    is_default = path.endswith((".pkl", ".zip")) and known in {None, stem}
    if is_default and folders and all(name.isidentifier() for name in (*folders, stem)):
        return ".".join([*folders, stem]) if known or stem[:1].isupper() else stem
    return known or stem


def _paths_in(files: _Files, id_: str) -> set[str]:
    """The outputs that a task's log names, as paths below the workspace as it lies now."""
    log, _ = files.log("task_log", id_)
    named = log.get("file_path", ()) if isinstance(log, Mapping) else ()
    found = set()
    for path in named if isinstance(named, list | tuple) else ():
        parts = str(path).split("/")
        for start in range(len(parts)):  # the workspace may have been moved
            below = "/".join(parts[start:])
            if below in files.found:
                found.add(below)
                break
    return found


def _check_format(where: str, format_: str) -> None:
    if format_ == "zip":
        raise ConfigError(
            f"{where} is a zip of a model, or of a large frame, which only the functions it was "
            "saved with can read. Unpack it: load_function.pkl in it is the function, and "
            "data_0.pkl, data_1.pkl ... are the parts of a frame (pandas.read_pickle). Both run "
            "code."
        )
    if format_ not in FORMATS:
        raise ConfigError(
            f"{where} has the suffix {format_!r}, which gokart reads with a processor of yours; "
            f"read it with that. Formats of gokart: {', '.join(FORMATS)}."
        )


def _unpacked(value: Any, depth: int) -> Any:
    """A parameter as it is, or the task that gokart packed into its text."""
    if not isinstance(value, str) or depth >= _DEEPEST or value[:1] not in {"{", "["}:
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if isinstance(found, list) and found and all(isinstance(item, str) for item in found):
        tasks = [_unpacked(item, depth) for item in found]
        return tasks if all(isinstance(task, dict) for task in tasks) else value
    if not isinstance(found, dict) or set(found) != {"type", "params"}:
        return value
    try:
        unpacker = bz2.BZ2Decompressor()
        text = unpacker.decompress(bytes.fromhex(found["params"]), _LARGEST_PARAMS)
        params = json.loads(text) if unpacker.eof else None
    except (ValueError, OSError, TypeError, RecursionError):
        return value
    if not isinstance(params, dict):
        return value
    unpacked = {name: _unpacked(one, depth + 1) for name, one in params.items()}
    return {"task": found["type"], "params": unpacked}


def _short(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"task", "params"}:
        inner = ", ".join(f"{k}={_short(v)}" for k, v in value["params"].items())
        value = f"{value['task']}({inner})"
    if isinstance(value, list):
        value = f"[{', '.join(_short(item) for item in value)}]"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: Any) -> Any:
    """A value of a log in JSON: numbers of numpy as numbers, what JSON does not know as text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
