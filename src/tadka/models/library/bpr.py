"""Matrix factorization with BPR."""

from torch import nn

from tadka.models.define.catalog import register
from tadka.models.library.implicit import ImplicitModel
from tadka.models.net.factors import FactorNet


@register("bpr")
class BPR(ImplicitModel):
    """Matrix factorization by Bayesian personalised ranking (Rendle et al. 2009)."""

    def net(self) -> nn.Module:
        """Vectors of users and items."""
        return FactorNet(
            self.state.size(self.user_column),
            self.state.size(self.item_column),
            self.dim,
            vocabulary=(self.user_column, self.item_column),
        )
