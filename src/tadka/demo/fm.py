"""A Factorization Machine for ratings: the functions of the demo's two flows.

A row's features fall into groups (user, item, age, ..., genres, history). Each group gives one
vector, a sum over its active features, and the rating is

    mean + sum of the groups' biases + sum over pairs of groups of <vector, vector>

which is the machine of Rendle 2010, "Factorization Machines", eq. 1, without the pairs inside a
group. The group `history` holds the films that a user has rated in the training set, whatever the
rating: the implicit feedback of Koren 2008, "Factorization meets the neighborhood". It is made
from training rows alone and never holds the row's own film.

Letters of shapes: B rows of a batch, F groups with one active feature, G genres, H films of a
history, K factors.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tadka.core.extra import require
from tadka.demo.movielens import GENRES, HIGHEST, LOWEST
from tadka.storage.publish import publish_file
from tadka.storage.uri import reading, resolve

if TYPE_CHECKING:
    import torch

Batch = Mapping[str, Any]

AGES = (18, 25, 30, 35, 40, 45, 50, 56)
YEARS = (1, 1940, 1950, 1960, 1970, 1980, 1985, 1990, 1993, 1994, 1995, 1996, 1997, 1998)
HISTORY_FILMS = 256
"""Films of a history; of a longer one, each row gets a random part."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """What the training set says of its values: their numbers, and the films each user has rated.

    Number 0 of every group stands for a value that the training set does not have.

    Args:
        mean_rating: Mean of the training ratings.
        users, items: Ids in increasing order; the number of an id is its place, from 1.
        genders, occupations: The texts, the same way.
        films: Item numbers of all histories, one user after the other, mixed within a user.
        starts: Where the history of user number n starts in `films`; one entry more than users.
    """

    mean_rating: float
    users: np.ndarray
    items: np.ndarray
    genders: list[str]
    occupations: list[str]
    films: np.ndarray
    starts: np.ndarray

    @property
    def group_sizes(self) -> list[int]:
        """Features of each group with one active feature, number 0 included."""
        return [
            len(self.users) + 1,
            len(self.items) + 1,
            len(AGES) + 1,
            len(self.genders) + 1,
            len(self.occupations) + 1,
            len(YEARS) + 1,
        ]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the machine is shaped and trained; the defaults suit ml-100k.

    They were chosen on a part of u1.base held back for that, never on u1.test.

    Args:
        num_factors: Length of the vectors.
        learning_rate: Of AdamW, before it falls off over the last 60 % of the epochs.
        weight_decay: Of AdamW.
        dropout: Share of a vector's factors that are left out of a training step.
        seed: Of the first weights and the dropout.
    """

    num_factors: int = 32
    learning_rate: float = 0.003
    weight_decay: float = 0.5
    dropout: float = 0.2
    seed: int = 0


def learn_vocabulary(table: pa.Table, *, seed: int) -> Vocabulary:
    """The vocabulary of a training set.

    Args:
        table: Training rows, as `read_ratings` gives them; at least one.
        seed: Mixes each history, so that any part of it is a fair sample.

    Returns:
        Numbers and histories.
    """
    users, user_B = np.unique(table["user_id"].to_numpy(), return_inverse=True)
    items, item_B = np.unique(table["item_id"].to_numpy(), return_inverse=True)
    mixed_B = np.random.default_rng(seed).permutation(len(user_B))
    order_B = mixed_B[np.argsort(user_B[mixed_B], kind="stable")]
    counts = np.bincount(user_B, minlength=len(users))
    return Vocabulary(
        mean_rating=float(table["rating"].to_numpy().mean()),
        users=users,
        items=items,
        genders=sorted(pc.unique(table["gender"]).to_pylist()),
        occupations=sorted(pc.unique(table["occupation"]).to_pylist()),
        films=(item_B[order_B] + 1).astype(np.int32),
        # user number 0 has no history: two equal starts
        starts=np.concatenate([[0, 0], np.cumsum(counts)]),
    )


