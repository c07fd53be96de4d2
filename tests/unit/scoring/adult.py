"""Rows of the data set adult as trees want them, and rows that are meant to hurt."""

import csv
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tadka.scoring.forest import Forest

Matrix = npt.NDArray[np.float64]

SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 1e-40, -1e-40, 1e-36, -1e-36, 1e-35, -1e-35]
SPECIAL += [float(np.float32(1e-35)), -float(np.float32(1e-35)), 1e30, -1e30, 0.5, -0.5, 3.7]
CODES = [-5.0, -1.0, -0.5, -0.0, 0.5, 59.0, 60.0, 61.0, 62.0, 63.0, 64.0, 65.0, 1000.0]
CODES += [2.0**24 - 1, 2.0**24, 2.0**31 - 1, 2.0**31, 2.0**40]


@dataclass(frozen=True, eq=False)
class Adult:
    """Every row of adult, its categories as codes in the order of their texts."""

    names: list[str]
    categorical: list[int]
    full: Matrix
    holey: Matrix
    """The same with every tenth value missing."""
    labels: npt.NDArray[np.int64]

    def holey_numbers(self) -> Matrix:
        """The same with missing values in numeric columns only."""
        rows_BF = self.holey.copy()
        rows_BF[:, self.categorical] = self.full[:, self.categorical]
        return rows_BF


@functools.cache
def read_adult(folder: Path) -> Adult:
    with (folder / "adult" / "adult.data").open(newline="", encoding="utf-8") as file:
        names, *rows = list(csv.reader(file))
    columns = [list(column) for column in zip(*rows, strict=True)]
    *columns, income = columns
    full_BF = np.empty((len(rows), len(columns)))
    categorical = []
    for number, column in enumerate(columns):
        try:
            full_BF[:, number] = np.array(column, dtype=np.float64)
        except ValueError:
            categorical.append(number)
            full_BF[:, number] = np.unique(column, return_inverse=True)[1]
    holey_BF = full_BF.copy()
    holey_BF[np.random.default_rng(0).random(full_BF.shape) < 0.1] = np.nan
    labels_B = np.array([text.strip() != "<=50K" for text in income]).astype(np.int64)
    return Adult(names[:-1], categorical, full_BF, holey_BF, labels_B)


def hostile_rows(
    forest: Forest, rows_BF: Matrix, *, infinite: bool = True, num_rows: int = 2000
) -> Matrix:
    """Rows with values at and beside the thresholds, with codes never seen, and special numbers."""
    random = np.random.default_rng(1)
    hostile_BF = rows_BF[random.integers(0, len(rows_BF), num_rows)].copy()
    special = [*SPECIAL, np.nan, *((np.inf, -np.inf) if infinite else ())]
    for column in range(forest.num_features):
        if forest.categorical[column]:
            width = int(forest.category_widths[column])
            values = [*CODES, np.nan, *range(-2, width + 4)]
        else:
            exact = np.unique(forest.split_thresholds[forest.split_features == column])
            exact = exact[np.isfinite(exact)]
            single = exact.astype(np.float32)
            with np.errstate(over="ignore"):  # beside the largest float32 stands the infinity
                beside = [np.nextafter(single, np.float32(side)) for side in (-np.inf, np.inf)]
            beside += [np.nextafter(exact, side) for side in (-np.inf, np.inf)]
            values = [*special, *exact.tolist(), *single.tolist(), *np.concatenate(beside).tolist()]
        changed = random.random(num_rows) < 0.5
        hostile_BF[changed, column] = random.choice(values, int(changed.sum()))
    return hostile_BF


def assert_equal_bits(expected_B: Matrix, actual_B: Matrix) -> None:
    assert actual_B.dtype == np.float64
    np.testing.assert_array_equal(expected_B, actual_B)
    np.testing.assert_array_equal(expected_B.view(np.int64), actual_B.view(np.int64))


def assert_same_margins(
    forest: Forest, predict: Callable[[Matrix], Any], *matrices: Matrix
) -> None:
    """Library, walker and kernel give the same bits on every row, and not all the same margin."""
    kernel = pytest.importorskip("tadka.scoring.tree").ForestKernel(forest)
    for rows_BF in matrices:
        expected_B = np.asarray(predict(rows_BF)).astype(np.float64)
        assert len(rows_BF) == len(expected_B)
        assert len(np.unique(expected_B)) > 2
        assert_equal_bits(expected_B, forest.margins(rows_BF))
        assert_equal_bits(expected_B, kernel.margins(rows_BF))
        rows = [kernel.margin_row(row) for row in rows_BF[:200]]
        assert_equal_bits(expected_B[:200], np.array(rows))


def assert_same_forest(expected: Forest, actual: Forest) -> None:
    for name, array in expected.to_arrays().items():
        np.testing.assert_array_equal(array, actual.to_arrays()[name], err_msg=name)
