"""Splits: which rows are to learn from and which to judge by, as pure functions of indices.

Each returns two sorted arrays of row numbers, those of train first; together they are all rows,
each once. Equal arguments give equal arrays. Shapes: N rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[Any]
Kind = Literal["given", "random", "time", "leave_last", "fold"]


@dataclass(frozen=True, kw_only=True)
class Split:
    """How rows are divided.

    Args:
        kind: `given` where the parts are files of their own, or where `column` says `train`,
            `valid` or `test` of each row; `random` by a seeded draw; `time` where the last rows
            are judged by; `leave_last` where the last row of each user is; `fold` where one of
            several equal parts is (cross-validation).
        share: Of the rows to judge by, above 0 and below 1; of `random` and `time`.
        seed: Of the draw; of `random` and `fold`.
        column: Of times for `time` and `leave_last`; of part names for `given`.
        at: The first time to judge by, in the place of a share.
        user: Column of users, of `leave_last`.
        folds: Number of parts; of `fold`.
        fold: Which is judged by, from 0.

    Raises:
        ConfigError: A value is out of range.
    """

    kind: Kind = "given"
    share: float = 0.2
    seed: int = 0
    column: str = ""
    at: float | None = None
    user: str = "user"
    folds: int = 10
    fold: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"share is {self.share!r}; it must be above 0 and below 1.")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed!r}; it must be at least 0.")
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise ConfigError(
                f"fold is {self.fold} of {self.folds}; folds must be at least 2, and fold from 0 "
                "to one less than folds."
            )

    @property
    def times(self) -> str:
        """Column of times, `time` unless another is named; empty where times do not matter."""
        return (self.column or "time") if self.kind in ("time", "leave_last") else ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that must be read to divide rows."""
        return {
            "given": (self.column,) if self.column else (),
            "time": (self.times,),
            "leave_last": (self.user, self.times),
        }.get(self.kind, ())

    def divide(self, num_rows: int, columns: Mapping[str, Values]) -> tuple[Rows, Rows]:
        """Rows to learn from and rows to judge by.

        Args:
            num_rows: N.
            columns: Those of `self.columns`, each of shape (N,).

        Raises:
            DataError: The rows cannot be divided so.
        """
        if self.kind == "random":
            return random_split(num_rows, self.share, self.seed)
        if self.kind == "fold":
            return fold_split(num_rows, self.folds, self.fold, self.seed)
        if self.kind == "time":
            return time_split(columns[self.times], share=self.share, at=self.at)
        if self.kind == "leave_last":
            return leave_last_split(columns[self.user], columns[self.times])
        raise ConfigError("A given split is not drawn: name the parts, or a column that has them.")


def random_split(num_rows: int, share: float, seed: int = 0) -> tuple[Rows, Rows]:
    """A seeded draw without replacement.

    Args:
        num_rows: N.
        share: Of the rows to judge by; at least one of them on each side where N is above 1.
        seed: Of the draw.
    """
    count = min(max(round(num_rows * share), 1), num_rows - 1) if num_rows > 1 else 0
    is_test = np.zeros(num_rows, dtype=bool)
    is_test[np.random.default_rng(seed).permutation(num_rows)[:count]] = True
    return _two(is_test)


def fold_split(num_rows: int, folds: int, fold: int, seed: int = 0) -> tuple[Rows, Rows]:
    """One of several parts of equal size; the parts of all folds together are all rows.

    Args:
        num_rows: N; sizes differ by one where it is no multiple of `folds`.
        folds: Number of parts.
        fold: Which is judged by, from 0.
        seed: Of the draw that all folds share.
    """
    order = np.random.default_rng(seed).permutation(num_rows)
    is_test = np.zeros(num_rows, dtype=bool)
    is_test[order[fold::folds]] = True
    return _two(is_test)


