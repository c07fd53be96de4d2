"""Windows and as-of rows by sorting: rows and events one below the other, in order of key and time.

For each set of keys there is one such sort, a stage. A frame of the SQL standard says which events
a row sees, `RANGE BETWEEN start AND end` along microseconds. A join of rows with events would take
time and space with the square of a key's rows; a sort does not, and is as fast where keys are rare.
"""

# ruff: noqa: S608 - names are quoted and values written by the dialect

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tadka.dataset.define.bound import Bound, may_be_null
from tadka.dataset.define.relation import Rows
from tadka.dataset.expression.expression import Aggregate, Column, Expression, Literal, Sql
from tadka.dataset.expression.kind import FLOAT, INT, Kind
from tadka.dataset.sql.dialect import Dialect
from tadka.dataset.sql.spine import Names, Spine, condition_of, plain

_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class _Key:
    """A key in the sort.

    Args:
        name: Of its column.
        cast: What keys of events are made; None where they are so.
        sql: Over the dataset's rows; None where the column is one of theirs.
        is_nullable: Whether nulls are expected.
    """

    name: str
    cast: Kind | None
    sql: str | None
    is_nullable: bool


@dataclass(frozen=True)
class _Value:
    """A column of the sort: what is taken of each event, null for rows and other events.

    Args:
        name: Of the column.
        type: In SQL.
        branch: Number of the events that have it.
        sql: Over those events.
    """

    name: str
    type: str
    branch: int
    sql: str


