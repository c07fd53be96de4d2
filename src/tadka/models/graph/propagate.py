"""Products of a sparse matrix and vectors of nodes in torch, and LightGCN's propagation.

On a CPU the product is `torch.embedding_bag` with the matrix' entries as weights of the samples:
one bag a row. Its kernel (fbgemm's, vectorised, with prefetch) reads 32-bit indices and sums a row
in registers; measured against `torch.sparse.mm` of a COO matrix it is several times
faster (benchmarks/results/models.md, LightGCN).
The sum of a row has one order whatever the number of threads, so results are bit-identical.
On other devices it is the product of a CSR tensor.

Shape letters: N rows of a matrix, M its columns, E entries, D dimensions of vectors.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tadka.core.error import DataError
from tadka.core.extra import require
from tadka.models.graph.csr import Graph
from tadka.models.graph.sampler import Layer

if TYPE_CHECKING:
    from torch import Tensor


Linear = Callable[["Adjacency", Any], Any]


@dataclass(frozen=True, eq=False)
class Adjacency:
    """A sparse matrix of constants, for `spmm`.

    Args:
        indptr: Where entries of each row begin, int32 or int64, shape (N+1,).
        indices: Columns, of the same type, shape (E,).
        values: Entries, floats, shape (E,).
        num_columns: M.
        transposed: Of shape (M, N), without one of its own; None for a symmetric matrix.
    """

    indptr: "Tensor"
    indices: "Tensor"
    values: "Tensor"
    num_columns: int
    transposed: "Adjacency | None" = None

    @classmethod
    def of(cls, graph: Graph, values: npt.NDArray[np.floating[Any]] | None = None) -> "Adjacency":
        """The matrix of a graph, in memory.

        Args:
            graph: The graph.
            values: Entries, shape (E,); None for `graph.normalised()`. For a symmetric graph they
                must be symmetric, too.

        Returns:
            A matrix of shape (N, N) on the CPU, with its transpose if the graph is not symmetric.

        Raises:
            DataError: `values` has another shape.
            MissingExtra: torch is not installed.
        """
        values_E = graph.normalised() if values is None else values
        if values_E.shape != graph.indices.shape:
            raise DataError(
                f"values have shape {values_E.shape}; it must be {graph.indices.shape}, one for "
                "each edge."
            )
        made = _matrix(graph.indptr, graph.indices, values_E, graph.num_nodes, graph.is_small)
        if graph.is_symmetric:
            return made
        return _with_transpose(made, np.repeat(np.arange(graph.num_nodes), graph.degree()))

    @classmethod
    def of_block(cls, block: Layer) -> "Adjacency":
        """The matrix of a sampled block: from vectors of `num_src` nodes to those of `num_dst`.

        Args:
            block: From `Subgraph.block`; edges without weights count 1.

        Returns:
            A matrix of shape (num_dst, num_src) on the CPU, with its transpose.
        """
        values_E = np.ones(len(block.src), np.float32) if block.weight is None else block.weight
        made = _matrix(block.indptr, block.src, values_E, block.num_src, is_small=True)
        return _with_transpose(made, block.dst)

    @classmethod
    def of_csr(
        cls,
        indptr: npt.NDArray[np.integer[Any]],
        indices: npt.NDArray[np.integer[Any]],
        values: npt.NDArray[np.floating[Any]],
        num_columns: int,
        *,
        is_symmetric: bool = False,
    ) -> "Adjacency":
        """A matrix that need not be square, from its compressed sparse rows.

        Args:
            indptr: Where entries of each row begin, shape (N+1,).
            indices: Columns, shape (E,).
            values: Entries, shape (E,).
            num_columns: M.
            is_symmetric: Whether it is its own transpose.

        Returns:
            A matrix of shape (N, M) on the CPU, with its transpose if it is not symmetric.
        """
        is_small = max(len(indices), len(indptr), num_columns) < 2**31
        made = _matrix(indptr, indices, values, num_columns, is_small)
        if is_symmetric:
            return made
        return _with_transpose(made, np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)))

    def transpose(self) -> "Adjacency":
        """The transpose, whose own is the matrix, so that its products have a gradient, too."""
        if self.transposed is None:
            return self
        return replace(self.transposed, transposed=replace(self, transposed=None))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return len(self.indptr) - 1, self.num_columns

    def to(self, *target: Any) -> "Adjacency":
        """The matrix on another device, or its values in another type of floats.

        Args:
            target: A device, or a type such as `torch.float64`.
        """
        torch = require("torch", extra="torch")
        is_type = isinstance(target[0], torch.dtype)
        return replace(
            self,
            indptr=self.indptr if is_type else self.indptr.to(*target),
            indices=self.indices if is_type else self.indices.to(*target),
            values=self.values.to(*target),
            transposed=None if self.transposed is None else self.transposed.to(*target),
        )


def spmm(adjacency: Adjacency, x_MD: "Tensor") -> "Tensor":
    """The product `A @ x`; the gradient of x is `A.T @ g`, for a symmetric matrix `A @ g`.

    Args:
        adjacency: A, of shape (N, M), of x's type and on x's device. It gets no gradient.
        x_MD: Vectors, shape (M, D).

    Returns:
        Shape (N, D).

    Raises:
        DataError: Shapes or types do not fit.
        MissingExtra: torch is not installed.
    """
    return _applied(product, adjacency, x_MD)


def _applied(function: "Linear", adjacency: Adjacency, x_MD: "Tensor") -> "Tensor":
    if x_MD.ndim != 2 or len(x_MD) != adjacency.num_columns:
        raise DataError(
            f"x has shape {tuple(x_MD.shape)}; it must have 2 dimensions, and as many rows as the "
            f"matrix has columns: {adjacency.num_columns}."
        )
    if x_MD.dtype != adjacency.values.dtype:
        raise DataError(
            f"x is of {x_MD.dtype} and the matrix of {adjacency.values.dtype}; call "
            "adjacency.to(x.dtype) first."
        )
    found: Tensor = _function().apply(x_MD, adjacency, function)
    return found


def propagate_mean(adjacency: Adjacency, x_ND: "Tensor", num_layers: int) -> "Tensor":
    """LightGCN's vectors: the mean of x, A x, A^2 x, ... up to `num_layers` products.

    Args:
        adjacency: Square; D^-1/2 A D^-1/2 in the paper.
        x_ND: Vectors, shape (N, D).
        num_layers: Products, at least 0.

    Returns:
        Shape (N, D).

    Source: He et al. 2020 (LightGCN), equations 3, 4 and 8 with alpha_k = 1 / (K + 1).
    """
    return _applied(partial(mean_product, num_layers=num_layers), adjacency, x_ND)


def mean_product(adjacency: Adjacency, x_ND: "Tensor", num_layers: int) -> "Tensor":
    """What `propagate_mean` gives, without a gradient."""
    total_ND, hop_ND = x_ND.detach().clone(), x_ND
    for _ in range(num_layers):
        hop_ND = product(adjacency, hop_ND)
        total_ND += hop_ND  # in place: at this size, new memory costs as much as a product
    total_ND /= num_layers + 1
    return total_ND


def product(adjacency: Adjacency, x_MD: "Tensor") -> "Tensor":
    """`A @ x` without a gradient; `spmm` checks shapes before."""
    torch = require("torch", extra="torch")
    if x_MD.device.type != "cpu":
        with warnings.catch_warnings():  # that CSR is in beta state, once a process
            warnings.simplefilter("ignore", UserWarning)
            matrix = torch.sparse_csr_tensor(
                adjacency.indptr,
                adjacency.indices,
                adjacency.values,
                adjacency.shape,
                check_invariants=False,
            )
            found: Tensor = matrix @ x_MD
            return found
    if not len(adjacency.indices):
        return x_MD.new_zeros(adjacency.shape[0], x_MD.shape[1])
    bags: tuple[Tensor, ...] = torch.embedding_bag(
        x_MD.detach().contiguous(),
        adjacency.indices,
        adjacency.indptr,
        False,  # scale_grad_by_freq
        0,  # mode: sum
        False,  # sparse
        adjacency.values,
        True,  # include_last_offset
    )
    return bags[0]


@cache
def _function() -> Any:
    torch = require("torch", extra="torch")

    class Applied(torch.autograd.Function):  # type: ignore[misc, name-defined]
        """f(A, x), linear in x, whose transpose is f(A.T, g)."""

        @staticmethod
        def forward(x_MD: Any, adjacency: Adjacency, function: Linear) -> Any:
            return function(adjacency, x_MD)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # noqa: ARG004
            _, ctx.adjacency, ctx.function = inputs

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return _applied(ctx.function, ctx.adjacency.transpose(), grads[0]), None, None

    return Applied


def _matrix(
    indptr: npt.NDArray[np.integer[Any]],
    indices: npt.NDArray[np.integer[Any]],
    values: npt.NDArray[np.floating[Any]],
    num_columns: int,
    is_small: bool,
) -> Adjacency:
    torch = require("torch", extra="torch")
    index_type = np.int32 if is_small else np.int64
    return Adjacency(
        torch.from_numpy(np.array(indptr, index_type)),
        torch.from_numpy(np.array(indices, index_type)),
        torch.from_numpy(np.array(values)),
        num_columns,
    )


def _with_transpose(matrix: Adjacency, row_E: npt.NDArray[np.integer[Any]]) -> Adjacency:
    """The same with its transpose, given the row of each entry."""
    column_E, values_E = matrix.indices.numpy(), matrix.values.numpy()
    num_rows, num_columns = matrix.shape
    order_E = np.argsort(column_E, kind="stable")
    indptr = np.zeros(num_columns + 1, np.int64)
    np.cumsum(np.bincount(column_E, minlength=num_columns), out=indptr[1:])
    is_small = column_E.dtype == np.int32
    transposed = _matrix(indptr, row_E[order_E], values_E[order_E], num_rows, is_small)
    return replace(matrix, transposed=transposed)
