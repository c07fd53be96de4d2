"""How far vectors moved."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from tadka.core.error import ConfigError, DataError
from tadka.models import State, Trained
from tadka.models.grow.drift import cosines, drift
from tests.models import fit as fit_tiny
from tests.unit.models.vectors import NUM_ITEMS, NUM_USERS, fit, pairs


class Fixed:
    """A model whose vectors are given."""

    name = "fixed"

    def __init__(self, folder: Path, keys: Any, vectors: Any) -> None:
        self.state = State.create(folder, {"user": "user"})
        self.state.vocabulary("user").add(keys)
        self._vectors = np.array(vectors, np.float32)

    def vectors(self, learnt: object) -> dict[str, np.ndarray]:
        return {"user": self._vectors}

    def load(self, folder: Path) -> str:
        return str(folder)


def trained(folder: Path, keys: Any, vectors: Any) -> Trained:
    return Trained(folder, Fixed(folder, keys, vectors), {"run": folder.name})  # type: ignore[arg-type]


def test_values_are_compared_each_with_itself(tmp_path: Path) -> None:
    before = trained(tmp_path / "one", ["a", "b", "c"], [[5, 5], [1, 0], [0, 2], [3, 4]])
    after = trained(
        tmp_path / "two", ["a", "b", "c", "d"], [[0, 9], [1, 0], [2, 0], [3, 3], [7, 7]]
    )

    found = drift(before, after, num_moved=2)

    (user,) = found.vocabularies
    expected = [1.0, 0.0, 21 / (5 * 18**0.5)]
    assert (3, 1, 0) == (user.num_old, user.num_new, user.num_gone)
    assert sum(expected) / 3 == pytest.approx(user.mean)
    assert 1 / 3 == pytest.approx(user.share_below)
    assert float(np.quantile(expected, 0.25)) == pytest.approx(user.quantiles[0.25])
    assert (1 + 2 + 18**0.5) / (1 + 2 + 5) == pytest.approx(user.length_ratio)
    assert ["b", "c"] == [moved.key for moved in user.moved]
    assert found.is_continued
    assert "user: 3 old and 1 new values, cosine mean 0.663, 33.3% below 0.95" in str(found)


def test_models_trained_apart_are_compared_by_key_and_told_apart(tmp_path: Path) -> None:
    before = trained(tmp_path / "one", [7, 8, 9], [[0, 0], [1, 0], [0, 1], [1, 1]])
    after = trained(tmp_path / "two", [9, 8], [[0, 0], [1, 1], [0, -1]])

    found = drift(before, after)

    assert not found.is_continued
    assert 1 == found.vocabularies[0].num_gone
    assert [(8, -1.0), (9, pytest.approx(1.0))] == [
        (moved.key, moved.cosine) for moved in found.vocabularies[0].moved
    ]
    shown = io.StringIO()
    Console(file=shown, width=200).print(found)
    assert "Not trained from one another" in shown.getvalue()
    assert "8 (-1.00)" in shown.getvalue()
    assert [8, 9] == [
        one["key"] for one in json.loads(json.dumps(found.to_dict()))["vocabularies"][0]["moved"]
    ]


def test_nothing_in_common_has_no_numbers(tmp_path: Path) -> None:
    before = trained(tmp_path / "one", ["a"], [[0, 0], [1, 0]])
    after = trained(tmp_path / "two", ["b"], [[0, 0], [1, 0]])

    told = drift(before, after).to_dict()["vocabularies"][0]
    assert (None, None, 1, 1) == (
        told["mean"],
        told["share_below"],
        told["num_new"],
        told["num_gone"],
    )


def test_vectors_of_length_zero_are_alike_and_unlike_all_others() -> None:
    zero, some = np.zeros((1, 2)), np.ones((1, 2))
    row = np.zeros(1, np.int64)

    assert [1.0] == cosines(zero, zero, (row, row)).tolist()
    assert [0.0] == cosines(zero, some, (row, row)).tolist()


def test_a_run_that_goes_on_moves_little_where_it_learns_little(tmp_path: Path) -> None:
    first = fit(tmp_path / "first", pairs())
    more = pa.concat_tables([pairs(40, seed=1), pairs(8, first_user=500)])
    still = fit(tmp_path / "still", more, first.folder, lr=0.0, epochs=1)
    moved = fit(tmp_path / "moved", more, first.folder, lr=0.2, epochs=8)

    quiet, wild = (drift(first.load(), run.load()) for run in (still, moved))

    assert [("user", NUM_USERS), ("item", NUM_ITEMS)] == [
        (one.vocabulary, one.num_old) for one in quiet.vocabularies
    ]
    assert quiet.is_continued
    assert 0 < quiet.vocabularies[0].num_new <= 8
    assert [1.0, 1.0] == [pytest.approx(one.mean) for one in quiet.vocabularies]
    assert wild.vocabularies[0].mean < 0.99
    assert first.run == quiet.before


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    one = trained(tmp_path / "one", ["a"], [[0, 0], [1, 0]])
    wide = trained(tmp_path / "wide", ["a"], [[0, 0, 0], [1, 0, 0]])
    tiny = fit_tiny(tmp_path / "tiny", {"name": "tiny", "epochs": 1}).load()

    with pytest.raises(DataError, match="2 dimensions before and 3 after"):
        drift(one, wide)
    with pytest.raises(ConfigError, match="no vectors in common: user and none"):
        drift(one, tiny)
    with pytest.raises(ConfigError, match="threshold is 2"):
        drift(one, one, threshold=2)
