"""The class that a user writes: rows, features, a label, a split, checks and an output."""

import datetime as dt
import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tadka.core.error import ConfigError
from tadka.dataset.define.bound import Bound, Definition, OutputColumn, may_be_null
from tadka.dataset.define.label import Label
from tadka.dataset.define.leakage import check_definition
from tadka.dataset.define.output import Output
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import check_name, nearest, raise_all, twins
from tadka.dataset.define.split import COLUMN, HashSplit, Split, TimeSplit
from tadka.dataset.expression.expression import Aggregate, Column, Expression, Parameter

__all__ = ["Bound", "Dataset", "Definition", "OutputColumn"]

_ROLES = ("rows", "features", "label", "split", "checks", "output")
# Arguments of session() beside the parameters of a dataset, what texts of expressions call these
# parameters, and what is made of the class.
_TAKEN = frozenset(
    {
        *("dataset", "engine", "on_fail", "spark", "scratch", "progress", "on_result"),
        *("parameters", "definition"),
    }
)


class Dataset:
    """A dataset: what each row is, and which rows there are.

    ```python
    class Rated(Dataset):
        start = Parameter(date)
        end = Parameter(date)

        rating = Rating.between(start, end)
        user = User.as_of(on="user")

        features = {"movie": rating.movie, "age": user.age}
        label = Label(rating.rating > 3)
        split = by_hash(rating.user, train=0.8, valid=0.2, salt="v1")
        checks = [RowCount(min=1000)]
    ```

    Attributes hold parameters and rows, by whose names they are known. `rows` says which rows
    become those of the output; it may be left out where only one of them stands for itself, found
    by no lookup. The class is checked when it is made, with all mistakes listed in one error.

    Attributes:
        definition: The class as data.
        rows: Each becomes a row of the output.
        features: Expressions by the name of their column.
        label: What is to be predicted.
        split: How rows are divided into parts.
        checks: That a version must pass.
        output: How it is written.
    """

    definition: ClassVar[Definition]
    rows: ClassVar[Rows]
    features: ClassVar[Mapping[str, Expression[Any]]]
    label: ClassVar[Label | None] = None
    split: ClassVar[Split | None] = None
    checks: ClassVar[Sequence[Any]] = ()
    output: ClassVar[Output] = Output()

    def __init_subclass__(cls, **extra: Any) -> None:
        super().__init_subclass__(**extra)
        cls.definition = _definition(cls)
        check_definition(cls.definition)


