"""What is known of a table before anything is read: its source, columns, partitions and time."""

import difflib
import inspect
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from tadka.core.error import ConfigError
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import Kind, kind_of
from tadka.dataset.source.source import Source, source_of

T = TypeVar("T")

_PARTITION_KINDS = ("date", "time", "utc", "string", "int8", "int16", "int32", "int64")


class NoColumn(ConfigError, AttributeError):
    """A table has no such column; also what Python expects of a missing attribute."""


class Partition(Column[T]):
    """A column whose value stands in the path of its files: `day: Partition[date]`."""


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


def Named(name: str) -> Any:  # noqa: N802 - reads as the class it was meant to be in an annotation
    """Gives a column another name in the table than its attribute has.

    For names that Python or the class has taken: `from_: Column[int] = Named("from")`.

    Args:
        name: Of the column in the table.
    """
    return _Named(name)


def check_name(name: object, what: str) -> None:
    """Refuses what no engine or file could bear as a name.

    Args:
        name: Of a column or a part.
        what: It is, for the message.

    Raises:
        ConfigError: It is no text, empty, or holds a control character.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigError(f"{what} has the name {name!r}; it must be a printable text, not empty.")


def nearest(name: str, known: Iterable[str], plural: str) -> str:
    """The sentence that ends a message about an unknown name.

    Args:
        name: As it was written.
        known: Names that would have been right.
        plural: What they are, in case none is near: `"columns"`.
    """
    names = list(known)
    folded = {one.casefold(): one for one in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    if close:
        return f"Did you mean {folded[close[0]]!r}?"
    return f"Its {plural} are {', '.join(map(repr, names))}." if names else f"It has no {plural}."


def twins(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that engines, which do not look at case, take for the same.

    Args:
        names: Of one place.
    """
    seen: dict[str, str] = {}
    found = []
    for name in names:
        if name.casefold() in seen:
            found.append((seen[name.casefold()], name))
        seen.setdefault(name.casefold(), name)
    return found


def raise_all(what: str, mistakes: list[str]) -> None:
    """Raises one error for all mistakes, if there are any.

    Args:
        what: Has them: `"Dataset 'CtrTrain'"`.
        mistakes: A sentence or two each.

    Raises:
        ConfigError: There is at least one.
    """
    if len(mistakes) == 1:
        raise ConfigError(f"{what}: {mistakes[0]}")
    if mistakes:
        raise ConfigError(f"{what} has {len(mistakes)} mistakes:\n  " + "\n  ".join(mistakes))


class _Meta(type):
    """Names the nearest column where an attribute is misspelt."""

    if not TYPE_CHECKING:  # else mypy would believe in every attribute

        def __getattr__(cls, name: str) -> NoReturn:
            if name.startswith("_") or "columns" not in vars(cls):
                raise AttributeError(f"{cls.__name__!r} has no attribute {name!r}")
            raise NoColumn(cls.no_column(name))


class Schema(metaclass=_Meta):
    """A table's declaration; users subclass `Table`, which adds how rows are chosen.

    Attributes:
        source: Where the rows lie.
        time_column: Name of the column that says when a row came to be known; None for a table
            without time.
        columns: By name in the table, in the order of declaration.
    """

    source: ClassVar[Source]
    time_column: ClassVar[str | None]
    columns: ClassVar[Mapping[str, Column[Any]]]

    @classmethod
    def no_column(cls, name: str) -> str:
        """The message about a column that is not there.

        Args:
            name: As it was written.
        """
        known = [*cls.columns, *(key for key, value in _attributes(cls).items() if key != value)]
        return f"Table {cls.__name__!r} has no column {name!r}. {nearest(name, known, 'columns')}"

    @classmethod
    def column_named(cls, name: str) -> Column[Any]:
        """A column by its name in the table, or by its attribute.

        Args:
            name: Of one of them.

        Raises:
            ConfigError: There is no such column; the message says which is nearest.
        """
        if name in cls.columns:
            return cls.columns[name]
        attribute = _attributes(cls).get(name)
        if attribute is None:
            raise NoColumn(cls.no_column(name))
        return cls.columns[attribute]


def _attributes(cls: type[Schema]) -> dict[str, str]:
    """Names of columns in the table by the attribute that holds them."""
    found = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Column):
                found[name] = value.name
    return found