class Stage:
    """Lookups by the same keys, found in one sort.

    Args:
        dialect: Of the engine.
        bound: The definition with its parameters.
        keys: Over the dataset's rows.
        relations: What is looked up, each with its key columns in the order of the keys.
        aggregates: Of their windows.
        used: Names of the columns of each as-of alias that are read.
        spine: The rows before.

    Attributes:
        spine: The rows with what was looked up for them.
    """

    def __init__(
        self,
        dialect: Dialect,
        bound: Bound,
        keys: Sequence[Expression[Any]],
        relations: Mapping[Rows, Sequence[str]],
        aggregates: Sequence[Aggregate[Any]],
        used: Mapping[str, Sequence[str]],
        spine: Spine,
    ) -> None:
        self._dialect = dialect
        self._bound = bound
        self.relations = relations
        self._used = used
        self._before = spine
        self._names = Names((*spine.columns, *spine.extra))
        self._is_row = self._names.fresh("is_row")
        self._time = self._names.fresh("t")
        has_sql = any(isinstance(part, Sql) for a in aggregates for part in a.walk())
        self._branches: dict[tuple[str | None, ...], tuple[int, Rows]] = {}
        self._branch_of = {
            rows.alias: self._branch(rows, columns, has_sql=has_sql)
            for rows, columns in relations.items()
        }
        self._keys: list[_Key] = []
        for number, key in enumerate(keys):
            self._keys.append(self._key(number, key))
        self._values: dict[tuple[int, str], _Value] = {}
        self._frames: dict[str, str] = {}  # name by the text
        self._calls: dict[str, str] = {}  # column by the call with its frame
        self._finals: dict[str, tuple[str, str]] = {}  # SQL and type by the column of the result
        self._results: dict[str, str] = {}  # that column by the aggregate or as-of alias
        for rows in relations:
            if not rows.is_window:
                self._newest(rows)
        for aggregate in aggregates:
            self._aggregate(aggregate)
        self.spine = self._sorted()

    # ------------------------------------------------------------ what the dataset's query uses

    def aggregate(self, aggregate: Aggregate[Any]) -> str:
        """An aggregate that the stage has computed.

        Args:
            aggregate: Of one of its windows.
        """
        return self._reached(self._results[self._identity(aggregate)])

    def column(self, column: Column[Any]) -> str:
        """A column of an as-of row.

        Args:
            column: Of one of its as-of relations.
        """
        assert column.relation is not None
        found = self._reached(self._results[column.relation.alias])
        return f"{found}.{self._dialect.quote(column.name)}"

    def named(self, rows: Rows) -> str:
        """What gives the columns of an as-of row its alias, for raw SQL.

        Args:
            rows: One of its as-of relations.
        """
        quote = self._dialect.quote
        names = ", ".join(map(quote, self._used[rows.alias]))
        found = self._reached(self._results[rows.alias])
        return f"LATERAL VIEW OUTER inline(array({found})) {quote(rows.alias)} AS {names}"

    def _reached(self, name: str) -> str:
        return f"{self._dialect.quote(self._before.alias)}.{self._dialect.quote(name)}"

    def _identity(self, aggregate: Aggregate[Any]) -> str:
        operand = "" if aggregate.operand is None else self._plain(aggregate.operand)
        return f"{aggregate.relation.alias} {aggregate.function} {aggregate.drops_nan} {operand}"

    def _plain(self, value: Expression[Any]) -> str:
        """SQL over the columns of one table."""
        return plain(self._bound, self._dialect, value)

    # ------------------------------------------------------------ the sort

    def _sorted(self) -> Spine:
        quote, before = self._dialect.quote, self._before
        carried = ", ".join(quote(name) for name in (*before.columns, *before.extra))
        calls = "".join(f", {call} AS {quote(name)}" for call, name in self._calls.items())
        frames = ", ".join(f"{name} AS ({text})" for text, name in self._frames.items())
        finals = "".join(f", {sql} AS {quote(name)}" for name, (sql, _) in self._finals.items())
        alias = quote(before.alias)
        source = (
            f"(SELECT {carried}{finals} FROM (\n"
            f"  SELECT {carried}, {quote(self._is_row)}{calls} FROM (\n"
            f"    {self._union()}\n  ) AS {alias}\n  WINDOW {frames}\n) AS {alias} "
            f"WHERE {quote(self._is_row)}) AS {alias}"
        )
        extra = {name: type_ for name, (_, type_) in self._finals.items()}
        return Spine(source, before.alias, before.columns, {**before.extra, **extra})

    # ------------------------------------------------------------ rows above events

    def _branch(self, rows: Rows, columns: Sequence[str], *, has_sql: bool) -> int:
        """The number of a lookup's events; what several have in common is sorted once."""
        alias = rows.alias if has_sql else None  # raw SQL calls its columns by the alias
        condition = condition_of(self._bound, self._dialect, rows)
        events = (rows.table.__name__, condition, alias, *columns)
        return self._branches.setdefault(events, (len(self._branches), rows))[0]

    def _key(self, number: int, key: Expression[Any]) -> _Key:
        is_mixed = _has_other_kinds(key, number, self.relations)
        is_nullable = may_be_null(key)
        is_first = all(isinstance(key, Column) and key.name != other.name for other in self._keys)
        if isinstance(key, Column) and not is_mixed and is_first:
            return _Key(key.name, None, None, is_nullable)  # the column is carried anyway
        name, sql = self._names.fresh(f"k{number}"), self._plain(key)
        if not is_mixed:
            return _Key(name, None, sql, is_nullable)
        return _Key(name, INT, self._dialect.cast(sql, INT), is_nullable)

    def _union(self) -> str:
        quote, dialect, before = self._dialect.quote, self._dialect, self._before
        time = self._bound.definition.rows.table.time_column
        assert time is not None
        own = [quote(name) for name in (*before.columns, *before.extra)]
        own += [f"{key.sql} AS {quote(key.name)}" for key in self._keys if key.sql is not None]
        own += [f"{dialect.micros(quote(time))} AS {quote(self._time)}"]
        own += [f"TRUE AS {quote(self._is_row)}"]
        own += [f"{_null(value.type)} AS {quote(value.name)}" for value in self._values.values()]
        parts = [f"SELECT {', '.join(own)} FROM {before.source}"]
        parts += [self._events(number, rows) for number, rows in self._branches.values()]
        return "\n    UNION ALL ".join(parts)

    def _events(self, number: int, rows: Rows) -> str:
        quote, dialect, before = self._dialect.quote, self._dialect, self._before
        columns = dict(zip((key.name for key in self._keys), self.relations[rows], strict=True))
        keys = {
            key.name: dialect.cast(quote(columns[key.name]), key.cast)
            if key.cast is not None
            else quote(columns[key.name])
            for key in self._keys
        }
        types = {name: dialect.type(kind) for name, kind in before.columns.items()}
        selected = [keys.pop(name, _null(t)) for name, t in {**types, **before.extra}.items()]
        selected += keys.values()
        assert rows.table.time_column is not None
        selected += [dialect.micros(quote(rows.table.time_column)), "FALSE"]
        selected += [
            value.sql if value.branch == number else _null(value.type)
            for value in self._values.values()
        ]
        return (
            f"SELECT {', '.join(selected)} FROM {quote(rows.table.__name__)} "
            f"AS {quote(rows.alias)} "
            f"WHERE {_has_event(self._bound, dialect, rows, self.relations[rows])}"
        )

    # ------------------------------------------------------------ what a row sees

    def _newest(self, rows: Rows) -> None:
        quote = self._dialect.quote
        used = self._used[rows.alias]
        kinds = {name: rows.table.columns[name].kind for name in used}
        packed = ", ".join(f"{self._dialect.text(name)}, {quote(name)}" for name in used)
        fields = ", ".join(f"{quote(name)}: {self._dialect.type(k)}" for name, k in kinds.items())
        type_ = f"STRUCT<{fields}>"
        value = self._value(self._branch_of[rows.alias], f"named_struct({packed})", type_)
        call = self._call(f"last({value}, true)", "UNBOUNDED PRECEDING", "CURRENT ROW")
        name = self._names.fresh(f"found_{len(self._finals)}")
        self._finals[name] = (call, type_)
        self._results[rows.alias] = name

    def _aggregate(self, aggregate: Aggregate[Any]) -> None:
        rows, shared = aggregate.relation, self._identity(aggregate)
        if shared in self._results:
            return
        assert isinstance(rows, Rows)
        assert rows.lookup is not None
        start, end = rows.lookup.start, rows.lookup.end
        assert start is not None
        assert end is not None
        first, last = start // _MICROSECOND, end // _MICROSECOND - 1
        branch = self._branch_of[rows.alias]
        frame = (self._bound_of(first), self._bound_of(last))
        final = self._final(aggregate, branch, frame)
        name = self._names.fresh(f"value_{len(self._finals)}")
        self._finals[name] = (final, self._dialect.type(aggregate.kind))
        self._results[shared] = name

    def _final(self, aggregate: Aggregate[Any], branch: int, frame: tuple[str, str]) -> str:
        """An aggregate made of calls over the frame."""
        dialect, function, operand = self._dialect, aggregate.function, aggregate.operand
        if operand is None:
            one = self._value(branch, dialect.literal(Literal(1, INT)), dialect.type(INT))
            return self._call(f"count({one})", *frame)
        sql = self._plain(operand)
        kind = operand.kind
        if function == "count":
            return self._call(f"count({self._value(branch, sql, dialect.type(kind))})", *frame)
        zero = dialect.literal(Literal(0.0, kind)) if kind.is_float else ""
        if function == "count_distinct":
            value = self._value(branch, f"({sql} + {zero})" if zero else sql, dialect.type(kind))
            if dialect.name == "spark":  # it counts nothing distinct over a frame
                # twice: before 4.2 its sets hold every NaN by itself
                values = self._call(f"collect_set({value})", *frame)
                return dialect.cast(f"size(array_distinct({values}))", INT)
            return self._call(f"count(DISTINCT {value})", *frame)
        if kind.is_float and aggregate.drops_nan:
            sql = f"CASE WHEN NOT {dialect.is_nan(sql)} THEN {sql} END"
        found = self._number(function, sql, kind, branch, frame)
        if kind.is_float and not aggregate.drops_nan:
            # NaN is the greatest value, and what it is added to is NaN
            seen = self._number("max", sql, kind, branch, frame) if function == "min" else found
            met = "NaN" if function in ("min", "max") else "NaN, or infinities of both signs"
            told = dialect.error(f"{aggregate} meets {met}; nan='drop' leaves NaN out.")
            found = f"CASE WHEN {dialect.is_nan(seen)} THEN {told} ELSE {found} END"
        return f"({found} + {zero})" if zero and function in ("min", "max") else found

    def _number(
        self, function: str, sql: str, kind: Kind, branch: int, frame: tuple[str, str]
    ) -> str:
        dialect = self._dialect
        if function in ("min", "max"):
            return self._call(f"{function}({self._value(branch, sql, dialect.type(kind))})", *frame)
        wide = INT if function == "sum" and kind.is_int else FLOAT
        value = self._value(
            branch, sql if kind == wide else dialect.cast(sql, wide), dialect.type(wide)
        )
        if wide != INT:
            return self._call(f"{'avg' if function == 'mean' else 'sum'}({value})", *frame)
        if dialect.name != "spark":  # the sum itself has 128 bits
            return dialect.cast(self._call(f"sum({value})", *frame), INT)
        # a plain sum fails if a part of it does not fit, and which part is first is chance; the
        # sums of the upper and the lower 32 bits do fit, and are put together at the end
        high = self._call(f"sum(shiftright({value}, 32))", *frame)
        low = self._call(f"sum({value} & 4294967295)", *frame)
        return f"(({high} + shiftright({low}, 32)) * 4294967296 + ({low} & 4294967295))"

    # ------------------------------------------------------------ columns of the sort

    def _value(self, branch: int, sql: str, type_: str) -> str:
        """The column of the sort that holds something of each event of a branch."""
        if (branch, sql) not in self._values:
            name = self._names.fresh(f"v{len(self._values)}")
            self._values[branch, sql] = _Value(name, type_, branch, sql)
        return self._dialect.quote(self._values[branch, sql].name)

    def _call(self, call: str, start: str, end: str) -> str:
        """The column that holds an aggregate over a frame."""
        quote = self._dialect.quote
        keys = [quote(key.name) for key in self._keys]
        # rows without a key see nothing; in one heap they would cost as much as all others
        is_null = " OR ".join(f"{quote(key.name)} IS NULL" for key in self._keys if key.is_nullable)
        if is_null:
            keys.append(f"CASE WHEN {is_null} THEN {quote(self._time)} END")
        frame = (
            f"PARTITION BY {', '.join(keys)} ORDER BY {quote(self._time)} "
            f"RANGE BETWEEN {start} AND {end}"
        )
        if frame not in self._frames:
            self._frames[frame] = self._names.fresh(f"w{len(self._frames)}")
        text = f"{call} OVER {self._frames[frame]}"
        if text not in self._calls:
            self._calls[text] = self._names.fresh(f"c{len(self._calls)}")
        return quote(self._calls[text])

    def _bound_of(self, micros: int) -> str:
        amount = self._dialect.literal(Literal(abs(micros), INT))
        return f"{amount} {'PRECEDING' if micros < 0 else 'FOLLOWING'}"


