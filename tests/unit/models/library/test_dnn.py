"""Classifiers of histories and of vectors."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tadka.models import load, train
from tests import models
from tests.models import config


def test_sparse_histories_tell_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 400)
    history = [(rng.integers(0, 10, rng.integers(1, 6)) * 3 + c).tolist() for c in label]
    table = pa.table({"history": pa.array(history, pa.list_(pa.int64())), "label": label})
    values = config(tmp_path, {"name": "dnn", "dim": 8, "epochs": 10})
    values["data"] = models.write(tmp_path / "rows", train=table[:300], test=table[300:])

    done = train(values, progress="none")

    assert done.metrics["accuracy"] > 0.95
    empty = pa.table({"history": pa.array([[], [99999]], pa.list_(pa.int64()))})
    score = load(done.folder).predict(empty)["score"].to_pylist()
    assert score[0] == score[1]  # nothing known of either
    assert 3 == len(score[0])


def test_dense_vectors_tell_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vector = rng.normal(0, 1, (400, 5)).astype(np.float32)
    label = (vector[:, 0] * vector[:, 1] > 0).astype(np.int64)
    table = pa.table({"vector": pa.array(vector.tolist(), pa.list_(pa.float32())), "label": label})
    values = config(tmp_path, {"name": "dnn_vector", "epochs": 15, "hidden": [32]})
    values["data"] = models.write(tmp_path / "rows", train=table[:300], test=table[300:])

    done = train(values, progress="none")

    assert done.metrics["accuracy"] > 0.85
    assert 0 == len(load(done.folder).predict(table[:0]))
