"""Checks of inputs that need no engine: listings and the footers of files tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from tadka.dataset.check.check import Check, Scope, Stage, Verdict, verdict
from tadka.dataset.define.schema import nearest

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """What listing and footers say of the part of a table that a dataset reads.

    Args:
        table: Its name.
        num_files: That are read.
        num_bytes: Of them.
        expected: Days that must be there, as partitions are named: `"dt=2026-01-31"`.
        present: Days that are there, named alike.
        rows: Number of rows of each partition, by its name; empty before footers were read, and
            where there are none.
        complaints: Sentences about columns that are not as declared.
        error: Why it could not be listed or read.
    """

    table: str
    num_files: int = 0
    num_bytes: int = 0
    expected: Sequence[str] = ()
    present: frozenset[str] = frozenset()
    rows: Mapping[str, int] = field(default_factory=dict)
    complaints: Sequence[str] = ()
    error: str | None = None

    @property
    def num_rows(self) -> int:
        """Of all partitions."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class TableCheck(Check):
    """A rule for a table, or for every table.

    Args:
        table: Its name; every table where none is given.
    """

    table: str | None = None

    stage: ClassVar[Stage] = "footer"

    @property
    def name(self) -> str:
        return f"{type(self).__name__}({self.table or ''})"

    def mistakes(self, scope: Scope) -> list[str]:
        if self.table is None or self.table in scope.tables:
            return []
        hint = nearest(self.table, scope.tables, "tables")
        return [f"the dataset uses no table {self.table!r}. {hint}"]

    def judge_table(self, facts: TableFacts) -> Verdict:
        """What listing and footers say.

        Args:
            facts: Of its table.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Listed(TableCheck):
    """The table is there and has files."""

    is_strict: ClassVar[bool] = True

    def judge_table(self, facts: TableFacts) -> Verdict:
        if facts.error is not None:
            return Verdict("failed", facts.error)
        return Verdict("passed", f"{facts.num_files:,} files of {facts.num_bytes:,} bytes.")


@dataclass(frozen=True)
class AsDeclared(TableCheck):
    """The columns of all files are there and of the declared types."""

    is_strict: ClassVar[bool] = True

    def judge_table(self, facts: TableFacts) -> Verdict:
        if facts.error is not None:
            return Verdict("failed", facts.error)
        if facts.complaints:
            return Verdict("failed", _listed(facts.complaints, " "))
        return Verdict("passed", f"all columns of {facts.num_files:,} files are as declared.")


@dataclass(frozen=True)
class PartitionsExist(TableCheck):
    """Every day of a table's period is there, and no partition is without rows.

    It runs for every table even if nobody asks for it; a table that may lack days says so with
    `PartitionsExist("Click", on_fail="warn")`.

    Args:
        table: Its name; every table where none is given.
        on_fail: `"raise"` or `"warn"`.
    """

    def judge_table(self, facts: TableFacts) -> Verdict:
        missing = [name for name in facts.expected if name not in facts.present]
        empty = [name for name, rows in facts.rows.items() if not rows]
        told = []
        if missing:
            told.append(
                f"{len(missing):,} of {len(facts.expected):,} partitions are missing: "
                f"{_listed(missing)}"
            )
        if empty and not facts.num_rows:
            told.append(f"none of {facts.num_files:,} files has a row")
        elif empty:
            told.append(f"{len(empty):,} partitions have no rows: {_listed(empty)}")
        if told:
            return Verdict("failed", "; ".join(told) + ".")
        return verdict(
            is_fine=True,
            message=f"{len(facts.rows):,} partitions have {facts.num_rows:,} rows."
            if facts.rows
            else f"{len(facts.expected):,} partitions are there.",
        )


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more
