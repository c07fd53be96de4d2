"""LightGCN."""

from torch import nn

from tadka.models.define.catalog import register
from tadka.models.library.implicit import ImplicitModel
from tadka.models.net.factors import LightGCNNet


@register("lightgcn")
class LightGCN(ImplicitModel):
    """Vectors averaged over the graph of users and items (He et al. 2020).

    A batch costs one pass over the whole graph, so batches should be large.

    Args:
        layers: Steps along the graph.
    """

    layers: int = 3
    batch_rows: int = 4096

    def net(self) -> nn.Module:
        """Vectors of users and items, and the graph."""
        return LightGCNNet(
            self.state["seen_indptr"],
            self.state["seen_items"],
            self.state.size(self.item_column),
            self.dim,
            layers=self.layers,
            vocabulary=(self.user_column, self.item_column),
        )
