"""Graph convolutional matrix completion."""

from pathlib import Path

import numpy as np

from tadka.models import load, train
from tests.unit.models.library.test_feature import rated, rating_config


def test_ratings_are_learnt_from_their_graph(tmp_path: Path) -> None:
    values = rating_config(tmp_path, {"name": "gcmc", "epochs": 30, "hidden": 16, "dim": 8})
    del values["model"]["target"]
    values["model"] |= {"lr": 0.02, "dropout": 0.1, "batch_rows": 350}

    done = train(values, progress="none")

    spread = float(np.std(rated(300, seed=2)["label"].to_numpy()))
    assert done.metrics["rmse"] < 0.6 * spread
    trained = load(done.folder)
    found = trained.predict({"user": [100, 1], "item": [500, 2]})["score"].to_numpy()
    assert (found >= 1).all()
    assert (found <= 5).all()
