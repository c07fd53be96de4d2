"""Features of a row as groups, each with one weight and one vector.

Every net for click and rating prediction begins here: a group is the sum over its active features,
of which column 0 is the linear weight and the rest the vector.

Letters of shapes: B rows of a batch, F fields with one active feature, N numbers, L items of a bag,
P places of side features, G groups, K factors.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tadka.models.net.pairs import Histories
from tadka.models.table.embedding import FieldEmbedding, RowEmbedding


class Groups(nn.Module):
    """Weights and vectors of a batch's features.

    Args:
        fields: Rows of the vocabulary of each column with one value a row, by its name, in the
            order of `batch["fields"]` (B, F).
        factors: K; 0 for linear weights alone.
        numbers: N, columns of `batch["numbers"]` (B, N): a number multiplies its vector.
        bags: Rows of the vocabulary of each list column, by its name; `batch["bag.NAME"]` (B, L),
            0 beyond the end. A bag is divided by the root of its length.
        side: Places of each group in `batch["side"]` (B, P), which are numbers of features, 0 for
            none.
        num_side: Features of `side`, number 0 included.
        histories: Of users and items, which are the fields `pair`, or None.
        pair: Places of user and item among the fields.
        scale: Standard deviation of the first vectors; weights begin at 0, and so does what is
            unseen.
    """

    def __init__(
        self,
        fields: Mapping[str, int],
        factors: int,
        *,
        numbers: int = 0,
        bags: Mapping[str, int] | None = None,
        side: Sequence[int] = (),
        num_side: int = 0,
        histories: Histories | None = None,
        pair: tuple[int, int] = (0, 1),
        scale: float = 0.05,
    ) -> None:
        super().__init__()
        self.factors = factors
        self.names = tuple(bags or {})
        self.side_sizes = list(side)
        self.pair = pair
        width = 1 + factors
        self.fields = FieldEmbedding(list(fields.values()), width, list(fields), scale=scale)
        self.bags = nn.ModuleList(
            RowEmbedding(size, width, name, scale=scale) for name, size in (bags or {}).items()
        )
        self.numbers = nn.Parameter(torch.randn(numbers, width) * scale) if numbers else None
        self.side = nn.Embedding(num_side, width, padding_idx=0) if side else None
        self.histories = histories
        self.num_groups = (
            len(fields) + numbers + len(self.names) + len(side) + 2 * (histories is not None)
        )
        with torch.no_grad():
            if self.side is not None:
                self.side.weight.normal_(std=scale)
                self.side.weight[0] = 0
            for name, parameter in self.named_parameters():
                parameter[:, 0] = 0
                if name == "fields.weight":
                    parameter[self.fields.offsets[:-1]] = 0
                elif name.startswith("bags"):
                    parameter[0] = 0

    @property
    def has_fields_alone(self) -> bool:
        """Whether every group is a field, of one feature whose value is 1."""
        return self.num_groups == len(self.fields.offsets) - 1

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Weight and vector of each group, shape (B, G, 1 + K)."""
        rows_BF = batch["fields"]
        groups = [self.fields(rows_BF)]
        if self.numbers is not None:
            groups.append(batch["numbers"][:, :, None] * self.numbers)
        for name, bag in zip(self.names, self.bags, strict=True):
            groups.append(_bag(bag, batch[f"bag.{name}"]))
        if self.side is not None:
            for place_BP in torch.split(batch["side"], self.side_sizes, dim=1):
                groups.append(_bag(self.side, place_BP))
        if self.histories is not None:
            user_B, item_B = rows_BF[:, self.pair[0]], rows_BF[:, self.pair[1]]
            own_B = batch["own"] if "own" in batch else torch.zeros_like(groups[0][:, 0, 0])
            groups.append(self.histories(user_B, item_B, own_B))
        return torch.cat(groups, dim=1)


class Mlp(nn.Sequential):
    """Layers with ReLU and dropout between them.

    Args:
        sizes: Of the input, the hidden layers and the output.
        dropout: Share of hidden units left out in training.
    """

    def __init__(self, *sizes: int, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes[:-1]):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(sizes[-2], sizes[-1]))


def start(bias: float) -> Tensor:
    """The score that a net gives before it has learnt anything, as a constant of it."""
    return torch.tensor(np.float32(bias))


def _bag(table: nn.Module, rows_BL: Tensor) -> Tensor:
    """Sum over a bag's vectors, divided by the root of their number, shape (B, 1, 1 + K)."""
    weight = table.get_parameter("weight")
    count_B1 = (rows_BL > 0).sum(dim=1, keepdim=True).clamp(min=1)
    if rows_BL.shape[1] == 1:  # one look-up is a fifth of a bag's cost
        found_BD = nn.functional.embedding(rows_BL[:, 0], weight) * (rows_BL > 0)
    else:
        found_BD = nn.functional.embedding_bag(rows_BL, weight, mode="sum", padding_idx=0)
    return (found_BD * count_B1.rsqrt())[:, None]
