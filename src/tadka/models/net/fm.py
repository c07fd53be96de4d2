"""Factorization machine.

Letters of shapes: B rows of a batch, G groups of features, K factors.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from tadka.models.net.fused import fm_scores, takes
from tadka.models.net.groups import Groups, start


class FMNet(nn.Module):
    """Weights of the groups, and the products of all pairs of their vectors.

    Args:
        groups: The features.
        bias: Score before anything is learnt.
        dropout: Share of the vectors' factors left out in training.

    Source: Rendle 2010, "Factorization machines", eq. 1, without pairs inside a group.
    """

    bias: Tensor

    def __init__(self, groups: Groups, bias: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.groups = groups
        self.drop = nn.Dropout(dropout)
        self.register_buffer("bias", start(bias))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Scores, shape (B,)."""
        fields = self.groups.fields
        drops = self.training and self.drop.p > 0
        if self.groups.has_fields_alone and not drops and takes(fields.weight):
            return self.bias + fm_scores(fields.weight, batch["fields"], fields.offsets)
        groups_BGK = self.groups(batch)
        linear_B = groups_BGK[..., 0].sum(dim=1)
        found: Tensor = self.bias + linear_B + pairs(self.drop(groups_BGK[..., 1:]))
        return found


def pairs(vectors_BGK: Tensor) -> Tensor:
    """Sum over all pairs of groups of their vectors' products, shape (B,), in time linear in G.

    Args:
        vectors_BGK: Vectors of the groups.

    Source: Rendle 2010, lemma 3.1.
    """
    total_BK = vectors_BGK.sum(dim=1)
    found: Tensor = 0.5 * (total_BK.square() - vectors_BGK.square().sum(dim=1)).sum(dim=1)
    return found
