"""Rows of a table as a dataset uses them: which, and how they belong to the dataset's rows."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from tadka.core.error import ConfigError
from tadka.dataset.define.moment import is_constant
from tadka.dataset.define.schema import NoColumn, Schema, kind_hint
from tadka.dataset.expression.expression import Aggregate, Column, Expression, Relation, as_literal
from tadka.dataset.expression.kind import BOOL, DATE, INT

_NOTHING = dt.timedelta(0)

On = str | Sequence[str] | Mapping[str, Expression[Any]]
"""Key columns: names that both tables have, or expressions over the dataset's rows by column."""


@dataclass(frozen=True, eq=False)
class Span:
    """Part of a table along a date or a time: the half-open interval [start, end).

    Args:
        start: The first value inside; made of constants, parameters and durations.
        end: The first value that is not inside any more.
        by: Name of the column.
    """

    start: Expression[Any]
    end: Expression[Any]
    by: str


@dataclass(frozen=True, eq=False)
class Lookup:
    """How rows of a table are found for a row of the dataset, whose time is called t.

    Args:
        kind: `"as_of"`, the newest row; `"window"`, all rows of a time around t; `"join"`, the row
            with the key.
        on: By column of this table, what it must equal: an expression over the dataset's rows.
        same: Columns that must equal those of the same name in the dataset's rows; they come into
            `on` as soon as the dataset is known.
        start: Of the window, from t on; None for other kinds.
        end: First moment that is not inside the window, from t on.
        at: For `"as_of"`, the time to look from; None for t.
        how: For `"join"`, what happens to rows without a match: `"left"` keeps them.
        max_matches: For `"join"`, rows after it for each row before it, at most.
    """

    kind: Literal["as_of", "window", "join"]
    on: Mapping[str, Expression[Any]]
    same: tuple[str, ...] = ()
    start: dt.timedelta | None = None
    end: dt.timedelta | None = None
    at: Expression[Any] | None = None
    how: Literal["left", "inner"] = "left"
    max_matches: float = 1.0


