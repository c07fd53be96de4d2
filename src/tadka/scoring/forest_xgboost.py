"""XGBoost's trees, from a model in memory or its JSON file."""

import ctypes
import json
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.scoring.forest_draft import MISSING_RIGHT, ForestDraft, Split

# What the objective does to a margin. The same function's inverse is applied to base_score.
_LINKS: Final = {
    "binary:logistic": "logistic",
    "reg:logistic": "logistic",
    "count:poisson": "exp",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "survival:cox": "exp",
    "survival:aft": "exp",
}
_IDENTITY: Final = (
    "binary:logitraw",
    "reg:squarederror",
    "reg:squaredlogerror",
    "reg:pseudohubererror",
    "reg:absoluteerror",
    "reg:quantileerror",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
)


def model_json(model: Any) -> tuple[dict[str, Any], bool]:
    """The JSON of a Booster or of a fitted estimator.

    Args:
        model: `xgboost.Booster` or an estimator such as `XGBClassifier`.

    Returns:
        The document, and whether predictions stop at the best iteration, as an estimator's do and
        a Booster's do not.

    Raises:
        ConfigError: The estimator is not fitted, takes another number than NaN for missing, or
            this is no model.
    """
    estimator = hasattr(model, "get_booster")
    booster = model
    if estimator:
        if not model.__sklearn_is_fitted__():
            raise ConfigError(f"The {type(model).__name__} is not fitted. Call fit first.")
        if model.missing is not None and not math.isnan(model.missing):
            raise ConfigError(
                f"The {type(model).__name__} has missing={model.missing!r}. A row says NaN where "
                "a value is missing: train with missing=numpy.nan."
            )
        booster = model.get_booster()
    if not hasattr(booster, "save_raw"):
        raise ConfigError(f"{type(model).__name__!r} is no XGBoost model. Pass its Booster.")
    document: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))
    return document, estimator


def read(document: dict[str, Any], source: str, *, best: bool | None = None) -> ForestDraft:
    """The trees of a model's JSON.

    Args:
        document: What `Booster.save_model` writes to a `.json` file.
        source: Name for messages.
        best: Whether to stop at the best iteration. None: if a scikit-learn estimator has written
            the file, whose predictions do.

    Returns:
        The draft of a forest.

    Raises:
        ConfigError: The model has several outputs, no trees or an unknown objective.
        DataError: The document is damaged.

    Source: XGBoost, `predict_fn.h` (`GetNextNode`) and `categorical.h` (`Decision`).
    """
    try:
        return _read(document, source, best=best)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, (ConfigError, DataError)):
            raise
        raise DataError(
            f"{source!r} is no XGBoost model that can be read ({type(error).__name__}: {error}). "
            "Save it again with a current XGBoost."
        ) from error


def _read(document: dict[str, Any], source: str, *, best: bool | None) -> ForestDraft:
    learner = document["learner"]
    booster = learner["gradient_booster"]
    parameters = learner["learner_model_param"]
    weights: list[float] | None = None
    if booster["name"] == "dart":
        weights, booster = booster["weight_drop"], booster["gbtree"]
    elif booster["name"] != "gbtree":
        raise ConfigError(f"{source!r} is a {booster['name']!r}; gbtree and dart have trees.")
    num_outputs = max(int(parameters["num_class"]), int(parameters.get("num_target", "1")))
    if num_outputs > 1:
        raise ConfigError(
            f"{source!r} has {num_outputs} outputs. Trees are read of models with one: "
            "binary classification, regression, ranking."
        )
    num_features = int(parameters["num_feature"])
    names = learner.get("feature_names") or [f"f{column}" for column in range(num_features)]
    if len(names) != num_features:
        raise DataError(f"{source!r} names {len(names)} columns and has {num_features}.")
    draft = ForestDraft("xgboost", source, names)
    _read_objective(learner["objective"]["name"], parameters["base_score"], document, draft)
    trees = booster["model"]["trees"]
    if len(trees) != int(booster["model"]["gbtree_model_param"]["num_trees"]):
        raise DataError(f"{source!r} has {len(trees)} trees and promises another number.")
    attributes = learner.get("attributes", {})
    best = "scikit_learn" in attributes if best is None else best
    if best and "best_iteration" in attributes:
        trees = trees[: _trees_until(int(attributes["best_iteration"]) + 1, booster["model"])]
    for number, tree in enumerate(trees):
        draft.add_tree(_read_tree(tree, draft, 1.0 if weights is None else weights[number]))
    return draft


