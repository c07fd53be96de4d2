"""Sampled subgraphs against sets of neighbours, breadth-first search and full products."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import ConfigError, DataError
from tadka.models.graph import numbering
from tadka.models.graph import sampler as module
from tadka.models.graph.build import graph_of
from tadka.models.graph.csr import Graph
from tadka.models.graph.sampler import Layer, Subgraph, sample


def random_graph(seed: int, num_nodes: int = 30, num_edges: int = 120) -> Graph:
    rng = np.random.default_rng(seed)
    src, dst = (num_nodes * rng.random((2, num_edges)) ** 2).astype(int)
    return graph_of(src, dst, num_nodes, symmetric=True, unique=True)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def pairs(subgraph: Subgraph, layer: Layer) -> Counter[tuple[int, int]]:
    nodes = subgraph.nodes
    return Counter(zip(nodes[layer.dst].tolist(), nodes[layer.src].tolist(), strict=True))


def test_a_path_by_hand() -> None:
    path = graph_of([0, 1, 2], [1, 2, 3], 5, symmetric=True)

    found = sample(path, [1, 4, 1], [None, None])

    assert [0, 1, 0] == found.seeds.tolist()
    assert [1, 4, 0, 2, 3] == found.nodes.tolist()
    first, second = found.layers
    assert ([2, 3], [0, 0]) == (first.src.tolist(), first.dst.tolist())
    assert (4, 2) == (first.num_src, first.num_dst)
    assert ([0, 0, 4], [2, 3, 3]) == (second.src.tolist(), second.dst.tolist())
    assert (5, 4) == (second.num_src, second.num_dst)
    assert [0, 2, 2] == first.indptr.tolist()
    whole = found.block(0)
    assert ([2, 3, 0, 0, 4], [0, 0, 2, 3, 3]) == (whole.src.tolist(), whole.dst.tolist())
    assert [0, 2, 2, 3, 5] == whole.indptr.tolist()
    assert first is found.block(1)


@given(st.integers(0, 2**32), st.integers(1, 4))
@settings(deadline=None)
def test_all_neighbours_are_those_of_a_breadth_first_search(seed: int, num_hops: int) -> None:
    graph = random_graph(seed)
    seeds = rng_of(seed).integers(0, 30, 5)

    found = sample(graph, seeds, [None] * num_hops)

    reached, frontier = set(), set(seeds.tolist())
    for layer in found.layers:
        expected = Counter((row, end) for row in frontier for end in graph.neighbours(row).tolist())
        assert expected == pairs(found, layer)
        reached |= frontier
        assert reached == set(found.nodes[: layer.num_dst].tolist())
        frontier = {end for _, end in expected} - reached
        assert len(reached | frontier) == layer.num_src
    assert seeds.tolist() == found.nodes[found.seeds].tolist()
    assert len(set(found.nodes.tolist())) == len(found.nodes)


@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
@settings(deadline=None)
def test_drawn_edges_are_edges(seed: int, fanout: int, replace: bool) -> None:
    graph = random_graph(seed)

    found = sample(graph, range(10), [fanout, fanout], rng_of(seed), replace=replace)

    for layer in found.layers:
        assert sorted(layer.dst.tolist()) == layer.dst.tolist()
        drawn = Counter(found.nodes[layer.dst].tolist())
        new = found.nodes[
            0 if layer is found.layers[0] else found.layers[0].num_dst : layer.num_dst
        ]
        for row in new.tolist():
            degree = len(graph.neighbours(row))
            expected = fanout * (degree > 0) if replace else min(fanout, degree)
            assert expected == drawn[row]
        for (row, end), times in pairs(found, layer).items():
            assert end in graph.neighbours(row)
            assert replace or times == 1


@pytest.mark.parametrize("replace", [False, True])
def test_each_neighbour_is_drawn_equally_often(replace: bool) -> None:
    star = graph_of(np.zeros(6, int), np.arange(1, 7), 7)
    rng = rng_of(0)
    counts: Counter[int] = Counter()
    for _ in range(3000):
        found = sample(star, [0], [4], rng, replace=replace)
        counts.update(found.nodes[found.layers[0].src].tolist())

    expected = 3000 * 4 / 6
    assert set(range(1, 7)) == set(counts)
    # 2000 each, standard deviation at most 41; the draws have a fixed seed
    assert max(abs(count - expected) for count in counts.values()) < 160


def test_draws_depend_on_the_generator_alone() -> None:
    graph = random_graph(1)
    first = sample(graph, range(8), [3, 2], rng_of(5), matrix="symmetric")
    sample(graph, range(20), [3], rng_of(6))  # leaves nothing behind
    again = sample(graph, range(8), [3, 2], rng_of(5), matrix="symmetric")
    other = sample(graph, range(8), [3, 2], rng_of(6), matrix="symmetric")

    assert arrays_of(first) == arrays_of(again)
    assert arrays_of(first) != arrays_of(other)


def arrays_of(subgraph: Subgraph) -> list[Any]:
    layers = [
        (
            layer.src.tolist(),
            layer.dst.tolist(),
            layer.num_src,
            layer.num_dst,
            None if layer.weight is None else layer.weight.tolist(),
        )
        for layer in subgraph.layers
    ]
    return [subgraph.seeds.tolist(), subgraph.nodes.tolist(), layers]


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_both_ways_of_numbering_agree(seed: int) -> None:
    graph = random_graph(seed)
    found = []
    for most in (0, 1 << 28):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(numbering, "_MOST_TABLE_NODES", most)
            found.append(sample(graph, [7, 3, 7, 1], [2, 3, None], rng_of(seed)))

    assert arrays_of(found[0]) == arrays_of(found[1])


@pytest.mark.parametrize("kind", ["symmetric", "array", "mean"])
def test_blocks_of_all_neighbours_give_the_product_of_the_whole_graph(kind: str) -> None:
    graph = random_graph(2)
    values = graph.normalised()
    if kind == "mean":
        values = np.repeat(1 / np.maximum(graph.degree(), 1), graph.degree()).astype(np.float32)
    whole = scipy.sparse.csr_matrix((values, graph.indices, graph.indptr), (30, 30))
    x = rng_of(0).random((30, 3))
    matrix: Any = values if kind == "array" else kind

    found = sample(graph, [4, 9], [None, None, None], matrix=matrix)

    hidden = x[found.nodes]
    for index in range(3):
        block = found.block(index)
        shape = (block.num_dst, block.num_src)
        hidden = scipy.sparse.csr_matrix((block.weight, block.src, block.indptr), shape) @ hidden
    np.testing.assert_allclose((whole @ whole @ whole @ x)[[4, 9]], hidden[found.seeds], rtol=1e-5)


@pytest.mark.parametrize("replace", [False, True])
def test_sums_over_draws_have_the_expectation_of_the_product(replace: bool) -> None:
    star = graph_of(np.zeros(5, int), np.arange(1, 6), 6, symmetric=True)
    x = np.array([0.0, 1, 2, 3, 4, 5])
    exact = float((star.normalised()[:5] * x[1:]).sum())
    rng = rng_of(0)
    sums = []
    for _ in range(2000):
        found = sample(star, [0], [2], rng, matrix="symmetric", replace=replace)
        layer = found.layers[0]
        assert layer.weight is not None
        sums.append(float((layer.weight * x[found.nodes[layer.src]]).sum()))

    assert abs(np.mean(sums) - exact) < 4 * np.std(sums) / 2000**0.5
    assert np.std(sums) > 0


def test_nodes_without_edges_and_no_seeds() -> None:
    graph = graph_of([0], [1], 4)

    alone = sample(graph, [3, 1], [2, None], rng_of(0), matrix="mean")
    nobody = sample(graph, [], [2, None], rng_of(0))

    assert [3, 1] == alone.nodes.tolist()
    assert [0, 0] == [len(layer.src) for layer in alone.layers]
    assert [0, 0, 0] == alone.layers[0].indptr.tolist()
    assert 0 == len(nobody.nodes)
    assert 2 == len(nobody.layers)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([0], [0]), {}, ConfigError, "Fanout 0 must be a whole number"),
        (([0], [2]), {"rng": None}, ConfigError, "sample needs rng"),
        (([30], [2]), {}, DataError, "Row 30 is not a node; they are from 0 to 29"),
        (([-1], [2]), {}, DataError, "Row -1"),
        (([[0]], [2]), {}, DataError, r"Rows of nodes have shape \(1, 1\)"),
        (([0], [2]), {"matrix": "sum"}, ConfigError, "matrix is 'sum'; it must be"),
        (([0], [2]), {"matrix": np.ones(3)}, ConfigError, r"matrix has shape \(3,\)"),
    ],
)
def test_bad_arguments(
    arguments: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sample(random_graph(0), *arguments, **({"rng": rng_of(0)} | options))


def test_weights_of_the_graph_are_given_as_a_matrix() -> None:
    graph = graph_of([0, 0], [1, 2], weight=[2.0, 4.0])
    with pytest.raises(ConfigError, match=r"give matrix=graph.normalised\(\)"):
        sample(graph, [0], [None], matrix="symmetric")

    found = sample(graph, [0], [None], matrix=graph.weight)

    assert found.layers[0].weight is not None
    assert [2.0, 4.0] == found.layers[0].weight.tolist()


def test_an_error_leaves_no_numbers_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(4)
    expected = arrays_of(sample(graph, [1, 2], [None]))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_drawn", lambda *_, **__: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            sample(graph, [5, 1, 3], [None])

    assert expected == arrays_of(sample(graph, [1, 2], [None]))
