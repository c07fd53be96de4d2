"""How good a model is on a part of the data, by the metrics that its task goes by.

Shapes: B rows of a part, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tadka.core.error import ConfigError
from tadka.models.define.model import Model, Prepared
from tadka.models.loss.pairs import to_csr
from tadka.models.measure.classes import accuracy, macro_f1
from tadka.models.measure.full import full_ranking
from tadka.models.measure.rating import mae, rmse
from tadka.models.train.trained import Learnt, Predictor, finish, prepare
from tadka.scoring.metric import auc, calibration_ratio, log_loss

TOP_KS = (10, 20)
# Pairs that a ranking leaves out: what the user is known to have taken before.
_BEFORE = {"train": (), "valid": ("train",), "test": ("train", "valid")}


def metrics_of(trained: Learnt, data: Prepared, part: str) -> dict[str, float]:
    """Metrics of a trained model.

    Args:
        trained: Model and what it has learnt.
        data: Train (whose pairs are left out of rankings) and the part.
        part: `train`, `valid` or `test`.

    Returns:
        For `binary`: `auc`, `log_loss`, `calibration`; for `rating`: `rmse`, `mae`; for `class`:
        `accuracy`, `macro_f1`; for `ranking` those of `full_ranking`.

    Raises:
        ConfigError: A model for ranking has no vectors, or another one no label.
        DataError: The part has no rows, or the model gave what cannot be judged.
    """
    if trained.model.task == "ranking":
        return _ranking(trained, data, part)
    label = trained.model.label_column
    if label is None:
        raise ConfigError(
            f"Model {trained.model.name!r} has task={trained.model.task!r} and no column with "
            "role='label' to be judged by. Name one among its inputs, or set task='ranking'."
        )
    found: dict[str, list[Any]] = {}
    for outputs in outputs_of(trained, data, part, keep=(label,)):
        for name, values in outputs.items():
            found.setdefault(name, []).append(np.asarray(values))
    outputs = {name: np.concatenate(values) for name, values in found.items()}
    label_B, score_B = outputs[label], outputs["score"]
    if trained.model.task == "binary":
        chance_B = outputs["probability"]
        return {
            "auc": auc(label_B, score_B),
            "log_loss": log_loss(label_B, chance_B),
            "calibration": calibration_ratio(label_B, chance_B),
        }
    if trained.model.task == "rating":
        return {"rmse": rmse(label_B, score_B), "mae": mae(label_B, score_B)}
    class_B = score_B.argmax(axis=1)
    return {"accuracy": accuracy(label_B, class_B), "macro_f1": macro_f1(label_B, class_B)}


def outputs_of(
    trained: Learnt, data: Prepared, part: str, keep: Sequence[str] = (), batch_rows: int = 8192
) -> Iterator[Mapping[str, Any]]:
    """Outputs for a part, batch by batch, in its order.

    Args:
        trained: Model and what it has learnt.
        data: That has the part.
        part: Its name.
        keep: Columns that go along.
        batch_rows: Rows at a time.
    """
    predict = Predictor(trained)
    columns = [column.name for column in trained.model.inputs]
    for rows in data.scan(part, columns, batch_rows):
        yield finish(trained.model, predict(prepare(trained.model, tuple(keep), rows)))


def _ranking(trained: Learnt, data: Prepared, part: str) -> dict[str, float]:
    model, state = trained.model, trained.model.state
    user, item = model.user_column, model.item_column
    vectors = model.vectors(trained.learnt)
    names = [state.vocabularies.get(name, name) for name in (user, item)]
    if any(name not in vectors for name in names):
        raise ConfigError(
            f"Model {model.name!r} ranks, and its vectors() has {', '.join(vectors) or 'nothing'}; "
            f"it must have {' and '.join(names)}."
        )
    nothing = np.empty(0, np.int64), np.empty(0, np.int64)
    seen = [nothing]  # as rows of the vocabularies
    for name in _BEFORE[part]:
        if data.num_rows(name):
            users, items = _pairs(model, data, name)
            seen.append((state.rows(user, users), state.rows(item, items)))
    seen_users, seen_items = (np.concatenate(columns) for columns in zip(*seen, strict=True))
    train = to_csr(seen_users, seen_items, state.size(user))
    tested_users, tested_items = _pairs(model, data, part)
    # Users that were not seen have one row together, and are tested each on their own.
    keys, place = np.unique(tested_users, return_inverse=True)
    test = to_csr(place, state.rows(item, tested_items), len(keys))
    return full_ranking(
        vectors[names[0]],
        vectors[names[1]],
        train,
        test,
        TOP_KS,
        users=state.rows(user, keys),
    )


def _pairs(model: Model, data: Prepared, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of a part: of its positive rows, where rows have labels."""
    columns, label = [model.user_column, model.item_column], model.label_column
    rows = data.read(part, [*columns, *([label] if label else [])])
    pairs = [np.asarray(rows[name]) for name in columns]
    if label:
        is_positive = np.asarray(rows[label]) > 0
        pairs = [column[is_positive] for column in pairs]
    return pairs[0], pairs[1]
