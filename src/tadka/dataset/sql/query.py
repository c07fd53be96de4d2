"""A definition as one query: rows, what is looked up for each of them, label and split.

A row's as-of rows and windows are found without joining every row with every event of its key:
rows and events are put one below the other and sorted by key and time, and each row looks along
that order (`window.py`). DuckDB has a join of its own for as-of rows. Tables are read once each,
by subqueries that keep the columns and rows that are used.
"""

# ruff: noqa: S608 - names are quoted and values written by the dialect

from collections.abc import Iterable, Mapping
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.define.bound import Bound
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.split import COLUMN, HashSplit, Split
from tadka.dataset.expression.expression import Aggregate, Column, Expression, Literal, Sql, if_else
from tadka.dataset.expression.kind import INT
from tadka.dataset.sql.dialect import Dialect
from tadka.dataset.sql.spine import Names, Spine, condition_of
from tadka.dataset.sql.window import Stage, stages_of


def select(bound: Bound, dialect: Dialect) -> str:
    """The query of a dataset: its columns in order, of exactly their kinds.

    It reads a view of each table by the table's name, as engines register them.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.

    Raises:
        ConfigError: An expression cannot be said in the dialect, even if the query has no use for
            it: checks may.
    """
    definition = bound.definition
    _refuse_other_sql(bound, dialect)
    outputs: dict[str, Expression[Any]] = dict(definition.features)
    if definition.label is not None:
        outputs[definition.label.name] = definition.label.expression
    query = _Query(bound, dialect, outputs.values(), definition.split)
    columns = [
        f"{_plain_zero(dialect, query.sql(value), value)} AS {dialect.quote(name)}"
        for name, value in outputs.items()
    ]
    if definition.split is not None:
        part = _part(query, definition.split)
        columns.append(f"{part} AS {dialect.quote(COLUMN)}")
    return "SELECT\n  " + ",\n  ".join(columns) + f"\nFROM {query.source}"


def _refuse_other_sql(bound: Bound, dialect: Dialect) -> None:
    for where, value in bound.definition.expressions():
        for part in value.walk():
            if isinstance(part, Sql) and dialect.name not in part.texts:
                raise ConfigError(
                    f"{where} has no text for {dialect.name}; give {dialect.name}= to {part}."
                )


def source(bound: Bound, dialect: Dialect, alias: str) -> str:
    """What stands after FROM to reach the rows of one alias, before anything is looked up.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.
        alias: Of rows of the dataset.
    """
    rows = bound.definition.relations[alias]
    return _source(bound, dialect, rows, rows.table.columns)


def condition(bound: Bound, dialect: Dialect, alias: str) -> str | None:
    """Which rows of its table an alias has: SQL over the table's columns; None for all.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.
        alias: Of rows of the dataset.
    """
    return condition_of(bound, dialect, bound.definition.relations[alias])


def matches(bound: Bound, dialect: Dialect, alias: str) -> str:
    """What stands after FROM for all rows with one column, `matches`.

    It says how many rows of a table are found for each: for `as_of` 0 or 1.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.
        alias: Of rows that are found by a lookup.
    """
    rows = bound.definition.relations[alias]
    assert rows.lookup is not None, alias
    name = dialect.quote("matches")
    if rows.lookup.kind == "join":
        keys = rows.lookup.on
        own = _Query(bound, dialect, keys.values(), None, lookups=())
        columns = [dialect.quote(key) for key in keys]
        grouped = (
            f"(SELECT {', '.join(columns)}, count(*) AS {name} FROM "
            f"{_source(bound, dialect, rows, keys)} GROUP BY {', '.join(columns)})"
        )
        on = " AND ".join(own.equality(rows, key) for key in keys)
        text = f"LEFT JOIN {grouped} AS {dialect.quote(alias)} ON {on}"
        found = f"coalesce({dialect.quote(alias)}.{name}, {dialect.literal(Literal(0, INT))})"
        return f"(SELECT {found} AS {name} FROM {own.source} {text}) AS {name}"
    wanted = rows.count() if rows.lookup.kind == "window" else _one_if_found(rows)
    query = _Query(bound, dialect, [wanted], None)
    return f"(SELECT {query.sql(wanted)} AS {name} FROM {query.source}) AS {name}"


def ties(bound: Bound, dialect: Dialect) -> dict[str, str]:
    """Queries by alias that find where an as-of row would be chosen by chance.

    Each gives the keys and times that several rows of the alias share, and `num_rows`, how many.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.
    """
    found = {}
    for alias, rows in bound.definition.relations.items():
        if rows.lookup is None or rows.lookup.kind != "as_of":
            continue
        assert rows.table.time_column is not None
        names = dict.fromkeys((*rows.lookup.on, rows.table.time_column))
        columns = ", ".join(map(dialect.quote, names))
        has_keys = " AND ".join(f"{dialect.quote(name)} IS NOT NULL" for name in names)
        found[alias] = (
            f"SELECT {columns}, count(*) AS {dialect.quote('num_rows')} "
            f"FROM {_source(bound, dialect, rows, names)} WHERE {has_keys} "
            f"GROUP BY {columns} HAVING count(*) > 1"
        )
    return found