def preprocess(
    batch: Batch, rng: np.random.Generator, *, vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
    """Rows of the ratings tables as features of the machine.

    Args:
        batch: Columns of `movielens.SCHEMA`.
        rng: Chooses the part of a long history.
        vocabulary: Of the training set, also when the rows are others.

    Returns:
        `one_hot` (B, F), the place of each group's active feature in one table of all; `genres`
        (B, G), weights; `history` (B, H), item numbers, 0 for none; `history_weight` (B,); and
        `user_id`, `item_id`, `rating` as they came.
    """
    user_B = _numbers(batch["user_id"], vocabulary.users)
    item_B = _numbers(batch["item_id"], vocabulary.items)
    groups: list[np.ndarray] = [
        user_B,
        item_B,
        np.digitize(batch["age"], AGES),
        _text_numbers(batch["gender"], vocabulary.genders),
        _text_numbers(batch["occupation"], vocabulary.occupations),
        np.digitize(batch["release_year"], YEARS),
    ]
    offsets = np.concatenate([[0], np.cumsum(vocabulary.group_sizes)[:-1]])
    history_BH, weight_B = _histories(vocabulary, user_B, item_B, rng)
    return {
        "user_id": np.asarray(batch["user_id"]),
        "item_id": np.asarray(batch["item_id"]),
        "rating": np.asarray(batch["rating"]),
        "one_hot": (np.stack(groups, axis=1) + offsets).astype(np.int32),
        "genres": _genre_weights(batch["genres"]),
        "history": history_BH,
        "history_weight": weight_B,
    }


def _numbers(ids_B: np.ndarray, known: np.ndarray) -> np.ndarray:
    place_B = np.minimum(np.searchsorted(known, ids_B), len(known) - 1)
    return np.where(known[place_B] == ids_B, place_B + 1, 0)


def _text_numbers(texts: pa.Array, known: list[str]) -> np.ndarray:
    place_B = pc.index_in(texts, value_set=pa.array(known, pa.string()))
    return np.asarray(pc.fill_null(place_B, -1)) + 1


def _genre_weights(texts: pa.Array) -> np.ndarray:
    """1 / sqrt(n) for each of a film's n genres, so that films with many do not weigh more."""
    encoded = texts.dictionary_encode()  # few combinations, many rows
    flags = np.array(
        [[genre in text.split("|") for genre in GENRES] for text in encoded.dictionary.to_pylist()],
        np.float32,
    ).reshape(-1, len(GENRES))
    weights = flags / np.sqrt(np.maximum(flags.sum(axis=1, keepdims=True), 1))
    return np.asarray(weights[encoded.indices.to_numpy()], np.float32)


def _histories(
    vocabulary: Vocabulary, user_B: np.ndarray, item_B: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    start_B = vocabulary.starts[user_B]
    length_B = vocabulary.starts[user_B + 1] - start_B
    # Histories lie mixed, so a window at a random place is a random part.
    first_B = rng.integers(0, np.maximum(length_B, 1))
    place_BH = (first_B[:, None] + np.arange(HISTORY_FILMS)) % np.maximum(length_B, 1)[:, None]
    is_film_BH = np.arange(HISTORY_FILMS) < length_B[:, None]
    film_BH = vocabulary.films[np.where(is_film_BH, start_B[:, None] + place_BH, 0)]
    # A film says nothing about itself at prediction time, so it must not in training.
    is_film_BH &= film_BH != item_B[:, None]
    count_B = np.maximum(is_film_BH.sum(axis=1), 1)
    return np.where(is_film_BH, film_BH, 0), (1 / np.sqrt(count_B)).astype(np.float32)


def make_machine(
    group_sizes: list[int], num_items: int, mean_rating: float, settings: Settings
) -> "torch.nn.ModuleDict":
    """A machine with small random vectors and biases of zero.

    Args:
        group_sizes: Features of each group with one active feature.
        num_items: Items, number 0 included, for the histories.
        mean_rating: What it predicts before it has learnt anything, roughly.
        settings: Number of factors and seed.

    Returns:
        Embeddings whose column 0 is the bias; `score` applies them.
    """
    torch = require("torch", extra="torch")
    torch.manual_seed(settings.seed)

    def embedding(size: int, scale: float, **options: Any) -> Any:
        weights = torch.randn(size, 1 + settings.num_factors) * scale
        weights[:, 0] = 0
        return torch.nn.Embedding.from_pretrained(weights, freeze=False, **options)

    one_hot = embedding(sum(group_sizes), 0.05)
    with torch.no_grad():  # unknown users and items say nothing, rather than something random
        one_hot.weight[0] = 0
        one_hot.weight[group_sizes[0]] = 0
    history = embedding(num_items, 0.02, padding_idx=0)
    with torch.no_grad():
        history.weight[0] = 0
    machine = torch.nn.ModuleDict(
        {"one_hot": one_hot, "genres": embedding(len(GENRES), 0.05), "history": history}
    )
    machine.register_buffer("mean_rating", torch.tensor(float(mean_rating)))
    return machine  # type: ignore[no-any-return]


def score(machine: "torch.nn.ModuleDict", batch: Batch, *, dropout: float = 0.0) -> "torch.Tensor":
    """Predicted ratings, shape (B,), not bounded.

    Args:
        machine: From `make_machine`.
        batch: From `preprocess`.
        dropout: Share of factors left out, for training.

    Returns:
        One number a row, differentiable.

    Source: Rendle 2010, eq. 1, its pairs computed in linear time by lemma 3.1.
    """
    torch = require("torch", extra="torch")
    genres_BG = torch.as_tensor(batch["genres"])
    history_BH = torch.as_tensor(batch["history"])
    weight_B = torch.as_tensor(batch["history_weight"])
    history = torch.nn.functional.embedding_bag(
        history_BH, machine["history"].weight, mode="sum", padding_idx=0
    )
    groups_BFK = torch.cat(
        [
            machine["one_hot"](torch.as_tensor(batch["one_hot"])),
            (genres_BG @ machine["genres"].weight)[:, None],
            (history * weight_B[:, None])[:, None],
        ],
        dim=1,
    )
    bias_B = groups_BFK[..., 0].sum(1)
    vectors = torch.nn.functional.dropout(groups_BFK[..., 1:], dropout, training=dropout > 0)
    pairs_B = 0.5 * (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1)
    return machine.mean_rating + bias_B + pairs_B  # type: ignore[no-any-return]


def train(
    batches: Iterable[Batch],
    run: Any,
    *,
    vocabulary: Vocabulary,
    settings: Settings,
    model_uri: str,
) -> dict[str, float]:
    """Trains a machine on squared error and writes it to a file.

    Args:
        batches: From `preprocess`; iterated once an epoch.
        run: The flow's, for epochs, metrics and checkpoints.
        vocabulary: Of the training set.
        settings: How to train.
        model_uri: Where the trained machine goes.

    Returns:
        `final_loss`, the mean squared error over the last epoch, dropout included.
    """
    torch = require("torch", extra="torch")
    torch.set_num_threads(1)  # the other cores belong to the workers of the flow
    shape: dict[str, Any] = {
        "group_sizes": vocabulary.group_sizes,
        "num_items": len(vocabulary.items) + 1,
        "mean_rating": vocabulary.mean_rating,
    }
    machine = make_machine(**shape, settings=settings)
    optimizer = torch.optim.AdamW(
        machine.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    run.restore(machine, optimizer=optimizer)
    loss_sum, num_rows = 0.0, 0
    for epoch in run.epochs:
        loss_sum, num_rows = 0.0, 0
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_factor(epoch, run.epochs.stop)
        for batch in batches:
            error_B = score(machine, batch, dropout=settings.dropout) - torch.as_tensor(
                batch["rating"]
            )
            loss = (error_B**2).mean()
            optimizer.zero_grad()
            (loss * run.weight).backward()
            optimizer.step()
            run.log(loss=loss.item())
            loss_sum += loss.item() * len(error_B)
            num_rows += len(error_B)
        run.save(machine, optimizer=optimizer)
    if run.rank == 0:
        content = {"shape": shape, "settings": asdict(settings), "state": machine.state_dict()}
        with publish_file(model_uri) as file:
            torch.save(content, file)
    return {"final_loss": loss_sum / num_rows if num_rows else float("nan")}


def rate_factor(epoch: int, num_epochs: int) -> float:
    """What the learning rate is multiplied by: 1 at first, falling over the last 60 % of epochs."""
    return min(1.0, (1 - epoch / num_epochs) / 0.6)


class Predictor:
    """Adds `prediction` to the batches of `preprocess`; loads the machine once.

    Args:
        model_uri: The file that `train` wrote.
    """

    def __init__(self, model_uri: str) -> None:
        torch = require("torch", extra="torch")
        torch.set_num_threads(1)
        file_system, path = resolve(model_uri)
        with reading(model_uri), file_system.open(path, "rb") as file:
            content = torch.load(file, weights_only=True)
        self._machine = make_machine(**content["shape"], settings=Settings(**content["settings"]))
        self._machine.load_state_dict(content["state"])

    def __call__(self, batch: Batch) -> dict[str, np.ndarray]:
        """The ids and ratings of a batch, with predictions."""
        torch = require("torch", extra="torch")
        with torch.no_grad():
            prediction_B = score(self._machine, batch).numpy()
        kept = {name: np.asarray(batch[name]) for name in ("user_id", "item_id", "rating")}
        return {**kept, "prediction": prediction_B}


def postprocess(batch: Batch) -> dict[str, np.ndarray]:
    """Predictions brought into the range of ratings.

    Args:
        batch: From `Predictor`.

    Returns:
        The same columns.
    """
    return {**batch, "prediction": np.clip(batch["prediction"], LOWEST, HIGHEST)}
