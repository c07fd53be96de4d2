"""LightGBM's trees, from a model in memory or its text file."""

import math
from itertools import pairwise
from typing import Any, Final

from tadka.core.error import ConfigError, DataError
from tadka.scoring.forest_draft import MISSING_RIGHT, ZERO, ZERO_IS_MISSING, ForestDraft, Split

_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of decision_type; the next two are the kind of missing
_MISSING_ZERO, _MISSING_NAN = 1, 2

# What the objective does to a margin before it becomes a prediction.
_LINKS: Final = {
    "binary": "logistic",
    "cross_entropy": "logistic",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}
_IDENTITY: Final = (
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "quantile",
    "mape",
    "lambdarank",
    "rank_xendcg",
    "custom",
)


def model_text(model: Any) -> str:
    """The text of a Booster or of a fitted estimator, up to its best iteration.

    Args:
        model: `lightgbm.Booster` or an estimator such as `LGBMClassifier`.

    Returns:
        What `save_model` would write.

    Raises:
        ConfigError: The estimator is not fitted, or this is no model.
    """
    if hasattr(model, "__sklearn_is_fitted__") and not model.__sklearn_is_fitted__():
        raise ConfigError(f"The {type(model).__name__} is not fitted. Call fit first.")
    booster = getattr(model, "booster_", model)
    if not hasattr(booster, "model_to_string"):
        raise ConfigError(f"{type(model).__name__!r} is no LightGBM model. Pass its Booster.")
    return str(booster.model_to_string())


def read(text: str, source: str) -> ForestDraft:
    """The trees of a model text.

    Thresholds are changed so that `x <= t` holds for the same x as in LightGBM, which takes a
    number of at most 1e-35 in size for 0.

    Args:
        text: What `Booster.save_model` writes.
        source: Name for messages.

    Returns:
        The draft of a forest.

    Raises:
        ConfigError: The model has several outputs, linear leaves or an unknown objective.
        DataError: The text is damaged.

    Source: LightGBM, `Tree::NumericalDecision`, `Tree::CategoricalDecision` and `GBDT::PredictRaw`.
    """
    body, end, _ = text.partition("\nend of trees")
    blocks = body.split("\nTree=")
    head = _fields(blocks[0])
    if not end or "tree_sizes" not in head or len(head["tree_sizes"].split()) != len(blocks) - 1:
        raise DataError(f"{source!r} ends early or is no LightGBM model. Save it again.")
    num_outputs = _integer(head, "num_tree_per_iteration", source)
    if num_outputs != 1:
        raise ConfigError(
            f"{source!r} has {num_outputs} outputs. Trees are read of models with one: "
            "binary classification, regression, ranking."
        )
    names = head.get("feature_names", "").split()
    num_features = _integer(head, "max_feature_idx", source) + 1
    if len(names) != num_features:
        raise DataError(f"{source!r} names {len(names)} columns and has {num_features}.")
    draft = ForestDraft("lightgbm", source, names)
    _read_objective(head.get("objective", "custom").split(), draft)
    for block in blocks[1:]:
        draft.add_tree(_read_tree(_fields(block), draft))
    if "average_output" in head:
        draft.divisor = float(max(draft.num_trees, 1))
    return draft


def _fields(block: str) -> dict[str, str]:
    """Lines `key=value`; a line without value is a flag."""
    pairs = (line.partition("=") for line in block.splitlines())
    return {key: value for key, _, value in pairs if key}


def _integer(head: dict[str, str], key: str, source: str) -> int:
    try:
        return int(head[key])
    except (KeyError, ValueError) as error:
        raise DataError(f"{source!r} has no number {key!r}. Save it again.") from error


def _read_objective(words: list[str], draft: ForestDraft) -> None:
    name, options = (words[0], words[1:]) if words else ("custom", [])
    if name not in _LINKS and name not in _IDENTITY:
        raise ConfigError(
            f"{draft.source!r} has the objective {name!r}, whose prediction is not known here. "
            f"Accepted: {', '.join([*_LINKS, *_IDENTITY])}."
        )
    if "sqrt" in options:
        raise ConfigError(f"{draft.source!r} has 'reg_sqrt', which is not supported.")
    draft.link = _LINKS.get(name, "identity")
    for option in options:
        key, _, value = option.partition(":")
        if key == "sigmoid" and name == "binary":
            # LightGBM's probability is 1 / (1 + exp(-sigmoid * raw)); a margin is the log-odds.
            draft.scale = float(value)


def _read_tree(fields: dict[str, str], draft: ForestDraft) -> list[Split | float]:
    try:
        if fields.get("is_linear", "0") != "0":
            raise ConfigError(
                f"{draft.source!r} has linear trees ('linear_tree'), which are not supported. "
                "Train without them."
            )
        leaves = [float(value) for value in fields["leaf_value"].split()]
        if fields["num_leaves"] == "1":
            return [leaves[0]]
        num_splits = len(leaves) - 1
        columns = [fields[key].split() for key in _COLUMNS]
        if int(fields["num_leaves"]) != len(leaves) or {len(c) for c in columns} != {num_splits}:
            raise draft.damaged("has lists of unequal length")
        sets = _read_sets(fields)
        nodes: list[Split | float] = [
            _read_split(
                int(feature),
                float(threshold),
                int(decision),
                [child if child >= 0 else num_splits - 1 - child for child in map(int, children)],
                sets,
            )
            for feature, threshold, decision, *children in zip(*columns, strict=True)
        ]
        return nodes + leaves
    except (KeyError, ValueError, IndexError) as error:
        if isinstance(error, (ConfigError, DataError)):
            raise
        raise draft.damaged(f"cannot be read ({type(error).__name__}: {error})") from error


_COLUMNS: Final = ("split_feature", "threshold", "decision_type", "left_child", "right_child")


def _read_sets(fields: dict[str, str]) -> list[list[int]]:
    """The categories that each categorical split of a tree sends left."""
    if int(fields.get("num_cat", "0")) == 0:
        return []
    starts = [int(value) for value in fields["cat_boundaries"].split()]
    words = [int(value) for value in fields["cat_threshold"].split()]
    return [
        [
            32 * number + bit
            for number, word in enumerate(words[begin:end])
            for bit in range(32)
            if word >> bit & 1
        ]
        for begin, end in pairwise(starts)
    ]


def _read_split(
    feature: int, threshold: float, decision: int, children: list[int], sets: list[list[int]]
) -> Split:
    left, right = children
    if decision & _CATEGORICAL:
        codes = sets[int(threshold)]
        return Split(feature, 0.0, MISSING_RIGHT, left, right, codes=codes)
    kind = decision >> 2 & 3
    default = 0 if decision & _DEFAULT_LEFT else MISSING_RIGHT
    if kind == _MISSING_ZERO:
        missing = ZERO_IS_MISSING | default
    elif kind == _MISSING_NAN:
        missing = default
    else:  # NaN is 0
        missing = 0 if threshold >= 0 else MISSING_RIGHT
    if 0 <= threshold < ZERO:
        threshold = ZERO
    elif -ZERO <= threshold < 0:
        threshold = math.nextafter(-ZERO, -math.inf)
    return Split(feature, threshold, missing, left, right)
