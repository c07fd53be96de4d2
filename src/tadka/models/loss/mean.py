"""What all losses share: shapes are checked, half precision is widened, rows are averaged.

Shapes: B rows.
"""

import torch
from torch import Tensor

from tadka.core.error import DataError


def wide(scores: Tensor) -> Tensor:
    """Scores of at least 32 bits: exponentials and sums of half-precision ones lose too much."""
    return scores.float() if scores.dtype in {torch.float16, torch.bfloat16} else scores


def check_same(scores: Tensor, others: Tensor, what: str) -> None:
    """Refuses what torch would broadcast in silence: (B,) against (B, 1) makes (B, B).

    Raises:
        DataError: The shapes differ.
    """
    if scores.shape != others.shape:
        raise DataError(
            f"Scores have the shape {tuple(scores.shape)}, {what} {tuple(others.shape)}; "
            "they must be the same."
        )


def check_rows(scores: Tensor, labels: Tensor) -> None:
    """Refuses scores that are not (B, C) beside labels (B,) in [0, C).

    Raises:
        DataError: The shapes do not fit, or a label is no class.
    """
    if scores.ndim != 2 or labels.ndim != 1 or len(scores) != len(labels):
        raise DataError(
            f"Scores have the shape {tuple(scores.shape)}, labels {tuple(labels.shape)}; "
            "expected are (rows, classes) and (rows,)."
        )
    if not labels.is_cuda and len(labels):  # a GPU would have to be waited for
        least, most = labels.min(), labels.max()
        if least < 0 or most >= scores.shape[1]:
            wrong = int(least if least < 0 else most)
            raise DataError(f"Label {wrong} is no class; classes are 0 to {scores.shape[1] - 1}.")


def mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of the rows' losses.

    Args:
        losses: Shape (B,) or (B, ...); further axes are averaged without weights.
        weight: At least 0, shape (B,): a row of weight 2 counts as two rows. None counts each once.

    Returns:
        A scalar; 0, with gradients of 0, where there is no row or all weigh nothing.

    Raises:
        DataError: `weight` is not of shape (B,).
    """
    if losses.ndim > 1:
        losses = losses.sum(tuple(range(1, losses.ndim))) / max(losses[:1].numel(), 1)
    if weight is None:
        return losses.sum() / max(len(losses), 1)
    check_same(losses, weight, "weights")
    weight_B = weight.to(losses.dtype)
    total = weight_B.sum()
    return (weight_B * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))
