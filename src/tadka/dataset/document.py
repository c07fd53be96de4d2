"""Definitions as YAML, and back; and YAML that says only where tables lie and what parameters are.

The YAML of a definition is canonical: equal definitions have equal text, and its digest names the
definition in every version that is written by it.
"""

import dataclasses
import keyword
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tadka.core.config import load_config
from tadka.core.document import write_yaml
from tadka.core.error import ConfigError
from tadka.core.hashing import digest
from tadka.dataset.check.config import check_from_config
from tadka.dataset.define.definition import Dataset, Definition
from tadka.dataset.define.label import Label
from tadka.dataset.define.output import Output
from tadka.dataset.define.relation import Rows
from tadka.dataset.define.schema import Named, Partition, Schema, nearest
from tadka.dataset.define.split import HashSplit, TimeSplit, by_hash, by_time
from tadka.dataset.define.table import RESERVED, Table
from tadka.dataset.expression.expression import Column, Expression, Parameter, as_literal
from tadka.dataset.expression.kind import annotation_of, named_kind
from tadka.dataset.expression.text import Reader
from tadka.dataset.source.source import from_config

FORMAT = 1
"""Of the YAML; a newer one may say what this version does not understand."""

Scalar = bool | int | float | str


@dataclass(frozen=True)
class _Parameter:
    type: str
    default: Scalar | None = None


@dataclass(frozen=True)
class _Table:
    source: str | dict[str, Any]
    columns: dict[str, str]
    time: str | None = None
    partitions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Rows:
    table: str
    between: list[str] | None = None
    by: str | None = None
    where: str | None = None
    found: Literal["as_of", "window", "join"] | None = None
    on: dict[str, str] | None = None
    start: str | None = None
    end: str | None = None
    at: str | None = None
    how: Literal["left", "inner"] = "left"
    max_matches: float = 1.0


@dataclass(frozen=True)
class _Label:
    expression: str
    name: str = "label"
    window: str | None = None
    gap: str | None = None
    matured_by: str | None = None


@dataclass(frozen=True)
class _Split:
    by: Literal["hash", "time"]
    key: str
    salt: str | None = None
    shares: dict[str, float] | None = None
    ends: dict[str, str | None] | None = None


@dataclass(frozen=True)
class _Output:
    target_file_bytes: int | str = 128 << 20
    format: str = "parquet"
    partition_by: list[str] = field(default_factory=list)
    compression: str = "zstd"


@dataclass(frozen=True)
class _Document:
    tadka_dataset: int
    name: str
    tables: dict[str, _Table]
    relations: dict[str, _Rows]
    rows: str
    features: dict[str, str]
    doc: str = ""
    parameters: dict[str, _Parameter] = field(default_factory=dict)
    label: _Label | None = None
    split: _Split | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    output: _Output = field(default_factory=_Output)


@dataclass(frozen=True)
class _Place:
    source: str | dict[str, Any]


@dataclass(frozen=True)
class _Overrides:
    tables: dict[str, _Place] = field(default_factory=dict)
    parameters: dict[str, Scalar] = field(default_factory=dict)


# ---------------------------------------------------------------- to YAML


def to_yaml(definition: Definition) -> str:
    """The canonical YAML of a definition.

    Args:
        definition: Of any dataset.

    Returns:
        Text that `from_yaml` makes an equal definition of.

    Raises:
        ConfigError: A check of its own has a function that YAML cannot name.
    """
    return write_yaml(to_config(definition))


def digest_of(definition: Definition) -> str:
    """SHA-256 of all that a definition says but its docstring, as 64 hex digits.

    Args:
        definition: Of any dataset.
    """
    config = to_config(definition)
    config.pop("doc", None)
    return digest(config)


def to_config(definition: Definition) -> dict[str, Any]:
    """A definition as mappings, lists and scalars.

    Args:
        definition: Of any dataset.
    """
    return {
        **_without_checks(definition),
        "checks": [check.to_config() for check in definition.checks],
    }


