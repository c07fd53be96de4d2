"""The dataset's rows on their way through the stages of a query, and what all stages say alike."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tadka.dataset.define.bound import Bound
from tadka.dataset.define.relation import Rows
from tadka.dataset.expression.expression import Expression
from tadka.dataset.expression.kind import Kind
from tadka.dataset.sql.dialect import Dialect


@dataclass(frozen=True)
class Spine:
    """The dataset's rows, before or after a stage.

    Args:
        source: What stands after FROM.
        alias: Of the rows, by which their columns are reached.
        columns: Kinds of the table's columns by name.
        extra: Columns that stages added: their types in SQL by name.
    """

    source: str
    alias: str
    columns: Mapping[str, Kind]
    extra: Mapping[str, str] = field(default_factory=dict)


class Names:
    """Names for columns, none given twice.

    Args:
        taken: Names that are not free.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = {name.casefold() for name in taken}

    def fresh(self, name: str) -> str:
        """A name like this one.

        Args:
            name: In lower case.
        """
        found, number = name, 1
        while found in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._taken.add(found)
        return found


def condition_of(bound: Bound, dialect: Dialect, rows: Rows) -> str | None:
    """Which rows of its table a relation has: SQL over the table's columns; None for all.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.
        rows: Of the dataset.
    """
    parts = []
    span = bound.span(rows)
    if span is not None and rows.span is not None:
        by = dialect.quote(rows.span.by)
        parts += [f"{by} >= {dialect.literal(span[0])}", f"{by} < {dialect.literal(span[1])}"]
    if rows.condition is not None:
        parts.append(plain(bound, dialect, rows.condition))
    return " AND ".join(parts) or None


def plain(bound: Bound, dialect: Dialect, value: Expression[Any]) -> str:
    """An expression over the columns of one table, which are reached by their names alone.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.
        value: Without aggregates.
    """
    return dialect.expression(
        value,
        column=lambda column: dialect.quote(column.name),
        parameters=bound.parameters,
    )