class Rows(Relation):
    """Rows of a table: which of them, and how each row of the dataset finds its own.

    Never changed by its methods: each gives new rows. Columns are attributes (`imp.user`) or, for
    any name, items (`imp["user"]`).

    Args:
        table: Whose rows.
        span: Part of the table; None for all of it.
        condition: That rows must fulfil, over the table's columns; None for none.
        lookup: How they belong to the dataset's rows; None for rows that stand for themselves.

    Attributes:
        table: Whose rows.
        span: Part of the table.
        condition: That rows must fulfil.
        lookup: How they belong to the dataset's rows.
        alias: Name in the dataset; before there is one, that of the table.
    """

    def __init__(
        self,
        table: type[Schema],
        span: Span | None = None,
        condition: Expression[bool] | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        self.table = table
        self.span = span
        self.condition = condition
        self.lookup = lookup
        self.alias = table.__name__
        self.is_window = lookup is not None and lookup.kind == "window"
        self._columns: dict[str, Column[Any]] = {}
        self._owner: Rows | None = None  # rows of the dataset, once it is known
        self._is_named = False

    def __repr__(self) -> str:
        return f"<rows {self.alias!r} of table {self.table.__name__!r}>"

    # ------------------------------------------------------------ columns

    def __getitem__(self, name: str) -> Column[Any]:
        column = self.table.column_named(name)
        if column.name not in self._columns:
            self._columns[column.name] = column.of(self)
        return self._columns[column.name]

    def __getattr__(self, name: str) -> Column[Any]:
        if name.startswith("_"):  # asked by copy, pickle and debuggers, never a column
            raise AttributeError(f"rows have no attribute {name!r}")
        column = getattr(self.table, name)
        if not isinstance(column, Column):
            raise NoColumn(self.table.no_column(name))
        return self[column.name]

    def count(self) -> Aggregate[int]:
        """How many rows a window has; 0 without rows.

        Raises:
            ConfigError: These rows are no window.
        """
        if not self.is_window:
            raise ConfigError(
                f"count() of {self.alias!r} counts the rows of a window, such as "
                f"{self.table.__name__}.last(days(7), on=...); these are none."
            )
        return Aggregate("count", self, None, INT)

    # ------------------------------------------------------------ which rows

    def between(self, start: object, end: object, by: str | None = None) -> "Rows":
        """The rows of a part of the table, [start, end).

        Args:
            start: The first date or time inside: a constant, a parameter, or one of them plus a
                duration.
            end: The first date or time that is not inside any more.
            by: Name of the column; by default the only partition that is a date or a time, else
                the table's column of time.

        Raises:
            ConfigError: There is no such column, or a bound is not of its type.
        """
        self._check_plain("between")
        if self.span is not None:
            raise ConfigError(f"{self.alias!r} has two between(); give one.")
        column = self._column_of_span(by)
        bounds = [
            self._bound(value, column, name) for name, value in (("start", start), ("end", end))
        ]
        return self._but(span=Span(bounds[0], bounds[1], column.name))

    def where(self, condition: Expression[bool]) -> "Rows":
        """The rows that fulfil a condition; with several, all of them.

        Args:
            condition: Over the columns of the table itself: `Impression.price > 5`.

        Raises:
            ConfigError: It is no condition, or about another table.
        """
        self._check_plain("where")
        if not isinstance(condition, Expression) or condition.kind != BOOL:
            shown = (
                f"{condition} of type {condition.kind}"
                if isinstance(condition, Expression)
                else repr(condition)
            )
            raise ConfigError(
                f"where() of {self.alias!r} takes a condition such as "
                f"{self.table.__name__}.{next(iter(self.table.columns))} == ...; it was {shown}."
            )
        for part in condition.walk():
            if isinstance(part, Aggregate):
                raise ConfigError(f"where() of {self.alias!r} is about single rows; {part} is not.")
            if isinstance(part, Column) and part is not self.table.columns.get(part.name):
                rows = part.relation
                is_read = isinstance(rows, Rows) and rows.table is self.table
                hint = f"Write {self.table.__name__}.{part.name}." if is_read else ""
                raise ConfigError(
                    f"where() of {self.alias!r} is about columns of the table itself, and "
                    f"{part.name!r} is {'read from rows of it' if is_read else 'of another'}."
                    f" {hint}".rstrip()
                )
        both = condition if self.condition is None else self.condition & condition
        return self._but(condition=both)

    # ------------------------------------------------------------ belonging to the dataset's rows

    def as_of(self, on: On, at: object = None) -> "Rows":
        """The newest row with the key that is not later than the dataset's row; null without one.

        Args:
            on: Key columns.
            at: A fixed time to look from instead: not later than the first row of the dataset.

        Raises:
            ConfigError: The table has no column of time, a key is unknown, or `at` is no time.
        """
        time = self._time("as_of")
        moment = None if at is None else self._bound(at, time, "at")
        return self._found(on, Lookup("as_of", {}, at=moment))

    def last(self, span: dt.timedelta, on: On, gap: dt.timedelta = _NOTHING) -> "Rows":
        """The rows with the key of a time before the dataset's row: [t - gap - span, t - gap).

        Args:
            span: How long a time.
            on: Key columns.
            gap: How long before the row's time it ends: as long as it takes until rows are known.

        Raises:
            ConfigError: The span is not above 0, the gap is below 0, or as for `within`.
        """
        self._check_durations("last", span, gap)
        return self.within(-gap - span, -gap, on)

    def next(self, span: dt.timedelta, on: On, gap: dt.timedelta = _NOTHING) -> "Rows":
        """The rows with the key of a time after the dataset's row: [t + gap, t + gap + span).

        For labels; a feature must not use them.

        Args:
            span: How long a time.
            on: Key columns.
            gap: How long after the row's time it begins.

        Raises:
            ConfigError: The span is not above 0, the gap is below 0, or as for `within`.
        """
        self._check_durations("next", span, gap)
        return self.within(gap, gap + span, on)

    def within(self, start: dt.timedelta, end: dt.timedelta, on: On) -> "Rows":
        """The rows with the key of a time around that of the dataset's row: [t + start, t + end).

        Args:
            start: Where it begins; below 0 before the row's time.
            end: Where it ends; that moment is not inside.
            on: Key columns.

        Raises:
            ConfigError: The table has no column of time, a key is unknown, or the start is not
                before the end.
        """
        self._time("within")
        for name, value in (("start", start), ("end", end)):
            if not isinstance(value, dt.timedelta):
                raise ConfigError(
                    f"{name} of the window {self.alias!r} is {value!r}; it must be a duration "
                    "such as days(7)."
                )
        if start >= end:
            raise ConfigError(
                f"The window {self.alias!r} has the start {start} and the end {end}; it must "
                "begin before it ends."
            )
        return self._found(on, Lookup("window", {}, start=start, end=end))

    def join(
        self, on: On, how: Literal["left", "inner"] = "left", max_matches: float = 1.0
    ) -> "Rows":
        """The row with the key, of a table without time.

        Args:
            on: Key columns.
            how: `"left"` keeps rows without a match, with nulls; `"inner"` leaves them out.
            max_matches: How many rows there may be after the join for each row before it; above 1
                where a key has several rows on purpose.

        Raises:
            ConfigError: A key is unknown, or `how` or `max_matches` is not accepted.
        """
        if how not in ("left", "inner"):
            raise ConfigError(f"how of {self.alias!r} is {how!r}; it must be 'left' or 'inner'.")
        is_number = isinstance(max_matches, int | float) and not isinstance(max_matches, bool)
        if not is_number or not 1 <= max_matches < float("inf"):
            raise ConfigError(
                f"max_matches of {self.alias!r} is {max_matches!r}; it must be a number, at least "
                "1."
            )
        return self._found(on, Lookup("join", {}, how=how, max_matches=float(max_matches)))

    # ------------------------------------------------------------ for the dataset

    def enter(self, alias: str, rows: "Rows") -> list[str]:
        """Takes the name that a dataset gives, and finds keys that were given by name alone.

        Args:
            alias: The name.
            rows: The rows of the dataset.

        Returns:
            Mistakes, a sentence each.
        """
        others = f"make others with {self.table.__name__}.all() or between()."
        if self._is_named and self.alias != alias:
            return [f"{alias!r} are rows that have the name {self.alias!r} already; {others}"]
        if self._owner is not None and self._owner is not rows:
            return [f"{alias!r} are rows that belong to the rows of another dataset; {others}"]
        self.alias, self._is_named = alias, True
        if self.lookup is None:
            return []
        self._owner = rows
        keys: dict[str, Expression[Any]] = dict(self.lookup.on)
        mistakes = []
        for name in self.lookup.same:
            try:
                keys[self.table.column_named(name).name] = rows[name]
            except ConfigError:
                mistakes.append(
                    f"{alias!r} is found on {name!r}, which rows {rows.alias!r} do not have. "
                    f"{rows.table.no_column(name)} A key of another name is given as "
                    f"on={{{name!r}: {rows.alias}.column}}."
                )
        mistakes += [m for n, e in keys.items() if (m := self._key_mistake(n, e)) is not None]
        self.lookup = dataclasses.replace(self.lookup, on=keys)
        return mistakes

    def _key_mistake(self, name: str, key: Expression[Any]) -> str | None:
        kind = self.table.columns[name].kind
        shown = f"{self.alias!r} is found on {name!r} of type {kind}"
        if kind.is_float or kind.item is not None:
            return f"{shown}, which is no key: engines do not agree when two of them are equal."
        if kind != key.kind and not (kind.is_int and key.kind.is_int):
            return f"{shown}, but {key} is {key.kind}.{kind_hint(kind, key.kind)}"
        return None

    # ------------------------------------------------------------ parts

    def _but(self, **changes: Any) -> Self:
        made = {
            "span": self.span,
            "condition": self.condition,
            "lookup": self.lookup,
            **changes,
        }
        return type(self)(self.table, **made)

    def _check_plain(self, method: str) -> None:
        if self.lookup is not None:
            raise ConfigError(
                f"{method}() of {self.alias!r} stands after {_verb(self.lookup)}; it is applied "
                f"before, so write it before."
            )

    def _check_durations(self, method: str, span: dt.timedelta, gap: dt.timedelta) -> None:
        for name, value, least in (("span", span, dt.timedelta.resolution), ("gap", gap, _NOTHING)):
            if not isinstance(value, dt.timedelta) or value < least:
                bound = "above 0" if least else "not below 0"
                raise ConfigError(
                    f"{name} of {method}() of {self.alias!r} is {value!r}; it must be a duration "
                    f"{bound}, such as days(7)."
                )

    def _time(self, method: str) -> Column[Any]:
        if self.table.time_column is None:
            raise ConfigError(
                f"{method}() of {self.alias!r} needs to know when rows came to be known, and table "
                f"{self.table.__name__!r} has no column of time. Declare one with time='...', or "
                "use join() if its rows never change."
            )
        return self.table.columns[self.table.time_column]

    def _column_of_span(self, by: str | None) -> Column[Any]:
        if by is not None:
            column = self.table.column_named(by)
            if column.kind != DATE and not column.kind.is_time:
                raise ConfigError(
                    f"between() of {self.alias!r} is by {by!r} of type {column.kind}; it must be a "
                    "date or a time. Other conditions are given to where()."
                )
            return column
        moments = [
            column
            for column in self.table.columns.values()
            if column.is_partition and (column.kind == DATE or column.kind.is_time)
        ]
        if len(moments) == 1:
            return moments[0]
        if self.table.time_column is None or moments:
            names = ", ".join(repr(c.name) for c in moments)
            has = (
                f"several partitions of a date or time ({names})" if moments else "no date or time"
            )
            raise ConfigError(
                f"between() of {self.alias!r} does not know its column: table "
                f"{self.table.__name__!r} has {has}. Say by='...'."
            )
        return self.table.columns[self.table.time_column]

    def _bound(self, value: object, column: Column[Any], name: str) -> Expression[Any]:
        """A bound of an interval along a column, of the column's kind or a day for a time."""
        where = f"The {name} of {self.alias!r} along {column.name!r}"
        if not isinstance(value, Expression):
            return as_literal(value, column.kind, where)
        if not is_constant(value):
            raise ConfigError(
                f"{where} is {value}; it must be a constant, a parameter, or one of them plus a "
                "duration."
            )
        if value.kind != column.kind and not (value.kind == DATE and column.kind.is_time):
            hint = kind_hint(value.kind, column.kind)
            if column.kind == DATE:
                hint = " Use a parameter of type date, or say by='...' for a column of time."
            raise ConfigError(
                f"{where} is {value} of type {value.kind}, and the column is {column.kind}.{hint}"
            )
        return value

    def _found(self, on: On, lookup: Lookup) -> Self:
        if self.lookup is not None:
            raise ConfigError(
                f"{self.alias!r} is found by {_verb(self.lookup)} already; rows are found in one "
                "way."
            )
        keys: dict[str, Expression[Any]] = {}
        names: tuple[str, ...] = ()
        if isinstance(on, Mapping):
            for name, key in on.items():
                if not isinstance(key, Expression):
                    raise ConfigError(
                        f"{self.alias!r} is found on {name!r} = {key!r}; it must be a column or "
                        "an expression, such as imp.user."
                    )
                keys[self.table.column_named(name).name] = key
        elif isinstance(on, str):
            names = (on,)
        elif isinstance(on, Sequence) and all(isinstance(name, str) for name in on):
            names = tuple(on)
        else:
            raise ConfigError(
                f"on of {self.alias!r} is {on!r}; it must be the name of a column, a list of them, "
                "or a mapping of columns to expressions."
            )
        for name in names:
            self.table.column_named(name)
        if not keys and not names:
            raise ConfigError(f"on of {self.alias!r} names no column; it must name at least one.")
        return self._but(lookup=dataclasses.replace(lookup, on=keys, same=names))


def _verb(lookup: Lookup) -> str:
    return {"as_of": "as_of()", "window": "last(), next() or within()", "join": "join()"}[
        lookup.kind
    ]