def _without_checks(definition: Definition) -> dict[str, Any]:
    tables = {rows.table.__name__: rows.table for rows in definition.relations.values()}
    label, split, output = definition.label, definition.split, definition.output
    document: dict[str, Any] = {
        "tadka_dataset": FORMAT,
        "name": definition.name,
        "doc": definition.doc,
        "parameters": {
            name: {"type": str(each.kind)}
            | ({} if each.default is None else {"default": _default(each)})
            for name, each in definition.parameters.items()
        },
        "tables": {name: _table_config(table) for name, table in tables.items()},
        "relations": {alias: _rows_config(rows) for alias, rows in definition.relations.items()},
        "rows": definition.rows.alias,
        "features": {name: str(each) for name, each in definition.features.items()},
        "label": None if label is None else _label_config(label),
        "split": None if split is None else _split_config(split),
        "output": {**dataclasses.asdict(output), "partition_by": list(output.partition_by)},
    }
    return _kept(document)


def _kept(values: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}


def _default(parameter: Parameter[Any]) -> Scalar | None:
    if parameter.default is None:
        return None
    value: Any = parameter.default.value
    scalar: Scalar = value.isoformat() if hasattr(value, "isoformat") else value
    return scalar


def _table_config(table: type[Schema]) -> dict[str, Any]:
    columns = table.columns
    return _kept(
        {
            "source": table.source.to_config(),
            "time": table.time_column,
            "partitions": [name for name, column in columns.items() if column.is_partition],
            "columns": {
                name: f"{column.kind}{'?' if column.is_nullable else ''}"
                for name, column in columns.items()
            },
        }
    )


def _rows_config(rows: Rows) -> dict[str, Any]:
    found: dict[str, Any] = {"table": rows.table.__name__}
    if rows.span is not None:
        found["between"] = [str(rows.span.start), str(rows.span.end)]
        found["by"] = rows.span.by
    if rows.condition is not None:
        found["where"] = str(rows.condition)
    lookup = rows.lookup
    if lookup is not None:
        found["found"] = lookup.kind
        found["on"] = {name: str(key) for name, key in lookup.on.items()}
        if lookup.kind == "window":
            found["start"], found["end"] = _span(lookup.start), _span(lookup.end)
        elif lookup.kind == "as_of":
            found["at"] = None if lookup.at is None else str(lookup.at)
        else:
            found["how"], found["max_matches"] = lookup.how, lookup.max_matches
    return _kept(found)


def _span(span: Any) -> str:
    """A duration in seconds, exactly."""
    micros = span // type(span)(microseconds=1)
    if micros % 1_000_000:
        return f"microseconds({micros})"
    whole = micros // 1_000_000
    units = (("days", 86_400), ("hours", 3_600), ("seconds", 1))
    unit, size = next((unit, size) for unit, size in units if whole % size == 0)
    return f"{unit}({whole // size})"


def _label_config(label: Label) -> dict[str, Any]:
    return _kept(
        {
            "expression": str(label.expression),
            "name": label.name,
            "window": None if label.window is None else _span(label.window),
            "gap": _span(label.gap) if label.gap else None,
            "matured_by": None if label.matured_by is None else str(label.matured_by),
        }
    )


def _split_config(split: HashSplit | TimeSplit) -> dict[str, Any]:
    if isinstance(split, HashSplit):
        return {
            "by": "hash",
            "key": str(split.key),
            "salt": split.salt,
            "shares": dict(split.shares),
        }
    ends = {name: None if end is None else str(end) for name, end in split.ends.items()}
    return {"by": "time", "key": str(split.column), "ends": ends}


# ---------------------------------------------------------------- from YAML


