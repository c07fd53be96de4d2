"""Vectors of users and items over their graph, learnt from sampled neighbourhoods."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from tadka.core.error import ConfigError
from tadka.models.define.catalog import register
from tadka.models.define.model import Prepared, Rows
from tadka.models.graph import Graph, bipartite, graph_of, sample
from tadka.models.library.implicit import ImplicitModel
from tadka.models.library.nodes import with_loops
from tadka.models.loss.catalog import get
from tadka.models.loss.negatives import log_q
from tadka.models.net.representation import Neighbourhood, RepresentationNet
from tadka.models.table.grown import Part
from tadka.models.train.run import ModelRun


@register("representation")
class Representation(ImplicitModel):
    """Graph convolutions below, a wide and deep head above, cross entropy with drawn negatives.

    A batch touches the vectors of its own nodes alone. They are in tables of this process, so it
    is trained by one rank.

    Args:
        fanouts: Neighbours to draw for each node, one number a layer; 0 for all of them.
        hidden: Sizes of the hidden layers of the head.
        table_lr: Learning rate of the vectors, by row-wise AdaGrad.
    """

    default_loss = "ce_neg"
    negatives: int = 10
    power: float = 0.75
    fanouts: tuple[int, ...] = (10, 10)
    hidden: tuple[int, ...] = (64,)
    table_lr: float = 0.05

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        found = super().prepare(data)
        num_users, num_items = len(found["seen_indptr"]) - 1, len(found["share"])
        users_E = np.repeat(np.arange(num_users), np.diff(found["seen_indptr"]))
        graph = graph_of(
            *bipartite(users_E, found["seen_items"], num_users, num_items), symmetric=True
        )
        arrays = {"indptr": graph.indptr, "indices": graph.indices, "matrix": with_loops(graph)}
        return {**found, **arrays}

    def train_preprocess(self, rows: Rows, rng: np.random.Generator) -> Rows:  # type: ignore[override]
        batch = super().train_preprocess(rows, rng)
        num_users, items_nB = self.state.size(self.user_column), batch["negative"].T
        items_S = np.concatenate([batch["item"], items_nB.reshape(-1)]) + num_users
        nodes_S, graph = np.concatenate([batch["user"], items_S]), self._graph()
        drawn = [fanout or None for fanout in self.fanouts]
        subgraph = sample(graph, nodes_S, drawn, rng, matrix=self.state["matrix"])
        own_M = (1 / (graph.degree(subgraph.nodes) + 1)).astype(np.float32)
        batch["around"] = Neighbourhood(subgraph, own_M, num_users, len(batch["user"]))
        batch["log_q"] = log_q(batch["negative"], self.state["share"], self.negatives)
        return batch

    def net(self) -> nn.Module:
        return RepresentationNet(
            self._graph(),
            np.asarray(self.state["matrix"]),
            self.state.size(self.user_column),
            self.dim,
            num_layers=len(self.fanouts),
            hidden=self.hidden,
            table_lr=self.table_lr,
            seed=self.seed,
            vocabulary=(self.user_column, self.item_column),
        )

    def train(self, batches: Iterable[Rows], run: ModelRun) -> nn.Module:
        if run.world_size > 1:
            raise ConfigError(
                f"stream.train.ranks is {run.world_size}; the tables of model 'representation' are "
                "in one process. Set stream.train.ranks to 1."
            )
        return super().train(batches, run)

    def loss_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        score_Bn = net(batch)
        scores = score_Bn[:, 0], score_Bn[:, 1:]
        name = self.loss or self.default_loss
        more = {"log_q": batch["log_q"]} if name == "ce_neg" else {}
        found: Tensor = get(name)(*scores, **more)
        return found

    def new_rows(self, part: Part, rows: np.ndarray) -> np.ndarray | None:
        if part.key.endswith(".sums"):  # AdaGrad begins anew for them
            return np.zeros(len(rows), np.float32)
        return super().new_rows(part, rows)

    def _graph(self) -> Graph:
        return Graph(self.state["indptr"], self.state["indices"], is_symmetric=True)
