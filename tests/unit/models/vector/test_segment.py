"""Dense vectors against sparse histories."""

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from tadka.core.error import ConfigError, DataError
from tadka.models.loss.pairs import to_csr
from tadka.models.net.recipe import Recipe
from tadka.models.net.segment import Bag, Given
from tadka.models.vector.segment import _folds, segment_check

NUM_USERS, NUM_ITEMS, DIM = 120, 12, 4
QUICK = Recipe(hidden=16, max_epochs=30, lr=0.02)


def users(num_classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and users and items of histories that tell them."""
    rng = np.random.default_rng(0)
    label = np.arange(NUM_USERS) % num_classes
    user = np.repeat(np.arange(NUM_USERS), 6)
    own = NUM_ITEMS // num_classes
    is_own = rng.random(len(user)) < 0.8
    item = np.where(
        is_own,
        label[user] * own + rng.integers(0, own, len(user)),
        rng.integers(0, NUM_ITEMS, len(user)),
    )
    return label, user, item


def test_vectors_that_say_as_much_are_found_as_good() -> None:
    label, user, item = users()
    rng = np.random.default_rng(1)
    told = np.eye(2)[label] @ rng.normal(size=(2, DIM)) + 0.1 * rng.normal(size=(NUM_USERS, DIM))
    noise = rng.normal(size=(NUM_USERS, DIM))
    histories = to_csr(user, item, NUM_USERS)

    good, bad = (
        segment_check(vectors, label, histories, folds=3, recipe=QUICK) for vectors in (told, noise)
    )

    assert 0.99 < good.dense.auc
    assert 0.9 < good.sparse.auc
    assert good.is_ok
    assert bad.dense.auc < 0.75
    assert not bad.is_ok
    assert bad.dense.auc / bad.sparse.auc == bad.ratio
    assert good.sparse.by_fold == bad.sparse.by_fold  # a seed decides all of it
    assert float(np.std(bad.dense.by_fold, ddof=1)) == pytest.approx(bad.dense.spread)
    layers = DIM * 16 + 16 + 16 * 2 + 2
    assert (layers, layers + NUM_ITEMS * DIM) == (
        good.dense.num_parameters,
        good.sparse.num_parameters,
    )
    assert 0.983 < json.loads(json.dumps(good.to_dict()))["ratio"] * good.sparse.auc <= 1
    shown = io.StringIO()
    Console(file=shown, width=120).print(good)
    assert f"{layers + NUM_ITEMS * DIM:,}" in shown.getvalue()
    assert "dense over sparse" in str(good)


def test_more_classes_are_each_told_from_the_rest_and_some_users_have_none() -> None:
    label, user, item = users(3)
    label = label.copy()
    label[:9] = -1

    found = segment_check(
        np.eye(3)[label] + 0.1,
        label,
        to_csr(user, item, NUM_USERS),
        folds=2,
        dim=6,
        recipe=Recipe(hidden=8, max_epochs=25, lr=0.03),
    )

    assert 1.0 == pytest.approx(found.dense.auc)
    assert NUM_USERS - 9 == found.num_users
    assert [pytest.approx(1 / 3)] * 3 == list(found.shares)
    assert NUM_ITEMS * 6 + 6 * 8 - 3 * 8 == (
        found.sparse.num_parameters - found.dense.num_parameters
    )


def test_users_are_judged_once_and_never_learnt_from_then() -> None:
    label = np.array([0] * 30 + [1] * 12 + [-1] * 5)

    folds = list(_folds(label, 3, seed=4))

    judged = np.concatenate([test for _, _, test in folds])
    assert list(range(42)) == sorted(judged.tolist())
    for train, valid, test in folds:
        assert list(range(42)) == sorted([*train, *valid, *test])
        assert 4 == int((label[test] == 1).sum())
        assert {0, 1} == set(label[valid].tolist())


def test_a_bag_is_the_sum_of_its_items_over_the_root_of_their_number() -> None:
    bag = Bag(to_csr([0, 0, 2], [1, 3, 1], 3), 4, 2)
    weight = bag.items.weight.detach()

    found = bag(np.array([2, 1, 0])).detach()

    both = weight[[1, 3]].sum(0) / 2**0.5
    assert torch.allclose(torch.stack([weight[1], torch.zeros(2), both]), found)


def test_vectors_are_scaled_by_those_that_are_learnt_from() -> None:
    given = Given(np.array([[1.0, 5.0], [3.0, 5.0], [11.0, 9.0]]), np.array([0, 1]))

    root = 2**0.5  # deviations 1 and 0 of the first two
    expected = [pytest.approx([-root, 0.0]), pytest.approx([9 * root, 4 * root])]
    assert expected == given(np.array([0, 2])).tolist()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"folds": 1}, ConfigError, "folds is 1"),
        ({"labels": np.zeros(NUM_USERS, int)}, DataError, "Classes have 120, 0 users"),
        ({"labels": np.zeros(3, int)}, DataError, "3 labels and 120 histories"),
        ({"vectors": np.full((NUM_USERS, 2), np.nan)}, DataError, "not finite"),
    ],
    ids=["folds", "classes", "labels", "vectors"],
)
def test_what_does_not_fit_is_told(
    changes: dict[str, object], error: type[Exception], words: str
) -> None:
    label, user, item = users()
    values = {"vectors": np.ones((NUM_USERS, 2)), "labels": label, "folds": 2, **changes}
    with pytest.raises(error, match=words):
        segment_check(histories=to_csr(user, item, NUM_USERS), **values)  # type: ignore[arg-type]