def from_yaml(source: str | Path | Mapping[str, Any]) -> type[Dataset]:
    """A dataset's class from YAML.

    Args:
        source: Path of a file, or what `to_config` gave.

    Returns:
        A class like the one it was written from.

    Raises:
        NotFound: There is no such file.
        ConfigError: It is no YAML of a definition, a key is unknown (with its path), or the
            definition is wrong.
    """
    where = "The definition" if isinstance(source, Mapping) else f"Definition {str(source)!r}"
    return _class(load_config(_Document, source), where)


def merge(cls: type[Dataset], source: str | Path | Mapping[str, Any]) -> type[Dataset]:
    """A dataset with other places of its tables and other defaults of its parameters.

    For settings that belong to a machine and not to the definition: a definition in Python stays
    what it is, and a YAML file says where the tables are.

    Args:
        cls: The dataset.
        source: YAML with the keys `tables.NAME.source` and `parameters.NAME`.

    Returns:
        A class of the same name.

    Raises:
        NotFound: There is no such file.
        ConfigError: A key, table or parameter is unknown, or a value is not accepted.
    """
    overrides = load_config(_Overrides, source)
    document = load_config(_Document, _without_checks(cls.definition))
    tables, parameters = dict(document.tables), dict(document.parameters)
    for name, place in overrides.tables.items():
        if name not in tables:
            raise ConfigError(f"tables.{name} is unknown. {nearest(name, tables, 'tables')}")
        tables[name] = dataclasses.replace(tables[name], source=place.source)
    for name, value in overrides.parameters.items():
        if name not in parameters:
            known = nearest(name, parameters, "parameters")
            raise ConfigError(f"parameters.{name} is unknown. {known}")
        parameters[name] = dataclasses.replace(parameters[name], default=value)
    merged = dataclasses.replace(document, tables=tables, parameters=parameters)
    return _class(merged, f"Definition {cls.definition.name!r}", cls)


def _class(document: _Document, where: str, base: type[Dataset] | None = None) -> type[Dataset]:
    if document.tadka_dataset > FORMAT:
        raise ConfigError(
            f"{where} has format {document.tadka_dataset}; this version of tadka reads formats up "
            f"to {FORMAT}. Update tadka."
        )
    parameters = {
        name: _parameter(name, each.type, each.default)
        for name, each in document.parameters.items()
    }
    for name, parameter in parameters.items():
        parameter.name = name
    tables = {name: _table(name, each) for name, each in document.tables.items()}
    relations: dict[str, Rows] = {}
    for alias in sorted(document.relations, key=lambda alias: alias != document.rows):
        place = f"relations.{alias}"
        relations[alias] = _rows(place, document.relations[alias], tables, relations, parameters)
    reader = Reader(relations=relations, parameters=parameters)
    if document.rows not in relations:
        raise ConfigError(f"rows is {document.rows!r}. {nearest(document.rows, relations, 'rows')}")
    body: dict[str, Any] = {
        "__doc__": document.doc or None,
        "__module__": "" if base is None else base.__module__,
        **parameters,
        **{alias: relations[alias] for alias in document.relations},
        "rows": relations[document.rows],
        "features": {
            name: _at(f"features.{name}", reader.expression, text)
            for name, text in document.features.items()
        },
        "label": None if document.label is None else _label(document.label, reader),
        "split": None if document.split is None else _split(document.split, reader),
        "checks": _checks(document, base),
        "output": Output(**dataclasses.asdict(document.output)),
    }
    return types.new_class(document.name, (Dataset,), {}, lambda space: space.update(body))


def _at(place: str, read: Any, text: str) -> Any:
    try:
        return read(text)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def _parameter(name: str, kind: str, default: Scalar | None) -> Parameter[Any]:
    place = f"parameters.{name}"
    type_ = annotation_of(named_kind(kind, f"{place}.type"))
    parameter = Parameter[Any](type_)
    if default is not None:
        parameter.default = as_literal(default, parameter.kind, f"{place}.default")
    return parameter


