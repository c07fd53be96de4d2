"""Negatives: items that a user has not taken, drawn for training (numpy only, in CPU stages).

Row 0 of a vocabulary stands for unseen values and is no item, so drawing begins at `first_item`.

Shapes: B users, n negatives each, I items (row 0 included).
"""

import numpy as np
import numpy.typing as npt

from tadka.core.error import ConfigError, DataError
from tadka.models.kernel.backend import has_native, kernels
from tadka.models.loss.pairs import (
    Csr,
    IntArray,
    check_range,
    contains,
    items_of,
    nth_absent,
    num_without_row,
)

Array = npt.NDArray[np.float64]
MAX_ROUNDS = 16
"""How often a draw by popularity is repeated where it hit an item of the user."""


def popularity(
    num_items: int, items: npt.ArrayLike, power: float = 0.75, *, first_item: int = 1
) -> Array:
    """Share of each item in draws by popularity, proportional to its count to a power.

    Args:
        num_items: Items, row 0 included.
        items: Rows of items as often as they were taken, such as the indices of a CSR.
        power: 0 draws every item alike, those never taken too; 1 follows the counts.
        first_item: Smallest row of a known item; rows below get 0.

    Returns:
        Probabilities, shape (I,).

    Raises:
        ConfigError: `power` is below 0, or there is no item to draw.
        DataError: A row is out of range, or no item was ever taken.

    Source: Mikolov et al. 2013, arXiv:1310.4546, section 2.2 (power 3/4).
    """
    if num_items <= first_item:
        raise _no_item(num_items, first_item)
    item_E = np.asarray(items, dtype=np.int64).ravel()
    check_range(item_E, num_items, "Item")
    return share_of(np.bincount(item_E, minlength=num_items), power, first_item=first_item)


def share_of(counts_I: npt.ArrayLike, power: float = 0.75, *, first_item: int = 1) -> Array:
    """The same where it is known how often each item was taken.

    Args:
        counts_I: How often, shape (I,).
        power: See `popularity`.
        first_item: See there.

    Returns:
        Probabilities, shape (I,).

    Raises:
        ConfigError: See there.
        DataError: No item was ever taken.
    """
    if not power >= 0:
        raise ConfigError(f"The power of popularity is {power}; it must be at least 0.")
    count_I = np.asarray(counts_I, dtype=np.float64)
    if len(count_I) <= first_item:
        raise _no_item(len(count_I), first_item)
    share_I = count_I**power  # 0**0 is 1: with power 0 items never taken are drawn, too
    share_I[:first_item] = 0
    total = share_I.sum()
    if total == 0:
        raise DataError("No item was ever taken, so none can be drawn by popularity; use power 0.")
    return np.asarray(share_I / total)


def _no_item(num_items: int, first_item: int) -> ConfigError:
    return ConfigError(
        f"There is no item to draw: {num_items} rows, of which the first {first_item} are none."
    )


def log_q(items: npt.ArrayLike, share: Array, num: int = 1) -> npt.NDArray[np.float32]:
    """Log of how often each item is expected among `num` draws: what logQ correction subtracts.

    Args:
        items: Rows of items, any shape.
        share: Probabilities of a draw, shape (I,), as `popularity` gives them.
        num: Draws.

    Returns:
        The shape of `items`. An item that is never drawn counts as one of the smallest share, so
        that the correction stays finite.

    Raises:
        DataError: Every share is 0.

    Source: Bengio and Senecal 2008 (importance sampling of a softmax); Yi et al. 2019, "Sampling-
        bias-corrected neural modeling for large corpus item recommendations".
    """
    share_I = np.asarray(share, dtype=np.float64)
    if not share_I.sum() > 0:
        raise DataError("Every share is 0, so no item is ever drawn.")
    smallest = share_I[share_I > 0].min()
    expected = num * np.maximum(share_I[np.asarray(items)], smallest)
    return np.asarray(np.log(expected), dtype=np.float32)


