"""Known pairs of users and items as a sparse matrix, and sums over what either side has.

Shapes: U users and I items, row 0 of both for the unseen; E pairs; B rows of a batch; D dimensions.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tadka.models.graph.propagate import Adjacency, spmm
from tadka.models.net.kept import Kept
from tadka.models.table.embedding import RowEmbedding


class Matrix(nn.Module):
    """A sparse matrix of constants that moves with the net; its state has nothing of it.

    Args:
        indptr: Where entries of each row begin, shape (N+1,).
        indices: Columns, shape (E,).
        num_columns: M.
        values: Entries, shape (E,); None for ones.
        is_symmetric: Whether it is its own transpose.
    """

    def __init__(
        self,
        indptr: npt.ArrayLike,
        indices: npt.ArrayLike,
        num_columns: int,
        values: npt.ArrayLike | None = None,
        *,
        is_symmetric: bool = False,
    ) -> None:
        super().__init__()
        column_E = np.asarray(indices)
        value_E = np.asarray(np.ones(len(column_E)) if values is None else values, np.float32)
        self.adjacency = Adjacency.of_csr(
            np.asarray(indptr), column_E, value_E, num_columns, is_symmetric=is_symmetric
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        back = self.adjacency.transposed
        moved = None if back is None else _moved(back, fn)
        self.adjacency = replace(_moved(self.adjacency, fn), transposed=moved)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class Histories(Kept):
    """Two groups of features: the items that a user has in train, the users that an item has.

    Each is the sum of a vector for every entry, over the root of their number: the implicit
    feedback of Koren, for users and, turned around, for items. A row of training is left out of its
    own two sums, for it says nothing about itself at prediction. The sums of all users and items
    are made once a batch, so a step costs 2 E D whatever B is: train with large batches.

    Args:
        indptr: Where items of each user begin, shape (U+1,).
        items: Rows of items, shape (E,).
        num_items: I.
        dim: D.
        vocabulary: Names of the vocabularies of users and items.
        scale: Standard deviation of the first vectors.

    Source: Koren 2008, "Factorization meets the neighborhood", eq. 15 (SVD++); Rendle, Zhang and
        Koren 2019, "On the difficulty of evaluating baselines", arXiv:1905.01395, section 3.1, for
        both sides.
    """

    num_of_user: Tensor
    num_of_item: Tensor

    def __init__(
        self,
        indptr: npt.ArrayLike,
        items: npt.ArrayLike,
        num_items: int,
        dim: int,
        *,
        vocabulary: tuple[str, str] = ("user", "item"),
        scale: float = 0.02,
    ) -> None:
        super().__init__()
        indptr_U1 = np.asarray(indptr)
        num_users = len(indptr_U1) - 1
        self.pairs = Matrix(indptr_U1, items, num_items)
        self.of_user = RowEmbedding(num_items, dim, vocabulary[1], scale=scale)
        self.of_item = RowEmbedding(num_users, dim, vocabulary[0], scale=scale)
        counts_I = np.bincount(np.asarray(items), minlength=num_items)
        self.register_buffer(
            "num_of_user", torch.tensor(np.diff(indptr_U1), dtype=torch.float32), persistent=False
        )
        self.register_buffer(
            "num_of_item", torch.tensor(counts_I, dtype=torch.float32), persistent=False
        )

    def forward(self, user_B: Tensor, item_B: Tensor, own_B: Tensor) -> Tensor:
        """Both groups.

        Args:
            user_B: Rows of users.
            item_B: Rows of items.
            own_B: 1.0 where the row is one of the pairs, to be left out; else 0.0.

        Returns:
            Shape (B, 2, D).
        """
        sums_UD, sums_ID = self.made()
        own_B1 = own_B[:, None]
        groups = []
        for sums_D, vectors_D, num, row_B, other_B in (
            (sums_UD, self.of_user.weight, self.num_of_user, user_B, item_B),
            (sums_ID, self.of_item.weight, self.num_of_item, item_B, user_B),
        ):
            left_B1 = (num[row_B][:, None] - own_B1).clamp(min=1)
            without_BD = sums_D[row_B] - own_B1 * nn.functional.embedding(other_B, vectors_D)
            groups.append(without_BD * left_B1.rsqrt())
        return torch.stack(groups, dim=1)

    def make(self) -> tuple[Tensor, Tensor]:
        """Sums of all users and items, (U, D) and (I, D)."""
        return (
            spmm(self.pairs.adjacency, self.of_user.weight),
            spmm(self.pairs.adjacency.transpose(), self.of_item.weight),
        )


def _moved(adjacency: Adjacency, fn: Callable[[Tensor], Tensor]) -> Adjacency:
    return replace(
        adjacency,
        indptr=fn(adjacency.indptr),
        indices=fn(adjacency.indices),
        values=fn(adjacency.values),
    )
