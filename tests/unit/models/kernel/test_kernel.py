"""Compiled loops against NumPy's, and both against what they are to compute."""

from typing import Any

import numpy as np
import pytest
import torch

from tadka.models.kernel import backend, reference
from tadka.models.loss.negatives import draw
from tadka.models.loss.pairs import to_csr

LOOPS = ["native", "reference"]


def _loops(name: str) -> Any:
    if name == "reference":
        return reference
    return pytest.importorskip("tadka.models.kernel.native", reason="built without a compiler")


def _tables(dim: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    user, item = (rng.normal(0, 0.5, (n, dim)).astype(np.float32) for n in (7, 9))
    return [user, item, np.zeros(7, np.float32), np.zeros(9, np.float32)]


def _pairs(num: int, negatives: int = 1, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 7, num), rng.integers(0, 9, num), rng.integers(0, 9, (num, negatives))]


@pytest.mark.parametrize("loops", LOOPS)
def test_a_step_of_bpr_is_row_wise_adagrad_on_the_gradient_that_autograd_gives(loops: str) -> None:
    tables = _tables(5)
    before = [torch.tensor(table, dtype=torch.float64, requires_grad=True) for table in tables[:2]]
    u, i, j = before[0][3], before[1][2], before[1][6]
    loss = torch.nn.functional.softplus(-u @ (i - j))
    (loss + 0.05 * (u @ u + i @ i + j @ j)).backward()  # type: ignore[no-untyped-call]
    found = _loops(loops).bpr(
        *tables, np.array([3]), np.array([2]), np.array([[6]]), 0.3, 0.1, 1e-8
    )
    assert found == pytest.approx(float(loss.detach()), rel=1e-6)
    for table, sums, was in zip(tables[:2], tables[2:], before, strict=True):
        assert was.grad is not None
        gradient = was.grad.numpy()
        mean = (gradient**2).mean(axis=1)
        expected = was.detach().numpy() - 0.3 * gradient / (np.sqrt(mean)[:, None] + 1e-8)
        np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(sums, mean, rtol=1e-5)


@pytest.mark.parametrize("dim", [1, 8, 13, 64])
def test_both_loops_of_bpr_give_the_same_bits(dim: int) -> None:
    ours, theirs = _tables(dim), _tables(dim)
    pairs = _pairs(200, negatives=2)
    losses = [
        _loops("native").bpr(*ours, *pairs, 0.1, 0.01, 1e-8),
        _loops("reference").bpr(*theirs, *pairs, 0.1, 0.01, 1e-8),
    ]
    assert losses[0] == losses[1]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("loops", LOOPS)
def test_a_negative_that_is_the_item_itself_changes_nothing(loops: str) -> None:
    tables = _tables(4)
    found = _loops(loops).bpr(
        *tables, np.array([1]), np.array([2]), np.array([[2]]), 0.1, 0.0, 1e-8
    )
    assert found == pytest.approx(np.log(2))
    for table, was in zip(tables, _tables(4), strict=True):
        np.testing.assert_array_equal(table, was)


@pytest.mark.parametrize(
    ("user", "item", "negative"), [(7, 0, 1), (-1, 0, 1), (0, 9, 1), (0, 0, 9)]
)
def test_rows_out_of_range_are_refused_before_memory_is_touched(
    user: int, item: int, negative: int
) -> None:
    pair = np.array([user]), np.array([item]), np.array([[negative]])
    with pytest.raises(IndexError, match="out of range"):
        _loops("native").bpr(*_tables(4), *pair, 0.1, 0.0, 1e-8)


def _machine(dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.3, (12, 1 + dim)).astype(np.float32)
    offsets = np.array([0, 4, 9, 12])
    rows = np.stack([rng.integers(0, size, 50) for size in (4, 5, 3)], axis=1)
    return weight, rows, offsets


