"""Logistic regression."""

from torch import nn

from tadka.models.define.catalog import register
from tadka.models.library.feature import FeatureModel
from tadka.models.net.linear import LinearNet


@register("logistic")
class Logistic(FeatureModel):
    """Logistic regression over features; linear regression where the target is a rating."""

    def net(self) -> nn.Module:
        """The weights."""
        return LinearNet(self.groups(0), self.bias)
