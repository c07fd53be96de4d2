"""Vectors of users and items over their graph, learnt from sampled neighbourhoods.

The graph has items as its first nodes, then users, so what a user has taken are its neighbours as
they stand.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor, nn

from tadka.core.error import ConfigError
from tadka.models.define.catalog import register
from tadka.models.define.model import Prepared, Rows
from tadka.models.graph.csr import Graph
from tadka.models.graph.sampler import Subgraph, sample
from tadka.models.library.implicit import ImplicitModel
from tadka.models.library.taken import GRAPH, build_taken, near_vectors
from tadka.models.loss.catalog import get as get_loss
from tadka.models.loss.negatives import draw, log_q, share_of
from tadka.models.net.representation import Neighbourhood, RepresentationNet
from tadka.models.net.tables import MappedEmbedding, TableEmbedding
from tadka.models.table.grown import Part
from tadka.models.table.mapped import MappedTable
from tadka.models.table.table import MemoryTable
from tadka.models.train.run import ModelRun

_TABLES = "tables"  # in the folder of the run while it is trained, beside the weights then
_SCALE = 0.1


@register("representation")
class Representation(ImplicitModel):
    """Graph convolutions below, a wide and deep head above, cross entropy with drawn negatives.

    A batch touches the vectors of its own nodes alone. They are in tables of one process, so it is
    trained by one rank.

    Args:
        fanouts: Neighbours to draw for each node, one number a layer; 0 for all of them.
        hidden: Sizes of the hidden layers of the head.
        table_lr: Learning rate of the vectors, by row-wise AdaGrad.
        tables: Where the vectors are: in memory, or in mapped files of the run's folder, for more
            of them than there is memory. Both learn the same.
    """

    default_loss = "ce_neg"
    negatives: int = 10
    power: float = 0.75
    fanouts: tuple[int, ...] = (10, 10)
    hidden: tuple[int, ...] = (64,)
    table_lr: float = 0.05
    reg: ClassVar[float] = 0.0  # type: ignore[misc]  # no parameter: the loss has no such term
    tables: Literal["memory", "mapped"] = "memory"

    def prepare(self, data: Prepared) -> Mapping[str, Any]:
        graph = build_taken(data, self.state, self.user_column, self.item_column)
        num_items = self.state.size(self.item_column)
        return {"share": share_of(np.diff(graph.indptr[: num_items + 1]), self.power)}

    def train_preprocess(self, rows: Rows, rng: np.random.Generator) -> Rows:  # type: ignore[override]
        batch = self.predict_preprocess(rows)
        graph, num_items = self._graph(), self.state.size(self.item_column)
        batch["negative"] = draw(
            rng,
            num_items,
            batch["user"],
            graph.indptr[num_items:],
            graph.indices,
            self.negatives,
            share=self.state["share"] if self.power else None,
        )
        items_nB = batch["negative"].T
        nodes_S = np.concatenate([batch["user"] + num_items, batch["item"], items_nB.reshape(-1)])
        drawn = [fanout or None for fanout in self.fanouts]
        subgraph, own_M = _weighted(graph, sample(graph, nodes_S, drawn, rng, matrix="mean"))
        batch["around"] = Neighbourhood(subgraph, own_M, num_items, len(batch["user"]))
        batch["log_q"] = log_q(batch["negative"], self.state["share"], self.negatives)
        return batch

    def net(self) -> nn.Module:
        make: Callable[[str, int], Any] = self.__dict__.get("_make", self._in_memory)
        return RepresentationNet(
            self._graph(),
            make(self.user_column, self.seed),
            make(self.item_column, self.seed + 1),
            self.dim,
            num_layers=len(self.fanouts),
            hidden=self.hidden,
        )

    def train(self, batches: Iterable[Rows], run: ModelRun) -> nn.Module:
        if run.world_size > 1:
            raise ConfigError(
                f"stream.train.ranks is {run.world_size}; the tables of model 'representation' are "
                "in one process. Set stream.train.ranks to 1."
            )
        if self.tables == "memory":
            return super().train(batches, run)
        if self.patience or self.average:
            raise ConfigError(
                f"model.tables is 'mapped', model.patience {self.patience} and model.average "
                f"{self.average}: both keep a copy of all vectors. Set them to 0, or tables to "
                "'memory'."
            )
        return super(Representation, self._with(partial(self._mapped, run))).train(batches, run)

    def loss_of(self, net: nn.Module, batch: Mapping[str, Any]) -> Tensor:
        score_Bn = net(batch)
        scores = score_Bn[:, 0], score_Bn[:, 1:]
        name = self.loss or self.default_loss
        more = {"log_q": batch["log_q"]} if name == "ce_neg" else {}
        found: Tensor = get_loss(name)(*scores, **more)
        return found

    def new_rows(self, part: Part, rows: np.ndarray) -> np.ndarray | None:
        if part.key.endswith(".sums"):  # AdaGrad begins anew for them
            return np.zeros(len(rows), np.float32)
        return super().new_rows(part, rows)

    def save(self, model: Any, folder: Path) -> None:
        for table in (model.user, model.item):
            if isinstance(table, MappedEmbedding):
                table.hand_over(folder / _TABLES / table.vocabulary)
        super().save(model, folder)

    def load(self, folder: Path) -> nn.Module:
        if self.tables == "memory":
            return super().load(folder)
        return super(Representation, self._with(partial(self._trained, folder))).load(folder)

    # -- where the vectors are -----------------------------------------------------------------

    def _with(self, make: Callable[[str, int], Any]) -> Self:
        """The model whose net gets its tables, by column and seed, from a function."""
        other = copy.copy(self)
        other.__dict__["_make"] = make
        return other

    def _in_memory(self, column: str, seed: int) -> TableEmbedding:
        table = MemoryTable(self.state.size(column), self.dim, scale=_SCALE, seed=seed)
        return TableEmbedding(table, column, lr=self.table_lr)

    def _mapped(self, run: ModelRun, column: str, seed: int) -> MappedEmbedding:
        before = None if run.start is None else run.start / _TABLES
        return MappedEmbedding.begin(
            run.folder / _TABLES / column,
            self.state.size(column),
            self.dim,
            column,
            lr=self.table_lr,
            scale=_SCALE,
            seed=seed,
            before=None if before is None else before / column,
            init=None if before is None else near_vectors(self, before, column),
        )

    def _trained(self, folder: Path, column: str, seed: int) -> MappedEmbedding:  # noqa: ARG002
        table = MappedTable.open(folder / _TABLES / column, read_only=True)
        return MappedEmbedding(table, column, lr=self.table_lr)

    def _graph(self) -> Graph:
        return _opened(self.state.folder / GRAPH)


@lru_cache(maxsize=2)
def _opened(folder: Path) -> Graph:
    return Graph.open(folder)


def _weighted(graph: Graph, subgraph: Subgraph) -> tuple[Subgraph, np.ndarray]:
    """Entries of D^-1/2 (A + I) D^-1/2 for a subgraph with means: of edges, and of the diagonal.

    Those of a node add up to as much as those of all of its edges would, on average.
    """
    degree_M = graph.degree(subgraph.nodes)
    root_M = (degree_M + 1.0) ** -0.5
    of_dst_M = (degree_M * root_M).astype(np.float32)
    of_src_M = root_M.astype(np.float32)
    layers = tuple(
        replace(layer, weight=np.asarray(layer.weight) * of_dst_M[layer.dst] * of_src_M[layer.src])
        for layer in subgraph.layers
    )
    return replace(subgraph, layers=layers), (root_M**2).astype(np.float32)
