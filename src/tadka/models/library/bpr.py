"""Matrix factorization with BPR."""

from torch import nn

from tadka.models.define.catalog import register
from tadka.models.library.implicit import ImplicitModel
from tadka.models.net.factors import FactorNet
from tadka.models.net.steps import PairSteps


@register("bpr")
class BPR(ImplicitModel):
    """Matrix factorization by Bayesian personalised ranking (Rendle et al. 2009).

    With `optimizer: rows` it is trained pair by pair in a compiled loop, some ten times faster.
    """

    def net(self) -> nn.Module:
        """Vectors of users and items."""
        return FactorNet(
            self.state.size(self.user_column),
            self.state.size(self.item_column),
            self.dim,
            vocabulary=(self.user_column, self.item_column),
        )

    def row_steps(self, net: nn.Module) -> PairSteps | None:
        """Steps pair by pair, for the loss `bpr`."""
        if self.loss not in ("", "bpr"):
            return None
        return PairSteps(net.user.weight, net.item.weight, lr=self.lr, reg=self.reg)  # type: ignore[union-attr, arg-type]
