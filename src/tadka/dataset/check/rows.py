"""Checks of rows as a whole: how many, which are equal, in which split, with which labels.

A column that the output has is looked up there, any other in the rows that the dataset is made
from, as they are after their filters and before anything is joined.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.check.check import (
    Check,
    Ground,
    Measure,
    OnFail,
    Scope,
    Verdict,
    is_positive,
    share,
    verdict,
)
from tadka.dataset.define.schema import nearest


@dataclass(frozen=True)
class RowCount(Check):
    """How many rows the output has. Footers may tell before, where there are too few to begin with.

    Args:
        on_fail: `"raise"` or `"warn"`.
        min: The fewest that are accepted. 0 admits an output without rows.
        max: The most that are accepted; no bound where none is given.
        max_drop: By which share it may have fewer rows than the version before it.
    """

    min: int = field(default=1, kw_only=True)
    max: int | None = field(default=None, kw_only=True)
    max_drop: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self.name, "max_drop", self.max_drop)
        if self.min < 0 or (self.max is not None and self.max < self.min):
            raise ConfigError(
                f"RowCount: min is {self.min} and max is {self.max}; they must be at least 0, and "
                "max not below min."
            )

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        return {"rows": Measure("count(*)", ground.source())}

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:
        rows = found["rows"]
        reason = self.too_few(rows, ground.previous_rows)
        if self.max is not None and rows > self.max:
            reason = f"at most {self.max:,} are accepted"
        message = f"{rows:,} rows" + (f"; {reason}." if reason else ".")
        return verdict(is_fine=reason is None, message=message)

    def too_few(self, rows: int, previous_rows: int | None) -> str | None:
        """Why so many rows are not enough; None where they are.

        Args:
            rows: In the output, or the most that it can have.
            previous_rows: In the version before; None where there is none.
        """
        if rows < self.min:
            why = "; the filters removed all" if rows == 0 else ""
            return f"at least {self.min:,} must be there{why}"
        if self.max_drop is not None and previous_rows:
            drop = 1 - rows / previous_rows
            if drop > self.max_drop:
                return (
                    f"{drop:.1%} fewer than the {previous_rows:,} of the version before, and at "
                    f"most {self.max_drop:.1%} are accepted"
                )
        return None


@dataclass(frozen=True, init=False)
class Unique(Check):
    """No two rows have the same values in these columns. Null is a value like any other here.

    Args:
        *columns: Names of one column or several.
        on_fail: `"raise"` or `"warn"`.
    """

    columns: tuple[str, ...] = ()

    def __init__(self, *columns: str, on_fail: OnFail = "raise") -> None:
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "on_fail", on_fail)
        self.__post_init__()
        if not columns:
            raise ConfigError("Unique() has no columns; give at least one.")

    @property
    def name(self) -> str:
        return f"Unique({', '.join(self.columns)})"

    def mistakes(self, scope: Scope) -> list[str]:
        return scope.missing(self.columns)

    def is_of_inputs(self, scope: Scope) -> bool:
        place = scope.place(self.columns)
        return place is not None and bool(place[0])

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        names = ", ".join(ground.dialect.quote(name) for name in self.columns)
        return _repeated(names, ground.source(*self.columns))

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        if not found["groups"]:
            return Verdict("passed", "every row is the only one of its kind.")
        return Verdict(
            "failed",
            f"{found['groups']:,} combinations of {', '.join(map(repr, self.columns))} occur more "
            f"than once, in {found['rows']:,} rows.",
        )


@dataclass(frozen=True)
class NoDuplicates(Check):
    """No two rows of the output are equal in all columns."""

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        names = ", ".join(ground.dialect.quote(name) for name in ground.scope.output)
        return _repeated(names, ground.source())

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        if not found["groups"]:
            return Verdict("passed", "no two rows are equal.")
        return Verdict(
            "failed", f"{found['rows']:,} rows are only {found['groups']:,} different ones."
        )


def _repeated(names: str, source: str) -> dict[str, Measure]:
    """Counts combinations of values that occur more than once, and the rows that have them."""
    groups = f"(SELECT count(*) AS n FROM {source} GROUP BY {names} HAVING count(*) > 1) AS g"  # noqa: S608
    return {
        "groups": Measure("count(*)", groups),
        "rows": Measure("CAST(coalesce(sum(n), 0) AS BIGINT)", groups),
    }


@dataclass(frozen=True)
class NoEntityOverlap(Check):
    """No value of a column occurs in two splits: a user of the training set is in no other.

    Args:
        column: Of the output. Null is nobody.
        on_fail: `"raise"` or `"warn"`.
    """

    column: str

    @property
    def name(self) -> str:
        return f"NoEntityOverlap({self.column})"

    def mistakes(self, scope: Scope) -> list[str]:
        if scope.split is None:
            return ["the dataset has no split; add one, or leave this check out."]
        if self.column not in scope.output:
            hint = nearest(self.column, scope.output, "columns")
            return [f"the output has no column {self.column!r}. {hint}"]
        return []

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        assert ground.scope.split is not None, "mistakes() was asked before"
        column = ground.dialect.quote(self.column)
        split = ground.dialect.quote(ground.scope.split[0])
        shared = (
            f"(SELECT {column} AS entity FROM {ground.source()} WHERE {column} IS NOT NULL "  # noqa: S608
            f"GROUP BY {column} HAVING count(DISTINCT {split}) > 1) AS g"
        )
        return {
            "entities": Measure("count(*)", shared),
            "example": Measure("min(entity)", shared),
        }

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        if not found["entities"]:
            return Verdict("passed", f"no {self.column!r} is in two splits.")
        return Verdict(
            "failed",
            f"{found['entities']:,} values of {self.column!r} are in more than one split, such as "
            f"{found['example']!r}. Split by this column: by_hash({self.column}, ...).",
        )


@dataclass(frozen=True)
class LabelShare(Check):
    """Which share of the labels is true, or above 0. Rows whose label is null do not count.

    Args:
        on_fail: `"raise"` or `"warn"`.
        min: The least share that is accepted.
        max: The greatest share that is accepted.
    """

    min: float = field(default=0.0, kw_only=True)
    max: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self.name, "min", self.min)
        share(self.name, "max", self.max)

    def mistakes(self, scope: Scope) -> list[str]:
        return label_mistakes(scope)

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        assert ground.scope.label is not None, "mistakes() was asked before"
        label = ground.column(ground.scope.label[0])
        return {
            "rows": Measure(ground.count(label.is_not_null()), ground.source()),
            "positive": Measure(ground.count(is_positive(label)), ground.source()),
        }

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        rows = found["rows"]
        if not rows:
            return Verdict("failed", "no row has a label.")
        positive = found["positive"] / rows
        is_fine = self.min <= positive <= self.max
        message = f"{positive:.4%} of {rows:,} labels are positive"
        if not is_fine:
            message += f"; accepted are {self.min:.4%} to {self.max:.4%}"
        return verdict(is_fine=is_fine, message=message + ".")


def label_mistakes(scope: Scope) -> list[str]:
    """Why a check of the label has nothing to look at.

    Args:
        scope: What the definition has.
    """
    if scope.label is None:
        return ["the dataset has no label; add one, or leave this check out."]
    name, kind = scope.label
    if not (kind.name == "bool" or kind.is_number):
        return [f"the label {name!r} is {kind}; it must be a condition or a number."]
    return []