def time_split(
    times_N: Values, *, share: float = 0.2, at: float | None = None
) -> tuple[Rows, Rows]:
    """The last rows are judged by. Rows of one time are never divided.

    Args:
        times_N: Numbers or times, without missing ones.
        share: Of the rows to judge by; ties at the cut are all judged by, unless nothing would
            be left to learn from.
        at: The first time to judge by, in the place of a share.

    Raises:
        DataError: All rows are of one time, a time is missing, or `at` is not comparable with
            the times or has all of them on one side.
    """
    _refuse_missing(times_N, "time")
    if at is None:
        ordered = np.sort(times_N)
        if not len(ordered) or ordered[0] == ordered[-1]:
            raise DataError("All rows are of one time; they cannot be divided by it.")
        count = min(max(round(len(ordered) * share), 1), len(ordered) - 1)
        cut = ordered[-count]
        if cut == ordered[0]:  # ties would take everything: begin with the next time
            cut = ordered[np.searchsorted(ordered, cut, side="right")]
        return _two(times_N >= cut)
    if times_N.dtype.kind not in "iufM":
        raise DataError(f"Rows cannot be divided at {at}: their times are no numbers and no dates.")
    is_test = times_N >= (np.datetime64(int(at), "s") if times_N.dtype.kind == "M" else at)
    if len(is_test) and (is_test.all() or not is_test.any()):
        side = "from" if is_test[0] else "before"
        raise DataError(
            f"All rows are {side} {at}: times go from {np.min(times_N)} to {np.max(times_N)}. "
            "Choose split.at between them."
        )
    return _two(is_test)


def leave_last_split(users_N: Values, times_N: Values) -> tuple[Rows, Rows]:
    """The last row of each user is judged by; users with one row are only learned from.

    Args:
        users_N: Who a row is of.
        times_N: Its time; of equal ones the later row counts as the last.

    Raises:
        DataError: A time or a user is missing, or no user has two rows.
    """
    _refuse_missing(times_N, "time")
    _refuse_missing(users_N, "user")
    _, codes = np.unique(users_N, return_inverse=True)
    order = np.lexsort((np.arange(len(codes)), times_N, codes))  # by user, then time, then row
    sorted_codes = codes[order]
    is_last = np.append(sorted_codes[1:] != sorted_codes[:-1], True)[: len(codes)]
    is_only = np.bincount(codes)[sorted_codes] == 1 if len(codes) else is_last
    is_test = np.zeros(len(codes), dtype=bool)
    is_test[order[is_last & ~is_only]] = True
    if not is_test.any():
        raise DataError("No user has two rows; none can be left out to judge by.")
    return _two(is_test)


def given_split(names_N: Values) -> dict[str, Rows]:
    """Rows by the name of their part.

    Args:
        names_N: `train`, `valid` or `test` of each row.

    Raises:
        DataError: There is another name, or none is `train`.
    """
    found, codes = np.unique(np.asarray(names_N, dtype=str), return_inverse=True)
    parts = {str(name): np.flatnonzero(codes == code) for code, name in enumerate(found)}
    unknown = [name for name in parts if name not in ("train", "valid", "test")]
    if unknown or "train" not in parts:
        raise DataError(
            f"The column of the split has {', '.join(map(repr, list(parts)[:5]))}; it must have "
            "'train', and may have 'valid' and 'test'."
        )
    return parts


def _refuse_missing(values_N: Values, what: str) -> None:
    if values_N.dtype.kind in "mM":
        is_missing = np.isnat(values_N)
    elif values_N.dtype == object:
        is_missing = np.array([value is None for value in values_N], dtype=bool)
    else:
        is_missing = values_N != values_N  # noqa: PLR0124
    if np.any(is_missing):
        raise DataError(
            f"The {what} of row {int(np.argmax(is_missing))} is missing; rows are divided by it."
        )


def _two(is_test_N: npt.NDArray[np.bool_]) -> tuple[Rows, Rows]:
    return np.flatnonzero(~is_test_N), np.flatnonzero(is_test_N)