class _Query:
    """The FROM clause for certain expressions, and their SQL over it."""

    def __init__(
        self,
        bound: Bound,
        dialect: Dialect,
        values: Iterable[Expression[Any]],
        split: Split | None,
        *,
        lookups: Iterable[Rows] | None = None,
    ) -> None:
        self.dialect = dialect
        self._bound = bound
        self._rows = bound.definition.rows
        values = list(values)
        if split is not None:
            values.append(split.key if isinstance(split, HashSplit) else split.column)
        self._has_sql = _has_sql(values)
        if lookups is None:
            lookups = self._lookups(values)
        self._used = self._used_columns(values, lookups)
        spine = Spine(
            self._source(self._rows),
            self._rows.alias,
            {name: self._rows.table.columns[name].kind for name in self._used[self._rows.alias]},
        )
        stages = stages_of(dialect, bound, lookups, values, self._used, spine)
        self._stages: Mapping[str, Stage] = {
            rows.alias: stage for stage in stages for rows in stage.relations
        }
        self.source = (stages[-1].spine if stages else spine).source
        for rows in lookups:
            if rows.alias not in self._stages:
                self._join(rows)
        if self._has_sql:  # raw SQL knows columns by the alias
            for rows in lookups:
                if rows.alias in self._stages and not rows.is_window:
                    self.source += "\n" + self._stages[rows.alias].named(rows)

    # ------------------------------------------------------------ expressions

    def sql(self, value: Expression[Any]) -> str:
        """An expression over the FROM clause."""
        return self.dialect.expression(
            value,
            column=self._column,
            parameters=self._bound.parameters,
            aggregate=self._aggregate,
        )

    def equality(self, rows: Rows, key: str) -> str:
        """That a key column of rows is what the lookup wants."""
        assert rows.lookup is not None
        wanted, column = rows.lookup.on[key], rows.table.columns[key]
        left, right = (
            f"{self.dialect.quote(rows.alias)}.{self.dialect.quote(key)}",
            self.sql(wanted),
        )
        if wanted.kind != column.kind:
            left, right = (self.dialect.cast(sql, INT) for sql in (left, right))
        return f"{left} = {right}"

    def _column(self, column: Column[Any]) -> str:
        rows = column.relation
        assert isinstance(rows, Rows), column
        if rows.alias in self._stages and not self._has_sql:
            return self._stages[rows.alias].column(column)
        return f"{self.dialect.quote(rows.alias)}.{self.dialect.quote(column.name)}"

    def _aggregate(self, aggregate: Aggregate[Any]) -> str:
        return self._stages[aggregate.relation.alias].aggregate(aggregate)

    # ------------------------------------------------------------ relations

    def _lookups(self, values: list[Expression[Any]]) -> list[Rows]:
        """Rows that are looked up: those that are used, and those that leave out rows."""
        used = set()
        for value in values:
            for part in value.walk():
                if isinstance(part, Column | Aggregate) and part.relation is not None:
                    used.add(part.relation.alias)
        return [
            rows
            for alias, rows in self._bound.definition.relations.items()
            if rows.lookup is not None
            and (
                alias in used
                or (self._has_sql and rows.lookup.kind != "window")
                or (rows.lookup.kind == "join" and _may_change_rows(rows))
            )
        ]

    def _used_columns(
        self, values: list[Expression[Any]], lookups: Iterable[Rows]
    ) -> dict[str, list[str]]:
        """Names of the columns of each relation that are read, in the order of the table."""
        used: dict[str, set[str]] = {self._rows.alias: set()}
        keys = [key for rows in lookups if rows.lookup for key in rows.lookup.on.values()]
        for value in (*values, *keys):
            for part in value.walk():
                if isinstance(part, Column) and part.relation is not None:
                    used.setdefault(part.relation.alias, set()).add(part.name)
        for rows in lookups:
            assert rows.lookup is not None
            mine = used.setdefault(rows.alias, set())
            mine.update(rows.lookup.on)
            if rows.lookup.kind != "join" and rows.table.time_column is not None:
                mine.add(rows.table.time_column)
                if rows.lookup.at is None and self._rows.table.time_column is not None:
                    used[self._rows.alias].add(self._rows.table.time_column)
        tables = {rows.alias: rows.table for rows in (self._rows, *lookups)}
        # raw SQL may name any column
        if _has_sql(keys):
            used[self._rows.alias].update(self._rows.table.columns)
        if self._has_sql:
            used.update({alias: set(table.columns) for alias, table in tables.items()})
        return {
            alias: [name for name in table.columns if name in used.get(alias, ())]
            or list(table.columns)[:1]  # rows that are only counted still have a column
            for alias, table in tables.items()
        }

    def _source(self, rows: Rows) -> str:
        return _source(self._bound, self.dialect, rows, self._used[rows.alias])

    def _join(self, rows: Rows) -> None:
        """Adds the join of a lookup to the FROM clause."""
        lookup, quote = rows.lookup, self.dialect.quote
        assert lookup is not None
        on = " AND ".join(self.equality(rows, key) for key in lookup.on)
        if lookup.kind == "join":
            how = "INNER" if lookup.how == "inner" else "LEFT"
            self.source += f"\n{how} JOIN {self._source(rows)} ON {on}"
            return
        assert rows.table.time_column is not None
        if lookup.at is not None:
            self.source += f"\nLEFT JOIN {self._newest(rows)} ON {on}"
            return
        name = self._rows.table.time_column
        assert name is not None
        own = f"{quote(self._rows.alias)}.{quote(name)}"
        since = f"{quote(rows.alias)}.{quote(rows.table.time_column)}"
        self.source += f"\nASOF LEFT JOIN {self._source(rows)} ON {on} AND {own} >= {since}"

    def _newest(self, rows: Rows) -> str:
        """For each key the newest row that is not later than a fixed time."""
        quote, lookup, time = self.dialect.quote, rows.lookup, rows.table.time_column
        at = self._bound.at(rows)
        assert lookup is not None
        assert at is not None
        assert time is not None
        columns = ", ".join(map(quote, self._used[rows.alias]))
        keys = ", ".join(map(quote, lookup.on))
        number = quote(Names(rows.table.columns).fresh("number"))
        return (
            f"(SELECT {columns} FROM (SELECT {columns}, row_number() OVER (PARTITION BY {keys} "
            f"ORDER BY {quote(time)} DESC) AS {number} FROM {self._source(rows)} "
            f"WHERE {quote(time)} <= {self.dialect.literal(at)}) AS {quote(rows.alias)} "
            f"WHERE {number} = 1) AS {quote(rows.alias)}"
        )


