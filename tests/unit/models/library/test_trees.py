"""Boosted trees."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models import load, train
from tadka.models.define.catalog import get
from tests import models
from tests.models import config

pytest.importorskip("lightgbm")
pytest.importorskip("optuna")


def people(num_rows: int, seed: int, *, is_rating: bool = False) -> pa.Table:
    """Job and age decide, and whether the wage is missing."""
    rng = np.random.default_rng(seed)
    job, age = rng.integers(0, 4, num_rows), rng.integers(20, 60, num_rows)
    wage = np.where(rng.random(num_rows) < 0.3, np.nan, rng.normal(size=num_rows))
    signal = (job % 2) * (age > 40) + 2.0 * np.isnan(wage)
    label = signal + 1 if is_rating else (signal + rng.normal(0, 0.2, num_rows) > 0.8) * 1.0
    jobs = np.array(["cook", "smith", "clerk", "baker"])[job]
    return pa.table({"job": jobs, "age": age, "wage": wage, "label": label})


def trees_config(folder: Path, *, is_rating: bool = False, **model: Any) -> dict[str, Any]:
    given = {"name": "trees", "fields": ["job"], "numbers": ["age", "wage"], "trees": 30, **model}
    values = config(folder, {})
    values["model"] = {"target": "rating" if is_rating else "binary", **given}
    values["data"] = models.write(
        folder / "people",
        train=people(400, 0, is_rating=is_rating),
        test=people(200, 1, is_rating=is_rating),
    )
    return values


def test_names_numbers_and_gaps_are_learnt(tmp_path: Path) -> None:
    done = train(trees_config(tmp_path, trials=2), progress="none")

    assert done.metrics["auc"] > 0.95
    assert 0 < done.history[0]["trees"] <= 30
    assert 0.9 < done.history[0]["searched_auc"] <= 1
    found = load(done.folder).predict(people(7, 3))
    score = found["score"].to_numpy()
    assert found["probability"].to_numpy() == pytest.approx(1 / (1 + np.exp(-score)))


def test_ratings_are_learnt_without_a_search(tmp_path: Path) -> None:
    done = train(trees_config(tmp_path, is_rating=True, trials=0), progress="none")

    assert done.metrics["rmse"] < 0.25
    assert 30 == load(done.folder).learnt.num_trees()


def test_training_goes_on_from_another_run(tmp_path: Path) -> None:
    first = train(trees_config(tmp_path / "a", trials=0, trees=5), progress="none")
    values = trees_config(tmp_path / "b", trials=0, trees=7)
    second = train(values, start=first.folder, progress="none")

    assert 12 == load(second.folder).learnt.num_trees()


def test_damaged_trees_are_named(tmp_path: Path) -> None:
    done = train(trees_config(tmp_path, trials=0, trees=2), progress="none")
    (done.folder / "model" / "weights" / "trees.txt").write_text("no trees", encoding="utf-8")

    with pytest.raises(DataError, match=r"trees\.txt.* cannot be loaded"):
        _ = load(done.folder).learnt


def test_wrong_parameters_are_refused() -> None:
    trees: Any = get("trees")
    with pytest.raises(ConfigError, match=r"model\.fields and model\.numbers are empty"):
        trees(fields=())
    with pytest.raises(ConfigError, match=r"model\.share is 1\.5"):
        trees(share=1.5)