def declare(
    cls: type[Schema],
    *,
    source: str | Path | Source | None,
    time: str | None,
    name: str | None,
    reserved: frozenset[str],
) -> None:
    """Reads the annotations of a new table's class and sets what is known of it.

    Args:
        cls: The class.
        source: As the user gave it; None takes that of the base class.
        time: Name or attribute of the column of time; None takes that of the base class.
        name: Under which the table is known, if not under the class's.
        reserved: Attributes that are no columns, for they mean something else.

    Raises:
        ConfigError: The declaration is wrong; all mistakes are listed.
    """
    if name is not None:
        check_name(name, "A table")
        cls.__name__ = name
    where = f"Table {cls.__name__!r}"
    mistakes: list[str] = []
    columns = dict(getattr(cls, "columns", {}))
    annotations = _annotations(cls, where)
    for attribute, annotation in annotations.items():
        if typing.get_origin(annotation) is ClassVar or annotation is ClassVar:
            continue
        try:
            column = _column(where, attribute, annotation, vars(cls).get(attribute))
            if attribute in reserved:
                raise ConfigError(
                    f"column {column.name!r} bears the name of a method or attribute of tables. "
                    f"Write {attribute}_: ... = Named({column.name!r})."
                )
            if column.name in columns and column.name not in getattr(cls, "columns", {}):
                raise ConfigError(f"column {column.name!r} is declared twice.")
        except ConfigError as error:
            mistakes.append(str(error))
            continue
        columns[column.name] = column
        setattr(cls, attribute, column)
    mistakes += [
        f"attribute {key!r} is Named but has no annotation; write {key}: Column[...]."
        for key, value in vars(cls).items()
        if isinstance(value, _Named) and key not in annotations
    ]
    mistakes += [
        f"columns {one!r} and {two!r} differ in case only, which engines do not see."
        for one, two in twins(columns)
    ]
    if not columns and not mistakes:
        mistakes.append("it has no columns; declare at least one, as in user: Column[int].")
    cls.columns = columns
    cls.time_column = getattr(cls, "time_column", None)
    if not mistakes:
        mistakes += _time_mistakes(cls, time)
    if source is not None:
        try:
            cls.source = source_of(source)
        except ConfigError as error:
            mistakes.append(str(error))
    elif not isinstance(getattr(cls, "source", None), Source):
        mistakes.append('it has no source; write class X(Table, source="x/*.parquet").')
    if not mistakes:
        mistakes += _partition_mistakes(cls)
    raise_all(where, mistakes)


def _annotations(cls: type, where: str) -> dict[str, Any]:
    try:
        return inspect.get_annotations(cls, eval_str=True)
    except Exception as error:  # what stands in quotes is code, and may do anything
        raise ConfigError(f"{where} has an annotation that cannot be read: {error}.") from error


def _column(where: str, attribute: str, annotation: Any, value: object) -> Column[Any]:
    name = value.name if isinstance(value, _Named) else attribute
    check_name(name, f"Column {attribute!r} of {where[0].lower()}{where[1:]}")
    made = typing.get_origin(annotation)
    if made not in (Column, Partition):
        shown = getattr(annotation, "__name__", None) or repr(annotation)
        raise ConfigError(
            f"{attribute!r} is annotated {shown}; write Column[...] or Partition[...] with a type, "
            "or ClassVar[...] for what is no column."
        )
    if value is not None and not isinstance(value, _Named):
        raise ConfigError(
            f"column {name!r} has the value {value!r}; columns have none. Write "
            "Named('...') to give it another name in the table."
        )
    kind, is_nullable = kind_of(typing.get_args(annotation)[0], f"column {name!r}")
    if made is Partition and kind.name not in _PARTITION_KINDS:
        raise ConfigError(
            f"partition {name!r} has type {kind}, which no path can hold exactly; accepted are "
            "int, str, date, datetime and Utc."
        )
    return typing.cast(
        "Column[Any]",
        made(name, kind, is_nullable=is_nullable, is_partition=made is Partition),
    )


def _time_mistakes(cls: type[Schema], time: str | None) -> list[str]:
    if time is None:
        return []
    try:
        column = cls.column_named(time)
    except ConfigError as error:
        return [f"time={time!r}: {error}"]
    cls.time_column = column.name
    if not column.kind.is_time:
        accepted = "Column[Utc] or Column[datetime]"
        return [f"time={time!r} is a column of type {column.kind}; it must be {accepted}."]
    if column.is_nullable:
        return [f"time={time!r} is a column with nulls; declare it without `| None`."]
    return []


def _partition_mistakes(cls: type[Schema]) -> list[str]:
    expected = cls.source.partition_names
    if expected is None:
        return []
    declared = [name for name, column in cls.columns.items() if column.is_partition]
    mistakes = []
    for name in expected:
        if name in declared:
            continue
        if name in cls.columns:
            hint = f"declare it as Partition[...], not Column[{cls.columns[name].kind}]."
        else:
            hint = f"the class does not declare it. {nearest(name, declared, 'partitions')}"
        mistakes.append(f"its path has the partition {{{name}}}; {hint}")
    mistakes += [
        f"partition {name!r} does not stand in its path; write {{{name}}} where its value is, or "
        "declare it as Column[...]."
        for name in declared
        if name not in expected
    ]
    return mistakes


def kind_hint(one: Kind, two: Kind) -> str:
    """What to do about two kinds that do not go together.

    Args:
        one: Of one side.
        two: Of the other.
    """
    if {one.name, two.name} == {"time", "utc"}:
        return (
            " One has a zone and the other has none; declare both as Column[Utc], or both as "
            "Column[datetime] if they show the same clock."
        )
    return ""
