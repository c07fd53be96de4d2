"""How well one column alone tells the label: as a rule, one that tells it fully knows it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.extra import require
from tadka.models.data.findings import Findings, Part
from tadka.models.data.keys import hash_column
from tadka.scoring.metric import auc

_LEAST_ROWS = 20
"""Of a category, to count on its own: the label of one that occurs once is always told."""
_SAMPLE_ROWS = 100_000
_MIN_LABELS = 10
"""Of the rarer of two labels, below which any order may be chance."""

Floats = npt.NDArray[np.float64]


class Sample:
    """A bounded, even draw of rows with features and label, for `predictors`.

    Args:
        label: Name of the label.
        features: Names of numbers.
        categories: Names of columns whose values have no order: texts, truths, ids.
        share: Of the rows to keep.
        limit: The most rows that are kept.
    """

    def __init__(
        self, label: str, features: list[str], categories: list[str], share: float, limit: int
    ) -> None:
        self.label, self.features, self.categories = label, features, categories
        self._share, self._limit = share, limit
        self._rng = np.random.default_rng(0)
        self._columns: dict[str, list[Any]] = {n: [] for n in (label, *features, *categories)}
        self._num_rows = 0

    def add(self, batch: Any) -> None:
        """Draws from the rows of a batch.

        Args:
            batch: Of Arrow, with all columns.
        """
        pa = require("pyarrow", extra="arrow")
        where = np.flatnonzero(self._rng.random(batch.num_rows) < self._share)
        where = where[: self._limit - self._num_rows]
        self._num_rows += len(where)
        if not len(where):
            return
        for name, pieces in self._columns.items():
            column = batch.column(name).take(pa.array(where))
            if name in self.categories:
                pieces.append(hash_column(column))
            else:
                pieces.append(column.cast(pa.float64()).to_numpy(zero_copy_only=False))

    def told(self) -> dict[str, float]:
        """How well each column tells the label, from 0.5 to 1.

        Returns:
            Of two labels the area under the ROC curve (the opposite of one below 0.5), of more
            labels the absolute rank correlation of numbers with it. Empty where there are too few
            rows to say.
        """
        if self._num_rows == 0:
            return {}
        found = {name: np.concatenate(pieces) for name, pieces in self._columns.items()}
        labels = found[self.label]
        keep = ~np.isnan(labels)
        labels = labels[keep]
        kinds, counts = np.unique(labels, return_counts=True)
        if len(kinds) < 2 or (len(kinds) == 2 and counts.min() < _MIN_LABELS):
            return {}
        if len(kinds) > 2:
            if len(labels) < 5 * _MIN_LABELS:
                return {}
            return {n: abs(_correlation(found[n][keep], labels)) for n in self.features}
        is_positive = labels == kinds[1]
        told = {name: _area(found[name][keep], is_positive) for name in self.features}
        for name in self.categories:
            told[name] = _area(_shares(found[name][keep], is_positive), is_positive)
        return {name: max(area, 1 - area) for name, area in told.items()}


def sample_of(part: Part) -> Sample | None:
    """A sample for a part's label and features; None where it has no label of numbers.

    Args:
        part: Train.
    """
    label = next((column for column in part.columns if column.role == "label"), None)
    if label is None or label.item in ("string", "bytes", "key"):
        return None
    usable = [c for c in part.columns if c.role == "feature" and not c.is_list]
    usable = [c for c in usable if c.item != "bytes"]
    categories = [c.name for c in usable if c.vocabulary or c.item in ("string", "key")]
    numbers = [c.name for c in usable if c.name not in categories]
    share = min(1.0, 1.1 * _SAMPLE_ROWS / part.num_rows)
    return Sample(label.name, numbers, categories, share, _SAMPLE_ROWS)


def judge_predictors(found: Findings, sample: Sample | None, max_auc: float) -> None:
    """Notes the columns of train that know the label.

    Args:
        found: Where.
        sample: Of train; None where there was nothing to draw.
        max_auc: That is accepted.
    """
    told = sample.told() if sample is not None else {}
    if not told:
        found.skipped["NoSinglePredictor"] = (
            "there are no labels of two kinds, no features, or too few rows."
        )
    for name, area in told.items():
        found.ask("NoSinglePredictor", name)
        if area > max_auc:
            found.find(
                "NoSinglePredictor",
                f"it alone tells the label ({area:.4f} by area under the ROC curve, or by rank "
                f"correlation); at most {max_auc} is accepted. Look whether it is known before "
                "the label is.",
                part="train",
                column=name,
            )


def _area(values_N: Floats, is_positive_N: npt.NDArray[np.bool_]) -> float:
    """Area under the ROC curve; NaN is the least value."""
    return auc(is_positive_N, _filled(values_N))


def _correlation(values_N: Floats, labels_N: Floats) -> float:
    """Spearman's rank correlation; 0 where the values are all one."""
    a, b = _ranks(values_N), _ranks(labels_N)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _ranks(values_N: Floats) -> Floats:
    """Ranks from 1; equal values have the mean of theirs."""
    _, codes, counts = np.unique(_filled(values_N), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[codes]


def _filled(values_N: Floats) -> Floats:
    return np.where(np.isnan(values_N), -np.inf, values_N)


def _shares(keys_N: npt.NDArray[np.uint64], is_positive_N: npt.NDArray[np.bool_]) -> Floats:
    """Share of positive labels of each row's category, the rare ones taken together."""
    _, codes, counts = np.unique(keys_N, return_inverse=True, return_counts=True)
    codes = np.where(counts[codes] >= _LEAST_ROWS, codes, len(counts))
    positive = np.bincount(codes, weights=is_positive_N, minlength=len(counts) + 1)
    total = np.bincount(codes, minlength=len(counts) + 1)
    return (positive / np.maximum(total, 1))[codes]
