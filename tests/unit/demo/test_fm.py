import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tadka.core.error import NotFound
from tadka.demo.fm import (
    Predictor,
    Settings,
    Vocabulary,
    learn_vocabulary,
    make_machine,
    postprocess,
    preprocess,
    rate_factor,
    score,
    train,
)
from tadka.demo.movielens import GENRES, SCHEMA, generate_ratings, read_ratings

Columns = dict[str, Any]


def table(rows: list[tuple[int, int, float, int, str, str, str, int]]) -> pa.Table:
    return pa.table(list(zip(*rows, strict=True)), schema=SCHEMA)


def columns(rows: pa.Table) -> Columns:
    """A batch as a flow hands it over: numbers as NumPy arrays, texts as Arrow arrays."""
    return {
        name: rows[name].combine_chunks()
        if pa.types.is_string(rows.schema.field(name).type)
        else rows[name].to_numpy().copy()
        for name in rows.column_names
    }


@pytest.fixture
def rows() -> pa.Table:
    return table(
        [
            (10, 5, 4.0, 24, "M", "writer", "Comedy|Drama", 1995),
            (10, 7, 2.0, 24, "M", "writer", "", 0),
            (30, 5, 5.0, 61, "F", "doctor", "Comedy|Drama", 1995),
        ]
    )


