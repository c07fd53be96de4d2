"""Sparse products in torch against scipy, their gradients against dense ones."""

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from tadka.core.error import DataError
from tadka.models.graph.build import graph_of
from tadka.models.graph.csr import Graph
from tadka.models.graph.propagate import Adjacency, product, propagate_mean, spmm
from tadka.models.graph.sampler import sample

torch: Any = pytest.importorskip("torch")


def random_graph(*, symmetric: bool) -> Graph:
    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, 12, (2, 30))
    return graph_of(src, dst, 15, symmetric=symmetric)


def vectors(num_rows: int, dtype: Any = None) -> Any:
    return torch.from_numpy(np.random.default_rng(1).random((num_rows, 5))).to(dtype)


def dense_of(graph: Graph) -> Any:
    values = graph.normalised()
    return scipy.sparse.csr_matrix((values, graph.indices, graph.indptr), (15, 15)).toarray()


@pytest.mark.parametrize("symmetric", [True, False])
def test_product_and_gradient_equal_the_dense_ones(symmetric: bool) -> None:
    graph = random_graph(symmetric=symmetric)
    dense, matrix = dense_of(graph), Adjacency.of(graph)
    x, g = vectors(15, torch.float32).requires_grad_(), vectors(15, torch.float32)

    found = spmm(matrix, x)
    torch.autograd.backward(found, g)

    assert (symmetric, (15, 15)) == (matrix.transposed is None, matrix.shape)
    assert torch.int32 == matrix.indices.dtype
    np.testing.assert_allclose(dense @ x.detach().numpy(), found.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(dense.T @ g.numpy(), x.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("symmetric", [True, False])
def test_gradcheck(symmetric: bool) -> None:
    matrix = Adjacency.of(random_graph(symmetric=symmetric)).to(torch.float64)
    x = vectors(15, torch.float64).requires_grad_()

    assert torch.autograd.gradcheck(lambda x: spmm(matrix, x), x)
    assert torch.autograd.gradgradcheck(lambda x: spmm(matrix, x), x)
    assert torch.autograd.gradcheck(lambda x: propagate_mean(matrix, x, 2), x)
    hops = [x, spmm(matrix, x), spmm(matrix, spmm(matrix, x))]
    torch.testing.assert_close(sum(hops) / 3, propagate_mean(matrix, x, 2))


def test_a_block_and_its_gradient() -> None:
    graph = random_graph(symmetric=True)
    found = sample(graph, [1, 5, 7], [2, 2], np.random.default_rng(0), matrix="symmetric")
    block = found.block(0)
    matrix = Adjacency.of_block(block)
    dense = torch.zeros(matrix.shape)
    dense.index_put_(
        (torch.from_numpy(block.dst).long(), torch.from_numpy(block.src).long()),
        torch.from_numpy(block.weight),
        accumulate=True,
    )
    x = vectors(block.num_src, torch.float32).requires_grad_()

    out = spmm(matrix, x)
    torch.autograd.backward(out.sum())

    torch.testing.assert_close(dense @ x, out)
    torch.testing.assert_close(dense.T @ torch.ones(block.num_dst, 5), x.grad)


def test_edges_of_a_block_without_weights_count_one() -> None:
    star = graph_of([0, 0, 0], [1, 2, 3])
    block = sample(star, [0], [None]).block(0)

    assert [[6.0]] == spmm(
        Adjacency.of_block(block), torch.tensor([[9.0], [1.0], [2.0], [3.0]])
    ).tolist()


def test_the_mean_of_hops_by_hand() -> None:
    # two nodes and one edge: A swaps them, so x, Ax, A^2 x = x
    matrix = Adjacency.of(graph_of([0], [1], symmetric=True))
    x = torch.tensor([[3.0], [0.0]])

    assert [[3.0], [0.0]] == propagate_mean(matrix, x, 0).tolist()
    assert [[1.5], [1.5]] == propagate_mean(matrix, x, 1).tolist()
    assert [[2.0], [1.0]] == propagate_mean(matrix, x, 2).tolist()


def test_other_devices_multiply_a_csr_tensor() -> None:
    matrix = Adjacency.of(random_graph(symmetric=True))
    x = vectors(15, torch.float32)

    class Elsewhere:  # no device of another kind is at hand
        device = torch.device("meta")

        def __rmatmul__(self, left: Any) -> Any:
            return left @ x

    elsewhere: Any = Elsewhere()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(product(matrix, x), product(matrix, elsewhere))


def test_a_matrix_without_entries() -> None:
    matrix = Adjacency.of(graph_of([], [], 3, symmetric=True))
    x = vectors(3, torch.float32).requires_grad_()

    torch.autograd.backward(spmm(matrix, x).sum())

    assert 0.0 == float(spmm(matrix, x).detach().sum() + x.grad.sum())


def test_what_does_not_fit_is_refused() -> None:
    matrix = Adjacency.of(random_graph(symmetric=True))
    with pytest.raises(DataError, match=r"x has shape \(14, 5\); .* columns: 15"):
        spmm(matrix, vectors(14, torch.float32))
    with pytest.raises(DataError, match=r"torch.float64 .* adjacency.to\(x.dtype\)"):
        spmm(matrix, vectors(15, torch.float64))
    with pytest.raises(DataError, match=r"values have shape \(3,\)"):
        Adjacency.of(random_graph(symmetric=True), np.ones(3))
