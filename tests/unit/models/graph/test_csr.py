"""Graphs in CSR: their parts, normalisation, symmetry, two kinds of nodes."""

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from tadka.core.error import DataError, NotFound
from tadka.models.graph.build import graph_of
from tadka.models.graph.csr import Graph, bipartite
from tadka.models.graph.sampler import sample

# 0 - 1, 0 - 2, 3 alone
SMALL = graph_of([0, 0], [2, 1], 4, symmetric=True)


def matrix_of(graph: Graph, values: Any = None) -> Any:
    if values is None:
        values = np.ones(graph.num_edges) if graph.weight is None else graph.weight
    shape = (graph.num_nodes, graph.num_nodes)
    return scipy.sparse.csr_matrix((values, graph.indices, graph.indptr), shape)


def random_graph(seed: int, **options: Any) -> Graph:
    rng = np.random.default_rng(seed)
    num_nodes, num_edges = int(rng.integers(1, 12)), int(rng.integers(0, 40))
    src, dst = rng.integers(0, num_nodes, (2, num_edges))
    if options.pop("weighted", False):
        options["weight"] = rng.random(num_edges) + 0.5
    return graph_of(src, dst, num_nodes, **options)


def test_parts_of_a_small_graph() -> None:
    assert [0, 2, 3, 4, 4] == SMALL.indptr.tolist()
    assert [1, 2, 0, 0] == SMALL.indices.tolist()
    assert np.int32 == SMALL.indices.dtype
    assert (4, 4) == (SMALL.num_nodes, SMALL.num_edges)
    assert [2, 1, 1, 0] == SMALL.degree().tolist()
    assert [0, 2] == SMALL.degree([3, 0]).tolist()
    assert [1, 2] == SMALL.neighbours(0).tolist()
    assert [] == SMALL.neighbours(3).tolist()
    assert 5 * 8 + 4 * 4 == SMALL.num_bytes
    assert "Graph(num_nodes=4, num_edges=4)" == repr(SMALL)


@pytest.mark.parametrize("row", [-1, 4])
def test_neighbours_of_no_node(row: int) -> None:
    with pytest.raises(NotFound, match=f"no node {row}; the graph has 4"):
        SMALL.neighbours(row)


def test_normalised_by_hand() -> None:
    expected = np.array([1 / np.sqrt(2)] * 4, np.float32)
    np.testing.assert_allclose(SMALL.normalised(), expected)


@given(st.integers(0, 2**32), st.booleans(), st.booleans())
@settings(deadline=None)
def test_normalised_equals_scipy(seed: int, symmetric: bool, weighted: bool) -> None:
    graph = random_graph(seed, symmetric=symmetric, weighted=weighted)
    matrix = matrix_of(graph)
    roots = [np.asarray(matrix.sum(axis)).ravel() for axis in (1, 0)]
    scale = [np.divide(1, np.sqrt(d), out=np.zeros(len(d)), where=d > 0) for d in roots]
    expected = scipy.sparse.diags(scale[0]) @ matrix @ scipy.sparse.diags(scale[1])

    found = matrix_of(graph, graph.normalised())

    np.testing.assert_allclose(expected.toarray(), found.toarray(), rtol=1e-5)


def test_normalised_walks_blocks_that_cut_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(7, symmetric=True, weighted=True)
    whole = graph.normalised()
    monkeypatch.setattr("tadka.models.graph.csr._BLOCK", 3)

    np.testing.assert_array_equal(whole, graph.normalised())


def test_a_negative_weight_is_not_normalised() -> None:
    with pytest.raises(DataError, match="negative weight"):
        graph_of([0], [1], weight=[-1.0]).normalised()


@given(st.integers(0, 2**32), st.booleans())
@settings(deadline=None)
def test_symmetry_is_found_out(seed: int, weighted: bool) -> None:
    graph = random_graph(seed, weighted=weighted, unique=True)
    matrix = matrix_of(graph).toarray()
    arrays = graph.indptr, graph.indices, graph.weight

    assert np.array_equal(matrix, matrix.T) == Graph(*arrays).is_symmetric

    both = random_graph(seed, unique=True, symmetric=True)
    assert both.is_symmetric
    assert Graph(both.indptr, both.indices).is_symmetric


def test_pickles_by_its_arrays() -> None:
    copy = pickle.loads(pickle.dumps(random_graph(3, weighted=True)))

    assert matrix_of(random_graph(3, weighted=True)).toarray().tolist() == (
        matrix_of(copy).toarray().tolist()
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([0, 1], np.zeros(1, np.int32)), "indptr has shape .* int64"),
        ((np.array([0, 1]), np.zeros(1, np.int16)), "indices has shape"),
        ((np.array([0, 2]), np.zeros(1, np.int32)), "runs from 0 to 2; with 1 indices"),
        ((np.array([1, 1]), np.zeros(1, np.int32)), "runs from 1 to 1"),
        ((np.array([0, 1]), np.zeros(1, np.int32), np.zeros(2, np.float32)), "weight has shape"),
    ],
)
def test_arrays_that_do_not_fit(arrays: Any, message: str) -> None:
    arrays = (np.asarray(arrays[0], np.int32 if isinstance(arrays[0], list) else None), *arrays[1:])
    with pytest.raises(DataError, match=message):
        Graph(*arrays)


def test_bipartite_puts_items_behind_users() -> None:
    src, dst, num_nodes = bipartite([0, 2, 2], [1, 0, 1], 3, 2)
    dense = matrix_of(graph_of(src, dst, num_nodes, symmetric=True)).toarray()

    assert 5 == num_nodes
    pairs = np.array([[0, 1], [0, 0], [1, 1]])
    assert pairs.tolist() == dense[:3, 3:].tolist()
    assert pairs.T.tolist() == dense[3:, :3].tolist()
    assert 0 == dense[:3, :3].sum() + dense[3:, 3:].sum()


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([3], [0], "user row 3; it must be from 0 to 2"),
        ([0], [-1], "item row -1; it must be from 0 to 1"),
        ([0, 1], [0], r"shape \(2,\) and item_rows \(1,\)"),
    ],
)
def test_bipartite_refuses_rows_out_of_range(
    users: list[int], items: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        bipartite(users, items, 3, 2)


@pytest.mark.parametrize("rows", [[-1], [2], [0.5], [True], [[0]]])
def test_degrees_of_what_is_no_row_are_refused(rows: Any) -> None:
    graph = Graph(np.array([0, 1, 1]), np.array([1], np.int32))

    assert [0, 1] == graph.degree([1, 0]).tolist()
    assert [] == graph.degree([]).tolist()
    with pytest.raises(DataError, match=r"not a node|must be whole numbers"):
        graph.degree(rows)
    with pytest.raises(DataError, match=r"not a node|must be whole numbers"):
        sample(graph, rows, [None])