def _has_event(bound: Bound, dialect: Dialect, rows: Rows, keys: Iterable[str]) -> str:
    """Which rows of a table are events: null equals no key, and is no time."""
    assert rows.table.time_column is not None
    needed = dict.fromkeys([*keys, rows.table.time_column])
    where = [f"{dialect.quote(name)} IS NOT NULL" for name in needed]
    condition = condition_of(bound, dialect, rows)
    return " AND ".join(where if condition is None else [condition, *where])


def _has_other_kinds(
    key: Expression[Any], number: int, relations: Mapping[Rows, Sequence[str]]
) -> bool:
    """Whether what equals a key is of other kinds than it; all of them are whole numbers then."""
    return any(
        rows.table.columns[columns[number]].kind.name != key.kind.name
        for rows, columns in relations.items()
    )


def _null(type_: str) -> str:
    """Null of a type."""
    return f"CAST(NULL AS {type_})"


def stages_of(
    dialect: Dialect,
    bound: Bound,
    lookups: Iterable[Rows],
    values: Iterable[Expression[Any]],
    used: Mapping[str, Sequence[str]],
    spine: Spine,
) -> list[Stage]:
    """Lookups that are found by sorting, those with the same keys together.

    Args:
        dialect: Of the engine.
        bound: The definition with its parameters.
        lookups: All that are used.
        values: Expressions with all aggregates of windows.
        used: Names of the columns of each alias that are read.
        spine: The rows before.

    Returns:
        Stages, each over the spine of the one before.
    """
    groups: dict[tuple[str, ...], tuple[list[Expression[Any]], dict[Rows, list[str]]]] = {}
    for rows in lookups:
        if not _is_sorted(dialect, rows):
            continue
        assert rows.lookup is not None
        by_text = sorted((str(key), column) for column, key in rows.lookup.on.items())
        columns = [column for _, column in by_text]
        keys = [rows.lookup.on[column] for column in columns]
        _, members = groups.setdefault(tuple(text for text, _ in by_text), (keys, {}))
        members[rows] = columns
    stages: list[Stage] = []
    aggregates = [part for v in values for part in v.walk() if isinstance(part, Aggregate)]
    for keys, members in groups.values():
        mine = [a for a in aggregates if a.relation in members]
        stages.append(Stage(dialect, bound, keys, members, mine, used, spine))
        spine = stages[-1].spine
    return stages


def _is_sorted(dialect: Dialect, rows: Rows) -> bool:
    assert rows.lookup is not None
    is_as_of = rows.lookup.kind == "as_of" and rows.lookup.at is None
    return rows.is_window or (is_as_of and dialect.name != "duckdb")  # which has ASOF JOIN
