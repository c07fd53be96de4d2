"""Notes of a check: what was found, what ran and found nothing, what had nothing to look at."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tadka.dataset.check.check import Stage
from tadka.models.data.report import CheckReport, Finding, Severity
from tadka.models.data.tally import Bad
from tadka.models.define.column import Column

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Part:
    """A part that is checked.

    Args:
        name: `train`, `valid` or `test`.
        num_rows: It has.
        schema: Of its files.
        columns: Of the model, those that its files have in a type that will do.
        is_first: Whether the other parts are compared with this one: it is train, if that is there.
    """

    name: str
    num_rows: int
    schema: "pa.Schema"
    columns: tuple[Column, ...]
    is_first: bool


@dataclass
class Findings:
    """What a check notes.

    Args:
        accept: Checks that only warn, by name.
        found: What is wrong.
        asked: Names of the checks that ran.
        skipped: Names of those that had nothing to look at, with the reason.
        measured: Figures, by name.
    """

    accept: Collection[str] = ()
    found: list[Finding] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    def ask(self, check: str, column: str = "") -> None:
        """Notes that a check ran.

        Args:
            check: Its name.
            column: What it looked at; empty for rows.
        """
        self.asked.add(f"{check}({column})" if column else check)

    def find(
        self,
        check: str,
        message: str,
        *,
        part: str = "",
        column: str = "",
        bad: Bad | None = None,
        severity: Severity = "error",
        stage: Stage = "rows",
    ) -> None:
        """Notes what is wrong; a check that is accepted only warns.

        Args:
            check: Its name.
            message: What was seen and what is accepted.
            part: Where; empty for all.
            column: In which column; empty for rows.
            bad: The rows.
            severity: Whether it should stop a training.
            stage: What told it.
        """
        rows = tuple(bad.rows) if bad is not None else ()
        found = Finding(
            severity=severity,
            check=check,
            message=message,
            part=part,
            column=column,
            rows=rows,
            stage=stage,
        )
        if found.name in self.accept or check in self.accept:
            found = dataclasses.replace(found, severity="warn")
        self.found.append(found)

    def report(self, seconds: float) -> CheckReport:
        """All that was noted, errors first.

        Args:
            seconds: That it took.
        """
        return CheckReport(
            findings=tuple(sorted(self.found, key=lambda one: one.severity != "error")),
            passed=tuple(sorted(self.asked - {one.name for one in self.found})),
            skipped=self.skipped,
            measured=self.measured,
            seconds=seconds,
        )


def share_of(count: int, rows: int) -> str:
    """So many of the rows, in words.

    Args:
        count: Of them.
        rows: All.
    """
    return f"{count:,} of {rows:,} rows ({count / rows:.2%})"
