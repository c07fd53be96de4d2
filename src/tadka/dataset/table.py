"""Tables that exist: where they lie, how they are partitioned, which columns are read."""

import difflib
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from tadka.core.error import ConfigError
from tadka.dataset.expression import Column, Expression
from tadka.dataset.kind import kind_of
from tadka.dataset.relation import Rows
from tadka.dataset.source.source import Source, source_of

if TYPE_CHECKING:
    import datetime as dt

T = TypeVar("T")


class Partition(Column[T]):
    """A column whose value stands in the path of its files: `day: Partition[date]`."""


class Named:
    """Gives a column another name in the table than its attribute has: `time_: ... = Named("time")`.

    Args:
        name: Of the column in the table.
    """

    def __init__(self, name: str) -> None:
        self.name = name


class Table:
    """A table of somebody's, of which a dataset reads some columns.

    ```python
    class Rating(Table, source="ratings/day={day}/*.parquet", time="at"):
        day: Partition[date]
        user: Column[int]
        rating: Column[float | None]
        at: Column[Utc]
    ```

    Args:
        source: A URI or path of files, in which `{column}` stands for the value of a partition, or
            any other source, such as `Database(...)`.
        time: Column that says when a row came to be known. A table with one is joined by time only.

    Raises:
        ConfigError: A column has a type that no column has, `time` is no column, or the partitions
            of the path and of the class differ.
    """

    source: ClassVar[Source]
    time_column: ClassVar[str | None]
    columns: ClassVar[Mapping[str, Column[Any]]]
    """By name in the table, in the order of declaration."""
