"""Linear model: the sum of its features' weights.

Letters of shapes: B rows of a batch, G groups of features.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from tadka.models.net.groups import Groups, start


class LinearNet(nn.Module):
    """Logistic regression, where its score is taken as a logit; else linear regression.

    Args:
        groups: The features, with no factors.
        bias: Score before anything is learnt.
    """

    bias: Tensor

    def __init__(self, groups: Groups, bias: float = 0.0) -> None:
        super().__init__()
        self.groups = groups
        self.register_buffer("bias", start(bias))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Scores, shape (B,)."""
        found: Tensor = self.bias + self.groups(batch)[..., 0].sum(dim=1)
        return found
