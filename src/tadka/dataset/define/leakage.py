"""Leakage: whether a definition uses what was not known yet, before anything is read.

A row of the dataset has a time t. What it is made of must have been known at t, and what it is to
predict must have happened after all of that, and be final when the tables were read. Whether it is
so follows from the definition alone, by arithmetic on intervals; all of them are half-open, so that
two which touch do not overlap.

On a line of time a date is its midnight, and the clocks of dates and of times are taken for the
same (that of UTC for times with a zone). Where a part of a table is given by date, `cutoffs_of`
says what that means for times: rows for which it does not hold break the arithmetic.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from tadka.dataset.define.bound import Bound, Definition
from tadka.dataset.define.label import Label
from tadka.dataset.define.moment import Moment, Values, moment_of, value_of
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import kind_hint, raise_all
from tadka.dataset.define.split import TimeSplit
from tadka.dataset.expression.expression import Aggregate, Call, Column, Expression, Literal
from tadka.dataset.expression.kind import DATE, UTC, Kind

_NOTHING = dt.timedelta(0)


def check_definition(definition: Definition) -> None:
    """Refuses what is leakage whatever the parameters.

    Args:
        definition: Of a dataset.

    Raises:
        ConfigError: It uses what was not known; all mistakes are listed.
    """
    raise_all(f"Dataset {definition.name!r}", _Audit(definition, None).mistakes())


def check_bound(bound: Bound) -> None:
    """Refuses what is leakage with these parameters, and what cannot be shown to be none.

    Args:
        bound: A definition with values for its parameters.

    Raises:
        ConfigError: It uses what was not known; all mistakes are listed.
    """
    definition = bound.definition
    raise_all(f"Dataset {definition.name!r}", _Audit(definition, bound.parameters).mistakes())


def cutoffs_of(bound: Bound) -> dict[str, Expression[bool]]:
    """What must hold for the rows of an alias besides: their time is in the part asked for by date.

    A table whose partitions are days of another zone breaks it. Of `rows`, some would then be later
    than the period; of what is looked up, some that the first or the last rows need would be left
    out.

    Args:
        bound: A definition with values for its parameters.

    Returns:
        Conditions over the rows of an alias; none for one that is not taken by date, or as of a
        time.
    """
    found = {}
    for alias, rows in bound.definition.relations.items():
        span, name = bound.span(rows), rows.table.time_column
        if span is None or rows.span is None or name is None or rows.span.by == name:
            continue
        if rows.lookup is not None and rows.lookup.kind == "as_of":
            continue  # the newest row of a key may be much older than the part that it lies in
        start, end = (_on_clock_of(rows[name].kind, bound_) for bound_ in span)
        found[alias] = rows[name].between(start, end)
    return found


def _on_clock_of(kind: Kind, value: Literal[Any]) -> Literal[Any]:
    """A date or time as one of a kind of time: its clock is taken for that of UTC."""
    moment = value.value
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
    return Literal(moment.replace(tzinfo=dt.UTC if kind == UTC else None), kind)


class _Audit:
    """One look at a definition; without values of parameters, only at what is sure without."""

    def __init__(self, definition: Definition, values: Values | None) -> None:
        self._definition = definition
        self._values = values
        self._rows = definition.rows
        label = definition.label
        self._label_windows = {} if label is None else _windows(label.expression)
        self._label_parts = self._parts_of_label(label)
        self._label_columns = frozenset(
            part.name for part in self._label_parts if part.relation is self._rows
        )

    def mistakes(self) -> list[str]:
        """All that is wrong, in the order of the definition."""
        found = [
            *self._lookup_mistakes(),
            *self._feature_mistakes(),
            *self._label_mistakes(),
            *self._cover_mistakes(),
            *self._split_mistakes(),
        ]
        return list(dict.fromkeys(found))

    # ------------------------------------------------------------ lookups

    def _lookup_mistakes(self) -> Iterator[str]:
        time_name = self._rows.table.time_column
        for alias, rows in self._definition.relations.items():
            lookup = rows.lookup
            if lookup is None:
                continue
            name = rows.table.time_column
            table = rows.table.__name__
            if lookup.kind == "join":
                if name is not None:
                    yield (
                        f"{alias!r} joins table {table!r}, whose column {name!r} says when a row "
                        "came to be known; join() would take later ones, too. Use as_of(on=...) "
                        "or last(...)."
                    )
                else:
                    yield from self._dated_join_mistakes(alias, rows)
                continue
            assert name is not None  # as_of and within ask for it
            if lookup.at is not None:
                yield from self._fixed_time_mistakes(alias, rows, lookup.at)
            elif time_name is None:
                yield (
                    f"{alias!r} is found by time, and table {self._rows.table.__name__!r} of its "
                    "rows has no column of time; declare one with time='...'."
                )
                continue
            elif lookup.kind == "as_of" and self._finds_itself(rows):
                yield (
                    f"{alias!r} looks up the newest row of table {table!r}, of which its rows are: "
                    "each finds itself. Use last(...), which ends before the row, or another key."
                )
            if time_name is not None:
                mine, other = (
                    r.table.columns[n].kind for r, n in ((rows, name), (self._rows, time_name))
                )
                if mine != other:
                    yield (
                        f"{alias!r} is found by {table}.{name} of type {mine}, and the time of its "
                        f"rows {self._rows.table.__name__}.{time_name} is {other}."
                        f"{kind_hint(mine, other)}"
                    )

    def _dated_join_mistakes(self, alias: str, rows: Rows) -> Iterator[str]:
        """A join of what has days although it has no time: a snapshot may be of a later one."""
        assert rows.lookup is not None
        days = [
            column.name
            for column in rows.table.columns.values()
            if column.is_partition and (column.kind == DATE or column.kind.is_time)
        ]
        if rows.span is not None:
            days.append(rows.span.by)
        for day in dict.fromkeys(days):
            key = rows.lookup.on.get(day)
            if key is None or not self._is_past(key):
                yield (
                    f"{alias!r} joins table {rows.table.__name__!r}, whose column {day!r} has "
                    f"days; its rows may be of a later day than {self._rows.alias!r}. Declare "
                    f"time='...' and use as_of(on=...), or join on {day!r}, too: the day of the "
                    "row or an earlier one."
                )

    def _is_past(self, key: Expression[Any]) -> bool:
        """Whether a key is the day or the time of the row itself, or an earlier one."""
        if isinstance(key, Column):
            is_day = key.is_partition and (key.kind == DATE or key.kind.is_time)
            return key.relation is self._rows and (
                is_day or key.name == self._rows.table.time_column
            )
        if not isinstance(key, Call):
            return False
        if key.operator == "shift":
            span = key.arguments[1]
            return isinstance(span, Literal) and span.value <= 0 and self._is_past(key.arguments[0])
        return key.operator in ("date", "in_zone") and self._is_past(key.arguments[0])

    def _finds_itself(self, rows: Rows) -> bool:
        """Whether the newest row with the key is the dataset's row itself."""
        assert rows.lookup is not None
        keys = rows.lookup.on.items()
        return (
            rows.table.source == self._rows.table.source
            and (rows.condition is None or str(rows.condition) == str(self._rows.condition))
            and all(isinstance(k, Column) and k.name == name for name, k in keys)
        )

    def _fixed_time_mistakes(self, alias: str, rows: Rows, at: Expression[Any]) -> Iterator[str]:
        what = (
            f"{alias!r} looks up table {rows.table.__name__!r} by its column "
            f"{rows.table.time_column!r} as of {at}"
        )
        way_out = "Leave out at=: each row is then looked up as of its own time."
        if self._rows.span is None:
            yield (
                f"{what}, and rows {self._rows.alias!r} have no between() that says when they "
                f"begin. {way_out}"
            )
            return
        moment = self._moment(at)
        late = moment.since(self._moment(self._rows.span.start))
        # what is not before the end of the rows is after their start, whatever the parameters
        after_end = moment.since(self._moment(self._rows.span.end))
        if (late is not None and late > _NOTHING) or (
            late is None and after_end is not None and after_end >= _NOTHING
        ):
            shown = "" if late is None else f", {late} later"
            yield (
                f"{what}, and the first row may be of {self._rows.span.start}{shown}: early rows "
                f"would know what came after them. {way_out}"
            )

    # ------------------------------------------------------------ features

    def _feature_mistakes(self) -> Iterator[str]:
        for name, feature in self._definition.features.items():
            for alias, rows in _windows(feature).items():
                assert rows.lookup is not None
                assert rows.lookup.end is not None
                if alias in self._label_windows and rows.lookup.end > _NOTHING:
                    yield (
                        f"feature {name!r} uses {alias!r}, the window of the label, which is not "
                        "known at the time of the row."
                    )
                elif rows.lookup.end > _NOTHING:
                    yield (
                        f"feature {name!r} uses {alias!r}, which ends {rows.lookup.end} after the "
                        "time of the row; a feature knows what was before it. Use last(...)."
                    )
            yield from self._echo_mistakes(name, feature)

    def _echo_mistakes(self, name: str, feature: Expression[Any]) -> Iterator[str]:
        """A feature of the columns of the label: of its own row, or of rows too fresh for them."""
        label = self._definition.label
        if label is None:
            return
        columns = {(id(part.relation), part.name) for part in self._label_parts}
        for part in _parts_and_keys(feature):
            if isinstance(part, Column) and (id(part.relation), part.name) in columns:
                yield (
                    f"feature {name!r} uses {part}, of which the label {label.name!r} is made; it "
                    "would predict itself."
                )
        ripe = label.gap + (label.window or _NOTHING)
        for rows in _relations(feature):
            if rows is self._rows or rows.table.source != self._rows.table.source:
                continue
            read = _names_read(feature, rows) & self._label_columns
            end = _end_of(rows)
            # as_of also finds rows of the same time, and a join any: the row itself may be one
            is_open = rows.lookup is not None and rows.lookup.kind != "window"
            known = None if end is None else end + ripe
            if read and (is_open if known is None else known > _NOTHING or (is_open and not known)):
                names = ", ".join(sorted(map(repr, read)))
                yield (
                    f"feature {name!r} uses {names} of {rows.alias!r}, final {ripe} after each "
                    f"row, of rows until {_after(end or _NOTHING)}: it was filled in later than t. "
                    f"Use last(..., gap=...) of at least {ripe}."
                )

    def _parts_of_label(self, label: Label | None) -> list[Column[Any]]:
        """Columns that are the label: those it is made of, unless windows make it one."""
        if label is None or (self._label_windows and label.window is None):
            return []
        return [part for part in label.expression.walk() if isinstance(part, Column)]

    # ------------------------------------------------------------ label

    def _label_mistakes(self) -> Iterator[str]:
        label = self._definition.label
        if label is None:
            return
        for alias, rows in self._label_windows.items():
            assert rows.lookup is not None
            start = rows.lookup.start
            assert start is not None
            for name, feature in self._definition.features.items():
                end = _known_until(feature)
                if end is not None and start < end:
                    yield (
                        f"the window {alias!r} of label {label.name!r} begins at {_after(start)}, "
                        f"{end - start} before the end of what feature {name!r} uses, "
                        f"{_after(end)}; it must not begin before. Use next(...)."
                    )
        ends = [r.lookup.end for r in self._label_windows.values() if r.lookup and r.lookup.end]
        if label.window is not None:
            ends.append(label.gap + label.window)
        yield from self._maturity_mistakes(label, max([_NOTHING, *ends]))

    def _maturity_mistakes(self, label: Label, ripe: dt.timedelta) -> Iterator[str]:
        if label.matured_by is None:
            if ripe > _NOTHING:
                yield (
                    f"label {label.name!r} is final {ripe} after its row, and nothing says when "
                    "the tables were read. Give matured_by=..., such as a Parameter(Utc)."
                )
            return
        time = self._rows.table.time_column
        if time is not None:
            kind, given = self._rows.table.columns[time].kind, label.matured_by.kind
            if given not in (kind, DATE):
                yield (
                    f"matured_by of label {label.name!r} is {label.matured_by} of type {given}, "
                    f"and the time of its rows {self._rows.table.__name__}.{time} is {kind}."
                    f"{kind_hint(given, kind)}"
                )
                return
        if self._rows.span is None:
            yield (
                f"label {label.name!r} must have ripened by {label.matured_by}, and rows "
                f"{self._rows.alias!r} have no between() that says when they end."
            )
            return
        ripened = self._moment(self._rows.span.end) + ripe
        missing = ripened.since(self._moment(label.matured_by))
        if missing is not None and missing > _NOTHING:
            yield (
                f"label {label.name!r} of rows until {self._shown(self._rows.span.end)} is final "
                f"{ripe} later, {missing} after {self._shown(label.matured_by)}, by which it must "
                f"be. Let the rows end {missing} earlier, or read the tables later."
            )

    # ------------------------------------------------------------ what is read

    def _cover_mistakes(self) -> Iterator[str]:
        """Lookups whose own between() leaves out rows that they need."""
        mine = self._rows.span
        for alias, rows in self._definition.relations.items():
            lookup, span = rows.lookup, rows.span
            if lookup is None or span is None or lookup.kind == "join":
                continue
            if lookup.at is not None:
                first = last = self._moment(lookup.at)
            elif mine is None:
                yield (
                    f"{alias!r} has a between() and rows {self._rows.alias!r} have none, so it "
                    "leaves out what some rows need. Give both one, or none."
                )
                continue
            else:
                first = self._moment(mine.start) + (lookup.start or _NOTHING)
                last = self._moment(mine.end) + (lookup.end or _NOTHING)
            need = "the rows" if lookup.at is None else "the time"
            early = self._moment(span.start).since(first)
            if early is not None and early > _NOTHING:
                yield (
                    f"{alias!r} begins at {self._shown(span.start)}, {early} later than {need} of "
                    f"{self._rows.alias!r} need{'s' * (lookup.at is not None)}; let its between() "
                    f"begin {early} earlier."
                )
            late = last.since(self._moment(span.end))
            if late is not None and late > _NOTHING:
                yield (
                    f"{alias!r} ends at {self._shown(span.end)}, {late} earlier than {need} of "
                    f"{self._rows.alias!r} need{'s' * (lookup.at is not None)}; let its between() "
                    f"end {late} later."
                )

    def _split_mistakes(self) -> Iterator[str]:
        split, span = self._definition.split, self._rows.span
        if not isinstance(split, TimeSplit):
            return
        final, end = list(split.ends.items())[-1]
        if end is None:
            return
        # only along its own span or time is it known how far the rows reach
        known = (self._rows.span and self._rows.span.by, self._rows.table.time_column)
        is_known = (
            span is not None
            and isinstance(split.column, Column)
            and split.column.relation is self._rows
            and split.column.name in known
        )
        if span is None or not is_known:
            yield (
                f"nothing says that {split.column} is before the end of part {final!r}, and rows "
                f"after it are in no part. Write {final}=None: it then has no end."
            )
            return
        over = self._moment(span.end).since(self._moment(end))
        if over is not None and over > _NOTHING:
            yield (
                f"rows of the last {over} are in no part: {final!r} ends at {self._shown(end)}, "
                f"and rows {self._rows.alias!r} at {self._shown(span.end)}. Write {final}=None, or "
                "a later end."
            )

    # ------------------------------------------------------------ parts

    def _moment(self, expression: Expression[Any]) -> Moment:
        return moment_of(expression, self._values)

    def _shown(self, expression: Expression[Any]) -> str:
        """An expression, with its value where that is known and says more."""
        if self._values is None:
            return str(expression)
        value = str(value_of(expression, self._values))
        return value if value == str(expression) else f"{expression} = {value}"


