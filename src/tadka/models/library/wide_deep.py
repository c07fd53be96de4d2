"""Wide and deep."""

from torch import nn

from tadka.models.define.catalog import register
from tadka.models.library.feature import FeatureModel
from tadka.models.net.deep import WideDeepNet


@register("wide_deep")
class WideDeep(FeatureModel):
    """A linear model beside layers over embeddings (Cheng et al. 2016).

    Args:
        dim: Length of the vectors.
        hidden: Sizes of the hidden layers.
    """

    with_pairs = False
    dim: int = 16
    hidden: tuple[int, ...] = (64, 32)

    def net(self) -> nn.Module:
        """Weights, vectors and layers."""
        return WideDeepNet(
            self.groups(self.dim),
            self.bias,
            hidden=self.hidden,
            dropout=self.dropout,
            with_pairs=self.with_pairs,
        )
