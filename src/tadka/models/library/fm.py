"""Factorization machine."""

from torch import nn

from tadka.models.define.catalog import register
from tadka.models.library.feature import FeatureModel
from tadka.models.net.fm import FMNet


@register("fm")
class FM(FeatureModel):
    """Factorization machine (Rendle 2010).

    Args:
        dim: Length of the vectors.
    """

    dim: int = 16

    def net(self) -> nn.Module:
        """Weights and vectors."""
        return FMNet(self.groups(self.dim), self.bias, self.dropout)
