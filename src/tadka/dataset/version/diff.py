"""What differs between two versions: definition, parameters, inputs, schema, counts, statistics."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from tadka.core.error import TadkaError
from tadka.dataset.measure.measure import ColumnStatistics
from tadka.dataset.version.fingerprint import Comparison, Fingerprint, compare
from tadka.dataset.version.manifest import Manifest, TableRecord, plain

if TYPE_CHECKING:
    from tadka.dataset.version.version import Version

_NUM_SHOWN = 5  # partitions or files of a table in the text
_COMPARED = ("num_null", "num_nan", "num_distinct", "min", "max", "mean")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two versions side by side; pairs are (value of the first, value of the second).

    Args:
        versions: Ids.
        names: Of the datasets, where they differ.
        definition: Lines of a unified diff of the definitions; empty where they are equal.
        parameters: That differ, None where one side lacks it.
        engine: Name, version and options that differ.
        columns: Kinds of columns that differ, None where one side lacks the column.
        num_rows: Of both, equal or not.
        output_hash: Of both, equal or not.
        tables: What fingerprints say of each table of both; None for one that one side lacks.
        statistics: By column, what differs of its statistics.
        code: Commit and module that differ.
    """

    versions: tuple[str, str]
    names: tuple[str, str] | None
    definition: tuple[str, ...]
    parameters: dict[str, tuple[Any, Any]]
    engine: dict[str, tuple[Any, Any]]
    columns: dict[str, tuple[str | None, str | None]]
    num_rows: tuple[int, int]
    output_hash: tuple[str, str]
    tables: dict[str, Comparison | None]
    statistics: dict[str, dict[str, tuple[Any, Any]]]
    code: dict[str, tuple[Any, Any]]

    @property
    def is_same(self) -> bool:
        """Whether definition, parameters, schema and rows are the same: one version, in short.

        Columns that are not in the output hash, inputs, engine and code may differ all the same.
        """
        return self.versions[0] == self.versions[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it."""
        return {**asdict(self), "is_same": self.is_same}

    def __str__(self) -> str:
        first, second = self.versions
        lines = [f"{first} and {second} " + ("are the same." if self.is_same else "differ.")]
        if self.names is not None:
            lines.append(f"dataset: {self.names[0]} -> {self.names[1]}")
        lines += _section("parameters", self.parameters)
        lines += _section("engine", self.engine)
        lines += _section("code", self.code)
        lines += _section("columns", self.columns)
        if self.num_rows[0] != self.num_rows[1]:
            lines.append(f"rows: {_change(*self.num_rows)}")
        if not self.is_same and self.output_hash[0] == self.output_hash[1]:
            lines.append("output hash: equal; the rows are the same")
        for name, comparison in self.tables.items():
            lines.append(f"input {name}: {_said(comparison)}")
        for column, changed in self.statistics.items():
            shown = ", ".join(f"{name} {_change(*pair)}" for name, pair in changed.items())
            lines.append(f"column {column}: {shown}")
        return "\n".join([*lines, *self.definition])


def diff(first: "Version", second: "Version") -> Difference:
    """What differs between two versions, by their records alone: no data is read.

    Args:
        first: The older one, say.
        second: The other.
    """
    a, b = first.manifest, second.manifest
    return Difference(
        versions=(a.id, b.id),
        names=None if a.name == b.name else (a.name, b.name),
        definition=_lines(a, b),
        parameters=_pairs(a.parameters, b.parameters),
        engine=_pairs(_flat(a.engine), _flat(b.engine)),
        columns=_pairs(_kinds(a), _kinds(b)),
        num_rows=(a.num_rows, b.num_rows),
        output_hash=(a.output_hash, b.output_hash),
        tables={
            name: _compared(a.tables.get(name), b.tables.get(name))
            for name in dict.fromkeys([*a.tables, *b.tables])
        },
        statistics=_statistics(a.statistics, b.statistics),
        code=_pairs(a.code, b.code),
    )


def _lines(a: Manifest, b: Manifest) -> tuple[str, ...]:
    if a.definition == b.definition:
        return ()
    texts = (a.definition.splitlines(), b.definition.splitlines())
    return tuple(difflib.unified_diff(*texts, f"definition of {a.id}", f"of {b.id}", lineterm=""))


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*a, *b])
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _flat(engine: Mapping[str, Any]) -> dict[str, Any]:
    options = engine.get("options") or {}
    return {**{k: v for k, v in engine.items() if k != "options"}, **options}


def _kinds(manifest: Manifest) -> dict[str, str]:
    return {
        column.name: f"{column.kind}{' or null' if column.is_nullable else ''}"
        for column in manifest.columns
    }


def _compared(a: TableRecord | None, b: TableRecord | None) -> Comparison | None:
    if a is None or b is None:
        return None
    try:
        return compare(Fingerprint.from_dict(a.fingerprint), Fingerprint.from_dict(b.fingerprint))
    except TadkaError as error:
        return Comparison("unreadable", "listing", reasons=(str(error),))


def _statistics(
    a: Mapping[str, ColumnStatistics], b: Mapping[str, ColumnStatistics]
) -> dict[str, dict[str, tuple[Any, Any]]]:
    found = {}
    known = {field.name for field in fields(ColumnStatistics)}
    for name in a:
        if name not in b:
            continue  # it stands among the columns
        pairs = {
            item: (plain(getattr(a[name], item)), plain(getattr(b[name], item)))
            for item in _COMPARED
            if item in known
        }
        changed = {item: pair for item, pair in pairs.items() if pair[0] != pair[1]}
        if changed:
            found[name] = changed
    return found


def _section(title: str, pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    return [f"{title}: {name} {_change(*pair)}" for name, pair in pairs.items()]


def _change(a: Any, b: Any) -> str:
    shown = [_number(value) for value in (a, b)]
    is_count = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
    share = f" ({b / a - 1:+.1%})" if is_count and a else ""
    return f"{shown[0]} -> {shown[1]}{share}"


def _number(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _said(comparison: Comparison | None) -> str:
    if comparison is None:
        return "only one of the two reads it"
    found = comparison.partitions or comparison.files
    if not found:
        return comparison.status
    more = f" and {len(found) - _NUM_SHOWN:,} more" if len(found) > _NUM_SHOWN else ""
    return f"{comparison.status}: {', '.join(found[:_NUM_SHOWN])}{more}"
