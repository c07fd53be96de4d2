"""Counts of one column of one part, taken a batch at a time: missing, NaN, outside, labels."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.extra import require
from tadka.models.define.column import Column

_MAX_VALUES = 1_000
_NAMED = 5


@dataclass
class Bad:
    """Rows with something wrong: how many, and the first of them.

    Args:
        count: Of rows.
        rows: Number and value of the first ones.
    """

    count: int = 0
    rows: list[tuple[int, Any]] = field(default_factory=list)

    def add(self, mask_N: npt.NDArray[np.bool_], column: Any, start: int) -> None:
        """Counts the rows of a batch.

        Args:
            mask_N: Which rows are bad, shape (N,).
            column: Arrow array of their values.
            start: Number of the first row of the batch.
        """
        where = np.flatnonzero(mask_N)
        self.count += len(where)
        for row in where[: _NAMED - len(self.rows)].tolist():
            self.rows.append((start + row, column[row].as_py()))


class Tally:
    """What is counted of one column.

    Args:
        column: What the model asks of it.
        values: That are accepted, where the task says so and not the column.
    """

    def __init__(self, column: Column, values: tuple[Any, ...] = ()) -> None:
        self.column = column
        self.values = column.values or values
        self.num_rows = 0
        self.null, self.nan, self.infinite = Bad(), Bad(), Bad()
        self.outside, self.other, self.fraction = Bad(), Bad(), Bad()
        self.labels: Counter[Any] = Counter()
        self.has_more_labels = False

    @property
    def num_missing(self) -> int:
        """Rows that are null or NaN."""
        return self.null.count + self.nan.count

    def add(self, column: Any, start: int) -> None:
        """Counts a batch.

        Args:
            column: Arrow array of any type that the column accepts.
            start: Number of its first row within the part.
        """
        pa = require("pyarrow", extra="arrow")
        compute = require("pyarrow.compute", extra="arrow")
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        self.num_rows += len(column)
        if column.null_count:
            self.null.add(column.is_null().to_numpy(zero_copy_only=False), column, start)
        kind = column.type
        if self.column.is_list:
            self._add_items(column, start)
            return
        if pa.types.is_floating(kind):
            numbers = column.to_numpy(zero_copy_only=False)
            is_nan = np.isnan(numbers)
            if column.null_count:  # they came as NaN
                is_nan &= ~column.is_null().to_numpy(zero_copy_only=False)
            self.nan.add(is_nan, column, start)
            self.infinite.add(np.isinf(numbers), column, start)
        low, high = self.column.low, self.column.high
        if (low is not None or high is not None) and _is_number(kind):
            numbers = column.to_numpy(zero_copy_only=False)
            is_out = np.zeros(len(column), dtype=bool)
            if low is not None:
                is_out |= numbers < low
            if high is not None:
                is_out |= numbers > high
            self.outside.add(is_out, column, start)
        if self.values:
            accepted = set(self.values)
            counted = compute.value_counts(column).to_pylist()
            wrong = [c["values"] for c in counted if not _is_in(c["values"], accepted)]
            if wrong:
                is_wrong = compute.is_in(column, value_set=pa.array(wrong, kind))
                self.other.add(is_wrong.to_numpy(zero_copy_only=False), column, start)
        if self.column.role == "label" and not self.has_more_labels:
            self._add_labels(column)

    def whole_only(self, column: Any, start: int) -> None:
        """Counts labels that are no classes: below 0, or not whole.

        Args:
            column: Arrow array; of what is no number, nothing is asked.
            start: Number of its first row within the part.
        """
        if not _is_number(column.type):
            return
        numbers = column.to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            self.fraction.add((numbers < 0) | (numbers % 1 > 0), column, start)

    def _add_labels(self, column: Any) -> None:
        compute = require("pyarrow.compute", extra="arrow")
        for one in compute.value_counts(column.drop_null()).to_pylist():
            if one["values"] == one["values"]:  # NaN is no label
                self.labels[one["values"]] += one["counts"]
        if len(self.labels) > _MAX_VALUES:
            self.has_more_labels = True

    def _add_items(self, column: Any, start: int) -> None:
        """Looks into lists: nulls and NaN among their items are bad rows."""
        pa = require("pyarrow", extra="arrow")
        compute = require("pyarrow.compute", extra="arrow")
        items = compute.list_flatten(column)
        parents = compute.list_parent_indices(column).to_numpy(zero_copy_only=False)

        def rows_with(mask: Any) -> npt.NDArray[np.bool_]:
            found = np.zeros(len(column), dtype=bool)
            found[parents[mask.to_numpy(zero_copy_only=False)]] = True
            return found

        self.null.add(rows_with(items.is_null()), column, start)
        if pa.types.is_floating(items.type):
            self.nan.add(rows_with(compute.is_nan(items).fill_null(False)), column, start)
            self.infinite.add(rows_with(compute.is_inf(items).fill_null(False)), column, start)


def _is_number(kind: Any) -> bool:
    types = require("pyarrow", extra="arrow").types
    return bool(types.is_integer(kind) or types.is_floating(kind))


def _is_in(value: Any, accepted: set[Any]) -> bool:
    # a missing value is counted as missing, not as another one
    return value is None or value != value or value in accepted  # noqa: PLR0124
