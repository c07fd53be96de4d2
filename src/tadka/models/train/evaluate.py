"""How good a model is on a part of the data, by the metrics that its task goes by.

Shapes: B rows of a part, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tadka.core.error import ConfigError, DataError
from tadka.models.define.model import Model, Prepared
from tadka.models.loss.pairs import to_csr
from tadka.models.measure.classes import accuracy, macro_f1
from tadka.models.measure.full import full_ranking
from tadka.models.measure.rating import mae, rmse
from tadka.models.measure.sampled import read_negatives, sampled_ranking
from tadka.models.train.trained import Learnt, Predictor, finish, prepare
from tadka.scoring.metric import auc, calibration_ratio, log_loss

TOP_KS = (10, 20)
# Pairs that a ranking leaves out: what the user is known to have taken before.
BEFORE = {"train": (), "valid": ("train",), "test": ("train", "valid")}


def metrics_of(trained: Learnt, data: Prepared, part: str, negatives: str = "") -> dict[str, float]:
    """Metrics of a trained model.

    Args:
        trained: Model and what it has learnt.
        data: Train (whose pairs are left out of rankings) and the part.
        part: `train`, `valid` or `test`.
        negatives: File of the part's negatives, of `draw_negatives`; empty for none.

    Returns:
        For `binary`: `auc`, `log_loss`, `calibration`; for `rating`: `rmse`, `mae`; for `class`:
        `accuracy`, `macro_f1`; for `ranking` those of `full_ranking`, and with
        negatives the `sampled_...` of `sampled_ranking`.

    Raises:
        ConfigError: A model for ranking has no vectors, or another one no label, or it does not
            rank and there are negatives.
        NotFound: There is no such file of negatives.
        DataError: The part has no rows, or the model gave what cannot be judged.
    """
    check_negatives(trained.model, negatives)
    if trained.model.task == "ranking":
        return _ranking(trained, data, part, negatives)
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


def check_negatives(model: Model, negatives: str) -> None:
    """Refuses a file that the model could not be judged by, before it is trained.

    Args:
        model: Any.
        negatives: The file; empty for none.

    Raises:
        ConfigError: The model does not rank.
        NotFound: There is no such file.
        DataError: It is no file of negatives.
    """
    if negatives and model.task != "ranking":
        raise ConfigError(
            f"Model {model.name!r} has task={model.task!r}, and negatives are for models that "
            "rank. Leave data.negatives out."
        )
    if negatives:
        read_negatives(negatives)


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


def _ranking(trained: Learnt, data: Prepared, part: str, negatives: str) -> dict[str, float]:
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
    for name in BEFORE[part]:
        if data.num_rows(name):
            users, items = positives(model, data, name)
            seen.append((state.rows(user, users), state.rows(item, items)))
    seen_users, seen_items = (np.concatenate(columns) for columns in zip(*seen, strict=True))
    train = to_csr(seen_users, seen_items, state.size(user))
    tested_users, tested_items = positives(model, data, part)
    # Users that were not seen have one row together, and are tested each on their own.
    keys, place = np.unique(tested_users, return_inverse=True)
    test = to_csr(place, state.rows(item, tested_items), len(keys))
    user_vectors, item_vectors = (vectors[name] for name in names)
    rows_Q = state.rows(user, keys)
    found = full_ranking(user_vectors, item_vectors, train, test, TOP_KS, users=rows_Q)
    if negatives:
        sampled = sampled_ranking(
            negatives,
            user_vectors,
            item_vectors,
            test,
            TOP_KS,
            train=train,
            users=rows_Q,
            user_rows=partial(_tested, negatives, keys),
            item_rows=partial(state.rows, item),
        )
        found |= {
            name: value
            for name, value in sampled.items()
            if "sampled_" in name or name == "num_negatives"
        }
    return found


def _tested(negatives: str, keys: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Where users of a file stand among those that are tested; -1 for others."""
    if (users.dtype.kind in "iu") != (keys.dtype.kind in "iu"):
        raise DataError(
            f"Users of {negatives!r} are {users.dtype}, those of the data {keys.dtype}; draw them "
            "anew: tadka model negatives."
        )
    return places(keys, users)


def places(known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Where ids stand among the known ones; -1 for others.

    Args:
        known: At least one, sorted, each once.
        ids: Of the same type, shape (N,).
    """
    place_N = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[place_N] == ids, place_N, -1)


def positives(model: Model, data: Prepared, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of a part: of its positive rows, where rows have labels.

    Args:
        model: Whose columns they are.
        data: That has the part.
        part: Its name.
    """
    columns, label = [model.user_column, model.item_column], model.label_column
    rows = data.read(part, [*columns, *([label] if label else [])])
    pairs = [np.asarray(rows[name]) for name in columns]
    if label:
        is_positive = np.asarray(rows[label]) > 0
        pairs = [column[is_positive] for column in pairs]
    return pairs[0], pairs[1]
