"""What a task declares of its output, and the checks on it."""

import codecs
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, overload

from tadka.core.error import ConfigError, DataError
from tadka.core.resource import parse_bytes
from tadka.task.output.column import Column

Severity = Literal["error", "warn"]
_F = TypeVar("_F", bound=Callable[..., Any])

# format -> suffixes of `path` that mean it; the first is the one that is written
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "feather": (".feather", ".arrow", ".ipc"),
    "csv": (".csv",),
    "tsv": (".tsv",),
    "json": (".json",),
    "jsonl": (".jsonl", ".ndjson"),
    "txt": (".txt", ".text", ".md", ".html", ".sql", ".log", ".ini"),
    "bytes": (".bin",),
    "npy": (".npy",),
    "npz": (".npz",),
    "png": (".png",),
    "jpg": (".jpg", ".jpeg"),
    "xml": (".xml",),
    "pickle": (".pkl", ".pickle"),
    "dir": ("",),
}
_TEXTS = ("csv", "tsv", "json", "jsonl", "txt", "xml")
_COMPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "parquet": ("zstd", "snappy", "gzip", "lz4", "none"),
    "feather": ("lz4", "zstd", "none"),
    **dict.fromkeys((*_TEXTS, "bytes", "pickle"), ("gzip", "none")),
}
_IN_PARTS = ("parquet", "feather")
_WITH_COLUMNS = ("parquet", "feather", "csv", "tsv", "json", "jsonl", "pickle")


@dataclass(frozen=True)
class Out:
    """How a task's result is kept, and what it must be like.

    Args:
        format: One of parquet, feather, csv, tsv, json, jsonl, txt, bytes, npy, npz, png, jpg, xml,
            pickle. None: by the suffix of `path`, else by the type of the result.
        columns: Name -> type of columns that a frame (or a list of dicts) must have; others may
            be there too. A type is of Python (`int`: any width), numpy, pandas, polars or Arrow,
            or its name; `int | None` (for an instance of a type, `(dtype, None)`) allows nulls.
        min_rows: Least number of rows (or items) of a good result.
        encoding: Of text formats.
        path: Name of the file for people, below the workspace; the task's fields in braces.
        save: `save(value, folder)` writes the result as files; `load` reads them.
        load: `load(folder)` gives the result back.
        max_bytes: A frame that is larger in memory is kept as several files (parquet, feather).
            Categories, which each file holds, do not count.
        compression: parquet: zstd (default), snappy, gzip, lz4; feather: lz4 (default), zstd;
            text formats, bytes and pickle: gzip. `"none"` for no compression.

    Raises:
        ConfigError: A value is not accepted, or two of them contradict each other.
    """

    format: str | None = None
    _: KW_ONLY
    columns: Mapping[str, Any] | None = None
    min_rows: int = 0
    encoding: str = "utf-8"
    path: str | None = None
    save: Callable[[Any, Path], object] | None = None
    load: Callable[[Path], Any] | None = None
    max_bytes: int | str | None = None
    compression: str | None = None

    def __post_init__(self) -> None:
        suffix_format = self._of_path()
        if self.save is not None or self.load is not None:
            self._check_folder()
            object.__setattr__(self, "format", "dir")
        elif self.format == "dir":
            raise ConfigError(
                "Out('dir') has no functions; give both: Out(save=save, load=load), with "
                "save(value, folder) and load(folder)."
            )
        elif self.format is None:
            object.__setattr__(self, "format", suffix_format)
        elif self.format not in SUFFIXES:
            raise _unknown("format", self.format, [name for name in SUFFIXES if name != "dir"])
        elif suffix_format not in {None, self.format}:
            raise ConfigError(
                f"Out({self.format!r}) has the path {self.path!r}, whose suffix means "
                f"{suffix_format!r}; change one of them."
            )
        self._check_values()
        if self.format is not None:
            self.check_for(self.format)

    def _of_path(self) -> str | None:
        """The format that the suffix of `path` means, and `compression` where it ends in .gz."""
        if self.path is None:
            return None
        name = self.path.rpartition("/")[2]
        if not name or self.path.startswith("/") or ".." in self.path.split("/"):
            raise ConfigError(
                f"Out has the path {self.path!r}; it must name a file below the workspace, such as "
                "'clicks/{day}.csv'."
            )
        suffixes = Path(re.sub(r"\{[^}]*\}", "_", name)).suffixes
        if suffixes and suffixes[-1].lower() == ".gz" and self.compression in {None, "gzip"}:
            object.__setattr__(self, "compression", "gzip")
            suffixes.pop()
        if not suffixes or self.format is not None or self.save is not None:
            by_suffix = _formats().get(suffixes[-1].lower()) if suffixes else None
            return by_suffix if self.save is None else None
        try:
            return _formats()[suffixes[-1].lower()]
        except KeyError:
            raise ConfigError(
                f"Out has the path {self.path!r}, whose suffix {suffixes[-1]!r} means no format; "
                "name the format: Out('pickle', path=...)."
            ) from None

    def _check_folder(self) -> None:
        if self.format not in {None, "dir"}:
            raise ConfigError(
                f"Out({self.format!r}) has functions `save` and `load`, which decide the format "
                "themselves; leave the format out."
            )
        for name in ("save", "load"):
            if not callable(getattr(self, name)):
                raise ConfigError(
                    f"Out has {name}={getattr(self, name)!r}; a result kept as a folder needs two "
                    "functions: save(value, folder) and load(folder)."
                )

    def _check_values(self) -> None:
        if type(self.min_rows) is not int or self.min_rows < 0:
            raise ConfigError(f"Out has min_rows={self.min_rows!r}; it must be an integer from 0.")
        try:
            codecs.lookup(self.encoding)
        except (LookupError, TypeError):
            raise ConfigError(
                f"Out has encoding={self.encoding!r}, which Python does not know; it must be one "
                "such as 'utf-8' or 'cp932'."
            ) from None
        if self.max_bytes is not None:
            max_bytes = parse_bytes(self.max_bytes)
            if max_bytes < 1:
                raise ConfigError(f"Out has max_bytes={self.max_bytes!r}; it must be at least 1.")
            object.__setattr__(self, "max_bytes", max_bytes)
        if self.columns is not None:
            if not isinstance(self.columns, Mapping) or not self.columns:
                raise ConfigError(
                    f"Out has columns={self.columns!r}; it must be a mapping of names to types, "
                    "such as {'user': int}."
                )
            object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
            _ = self.schema  # refuses what is no type

    def check_for(self, format_: str) -> None:
        """Refuses what this format, known by now, has no use for.

        Args:
            format_: The format that was declared, or follows from the result's type.

        Raises:
            ConfigError: A setting does not go with the format.
        """
        if self.compression is not None and self.compression not in (
            accepted := _COMPRESSIONS.get(format_, ("none",))
        ):
            raise ConfigError(
                f"Out({format_!r}) has compression={self.compression!r}; it must be one of "
                f"{', '.join(map(repr, accepted))}."
            )
        if codecs.lookup(self.encoding).name != "utf-8" and format_ not in _TEXTS:
            raise ConfigError(
                f"Out({format_!r}) has encoding={self.encoding!r}; only text formats have one: "
                f"{', '.join(_TEXTS)}."
            )
        if self.max_bytes is not None and format_ not in _IN_PARTS:
            raise ConfigError(
                f"Out({format_!r}) has max_bytes; only frames as {' or '.join(_IN_PARTS)} are kept "
                "in parts."
            )
        if self.columns is not None and format_ not in _WITH_COLUMNS:
            raise ConfigError(
                f"Out({format_!r}) has columns; only frames and lists of dicts have them: "
                f"{', '.join(_WITH_COLUMNS)}."
            )

    @property
    def schema(self) -> tuple[Column, ...]:
        """The declared columns, their types understood."""
        return tuple(Column.of(name, type_) for name, type_ in (self.columns or {}).items())

    def declaration(self) -> dict[str, Any]:
        """What of it belongs to the key, as plain JSON: all but `path` and the two functions.

        The functions belong to the code of the task; `format` is null where the type decides.
        """
        return {
            "format": self.format,
            "columns": {column.name: column.text for column in self.schema},
            "min_rows": self.min_rows,
            "encoding": codecs.lookup(self.encoding).name,
            "max_bytes": self.max_bytes,
            "compression": self.compression,
        }

    def __hash__(self) -> int:
        return hash((self.format, self.path, self.min_rows, tuple(self.columns or ())))


