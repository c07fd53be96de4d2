"""First vectors of rows that no training has seen: the mean of those that they came together with.

Shapes: M rows with a vector, N rows without one, E pairs, D dimensions.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError

_PAIRS_AT_ONCE = 1 << 18  # bounds the gathered vectors: 128 MiB of 128 dimensions


def neighbour_mean(
    old_MD: npt.NDArray[Any],
    pairs: tuple[npt.ArrayLike, npt.ArrayLike],
    new_N: npt.ArrayLike,
    *,
    scale: float = 0.01,
    seed: int = 0,
) -> npt.NDArray[np.float32]:
    """Vectors for new rows: the mean of the old vectors that each has a pair with.

    A user begins where the items are that were taken, an item where its takers are. It asks nothing
    of the model but that both kinds of vectors lie in one space, as where products of them rank.

    Args:
        old_MD: Vectors there are. Row 0 stands for the unseen and is nobody's neighbour.
        pairs: A row of the new kind and a row of `old_MD` each, both of shape (E,); a pair that
            comes twice counts twice. Pairs of other rows, and with rows that `old_MD` has not
            (those are new, too), are left out.
        new_N: Rows that need a vector, each once.
        scale: Standard deviation of the vectors of rows without a neighbour, drawn around 0.
        seed: Of these draws.

    Returns:
        Shape (N, D).

    Raises:
        DataError: The two sides of the pairs have different lengths.

    Source: mean aggregation over neighbours, as in Hamilton et al. 2017 (GraphSAGE),
        arXiv:1706.02216, section 3.3, without weights.
    """
    row_N = np.asarray(new_N, dtype=np.int64)
    own_E, other_E = (np.asarray(side, dtype=np.int64) for side in pairs)
    if len(own_E) != len(other_E):
        raise DataError(f"Pairs have {len(own_E):,} new rows and {len(other_E):,} neighbours.")
    order_N = np.argsort(row_N, kind="stable")
    sorted_N = row_N[order_N]
    place_E = np.minimum(np.searchsorted(sorted_N, own_E), max(len(row_N) - 1, 0))
    is_used_E = (other_E > 0) & (other_E < len(old_MD))
    is_used_E &= (sorted_N[place_E] == own_E) if len(row_N) else False
    place_E, other_E = order_N[place_E[is_used_E]], other_E[is_used_E]
    order_E = np.argsort(place_E, kind="stable")
    place_E, other_E = place_E[order_E], other_E[order_E]

    dim = old_MD.shape[1]
    sum_ND = np.zeros((len(row_N), dim), dtype=np.float32)
    for start in range(0, len(place_E), _PAIRS_AT_ONCE):
        place = place_E[start : start + _PAIRS_AT_ONCE]
        firsts = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
        vectors = np.asarray(old_MD[other_E[start : start + _PAIRS_AT_ONCE]], dtype=np.float32)
        sum_ND[place[firsts]] += np.add.reduceat(vectors, firsts, axis=0)
    num_N = np.bincount(place_E, minlength=len(row_N))
    drawn_ND = np.random.default_rng(seed).normal(0.0, scale, sum_ND.shape).astype(np.float32)
    return np.where(
        num_N[:, None] > 0, sum_ND / np.maximum(num_N, 1)[:, None].astype(np.float32), drawn_ND
    )
