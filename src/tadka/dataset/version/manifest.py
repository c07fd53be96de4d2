"""The record of a version: what it was made from, how, and what came out.

One JSON file, `manifest.json`. Its last key, `digest`, is SHA-256 of all others in canonical form
(keys sorted, no spaces), so that a file cut short or edited is noticed. What a newer tadka wrote is
refused, never half understood.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tadka.core.error import DataError
from tadka.core.hashing import digest
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.expression.expression import Column
from tadka.dataset.expression.kind import named_kind
from tadka.dataset.measure.measure import ColumnStatistics
from tadka.dataset.source.template import text_of

FORMAT = 1
"""Of the file; raised when a reader of today would misunderstand what is written."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Values of one partition column that a version used, as `between` gave them.

    Args:
        column: Name of the partition.
        start: First value; None for no bound.
        end: First value not used any more.
    """

    column: str
    start: Any = None
    end: Any = None

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a partition lies in it; a null does not.

        Args:
            values: Of its columns.

        Raises:
            KeyError: This column is not among them.
        """
        value = plain(values[self.column])  # dates and times in ISO form order as they do
        return value is not None and (
            (self.start is None or self.start <= value) and (self.end is None or value < self.end)
        )


@dataclass(frozen=True, kw_only=True)
class TableRecord:
    """A table as a version read it.

    Args:
        source: What `source.to_config()` gave; relative paths in it become absolute.
        partitions: Names of the partition columns, with their kinds.
        columns: Names of the other columns that were declared, with their kinds.
        spans: Where the partitions that were read lie, each in one of them: a new one there is a
            change. Empty where all were read, None where only their names are known.
        fingerprint: What `Fingerprint.to_dict` gave.
        num_rows: Of all files, None where nobody counted.
        num_bytes: Of all files.
        snapshot: Version or snapshot id of a table format.
    """

    source: str | dict[str, Any]
    partitions: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    spans: tuple[Span, ...] | None = None
    fingerprint: dict[str, Any] = field(default_factory=dict)
    num_rows: int | None = None
    num_bytes: int | None = None
    snapshot: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", _absolute(self.source))

    def declared(self) -> dict[str, Column[Any]]:
        """The columns as sources take them."""

        def column(name: str, kind: str) -> Column[Any]:
            found = named_kind(kind, f"Column {name!r}")
            return Column(name, found, is_nullable=True, is_partition=name in self.partitions)

        return {name: column(name, k) for name, k in {**self.columns, **self.partitions}.items()}

    def keeps(self, values: Mapping[str, Any]) -> bool:
        """Whether a partition belongs to those that were read.

        Args:
            values: Of its columns.

        Raises:
            KeyError: A column is not among them whose value matters.
        """
        if self.spans is None:
            if len(values) < len(self.partitions):
                raise KeyError(*self.partitions)
            return text_of(values) in self.fingerprint["partitions"]
        return not self.spans or any(span.holds(values) for span in self.spans)


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file of the output.

    Args:
        path: Below the folder of the version.
        num_rows: In it.
        num_bytes: Its size.
    """

    path: str
    num_rows: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a version records of itself. Values are plain, as JSON has them.

    Args:
        name: Of the dataset.
        definition: Its canonical YAML.
        definition_digest: What identifies the definition.
        is_portable: Whether all engines promise the same rows: no raw SQL, no functions.
        parameters: Values by name; dates and times in ISO form, see `plain`.
        engine: `name`, `version` and `options`: those that change meaning.
        tables: What was read, by name.
        columns: Of the output.
        format: Of the output's files.
        partition_by: Columns that stand in the paths of the files, not in them.
        files: Of the output.
        num_rows: Of all files.
        output_hash: Of all rows; independent of engine, files and order.
        statistics: Of each column.
        checks: Results, as `CheckResult.to_dict` gives them.
        code: `commit`, `is_dirty` and `module` that the definition stands in, as far as known.
        environment: `python`, `platform` and `packages` with their versions.
        seconds: Of the steps of writing, by name.
        created_at: In UTC, ISO form with microseconds.
        renewed_at: When `tables` became those of a later write, which gave equal rows from other
            inputs; None where they are those of the first. All else is of the first.
    """

    name: str
    definition: str
    definition_digest: str
    is_portable: bool
    parameters: dict[str, Any]
    engine: dict[str, Any]
    tables: dict[str, TableRecord]
    columns: tuple[OutputColumn, ...]
    format: str
    partition_by: tuple[str, ...]
    files: tuple[FileRecord, ...]
    num_rows: int
    output_hash: str
    statistics: dict[str, ColumnStatistics]
    checks: tuple[dict[str, Any], ...]
    code: dict[str, Any]
    environment: dict[str, Any]
    seconds: dict[str, float]
    created_at: str
    renewed_at: str | None = None

    def __post_init__(self) -> None:
        # equal parameters have one form, whether given or read
        given = {name: plain(value) for name, value in self.parameters.items()}
        object.__setattr__(self, "parameters", given)

    @cached_property
    def id(self) -> str:
        """16 hex digits of definition, parameters, schema, number of rows and output hash.

        Equal content has the same id whenever, wherever and by whichever engine it was written.
        """
        schema = [(column.name, str(column.kind)) for column in self.columns]
        content = (self.definition_digest, self.parameters, schema, self.num_rows, self.output_hash)
        return digest(content)[:16]

    @property
    def num_bytes(self) -> int:
        """Of the output's files."""
        return sum(file.num_bytes for file in self.files)

    @property
    def inexact(self) -> tuple[str, ...]:
        """Columns whose last digits depend on the engine; the output hash lacks them."""
        return tuple(column.name for column in self.columns if column.is_inexact)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it."""
        body: dict[str, Any] = {"format_version": FORMAT, "id": self.id}
        return {**body, **{f.name: _to_json(getattr(self, f.name)) for f in fields(self)}}

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        body = self.to_dict()
        return json.dumps({**body, "digest": _digest(body)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Manifest":
        """The manifest that a file holds.

        Args:
            text: Of `manifest.json`.
            where: The file, for messages.

        Raises:
            DataError: The text was cut short, edited, or written by a newer tadka.
        """
        try:
            body = json.loads(text)
            version = int(body["format_version"])
        except (ValueError, TypeError, LookupError) as error:
            raise _damaged(where, "it is no whole JSON of a manifest") from error
        if version > FORMAT:
            raise DataError(
                f"{where!r} was written by a newer tadka (format {version}; this one reads up to "
                f"{FORMAT}). Run: pip install --upgrade tadka."
            )
        if body.pop("digest", None) != _digest(body):
            raise _damaged(where, "its text was changed after it was written")
        try:
            manifest = _from_json(body)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise _damaged(where, f"it lacks what a manifest has ({error})") from error
        if manifest.id != body["id"]:
            raise _damaged(where, "its id is not that of its content")
        return manifest


def plain(value: Any) -> Any:
    """A value as JSON has it, and always the same one.

    Args:
        value: Of a column or a parameter: dates and times become ISO text, bytes hex digits, NaN
            and the infinities text.

    Returns:
        None, bool, int, float, str, or a list of these.
    """
    if hasattr(value, "item") and not isinstance(value, bytes):  # a scalar of numpy
        value = value.item()
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _absolute(source: str | Mapping[str, Any]) -> str | dict[str, Any]:
    """A source that is found from any folder."""
    if isinstance(source, str):
        if "://" in source:
            return source
        return os.path.abspath(Path(source).expanduser())  # noqa: PTH100 - links stay links
    paths = {key: source[key] for key in ("path", "uri") if isinstance(source.get(key), str)}
    return {**source, **{key: _absolute(path) for key, path in paths.items()}}


def _to_json(value: Any) -> Any:
    if isinstance(value, OutputColumn):
        return {
            "name": value.name,
            "kind": str(value.kind),
            "is_nullable": value.is_nullable,
            "is_inexact": value.is_inexact,
            "role": value.role,
        }
    if isinstance(value, ColumnStatistics | TableRecord | FileRecord | Span):
        return {item.name: _to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return plain(value)


def _from_json(body: Mapping[str, Any]) -> Manifest:
    values = {item.name: body[item.name] for item in fields(Manifest)}
    values["tables"] = {
        name: TableRecord(
            **{
                **table,
                "spans": None
                if table["spans"] is None
                else tuple(Span(**span) for span in table["spans"]),
            }
        )
        for name, table in body["tables"].items()
    }
    values["columns"] = tuple(
        OutputColumn(**{**column, "kind": named_kind(column["kind"], column["name"])})
        for column in body["columns"]
    )
    values["files"] = tuple(FileRecord(**file) for file in body["files"])
    values["statistics"] = {
        name: ColumnStatistics(**statistics) for name, statistics in body["statistics"].items()
    }
    values["partition_by"] = tuple(body["partition_by"])
    values["checks"] = tuple(body["checks"])
    return Manifest(**values)


def _digest(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(where: str, why: str) -> DataError:
    return DataError(
        f"{where!r} is damaged: {why}. Delete the folder it lies in and write the version again, "
        "or restore the file from a copy."
    )
