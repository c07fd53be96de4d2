"""Models by five functions each: trained over a stream, checked, tracked, evaluated, grown.

Start with `register`, `Model` and `TorchModel`; `train`, `evaluate` and `predict` take a run from
there.
"""

from typing import TYPE_CHECKING

from tadka.core.extra import on_demand

if TYPE_CHECKING:
    from tadka.models.data.check import check
    from tadka.models.data.config import DataConfig
    from tadka.models.data.data import Data
    from tadka.models.data.report import CheckReport
    from tadka.models.define.catalog import register
    from tadka.models.define.column import Column
    from tadka.models.define.model import Model
    from tadka.models.define.state import State
    from tadka.models.graph.build import build_graph
    from tadka.models.graph.csr import Graph
    from tadka.models.grow.drift import drift
    from tadka.models.grow.fresh import fold_in
    from tadka.models.loss.catalog import register_loss
    from tadka.models.measure.full import full_ranking
    from tadka.models.serving import export
    from tadka.models.table.vocabulary import Vocabulary
    from tadka.models.train.bench import Trial, bench
    from tadka.models.train.config import Config
    from tadka.models.train.flow import Fit, evaluate, load, predict, train
    from tadka.models.train.negatives import draw_negatives
    from tadka.models.train.past import Comparison, compare
    from tadka.models.train.torch import TorchModel
    from tadka.models.train.tracking import send
    from tadka.models.train.trained import Trained
    from tadka.models.vector.alike import neighbours
    from tadka.models.vector.export import export_vectors
    from tadka.models.vector.segment import segment_check
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "data.check": ["check"],
            "data.config": ["DataConfig"],
            "data.data": ["Data"],
            "data.report": ["CheckReport"],
            "define.catalog": ["register"],
            "define.column": ["Column"],
            "define.model": ["Model"],
            "define.state": ["State"],
            "graph.build": ["build_graph"],
            "graph.csr": ["Graph"],
            "grow.drift": ["drift"],
            "grow.fresh": ["fold_in"],
            "loss.catalog": ["register_loss"],
            "measure.full": ["full_ranking"],
            "serving": ["export"],
            "table.vocabulary": ["Vocabulary"],
            "train.bench": ["Trial", "bench"],
            "train.config": ["Config"],
            "train.flow": ["Fit", "evaluate", "load", "predict", "train"],
            "train.negatives": ["draw_negatives"],
            "train.past": ["Comparison", "compare"],
            "train.torch": ["TorchModel"],
            "train.tracking": ["send"],
            "train.trained": ["Trained"],
            "vector.alike": ["neighbours"],
            "vector.export": ["export_vectors"],
            "vector.segment": ["segment_check"],
        },
        extra="models",
    )

__all__ = [
    "CheckReport",
    "Column",
    "Comparison",
    "Config",
    "Data",
    "DataConfig",
    "Fit",
    "Graph",
    "Model",
    "State",
    "TorchModel",
    "Trained",
    "Trial",
    "Vocabulary",
    "bench",
    "build_graph",
    "check",
    "compare",
    "draw_negatives",
    "drift",
    "evaluate",
    "export",
    "export_vectors",
    "fold_in",
    "full_ranking",
    "load",
    "neighbours",
    "predict",
    "register",
    "register_loss",
    "segment_check",
    "send",
    "train",
]
