from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.scoring.forest import flatten
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


def train(
    rows_BF: Matrix, adult: Adult, categorical: list[int] | None = None, **settings: Any
) -> lgb.Booster:
    rounds = settings.pop("rounds", 20)
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 31} | settings
    columns = categorical or []
    rows = lgb.Dataset(rows_BF, adult.labels, categorical_feature=columns, feature_name=adult.names)
    return lgb.train(settings, rows, rounds)


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"boosting": "dart", "drop_rate": 0.5},
        {"num_leaves": 2},
        {"num_leaves": 400, "min_data_in_leaf": 1, "rounds": 5},
        {"scale_pos_weight": 3.0, "boost_from_average": False, "max_depth": 4},
    ],
    ids=lambda settings: "-".join(map(str, settings)) or "default",
)
@pytest.mark.parametrize("categories", [False, True])
def test_margins_are_those_of_lightgbm(
    adult: Adult, settings: dict[str, Any], *, categories: bool
) -> None:
    rows_BF = adult.holey
    booster = train(rows_BF, adult, adult.categorical if categories else None, **settings)

    forest = flatten(booster)

    assert ("lightgbm", "logistic") == (forest.library, forest.link)
    assert adult.names == list(forest.feature_names)
    assert categories == any(forest.categorical)
    assert_same_margins(
        forest,
        lambda rows: booster.predict(rows, raw_score=True),
        rows_BF,
        hostile_rows(forest, adult.full),
    )


@pytest.mark.needs_data("adult")
def test_a_column_of_many_categories_is_split_as_lightgbm_does(adult: Adult) -> None:
    rows_BF = adult.holey.copy()
    rows_BF[:, 2] = np.floor(rows_BF[:, 2] / 1000)
    settings: dict[str, Any] = {
        "min_data_per_group": 5,
        "cat_smooth": 1.0,
        "max_cat_threshold": 300,
    }
    booster = train(rows_BF, adult, [*adult.categorical, 2], **settings)

    forest = flatten(booster)

    assert forest.category_widths[2] > 200
    assert_same_margins(
        forest,
        lambda rows: booster.predict(rows, raw_score=True),
        rows_BF,
        hostile_rows(forest, rows_BF),
    )


# The successors of eval_set are younger than the oldest LightGBM that we test with.
@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
@pytest.mark.needs_data("adult")
def test_early_stopping_ends_where_predict_does(adult: Adult, tmp_path: Path) -> None:
    train_rows, valid_rows = slice(0, 3000), slice(3000, 6000)
    model = lgb.LGBMClassifier(n_estimators=60, learning_rate=0.9, verbose=-1, n_jobs=1)
    model.fit(
        adult.full[train_rows],
        adult.labels[train_rows],
        eval_set=[(adult.full[valid_rows], adult.labels[valid_rows])],
        callbacks=[lgb.early_stopping(3, verbose=False)],
    )
    assert 0 < model.best_iteration_ < 20
    model.booster_.save_model(tmp_path / "model.txt")

    forest = flatten(model)

    assert forest.num_trees == model.best_iteration_
    assert_same_forest(forest, flatten(tmp_path / "model.txt"))
    assert_same_margins(
        forest, lambda rows: model.booster_.predict(rows, raw_score=True), adult.holey
    )


@pytest.mark.needs_data("adult")
def test_a_random_forest_gives_the_mean_of_its_trees(adult: Adult) -> None:
    settings: dict[str, Any] = {
        "boosting": "rf",
        "bagging_freq": 1,
        "bagging_fraction": 0.5,
        "rounds": 7,
    }
    booster = train(adult.holey, adult, **settings)

    forest = flatten(booster)

    assert_same_margins(
        forest,
        lambda rows: np.asarray(booster.predict(rows, raw_score=True)) / 7,
        adult.holey,
    )
    score_B = 1 / (1 + np.exp(-forest.margins(adult.full)))
    np.testing.assert_allclose(score_B, np.asarray(booster.predict(adult.full)), rtol=1e-14)


