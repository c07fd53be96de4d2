"""The best items of each user, in an order that nothing but scores and ids decides, and its worth.

Shapes: U users, I items, K places of a list.
"""

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.pairs import Csr, IntArray, check_range, items_of

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
NOTHING = -1
"""What stands at places of a list for which there was no item left."""


def top_k(
    scores: npt.ArrayLike, k: int, mask: Csr | None = None, *, first_item: int = 0
) -> IntArray:
    """The best items of each user by (-score, item): ties go to the smaller row, at the cut too.

    Args:
        scores: Shape (U, I); minus infinity means never.
        k: Places, at least 1.
        mask: Items never to be listed, such as those of train, as CSR with a row for each user.
        first_item: Items with smaller rows are never listed (1 where row 0 means unseen).

    Returns:
        Rows of items, best first, shape (U, k); -1 where fewer than k items can be listed.

    Raises:
        ConfigError: `k` is below 1.
        DataError: A score is NaN, or `mask` does not have U rows or has another item.
    """
    score_UI = np.array(scores, ndmin=2)  # a copy: masking writes
    if mask is not None and len(mask[0]) != len(score_UI) + 1:
        raise DataError(f"The mask has {len(mask[0]) - 1:,} rows for {len(score_UI):,} users.")
    if score_UI.dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
        wide = np.float32 if score_UI.dtype == np.float16 else np.float64
        score_UI = score_UI.astype(wide)
    if mask is not None:
        user_E, item_E = items_of(mask, np.arange(len(score_UI)))
        check_range(item_E, score_UI.shape[1], "Item")
        score_UI[user_E, item_E] = -np.inf
    score_UI[:, :first_item] = -np.inf
    return best(score_UI, k)


def best(score_UI: npt.NDArray[np.floating], k: int) -> IntArray:
    """`top_k` of float scores that are masked already.

    Raises:
        ConfigError: `k` is below 1.
        DataError: A score is NaN.
    """
    if k < 1:
        raise ConfigError(f"A list of {k} places was asked for; it must have at least 1.")
    num_users, num_items = score_UI.shape
    num_places = min(k, num_items)
    listed_UK = np.full((num_users, k), NOTHING, dtype=np.int64)
    if not num_users or not num_places:
        return listed_UK
    is_chosen_UI = _candidates(score_UI, num_places)
    entry_E = np.flatnonzero(is_chosen_UI)  # by user, then by item
    user_E = entry_E // num_items
    score_E = score_UI.ravel()[entry_E]
    order_E = np.lexsort((-score_E, user_E))  # stable: equal scores stay in the order of items
    starts_U = np.searchsorted(user_E, np.arange(num_users))
    place_UK = order_E[starts_U[:, None] + np.arange(num_places)]
    listed_UK[:, :num_places] = np.where(
        score_E[place_UK] > -np.inf, entry_E[place_UK] % num_items, NOTHING
    )
    return listed_UK


def _candidates(score_UI: npt.NDArray[np.floating], k: int) -> BoolArray:
    """Entries that hold the k best of each row and few others; at least k in each row.

    Partitioning whole rows is what costs in a full ranking. Here items are dealt into some 8 k
    groups, and the k-th largest of the groups' maxima is a bound: k groups hold an item that is not
    below it, so the k best items are not below it either.

    Raises:
        DataError: A score is NaN.
    """
    num_users, num_items = score_UI.shape
    width = max(1, num_items // (8 * k))
    num_groups = num_items // width
    dealt = num_groups * width
    groups = score_UI[:, :dealt].reshape(num_users, width, num_groups)
    maxima = np.concatenate([groups.max(axis=1), score_UI[:, dealt:]], axis=1)
    if np.isnan(maxima).any():
        user = int(np.argmax(np.isnan(maxima).any(axis=1)))
        raise DataError(f"A score in row {user:,} of the scores is NaN: the model has diverged.")
    is_chosen_UI = score_UI >= _kth_largest(maxima, k)[:, None]
    # Where many are equal at the bound, as all scores of an untrained model are, the bound leaves
    # too many: those rows are cut exactly, to the first items among the equal ones.
    crowded = np.flatnonzero(np.count_nonzero(is_chosen_UI, axis=1) > 4 * k)
    if len(crowded):
        score_RI = score_UI[crowded]
        bound_R1 = _kth_largest(score_RI, k)[:, None]
        is_above_RI = score_RI > bound_R1
        is_tied_RI = score_RI == bound_R1
        num_left_R1 = k - np.count_nonzero(is_above_RI, axis=1)[:, None]
        is_tied_RI &= np.cumsum(is_tied_RI, axis=1, dtype=np.int32) <= num_left_R1
        is_chosen_UI[crowded] = is_above_RI | is_tied_RI
    return np.asarray(is_chosen_UI)


def _kth_largest(values: npt.NDArray[np.floating], k: int) -> npt.NDArray[np.floating]:
    at = values.shape[1] - k
    return np.asarray(np.partition(values, at, axis=1)[:, at])


def recall(is_hit_UK: BoolArray, num_positives_U: IntArray, k: int) -> Array:
    """Share of the user's positives among the first k, of all positives and not of at most k.

    Args:
        is_hit_UK: Whether the item at each place is a positive, shape (U, at least k).
        num_positives_U: Positives of each user, at least 1, shape (U,).
        k: Places that count.

    Returns:
        From 0 to 1, shape (U,).
    """
    return np.asarray(np.count_nonzero(is_hit_UK[:, :k], axis=1) / num_positives_U)


def ndcg(is_hit_UK: BoolArray, num_positives_U: IntArray, k: int) -> Array:
    """Normalised discounted cumulative gain: a hit at place p, from 1, is worth 1 / log2(p + 1).

    Args:
        is_hit_UK: As for `recall`.
        num_positives_U: As for `recall`.
        k: Places that count.

    Returns:
        From 0 to 1, shape (U,): the gain over that of a list with min(k, positives) hits on top.

    Source: Jarvelin and Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques", with
        the discount log2(place + 1) that scikit-learn's `ndcg_score` uses, too.
    """
    worth_K = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(worth_K)])[np.minimum(num_positives_U, k)]
    hits_UK = is_hit_UK[:, :k]
    return np.asarray(hits_UK @ worth_K[: hits_UK.shape[1]] / ideal)


def mrr(is_hit_UK: BoolArray, k: int) -> Array:
    """Reciprocal rank: 1 / place of the first hit, from 1; 0 where none is among the first k.

    Args:
        is_hit_UK: As for `recall`.
        k: Places that count.

    Returns:
        From 0 to 1, shape (U,).
    """
    hits_UK = is_hit_UK[:, :k]
    return np.where(hits_UK.any(axis=1), 1 / (1 + np.argmax(hits_UK, axis=1)), 0.0)


def hit_rate(is_hit_UK: BoolArray, k: int) -> Array:
    """1 where any of the first k is a positive, else 0.

    Args:
        is_hit_UK: As for `recall`.
        k: Places that count.

    Returns:
        Shape (U,).
    """
    return np.asarray(is_hit_UK[:, :k].any(axis=1), dtype=np.float64)


def coverage(listed_UK: IntArray, num_items: int, k: int) -> float:
    """Share of the items that stand in the first k of at least one list.

    Args:
        listed_UK: Rows of items as `top_k` gives them.
        num_items: Items that could be listed.
        k: Places that count.

    Returns:
        From 0 to 1.
    """
    first = listed_UK[:, :k]
    return len(np.unique(first[first != NOTHING])) / num_items
