"""The same layers over a user's history, and over a user's vector: what the segment check trains.

Letters of shapes: N users, E entries of all histories, I items, D dimensions, H hidden units, C
classes, B users of a batch.
"""

import copy
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tadka.models.loss.pairs import Csr, items_of
from tadka.models.net.groups import Mlp
from tadka.models.net.recipe import Recipe


class Bag(nn.Module):
    """The sum of the vectors of a user's items over the root of their number.

    Of sum, mean and this, it is the one that keeps the size of what chance alone would give.

    Args:
        histories: Items of each user.
        num_items: I.
        dim: D.

    Source: Koren 2008, "Factorization meets the neighborhood", eq. 15.
    """

    def __init__(self, histories: Csr, num_items: int, dim: int) -> None:
        super().__init__()
        self.items = nn.EmbeddingBag(num_items, dim, mode="sum")
        nn.init.normal_(self.items.weight, std=0.1)
        self._histories = histories

    def forward(self, user_B: npt.NDArray[np.int64]) -> Tensor:
        """One vector a user, (B, D); zeros without a history."""
        place_E, item_E = items_of(self._histories, user_B)
        counts_B = np.bincount(place_E, minlength=len(user_B))
        starts_B = np.concatenate([[0], np.cumsum(counts_B)[:-1]])
        sum_BD: Tensor = self.items(
            torch.from_numpy(np.array(item_E, np.int64)), torch.from_numpy(starts_B)
        )
        root_B1 = np.sqrt(np.maximum(counts_B, 1))[:, None]
        return sum_BD / torch.from_numpy(root_B1.astype(np.float32))


class Given(nn.Module):
    """Vectors moved to mean 0, and all scaled by one number to deviation 1, over some users.

    One number, because the strength of a dimension against the others says how much it tells: the
    last of a singular value decomposition are noise.

    Args:
        vectors: Of all users, (N, D).
        users: Those that mean and deviation are taken of: of the training folds.
    """

    def __init__(self, vectors: npt.NDArray[np.floating], users: npt.NDArray[np.int64]) -> None:
        super().__init__()
        moved = vectors - np.asarray(vectors[users], np.float64).mean(axis=0)
        deviation = float(np.sqrt(np.square(moved[users]).mean()))
        self._vectors = torch.from_numpy(np.asarray(moved / (deviation or 1.0), np.float32))

    def forward(self, user_B: npt.NDArray[np.int64]) -> Tensor:
        """One vector a user, (B, D)."""
        return self._vectors[torch.from_numpy(user_B)]


class Segment(nn.Module):
    """Layers over an input: one hidden, then scores of classes.

    Args:
        inputs: `Bag` or `Given`.
        dim: D.
        num_classes: C.
        recipe: Hidden units and dropout.
    """

    def __init__(self, inputs: nn.Module, dim: int, num_classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.inputs = inputs
        self.layers = nn.Sequential(
            nn.Dropout(recipe.dropout),
            Mlp(dim, recipe.hidden, num_classes, dropout=recipe.dropout),
        )

    def forward(self, user_B: npt.NDArray[np.int64]) -> Tensor:
        """Scores of classes, (B, C)."""
        scores: Tensor = self.layers(self.inputs(user_B))
        return scores

    @property
    def num_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.parameters())


def fit_segment(
    net: Segment,
    labels: npt.NDArray[np.int64],
    train: npt.NDArray[np.int64],
    valid: npt.NDArray[np.int64],
    recipe: Recipe,
    rng: np.random.Generator,
) -> int:
    """Trains until the loss on the validation users gets no better, and keeps the best weights.

    Args:
        net: Changed in place.
        labels: Class of each user, (N,).
        train: Users to learn from.
        valid: Users to stop by.
        recipe: How.
        rng: Orders the users.

    Returns:
        Passes that were made.
    """
    label_N = torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    best_loss, num_worse = math.inf, 0
    best: Mapping[str, Tensor] = copy.deepcopy(net.state_dict())
    num_epochs = 0
    while num_epochs < recipe.max_epochs and num_worse < recipe.patience:
        num_epochs += 1
        net.train()
        order = rng.permutation(train)
        for start in range(0, len(order), recipe.batch_rows):
            user_B = order[start : start + recipe.batch_rows]
            loss = nn.functional.cross_entropy(net(user_B), label_N[user_B])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            found = float(nn.functional.cross_entropy(net(valid), label_N[valid]))
        if found < best_loss:
            best_loss, num_worse = found, 0
            best = copy.deepcopy(net.state_dict())
        else:
            num_worse += 1
    net.load_state_dict(best)
    net.eval()
    return num_epochs
