"""Wide and deep, and DeepFM: layers over the vectors of all groups, beside what is linear or FM.

Letters of shapes: B rows of a batch, G groups of features, K factors.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from tadka.models.net.fm import pairs
from tadka.models.net.groups import Groups, Mlp, start


class WideDeepNet(nn.Module):
    """Weights of the groups, and layers over their vectors.

    Args:
        groups: The features.
        bias: Score before anything is learnt.
        hidden: Sizes of the hidden layers.
        dropout: Share of vectors' factors and hidden units left out in training.
        with_pairs: Whether pairs of vectors are added, which makes it DeepFM.

    Source: Cheng et al. 2016, "Wide & deep learning for recommender systems", arXiv:1606.07792, eq.
        3, without crossed columns; Guo et al. 2017, "DeepFM", arXiv:1703.04247, eq. 1.
    """

    bias: Tensor

    def __init__(
        self,
        groups: Groups,
        bias: float = 0.0,
        *,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.0,
        with_pairs: bool = False,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.with_pairs = with_pairs
        self.drop = nn.Dropout(dropout)
        self.deep = Mlp(groups.num_groups * groups.factors, *hidden, 1, dropout=dropout)
        self.register_buffer("bias", start(bias))

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Scores, shape (B,)."""
        groups_BGK = self.groups(batch)
        vectors_BGK = self.drop(groups_BGK[..., 1:])
        score_B: Tensor = self.bias + groups_BGK[..., 0].sum(dim=1)
        score_B = score_B + self.deep(vectors_BGK.flatten(1))[:, 0]
        return score_B + pairs(vectors_BGK) if self.with_pairs else score_B
