"""A dataset as data: its definition, and the definition with values for its parameters."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from tadka.core.error import ConfigError
from tadka.dataset.define.label import Label
from tadka.dataset.define.moment import in_kind, moment_of, value_of
from tadka.dataset.define.output import Output
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import Schema, nearest, raise_all
from tadka.dataset.define.split import COLUMN, HashSplit, Split, TimeSplit
from tadka.dataset.expression.expression import (
    Aggregate,
    Call,
    Column,
    Expression,
    Parameter,
    Sql,
    as_literal,
)
from tadka.dataset.expression.expression import Literal as Constant
from tadka.dataset.expression.kind import STRING, Kind


@dataclass(frozen=True)
class OutputColumn:
    """A column of what is written.

    Args:
        name: Of the column.
        kind: Its type.
        is_nullable: Whether nulls are expected.
        is_inexact: Whether its last digits depend on the order in which an engine adds up.
        role: `"feature"`, `"label"` or `"split"`.
    """

    name: str
    kind: Kind
    is_nullable: bool
    is_inexact: bool
    role: Literal["feature", "label", "split"]


class Use(NamedTuple):
    """An expression in a definition.

    Args:
        where: The words for it in a message: `"feature 'age'"`.
        value: The expression.
        role: `"bound"`, known before rows are; `"condition"`, over columns of a table itself;
            `"key"`, by which rows are found or split, over columns of `rows` alone; `"value"`, for
            each row of the output.
    """

    where: str
    value: Expression[Any]
    role: Literal["bound", "condition", "key", "value"]


@dataclass(frozen=True, eq=False)
class Definition:
    """What a dataset is made of, and how.

    Args:
        name: That of its class.
        doc: What its class says of it; empty where it says nothing.
        parameters: By name.
        relations: All rows that it names, by alias, in the order of the class; `rows` among them.
        rows: Those of which each becomes a row of the output.
        features: Expressions by the name of their column.
        label: What is to be predicted; None for a dataset without.
        split: How rows are divided into parts; None for one part.
        checks: That a version must pass.
        output: How it is written.
    """

    name: str
    doc: str
    parameters: Mapping[str, Parameter[Any]]
    relations: Mapping[str, Rows]
    rows: Rows
    features: Mapping[str, Expression[Any]]
    label: Label | None
    split: Split | None
    checks: tuple[Any, ...]
    output: Output

    @cached_property
    def tables(self) -> dict[str, type[Schema]]:
        """The tables that it reads, by name."""
        return {rows.table.__name__: rows.table for rows in self.relations.values()}

    @cached_property
    def columns(self) -> list[OutputColumn]:
        """The columns of the output: features, then the label, then the part of the split."""
        roles: list[tuple[str, Expression[Any], Literal["feature", "label"]]] = [
            (name, feature, "feature") for name, feature in self.features.items()
        ]
        if self.label is not None:
            roles.append((self.label.name, self.label.expression, "label"))
        columns = [
            OutputColumn(name, value.kind, may_be_null(value), is_inexact(value), role)
            for name, value, role in roles
        ]
        if self.split is not None:
            columns.append(OutputColumn(COLUMN, STRING, False, False, "split"))
        return columns

    @property
    def is_portable(self) -> bool:
        """Whether engines are promised to agree: it has no SQL of its own."""
        every = (part for _, value in self.expressions() for part in value.walk())
        return not any(isinstance(part, Sql) for part in every)

    def expressions(self) -> Iterator[tuple[str, Expression[Any]]]:
        """Every expression with the words for it in a message: `"feature 'age'"`."""
        return ((use.where, use.value) for use in self.uses())

    def uses(self) -> Iterator[Use]:
        """Every expression, with what it is for."""
        for alias, rows in self.relations.items():
            if rows.span is not None:
                yield Use(f"the start of {alias!r}", rows.span.start, "bound")
                yield Use(f"the end of {alias!r}", rows.span.end, "bound")
            if rows.condition is not None:
                yield Use(f"the condition of {alias!r}", rows.condition, "condition")
            if rows.lookup is not None:
                for name, key in rows.lookup.on.items():
                    yield Use(f"key {name!r} of {alias!r}", key, "key")
                if rows.lookup.at is not None:
                    yield Use(f"the time of {alias!r}", rows.lookup.at, "bound")
        for name, feature in self.features.items():
            yield Use(f"feature {name!r}", feature, "value")
        if self.label is not None:
            yield Use(f"label {self.label.name!r}", self.label.expression, "value")
            if self.label.matured_by is not None:
                yield Use(
                    f"matured_by of label {self.label.name!r}", self.label.matured_by, "bound"
                )
        if isinstance(self.split, HashSplit):
            yield Use("the key of the split", self.split.key, "key")
        elif isinstance(self.split, TimeSplit):
            yield Use("the time of the split", self.split.column, "key")
            for name, end in self.split.ends.items():
                if end is not None:
                    yield Use(f"the end of part {name!r}", end, "bound")

    def bind(self, /, **values: Any) -> "Bound":
        """The definition with values for its parameters.

        Args:
            **values: By name; of Python, or for dates and times a text in ISO form.

        Raises:
            ConfigError: A parameter is missing, unknown or of the wrong type, or a part of a table
                ends before it begins; all mistakes are listed.
        """
        found: dict[str, Constant[Any]] = {}
        mistakes = [
            f"Parameter {name!r} is not known. {nearest(name, self.parameters, 'parameters')}"
            for name in values
            if name not in self.parameters
        ]
        for name, parameter in self.parameters.items():
            if values.get(name) is None:
                if name in values or parameter.default is None:
                    said = "None" if name in values else "missing"
                    mistakes.append(
                        f"Parameter {name!r} is {said}; give {name}=..., of type {parameter.kind}."
                    )
                else:
                    found[name] = parameter.default
                continue
            try:
                found[name] = as_literal(values[name], parameter.kind, f"Parameter {name!r}")
            except ConfigError as error:
                mistakes.append(str(error))
        where = f"Dataset {self.name!r}"
        raise_all(where, mistakes)
        bound = Bound(self, found)
        raise_all(where, _order_mistakes(bound))
        return bound


@dataclass(frozen=True, eq=False)
class Bound:
    """A definition with values for its parameters: what one version is made from.

    Args:
        definition: Of the dataset.
        parameters: Values by name, in the order of the definition.
    """

    definition: Definition
    parameters: Mapping[str, Constant[Any]]

    def value(self, expression: Expression[Any]) -> Constant[Any]:
        """The value of a constant, a parameter, or one of them plus a duration.

        Args:
            expression: Such a one.

        Raises:
            ConfigError: It depends on rows, or lies outside the years 1 to 9999.
        """
        return value_of(expression, self.parameters)

    def span(self, rows: Rows) -> tuple[Constant[Any], Constant[Any]] | None:
        """The bounds of a part of a table, of the type of its column; None for all of it.

        Args:
            rows: Of this dataset.
        """
        if rows.span is None:
            return None
        kind = rows.table.columns[rows.span.by].kind
        start, end = (
            in_kind(self.value(bound), kind, f"A bound of {rows.alias!r}")
            for bound in (rows.span.start, rows.span.end)
        )
        return start, end

    def at(self, rows: Rows) -> Constant[Any] | None:
        """The fixed time that rows are looked up from; None for that of each row.

        Args:
            rows: Of this dataset, found by `as_of`.
        """
        if rows.lookup is None or rows.lookup.at is None or rows.table.time_column is None:
            return None
        kind = rows.table.columns[rows.table.time_column].kind
        return in_kind(self.value(rows.lookup.at), kind, f"The time of {rows.alias!r}")

    def ends(self, split: TimeSplit) -> dict[str, Constant[Any] | None]:
        """Where each part of a split by time ends, of the type of its column; None for never.

        Args:
            split: That of this dataset.
        """
        kind = split.column.kind
        return {
            name: None if end is None else in_kind(self.value(end), kind, f"The end of {name!r}")
            for name, end in split.ends.items()
        }


def _order_mistakes(bound: Bound) -> list[str]:
    mistakes = []
    for alias, rows in bound.definition.relations.items():
        if rows.span is None:
            continue
        try:
            start, end = bound.value(rows.span.start), bound.value(rows.span.end)
        except ConfigError as error:
            mistakes.append(str(error))
            continue
        if moment_of(start).offset >= moment_of(end).offset:
            mistakes.append(
                f"{alias!r} is between {rows.span.start} = {start} and {rows.span.end} = {end}; "
                "the start must be before the end, which is not inside any more."
            )
    split = bound.definition.split
    if isinstance(split, TimeSplit) and not mistakes:
        ends = [(name, end) for name, end in bound.ends(split).items() if end is not None]
        for (one, first), (two, second) in itertools.pairwise(ends):
            if first.value >= second.value:
                mistakes.append(
                    f"Part {one!r} of the split ends at {first} and the next, {two!r}, at "
                    f"{second}; each must end later than the one before."
                )
    return mistakes


def may_be_null(value: Expression[Any]) -> bool:
    """Whether nulls are expected of an expression, from what its columns declare.

    Args:
        value: Over rows of a dataset.
    """
    if isinstance(value, Column):
        found = value.relation.lookup if isinstance(value.relation, Rows) else None
        is_found_always = found is None or (found.kind == "join" and found.how == "inner")
        return value.is_nullable or not is_found_always
    if isinstance(value, Aggregate):
        return value.function not in ("count", "count_distinct")
    if isinstance(value, Sql):
        return True
    if isinstance(value, Call):
        parts = list(map(may_be_null, value.arguments))
        if value.operator == "is_null":
            return False
        if value.operator == "coalesce":
            return all(parts)
        return any(parts[1:]) if value.operator == "if_else" else any(parts)
    return False


def is_inexact(value: Expression[Any]) -> bool:
    """Whether an expression depends on the order in which an engine adds up floats.

    Args:
        value: Over rows of a dataset.
    """
    return any(isinstance(part, Aggregate) and part.is_inexact for part in value.walk())
