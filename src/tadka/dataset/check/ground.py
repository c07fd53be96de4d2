"""What the checks of a dataset may name, and the SQL by which they look at it."""

from collections.abc import Sequence

from tadka.dataset.check.check import Check, Ground, Scope
from tadka.dataset.check.inputs import TimeCutoff
from tadka.dataset.check.integrity import NoTies, NotMultiplied
from tadka.dataset.check.rows import RowCount
from tadka.dataset.define.bound import Bound, Definition
from tadka.dataset.define.leakage import cutoffs_of
from tadka.dataset.sql.dialect import Dialect
from tadka.dataset.sql.query import matches, source, ties


def scope_of(definition: Definition) -> Scope:
    """What a definition has that checks may name.

    Args:
        definition: Of a dataset.
    """
    by_role = {column.role: (column.name, column.kind) for column in definition.columns}
    tables = {}
    for name, table in definition.tables.items():
        time = table.time_column
        tables[name] = None if time is None else (time, table.columns[time].kind)
    return Scope(
        features={name: feature.kind for name, feature in definition.features.items()},
        label=by_role.get("label"),
        split=by_role.get("split"),
        relations={
            alias: {name: column.kind for name, column in rows.table.columns.items()}
            for alias, rows in definition.relations.items()
        },
        rows=definition.rows.alias,
        lookups=[a for a, rows in definition.relations.items() if rows.lookup is not None],
        tables=tables,
    )


def ground_of(bound: Bound, dialect: Dialect, previous_rows: int | None = None) -> Ground:
    """Where the checks of a dataset run.

    Args:
        bound: The definition with its parameters.
        dialect: Of the engine.
        previous_rows: Number of rows of the version before; None where there is none.
    """
    definition = bound.definition
    span = bound.span(definition.rows)
    scope = scope_of(definition)
    return Ground(
        scope=scope,
        dialect=dialect,
        sources={alias: source(bound, dialect, alias) for alias in definition.relations},
        tables={name: dialect.quote(name) for name in definition.tables},
        matches={alias: matches(bound, dialect, alias) for alias in scope.lookups},
        ties=ties(bound, dialect),
        end=None if span is None else span[1].value,
        cutoffs=cutoffs_of(bound),
        previous_rows=previous_rows,
    )


def checks_of(bound: Bound) -> list[Check]:
    """The checks of a dataset on rows: those that it names, and those that always run.

    Args:
        bound: The definition with its parameters.
    """
    definition = bound.definition
    asked: Sequence[Check] = [check for check in definition.checks if check.stage == "rows"]
    found: list[Check] = []
    for alias, rows in definition.relations.items():
        if rows.lookup is None:
            continue
        if rows.lookup.kind == "as_of":
            found.append(NoTies(alias))
        elif rows.lookup.kind == "join":
            keeps_all = rows.lookup.how == "left"
            found.append(NotMultiplied(alias, rows.lookup.max_matches, keeps_all))
    for cls in (TimeCutoff, RowCount):
        is_needed = cls is RowCount or cutoffs_of(bound)
        if is_needed and not any(isinstance(check, cls) for check in asked):
            found.append(cls())
    return [*found, *asked]