def _windows(value: Expression[Any]) -> dict[str, Rows]:
    """The windows that a value is aggregated from, by alias."""
    return {
        part.relation.alias: part.relation
        for part in value.walk()
        if isinstance(part, Aggregate) and isinstance(part.relation, Rows)
    }


def _relations(value: Expression[Any]) -> list[Rows]:
    """All rows that a value is made of."""
    found: dict[int, Rows] = {}
    for part in value.walk():
        if isinstance(part, Column | Aggregate) and isinstance(part.relation, Rows):
            found[id(part.relation)] = part.relation
    return list(found.values())


def _parts_and_keys(value: Expression[Any]) -> Iterator[Expression[Any]]:
    """What a value is made of, and what its rows are found by."""
    yield from value.walk()
    for rows in _relations(value):
        if rows.lookup is not None:
            for key in rows.lookup.on.values():
                yield from key.walk()


def _names_read(value: Expression[Any], rows: Rows) -> frozenset[str]:
    """Columns of certain rows that decide a value: its own, and those of their condition."""
    parts = [p for p in value.walk() if isinstance(p, Column) and p.relation is rows]
    condition = rows.condition
    if condition is not None:
        parts += [p for p in condition.walk() if isinstance(p, Column)]
    return frozenset(part.name for part in parts)


def _known_until(feature: Expression[Any]) -> dt.timedelta | None:
    """When the last of what a feature uses was known, from t on; None where that has no time."""
    ends = [end for rows in _relations(feature) if (end := _end_of(rows)) is not None]
    return max(ends, default=None)


def _end_of(rows: Rows) -> dt.timedelta | None:
    """When the last of certain rows were known, from t on; None for a table without time."""
    if rows.lookup is None or rows.lookup.kind == "as_of":
        return _NOTHING
    return rows.lookup.end


def _after(span: dt.timedelta) -> str:
    """A moment relative to that of the row, for people."""
    if not span:
        return "t"
    return f"t + {span}" if span > _NOTHING else f"t - {-span}"
