import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import catboost as cb
import numpy as np
import pandas as pd
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.scoring.forest import flatten
from tadka.scoring.forest_catboost import hash_category, hash_text
from tests.unit.scoring.adult import (
    Adult,
    Matrix,
    assert_same_forest,
    assert_same_margins,
    hostile_rows,
    read_adult,
)


@pytest.fixture(scope="module")
def adult(data: Path) -> Adult:
    return read_adult(data)


class Trained:
    """A CatBoost model and its own predictions."""

    def __init__(
        self, rows_BF: Matrix, adult: Adult, categorical: list[int] | None = None, **settings: Any
    ) -> None:
        self.names = adult.names
        self.categorical = categorical or []
        settings = {
            "iterations": 20,
            "one_hot_max_size": 255,
            "thread_count": 1,
            "verbose": 0,
            "allow_writing_files": False,
            "learning_rate": 0.3,
        } | settings
        self.model = cb.CatBoost({"loss_function": "Logloss"} | settings)
        self.model.fit(self.frame(rows_BF), adult.labels, cat_features=self.categorical)

    def frame(self, rows_BF: Matrix) -> pd.DataFrame:
        frame = pd.DataFrame(rows_BF, columns=self.names)
        kinds = {self.names[column]: np.int64 for column in self.categorical}
        return frame.astype(kinds)

    def margins(self, rows_BF: Matrix) -> Any:
        return self.model.predict(self.frame(rows_BF), prediction_type="RawFormulaVal")


def whole_codes(rows_BF: Matrix, categorical: list[int]) -> Matrix:
    """Rows that CatBoost accepts: it refuses categories that are fractions or missing."""
    rows_BF = rows_BF.copy()
    codes_BF = rows_BF[:, categorical]
    rows_BF[:, categorical] = np.trunc(np.where(np.abs(codes_BF) < 2**53, codes_BF, -77.0))
    return rows_BF


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize(
    ("settings", "categories"),
    [
        ({}, False),
        ({}, True),
        ({"nan_mode": "Max"}, False),
        ({"depth": 1}, False),
        ({"depth": 10, "iterations": 8}, True),
        ({"grow_policy": "Lossguide"}, True),
        ({"grow_policy": "Depthwise", "nan_mode": "Max"}, False),
        ({"scale_pos_weight": 3.0, "boost_from_average": True}, False),
        ({"border_count": 1000, "boosting_type": "Ordered", "iterations": 5}, False),
    ],
    ids=str,
)
def test_margins_are_those_of_catboost(
    adult: Adult, settings: dict[str, Any], *, categories: bool
) -> None:
    categorical = adult.categorical if categories else []
    rows_BF = adult.holey_numbers() if categories else adult.holey
    trained = Trained(rows_BF, adult, categorical, **settings)

    forest = flatten(trained.model)

    assert ("catboost", "logistic") == (forest.library, forest.link)
    assert adult.names == list(forest.feature_names)
    assert categories == any(forest.categorical)
    assert ("grow_policy" in settings) == (len(forest.depths) == 0)
    hostile_BF = whole_codes(hostile_rows(forest, adult.full), categorical)
    assert_same_margins(forest, trained.margins, rows_BF, hostile_BF)


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise"])
def test_a_column_of_many_categories_is_split_as_catboost_does(adult: Adult, policy: str) -> None:
    categorical = [*adult.categorical, 2]
    rows_BF = adult.holey_numbers()
    rows_BF[:, 2] = np.floor(adult.full[:, 2] / 7000) - 3
    every_category_counts = replace(adult, labels=(rows_BF[:, 2] % 2).astype(np.int64))
    trained = Trained(
        rows_BF, every_category_counts, categorical, grow_policy=policy, iterations=60
    )

    forest = flatten(trained.model)

    assert forest.category_widths[2] > 64
    hostile_BF = hostile_rows(forest, rows_BF)
    random = np.random.default_rng(0)
    hostile_BF[:, 2] = random.integers(-9, 300, len(hostile_BF))
    hostile_BF = whole_codes(hostile_BF, categorical)
    assert_same_margins(forest, trained.margins, rows_BF, hostile_BF)


@pytest.mark.needs_data("adult")
def test_scale_and_bias_are_kept(adult: Adult) -> None:
    trained = Trained(adult.holey, adult)
    trained.model.set_scale_and_bias(0.37, 1.234567)

    assert_same_margins(flatten(trained.model), trained.margins, adult.holey)


@pytest.mark.needs_data("adult")
def test_early_stopping_ends_where_predict_does(adult: Adult, tmp_path: Path) -> None:
    train_rows, valid_rows = slice(0, 3000), slice(3000, 6000)
    model = cb.CatBoostClassifier(
        iterations=60, learning_rate=1.0, thread_count=1, verbose=0, allow_writing_files=False
    )
    model.fit(
        adult.full[train_rows],
        adult.labels[train_rows],
        eval_set=(adult.full[valid_rows], adult.labels[valid_rows]),
        early_stopping_rounds=3,
    )
    assert 0 < model.tree_count_ < 40
    file = tmp_path / "model.json"
    model.save_model(str(file), format="json")

    forest = flatten(model)

    assert forest.num_trees == model.tree_count_
    assert_same_forest(forest, flatten(file))
    assert_same_margins(
        forest, lambda rows: model.predict(rows, prediction_type="RawFormulaVal"), adult.holey
    )


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize(
    ("loss", "link"),
    [
        ("RMSE", "identity"),
        ("Poisson", "exp"),
        ("Focal:focal_alpha=0.5;focal_gamma=2.0", "logistic"),
    ],
)
def test_other_losses_are_read(adult: Adult, loss: str, link: str) -> None:
    trained = Trained(adult.holey, adult, loss_function=loss)

    forest = flatten(trained.model)

    assert link == forest.link
    assert_same_margins(forest, trained.margins, adult.holey)


