"""Embeddings of torch that know the vocabulary of their rows, so that they can grow with it.

Letters of shapes: B rows of a batch, F fields, D dimensions of a vector.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from tadka.core.error import ConfigError
from tadka.models.table.table import Table


class RowEmbedding(nn.Embedding):
    """One vector for each row of a vocabulary.

    Args:
        num_rows: Rows of the vocabulary, row 0 included.
        dim: D.
        vocabulary: Its name.
        scale: Standard deviation of the first vectors.
        sparse: Whether gradients are sparse; see `torch.nn.Embedding`.
    """

    def __init__(
        self, num_rows: int, dim: int, vocabulary: str, *, scale: float, sparse: bool = False
    ) -> None:
        super().__init__(num_rows, dim, sparse=sparse)
        self.vocabulary = vocabulary
        nn.init.normal_(self.weight, std=scale)


class FieldEmbedding(nn.Module):
    """Vectors of several vocabularies in one matrix: one look-up for all fields of a row.

    Args:
        num_rows: Rows of each vocabulary.
        dim: D.
        vocabulary: Their names.
        scale: Standard deviation of the first vectors.
        sparse: Whether gradients are sparse; see `torch.nn.Embedding`.
    """

    offsets: torch.Tensor

    def __init__(
        self,
        num_rows: Sequence[int],
        dim: int,
        vocabulary: Sequence[str],
        *,
        scale: float,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        if len(num_rows) != len(vocabulary):
            raise ConfigError(
                f"{len(num_rows)} sizes and {len(vocabulary)} vocabularies are given; each "
                "vocabulary has one size."
            )
        self.vocabulary = tuple(vocabulary)
        self.sparse = sparse
        self.register_buffer("offsets", torch.tensor([0, *np.cumsum(num_rows).tolist()]))
        self.weight = nn.Parameter(torch.empty(sum(num_rows), dim))
        nn.init.normal_(self.weight, std=scale)

    def forward(self, rows_BF: torch.Tensor) -> torch.Tensor:
        """Vectors of the rows, shape (B, F, D)."""
        return nn.functional.embedding(rows_BF + self.offsets[:-1], self.weight, sparse=self.sparse)


class SparseEmbedding(nn.Module):
    """Vectors of a `Table` that is no parameter: pulled by `forward`, pushed to by `backward`.

    Only the rows of the batch are ever in the net. In training mode and with gradients on, each
    `forward` is followed by one step of the table when its gradient is there; an optimizer has
    nothing to do with it, and `lr` may be changed between batches. A module that is called twice in
    a step takes two steps. The vectors are saved by the table, not by `state_dict`.

    Args:
        table: Where the vectors are.
        vocabulary: Name of the vocabulary of its rows.
        lr: Learning rate of its steps.
    """

    def __init__(self, table: Table, vocabulary: str, *, lr: float = 0.05) -> None:
        super().__init__()
        self.table = table
        self.vocabulary = vocabulary
        self.lr = lr

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Vectors of rows, of any shape, with D appended to it."""
        unique, places = np.unique(rows.detach().cpu().numpy(), return_inverse=True)
        vectors = torch.from_numpy(self.table.pull(unique)).to(rows.device)
        if self.training and torch.is_grad_enabled():

            def push(pulled: torch.Tensor) -> None:
                if pulled.grad is not None:
                    self.table.push(unique, pulled.grad.cpu().numpy(), self.lr)
                    pulled.grad = None

            vectors.requires_grad_()
            vectors.register_post_accumulate_grad_hook(push)  # type: ignore[no-untyped-call]
        flat = torch.from_numpy(places.reshape(rows.shape)).to(rows.device)
        return nn.functional.embedding(flat, vectors)


def embedding(
    rows: int | Sequence[int] | Table,
    dim: int,
    vocabulary: str | Sequence[str],
    *,
    scale: float = 0.01,
    sparse: bool = False,
    lr: float = 0.05,
) -> nn.Module:
    """Vectors for the rows of a vocabulary, as a module that warm starts can grow.

    Args:
        rows: Number of rows; of several vocabularies that share a matrix, the number of each; or a
            table that holds the vectors.
        dim: D.
        vocabulary: Name of the vocabulary, or names.
        scale: Standard deviation of the first vectors of a matrix.
        sparse: Whether gradients of a matrix are sparse; see `torch.nn.Embedding`.
        lr: Learning rate of a table.

    Returns:
        Module from rows, of any shape S, to vectors of shape (*S, D): `RowEmbedding`,
        `FieldEmbedding` (S ends in the fields) or `SparseEmbedding`.

    Raises:
        ConfigError: Sizes and names do not fit, or the table has another dimension.
    """
    if isinstance(rows, int) and isinstance(vocabulary, str):
        return RowEmbedding(rows, dim, vocabulary, scale=scale, sparse=sparse)
    if isinstance(rows, Sequence) and not isinstance(vocabulary, str):
        return FieldEmbedding(rows, dim, vocabulary, scale=scale, sparse=sparse)
    if isinstance(rows, int | Sequence) or not isinstance(vocabulary, str):
        raise ConfigError(
            f"Rows {rows!r} and vocabulary {vocabulary!r} do not fit: give one size and one name, "
            "a list of sizes and a list of names, or a table and one name."
        )
    if rows.dim != dim:
        raise ConfigError(f"The table has dimension {rows.dim}, and {dim} is asked for.")
    return SparseEmbedding(rows, vocabulary, lr=lr)
