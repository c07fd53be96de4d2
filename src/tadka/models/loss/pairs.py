"""Pairs of users and items as compressed sparse rows (CSR), and the questions asked of them.

A `Csr` is `(indptr, indices)`: the items of user u are `indices[indptr[u] : indptr[u + 1]]`, sorted
and without repetition. Both may be memory-mapped files.

Shapes: U users, E pairs, B rows asked for, N items asked for.
"""

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError

IntArray = npt.NDArray[np.int64]
Csr = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]


def to_csr(
    users: npt.ArrayLike, items: npt.ArrayLike, num_users: int, *, first_item: int = 1
) -> Csr:
    """Pairs as CSR: sorted, each pair once.

    Args:
        users: Row of the user of each pair, in [0, num_users), shape (E,).
        items: Row of the item, at least 0, shape (E,).
        num_users: Users, those without a pair included.
        first_item: Smallest row of a known item. Rows below it all stand for items without a row,
            so they may be different items and are kept as often as they are given.

    Returns:
        indptr, shape (num_users + 1,), and indices, shape (at most E,), both int64.

    Raises:
        DataError: The lengths differ, or a row is out of range.
    """
    user_E = np.asarray(users, dtype=np.int64).ravel()
    item_E = np.asarray(items, dtype=np.int64).ravel()
    if len(user_E) != len(item_E):
        raise DataError(f"There are {len(user_E):,} users and {len(item_E):,} items of pairs.")
    check_range(user_E, num_users, "User")
    check_range(item_E, None, "Item")
    order_E = np.lexsort((item_E, user_E))
    user_E, item_E = user_E[order_E], item_E[order_E]
    is_kept_E = np.ones(len(user_E), dtype=bool)
    is_kept_E[1:] = (np.diff(user_E) != 0) | (np.diff(item_E) != 0) | (item_E[1:] < first_item)
    counts_U = np.bincount(user_E[is_kept_E], minlength=num_users)
    return np.concatenate([[0], np.cumsum(counts_U)]), item_E[is_kept_E]


def check_range(rows: npt.NDArray[np.integer], size: int | None, what: str) -> None:
    """Refuses rows below 0, or from `size` on.

    Raises:
        DataError: A row is out of range; the message names the first.
    """
    is_bad = rows < 0 if size is None else (rows < 0) | (rows >= size)
    if is_bad.any():
        at = int(np.argmax(is_bad))
        limit = "be at least 0" if size is None else f"lie in [0, {size:,})"
        raise DataError(f"{what} row {rows.flat[at]} at position {at:,} must {limit}.")


def lengths(csr: Csr) -> IntArray:
    """How many items each user has, shape (U,)."""
    indptr_U1 = np.asarray(csr[0], dtype=np.int64)
    return indptr_U1[1:] - indptr_U1[:-1]


def items_of(csr: Csr, users_B: npt.NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """All pairs of some users, one user after the other.

    Args:
        csr: The pairs.
        users_B: Rows of users, in any order, repetition allowed.

    Returns:
        For each pair the position of its user in `users_B`, and the item.
    """
    indptr, indices = csr
    starts_B = np.asarray(indptr[users_B], dtype=np.int64)
    counts_B = np.asarray(indptr[users_B + 1], dtype=np.int64) - starts_B
    ends_B = np.cumsum(counts_B)
    position_E = np.repeat(np.arange(len(users_B)), counts_B)
    entry_E = np.arange(len(position_E)) + np.repeat(starts_B - (ends_B - counts_B), counts_B)
    return position_E, np.asarray(indices[entry_E], dtype=np.int64)


def num_below(csr: Csr, users_N: IntArray, items_N: IntArray) -> IntArray:
    """How many of the user's items are below the given one: one bisection for all at once.

    Args:
        csr: The pairs.
        users_N: Row of the user of each question.
        items_N: The item of each question.

    Returns:
        Counts, shape (N,).
    """
    indptr, indices = csr
    start_N = np.asarray(indptr[users_N], dtype=np.int64)
    low_N, high_N = start_N.copy(), np.asarray(indptr[users_N + 1], dtype=np.int64)
    last = max(len(indices) - 1, 0)
    for _ in range(_steps(high_N - low_N)):
        middle_N = (low_N + high_N) // 2
        is_open_N = low_N < high_N
        is_below_N = is_open_N & (indices[np.minimum(middle_N, last)] < items_N)
        low_N = np.where(is_below_N, middle_N + 1, low_N)
        high_N = np.where(is_open_N & ~is_below_N, middle_N, high_N)
    return low_N - start_N


def num_without_row(csr: Csr, users_N: IntArray, first_item: int) -> IntArray:
    """How many entries of each user stand for items without a row: mostly none.

    Args:
        csr: The pairs.
        users_N: Rows of users.
        first_item: Smallest row of a known item.

    Returns:
        Counts, shape (N,).
    """
    indptr, indices = csr
    count_N = np.zeros(len(users_N), dtype=np.int64)
    if first_item < 1 or not len(indices):
        return count_N
    start_N = np.minimum(indptr[users_N], len(indices) - 1)  # of a user without items: any entry
    some = np.flatnonzero(indices[start_N] < first_item)
    count_N[some] = num_below(csr, users_N[some], np.full(len(some), first_item, dtype=np.int64))
    return count_N


def contains(csr: Csr, users_N: IntArray, items_N: IntArray) -> npt.NDArray[np.bool_]:
    """Whether each pair is among those of `csr`.

    Args:
        csr: The pairs.
        users_N: Rows of users.
        items_N: Rows of items.

    Returns:
        Shape (N,).
    """
    indptr, indices = csr
    at_N = np.asarray(indptr[users_N], dtype=np.int64) + num_below(csr, users_N, items_N)
    is_inside_N = at_N < indptr[users_N + 1]
    found_N: npt.NDArray[np.bool_] = np.zeros(len(at_N), dtype=bool)
    found_N[is_inside_N] = indices[at_N[is_inside_N]] == items_N[is_inside_N]
    return found_N


def nth_absent(csr: Csr, users_N: IntArray, nth_N: IntArray, *, first_item: int = 1) -> IntArray:
    """The item that is the nth, from 0, among those that are not the user's, by row.

    Args:
        csr: The pairs; items below `first_item` count as absent and are never answered.
        users_N: Rows of users.
        nth_N: At least 0.
        first_item: Smallest row of a known item.

    Returns:
        Rows of items, shape (N,).
    """
    # The j-th item of a user has (item - first_item - j) absent items below it, which grows with j:
    # bisect for the first j with more than nth of them; the answer then lies j places further.
    indptr, indices = csr
    skipped_N = num_without_row(csr, users_N, first_item)
    start_N = np.asarray(indptr[users_N], dtype=np.int64) + skipped_N
    low_N, high_N = start_N.copy(), np.asarray(indptr[users_N + 1], dtype=np.int64)
    last = max(len(indices) - 1, 0)
    for _ in range(_steps(high_N - low_N)):
        middle_N = (low_N + high_N) // 2
        is_open_N = low_N < high_N
        num_absent_N = indices[np.minimum(middle_N, last)] - first_item - (middle_N - start_N)
        is_before_N = is_open_N & (num_absent_N <= nth_N)
        low_N = np.where(is_before_N, middle_N + 1, low_N)
        high_N = np.where(is_open_N & ~is_before_N, middle_N, high_N)
    return np.asarray(first_item + nth_N + (low_N - start_N), dtype=np.int64)


def _steps(sizes: IntArray) -> int:
    """Halvings until every interval of these lengths is empty; none where nothing can be read."""
    return int(sizes.max(initial=0)).bit_length()
