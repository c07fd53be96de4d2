"""Paths in which `{column}` stands for the value of a partition.

`log/dt={day}/*.parquet` is the form of Hive; a value may stand at any other place too, and have a
format: `log/{day:%Y/%m/%d}/part-*.csv`. The same column may come in pieces:
`year={day:%Y}/month={day:%m}/day={day:%d}`. `*`, `?`, `[ab]` and `**` mean what they mean in a
shell; `{{` and `}}` are braces.
"""

import datetime as dt
import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote

from tadka.core.error import ConfigError, DataError
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import DATE, STRING, TIME, UTC, Kind

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"  # what Hive, Spark and Arrow call a folder of nulls
_DIRECTIVES = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2, "%j": 3}  # digits of each
_FIELD = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::([^{}]*))?\}|[{}]")


@dataclass(frozen=True)
class Piece:
    """A value, or a part of one, inside a name.

    Args:
        name: The column.
        directive: Of `strftime`, such as `"%Y"`; empty for the whole value.
        is_hive: Whether `column=` stands before it, so that the value is encoded as in a URL.
    """

    name: str
    directive: str
    is_hive: bool


@dataclass(frozen=True)
class Level:
    """What one folder or file of the path may be called.

    Args:
        pieces: Literal text, which may hold `*`, `?` and `[`, and values.
    """

    pieces: tuple[str | Piece, ...]

    def __str__(self) -> str:
        shown = (p if isinstance(p, str) else _shown(p) for p in self.pieces)
        return "".join(shown)

    @property
    def values(self) -> Iterator[Piece]:
        """The values in it."""
        return (piece for piece in self.pieces if isinstance(piece, Piece))

    @cached_property
    def is_literal(self) -> bool:
        """Whether only one name is possible, so that nothing need be listed."""
        return not any(isinstance(p, Piece) or set(p) & set("*?[") for p in self.pieces)

    @property
    def is_any_depth(self) -> bool:
        """Whether it stands for any number of folders."""
        return self.pieces == ("**",)

    def admits_hidden(self, name: str) -> bool:
        """Whether a name is not hidden, or hidden names are spelt here.

        Args:
            name: Of a file or folder.
        """
        first = self.pieces[0] if self.pieces else ""
        return name[:1] not in ("_", ".") or (isinstance(first, str) and first[:1] == name[:1])

    def regular(self, columns: Mapping[str, Column[Any]]) -> tuple[re.Pattern[str], ...]:
        """What names match: strictly, then with anything at all in the place of values.

        Args:
            columns: Types of the values.
        """
        strict, loose = "", ""
        for piece in self.pieces:
            if isinstance(piece, str):
                text = fnmatch.translate(piece).removeprefix("(?s:").removesuffix(r")\Z")
                text = text.removesuffix(r")\z")  # newer versions of Python
                strict, loose = strict + text, loose + text
            else:
                strict += f"({_form(piece, columns[piece.name].kind)})"
                loose += "(.*?)"
        return re.compile(strict, re.DOTALL), re.compile(loose, re.DOTALL)


class Template:
    """A path with places for values.

    Args:
        path: As a user writes it, absolute and without its protocol.
        shown: The same with the protocol, for messages.

    Attributes:
        root: The folder (or file) above the first place, without wildcard.
        levels: What follows below, a name each.
        names: Columns in it, in order.

    Raises:
        ConfigError: A brace is open, or what it holds is no column or format.
    """

    def __init__(self, path: str, shown: str) -> None:
        self.shown = shown
        levels = [Level(tuple(pieces)) for pieces in _split(path, shown)]
        literal = next((i for i, level in enumerate(levels) if not level.is_literal), len(levels))
        self.root = "/".join(str(level) for level in levels[:literal])
        if path.startswith("/") and not self.root:
            self.root = "/"
        self.levels = levels[literal:]
        pieces = [piece for level in levels for piece in level.values]
        self.names = tuple(dict.fromkeys(piece.name for piece in pieces))
        last = {p.name: i for i, level in enumerate(self.levels) for p in level.values}
        self.complete = [[n for n in self.names if last[n] == i] for i in range(len(self.levels))]
        for name in self.names:
            forms = {bool(piece.directive) for piece in pieces if piece.name == name}
            if len(forms) > 1:
                raise ConfigError(
                    f"Path {shown!r} has {{{name}}} with and without a format; write one form."
                )

    def check(self, columns: Mapping[str, Column[Any]]) -> None:
        """Whether columns and path have the same partitions, of types that a path can hold.

        Args:
            columns: Of the table.

        Raises:
            ConfigError: They do not.
        """
        declared = [name for name, column in columns.items() if column.is_partition]
        for name in self.names:
            if name not in declared:
                raise ConfigError(
                    f"Path {self.shown!r} has {{{name}}}, which is no partition of the table; "
                    f"those are {', '.join(declared) or 'none'}. Declare {name}: Partition[...]."
                )
        for name in declared:
            kind = columns[name].kind
            if name not in self.names:
                raise ConfigError(
                    f"Partition {name!r} has no place in the path {self.shown!r}; write "
                    f"{name}={{{name}}} where its value stands."
                )
            if kind.name not in ("string", "date", "time", "utc") and not kind.is_int:
                raise ConfigError(
                    f"Partition {name!r} is {kind}; a path holds numbers without a fraction, text, "
                    "dates and times."
                )
            pieces = [p for level in self.levels for p in level.values if p.name == name]
            if pieces[0].directive:
                if kind not in (DATE, TIME, UTC):
                    raise ConfigError(
                        f"Partition {name!r} is {kind}; a format such as %Y is for dates and times."
                    )
                if all(piece.directive != "%Y" for piece in pieces):
                    raise ConfigError(
                        f"The format of {{{name}}} in {self.shown!r} lacks the year, %Y."
                    )