def _table(name: str, given: _Table) -> type[Table]:
    annotations: dict[str, Any] = {}
    body: dict[str, Any] = {"__annotations__": annotations, "__module__": __name__}
    for column in given.partitions:
        if column not in given.columns:
            known = nearest(column, given.columns, "columns")
            raise ConfigError(f"tables.{name}.partitions: {column!r} is no column. {known}")
    for place, (column, text) in enumerate(given.columns.items()):
        kind: Any = annotation_of(
            named_kind(text.removesuffix("?"), f"tables.{name}.columns.{column}")
        )
        is_plain = column.isidentifier() and not keyword.iskeyword(column)
        attribute = column
        if not is_plain or column in RESERVED or column.startswith("_"):
            attribute = f"column_{place}_"
            body[attribute] = Named(column)
        annotations[attribute] = (Partition if column in given.partitions else Column)[
            kind | None if text.endswith("?") else kind
        ]
    source = from_config(given.source, f"tables.{name}.source")
    return types.new_class(
        name, (Table,), {"source": source, "time": given.time}, lambda space: space.update(body)
    )


def _rows(
    place: str,
    given: _Rows,
    tables: Mapping[str, type[Table]],
    relations: Mapping[str, Rows],
    parameters: Mapping[str, Parameter[Any]],
) -> Rows:
    if given.table not in tables:
        raise ConfigError(
            f"{place}.table is {given.table!r}. {nearest(given.table, tables, 'tables')}"
        )
    table = tables[given.table]
    rows = table.all()
    # without the rows: one of them may be called as a column is
    reader = Reader(columns=table.columns, parameters=parameters)
    outer = Reader(relations=relations, parameters=parameters)
    if given.between is not None:
        if len(given.between) != 2:
            raise ConfigError(f"{place}.between has {len(given.between)} values; it must have 2.")
        start, end = (_at(f"{place}.between", outer.value, text) for text in given.between)
        rows = rows.between(start, end, given.by)
    if given.where is not None:
        rows = rows.where(_at(f"{place}.where", reader.expression, given.where))
    if given.found is None:
        return rows
    on = {
        name: _at(f"{place}.on.{name}", outer.expression, text)
        for name, text in (given.on or {}).items()
    }
    if given.found == "as_of":
        return rows.as_of(
            on, None if given.at is None else _at(f"{place}.at", outer.value, given.at)
        )
    if given.found == "join":
        return rows.join(on, given.how, given.max_matches)
    if given.start is None or given.end is None:
        raise ConfigError(f"{place} is a window; it must have start and end, such as days(-7).")
    start, end = (
        _at(f"{place}.{key}", outer.value, text)
        for key, text in (("start", given.start), ("end", given.end))
    )
    return rows.within(start, end, on)


def _label(given: _Label, reader: Reader) -> Label:
    values: dict[str, Any] = {"name": given.name}
    for key in ("window", "gap", "matured_by"):
        text = getattr(given, key)
        if text is not None:
            values[key] = _at(f"label.{key}", reader.value, text)
    return Label(_at("label.expression", reader.expression, given.expression), **values)


def _split(given: _Split, reader: Reader) -> HashSplit | TimeSplit:
    key: Expression[Any] = _at("split.key", reader.expression, given.key)
    if given.by == "hash":
        if given.shares is None or given.salt is None:
            raise ConfigError("split.by is 'hash'; it must have salt and shares.")
        return by_hash(key, salt=given.salt, **given.shares)
    if given.ends is None:
        raise ConfigError("split.by is 'time'; it must have ends.")
    ends = {
        name: None if text is None else _at(f"split.ends.{name}", reader.value, text)
        for name, text in given.ends.items()
    }
    return by_time(key, **ends)


def _checks(document: _Document, base: type[Dataset] | None) -> list[Any]:
    """Those of the class that is merged over are kept as they are: they may hold functions."""
    if base is not None:
        return list(base.definition.checks)
    return [
        check_from_config(given, f"checks[{place}]") for place, given in enumerate(document.checks)
    ]
