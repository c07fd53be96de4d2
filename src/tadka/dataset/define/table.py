"""Tables that exist: where they lie, how they are partitioned, which columns are read."""

import datetime as dt
from pathlib import Path
from typing import Any, Literal

from tadka.dataset.define.relation import On, Rows
from tadka.dataset.define.schema import Named, Partition, Schema, declare
from tadka.dataset.expression.expression import Expression
from tadka.dataset.source.source import Source

__all__ = ["RESERVED", "Named", "Partition", "Table"]

_NOTHING = dt.timedelta(0)


class Table(Schema):
    """A table of somebody's, of which a dataset reads some columns.

    ```python
    class Rating(Table, source="ratings/day={day}/*.parquet", time="at"):
        day: Partition[date]
        user: Column[int]
        rating: Column[float | None]
        at: Column[Utc]
    ```

    Class keywords: `source`, a URI or path of files, in which `{column}` stands for the value of a
    partition, or any other source, such as `Database(...)`; `time`, the column that says when a row
    came to be known (a table with one is joined by time only); `name`, under which engines, checks
    and records know the table, the class's by default. A class that inherits from another table
    has its columns, and its source and time unless it gives its own.
    """

    def __init_subclass__(
        cls,
        *,
        source: str | Path | Source | None = None,
        time: str | None = None,
        name: str | None = None,
        **extra: Any,
    ) -> None:
        super().__init_subclass__(**extra)
        declare(cls, source=source, time=time, name=name, reserved=RESERVED)

    @classmethod
    def all(cls) -> Rows:
        """All rows of the table."""
        return Rows(cls)

    @classmethod
    def between(cls, start: object, end: object, by: str | None = None) -> Rows:
        """As `Rows.between`, of all rows.

        Args:
            start: The first date or time inside.
            end: The first date or time that is not inside any more.
            by: Name of the column.
        """
        return cls.all().between(start, end, by)

    @classmethod
    def where(cls, condition: Expression[bool]) -> Rows:
        """As `Rows.where`, of all rows.

        Args:
            condition: Over the columns of the table itself.
        """
        return cls.all().where(condition)

    @classmethod
    def as_of(cls, on: On, at: object = None) -> Rows:
        """As `Rows.as_of`, of all rows.

        Args:
            on: Key columns.
            at: A fixed time to look from.
        """
        return cls.all().as_of(on, at)

    @classmethod
    def last(cls, span: dt.timedelta, on: On, gap: dt.timedelta = _NOTHING) -> Rows:
        """As `Rows.last`, of all rows.

        Args:
            span: How long a time.
            on: Key columns.
            gap: How long before the row's time it ends.
        """
        return cls.all().last(span, on, gap)

    @classmethod
    def next(cls, span: dt.timedelta, on: On, gap: dt.timedelta = _NOTHING) -> Rows:
        """As `Rows.next`, of all rows.

        Args:
            span: How long a time.
            on: Key columns.
            gap: How long after the row's time it begins.
        """
        return cls.all().next(span, on, gap)

    @classmethod
    def within(cls, start: dt.timedelta, end: dt.timedelta, on: On) -> Rows:
        """As `Rows.within`, of all rows.

        Args:
            start: Where it begins, from the row's time on.
            end: Where it ends.
            on: Key columns.
        """
        return cls.all().within(start, end, on)

    @classmethod
    def join(cls, on: On, how: Literal["left", "inner"] = "left", max_matches: float = 1.0) -> Rows:
        """As `Rows.join`, of all rows.

        Args:
            on: Key columns.
            how: What happens to rows without a match.
            max_matches: Rows after the join for each row before it, at most.
        """
        return cls.all().join(on, how, max_matches)


RESERVED = frozenset(
    {
        *dir(Table),
        *dir(Rows),
        *("source", "time_column", "columns"),
        *("table", "span", "condition", "lookup"),
    }
)
"""Attributes that no column can have: they mean something else to tables or rows."""
