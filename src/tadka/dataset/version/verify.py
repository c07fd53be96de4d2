"""Whether a version is still what it was: its inputs by fingerprint, its output by its hash."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tadka.core.error import ConfigError, NotFound, TadkaError
from tadka.dataset.measure.measure import hash_files
from tadka.dataset.source.source import from_config
from tadka.dataset.version.fingerprint import LEVELS, Comparison, Fingerprint
from tadka.dataset.version.fingerprint import verify as look
from tadka.dataset.version.manifest import TableRecord
from tadka.dataset.version.pin import verify_pinned
from tadka.storage.uri import join, stat

if TYPE_CHECKING:
    from tadka.dataset.version.version import Version

_WORST_FIRST = ("changed", "unreadable", "no difference seen", "same")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What `verify` found.

    A status is `"same"`, `"no difference seen"`, `"changed"` or `"unreadable"`; only a look at the
    content says `"same"`.

    Args:
        level: How far it looked.
        inputs: By table.
        output: Of the version's own files.
        pinned: Of the copies of the inputs; None where there are none.
    """

    level: str
    inputs: Mapping[str, Comparison] = field(default_factory=dict)
    output: Comparison
    pinned: Comparison | None = None

    @property
    def status(self) -> str:
        """Of all together: the worst."""
        found = {self.output.status, *(table.status for table in self.inputs.values())}
        if self.pinned is not None:
            found.add(self.pinned.status)
        return next(status for status in _WORST_FIRST if status in found)

    @property
    def is_same(self) -> bool:
        """Whether everything was looked at and nothing has changed."""
        return self.status == "same"

    @property
    def is_unchanged(self) -> bool:
        """Whether no difference was seen, as far as it looked, and everything could be read."""
        return self.status in ("same", "no difference seen")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON has it."""
        return {"status": self.status, **asdict(self)}

    def __str__(self) -> str:
        parts = {f"input {name}": found for name, found in self.inputs.items()}
        parts["output"] = self.output
        if self.pinned is not None:
            parts["pinned inputs"] = self.pinned
        lines = [f"{self.status} (level {self.level})"]
        for name, found in parts.items():
            where = list(found.partitions) or list(found.files)
            lines.append(f"{name}: {found.status}" + (f": {', '.join(where)}" if where else ""))
            lines += [f"  {reason}" for reason in found.reasons]
        return "\n".join(lines)


def verify(version: "Version", level: str = "content") -> Verification:
    """Looks at inputs and output of a version again.

    Args:
        version: To be verified.
        level: `"listing"`, `"footer"` or `"content"`.

    Returns:
        What was found. What cannot be read is a finding, too, and no error.

    Raises:
        ConfigError: There is no such level.
    """
    if level not in LEVELS:
        raise ConfigError(f"Level {level!r} is not known; it must be one of {', '.join(LEVELS)}.")
    tables = version.manifest.tables
    return Verification(
        level=level,
        inputs={name: verify_table(record, level) for name, record in tables.items()},
        output=_output(version, level),
        pinned=verify_pinned(version, level),
    )


def verify_table(record: TableRecord, level: str) -> Comparison:
    """Looks at an input again.

    Args:
        record: Of the table, as the version has it.
        level: As in `verify`.
    """
    try:
        old = Fingerprint.from_dict(record.fingerprint)
        source = from_config(record.source)
        return look(old, source, record.declared(), level=level, keep=record.keeps)
    except (TadkaError, OSError) as error:
        return Comparison("unreadable", level, reasons=(str(error),))


def _output(version: "Version", level: str) -> Comparison:
    manifest = version.manifest
    changed, reasons = [], []
    for file in manifest.files:
        try:
            size = stat(join(version.path, file.path)).size_bytes
        except NotFound:
            changed.append(file.path)
            reasons.append(f"File {file.path!r} has gone.")
            continue
        except TadkaError as error:
            return Comparison("unreadable", level, files=(file.path,), reasons=(str(error),))
        if size != file.num_bytes:
            changed.append(file.path)
            reasons.append(f"File {file.path!r} has {size:,} bytes instead of {file.num_bytes:,}.")
    if changed:
        return Comparison("changed", level, files=changed, reasons=reasons)
    if level != "content":
        return Comparison("no difference seen", level)
    try:
        found = hash_files(
            version.files(),
            manifest.columns,
            format=manifest.format,
            partition_by=manifest.partition_by,
        )
    except (TadkaError, OSError) as error:
        return Comparison("unreadable", level, reasons=(str(error),))
    if found.num_rows != manifest.num_rows:
        reason = f"The files have {found.num_rows:,} rows instead of {manifest.num_rows:,}."
        return Comparison("changed", level, reasons=(reason,))
    if found.hexdigest() != manifest.output_hash:
        return Comparison("changed", level, reasons=("The rows have another hash.",))
    if manifest.inexact:  # they are not in the hash, so nothing is known of them
        reason = f"{', '.join(map(repr, manifest.inexact))} cannot be compared: not exact."
        return Comparison("no difference seen", level, reasons=(reason,))
    return Comparison("same", level)