@pytest.mark.needs_data("adult")
def test_the_slope_of_the_sigmoid_is_in_the_margin(adult: Adult) -> None:
    booster = train(adult.full, adult, sigmoid=0.7, rounds=5)

    score_B = 1 / (1 + np.exp(-flatten(booster).margins(adult.full)))

    np.testing.assert_allclose(score_B, np.asarray(booster.predict(adult.full)), rtol=1e-14)


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize(
    ("objective", "link"),
    [("regression", "identity"), ("regression_l1", "identity"), ("poisson", "exp")],
)
def test_regressions_are_read(adult: Adult, objective: str, link: str) -> None:
    booster = train(adult.holey, adult, objective=objective, rounds=5)

    forest = flatten(booster)

    assert link == forest.link
    assert_same_margins(forest, lambda rows: booster.predict(rows, raw_score=True), adult.holey)


@pytest.mark.needs_data("adult")
def test_trees_without_a_split_are_read(adult: Adult) -> None:
    booster = train(np.zeros_like(adult.full), adult, rounds=3)

    forest = flatten(booster)

    expected_B = np.asarray(booster.predict(adult.full[:5], raw_score=True))
    np.testing.assert_array_equal(expected_B, forest.margins(adult.full[:5]))


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "multiclass", "num_class": 3}, "has 3 outputs"),
        ({"linear_tree": True}, "linear trees"),
        ({"objective": "regression", "reg_sqrt": True}, "reg_sqrt"),
        ({"objective": "cross_entropy_lambda"}, "objective 'cross_entropy_lambda'"),
    ],
)
def test_unsupported_models_are_refused_by_name(
    adult: Adult, settings: dict[str, Any], message: str
) -> None:
    booster = train(adult.full, adult, rounds=2, **settings)

    with pytest.raises(ConfigError, match=message):
        flatten(booster)


def test_an_estimator_that_is_not_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not fitted"):
        flatten(lgb.LGBMClassifier())


def test_what_is_no_model_of_lightgbm_is_refused() -> None:
    with pytest.raises(ConfigError, match="'Dataset' is no LightGBM model"):
        flatten(lgb.Dataset(None))


@pytest.fixture(scope="module")
def text() -> str:
    random = np.random.default_rng(0)
    rows_BF = np.column_stack([random.random(400), random.integers(0, 9, 400)])
    labels_B = (rows_BF[:, 0] + (rows_BF[:, 1] % 3) > 1.5).astype(int)
    rows = lgb.Dataset(rows_BF, labels_B, categorical_feature=[1])
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 4}
    return str(lgb.train(settings, rows, 3).model_to_string())


def test_a_file_cut_anywhere_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "model.txt"
    for end in range(5, text.index("end of trees"), 7):
        file.write_text(text[:end], encoding="utf-8")
        with pytest.raises((DataError, ConfigError)):
            flatten(file)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("left_child=", "left_child=7 ", "unequal length"),
        ("num_leaves=4", "num_leaves=5", "unequal length"),
        ("split_feature=", "split_feature=x", "cannot be read"),
        ("leaf_value=", "leaf_value=nan ", "unequal length"),
        ("cat_boundaries=0", "cat_boundaries=", "cannot be read"),
        ("max_feature_idx=1", "max_feature_idx=0", "names 2 columns and has 1"),
        ("max_feature_idx=1", "max_feature_idx=?", "no number 'max_feature_idx'"),
        ("num_tree_per_iteration=1", "num_tree_per_iteration=2", "2 outputs"),
    ],
)
def test_a_damaged_text_is_refused(
    text: str, tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in text
    file = tmp_path / "model.txt"
    file.write_text(text.replace(before, after, 1), encoding="utf-8")

    with pytest.raises((DataError, ConfigError), match=message):
        flatten(file)
