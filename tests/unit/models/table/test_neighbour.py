"""First vectors of new rows."""

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.models.table import neighbour
from tadka.models.table.neighbour import neighbour_mean

OLD = np.array([[9.0, 9.0], [1.0, 0.0], [3.0, 4.0], [0.0, 8.0]])


def test_a_new_row_is_the_mean_of_its_neighbours() -> None:
    pairs = ([7, 5, 7, 5, 2, 7], [1, 2, 3, 2, 1, 3])

    found = neighbour_mean(OLD, pairs, [7, 5])

    assert [[1 / 3, 16 / 3], [3.0, 4.0]] == [pytest.approx(row) for row in found.tolist()]
    assert np.float32 == found.dtype


def test_unseen_and_new_neighbours_do_not_count() -> None:
    found = neighbour_mean(OLD, ([5, 5, 5], [0, 1, 4]), [5])

    assert [[1.0, 0.0]] == found.tolist()


def test_rows_without_a_neighbour_are_drawn_small_and_alike_for_a_seed() -> None:
    first, again, other = (
        neighbour_mean(OLD, ([8], [0]), np.arange(5, 1005), seed=seed) for seed in (1, 1, 2)
    )

    assert first.tolist() == again.tolist()
    assert not np.allclose(first, other)
    assert 0.009 < first.std() < 0.011
    assert (0, 2) == neighbour_mean(OLD, ([5], [1]), []).shape


def test_many_pairs_are_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "_PAIRS_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    own, other = rng.integers(10, 16, 200), rng.integers(1, 4, 200)

    found = neighbour_mean(OLD, (own, other), [15, 10, 12])

    expected = [OLD[other[own == row]].mean(axis=0).tolist() for row in (15, 10, 12)]
    assert expected == [pytest.approx(row, abs=1e-5) for row in found.tolist()]


def test_pairs_need_two_sides() -> None:
    with pytest.raises(DataError, match="2 new rows and 1 neighbours"):
        neighbour_mean(OLD, ([5, 6], [1]), [5])
