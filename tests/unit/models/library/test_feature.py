"""Models of clicks and ratings: what they learn, and what their parameters do."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models import load, train
from tadka.models.define.catalog import get
from tests import models
from tests.models import config, fit

NAMES = ("logistic", "fm", "wide_deep", "deepfm")


def rated(num_rows: int = 700, *, seed: int = 0) -> pa.Table:
    """Ratings from 1 to 5 that hang on an item's kind and a user's age."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 40, num_rows), rng.integers(0, 25, num_rows)
    rating = 3 + 1.2 * np.where(item % 3 == 0, 1, -1) * np.where(user % 2 == 0, 1, -1)
    rating = np.clip(np.round(rating + rng.normal(0, 0.4, num_rows)), 1, 5)
    return pa.table(
        {"user": user + 100, "item": item + 500, "label": pa.array(rating.astype(np.float32))}
    )


def side_tables(folder: Path) -> dict[str, str]:
    """What is known of all users and items, those that train has not included."""
    users, items = np.arange(60), np.arange(25)
    return models.write(
        folder,
        users=pa.table(
            {
                "user": users[::-1] + 100,
                "parity": [("even", "odd")[u % 2] for u in users[::-1]],
                "name": [f"n{u}" for u in users],
                "age": users[::-1] % 2 * 30 + 10 + users[::-1] // 2,
            }
        ),
        items=pa.table({"item": items + 500, "kinds": [["a"] if i % 3 else ["b"] for i in items]}),
    )


def rating_config(folder: Path, model: dict[str, Any]) -> dict[str, Any]:
    values = config(folder, {"target": "rating", "epochs": 8, "batch_rows": 100, **model})
    values["data"] = models.write(folder / "rated", train=rated(), test=rated(300, seed=2))
    values["data"]["tables"] = side_tables(folder / "side")
    return values


@pytest.mark.parametrize("name", NAMES)
def test_clicks_are_learnt(tmp_path: Path, name: str) -> None:
    done = fit(tmp_path, {"name": name, "epochs": 12})

    assert done.metrics["auc"] > (0.6 if name == "logistic" else 0.75)
    assert 0.8 < done.metrics["calibration"] < 1.25


@pytest.mark.parametrize("name", NAMES)
def test_ratings_with_all_that_can_be_known(tmp_path: Path, name: str) -> None:
    model = {"name": name, "side": ["users", "items"], "history": True}
    done = train(rating_config(tmp_path, model), progress="none")

    spread = float(np.std(rated(300, seed=2)["label"].to_numpy()))
    assert done.metrics["rmse"] < (1.05 if name == "logistic" else 0.6) * spread
    found = load(done.folder).predict(rated(50, seed=7))["score"].to_numpy()
    assert (found >= 1).all()
    assert (found <= 5).all()


def test_side_features_tell_of_users_that_train_has_not(tmp_path: Path) -> None:
    decay = {"optimizer": "adamw", "weight_decay": 1.0}  # what many rows share outlives it
    model = {"name": "fm", "side": ["users", "items"], **decay}
    trained = load(train(rating_config(tmp_path, model), progress="none").folder)
    unseen = [150, 151]  # even and odd
    assert 0 == trained.model.state.rows("user", np.array(unseen)).sum()

    likes, dislikes = trained.predict({"user": unseen, "item": [503, 503]})["score"].to_pylist()
    assert likes > dislikes + 0.3


def test_a_row_is_left_out_of_its_own_histories(tmp_path: Path) -> None:
    model = train(rating_config(tmp_path, {"name": "fm", "history": True}), progress="none")
    trained = load(model.folder)
    batch = trained.model.train_preprocess(
        {name: rated(5)[name].to_numpy() for name in ("user", "item", "label")}
    )

    assert [1.0] * 5 == batch["own"].tolist()
    assert "own" not in trained.model.predict_preprocess({"user": [100], "item": [500]})


def test_fields_numbers_and_bags_are_named_by_parameters(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kind, size = rng.integers(0, 3, 600), rng.normal(1000, 50, 600)
    words = [rng.choice(8, rng.integers(0, 4), replace=False).tolist() for _ in range(600)]
    label = (size > 1000) ^ np.array([3 in bag for bag in words])
    table = pa.table(
        {
            "kind": [f"k{k}" for k in kind],
            "size": size,
            "words": pa.array(words, pa.list_(pa.int64())),
            "label": label.astype(np.float32),
        }
    )
    values = config(
        tmp_path,
        {"name": "fm", "fields": ["kind"], "numbers": ["size"], "bags": ["words"], "epochs": 12},
    )
    values["data"] = models.write(tmp_path / "rows", train=table[:450], test=table[450:])

    done = train(values, progress="none")

    assert done.metrics["auc"] > 0.9
    trained = load(done.folder)
    whole = trained.predict(table)["score"].to_numpy()
    single = trained.predict(table, batch_rows=1)["score"].to_numpy()
    assert whole == pytest.approx(single, abs=1e-5)


def test_the_label_is_checked_by_the_target(tmp_path: Path) -> None:
    values = rating_config(tmp_path, {"name": "fm", "target": "binary"})
    with pytest.raises(DataError, match="label"):
        train(values, progress="none")


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ({"fields": ["user"], "history": True}, ConfigError, "model.history is true"),
        ({"fields": []}, ConfigError, "model.fields is empty"),
        ({"fields": ["user"], "side": ["items"]}, DataError, "exactly one of model.fields"),
    ],
    ids=["history", "fields", "side"],
)
def test_parameters_that_do_not_go_together(
    tmp_path: Path, model: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        train(rating_config(tmp_path, {"name": "fm", **model}), progress="none")


def test_models_are_short() -> None:
    for name in ("logistic", "fm", "wide_deep", "deepfm", "bpr", "lightgcn"):
        text = Path(inspect.getfile(get(name))).read_text()
        lines = [line for line in text.splitlines() if line.strip()]
        assert len(lines) <= 40, name