@pytest.mark.parametrize("loops", LOOPS)
@pytest.mark.parametrize("dim", [1, 8, 13, 16])
def test_the_machine_is_the_sum_over_pairs_and_its_gradient_that_of_autograd(
    loops: str, dim: int
) -> None:
    weight, rows, offsets = _machine(dim)
    sums, scores = np.empty((50, dim), np.float32), np.empty(50, np.float32)
    _loops(loops).fm(weight, rows, offsets, sums, scores)
    exact = torch.tensor(weight, dtype=torch.float64, requires_grad=True)
    cells = exact[torch.from_numpy(rows + offsets[:3])]
    first, vectors = cells[..., 0].sum(dim=1), cells[..., 1:]
    pairs = [(vectors[:, a] * vectors[:, b]).sum(dim=1) for a, b in ((0, 1), (0, 2), (1, 2))]
    expected = first + torch.stack(pairs).sum(dim=0)
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    by_score = np.random.default_rng(1).normal(size=50).astype(np.float32)
    gradient = np.zeros_like(weight)
    _loops(loops).fm_back(weight, rows, offsets, sums, by_score, gradient)
    (expected * torch.from_numpy(by_score)).sum().backward()  # type: ignore[no-untyped-call]
    assert exact.grad is not None
    np.testing.assert_allclose(gradient, exact.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dim", [1, 8, 13, 16])
def test_both_loops_of_the_machine_give_the_same_bits(dim: int) -> None:
    weight, rows, offsets = _machine(dim)
    found = []
    for loops in (_loops("native"), reference):
        sums, scores = np.empty((50, dim), np.float32), np.empty(50, np.float32)
        gradient = np.zeros_like(weight)
        loops.fm(weight, rows, offsets, sums, scores)
        loops.fm_back(weight, rows, offsets, sums, scores, gradient)
        found.append((sums, scores, gradient))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_feature_out_of_range_is_refused() -> None:
    weight, rows, offsets = _machine(4)
    rows[7, 2] = 3  # 9 + 3 is not among the 12
    room = np.empty((50, 4), np.float32), np.empty(50, np.float32)
    with pytest.raises(IndexError, match="out of range"):
        _loops("native").fm(weight, rows, offsets, *room)


@pytest.mark.parametrize("loops", LOOPS)
def test_keys_are_found_where_they_collide_and_not_where_they_are_too_new(loops: str) -> None:
    log = np.array([0, 50, -3, 7, 1 << 40, 11], np.int64)  # row 0 has no key
    slots = np.zeros(8, np.uint32)
    for row in range(1, 6):
        slot = (int(log[row]) * 0x9E3779B97F4A7C15 % (1 << 64)) >> 61
        while slots[slot]:
            slot = (slot + 1) % 8
        slots[slot] = row
    keys = np.array([11, 50, 99, -3, 7, 1 << 40, 0], np.int64)
    rows = np.empty(len(keys), np.int64)
    _loops(loops).find(keys, slots, log, 5, rows)
    np.testing.assert_array_equal(rows, [0, 1, 0, 2, 3, 4, 0])


@pytest.mark.parametrize("native", ["0", "1"])
def test_the_environment_chooses_the_loops(monkeypatch: pytest.MonkeyPatch, native: str) -> None:
    monkeypatch.setenv("TADKA_NATIVE", native)
    assert backend.kernels() is (reference if native == "0" else _loops("native"))


def test_negatives_are_the_same_items_with_and_without_compiled_loops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 20, 300), rng.integers(0, 30, 300)
    seen = to_csr(np.append(users, np.full(29, 5)), np.append(items, np.arange(1, 30)), 20)

    def drawn() -> np.ndarray:
        return draw(np.random.default_rng(3), 30, users, *seen, 2)

    ours = drawn()
    monkeypatch.setenv("TADKA_NATIVE", "0")
    np.testing.assert_array_equal(ours, drawn())


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_both_loops_number_nodes_in_the_order_in_which_they_come(kind: type[np.integer]) -> None:
    rng = np.random.default_rng(0)
    nodes, at = rng.integers(0, 50, 200).astype(kind), rng.integers(0, 200, 120)
    found = []
    for loops in (_loops("native"), reference):
        table, new = np.zeros(50, np.int32), np.zeros(120, np.int64)
        numbers = np.zeros(120, np.int32)
        table[nodes[at[3]]], count = 1, 1  # one of them has number 0 already
        num_new = loops.number(nodes, at, table, count, new, numbers)
        found.append((num_new, new[:num_new], table, numbers))
    assert found[0][0] == found[1][0] > 20
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_array_equal(one, other)
    _, new, _, numbers = found[0]
    assert numbers[3] == 0
    assert numbers[0] == 1
    all_nodes = np.concatenate([[nodes[at[3]]], new])
    np.testing.assert_array_equal(all_nodes[numbers], nodes[at])


def test_a_node_out_of_range_is_refused() -> None:
    room = np.zeros(3, np.int32), 0, np.zeros(2, np.int64), np.zeros(2, np.int32)
    for nodes, at in (([0, 3], [0, 1]), ([0, 1], [0, 2]), ([-1, 1], [0, 1])):
        with pytest.raises(IndexError, match="out of range"):
            _loops("native").number(np.array(nodes), np.array(at), *room)


def test_both_loops_pick_the_same_edges_and_none_twice() -> None:
    rng = np.random.default_rng(0)
    degree = rng.integers(0, 12, 40)
    start = np.cumsum(degree) - degree
    units = rng.random((5, int((degree > 5).sum())))
    count = np.minimum(degree, 5)
    edges = [np.zeros(count.sum(), np.int64) for _ in range(2)]
    _loops("native").pick(start, degree, units, edges[0])
    reference.pick(start, degree, units, edges[1])
    np.testing.assert_array_equal(edges[0], edges[1])
    assert len(np.unique(edges[0])) == len(edges[0])
    owners = [np.zeros(count.sum(), np.int32) for _ in range(2)]
    _loops("native").owners(7, count, owners[0])
    reference.owners(7, count, owners[1])
    np.testing.assert_array_equal(owners[0], owners[1])
    of = owners[0] - 7
    assert ((edges[0] >= start[of]) & (edges[0] < (start + degree)[of])).all()
    everything = [np.zeros(degree.sum(), np.int64) for _ in range(2)]
    _loops("native").ranges(start, degree, everything[0])
    reference.ranges(start, degree, everything[1])
    np.testing.assert_array_equal(everything[0], np.arange(degree.sum()))
    np.testing.assert_array_equal(everything[0], everything[1])