@pytest.mark.needs_data("adult")
def test_counters_are_refused_with_what_to_set(adult: Adult) -> None:
    trained = Trained(adult.full, adult, adult.categorical, one_hot_max_size=2, iterations=3)

    with pytest.raises(ConfigError, match="one_hot_max_size"):
        flatten(trained.model)


def test_several_outputs_are_refused() -> None:
    model = cb.CatBoostClassifier(
        iterations=2, thread_count=1, verbose=0, allow_writing_files=False, depth=2
    )
    random = np.random.default_rng(0)
    model.fit(random.random((60, 2)), random.integers(0, 3, 60))

    with pytest.raises(ConfigError, match="has 3 outputs"):
        flatten(model)


def test_an_estimator_that_is_not_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not fitted"):
        flatten(cb.CatBoostClassifier())


def test_what_is_no_model_of_catboost_is_refused() -> None:
    with pytest.raises(ConfigError, match="'Pool' is no CatBoost model"):
        flatten(cb.Pool(np.zeros((1, 1))))


@pytest.mark.parametrize(
    "code", [0, 7, -1, 12, 999, 1234, -4321, 12345678, 123456789, -(2**52), 2**53 - 1, -(2**53)]
)
def test_codes_are_hashed_as_catboost_does(code: int) -> None:
    rows = pd.DataFrame({"code": [code, code + 1] * 20})
    model = cb.CatBoostRegressor(
        iterations=1, depth=1, one_hot_max_size=9, thread_count=1, verbose=0,
        allow_writing_files=False, boost_from_average=False,
    )  # fmt: skip
    model.fit(rows, [1.0, 3.0] * 20, cat_features=[0])
    forest = flatten(model)

    hashes = {hash_category(float(number)) for number in (code, code + 1)}
    assert hashes & set(forest.keys.tolist())
    for number in (code, code + 1):
        expected = model.predict(pd.DataFrame({"code": [number]}))[0]
        assert expected == forest.margins(np.array([[float(number)]]))[0]


def test_numbers_without_a_text_are_no_category() -> None:
    assert [-1] * 5 == [hash_category(x) for x in (0.5, np.inf, -np.inf, 2.0**53 + 2, 1e300)]
    assert hash_text(b"nan") == hash_category(np.nan)
    assert hash_text(b"0") == hash_category(-0.0)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> str:
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"x": random.random(300), "c": random.integers(0, 5, 300)})
    model = cb.CatBoostClassifier(
        iterations=3, depth=2, one_hot_max_size=9, thread_count=1, verbose=0,
        allow_writing_files=False,
    )  # fmt: skip
    model.fit(rows, (rows["x"] + rows["c"] % 2 > 1).astype(int), cat_features=[1])
    file = tmp_path_factory.mktemp("catboost") / "model.json"
    model.save_model(str(file), format="json")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("oblivious_trees/0/leaf_values", [1.0, 2.0], "2 levels and 2 leaves"),
        ("oblivious_trees/0/splits/0", {}, "KeyError"),
        ("oblivious_trees/0/splits/0/split_type", "EstimatedFeature", "'EstimatedFeature'"),
        ("oblivious_trees/0/splits", [{"split_type": "OneHotFeature"}], "KeyError"),
        ("oblivious_trees/1/leaf_values/3", None, "TypeError"),
        ("oblivious_trees/1/leaf_values/3", float("nan"), "'leaf_values' has nan"),
        ("oblivious_trees", 3, "TypeError"),
        ("scale_and_bias", [1, [0, 0]], "has 2 outputs"),
        ("scale_and_bias", [1], "ValueError"),
        ("features_info/float_features/0/flat_feature_index", 9, "columns"),
        ("features_info/float_features/0/flat_feature_index", -1, "columns"),
        ("features_info/float_features", None, "columns"),
    ],
)
def test_a_damaged_document_is_refused(
    document: str, tmp_path: Path, path: str, value: Any, message: str
) -> None:
    spoiled = json.loads(document)
    part = spoiled
    *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in keys:
        part = part[key]
    part[last] = value
    file = tmp_path / "model.json"
    file.write_text(json.dumps(spoiled), encoding="utf-8")

    with pytest.raises((DataError, ConfigError), match=message):
        flatten(file)


def test_a_binary_file_is_refused_with_the_format_to_use(tmp_path: Path) -> None:
    file = tmp_path / "model.cbm"
    file.write_bytes(b"CBM1\x00\x01\x02")

    with pytest.raises(DataError, match="format='json'"):
        flatten(file)