def draw(
    rng: np.random.Generator,
    num_items: int,
    users: npt.ArrayLike,
    seen_indptr: npt.NDArray[np.integer],
    seen_indices: npt.NDArray[np.integer],
    num: int = 1,
    power: float = 0.0,
    *,
    share: Array | None = None,
    first_item: int = 1,
) -> IntArray:
    """Items that the users have not taken, drawn with replacement.

    Uniform draws are exact: the nth item that is not the user's is looked up. Draws by popularity
    are repeated where they hit an item of the user, `MAX_ROUNDS` times, after which the rest is
    drawn uniformly from what is not the user's.

    Args:
        rng: Depends on seed and batch alone, so that results do not depend on the worker.
        num_items: Items, row 0 included.
        users: Row of the user of each row of the batch, shape (B,).
        seen_indptr: With `seen_indices`, the known positives as CSR: sorted, each pair once
            (`tadka.models.loss.pairs.to_csr`). May be memory-mapped.
        seen_indices: See there.
        num: Negatives for each row.
        power: 0: uniform; above: popularity in `seen_indices` to this power.
        share: Probabilities of a draw, shape (I,), instead of counting for each batch; replaces
            `power`. Compute it once with `popularity`, in `prepare`.
        first_item: Smallest row of a known item.

    Returns:
        Rows of items, shape (B, num). A user who has taken every item gets any items.

    Raises:
        ConfigError: There is no item to draw, `num` is below 0, or `power` is below 0.
        DataError: A user is out of range, or `share` is not as long as there are items.
    """
    user_B = np.asarray(users, dtype=np.int64).ravel()
    check_range(user_B, len(seen_indptr) - 1, "User")
    if num < 0:
        raise ConfigError(f"The number of negatives is {num}; it must be at least 0.")
    if num_items <= first_item:
        raise _no_item(num_items, first_item)
    seen: Csr = (seen_indptr, seen_indices)
    user_N = np.repeat(user_B, num)
    if share is None and power == 0:
        return _uniform(rng, num_items, user_N, seen, first_item).reshape(len(user_B), num)
    if share is None:
        share = popularity(num_items, seen_indices, power, first_item=first_item)
    _check_share(share, num_items, first_item)
    cumulative_I = np.cumsum(share)
    cumulative_I /= cumulative_I[-1]  # rounding must not leave a gap below 1

    def by_share(count: int) -> IntArray:
        return np.searchsorted(cumulative_I, rng.random(count), side="right").astype(np.int64)

    item_N = by_share(len(user_N))
    hit = np.flatnonzero(contains(seen, user_N, item_N))
    for _ in range(MAX_ROUNDS):
        if not len(hit):
            break
        item_N[hit] = by_share(len(hit))
        hit = hit[contains(seen, user_N[hit], item_N[hit])]
    item_N[hit] = _uniform(rng, num_items, user_N[hit], seen, first_item)
    return item_N.reshape(len(user_B), num)


def _uniform(
    rng: np.random.Generator, num_items: int, user_N: IntArray, seen: Csr, first_item: int
) -> IntArray:
    """One item for each user, uniformly from those that are not the user's."""
    indptr = seen[0]
    if has_native() and all(part.dtype == np.int64 for part in seen):
        found_N = np.empty(len(user_N), dtype=np.int64)
        unit_N = rng.random(len(user_N))
        if kernels().absent(user_N, *seen, first_item, num_items, unit_N, found_N):
            none = np.flatnonzero(found_N < 0)
            found_N[none] = rng.integers(first_item, num_items, len(none))
        return found_N
    none_N = num_without_row(seen, user_N, first_item)
    num_seen_N = np.asarray(indptr[user_N + 1] - indptr[user_N], dtype=np.int64) - none_N
    num_absent_N = num_items - first_item - num_seen_N
    nth_N = np.floor(rng.random(len(user_N)) * np.maximum(num_absent_N, 1)).astype(np.int64)
    item_N = nth_absent(seen, user_N, nth_N, first_item=first_item)
    has_all = np.flatnonzero(num_absent_N <= 0)
    item_N[has_all] = rng.integers(first_item, num_items, len(has_all))
    return item_N


def _check_share(share: Array, num_items: int, first_item: int) -> None:
    if len(share) != num_items:
        raise DataError(f"There are {len(share):,} shares for {num_items:,} items.")
    is_fine = np.isfinite(share).all() and share.min() >= 0 and share[first_item:].sum() > 0
    if not is_fine or share[:first_item].any():
        raise DataError(
            f"Shares must be at least 0, some item's above 0, and those of the first {first_item} "
            "rows, which are no items, 0."
        )


def draw_distinct(
    rng: np.random.Generator,
    num_items: int,
    users: npt.ArrayLike,
    seen: Csr,
    num: int,
    *,
    share: Array | None = None,
    first_item: int = 1,
) -> tuple[IntArray, IntArray]:
    """Items that the users have not taken, each at most once for a user: for evaluation files.

    A user costs time in proportion to the number of items: this is for files written once.

    Args:
        rng: The generator.
        num_items: Items, row 0 included.
        users: Rows of users, shape (B,).
        seen: Their known positives, those of the test part included.
        num: Items for each user; all there are where fewer are left.
        share: Probabilities of a draw, shape (I,); None: uniform.
        first_item: Smallest row of a known item.

    Returns:
        For each drawn item the position of its user in `users`, and the item; sorted by both.
    """
    user_B = np.asarray(users, dtype=np.int64).ravel()
    check_range(user_B, len(seen[0]) - 1, "User")
    if share is not None:
        _check_share(share, num_items, first_item)
    positions, drawn = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for position, user in enumerate(user_B):
        is_free_I = np.ones(num_items, dtype=bool) if share is None else share > 0
        is_free_I[:first_item] = False
        is_free_I[items_of(seen, np.array([user]))[1]] = False
        free = np.flatnonzero(is_free_I)
        chance = None if share is None else share[free] / share[free].sum()
        chosen = rng.choice(free, min(num, len(free)), replace=False, p=chance)
        drawn.append(np.sort(chosen).astype(np.int64))
        positions.append(np.full(len(chosen), position, dtype=np.int64))
    return np.concatenate(positions), np.concatenate(drawn)
