"""DeepFM."""

from torch import nn

from tadka.models.define.catalog import register
from tadka.models.library.feature import FeatureModel
from tadka.models.net.deep import WideDeepNet


@register("deepfm")
class DeepFM(FeatureModel):
    """A factorization machine and layers over the same vectors (Guo et al. 2017).

    Args:
        dim: Length of the vectors.
        hidden: Sizes of the hidden layers.
    """

    dim: int = 16
    hidden: tuple[int, ...] = (64, 32)

    def net(self) -> nn.Module:
        """Weights, vectors and layers."""
        return WideDeepNet(
            self.groups(self.dim),
            self.bias,
            hidden=self.hidden,
            dropout=self.dropout,
            with_pairs=True,
        )