@pytest.fixture
def vocabulary(rows: pa.Table) -> Vocabulary:
    return learn_vocabulary(rows, seed=0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# ---------------------------------------------------------------- features


def test_the_vocabulary_numbers_what_the_training_set_has(vocabulary: Vocabulary) -> None:
    assert [10, 30] == vocabulary.users.tolist()
    assert [5, 7] == vocabulary.items.tolist()
    assert ["F", "M"] == vocabulary.genders
    assert [3, 3, 9, 3, 3, 15] == vocabulary.group_sizes
    assert math.isclose(11 / 3, vocabulary.mean_rating, rel_tol=1e-6)


def test_each_group_has_its_own_part_of_the_numbers(rows: pa.Table, vocabulary: Vocabulary) -> None:
    one_hot = preprocess(columns(rows), rng(), vocabulary=vocabulary)["one_hot"]

    # 24 is the second age group, and 1995 the eleventh year; 0 would be the first of each
    assert [0 + 1, 3 + 1, 6 + 1, 15 + 2, 18 + 2, 21 + 11] == one_hot[0].tolist()
    assert np.int32 == one_hot.dtype


def test_values_the_training_set_lacks_are_number_zero(vocabulary: Vocabulary) -> None:
    strange = table([(11, 99, 3.0, 24, "X", "pilot", "Opera", 0)])

    features = preprocess(columns(strange), rng(), vocabulary=vocabulary)

    assert [0, 3, 7, 15, 18, 21] == features["one_hot"][0].tolist()
    assert 0 == features["genres"].sum()
    assert 0 == features["history"].sum()


def test_genres_weigh_one_in_all(rows: pa.Table, vocabulary: Vocabulary) -> None:
    genres = preprocess(columns(rows), rng(), vocabulary=vocabulary)["genres"]

    assert [1, 0, 1] == pytest.approx((genres**2).sum(axis=1).tolist())
    assert genres[0, GENRES.index("Comedy")] > 0


def test_a_history_never_holds_the_film_that_is_rated(
    rows: pa.Table, vocabulary: Vocabulary
) -> None:
    features = preprocess(columns(rows), rng(), vocabulary=vocabulary)

    held = [sorted(films[films > 0].tolist()) for films in features["history"]]
    assert [[2], [1], []] == held  # of user 10: the other film; of user 30: nothing else
    assert [1, 1, 1] == features["history_weight"].tolist()


def test_of_a_long_history_every_row_gets_a_part_without_repeats() -> None:
    many = table([(1, item, 3.0, 20, "M", "a", "", 0) for item in range(1, 601)])
    vocabulary = learn_vocabulary(many, seed=0)

    history = preprocess(columns(many), rng(), vocabulary=vocabulary)["history"]

    for number, films in enumerate(history):
        held = films[films > 0]
        assert 255 <= len(held) <= 256
        assert len(set(held.tolist())) == len(held)
        assert number + 1 not in held


def test_the_generator_decides_alone(rows: pa.Table, vocabulary: Vocabulary) -> None:
    once, again = (preprocess(columns(rows), rng(), vocabulary=vocabulary) for _ in range(2))

    assert all(np.array_equal(once[name], again[name]) for name in once)


# ---------------------------------------------------------------- the machine


def test_the_score_is_the_sum_over_pairs_of_groups(rows: pa.Table, vocabulary: Vocabulary) -> None:
    features = preprocess(columns(rows), rng(), vocabulary=vocabulary)
    machine: Any = make_machine(vocabulary.group_sizes, 3, 3.5, Settings(num_factors=4))
    with torch.no_grad():
        for table_ in machine.values():
            table_.weight.uniform_(-1, 1)

    one_hot, genres, history = (
        machine[name].weight.detach().numpy() for name in ("one_hot", "genres", "history")
    )
    expected = []
    for b in range(len(rows)):
        films = [film for film in features["history"][b] if film]
        groups = [
            *one_hot[features["one_hot"][b]],
            features["genres"][b] @ genres,
            features["history_weight"][b] * sum((history[film] for film in films), np.zeros(5)),
        ]
        pairs = sum(groups[i][1:] @ groups[j][1:] for i in range(len(groups)) for j in range(i))
        expected.append(3.5 + sum(group[0] for group in groups) + pairs)

    assert expected == pytest.approx(score(machine, features).tolist(), rel=1e-4)


def test_an_untrained_machine_says_the_mean_for_what_it_does_not_know() -> None:
    machine = make_machine([3, 3, 2], 3, 3.5, Settings())

    nobody = {
        "one_hot": np.array([[0, 3, 6]], np.int32),
        "genres": np.zeros((1, len(GENRES)), np.float32),
        "history": np.zeros((1, 4), np.int32),
        "history_weight": np.ones(1, np.float32),
    }

    assert [3.5] == pytest.approx(score(machine, nobody).tolist())


def test_the_rate_falls_to_nearly_nothing() -> None:
    factors = [rate_factor(epoch, 8) for epoch in range(8)]

    assert 1 == factors[0]
    assert sorted(factors, reverse=True) == factors
    assert 0 < factors[-1] < 0.25


class Loop:
    """The part of a flow's run that a training loop sees, over batches in memory."""

    rank = 0
    weight = 1.0

    def __init__(self, batches: list[Columns], epochs: int) -> None:
        self.batches = batches
        self.epochs = range(epochs)
        self.losses: list[float] = []
        self.saved = 0

    def __iter__(self) -> Iterator[Columns]:
        return iter(self.batches)

    def log(self, *, loss: float) -> None:
        self.losses.append(loss)

    def save(self, model: Any, *, optimizer: Any) -> None:
        self.saved += 1

    def restore(self, model: Any, *, optimizer: Any) -> bool:
        return False


def test_training_beats_the_mean_and_the_predictor_repeats_it(tmp_path: Path) -> None:
    generate_ratings(tmp_path, seed=3, num_users=80, num_items=60, num_ratings=3000)
    ratings = read_ratings(tmp_path)
    vocabulary = learn_vocabulary(ratings.train, seed=0)
    batches = [
        preprocess(columns(ratings.train.slice(at, 64)), rng(), vocabulary=vocabulary)
        for at in range(0, len(ratings.train), 64)
    ]
    loop = Loop(batches, epochs=6)
    model = str(tmp_path / "machine.pt")

    result = train(
        loop, loop, vocabulary=vocabulary, settings=Settings(num_factors=8), model_uri=model
    )
    test = preprocess(columns(ratings.test), rng(), vocabulary=vocabulary)
    predicted = postprocess(Predictor(model)(test))

    def rmse(prediction: Any) -> float:
        return float(np.sqrt(np.mean((prediction - test["rating"]) ** 2)))

    assert 6 == loop.saved
    assert 6 * len(batches) == len(loop.losses)
    assert result["final_loss"] < np.mean(loop.losses[: len(batches)])
    assert rmse(predicted["prediction"]) < 0.97 * rmse(vocabulary.mean_rating)
    assert ["user_id", "item_id", "rating", "prediction"] == list(predicted)


def test_the_same_seed_trains_the_same_machine(
    tmp_path: Path, rows: pa.Table, vocabulary: Vocabulary
) -> None:
    batch = preprocess(columns(rows), rng(), vocabulary=vocabulary)
    losses = []
    for name in "ab":
        loop = Loop([batch], epochs=3)
        train(
            loop, loop, vocabulary=vocabulary, settings=Settings(), model_uri=str(tmp_path / name)
        )
        losses.append(loop.losses)

    assert losses[0] == losses[1]


def test_predictions_are_brought_into_the_range_of_ratings() -> None:
    batch = {"prediction": np.array([-1.0, 3.3, 9.0])}

    assert [1.0, 3.3, 5.0] == postprocess(batch)["prediction"].tolist()


def test_a_missing_machine_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"machine\.pt"):
        Predictor(str(tmp_path / "machine.pt"))
