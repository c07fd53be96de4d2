"""Losses that compare the scores of a row with its label. Scores are logits, never probabilities.

All take `(scores, labels, *, weight=None, ...)` and give a scalar: the mean over rows, weighted by
`weight` (shape (B,)) where it is given.

Shapes: B rows, C classes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tadka.core.error import ConfigError
from tadka.models.loss.mean import check_rows, check_same, mean, wide


def bce(scores: Tensor, labels: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy: negative log likelihood of the label, in nats per row.

    Args:
        scores: Log-odds of label 1, shape (B,).
        labels: From 0 to 1, shape (B,).
        weight: Row weights.

    Returns:
        A scalar, at least 0.

    Raises:
        DataError: The shapes differ.

    Source: negative log likelihood of the Bernoulli distribution; the stable form from logits is
        that of `torch.nn.functional.binary_cross_entropy_with_logits`.
    """
    check_same(scores, labels, "labels")
    scores = wide(scores)
    losses = functional.binary_cross_entropy_with_logits(
        scores, labels.to(scores.dtype), reduction="none"
    )
    return mean(losses, weight)


def ce(scores: Tensor, labels: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Cross entropy of a softmax over classes, in nats per row.

    Args:
        scores: Shape (B, C).
        labels: Number of the right class, in [0, C), shape (B,).
        weight: Row weights.

    Returns:
        A scalar, at least 0.

    Raises:
        DataError: The shapes do not fit.

    Source: negative log likelihood of the categorical distribution; as
        `torch.nn.functional.cross_entropy`.
    """
    check_rows(scores, labels)
    return mean(functional.cross_entropy(wide(scores), labels.long(), reduction="none"), weight)


def mse(scores: Tensor, labels: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean squared error.

    Args:
        scores: Predicted values, shape (B,), or (B, C) for several values a row.
        labels: True values, of the same shape.
        weight: Row weights.

    Returns:
        A scalar, at least 0, in squared units of the labels.

    Raises:
        DataError: The shapes differ.

    Source: least squares; as `torch.nn.functional.mse_loss`.
    """
    check_same(scores, labels, "labels")
    scores = wide(scores)
    return mean((scores - labels.to(scores.dtype)) ** 2, weight)


def focal(
    scores: Tensor,
    labels: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    weight: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy in which rows that are right already count little.

    Args:
        scores: Log-odds of label 1, shape (B,).
        labels: 0 or 1, shape (B,).
        gamma: At least 0; with 0 all rows count alike.
        alpha: Weight of rows of label 1; those of label 0 weigh 1 - alpha. None: both weigh 1.
        weight: Row weights.

    Returns:
        A scalar, at least 0. gamma 0 and alpha None: `bce`; gamma 0 and alpha 0.5: half of it.

    Raises:
        ConfigError: `gamma` is below 0, or `alpha` outside [0, 1].
        DataError: The shapes differ.

    Source: Lin et al. 2017, "Focal loss for dense object detection", arXiv:1708.02002,
        FL(p_t) = -alpha_t (1 - p_t)^gamma log(p_t).
    """
    if not gamma >= 0:
        raise ConfigError(f"gamma of the focal loss is {gamma}; it must be at least 0.")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ConfigError(f"alpha of the focal loss is {alpha}; it must be from 0 to 1, or None.")
    check_same(scores, labels, "labels")
    scores = wide(scores)
    labels = labels.to(scores.dtype)
    margins = scores * (2 * labels - 1)  # p_t = sigmoid(margin)
    # 1 - p_t = sigmoid(-margin), raised to gamma through its logarithm: no p, and no log(p).
    losses = torch.exp(gamma * functional.logsigmoid(-margins)) * -functional.logsigmoid(margins)
    if alpha is not None:
        losses = losses * (alpha * labels + (1 - alpha) * (1 - labels))
    return mean(losses, weight)


def arcface(
    scores: Tensor,
    labels: Tensor,
    *,
    scale: float = 64.0,
    margin: float = 0.5,
    weight: Tensor | None = None,
) -> Tensor:
    """Cross entropy over angles, in which the right class must win by an angle of `margin`.

    Args:
        scores: Cosines between the row's vector and each class's, in [-1, 1], shape (B, C):
            `unit(x_BD) @ unit(w_CD).T`.
        labels: Number of the right class, in [0, C), shape (B,).
        scale: What the cosines are multiplied with, above 0 (s in the paper).
        margin: Radians added to the angle of the right class, in [0, pi) (m in the paper).
        weight: Row weights.

    Returns:
        A scalar, at least 0. margin 0: `ce` of scale x cosine.

    Raises:
        ConfigError: `scale` or `margin` is out of range.
        DataError: The shapes do not fit.

    Source: Deng et al. 2019, "ArcFace: Additive angular margin loss for deep face recognition",
        arXiv:1801.07698. Where angle + margin would pass pi, where cos no longer falls, the cosine
        less margin * sin(margin) stands instead, as in the authors' code (deepinsight/insightface).
    """
    if not scale > 0:
        raise ConfigError(f"scale of the ArcFace loss is {scale}; it must be above 0.")
    if not 0 <= margin < math.pi:
        raise ConfigError(f"margin of the ArcFace loss is {margin}; it must be in [0, pi).")
    check_rows(scores, labels)
    cosine_BC = wide(scores)
    row_B = labels.long()[:, None]
    right_B1 = cosine_BC.gather(1, row_B)
    # cos(a + m) = cos a cos m - sin a sin m. The slope of acos is infinite at +-1 and so is that of
    # the root: below eps it is held constant, which cuts its gradient to 0.
    sine_B1 = torch.sqrt((1 - right_B1**2).clamp(min=1e-7))
    moved_B1 = right_B1 * math.cos(margin) - sine_B1 * math.sin(margin)
    beyond_B1 = right_B1 - margin * math.sin(margin)
    is_inside_B1 = right_B1 > math.cos(math.pi - margin)
    wanted_B1 = torch.where(is_inside_B1, moved_B1, beyond_B1) if margin else right_B1
    return ce(scale * cosine_BC.scatter(1, row_B, wanted_B1), labels, weight=weight)


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 in the same directions, so that dot products are cosines.

    Args:
        vectors: Along the last axis.

    Returns:
        The same shape; a vector of zeros stays one.
    """
    return functional.normalize(wide(vectors), dim=-1, eps=1e-6)
