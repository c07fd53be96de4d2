"""Losses that want the positive item of a row above its negatives.

All but `in_batch` take `(scores, negatives, *, weight=None, ...)`: scores of the positives, shape
(B,), and scores of negatives, shape (B, n), or (B,) for one each. The result is a scalar: the mean
over rows, weighted by `weight` (shape (B,)) where it is given.

Shapes: B rows, n negatives a row.
"""

import torch
from torch import Tensor
from torch.nn import functional

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.mean import check_same, mean, wide


def bpr(scores: Tensor, negatives: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Bayesian personalised ranking: negative log likelihood that the positive stands above.

    Args:
        scores: Scores of the positives, shape (B,).
        negatives: Scores of items that the user has not taken, shape (B, n) or (B,).
        weight: Row weights.

    Returns:
        A scalar, at least 0: `bce` of (positive - negative) with label 1.

    Raises:
        DataError: The shapes do not fit.

    Source: Rendle et al. 2009, "BPR: Bayesian personalized ranking from implicit feedback",
        arXiv:1205.2618 (BPR-Opt, without its regularisation).
    """
    positive_B1, negative_Bn = _columns(scores, negatives)
    return mean(functional.softplus(negative_Bn - positive_B1), weight)


def warp(
    scores: Tensor,
    negatives: Tensor,
    *,
    num_items: int,
    margin: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Weighted approximate-rank pairwise loss: costs more where the positive stands far down.

    The negatives of a row are its trials, one after the other, until one violates the margin. The
    fewer trials that took, the further down the positive is taken to be.

    Args:
        scores: Scores of the positives, shape (B,).
        negatives: Scores of the trials in the order drawn, shape (B, n) or (B,); n is the most
            trials that are made.
        num_items: Items that can be ranked; the rank is estimated as
            floor((num_items - 1) / trials).
        margin: By how much the positive must stand above a negative, above 0.
        weight: Row weights.

    Returns:
        A scalar, at least 0; a row without a violator costs 0.

    Raises:
        ConfigError: `num_items` is below 2, or `margin` not above 0.
        DataError: The shapes do not fit.

    Source: Weston, Bengio and Usunier 2011, "WSABIE: Scaling up to large vocabulary image
        annotation" (IJCAI); a rank k weighs 1 + 1/2 + ... + 1/k.
    """
    if num_items < 2:
        raise ConfigError(f"num_items of the WARP loss is {num_items}; it must be at least 2.")
    if not margin > 0:
        raise ConfigError(f"margin of the WARP loss is {margin}; it must be above 0.")
    positive_B1, negative_Bn = _columns(scores, negatives)
    if not negative_Bn.shape[1]:
        return mean(positive_B1[:, 0] * 0, weight)
    violation_Bn = margin + negative_Bn - positive_B1
    is_violated_Bn = violation_Bn > 0
    first_B = is_violated_Bn.int().argmax(1)  # the first of the largest: the first that is True
    rank_B = torch.clamp((num_items - 1) // (first_B + 1), min=1)
    # The k-th harmonic number is digamma(k + 1) + the Euler-Mascheroni constant.
    factor_B = torch.digamma((rank_B + 1).double()) + 0.5772156649015329
    hinge_B = violation_Bn.gather(1, first_B[:, None])[:, 0].clamp(min=0)
    return mean(factor_B.to(hinge_B.dtype) * hinge_B, weight)


def ce_neg(
    scores: Tensor,
    negatives: Tensor,
    *,
    log_q: Tensor | None = None,
    positive_log_q: Tensor | None = None,
    hits: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Cross entropy of a softmax over the positive and sampled negatives.

    Args:
        scores: Scores of the positives, shape (B,).
        negatives: Scores of sampled items, shape (B, n) or (B,).
        log_q: Log of how often each negative was expected among the n draws, of the shape of
            `negatives` (`tadka.models.loss.negatives.log_q`); subtracted from their scores, so that
            popular items, which are drawn more often, are not pushed down for it. None: nothing.
        positive_log_q: The same for the positives, shape (B,): give it where the positives too come
            in proportion to it, as in a batch. None: nothing is subtracted from them.
        hits: True where a negative is a positive of the row after all, of the shape of `negatives`:
            these are left out.
        weight: Row weights.

    Returns:
        A scalar, at least 0. With every other item once and no correction: the full softmax's `ce`.

    Raises:
        DataError: The shapes do not fit.

    Source: Jean et al. 2015, "On using very large target vocabulary for neural machine
        translation", arXiv:1412.2007 (sampled softmax); Bengio and Senecal 2008 (the correction).
    """
    positive_B1, negative_Bn = _columns(scores, negatives)
    if log_q is not None:
        negative_Bn = negative_Bn - _as_columns(negatives, log_q, "log_q")
    if positive_log_q is not None:
        check_same(scores, positive_log_q, "positive_log_q")
        positive_B1 = positive_B1 - positive_log_q[:, None].to(positive_B1.dtype)
    if hits is not None:
        negative_Bn = negative_Bn.masked_fill(_as_columns(negatives, hits, "hits"), -torch.inf)
    logits = torch.cat([positive_B1, negative_Bn], dim=1)
    return mean(torch.logsumexp(logits, dim=1) - positive_B1[:, 0], weight)


def in_batch(
    scores: Tensor,
    labels: Tensor,
    *,
    users: Tensor | None = None,
    log_q: Tensor | None = None,
    hits: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Cross entropy in which the positives of the other rows are the negatives of a row.

    Accidental hits are left out: columns of the same item, of the same user (given `users`), and
    those in `hits`.

    Args:
        scores: Score of the user of row i with the item of row j, shape (B, B).
        labels: Row of the item of each row of the batch, shape (B,).
        users: Row of the user of each row of the batch, shape (B,).
        log_q: Log of the share of each row's item among all positives, shape (B,)
            (`tadka.models.loss.negatives.log_q` of shares with power 1); subtracted from the
            column of the item, the positive included. None: no correction.
        hits: True where item j is a known positive of user i, shape (B, B).
        weight: Row weights.

    Returns:
        A scalar, at least 0.

    Raises:
        DataError: The shapes do not fit.

    Source: Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
        recommendations" (RecSys).
    """
    if scores.ndim != 2 or scores.shape != (len(labels), len(labels)) or labels.ndim != 1:
        raise DataError(
            f"Scores have the shape {tuple(scores.shape)}, items {tuple(labels.shape)}; "
            "expected are (rows, rows) and (rows,)."
        )
    score_BB = wide(scores)
    is_out_BB = labels[:, None] == labels[None, :]
    if users is not None:
        check_same(labels, users, "users")
        is_out_BB = is_out_BB | (users[:, None] == users[None, :])
    if hits is not None:
        check_same(scores, hits, "hits")
        is_out_BB = is_out_BB | hits
    if log_q is not None:
        check_same(labels, log_q, "log_q")
        score_BB = score_BB - log_q.to(score_BB.dtype)
    own = torch.eye(len(labels), dtype=torch.bool, device=scores.device)
    logits_BB = score_BB.masked_fill(is_out_BB & ~own, -torch.inf)
    if not len(labels):
        return score_BB.sum()
    return mean(torch.logsumexp(logits_BB, dim=1) - score_BB.diagonal(), weight)


def ccl(
    scores: Tensor,
    negatives: Tensor,
    *,
    margin: float = 0.8,
    negative_weight: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Cosine contrastive loss: the positive is drawn near, negatives are pushed below a margin.

    Args:
        scores: Cosines of the positives, in [-1, 1], shape (B,): dot products of `unit` vectors.
        negatives: Cosines of the negatives, shape (B, n) or (B,).
        margin: Cosine below which a negative costs nothing, in [-1, 1]; worth tuning.
        negative_weight: Weight of the mean over the negatives, at least 0; worth tuning.
        weight: Row weights.

    Returns:
        A scalar, at least 0. With all negatives below the margin: the mean of 1 - cosine of the
        positives.

    Raises:
        ConfigError: `margin` or `negative_weight` is out of range.
        DataError: The shapes do not fit.

    Source: Mao et al. 2021, "SimpleX: A simple and strong baseline for collaborative filtering",
        arXiv:2109.12613 (CCL).
    """
    if not -1 <= margin <= 1:
        raise ConfigError(f"margin of the cosine contrastive loss is {margin}; it is in [-1, 1].")
    if not negative_weight >= 0:
        raise ConfigError(
            f"negative_weight of the cosine contrastive loss is {negative_weight}; "
            "it must be at least 0."
        )
    positive_B1, negative_Bn = _columns(scores, negatives)
    pushed_B = (negative_Bn - margin).clamp(min=0).sum(1) / max(negative_Bn.shape[1], 1)
    return mean(1 - positive_B1[:, 0] + negative_weight * pushed_B, weight)


def _columns(scores: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Positives as (B, 1) and negatives as (B, n).

    Raises:
        DataError: The shapes do not fit.
    """
    if scores.ndim != 1 or negatives.ndim not in {1, 2} or len(scores) != len(negatives):
        raise DataError(
            f"Scores of positives have the shape {tuple(scores.shape)}, of negatives "
            f"{tuple(negatives.shape)}; expected are (rows,) and (rows, negatives)."
        )
    columns = negatives[:, None] if negatives.ndim == 1 else negatives
    return wide(scores)[:, None], wide(columns)


def _as_columns(negatives: Tensor, values: Tensor, what: str) -> Tensor:
    """`values` as (B, n), after a look at their shape."""
    check_same(negatives, values, what)
    return values[:, None] if values.ndim == 1 else values