def _source(bound: Bound, dialect: Dialect, rows: Rows, names: Iterable[str]) -> str:
    columns = ", ".join(map(dialect.quote, names))
    alias = dialect.quote(rows.alias)
    where = condition_of(bound, dialect, rows)
    # raw SQL in a condition calls columns by the alias
    text = f"SELECT {columns} FROM {dialect.quote(rows.table.__name__)} AS {alias}"
    if where is not None:
        text += f" WHERE {where}"
    return f"({text}) AS {alias}"


def _has_sql(values: Iterable[Expression[Any]]) -> bool:
    return any(isinstance(part, Sql) for value in values for part in value.walk())


def _part(query: _Query, split: Split) -> str:
    """Which part of the split a row is in."""
    dialect, bound = query.dialect, query._bound  # noqa: SLF001 - of one module
    if isinstance(split, HashSplit):
        bucket = dialect.bucket(query.sql(split.key), split.key.kind, split.salt)
        *first, last = split.ends.items()
        cases = "".join(
            f"WHEN {bucket} < {dialect.literal(Literal(end, INT))} THEN {dialect.text(name)} "
            for name, end in first
        )
        return f"CASE {cases}ELSE {dialect.text(last[0])} END" if cases else dialect.text(last[0])
    moment = query.sql(split.column)
    cases = ""
    for name, end in bound.ends(split).items():
        is_inside = f"{moment} IS NOT NULL"
        if end is not None:
            is_inside = f"{moment} < {dialect.literal(end)}"
        cases += f"WHEN {is_inside} THEN {dialect.text(name)} "
    told = dialect.error(
        f"A row is in no part of the split: {split.column} is null, or later than the last part."
    )
    return f"CASE {cases}ELSE {told} END"


def _plain_zero(dialect: Dialect, sql: str, value: Expression[Any]) -> str:
    """-0.0 made 0.0, so that which of the two an engine keeps does not matter."""
    if not value.kind.is_float:
        return sql
    return f"({sql} + {dialect.literal(Literal(0.0, value.kind))})"


def _one_if_found(rows: Rows) -> Expression[Any]:
    """1 where an as-of row is found, which has a time then; else 0."""
    assert rows.table.time_column is not None
    is_missing = rows[rows.table.time_column].is_null()
    return if_else(is_missing, 0, 1)


def _may_change_rows(rows: Rows) -> bool:
    return rows.lookup is not None and (rows.lookup.how == "inner" or rows.lookup.max_matches > 1)
