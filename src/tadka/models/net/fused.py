"""Forward and backward pass of a factorization machine in one go each, on a CPU.

The ordinary way makes a dozen tensors of shape (B, F, 1 + K) for each batch; the loops of
`tadka.models.kernel` make none. The gradient is the same but for rounding.

Letters of shapes: N features, B rows of a batch, F fields, K dimensions.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tadka.models.kernel.backend import kernels


def takes(weight: Tensor) -> bool:
    """Whether the loops are there for weights of this type and place.

    Args:
        weight: They.
    """
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    )


def fm_scores(weight_NE: Tensor, rows_BF: Tensor, offsets: Tensor) -> Tensor:
    """Scores of rows whose features all have the value 1, without a bias.

    Args:
        weight_NE: A weight and a vector of each feature, shape (N, 1 + K).
        rows_BF: Feature of each field.
        offsets: What is added to the rows of each field, at least F of them.

    Returns:
        Shape (B,).

    Raises:
        IndexError: A feature is not in the matrix.
    """
    found: Tensor = _Scores.apply(weight_NE, rows_BF.contiguous(), offsets)  # type: ignore[no-untyped-call]
    return found


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_NE: Tensor, rows_BF: Tensor, offsets: Tensor) -> Tensor:
        sums_BK = torch.empty(len(rows_BF), weight_NE.shape[1] - 1)
        scores_B = torch.empty(len(rows_BF))
        kernels().fm(
            weight_NE.detach().numpy(),
            rows_BF.numpy(),
            offsets.numpy(),
            sums_BK.numpy(),
            scores_B.numpy(),
        )
        ctx.save_for_backward(weight_NE, rows_BF, offsets, sums_BK)
        return scores_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_score_B: Tensor) -> tuple[Tensor, None, None]:
        weight_NE, rows_BF, offsets, sums_BK = ctx.saved_tensors
        gradient_NE = torch.zeros_like(weight_NE)
        kernels().fm_back(
            weight_NE.detach().numpy(),
            rows_BF.numpy(),
            offsets.numpy(),
            sums_BK.numpy(),
            by_score_B.contiguous().numpy(),
            gradient_NE.numpy(),
        )
        return gradient_NE, None, None
