import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

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


class Trained:
    """A Booster and its own predictions."""

    def __init__(
        self, rows_BF: Matrix, adult: Adult, categorical: list[int] | None = None, **settings: Any
    ) -> None:
        self.names = adult.names
        self.kinds = ["c" if c in (categorical or ()) else "q" for c in range(len(adult.names))]
        settings = {"objective": "binary:logistic", "nthread": 1} | settings
        rounds = settings.pop("rounds", 20)
        self.booster = xgb.train(settings, self.rows(rows_BF, label=adult.labels), rounds)

    def rows(self, rows_BF: Matrix, **more: Any) -> xgb.DMatrix:
        return xgb.DMatrix(
            rows_BF,
            feature_names=self.names,
            feature_types=self.kinds,
            enable_categorical=True,
            **more,
        )

    def margins(self, rows_BF: Matrix) -> Any:
        return self.booster.predict(self.rows(rows_BF), output_margin=True)


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize(
    ("settings", "categories"),
    [
        ({}, False),
        ({}, True),
        ({"max_cat_to_onehot": 100}, True),
        ({"max_depth": 12, "min_child_weight": 0.1, "rounds": 8}, True),
        ({"max_depth": 1}, False),
        ({"booster": "dart", "rate_drop": 0.3}, True),
        ({"tree_method": "exact"}, False),
        ({"num_parallel_tree": 4, "subsample": 0.5, "rounds": 5}, False),
        ({"grow_policy": "lossguide", "max_leaves": 40, "max_depth": 0}, True),
        ({"base_score": 0.01, "scale_pos_weight": 3.0}, False),
        ({"base_score": 1e-9, "min_child_weight": 0.0}, False),
    ],
    ids=str,
)
def test_margins_are_those_of_xgboost(
    adult: Adult, settings: dict[str, Any], *, categories: bool
) -> None:
    rows_BF = adult.holey
    trained = Trained(rows_BF, adult, adult.categorical if categories else None, **settings)

    forest = flatten(trained.booster)

    assert ("xgboost", "logistic") == (forest.library, forest.link)
    assert adult.names == list(forest.feature_names)
    assert categories == any(forest.categorical)
    hostile_BF = hostile_rows(forest, adult.full, infinite=False)  # XGBoost refuses infinities
    assert_same_margins(forest, trained.margins, rows_BF, hostile_BF)


@pytest.mark.needs_data("adult")
def test_a_column_of_many_categories_is_split_as_xgboost_does(adult: Adult) -> None:
    rows_BF = adult.holey.copy()
    rows_BF[:, 2] = np.floor(rows_BF[:, 2] / 1000)
    trained = Trained(rows_BF, adult, [*adult.categorical, 2])

    forest = flatten(trained.booster)

    assert forest.category_widths[2] > 200
    hostile_BF = hostile_rows(forest, rows_BF, infinite=False)
    assert_same_margins(forest, trained.margins, rows_BF, hostile_BF)


@pytest.mark.needs_data("adult")
@pytest.mark.parametrize(
    ("objective", "link"),
    [
        ("reg:logistic", "logistic"),
        ("binary:logitraw", "identity"),
        ("reg:squarederror", "identity"),
        ("reg:absoluteerror", "identity"),
        ("count:poisson", "exp"),
        ("reg:tweedie", "exp"),
    ],
)
def test_the_base_score_is_taken_as_the_objective_means_it(
    adult: Adult, objective: str, link: str
) -> None:
    trained = Trained(adult.holey, adult, objective=objective, rounds=4)

    forest = flatten(trained.booster)

    assert link == forest.link
    assert_same_margins(forest, trained.margins, adult.holey)
    margin_B = forest.margins(adult.full)
    score_B = {
        "identity": margin_B,
        "exp": np.exp(margin_B),
        "logistic": 1 / (1 + np.exp(-margin_B)),
    }[link]
    own_B = trained.booster.predict(trained.rows(adult.full))
    np.testing.assert_allclose(own_B, score_B, rtol=1e-5)


@pytest.mark.needs_data("adult")
def test_an_estimator_stops_early_and_its_booster_does_not(adult: Adult, tmp_path: Path) -> None:
    train_rows, valid_rows = slice(0, 3000), slice(3000, 6000)
    model = xgb.XGBClassifier(
        n_estimators=60, learning_rate=0.9, early_stopping_rounds=3, n_jobs=1, num_parallel_tree=2
    )
    model.fit(
        adult.full[train_rows],
        adult.labels[train_rows],
        eval_set=[(adult.full[valid_rows], adult.labels[valid_rows])],
        verbose=False,
    )
    model.save_model(tmp_path / "model.json")
    model.get_booster().set_attr(scikit_learn=None)
    booster = model.get_booster()

    stopped, whole = flatten(model), flatten(booster)

    assert 2 * (model.best_iteration + 1) == stopped.num_trees
    assert stopped.num_trees < whole.num_trees == 2 * booster.num_boosted_rounds()
    assert_same_forest(stopped, flatten(tmp_path / "model.json"))
    assert_same_margins(stopped, lambda r: model.predict(r, output_margin=True), adult.holey)
    assert_same_margins(
        whole, lambda r: booster.predict(xgb.DMatrix(r), output_margin=True), adult.holey
    )


