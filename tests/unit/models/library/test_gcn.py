"""GCN and GraphSAGE: the whole graph and samples of it are one model."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tadka.core.error import DataError
from tadka.models import load, train
from tadka.models.define.catalog import get
from tadka.models.library import nodes
from tadka.models.net.graph import GraphNet
from tests import models
from tests.models import config


class Tables:
    """What `prepare` sees, in memory."""

    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self.tables = tables

    def table(self, name: str) -> pa.Table:
        return self.tables[name]

    def read(self, part: str, columns: Any = None) -> dict[str, Any]:
        return {name: self.tables[part][name].to_numpy() for name in columns}


def small() -> dict[str, pa.Table]:
    """Three papers: 10 cites 20, 20 cites 30; the first has no words."""
    return {
        "train": pa.table({"node": [10, 30], "label": [0, 1]}),
        "nodes": pa.table(
            {"node": [30, 10, 20], "words": pa.array([[7, 9], [], [9]], pa.list_(pa.int64()))}
        ),
        "edges": pa.table({"source": [10, 30, 20], "target": [20, 20, 30]}),
    }


def logits(state: dict[str, Any], net: GraphNet, keys: list[int], fanouts: list[int]) -> Any:
    batch = nodes.batch_of(
        state, np.array(keys), fanouts, np.random.default_rng(0), is_mean=net.is_sage
    )
    with torch.no_grad():
        return net.eval()({"node": batch.to_tensors(torch.device("cpu"))}).numpy()


def test_logits_are_those_of_the_dense_matrices() -> None:
    state = nodes.learn(Tables(small()))  # type: ignore[arg-type]
    torch.manual_seed(0)
    net = GraphNet(2, 2, hidden=4)
    edges_33 = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]])  # 10, 20, 30 with loops
    root_3 = edges_33.sum(axis=1) ** -0.5
    matrix_33 = root_3[:, None] * edges_33 * root_3
    words_32 = np.array([[0, 0], [0, 1], [0.5, 0.5]])
    first, second = net.words.detach().numpy(), net.layers[0].weight.detach().numpy().T  # type: ignore[operator]

    hidden = np.maximum(matrix_33 @ words_32 @ first, 0)
    assert logits(state, net, [10, 20, 30], [0, 0]) == pytest.approx(
        matrix_33 @ hidden @ second, abs=1e-6
    )


@pytest.mark.parametrize("is_sage", [False, True])
def test_large_fanouts_give_the_logits_of_all_neighbours(is_sage: bool) -> None:
    tables = nodes.example(60)
    state = nodes.learn(Tables(tables))  # type: ignore[arg-type]
    torch.manual_seed(0)
    net = GraphNet(state["num_words"], 2, hidden=4, is_sage=is_sage)
    keys = tables["nodes"]["node"].to_pylist()

    whole = logits(state, net, keys, [0, 0])
    assert logits(state, net, keys[5:9], [0, 0]) == pytest.approx(whole[5:9], abs=1e-5)
    assert logits(state, net, keys[5:9], [500, 500]) == pytest.approx(whole[5:9], abs=1e-5)
    assert np.abs(logits(state, net, keys[5:9], [1, 1]) - whole[5:9]).max() > 1e-3


@pytest.mark.parametrize(("name", "fanouts"), [("gcn", [0, 0]), ("gcn", [3, 3]), ("sage", [3, 3])])
def test_classes_are_learnt(tmp_path: Path, name: str, fanouts: list[int]) -> None:
    tables = dict(get(name).example(160, seed=1))
    rows = tables.pop("train")
    values = config(tmp_path, {"name": name, "epochs": 15, "fanouts": fanouts, "lr": 0.02})
    values["data"] = models.write(
        tmp_path / "graph", train=rows.slice(0, 100), test=rows.slice(100), **tables
    )
    further = {table: values["data"].pop(table) for table in tables}
    values["data"]["tables"] = further
    done = train(values, progress="none")

    assert done.metrics["accuracy"] > 0.85
    strange = load(done.folder).predict({"node": np.array([-4, 10**9])})["score"].to_pylist()
    assert strange[0] == strange[1]
    assert np.isfinite(strange).all()


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        ("edges", {"source": [10], "target": [11]}, "'edges' has node 11"),
        ("edges", {"source": [10]}, "no column 'target'"),
        ("nodes", {"node": [10, 10], "words": [[1], [2]]}, "node 10 twice"),
    ],
)
def test_a_table_that_is_no_graph_is_refused(
    table: str, values: dict[str, Any], message: str
) -> None:
    tables = {**small(), table: pa.table(values)}

    with pytest.raises(DataError, match=message):
        nodes.learn(Tables(tables))  # type: ignore[arg-type]