class Names:
    """Reads the values out of the names at one level of a template.

    Args:
        level: Of the template.
        complete: Columns of which the last piece stands here.
        columns: Of the table.
    """

    def __init__(
        self, level: Level, complete: list[str], columns: Mapping[str, Column[Any]]
    ) -> None:
        self._strict, self._loose = level.regular(columns)
        self._pieces = list(level.values)
        self._complete = complete
        self._kinds = {name: columns[name].kind for name in complete}
        self._level = level

    def read(
        self, name: str, texts: Mapping[tuple[str, str], str], where: str
    ) -> tuple[Mapping[tuple[str, str], str], dict[str, Any]] | None:
        """The texts of all values so far and the values that are complete with this name.

        Args:
            name: Of a file or folder.
            texts: Found in the folders above, by column and directive.
            where: The file or folder, for the message.

        Returns:
            None where the name is another.

        Raises:
            DataError: What stands in the place of a value is none.
        """
        matched = self._strict.fullmatch(name)
        if matched is None:
            if self._pieces and self._loose.fullmatch(name) is not None:
                kinds = {piece.name for piece in self._pieces}
                raise DataError(
                    f"{where!r}: {name!r} does not hold a value of {', '.join(sorted(kinds))} as "
                    f"{str(self._level)!r} and its type say. Move it away, or correct the path."
                )
            return None
        if not self._pieces:
            return texts, {}
        found = dict(texts)
        for piece, text in zip(self._pieces, matched.groups(), strict=True):
            key = (piece.name, piece.directive)
            text = unquote(text) if piece.is_hive else text
            if found.setdefault(key, text) != text:
                raise DataError(
                    f"{where!r} has two values of {piece.name!r}: {found[key]!r} and {text!r}."
                )
        try:
            return found, {
                column: value_of(
                    tuple((k[1], text) for k, text in found.items() if k[0] == column),
                    self._kinds[column],
                )
                for column in self._complete
            }
        except ValueError as error:
            raise DataError(
                f"{where!r}: {name!r} holds a value that is not as its type says ({error})."
            ) from error


@lru_cache(4096)
def value_of(pieces: tuple[tuple[str, str], ...], kind: Kind) -> Any:
    """The value that pieces of text stand for.

    Args:
        pieces: Directive and text each; one piece with an empty directive for a whole value.
        kind: Of the column.

    Raises:
        ValueError: They stand for none.
    """
    if pieces[0][0]:
        form = " ".join(directive for directive, _ in pieces)
        moment = dt.datetime.strptime(" ".join(text for _, text in pieces), form)  # noqa: DTZ007
    else:
        text = pieces[0][1]
        if text == NULL_FOLDER:
            return None
        if kind == STRING:
            return text
        if kind.is_int:
            return int(text)
        moment = dt.datetime.fromisoformat(text)
    if kind == DATE:
        return moment.date()
    if kind == TIME:
        if moment.tzinfo is not None:
            raise ValueError(f"{moment.isoformat()} has a zone")
        return moment
    return moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)


def text_of(values: Mapping[str, Any]) -> str:
    """How partitions are called: `"dt=2026-01-01/hour=3"`.

    Args:
        values: By column.
    """
    return "/".join(
        f"{name}={NULL_FOLDER if v is None else _plain(v)}" for name, v in values.items()
    )


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _shown(piece: Piece) -> str:
    return f"{{{piece.name}{':' if piece.directive else ''}{piece.directive}}}"


def _form(piece: Piece, kind: Kind) -> str:
    if piece.directive:
        return rf"\d{{{_DIRECTIVES[piece.directive]}}}"
    form = r"\d{4}-\d\d-\d\d" if kind == DATE else ".+?"
    if kind.is_int:
        form = r"-?\d+"
    return f"{form}|{NULL_FOLDER}"


def _split(path: str, shown: str) -> list[list[str | Piece]]:
    """Pieces of each level; a format may reach over several."""
    levels: list[list[str | Piece]] = [[]]

    def literal(text: str) -> None:
        first, *rest = text.split("/")
        for part, is_new in ((first, False), *((part, True) for part in rest)):
            if is_new:
                levels.append([])
            if part:
                if levels[-1] and isinstance(levels[-1][-1], str):
                    levels[-1][-1] += part
                else:
                    levels[-1].append(part)

    position = 0
    for found in _FIELD.finditer(path):
        literal(path[position : found.start()])
        position = found.end()
        text = found.group()
        if text in ("{{", "}}"):
            literal(text[0])
            continue
        name, form = found.group(1), found.group(2)
        if name is None or not name.isidentifier():
            raise ConfigError(
                f"Path {shown!r} has {text!r} at character {found.start()}; braces hold the name "
                "of a column, as in dt={dt} or {dt:%Y/%m/%d}. A brace itself is written twice."
            )
        if form is None:
            before = levels[-1][-1] if levels[-1] else ""
            is_hive = isinstance(before, str) and before.endswith("=")
            levels[-1].append(Piece(name, "", is_hive))
            continue
        parts = re.split(r"(%.)", form)
        wrong = [d for d in parts[1::2] if d not in _DIRECTIVES]
        if wrong or len(parts) == 1:
            raise ConfigError(
                f"Path {shown!r} has the format {form!r}; it is made of {', '.join(_DIRECTIVES)}."
            )
        for index, part in enumerate(parts):
            if index % 2:
                levels[-1].append(Piece(name, part, is_hive=False))
            else:
                literal(part)
    literal(path[position:])
    return levels
