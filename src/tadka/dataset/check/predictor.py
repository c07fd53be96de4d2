"""The check for columns that predict the label alone: as a rule they know it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tadka.core.error import ConfigError
from tadka.dataset.check.check import (
    Check,
    Ground,
    Measure,
    Scope,
    Verdict,
    is_positive,
    verdict,
)
from tadka.dataset.check.rows import label_mistakes
from tadka.dataset.expression.kind import Kind

_LEAST_ROWS = 20
"""Of a text, to count on its own: the label of a text that occurs once is always predicted."""


@dataclass(frozen=True)
class NoSinglePredictor(Check):
    """No feature alone orders the rows by their label.

    The area under the ROC curve of each feature is calculated exactly, over all rows: of numbers
    and times in their order, null first, NaN last; of texts in the order of their share of positive
    labels, those that occur fewer than 20 times taken together. Lists and bytes are left out. Each
    feature is grouped and sorted once, which takes about as long as a query over it.

    Args:
        on_fail: `"raise"` or `"warn"`.
        max_auc: The largest area that is accepted; of one below 0.5 the opposite is taken.
    """

    max_auc: float = field(default=0.99, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 <= self.max_auc <= 1:
            raise ConfigError(
                f"NoSinglePredictor: max_auc is {self.max_auc!r}; it must be from 0.5 to 1."
            )

    def mistakes(self, scope: Scope) -> list[str]:
        return label_mistakes(scope)

    def measures(self, ground: Ground) -> Mapping[str, Measure]:
        found = {}
        for name, kind in ground.scope.features.items():
            if kind.item is None and kind.name != "bytes":
                source = _ordered(name, kind, ground)
                found[f"area:{name}"] = Measure("sum(pos * (below + neg * 0.5))", source)
                found[f"pos:{name}"] = Measure("sum(pos)", source)
                found[f"neg:{name}"] = Measure("sum(neg)", source)
        return found

    def judge(self, found: Mapping[str, Any], ground: Ground) -> Verdict:  # noqa: ARG002
        areas = {}
        for key in found:
            what, _, name = key.partition(":")
            if what == "area":
                pairs = float(found[f"pos:{name}"] or 0) * float(found[f"neg:{name}"] or 0)
                if pairs:
                    area = float(found[key]) / pairs
                    areas[name] = max(area, 1 - area)
        if not areas:
            return Verdict("skipped", "there are no labels of two kinds, or no features.")
        worst = sorted(areas, key=lambda name: -areas[name])
        told = [f"{name!r} ({areas[name]:.4f})" for name in worst if areas[name] > self.max_auc]
        if told:
            return Verdict(
                "failed",
                f"{', '.join(told)} alone predict the label, by area under the ROC curve; at most "
                f"{self.max_auc} is accepted. Look whether they are known before the label is.",
            )
        return verdict(
            is_fine=True, message=f"the best alone is {worst[0]!r} ({areas[worst[0]]:.4f})."
        )


def _ordered(name: str, kind: Kind, ground: Ground) -> str:
    """Positives and negatives of each value of a column, with the negatives of lesser values."""
    assert ground.scope.label is not None, "mistakes() was asked before"
    label = ground.column(ground.scope.label[0])
    column = ground.sql(ground.column(name))
    positive = is_positive(label)
    values = (
        f"SELECT {column} AS v, CAST({ground.count(positive)} AS DOUBLE) AS pos, "  # noqa: S608
        f"CAST({ground.count(~positive)} AS DOUBLE) AS neg "
        f"FROM {ground.source()} WHERE {ground.sql(label.is_not_null())} GROUP BY {column}"
    )
    order = "v NULLS FIRST"
    if kind.name == "string":
        rare = f"CASE WHEN pos + neg >= {_LEAST_ROWS} THEN v END"
        values = (
            f"SELECT {rare} AS v, sum(pos) AS pos, sum(neg) AS neg FROM ({values}) AS s "  # noqa: S608
            f"GROUP BY {rare}"
        )
        order = "pos / (pos + neg), v NULLS FIRST"
    before = "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    return (
        f"(SELECT pos, neg, coalesce(sum(neg) OVER (ORDER BY {order} {before}), 0) AS below "  # noqa: S608
        f"FROM ({values}) AS g) AS o"
    )
