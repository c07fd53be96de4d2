"""Whether vectors say of users what their histories say: the segment check.

A segment is a class of users, such as an age band. The same layers are trained to tell it from
(a) the history of a user, through a bag of vectors of its items that is trained with them, and
(b) the user's dense vector, which was trained without labels and stays as it is. Where (b) is as
good, teams that look for segments need neither histories nor large models: the vector does.

Shapes: N users, I items, D dimensions, C classes.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.models.loss.pairs import Csr
from tadka.models.net.recipe import Recipe
from tadka.scoring.metric import auc

_NETS = "tadka.models.net.segment"  # loads torch
_VALID_SHARE = 0.15  # of the training folds: what training stops by


@dataclass(frozen=True, kw_only=True)
class Side:
    """What one kind of input came to.

    Args:
        auc: Mean over folds; of more than two classes, of each against the rest, by their mean.
        spread: Standard deviation over folds.
        by_fold: Each fold's.
        num_parameters: That are trained.
        seconds: Of a fold, on average: training alone.
        epochs: Passes over the users of a fold, on average.
    """

    auc: float
    spread: float
    by_fold: tuple[float, ...]
    num_parameters: int
    seconds: float
    epochs: float


@dataclass(frozen=True, kw_only=True)
class SegmentCheck:
    """Dense vectors against sparse histories.

    Args:
        dense: From vectors.
        sparse: From histories.
        num_users: That have a label.
        shares: Share of users of each class.
        epsilon: By how much the dense side may be worse.
    """

    dense: Side
    sparse: Side
    num_users: int
    shares: tuple[float, ...]
    epsilon: float

    @property
    def ratio(self) -> float:
        """AUC of dense over sparse."""
        return self.dense.auc / self.sparse.auc

    @property
    def is_ok(self) -> bool:
        """Whether vectors are as good as histories, but for epsilon."""
        return self.dense.auc >= self.sparse.auc - self.epsilon

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "ratio": self.ratio, "is_ok": self.is_ok}

    def __str__(self) -> str:
        return (
            f"AUC of dense vectors {self.dense.auc:.4f} +- {self.dense.spread:.4f} with "
            f"{self.dense.num_parameters:,} parameters in {self.dense.seconds:.2f} s a fold, of "
            f"sparse histories {self.sparse.auc:.4f} +- {self.sparse.spread:.4f} with "
            f"{self.sparse.num_parameters:,} in {self.sparse.seconds:.2f} s: "
            f"dense over sparse {self.ratio:.3f}"
        )

    def __rich__(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("input", "AUC", "spread", "parameters", "s a fold", "epochs"):
            table.add_column(title, justify="left" if title == "input" else "right")
        for name, side in (("dense vectors", self.dense), ("sparse histories", self.sparse)):
            table.add_row(
                name,
                f"{side.auc:.4f}",
                f"{side.spread:.4f}",
                f"{side.num_parameters:,}",
                f"{side.seconds:.2f}",
                f"{side.epochs:.0f}",
            )
        return table


def segment_check(
    vectors: npt.ArrayLike,
    labels: npt.ArrayLike,
    histories: Csr,
    *,
    folds: int = 5,
    dim: int = 0,
    recipe: Recipe | None = None,
    epsilon: float = 0.01,
    seed: int = 0,
    threads: int = 1,
) -> SegmentCheck:
    """Trains the same layers on dense vectors and on sparse histories, and compares their AUC.

    Vectors and histories must have nothing in them that comes from the labels: vectors are trained
    without labels, and histories leave out what the label was derived from. That cannot be seen
    from here. All else is the same for both: users of each fold, those that training stops by,
    layers, optimizer, and the length D of a user's input.

    Args:
        vectors: Of each user, (N, D).
        labels: Class of each user from 0 to C - 1, (N,); below 0 for users without one, which are
            left out.
        histories: Items of each user as CSR, N rows, such as `loss.pairs.to_csr` gives.
        folds: Parts that are each judged once, with the shares of classes of all.
        dim: Of the vectors of a history's items; that of `vectors` unless given.
        recipe: How both are trained.
        epsilon: By how much the dense side may be worse.
        seed: Of folds, weights and order.
        threads: Of torch, while it trains.

    Raises:
        ConfigError: `folds` is below 2.
        DataError: Numbers of users do not fit, vectors are not finite, or a class has fewer users
            than there are folds.
    """
    torch, nets = (require(name, extra="models") for name in ("torch", _NETS))
    vectors_ND = np.asarray(vectors, np.float32)
    label_N = np.asarray(labels, np.int64)
    if folds < 2:
        raise ConfigError(f"folds is {folds}; it must be at least 2.")
    _check(vectors_ND, label_N, histories, folds)
    recipe = recipe or Recipe()
    num_classes = int(label_N.max()) + 1
    bag_dim = dim or vectors_ND.shape[1]
    num_items = int(np.max(histories[1], initial=0)) + 1

    def dense(train: npt.NDArray[np.int64]) -> Any:
        return nets.Segment(nets.Given(vectors_ND, train), vectors_ND.shape[1], num_classes, recipe)

    def sparse(train: npt.NDArray[np.int64]) -> Any:  # noqa: ARG001 - ids alone
        return nets.Segment(nets.Bag(histories, num_items, bag_dim), bag_dim, num_classes, recipe)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        sides = [_side(make, label_N, folds, recipe, seed) for make in (dense, sparse)]
    finally:
        torch.set_num_threads(before)
    counts = np.bincount(label_N[label_N >= 0])
    return SegmentCheck(
        dense=sides[0],
        sparse=sides[1],
        num_users=int(counts.sum()),
        shares=tuple((counts / counts.sum()).tolist()),
        epsilon=epsilon,
    )


def _side(
    make: Callable[[npt.NDArray[np.int64]], Any],
    label_N: npt.NDArray[np.int64],
    folds: int,
    recipe: Recipe,
    seed: int,
) -> Side:
    torch, nets = (require(name, extra="models") for name in ("torch", _NETS))
    found, seconds, epochs, size = [], [], [], 0
    for number, (train, valid, test) in enumerate(_folds(label_N, folds, seed)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            begun_s = time.perf_counter()
            net = make(np.concatenate([train, valid]))
            rng = np.random.default_rng([seed, number])
            epochs.append(nets.fit_segment(net, label_N, train, valid, recipe, rng))
            seconds.append(time.perf_counter() - begun_s)
        with torch.inference_mode():
            score_BC = torch.softmax(net(test), dim=1).numpy()
        found.append(_auc(label_N[test], score_BC))
        size = net.num_parameters
    return Side(
        auc=float(np.mean(found)),
        spread=float(np.std(found, ddof=1)),
        by_fold=tuple(found),
        num_parameters=size,
        seconds=float(np.mean(seconds)),
        epochs=float(np.mean(epochs)),
    )


def _folds(
    label_N: npt.NDArray[np.int64], folds: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """Users to learn from, to stop by and to judge by, each with the shares of classes of all."""
    rng = np.random.default_rng(seed)
    fold_N = np.full(len(label_N), -1)
    is_valid_N = np.zeros((folds, len(label_N)), bool)
    for label in range(int(label_N.max()) + 1):
        users = rng.permutation(np.flatnonzero(label_N == label))
        fold_N[users] = np.arange(len(users)) % folds
        for fold in range(folds):
            others = rng.permutation(users[fold_N[users] != fold])
            is_valid_N[fold, others[: max(1, round(_VALID_SHARE * len(others)))]] = True
    for fold in range(folds):
        is_train_N = (fold_N >= 0) & (fold_N != fold) & ~is_valid_N[fold]
        yield tuple(
            np.flatnonzero(which) for which in (is_train_N, is_valid_N[fold], fold_N == fold)
        )


def _auc(label_B: npt.NDArray[np.int64], score_BC: npt.NDArray[np.float32]) -> float:
    """Of class 1 where there are two; else the mean of each class against the rest."""
    classes = [1] if score_BC.shape[1] == 2 else range(score_BC.shape[1])
    return float(np.mean([auc(label_B == one, score_BC[:, one]) for one in classes]))


def _check(
    vectors_ND: npt.NDArray[np.float32],
    label_N: npt.NDArray[np.int64],
    histories: Csr,
    folds: int,
) -> None:
    if vectors_ND.ndim != 2 or not len(vectors_ND) == len(label_N) == len(histories[0]) - 1:
        raise DataError(
            f"There are vectors of shape {vectors_ND.shape}, {len(label_N):,} labels and "
            f"{len(histories[0]) - 1:,} histories; each user must have one of each."
        )
    if not np.isfinite(vectors_ND).all():
        raise DataError("A vector has a number that is not finite.")
    counts = np.bincount(label_N[label_N >= 0], minlength=2)
    if counts.min() < max(folds, 3):
        raise DataError(
            f"Classes have {', '.join(f'{count:,}' for count in counts)} users; each must have at "
            f"least {max(folds, 3)}, numbered from 0 without a gap."
        )
