"""Full ranking: every item is ranked for every user, the items of train left out.

Shapes: Q tested users, V rows of users, I items (row 0 included), D dimensions, B users of a block.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.pairs import Csr, IntArray, check_range, contains, items_of, lengths
from tadka.models.measure.ranking import (
    NOTHING,
    Array,
    BoolArray,
    best,
    coverage,
    hit_rate,
    mrr,
    ndcg,
    recall,
)

Score = Callable[[Any], npt.ArrayLike]
"""From a block of `user_vectors` to the scores of all items, (B, D) to (B, I)."""

MAX_CELLS = 1 << 21
"""Scores held at once: 8 MiB of float32, which stay in the cache while they are looked through."""
MIN_BLOCK = 64
"""But no fewer users than these at once, unless asked: item vectors are read once for a block."""


def full_ranking(
    user_vectors: npt.NDArray[Any],
    item_vectors: npt.NDArray[Any] | Score,
    train: Csr,
    test: Csr,
    ks: Sequence[int] = (20,),
    block: int = 1024,
    *,
    users: npt.ArrayLike | None = None,
    first_item: int = 1,
) -> dict[str, float]:
    """Metrics of ranking all items that a user has not taken in train, by (-score, item).

    Users without test rows are skipped and counted. Users without train rows ("cold") are ranked
    and included, and reported as a group of their own beside the others ("warm").

    Args:
        user_vectors: Shape (V, D); with a score function any array by user, such as row numbers.
        item_vectors: Shape (I, D), scored by dot product; or a function from a block of
            `user_vectors` to scores, shape (B, I).
        train: Items of each row of users, masked out of the ranking (`pairs.to_csr`), V rows.
        test: Positives of each tested user, Q rows. Items below `first_item` have no row: they
            can never be found and count as misses.
        ks: Lengths of the list.
        block: Most users scored at once, which bounds memory; fewer, down to `MIN_BLOCK`, where
            their scores would be more than `MAX_CELLS`.
        users: Row of users of each tested one, shape (Q,). None: the same rows, Q = V. Tested users
            that all have the row 0 of unseen values stay apart so.
        first_item: Smallest row that is an item.

    Returns:
        For each k `recall@k`, `ndcg@k`, `mrr@k` and `hit_rate@k`, means over users, and
        `coverage@k`; `num_users` that were ranked, `num_skipped` without test rows, `num_cold`
        without train rows. Where there are cold users, all means also as `cold_...` and, where
        there are others, `warm_...`.

    Raises:
        ConfigError: `ks` is empty or holds less than 1, or `block` is below 1.
        DataError: No user has test rows, sizes do not fit, or a score is NaN.
    """
    largest = check_lengths(ks)
    if block < 1:
        raise ConfigError(f"block is {block}; it must be at least 1.")
    row_Q = rows_of(users, test, len(user_vectors))
    if len(train[0]) != len(user_vectors) + 1:
        raise DataError(f"Train has {len(train[0]) - 1:,} users, the model {len(user_vectors):,}.")
    num_positives_Q = lengths(test)
    tested = tested_users(num_positives_Q)
    score, num_items = _scorer(user_vectors, item_vectors)
    listed = np.empty((len(tested), largest), dtype=np.int64)
    done = 0
    while done < len(tested):
        # The first block of a score function is one user: only its answer tells how many items.
        size = 1 if num_items is None else min(block, max(MIN_BLOCK, MAX_CELLS // num_items))
        row_B = row_Q[tested[done : done + size]]
        score_BI = _scores(score, user_vectors[row_B], num_items)
        num_items = score_BI.shape[1]
        if num_items <= first_item:
            raise DataError(f"The model scores no item: {num_items} rows, all of them none.")
        _mask(score_BI, train, row_B, first_item)
        listed[done : done + size] = best(score_BI, largest)
        done += size
    assert num_items is not None  # some user is tested
    is_hit = hits(listed, test, tested)
    is_cold = lengths(train)[row_Q[tested]] == 0
    measured = summary(is_hit, num_positives_Q[tested], ks, groups(is_cold))
    for k in ks:
        measured[f"coverage@{k}"] = coverage(listed, num_items - first_item, k)
    return measured | {
        "num_users": float(len(tested)),
        "num_skipped": float(len(row_Q) - len(tested)),
        "num_cold": float(np.count_nonzero(is_cold)),
    }


def check_lengths(ks: Sequence[int]) -> int:
    """The largest of `ks`.

    Raises:
        ConfigError: There is none, or one is below 1.
    """
    if not ks or min(ks) < 1:
        raise ConfigError(f"The lengths of lists are {list(ks)}; give some of at least 1.")
    return max(ks)


def rows_of(users: npt.ArrayLike | None, test: Csr, num_rows: int) -> IntArray:
    """Row of users of each tested one.

    Raises:
        DataError: There are not as many as `test` has rows, or a row is out of range.
    """
    num_tested = len(test[0]) - 1
    row_Q = np.arange(num_tested) if users is None else np.asarray(users, dtype=np.int64).ravel()
    if len(row_Q) != num_tested or (users is None and num_tested != num_rows):
        given = num_rows if users is None else len(row_Q)
        raise DataError(
            f"Test has {num_tested:,} users, and there are rows for {given:,}; say by 'users' "
            "which row each tested user has."
        )
    check_range(row_Q, num_rows, "User")
    return row_Q


def tested_users(num_positives_Q: IntArray) -> IntArray:
    """Positions of users with test rows.

    Raises:
        DataError: There is none.
    """
    tested = np.flatnonzero(num_positives_Q)
    if not len(tested):
        raise DataError("No user has test rows, so nothing can be ranked; check the split.")
    return tested


def hits(listed: IntArray, test: Csr, tested: IntArray) -> BoolArray:
    """Whether the item at each place is a positive of its user."""
    num_places = listed.shape[1]
    item_N = listed.ravel()
    is_hit_N = contains(test, np.repeat(tested, num_places), item_N) & (item_N != NOTHING)
    return np.asarray(is_hit_N.reshape(listed.shape))


def groups(is_cold: BoolArray) -> dict[str, BoolArray]:
    """The users whose means are told, by the prefix of the names."""
    told = {"": np.ones_like(is_cold)}
    if is_cold.any():
        told["cold_"] = is_cold
        if not is_cold.all():
            told["warm_"] = ~is_cold
    return told


def summary(
    is_hit: BoolArray, num_positives: IntArray, ks: Sequence[int], told: Mapping[str, BoolArray]
) -> dict[str, float]:
    """Means of all metrics of lists over each group of users."""
    measured: dict[str, float] = {}
    for prefix, is_member in told.items():
        for k in ks:
            by_user: dict[str, Array] = {
                "recall": recall(is_hit, num_positives, k),
                "ndcg": ndcg(is_hit, num_positives, k),
                "mrr": mrr(is_hit, k),
                "hit_rate": hit_rate(is_hit, k),
            }
            for name, values in by_user.items():
                measured[f"{prefix}{name}@{k}"] = float(values[is_member].mean())
    return measured


def _scorer(
    user_vectors: npt.NDArray[Any], item_vectors: npt.NDArray[Any] | Score
) -> tuple[Score, int | None]:
    """The score function, and the number of items where vectors tell it.

    Raises:
        DataError: Vectors of users and items do not fit, or there is no item.
    """
    if callable(item_vectors):
        given = item_vectors
        return lambda user_BD: np.array(given(user_BD)), None  # a copy: masking writes
    item_DI = np.asarray(item_vectors).T
    if item_DI.ndim != 2 or user_vectors.ndim != 2 or user_vectors.shape[1] != len(item_DI):
        raise DataError(
            f"Vectors of users have the shape {user_vectors.shape}, those of items "
            f"{item_DI.T.shape}; both must have the same dimension."
        )
    if not item_DI.shape[1]:
        raise DataError("The model scores no item.")
    return lambda user_BD: user_BD @ item_DI, item_DI.shape[1]


def _scores(
    score: Score, user_block: npt.NDArray[Any], num_items: int | None
) -> npt.NDArray[np.floating]:
    """Scores of one block, writable and at least of 32 bits.

    Raises:
        DataError: They have another shape.
    """
    given = np.asarray(score(user_block))
    dtype = np.float64 if given.dtype == np.float64 or given.dtype.kind != "f" else np.float32
    score_BI = np.require(given, dtype=dtype, requirements=["W", "C"])
    expected = (len(user_block), score_BI.shape[-1] if num_items is None else num_items)
    if score_BI.shape != expected:
        raise DataError(
            f"The scores of {len(user_block):,} users have the shape {score_BI.shape}; expected "
            f"is {expected}."
        )
    if not score_BI.shape[1]:
        raise DataError("The model scores no item.")
    return score_BI


def _mask(score_BI: npt.NDArray[np.floating], train: Csr, row_B: IntArray, first_item: int) -> None:
    """Items of train, and rows that are no items, are never listed."""
    user_E, item_E = items_of(train, row_B)
    if len(item_E) and item_E.max() >= score_BI.shape[1]:
        raise DataError(
            f"Train has the item row {item_E.max():,}; the model scores {score_BI.shape[1]:,}."
        )
    score_BI[user_E, item_E] = -np.inf
    score_BI[:, :first_item] = -np.inf
