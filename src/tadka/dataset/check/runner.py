"""Runs checks, softens failures that shall only warn, and lists all that remain once."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tadka.core.error import ConfigError, DataError
from tadka.dataset.check.check import (
    Check,
    CheckFailed,
    CheckResult,
    CheckWarning,
    Ground,
    Measure,
    OnFail,
    Scope,
    Stage,
    Status,
    Verdict,
)
from tadka.dataset.check.custom import CheckedOutput, Custom
from tadka.dataset.engine.engine import Answer


def refuse_mistaken(name: str, checks: Sequence[Check], scope: Scope) -> None:
    """Refuses checks that name what a definition does not have.

    Args:
        name: Of the dataset.
        checks: Of its definition.
        scope: What the definition has.

    Raises:
        ConfigError: All mistakes, one a line.
    """
    mistakes = [
        f"check {check.name}: {mistake}" for check in checks for mistake in check.mistakes(scope)
    ]
    if len(mistakes) == 1:
        raise ConfigError(f"Dataset {name!r}, {mistakes[0]}")
    if mistakes:
        raise ConfigError(
            f"Dataset {name!r} has {len(mistakes)} mistakes:\n  " + "\n  ".join(mistakes)
        )


class Results:
    """Results of checks as they arrive, and the error that they add up to.

    Args:
        name: Of the dataset, for messages.
        on_fail: Of the session; None leaves it to each check.
        report: Called with each result at once, in the thread of the check.
        clock: Seconds that never go back; tests replace it.
    """

    def __init__(
        self,
        name: str,
        *,
        on_fail: OnFail | None = None,
        report: Callable[[CheckResult], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._name = name
        self._on_fail = on_fail
        self._report = report
        self.clock = clock
        self._results: list[CheckResult] = []

    @property
    def all(self) -> list[CheckResult]:
        """All that arrived, in their order."""
        return list(self._results)

    def fork(self) -> "Results":
        """Results that begin with these and go on by themselves."""
        other = Results(self._name, on_fail=self._on_fail, report=self._report, clock=self.clock)
        other._results = self.all
        return other

    @property
    def failures(self) -> list[CheckResult]:
        """Those that stop the session."""
        return [result for result in self._results if result.status == "failed"]

    def add(
        self, check: Check, verdict: Verdict, *, start: float, stage: Stage | None = None
    ) -> CheckResult:
        """Takes down what a check found.

        Args:
            check: That ran.
            verdict: What it found.
            start: When it began, by `clock`.
            stage: Where it ran; the check's own unless given.
        """
        status: Status = verdict.status
        softened = "warn" if check.on_fail == "warn" else "raise"
        if self._on_fail is not None:
            softened = self._on_fail
        if status == "failed" and softened == "warn" and not check.is_strict:
            status = "warned"
        result = CheckResult(
            name=check.name,
            status=status,
            message=verdict.message,
            seconds=self.clock() - start,
            stage=stage or check.stage,
        )
        self._results.append(result)
        if self._report is not None:
            self._report(result)
        if status == "warned":
            warnings.warn(f"Dataset {self._name!r}, {result}", CheckWarning, stacklevel=2)
        return result

    def raise_failures(self) -> None:
        """Ends the session where a check failed.

        Raises:
            CheckFailed: All failures, one a line.
        """
        failures = self.failures
        if len(failures) == 1:
            raise CheckFailed(
                f"A check of dataset {self._name!r} failed. {failures[0]}", self._results
            )
        if failures:
            lines = "".join(f"\n  {failure}" for failure in failures)
            raise CheckFailed(
                f"{len(failures)} checks of dataset {self._name!r} failed:{lines}", self._results
            )


def run_checks(
    checks: Sequence[Check],
    ground: Ground,
    query_all: "Callable[[Sequence[str]], Iterator[Answer]]",
    results: Results,
) -> None:
    """Runs checks that ask the engine, with one query for all that look at the same rows.

    Args:
        checks: Those of stage `"rows"`; their `mistakes` were none.
        ground: Where they run.
        query_all: Runs SQL on the engine.
        results: Takes them down; failures are not raised here.
    """
    asked = {index: check.measures(ground) for index, check in enumerate(checks)}
    by_source: dict[str, _Wanted] = {}
    for index, measures in asked.items():
        for key, measure in measures.items():
            by_source.setdefault(measure.source, []).append((index, key, measure))
    for index, measures in asked.items():
        if not measures:
            nothing = Verdict("skipped", "there is nothing to look at.")
            results.add(checks[index], nothing, start=results.clock())
    found: dict[int, dict[str, Any]] = {index: {} for index in asked}
    errors: dict[int, str] = {}
    start = results.clock()
    sqls = [_sql(source, wanted) for source, wanted in by_source.items()]
    groups = list(by_source.values())
    for number, answer in query_all(sqls):
        wanted = groups[number]
        if isinstance(answer, DataError):  # the data is at fault: one check less
            errors.update({index: str(answer) for index, _, _ in wanted})
            continue
        row = answer.to_pylist()[0]
        for (index, key, _), column in zip(wanted, _columns(wanted), strict=True):
            found[index][key] = row[column]
        for index in dict.fromkeys(index for index, _, _ in wanted):
            if len(found[index]) == len(asked[index]):  # all its sources have answered
                results.add(checks[index], checks[index].judge(found[index], ground), start=start)
        start = results.clock()
    for index, reason in errors.items():
        results.add(checks[index], Verdict("failed", reason), start=start)


_Wanted = list[tuple[int, str, Measure]]
"""What is asked of one source: number of the check, its name for it, and SQL."""


def _sql(source: str, wanted: _Wanted) -> str:
    columns = dict(zip((m.sql for _, _, m in wanted), _columns(wanted), strict=True))
    selected = ", ".join(f"{sql} AS {column}" for sql, column in columns.items())
    return f"SELECT {selected} FROM {source}"  # noqa: S608 - of our own making


def _columns(wanted: _Wanted) -> list[str]:
    """The column of the answer for each; equal ones share it."""
    different = list(dict.fromkeys(measure.sql for _, _, measure in wanted))
    return [f"m{different.index(measure.sql)}" for _, _, measure in wanted]


def run_custom(checks: Sequence[Custom], output: CheckedOutput, results: Results) -> None:
    """Runs checks of one's own.

    Args:
        checks: In their order.
        output: What they look at.
        results: Takes them down; failures are not raised here.

    Raises:
        ConfigError: A function gives neither None nor a text.
    """
    for check in checks:
        start = results.clock()
        try:
            told = check.function(output)
        except Exception as error:  # a function of the user's: its own error goes on, named
            error.add_note(f"In check {check.name!r} of the output.")
            raise
        if not (told is None or isinstance(told, str)):
            raise ConfigError(
                f"Check {check.name!r} gave {told!r}; its function must give None where all is "
                "well, else a text that says what is wrong."
            )
        verdict = Verdict("passed", "passed.") if told is None else Verdict("failed", told)
        results.add(check, verdict, start=start)
