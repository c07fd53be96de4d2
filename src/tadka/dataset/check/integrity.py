"""Checks that run even if nobody asks: without them the rows of a query would be chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tadka.dataset.check.check import Check, Ground, Measure, Scope, Verdict


@dataclass(frozen=True)
class NoTies(Check):
    """No two rows of a table that is looked up by time have the same key and time.

    Args:
        relation: Its name in the dataset.
    """

    relation: str

    is_strict: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"NoTies({self.relation})"

    def is_of_inputs(self, scope: Scope) -> bool:  # noqa: ARG002
        return True

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        source = f"({ground.ties[self.relation]}) AS ties"
        return {"ties": Measure("count(*)", source)}

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        if not found["ties"]:
            return Verdict("passed", "every key has one row of a time.")
        return Verdict(
            "failed",
            f"{found['ties']:,} keys and times occur in several rows of {self.relation!r}, so "
            "which one is the newest would be chance. Leave out all but one with where(), or give "
            "on= the further columns that tell them apart.",
        )


@dataclass(frozen=True)
class NotMultiplied(Check):
    """A join does not multiply rows beyond its factor.

    Args:
        relation: Name of the joined rows in the dataset.
        max_matches: Rows after the join for each row before it, at most; with 1 no row may become
            two.
        keeps_all: Whether rows without a match stay.
    """

    relation: str
    max_matches: float
    keeps_all: bool

    is_strict: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"NotMultiplied({self.relation})"

    def is_of_inputs(self, scope: Scope) -> bool:  # noqa: ARG002
        return True

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        source = ground.matches[self.relation]
        least = "CASE WHEN matches > 0 THEN matches ELSE 1 END" if self.keeps_all else "matches"
        return {
            "before": Measure("count(*)", source),
            "after": Measure(f"CAST(coalesce(sum({least}), 0) AS BIGINT)", source),
            "most": Measure("max(matches)", source),
        }

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        before, after, most = found["before"], found["after"], found["most"] or 0
        is_fine = most <= 1 if self.max_matches == 1 else after <= before * self.max_matches
        if is_fine:
            return Verdict("passed", f"{before:,} rows become {after:,}.")
        return Verdict(
            "failed",
            f"{before:,} rows become {after:,} ({after / before:.3g} times as many), and one row "
            f"becomes {most:,}; at most {self.max_matches:g} times as many are accepted. Join on "
            "further columns, leave out rows with where(), or give max_matches=.",
        )