@pytest.fixture(scope="module")
def small() -> xgb.Booster:
    random = np.random.default_rng(0)
    rows_BF = np.column_stack([random.random(400), random.integers(0, 9, 400)])
    labels_B = (rows_BF[:, 0] + (rows_BF[:, 1] % 3) > 1.5).astype(int)
    rows = xgb.DMatrix(rows_BF, labels_B, feature_types=["q", "c"], enable_categorical=True)
    return xgb.train({"objective": "binary:logistic", "max_depth": 2, "nthread": 1}, rows, 3)


def test_columns_without_names_are_numbered(small: xgb.Booster) -> None:
    assert ("f0", "f1") == flatten(small).feature_names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "multi:softprob", "num_class": 3}, "has 3 outputs"),
        ({"booster": "gblinear"}, "is a 'gblinear'"),
        ({"objective": "binary:hinge"}, "objective 'binary:hinge'"),
    ],
)
def test_unsupported_models_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    random = np.random.default_rng(0)
    rows = xgb.DMatrix(random.random((50, 2)), random.integers(0, 2, 50))
    booster = xgb.train({"nthread": 1} | settings, rows, 2)

    with pytest.raises(ConfigError, match=message):
        flatten(booster)


def test_two_targets_are_refused() -> None:
    random = np.random.default_rng(0)
    for strategy in ("one_output_per_tree", "multi_output_tree"):
        rows = xgb.DMatrix(random.random((50, 2)), random.random((50, 2)))
        settings = {"objective": "reg:squarederror", "multi_strategy": strategy, "nthread": 1}
        with pytest.raises(ConfigError, match="has 2 outputs"):
            flatten(xgb.train(settings, rows, 2))


def test_another_number_for_missing_is_refused() -> None:
    model = xgb.XGBClassifier(missing=-1.0, n_estimators=2, n_jobs=1)
    model.fit(np.array([[0.0], [1.0]]), [0, 1])

    with pytest.raises(ConfigError, match=r"missing=-1\.0"):
        flatten(model)


def test_an_estimator_that_is_not_fitted_is_refused() -> None:
    with pytest.raises(ConfigError, match="is not fitted"):
        flatten(xgb.XGBRegressor())


def test_what_is_no_model_of_xgboost_is_refused() -> None:
    with pytest.raises(ConfigError, match="'DMatrix' is no XGBoost model"):
        flatten(xgb.DMatrix(np.zeros((1, 1))))


def spoil(document: Any, path: str, value: Any) -> None:
    *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in keys:
        document = document[key]
    document[last] = value


TREE = "learner/gradient_booster/model/trees/0"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("learner/learner_model_param/num_feature", "3", "names"),
        ("learner/learner_model_param/base_score", "[NAN]", "must be finite"),
        ("learner/learner_model_param/base_score", "x", "ValueError"),
        ("learner/learner_model_param", [], "TypeError"),
        ("learner/gradient_booster/model/gbtree_model_param/num_trees", "9", "another number"),
        (f"{TREE}/left_children/0", 0, "node 0 twice"),
        (f"{TREE}/left_children/0", 99, "node 99"),
        (f"{TREE}/right_children/0", -7, "node -7"),
        (f"{TREE}/split_indices/0", 2, "columns beyond"),
        (f"{TREE}/default_left", [], "unequal length"),
        (f"{TREE}/categories_nodes", [], "ValueError"),
        (f"{TREE}/split_conditions", ["x"], "ValueError"),
        (f"{TREE}/tree_param/size_leaf_vector", "2", "vector leaves"),
    ],
)
def test_a_damaged_document_is_refused(
    small: xgb.Booster, tmp_path: Path, path: str, value: Any, message: str
) -> None:
    document = json.loads(small.save_raw("json"))
    document["learner"]["feature_names"] = ["a", "b"]
    spoil(document, path, value)
    file = tmp_path / "model.json"
    file.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises((DataError, ConfigError), match=message):
        flatten(file)


def test_categories_without_bound_and_infinite_thresholds_are_refused(
    small: xgb.Booster, tmp_path: Path
) -> None:
    document = json.loads(small.save_raw("json"))
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    file = tmp_path / "model.json"
    number = next(n for n, tree in enumerate(trees) if tree["categories"])
    numeric = next(
        n
        for n, tree in enumerate(trees)
        if any(
            kind == 0 and child != -1
            for kind, child in zip(tree["split_type"], tree["left_children"], strict=True)
        )
    )
    for part, key, value, message in (
        (number, "categories", [1 << 24] * len(trees[number]["categories"]), "outside"),
        (numeric, "split_conditions", [-1e40] * len(trees[numeric]["split_type"]), "threshold"),
        (numeric, "split_conditions", [np.nan] * len(trees[numeric]["split_type"]), "threshold"),
    ):
        spoiled = copy.deepcopy(document)
        spoiled["learner"]["gradient_booster"]["model"]["trees"][part][key] = value
        file.write_text(json.dumps(spoiled), encoding="utf-8")
        with pytest.raises(DataError, match=message):
            flatten(file)


def test_a_raw_score_of_an_old_xgboost_is_refused(small: xgb.Booster, tmp_path: Path) -> None:
    document = json.loads(small.save_raw("json"))
    document["learner"]["objective"]["name"] = "binary:logitraw"
    document["version"] = [2, 1, 0]
    file = tmp_path / "model.json"
    file.write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"older than XGBoost 3\.1"):
        flatten(file)
