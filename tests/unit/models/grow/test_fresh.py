"""Vectors of values that no training has seen."""

from pathlib import Path

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models.grow.fresh import fold_in
from tests.models import fit as fit_tiny
from tests.unit.models.vectors import fit, pairs


def test_new_values_get_the_mean_of_their_neighbours(tmp_path: Path) -> None:
    trained = fit(tmp_path, pairs()).load()
    vectors, rows = trained.vectors(), trained.model.state.rows

    users, found = fold_in(
        trained, "user", [900, 100, 900, 901, 900], ["i1", "i2", "i3", "none", "none"]
    )

    assert [900, 100, 901] == users.tolist()
    mean = vectors["item"][rows("item", ["i1", "i3"])].mean(axis=0)
    assert mean.tolist() == pytest.approx(found[0].tolist(), abs=1e-6)
    assert vectors["user"][rows("user", [100])[0]].tolist() == found[1].tolist()
    assert vectors["user"][0].tolist() == found[2].tolist()
    items, found = fold_in(trained, "item", ["i99", "i1"], [100, 101])
    assert ["i99", "i1"] == items.to_pylist()
    assert vectors["user"][rows("user", [100])[0]].tolist() == found[0].tolist()


def test_a_new_user_is_offered_what_others_like_it_take(tmp_path: Path) -> None:
    trained = fit(tmp_path, pairs(), epochs=12).load()

    _, user = fold_in(trained, "user", [900, 900], ["i8", "i9"])

    items = trained.vectors()["item"]
    score = items @ user[0]
    names = trained.model.state.vocabulary("item").values().to_pylist()
    best = {names[row - 1] for row in np.argsort(-score[1:])[:8] + 1}
    assert {f"i{number}" for number in range(8, 16)} == best


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    trained = fit(tmp_path / "bpr", pairs(), epochs=1).load()
    tiny = fit_tiny(tmp_path / "tiny", {"name": "tiny", "epochs": 1}).load()

    with pytest.raises(ConfigError, match="must be 'user' or 'item'"):
        fold_in(trained, "shop", [1], ["i1"])
    with pytest.raises(DataError, match="2 values and 1 neighbours"):
        fold_in(trained, "user", [1, 2], ["i1"])
    with pytest.raises(ConfigError, match="no vectors of 'user' and 'item'"):
        fold_in(tiny, "user", [1], [5])
