"""Loops of models over rows, in NumPy.

The truth for native.pyx, which has the same functions, and its stand-in where it was not built: the
same operations on float32 in the same order. Sums over a vector are made in eight parts, of every
eighth dimension each, which are then added.

Letters of shapes: N rows of a matrix, U and I those of users and items, B rows of a batch, F
fields, K dimensions (or draws of a node, of which there are L that draw), n negatives of a row, S
slots, E features of all rows of a batch.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_LANES = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio


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
    last = len(slots) - 1
    slot_N = first_slots(keys, last.bit_length())
    rows[...] = 0
    left = np.arange(len(keys))
    while left.size:
        slot = slot_N[left]
        met = slots[slot].astype(np.int64)
        is_here = (log.take(met, mode="clip") == keys[left]) & (met != 0) & (met < size)
        rows[left[is_here]] = met[is_here]
        left = left[~is_here & (met != 0)]
        slot_N[left] = (slot_N[left] + 1) & last


def first_slots(keys: Rows, bits: int) -> Rows:
    """Where `find` begins to look for keys; `td_find` has the same within its loop.

    Args:
        keys: Keys, shape (N,).
        bits: Of the number of a slot; the table has 2^bits of them.

    Source: multiplicative hashing, Knuth, vol. 3, 6.4.
    """
    return ((keys.view(np.uint64) * _GOLDEN) >> np.uint64(64 - bits)).view(np.int64)


def number(
    nodes: npt.NDArray[np.integer],
    at: Rows,
    table: npt.NDArray[np.int32],
    count: int,
    new: Rows,
    numbers: npt.NDArray[np.int32],
) -> int:
    """Numbers of nodes in the order in which they first come.

    Args:
        nodes: Nodes, with repeats.
        at: Places of those that are asked for, shape (N,).
        table: Number of each node and 1 more, 0 where it has none; those of new ones are written.
        count: Nodes that have numbers.
        new: Where nodes go that had none, in the order of their numbers, at least N long.
        numbers: Where the numbers go, shape (N,).

    Returns:
        How many were new.
    """
    asked = nodes[at]
    unseen = asked[table[asked] == 0]
    mark = np.arange(1, len(unseen) + 1, dtype=np.int32)
    table[unseen[::-1]] = mark[::-1]  # the last write stays: that of the first occurrence
    found = unseen[table[unseen] == mark]
    new[: len(found)] = found
    table[found] = np.arange(count + 1, count + len(found) + 1, dtype=np.int32)
    np.subtract(table[asked], np.int32(1), out=numbers)
    return len(found)


def pick(start: Rows, degree: Rows, units: npt.NDArray[np.float64], out: Rows) -> None:
    """Different edges of each node: all of them where there are at most K, else K that are drawn.

    Args:
        start: First edge of each node, shape (N,).
        degree: How many it has, shape (N,).
        units: Random numbers in [0, 1), shape (K, nodes with more than K edges).
        out: Where the edges go, node by node, as long as the sum of min(degree, K).

    Source: Bentley and Floyd 1987, "A sample of brilliance", algorithm F2.
    """
    num = len(units)
    count_N = np.minimum(degree, num)
    ranges(start, count_N, out)
    is_large_N = degree > num
    last_KL = degree[is_large_N] - num + np.arange(num)[:, None]
    drawn_KL = (units * (last_KL + 1)).astype(np.int64)
    for draw in range(1, num):
        is_taken_L = (drawn_KL[:draw] == drawn_KL[draw]).any(axis=0)
        np.copyto(drawn_KL[draw], last_KL[draw], where=is_taken_L)
    place_L = (np.cumsum(count_N) - count_N)[is_large_N]
    out[place_L[:, None] + np.arange(num)] = start[is_large_N][:, None] + drawn_KL.T


def ranges(start: Rows, count: Rows, out: Rows) -> None:
    """start, start + 1, ... of each node, one after another.

    Args:
        start: First number of each, shape (N,).
        count: How many, shape (N,).
        out: Where they go, as long as the sum of `count`.
    """
    out[...] = np.repeat(start - (np.cumsum(count) - count), count)
    out += np.arange(len(out))


def owners(first: int, count: Rows, out: npt.NDArray[np.int32]) -> None:
    """The number of each node as often as `count` says.

    Args:
        first: Number of the first.
        count: How often, shape (N,).
        out: Where they go, as long as the sum of `count`.
    """
    out[...] = np.repeat(np.arange(first, first + len(count)), count)


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