def _trees_until(iteration: int, model: dict[str, Any]) -> int:
    if "iteration_indptr" in model:
        return int(model["iteration_indptr"][iteration])
    return iteration * int(model["gbtree_model_param"].get("num_parallel_tree", "1"))


def _read_objective(name: str, base: str, document: dict[str, Any], draft: ForestDraft) -> None:
    if name not in _LINKS and name not in _IDENTITY:
        raise ConfigError(
            f"{draft.source!r} has the objective {name!r}, whose prediction is not known here. "
            f"Accepted: {', '.join([*_LINKS, *_IDENTITY])}."
        )
    if name == "binary:logitraw" and list(document["version"]) < [3, 1]:
        raise ConfigError(f"{draft.source!r} is older than XGBoost 3.1. Load and save it anew.")
    draft.link = _LINKS.get(name, "identity")
    score = np.float32(base.strip("[]"))
    one = np.float32(1)
    if not np.isfinite(score):
        raise DataError(f"{draft.source!r} has base_score {base}; it must be finite.")
    if draft.link == "logistic":
        tiny = np.float32(1e-6)
        score = min(max(score, tiny), one - tiny)
        draft.start = -_log(float(one / score - one))
    elif draft.link == "exp":
        if score <= 0:
            raise DataError(f"{draft.source!r} has base_score {base}; {name!r} needs more than 0.")
        draft.start = _log(float(score))
    else:
        draft.start = float(score)


def _log(value: float) -> float:
    """Logarithm in float32 by the C library, as XGBoost computes it: it may be one unit off."""
    return float(_logf(value))


def _find_logf() -> Callable[[float], float]:
    try:
        logf = ctypes.CDLL(None).logf
    except (AttributeError, OSError, TypeError):  # another platform: correctly rounded instead
        return lambda value: float(np.float32(math.log(value)))
    logf.argtypes, logf.restype = [ctypes.c_float], ctypes.c_float
    return lambda value: float(logf(value))


_logf = _find_logf()


def _read_tree(tree: dict[str, Any], draft: ForestDraft, weight: float) -> list[Split | float]:
    if int(tree["tree_param"].get("size_leaf_vector", "1")) > 1:
        raise ConfigError(f"{draft.source!r} has vector leaves ('multi_output_tree'). Use one.")
    left, right = tree["left_children"], tree["right_children"]
    with np.errstate(over="ignore"):  # an infinity is refused where it is used
        bounds = np.array(tree["split_conditions"], dtype=np.float32)
        below = np.nextafter(bounds, np.float32(-np.inf)).astype(np.float64)  # x < t: x <= below
        values = (bounds * np.float32(weight)).astype(np.float64)
    columns, defaults = tree["split_indices"], tree["default_left"]
    kinds = tree.get("split_type") or [0] * len(left)
    if len({len(part) for part in (left, right, bounds, columns, defaults, kinds)}) != 1:
        raise draft.damaged("has lists of unequal length")
    codes: dict[int, list[int]] = {}
    for node, begin, size in zip(
        tree.get("categories_nodes", []),
        tree.get("categories_segments", []),
        tree.get("categories_sizes", []),
        strict=True,
    ):
        codes[node] = tree["categories"][begin : begin + size]
    nodes: list[Split | float] = []
    for node, child in enumerate(left):
        if child == -1:
            nodes.append(float(values[node]))
            continue
        missing = 0 if defaults[node] else MISSING_RIGHT
        if kinds[node]:
            question = Split(
                columns[node],
                missing=missing,
                left=child,
                right=right[node],
                codes=codes[node],
                listed_left=False,
            )
        else:
            if not below[node] > -math.inf:
                raise draft.damaged(f"has the threshold {bounds[node]}")
            question = Split(columns[node], float(below[node]), missing, child, right[node])
        nodes.append(question)
    return nodes
