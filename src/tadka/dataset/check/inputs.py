"""Checks of what is read that only the engine can answer: matches and freshness."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tadka.dataset.check.check import (
    Check,
    Ground,
    Measure,
    Scope,
    Verdict,
    share,
    verdict,
)
from tadka.dataset.define.schema import nearest
from tadka.dataset.expression.expression import Column, as_literal
from tadka.dataset.expression.kind import DATE, TIME, Kind


@dataclass(frozen=True)
class Matched(Check):
    """Which share of the rows finds something in a relation that is joined to them.

    Args:
        relation: Its name in the dataset.
        min_share: The least share of rows that is accepted.
        on_fail: `"raise"` or `"warn"`.
    """

    relation: str
    min_share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        share(self.name, "min_share", self.min_share)

    @property
    def name(self) -> str:
        return f"Matched({self.relation})"

    def mistakes(self, scope: Scope) -> list[str]:
        if self.relation in scope.lookups:
            return []
        hint = nearest(self.relation, scope.lookups, "lookups")
        return [f"{self.relation!r} is not joined to the rows. {hint}"]

    def is_of_inputs(self, scope: Scope) -> bool:  # noqa: ARG002
        return True

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        source = ground.matches[self.relation]
        return {
            "rows": Measure("count(*)", source),
            "matched": Measure("count(*) FILTER (WHERE matches > 0)", source),
        }

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        rows, matched = found["rows"], found["matched"]
        if not rows:
            return Verdict("skipped", "there are no rows.")
        is_fine = matched / rows >= self.min_share
        message = f"{matched:,} of {rows:,} rows ({matched / rows:.2%}) have a match"
        if not is_fine:
            message += f"; at least {self.min_share:.2%} must have one"
        return verdict(is_fine=is_fine, message=message + ".")


@dataclass(frozen=True)
class TimeCutoff(Check):
    """The time of every row lies in the period that the rows are taken from, lookups included.

    It runs even if nobody asks for it where a period is given by the date of partitions and not by
    the time itself: whether features and labels overlap, and whether all is read that they need,
    was calculated from the period. A table that puts rows of one day into the partition of another,
    as one by local dates does, fails.
    """

    def is_of_inputs(self, scope: Scope) -> bool:  # noqa: ARG002
        return True

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        asked = {}
        for alias, cutoff in ground.cutoffs.items():
            source = ground.sources[alias]
            asked[f"rows of {alias}"] = Measure("count(*)", source)
            asked[f"outside of {alias}"] = Measure(ground.count(~cutoff), source)
        return asked

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:
        told = []
        for alias, cutoff in ground.cutoffs.items():
            rows, outside = found[f"rows of {alias}"], found[f"outside of {alias}"]
            if not outside:
                continue
            seen = (
                f"{outside:,} of {rows:,} rows of {alias!r} have a time outside of the period "
                f"{cutoff}"
            )
            if alias == ground.scope.rows:
                told.append(
                    f"{seen}, so features and labels may overlap. Leave them out with where(), or "
                    "accept them with TimeCutoff(on_fail='warn')."
                )
            else:
                told.append(
                    f"{seen}: its partitions have other days than its times, so rows that are "
                    "needed may lie in partitions that are not read. Give its between() by= the "
                    "column of time, or accept it with TimeCutoff(on_fail='warn')."
                )
        if told:
            return Verdict("failed", " ".join(told))
        count = sum(found[f"rows of {alias}"] for alias in ground.cutoffs)
        return Verdict("passed", f"{count:,} rows are inside the period.")


@dataclass(frozen=True)
class Fresh(Check):
    """The newest row of a table is no older than it may be, at the end of the dataset's period.

    Args:
        table: Its name.
        max_age: From its newest row to the end of the period that the rows are taken from; to now
            where the rows have no end.
        on_fail: `"raise"` or `"warn"`.
    """

    table: str
    max_age: dt.timedelta

    @property
    def name(self) -> str:
        return f"Fresh({self.table})"

    def mistakes(self, scope: Scope) -> list[str]:
        if self.table not in scope.tables:
            hint = nearest(self.table, scope.tables, "tables")
            return [f"the dataset uses no table {self.table!r}. {hint}"]
        if scope.tables[self.table] is None:
            return [f"table {self.table!r} has no time column; declare it with time=."]
        return []

    def is_of_inputs(self, scope: Scope) -> bool:  # noqa: ARG002
        return True

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        name, kind = self._time(ground.scope)
        time: Column[Any] = Column(name, kind, is_nullable=True)
        sql = f"max({ground.sql(time)})"
        if ground.end is not None:  # what came to be known later says nothing of the period
            bound = as_literal(_moment(ground.end, kind), kind, "The end of the period")
            sql += f" FILTER (WHERE {ground.sql(time < bound)})"
        return {"newest": Measure(sql, ground.tables[self.table])}

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:
        _, kind = self._time(ground.scope)
        if found["newest"] is None:
            return Verdict("failed", f"table {self.table!r} has no row before the end.")
        newest = _moment(found["newest"], kind)
        age = _moment(ground.end or dt.datetime.now(dt.UTC), kind) - newest
        is_fine = age <= self.max_age
        message = f"the newest row is of {newest.isoformat()}, {age} before the end"
        if not is_fine:
            message += f"; at most {self.max_age} are accepted"
        return verdict(is_fine=is_fine, message=message + ".")

    def _time(self, scope: Scope) -> tuple[str, Kind]:
        time = scope.tables[self.table]
        assert time is not None, "mistakes() was asked before"
        return time


def _moment(value: dt.date, kind: Kind) -> Any:
    """A date or time as one of a kind; without a zone it is taken for one in UTC."""
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    value = value.replace(tzinfo=value.tzinfo or dt.UTC).astimezone(dt.UTC)
    if kind == DATE:
        return value.date()
    return value.replace(tzinfo=None) if kind == TIME else value
