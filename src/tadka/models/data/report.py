"""What the check of data found, as values, as text, as JSON and as a table for a terminal."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tadka.dataset.check.check import CheckFailed, CheckResult, Stage

Severity = Literal["error", "warn"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with data.

    Args:
        severity: `error` where nothing should be trained, `warn` where somebody should look.
        check: Which check found it, in the words of `tadka.dataset`'s: `NullShare`, `InRange`.
        part: `train`, `valid` or `test`; empty where it is about all.
        column: Name of the column; empty where it is about rows.
        message: What was seen and what is accepted, one sentence.
        rows: Numbers of the first rows that have it, from 0 within the part, each with its value.
        stage: `footer` where footers told, `rows` where rows were read.
    """

    severity: Severity
    check: str
    message: str
    part: str = ""
    column: str = ""
    rows: tuple[tuple[int, Any], ...] = ()
    stage: Stage = "rows"

    @property
    def name(self) -> str:
        """Check and column, which `accept` may name: `NullShare(age)`."""
        return f"{self.check}({self.column})" if self.column else self.check

    def __str__(self) -> str:
        where = f" in {self.part}" if self.part else ""
        rows = ", ".join(f"row {row} ({_shown(value)})" for row, value in self.rows)
        first = f" First: {rows}." if rows else ""
        return f"{self.severity}: {self.name}{where}: {self.message}{first}"


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All that the check of data found.

    Args:
        findings: Errors first.
        passed: Names of the checks that found nothing.
        skipped: Names of the checks that had nothing to look at, with the reason.
        measured: Rows, label shares, missing shares and vocabulary coverage by part.
        seconds: That it took.
    """

    findings: tuple[Finding, ...] = ()
    passed: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that should stop a training."""
        return tuple(one for one in self.findings if one.severity == "error")

    @property
    def is_ok(self) -> bool:
        """Whether there are no errors; warnings may be there."""
        return not self.errors

    def __str__(self) -> str:
        rows = ", ".join(f"{count:,} {part}" for part, count in self._rows().items())
        num_warned = len(self.findings) - len(self.errors)
        head = (
            f"{rows} rows: {len(self.errors)} errors, {num_warned} warnings, "
            f"{len(self.passed)} checks passed"
        )
        return "\n".join([head, *map(str, self.findings)])

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "is_ok": self.is_ok,
            "findings": [
                {**asdict(one), "rows": [[row, _plain(value)] for row, value in one.rows]}
                for one in self.findings
            ],
            "passed": list(self.passed),
            "skipped": dict(self.skipped),
            "measured": dict(self.measured),
            "seconds": self.seconds,
        }

    def require_ok(self) -> None:
        """Nothing where there are no errors.

        Raises:
            CheckFailed: There are; the message has all of them, one a line.
        """
        if self.is_ok:
            return
        results = [
            CheckResult(
                name=one.name,
                status="failed" if one.severity == "error" else "warned",
                message=one.message,
                seconds=0.0,
                stage=one.stage,
            )
            for one in self.findings
        ]
        told = "\n  ".join(str(one) for one in self.errors)
        raise CheckFailed(
            f"The data has {len(self.errors)} error{'s' * (len(self.errors) > 1)}; nothing was "
            f"trained:\n  {told}\n"
            "Correct the rows, or name the checks at check.accept to train all the same.",
            results,
        )

    def _rows(self) -> Mapping[str, int]:
        return dict(self.measured.get("rows", {}))


def print_report(report: CheckReport, console: Console | None = None) -> None:
    """Shows a report in a terminal.

    Args:
        report: What was found.
        console: Where; the terminal unless given.
    """
    shown = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("severity", "check", "part", "found"):
        table.add_column(title, overflow="fold")
    for one in report.findings:
        rows = ", ".join(f"{row} ({_shown(value)})" for row, value in one.rows)
        style = "red" if one.severity == "error" else "yellow"
        # as Text: a value such as "[b]" is no markup
        table.add_row(
            Text(one.severity, style),
            Text(one.name),
            Text(one.part),
            Text(one.message + (f" First rows: {rows}." if rows else "")),
        )
    if report.findings:
        shown.print(table)
    shown.print(Text(str(report).partition("\n")[0]))


def _plain(value: Any) -> Any:
    """A value that JSON has."""
    if isinstance(value, float) and value not in (float("inf"), float("-inf")) and value == value:  # noqa: PLR0124
        return value
    if value is None or isinstance(value, bool | int | str):
        return value
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else str(value)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