def _attributes(cls: type) -> dict[str, Any]:
    """All that the class and its bases hold; of each name the nearest, in order of mention."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in (object, Dataset):
            found.update((k, v) for k, v in vars(base).items() if not k.startswith("_"))
    return {name: value for name, value in found.items() if name != "definition"}


def _definition(cls: type[Dataset]) -> Definition:
    where = f"Dataset {cls.__name__!r}"
    attributes = _attributes(cls)
    if "definition" in vars(cls):
        raise ConfigError(f"{where} has an attribute 'definition', which is made; rename it.")
    mistakes = _wrong_roles(attributes)
    raise_all(where, mistakes)

    parameters = {k: v for k, v in attributes.items() if isinstance(v, Parameter)}
    relations = {k: v for k, v in attributes.items() if isinstance(v, Rows) and k != "rows"}
    rows = attributes.get("rows")
    if rows is not None and all(rows is not other for other in relations.values()):
        relations = {"rows": rows, **relations}
    if rows is None:
        rows = _only_rows(relations, mistakes)
    mistakes += _name_mistakes(parameters, relations)
    raise_all(where, mistakes)
    assert rows is not None
    for alias, other in relations.items():
        mistakes += other.enter(alias, rows)
        if other.lookup is None and other is not rows:
            mistakes.append(
                f"rows {alias!r} do not belong to {rows.alias!r}; find them by as_of(), last(), "
                "next(), within() or join(), or leave them out."
            )
    if rows.lookup is not None:
        mistakes.append(
            f"rows = {rows.alias} is found from other rows; it must stand for itself, without "
            "as_of(), last(), next(), within() and join()."
        )
    definition = Definition(
        name=cls.__name__,
        doc=inspect.cleandoc(cls.__doc__ or "") if "__doc__" in vars(cls) else "",
        parameters=parameters,
        relations=relations,
        rows=rows,
        features=dict(attributes.get("features", {})),
        label=attributes.get("label"),
        split=attributes.get("split"),
        checks=tuple(attributes.get("checks", ())),
        output=attributes.get("output", Dataset.output),
    )
    raise_all(where, mistakes + _part_mistakes(definition) + _output_mistakes(definition))
    return definition


def _only_rows(relations: Mapping[str, Rows], mistakes: list[str]) -> Rows | None:
    free = [alias for alias, rows in relations.items() if rows.lookup is None]
    if len(free) == 1:
        return relations[free[0]]
    if not free:
        mistakes.append(
            "nothing says what its rows are; name them, as in imp = Impression.between(start, end)."
        )
    else:
        names = ", ".join(free)
        mistakes.append(f"{names} may all be its rows; say which: rows = {free[0]}.")
    return None


def _wrong_roles(attributes: Mapping[str, Any]) -> list[str]:
    mistakes = []
    wanted: dict[str, tuple[type | tuple[type, ...], str]] = {
        "rows": (Rows, "rows of a table, such as Impression.between(start, end)"),
        "features": (Mapping, "a mapping of names to expressions"),
        "label": (Label, "a Label(...)"),
        "split": ((HashSplit, TimeSplit), "by_hash(...) or by_time(...)"),
        "checks": ((list, tuple), "a list of checks"),
        "output": (Output, "an Output(...)"),
    }
    for name, value in attributes.items():
        if name in wanted:
            types, accepted = wanted[name]
            is_none = value is None and name in ("label", "split")
            if not isinstance(value, types) and not is_none:
                mistakes.append(f"{name} is {_shown(value)}; it must be {accepted}.")
            continue
        is_known = isinstance(value, Rows | Expression | dt.timedelta) or callable(value)
        close = difflib.get_close_matches(name, _ROLES, n=1, cutoff=0.75)
        if close and not is_known and not isinstance(value, classmethod | staticmethod | property):
            mistakes.append(f"attribute {name!r} has no meaning. Did you mean {close[0]!r}?")
        if isinstance(value, type) and hasattr(value, "columns") and hasattr(value, "source"):
            mistakes.append(
                f"attribute {name!r} is the table {value.__name__!r} itself; write "
                f"{name} = {value.__name__}.all() for all its rows."
            )
    if not attributes.get("features"):
        mistakes.append('it has no features; give some, as in features = {"user": imp.user}.')
    return mistakes


def _shown(value: object) -> str:
    return f"the expression {value}" if isinstance(value, Expression) else repr(value)


def _name_mistakes(
    parameters: Mapping[str, Parameter[Any]], relations: Mapping[str, Rows]
) -> list[str]:
    mistakes = [
        f"attribute {name!r} bears a name that is taken by sessions and texts; rename it."
        for name in (*parameters, *relations)
        if name in _TAKEN
    ]
    mistakes += [
        f"parameter {name!r} is the same object as {parameter.name!r}; make one of its own."
        for name, parameter in parameters.items()
        if parameter.name != name
    ]
    mistakes += [
        f"rows {one!r} and {two!r} differ in case only, which engines do not see."
        for one, two in twins(relations)
    ]
    aliases: dict[int, str] = {}
    for alias, rows in relations.items():
        first = aliases.setdefault(id(rows), alias)
        if first != alias:
            mistakes.append(
                f"{first!r} and {alias!r} are the same rows; make others with "
                f"{rows.table.__name__}.all() or between()."
            )
    tables = {rows.table.__name__: rows.table for rows in relations.values()}
    for rows in relations.values():
        if tables[rows.table.__name__] is not rows.table:
            mistakes.append(
                f"two tables are called {rows.table.__name__!r}; give one another name: "
                "class X(Table, name='...')."
            )
            break
    mistakes += [
        f"tables {one!r} and {two!r} differ in case only, which engines do not see; give one "
        "another name: class X(Table, name='...')."
        for one, two in twins(tables)
    ]
    return mistakes


def _part_mistakes(definition: Definition) -> list[str]:
    """What expressions are made of: parameters and rows of this dataset, windows aggregated."""
    mistakes = []
    for where, value, role in definition.uses():
        if not isinstance(value, Expression):
            mistakes.append(f"{where} is {value!r}; it must be an expression, such as imp.user.")
            continue
        if role == "condition":  # where() has looked at its columns
            parts: list[Expression[Any]] = [p for p in value.walk() if isinstance(p, Parameter)]
        else:
            parts = _outer_parts(value)
        for part in parts:
            mistake = _part_mistake(definition, part, is_key=role == "key")
            if mistake is not None:
                mistakes.append(f"{where} uses {mistake}")
    return list(dict.fromkeys(mistakes))


def _outer_parts(value: Expression[Any]) -> list[Expression[Any]]:
    """All parts but the columns under an aggregate, which stand for it."""
    if isinstance(value, Aggregate):
        return [value, *(p for p in value.walk() if isinstance(p, Parameter))]
    return [value, *(inner for part in value.parts for inner in _outer_parts(part))]


def _part_mistake(definition: Definition, part: Expression[Any], *, is_key: bool) -> str | None:
    if isinstance(part, Parameter):
        if definition.parameters.get(part.name) is not part:
            return f"a parameter {part.name!r} that is no attribute of this dataset."
        return None
    if isinstance(part, Aggregate) and is_key:
        return f"{part}, a value over a window; it must be made of columns."
    if not isinstance(part, Column | Aggregate):
        return None
    rows = part.relation
    if isinstance(part, Column) and rows is None:
        tables = {a: r.table for a, r in definition.relations.items()}
        alias = next((a for a, t in tables.items() if t.columns.get(part.name) is part), None)
        hint = f"write {alias}.{part}" if alias else "read it from rows of this dataset"
        return f"column {str(part)!r} of a table itself; {hint}."
    if not isinstance(rows, Rows) or definition.relations.get(rows.alias) is not rows:
        alias = "" if rows is None else rows.alias
        return (
            f"rows {alias!r}, which are no attribute of this dataset; give them a name: "
            "x = ... in the class."
        )
    if isinstance(part, Column) and rows.is_window:
        return (
            f"column {str(part)!r} of a window, which has many rows; aggregate it, as in "
            f"{part}.max()."
        )
    if is_key and rows is not definition.rows:
        return f"column {str(part)!r}; it must be made of columns of {definition.rows.alias!r}."
    return None


def _output_mistakes(definition: Definition) -> list[str]:
    mistakes = []
    for name, value in definition.features.items():
        try:
            check_name(name, "A feature")
        except ConfigError as error:
            mistakes.append(str(error))
        if not isinstance(value, Expression):
            return mistakes  # reported with the parts
    names = [*definition.features]
    if definition.label is not None:
        names.append(definition.label.name)
    if definition.split is not None:
        names.append(COLUMN)
    for one, two in twins(names):
        if one == two:
            mistakes.append(f"two columns of the output are called {one!r}; rename one.")
        else:
            mistakes.append(f"columns {one!r} and {two!r} of the output differ in case only.")
    split = definition.split
    key = split.key if isinstance(split, HashSplit) else split.column if split else None
    if key is not None and may_be_null(key):
        mistakes.append(
            f"the split is by {key}, which may be null and then is in no part; write "
            ".coalesce(...) around it, or declare it without `| None`."
        )
    known = {column.name: column for column in definition.columns}
    for name in definition.output.partition_by:
        if name not in known:
            hint = nearest(name, known, "columns")
            mistakes.append(f"partition_by of the output names {name!r}, no column of it. {hint}")
        elif known[name].kind.is_float or known[name].kind.item is not None:
            mistakes.append(
                f"partition_by of the output names {name!r} of type {known[name].kind}, which "
                "has no exact name of a folder."
            )
    if set(known) == set(definition.output.partition_by):
        mistakes.append("partition_by of the output names all columns; files would have none.")
    for check in definition.checks:
        if not all(hasattr(check, name) for name in ("name", "on_fail", "to_config")):
            mistakes.append(f"checks has {check!r}, which is no check, such as RowCount(min=1).")
    return mistakes
