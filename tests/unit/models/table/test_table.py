from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError, NotFound
from tadka.models.table.mapped import MappedTable
from tadka.models.table.table import MemoryTable, Table, summed

Make = Callable[..., Table]


@pytest.fixture(params=["memory", "mapped"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    def memory(num_rows: int, dim: int, segment_rows: int = 3, **settings: Any) -> Table:
        return MemoryTable(num_rows, dim, **settings)

    def mapped(num_rows: int, dim: int, segment_rows: int = 3, **settings: Any) -> Table:
        folder = tmp_path / "table"
        return MappedTable.create(folder, num_rows, dim, segment_rows=segment_rows, **settings)

    return memory if request.param == "memory" else mapped


def ones(rows: np.ndarray) -> np.ndarray:
    return np.ones((len(rows), 2), np.float32)


def test_a_step_equals_the_formula_by_hand(make: Make) -> None:
    table = make(8, 2, init=ones)
    # Row 5 comes twice: its gradients are summed to (3, 4), whose mean square is 12.5.
    table.push([5, 1, 5], [[1.0, 4.0], [2.0, 0.0], [2.0, 0.0]], 0.1)
    rates = 0.1 / np.sqrt([12.5, 2.0])
    expected = [[1 - 3 * rates[0], 1 - 4 * rates[0]], [1 - 2 * rates[1], 1], [1, 1]]
    assert np.allclose(expected, table.pull([5, 1, 0]), atol=1e-7)
    table.push([5], [[1.0, 1.0]], 0.1)  # the sum is 13.5 now
    again = np.array(expected[0]) - 0.1 / np.sqrt(13.5)
    assert np.allclose(again, table.pull([5])[0], atol=1e-7)


def test_rows_are_pulled_in_any_order_and_copied(make: Make) -> None:
    table = make(8, 2, init=lambda rows: np.stack([rows, -rows], axis=1).astype(np.float32))
    pulled = table.pull([7, 0, 3, 7, 2])
    assert [[7, -7], [0, 0], [3, -3], [7, -7], [2, -2]] == pulled.tolist()
    assert np.float32 == pulled.dtype
    pulled[:] = 99
    assert [[7, -7]] == table.pull([7]).tolist()
    assert (0, 2) == table.pull(np.empty(0, np.int64)).shape
    table.push(np.empty(0, np.int64), np.empty((0, 2)), 0.1)


def test_first_vectors_do_not_depend_on_how_the_table_grew(make: Make) -> None:
    table = make(2, 2, segment_rows=1000, seed=3, scale=0.5)
    for num_rows in (2, 3, 7, 9000):
        table.grow(num_rows)
    expected = MemoryTable(9000, 2, seed=3, scale=0.5).pull(np.arange(9000))
    assert np.array_equal(expected, table.pull(np.arange(9000)))
    assert abs(expected.std() - 0.5) < 0.01
    assert not np.array_equal(expected[:4000], expected[4096:8096])


def test_growth_keeps_what_was_learned_and_begins_new_rows_as_told(make: Make) -> None:
    table = make(4, 2, init=ones)
    table.push([1, 3], [[1.0, 1.0], [2.0, 2.0]], 0.1)
    before = table.pull([0, 1, 2, 3])
    seen: list[int] = []

    def mean_of_neighbours(rows: np.ndarray) -> np.ndarray:
        seen.extend(rows.tolist())
        return np.tile(before[[1, 3]].mean(axis=0), (len(rows), 1))

    table.grow(8, mean_of_neighbours)
    assert [4, 5, 6, 7] == seen
    assert np.array_equal(before, table.pull([0, 1, 2, 3]))
    assert np.allclose(before[[1, 3]].mean(axis=0), table.pull([4, 7]))
    table.push([3, 7], [[1.0, 1.0], [1.0, 1.0]], 0.1)  # sums: 5 for the old row, 1 for the new
    moved = [before[3] - 0.1 / np.sqrt(5), before[[1, 3]].mean(axis=0) - 0.1]
    assert np.allclose(moved, table.pull([3, 7]))


def test_truncated_rows_begin_anew(make: Make) -> None:
    table = make(8, 2, init=ones)
    table.push([4, 7], [[1.0, 1.0], [1.0, 1.0]], 0.1)
    table.truncate(5)
    kept = table.pull([4])
    table.grow(8, ones)
    assert [[1, 1]] == table.pull([7]).tolist()
    assert np.array_equal(kept, table.pull([4]))
    table.push([7], [[1.0, 1.0]], 0.1)
    assert np.allclose(0.9, table.pull([7]))


@pytest.mark.parametrize("opened", [MemoryTable, MappedTable])
def test_either_table_opens_what_either_saved(opened: Any, make: Make, tmp_path: Path) -> None:
    table = make(8, 2, seed=9)
    table.push([1, 5], [[1.0, 2.0], [3.0, 4.0]], 0.1)
    for _ in range(2):  # the second one takes the place of the first
        table.save(tmp_path / "saved")
        again = opened.open(tmp_path / "saved")
        assert np.array_equal(table.pull(np.arange(8)), again.pull(np.arange(8)))
        for one in (table, again):
            one.push([1, 7], [[1.0, 2.0], [3.0, 4.0]], 0.1)
            one.grow(11)
        assert np.array_equal(table.pull(np.arange(11)), again.pull(np.arange(11)))
        if isinstance(again, MappedTable):
            again.close()
        table.truncate(8)


def test_repeated_rows_are_summed_in_every_order() -> None:
    rng = np.random.default_rng(0)
    rows, gradients = rng.integers(0, 50, 400), rng.normal(size=(400, 3)).astype(np.float32)
    expected = np.zeros((50, 3))
    np.add.at(expected, rows, gradients)
    for order in (np.arange(400), np.argsort(rows, kind="stable")):
        unique, sums = summed(rows[order], gradients[order])
        assert np.array_equal(np.unique(rows), unique)
        assert np.allclose(expected[unique], sums, atol=1e-5)


def test_wrong_arguments_are_named(make: Make, tmp_path: Path) -> None:
    table = make(4, 2)
    for rows in ([0, 4], [-1, 0]):
        with pytest.raises(DataError, match=rf"Row {rows[rows[0] == 0]} is not in a table of 4"):
            table.pull(rows)
    with pytest.raises(DataError, match="must be one-dimensional integers"):
        table.pull([0.5])
    with pytest.raises(DataError, match=r"shape \(1, 3\).*\(1, 2\)"):
        table.push([0], [[1.0, 2.0, 3.0]], 0.1)
    with pytest.raises(ConfigError, match="cannot grow to 3"):
        table.grow(3)
    with pytest.raises(ConfigError, match="cannot be cut to 5"):
        table.truncate(5)
    with pytest.raises(DataError, match=r"have shape \(1, 3\)"):
        table.grow(5, lambda rows: np.ones((len(rows), 3), np.float32))
    with pytest.raises(DataError, match="new row 4 is not finite"):
        table.grow(5, lambda rows: np.full((len(rows), 2), np.nan, np.float32))
    with pytest.raises(NotFound, match="no table"):
        type(table).open(tmp_path / "nowhere")  # type: ignore[attr-defined]