def _formats() -> Mapping[str, str]:
    return {suffix: name for name, suffixes in SUFFIXES.items() for suffix in suffixes if suffix}


def _unknown(what: str, value: object, known: Sequence[str]) -> ConfigError:
    close = difflib.get_close_matches(str(value), known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return ConfigError(
        f"Out has {what}={value!r}, which is unknown.{hint} It must be one of {', '.join(known)}."
    )


@dataclass(frozen=True)
class Check:
    """One check of a task class: a method marked with `@check`.

    Args:
        name: The method.
        severity: `"error"`: a result that fails is not published. `"warn"`: it is, and reported.
    """

    name: str
    severity: Severity

    def passes(self, task: object, value: Any) -> bool:
        """Whether a result is good.

        Args:
            task: The task whose method is called.
            value: Its result; a dict of them where it has several outputs.

        Returns:
            What the method returned.

        Raises:
            DataError: The method returned something else than True or False.
        """
        verdict = getattr(task, self.name)(value)
        if type(verdict).__name__ not in {"bool", "bool_"} or type(verdict).__module__ not in {
            "builtins",
            "numpy",
        }:
            raise DataError(
                f"Check {type(task).__name__}.{self.name} returned {verdict!r}; it must return "
                "True or False."
            )
        return bool(verdict)


@overload
def check(function: _F) -> _F: ...
@overload
def check(function: None = None, *, severity: Severity = "error") -> Callable[[_F], _F]: ...
def check(
    function: Callable[..., Any] | None = None, *, severity: Severity = "error"
) -> Callable[..., Any]:
    """Marks a method as a check of the task's result: it gets the result and says True or False.

    Args:
        function: The method, where the mark stands without brackets.
        severity: `"error"`: a result that fails is not published. `"warn"`: it is, and reported.

    Returns:
        The method itself.

    Raises:
        ConfigError: The severity is another word, or what is marked is no function.
    """
    if severity not in {"error", "warn"}:
        raise ConfigError(f"check has severity={severity!r}; it must be 'error' or 'warn'.")

    def mark(function: _F) -> _F:
        if not callable(function) or isinstance(function, type):
            raise ConfigError(f"check marks {function!r}; it must stand above a method.")
        function.__tadka_check__ = severity  # type: ignore[attr-defined]
        return function

    return mark if function is None else mark(function)


def checks_of(cls: type) -> tuple[Check, ...]:
    """The checks of a class, those of its bases first.

    A method that overrides a check is one too, marked again or not; `name = None` takes it away.

    Args:
        cls: A task class.

    Returns:
        Each check once.
    """
    found: dict[str, Severity] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            severity = getattr(value, "__tadka_check__", None)
            if severity is not None:
                found[name] = severity
    return tuple(Check(name, severity) for name, severity in found.items() if getattr(cls, name))
