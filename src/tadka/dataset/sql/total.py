"""Counts and sums of whole numbers in windows, as totals that run along the time.

An event changes the total of its key twice: when a window first sees it, and when it has left it
again. So a row needs only the newest total of its key, which DuckDB's ASOF JOIN finds. That takes
half the time of frames over all rows, because only events are sorted. What cannot be taken away
again from a total, a minimum or a sum that rounds, needs frames.
"""

# ruff: noqa: S608 - names are quoted and values written by the dialect

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from tadka.dataset.define.bound import Bound
from tadka.dataset.define.relation import Rows
from tadka.dataset.expression.expression import Aggregate, Expression, Literal
from tadka.dataset.expression.kind import INT
from tadka.dataset.sql.dialect import Dialect
from tadka.dataset.sql.spine import Names, Spine, has_event, has_other_kinds, identity, plain

_MICROSECOND = dt.timedelta(microseconds=1)
_WIDE = "HUGEINT"  # a part of a sum may be too large for 64 bits where all of it is not


def is_total(dialect: Dialect, aggregate: Aggregate[Any]) -> bool:
    """Whether an aggregate can be found as a running total.

    Args:
        dialect: Of the engine.
        aggregate: Of a window.
    """
    if dialect.name != "duckdb":
        return False
    operand = aggregate.operand
    is_sum = aggregate.function == "sum" and operand is not None and operand.kind.is_int
    return is_sum or aggregate.function == "count"


class Totals:
    """Running totals of the windows that are found by the same keys.

    Args:
        dialect: Of the engine.
        bound: The definition with its parameters.
        keys: Over the dataset's rows.
        relations: The windows, each with its key columns in the order of the keys.
        aggregates: Of these windows; `is_total` holds for each.
        spine: The rows before.

    Attributes:
        spine: The rows with the aggregates.
    """

    def __init__(
        self,
        dialect: Dialect,
        bound: Bound,
        keys: Sequence[Expression[Any]],
        relations: Mapping[Rows, Sequence[str]],
        aggregates: Sequence[Aggregate[Any]],
        spine: Spine,
    ) -> None:
        self._dialect = dialect
        self._bound = bound
        self._keys = keys
        self._relations = relations
        self._before = spine
        self._names = Names((*spine.columns, *spine.extra))
        self._time = self._names.fresh("t")
        self._key_names = [self._names.fresh(f"k{number}") for number in range(len(keys))]
        self._changes: dict[tuple[str, str], str] = {}  # name of the total by alias and change
        self._finals: dict[str, tuple[str, str]] = {}  # name and SQL by what aggregates share
        for aggregate in aggregates:
            self._add(aggregate)
        self.spine = self._joined()

    def aggregate(self, aggregate: Aggregate[Any]) -> str | None:
        """An aggregate that was found; None for another one.

        Args:
            aggregate: Of any window.
        """
        found = self._finals.get(identity(self._bound, self._dialect, aggregate))
        if found is None:
            return None
        return f"{self._dialect.quote(self._before.alias)}.{self._dialect.quote(found[0])}"

    # ------------------------------------------------------------ what changes, and what is made

    def _add(self, aggregate: Aggregate[Any]) -> None:
        shared = identity(self._bound, self._dialect, aggregate)
        if shared in self._finals:
            return
        rows, operand, dialect = aggregate.relation, aggregate.operand, self._dialect
        assert isinstance(rows, Rows)
        value = "" if operand is None else plain(self._bound, dialect, operand)
        one = dialect.literal(Literal(1, INT))
        if operand is not None:
            one = f"CASE WHEN {value} IS NOT NULL THEN {one} END"
        count = self._total(rows, one)
        final = f"coalesce({count}, 0)"
        if aggregate.function == "sum":  # null where it is of nothing
            total = self._total(rows, f"CAST({value} AS {_WIDE})")
            final = f"CASE WHEN {count} > 0 THEN {total} END"
        name = self._names.fresh(f"value_{len(self._finals)}")
        self._finals[shared] = (name, dialect.cast(final, INT))

    def _total(self, rows: Rows, change: str) -> str:
        if (rows.alias, change) not in self._changes:
            self._changes[rows.alias, change] = self._names.fresh(f"c{len(self._changes)}")
        return self._dialect.quote(self._changes[rows.alias, change])

    # ------------------------------------------------------------ SQL

    def _joined(self) -> Spine:
        quote, before = self._dialect.quote, self._before
        time = self._bound.definition.rows.table.time_column
        assert time is not None
        carried = ", ".join(quote(name) for name in (*before.columns, *before.extra))
        finals = "".join(f", {sql} AS {quote(name)}" for name, sql in self._finals.values())
        order = [quote(name) for name in self._key_names]
        totals = ", ".join(f"sum({quote(n)}) OVER w AS {quote(n)}" for n in self._changes.values())
        on = [
            f"{quote(name)} = {self._key(plain(self._bound, self._dialect, key), number)}"
            for number, (name, key) in enumerate(zip(self._key_names, self._keys, strict=True))
        ]
        on.append(f"{quote(self._time)} <= {self._dialect.micros(quote(time))}")
        alias, joined = quote(before.alias), quote(self._names.fresh("totals"))
        union = "\n    UNION ALL ".join(self._events(rows) for rows in self._relations)
        source = (
            f"(SELECT {carried}{finals} FROM {before.source} ASOF LEFT JOIN (\n"
            f"  SELECT {', '.join(order)}, {quote(self._time)}, {totals} FROM (\n    {union}\n  )\n"
            f"  WINDOW w AS (PARTITION BY {', '.join(order)} ORDER BY {quote(self._time)} "
            f"RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)\n"
            f") AS {joined} ON {' AND '.join(on)}) AS {alias}"
        )
        extra = {name: self._dialect.type(INT) for name, _ in self._finals.values()}
        return Spine(source, before.alias, before.columns, {**before.extra, **extra})

    def _events(self, rows: Rows) -> str:
        """Changes of a window's totals: by what it begins to see, and by what it sees no more."""
        dialect, quote = self._dialect, self._dialect.quote
        assert rows.lookup is not None
        start, end = rows.lookup.start, rows.lookup.end
        assert start is not None
        assert end is not None
        assert rows.table.time_column is not None
        columns = zip(self._key_names, self._relations[rows], strict=True)
        keys = ", ".join(
            f"{self._key(quote(column), number)} AS {quote(name)}"
            for number, (name, column) in enumerate(columns)
        )
        time = dialect.micros(quote(rows.table.time_column))
        tail = (
            f"FROM {quote(rows.table.__name__)} AS {quote(rows.alias)} "
            f"WHERE {has_event(self._bound, dialect, rows, self._relations[rows])}"
        )
        # an event at c is seen at t from c - end + 1 to c - start, in microseconds
        moments = (("", 1 - end // _MICROSECOND), ("-", 1 - start // _MICROSECOND))
        return "\n    UNION ALL ".join(
            f"SELECT {keys}, {time} + {dialect.literal(Literal(shift, INT))} "
            f"AS {quote(self._time)}, {self._selected(rows, sign)} {tail}"
            for sign, shift in moments
        )

    def _key(self, sql: str, number: int) -> str:
        is_mixed = has_other_kinds(self._keys[number], number, self._relations)
        return self._dialect.cast(sql, INT) if is_mixed else sql

    def _selected(self, rows: Rows, sign: str) -> str:
        return ", ".join(
            f"{f'{sign}{change}' if alias == rows.alias else 'NULL'} AS {self._dialect.quote(name)}"
            for (alias, change), name in self._changes.items()
        )
