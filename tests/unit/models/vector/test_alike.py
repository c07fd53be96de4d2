"""Look-alikes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError, NotFound
from tadka.models import State, Trained
from tadka.models.vector import alike
from tadka.models.vector.alike import neighbours
from tadka.models.vector.export import export_vectors

Make = Callable[..., Trained]


class Fixed:
    """A model whose vectors are given."""

    name, user_column, item_column = "fixed", "user", "item"

    def __init__(self, folder: Path, **given: tuple[Any, Any]) -> None:
        self.state = State.create(folder, {name: name for name in given})
        for name, (keys, _) in given.items():
            self.state.vocabulary(name).add(keys)
        self._vectors = {
            name: np.concatenate([np.zeros((1, len(vectors[0]))), vectors]).astype(np.float32)
            for name, (_, vectors) in given.items()
        }

    def vectors(self, learnt: object) -> dict[str, np.ndarray]:
        return self._vectors

    def load(self, folder: Path) -> str:
        return str(folder)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(**given: tuple[Any, Any]) -> Trained:
        return Trained(tmp_path / "run", Fixed(tmp_path / "run", **given), {})  # type: ignore[arg-type]

    return made


ITEMS = (["a", "b", "c", "d"], [[1.0, 0.0], [4.0, 4.0], [0.5, 0.1], [-1.0, 0.0]])


def told(found: list[Any]) -> list[list[tuple[Any, float]]]:
    return [[(one.key, round(one.score, 3)) for one in near] for near in found]


@pytest.mark.parametrize("is_exported", [False, True])
def test_the_nearest_come_first_and_the_key_itself_is_left_out(
    make: Make, tmp_path: Path, is_exported: bool
) -> None:
    source: Any = make(item=ITEMS)
    if is_exported:
        source = export_vectors(source, tmp_path / "out", part_rows=3).folder

    assert [
        [("c", 0.981), ("b", 0.707), ("d", -1.0)],
        [("c", 0.832), ("a", 0.707)],
    ] == [told(neighbours(source, ["a"], 9))[0], told(neighbours(source, ["b"], 2))[0]]
    assert [[("b", 4.0), ("c", 0.5)]] == told(neighbours(source, ["a"], 2, metric="product"))


def test_of_equal_ones_the_first_in_the_vocabulary_wins_in_blocks_too(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alike, "_BLOCK_ROWS", 3)
    keys = list(range(10, 30))
    vectors = [[1.0, float(place % 2)] for place in range(20)]

    (found,) = neighbours(make(item=(keys, vectors)), [10], 4)

    assert [12, 14, 16, 18] == [one.key for one in found]


def test_blocks_find_what_all_at_once_find(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 5))
    trained = make(user=(np.arange(200), vectors))
    whole = neighbours(trained, [3, 7], 12)

    monkeypatch.setattr(alike, "_BLOCK_ROWS", 16)
    blocks = neighbours(trained, ["3", "7"], 12)

    assert told(whole) == told(blocks)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = [row for row in np.argsort(-(unit @ unit[3])) if row != 3][:12]
    assert expected == [one.key for one in whole[0]]


def test_several_keys_together_are_one_query(make: Make) -> None:
    vectors = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]]

    found = neighbours(make(item=(list("abcd"), vectors)), ["a", "b"], 5, together=True)

    assert [["c", "d"]] == [[one.key for one in near] for near in found]


def test_an_index_finds_nearly_what_is_nearest(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    trained = make(item=(np.arange(1500) + 10, rng.normal(size=(1500, 12))))
    out = export_vectors(trained, tmp_path / "out", index=True, part_rows=400).folder
    asked = list(range(10, 60))

    exact = neighbours(trained, asked, 10)
    near = neighbours(out, asked, 10)

    assert told(exact) == told(neighbours(out, asked, 10, exact=True))
    shared = [
        len({one.key for one in a} & {one.key for one in b}) / 10
        for a, b in zip(exact, near, strict=True)
    ]
    assert 0.95 < float(np.mean(shared))
    scores = {one.key: one.score for one in exact[0]}
    found = {one.key: one.score for one in near[0] if one.key in scores}
    assert {key: scores[key] for key in found} == pytest.approx(found, abs=1e-5)
    together = neighbours(out, asked[:3], 5, together=True)
    assert not {one.key for one in together[0]} & set(asked[:3])
    # another metric than the index's is looked up exactly
    assert told(neighbours(trained, [10], metric="product")) == told(
        neighbours(out, [10], metric="product")
    )


def test_a_lost_index_is_told(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    out = export_vectors(make(item=ITEMS), tmp_path / "out", index=True).folder
    (out / "item" / "index.faiss").write_bytes(b"nothing")
    with pytest.raises(Exception, match="damaged"):
        neighbours(out, ["a"])
    (out / "item" / "index.faiss").unlink()
    with pytest.raises(NotFound, match="no index"):
        neighbours(out, ["a"])


def test_the_items_are_meant_unless_said(make: Make) -> None:
    trained = make(user=([1, 2], [[1.0], [2.0]]), item=(["a", "b"], [[1.0], [2.0]]))

    assert [["b"]] == [[one.key for one in near] for near in neighbours(trained, ["a"])]
    assert [[2]] == [
        [one.key for one in near] for near in neighbours(trained, [1], vocabulary="user")
    ]


def test_what_is_unknown_is_told(make: Make, tmp_path: Path) -> None:
    trained = make(user=([1, 2], [[1.0], [2.0]]), shop=(["a", "b"], [[1.0], [2.0]]))

    with pytest.raises(ConfigError, match="not clear whose vectors; there are those of user, shop"):
        neighbours(trained, [1])
    with pytest.raises(ConfigError, match="no vectors of 'item'"):
        neighbours(trained, [1], vocabulary="item")
    with pytest.raises(NotFound, match="no vectors of 5, 6"):
        neighbours(trained, [1, 5, 6], vocabulary="user")
    with pytest.raises(NotFound, match="has whole numbers"):
        neighbours(trained, ["x"], vocabulary="user")
    with pytest.raises(NotFound, match="has texts"):
        neighbours(trained, [1.5], vocabulary="shop")
    with pytest.raises(ConfigError, match="0 keys, k=10"):
        neighbours(trained, [])
    with pytest.raises(ConfigError, match="k=0"):
        neighbours(trained, [1], 0)
    with pytest.raises(NotFound, match="holds no trained model"):
        neighbours(tmp_path, [1])
