"""Loops of models over rows, in NumPy.

The truth for native.pyx, which has the same functions, and its stand-in where it was not built: the
same operations on float32 in the same order. Sums over a vector are made in eight parts, of every
eighth dimension each, which are then added.

Letters of shapes: N rows of a matrix, U and I those of users and items, B rows of a batch, F
fields, K dimensions, n negatives of a row, S slots, E features of all rows of a batch.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_LANES = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def bpr(
    user: Floats,
    item: Floats,
    sum_user: Floats,
    sum_item: Floats,
    users: Rows,
    items: Rows,
    negatives: Rows,
    lr: float,
    l2: float,
    eps: float,
) -> float:
    """Steps of BPR by row-wise AdaGrad, one for each row and negative, one after another, in place.

    Each makes loss = softplus(-u.(i - j)) + l2 / 2 (|u|^2 + |i|^2 + |j|^2) smaller:

        sum of a row += |gradient|^2 / K
        vector of a row -= lr / (sqrt(sum) + eps) * gradient

    Args:
        user: Vectors of users, shape (U, K).
        item: Vectors of items, shape (I, K).
        sum_user: Sums of users, shape (U,).
        sum_item: Sums of items, shape (I,).
        users: Rows of users, shape (B,).
        items: Rows of items that they took, shape (B,).
        negatives: Rows of items that they did not take, shape (B, n). One that is the item itself
            is left out.
        lr: Learning rate.
        l2: What the squared length of the vectors costs, twice.
        eps: Keeps a row without gradient where it is.

    Returns:
        Sum of the softplus, each from before its step.

    Source: Rendle et al. 2009, arXiv:1205.2618, figure 4 (LearnBPR); row-wise AdaGrad as
        `tadka.models.table.table.adagrad` has it.
    """
    rate, decay, least = np.float32(lr), np.float32(l2), np.float32(eps)
    loss = 0.0
    for u, i, row in zip(users.tolist(), items.tolist(), negatives.tolist(), strict=True):
        for j in row:
            if i == j:
                loss += 0.6931471805599453
                continue
            a, b, c = user[u], item[i], item[j]
            x = float(_total(a * (b - c)))
            small = math.exp(-abs(x))
            e = np.float32((small if x >= 0 else 1.0) / (1.0 + small))
            loss += math.log1p(small) + (0.0 if x >= 0 else -x)
            by_user = decay * a - e * (b - c)
            by_item = decay * b - e * a
            by_other = decay * c + e * a
            for vectors, sums, at, gradient in (
                (user, sum_user, u, by_user),
                (item, sum_item, i, by_item),
                (item, sum_item, j, by_other),
            ):
                sums[at] += _total(gradient * gradient) / np.float32(len(gradient))
                vectors[at] -= rate / (np.sqrt(sums[at]) + least) * gradient
    return loss


def fm(weight: Floats, rows: Rows, offsets: Rows, sums: Floats, scores: Floats) -> None:
    """Scores of a factorization machine whose features all have the value 1.

    Args:
        weight: A weight and a vector of each feature, shape (N, 1 + K).
        rows: Feature of each field, shape (B, F).
        offsets: What is added to `rows` of each field, at least F of them.
        sums: Where the sum of a row's vectors goes, shape (B, K).
        scores: Where the scores go, without a bias, shape (B,).

    Source: Rendle 2010, "Factorization machines", lemma 3.1.
    """
    sums[...] = 0
    scores[...] = 0
    square_B8 = np.zeros((len(rows), _LANES), np.float32)
    for field in range(rows.shape[1]):
        cell_BE = weight[rows[:, field] + offsets[field]]
        scores += cell_BE[:, 0]
        sums += cell_BE[:, 1:]
        for part_B8 in _parts(cell_BE[:, 1:] * cell_BE[:, 1:]):
            square_B8 -= part_B8
    for part_B8 in _parts(sums * sums):
        square_B8 += part_B8
    scores += np.float32(0.5) * _added(square_B8)


def fm_back(
    weight: Floats, rows: Rows, offsets: Rows, sums: Floats, by_score: Floats, gradient: Floats
) -> None:
    """Adds the gradient of `fm` by its weights.

    Args:
        weight: See `fm`.
        rows: See there.
        offsets: See there.
        sums: What `fm` has written.
        by_score: Gradient by the scores, shape (B,).
        gradient: What it is added to, shape (N, 1 + K).
    """
    place_E = (rows + offsets[: rows.shape[1]]).ravel()
    by_score_E = np.repeat(by_score, rows.shape[1])
    added_EK = by_score_E[:, None] * (np.repeat(sums, rows.shape[1], axis=0) - weight[place_E, 1:])
    np.add.at(gradient, place_E, np.column_stack([by_score_E, added_EK]))


def find(keys: Rows, slots: npt.NDArray[np.uint32], log: Rows, size: int, rows: Rows) -> None:
    """Rows of keys in a hash table with open addressing.

    Args:
        keys: Keys, shape (N,).
        slots: The table, shape (S,), S a power of 2: rows, 0 where a slot is empty.
        log: Key of row r at place r, at least `size` of them.
        size: Rows from here on do not count.
        rows: Where the rows go, 0 for a key without one, shape (N,).
    """
    shift, last = np.uint64(65 - len(slots).bit_length()), len(slots) - 1
    slot_N = ((keys.view(np.uint64) * _GOLDEN) >> shift).view(np.int64)
    rows[...] = 0
    left = np.arange(len(keys))
    while left.size:
        slot = slot_N[left]
        met = slots[slot].astype(np.int64)
        is_here = (log.take(met, mode="clip") == keys[left]) & (met != 0) & (met < size)
        rows[left[is_here]] = met[is_here]
        left = left[~is_here & (met != 0)]
        slot_N[left] = (slot_N[left] + 1) & last


def _parts(values: Floats) -> list[Floats]:
    """Eight neighbouring dimensions at a time, zeros beyond the last, along the last axis."""
    short = -values.shape[-1] % _LANES
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, short)])
    return np.split(padded, padded.shape[-1] // _LANES, axis=-1)


def _added(s: Floats) -> Floats:
    """The eight parts of sums, added."""
    t = s.T  # the parts first
    found: Floats = (((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]))).T
    return found


def _total(values_K: Floats) -> Floats:
    """Sum of a vector's products."""
    sum_8 = np.zeros(_LANES, np.float32)
    for part_8 in _parts(values_K):
        sum_8 += part_8
    return _added(sum_8)
