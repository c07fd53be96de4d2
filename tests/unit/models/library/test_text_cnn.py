"""Text CNN and its hashed words."""

import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tadka.models import load, train
from tadka.models.library.words import hashed
from tests import models
from tests.models import config


def reviews(num_rows: int, seed: int) -> pa.Table:
    """A word decides, unless `not` stands before it."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(num_rows):
        is_good, is_not = (rng.random(2) < 0.5).tolist()
        words = list(rng.choice(["the", "film", "a", "plot", "of"], rng.integers(0, 6)))
        found = ["not"] * is_not + ["great" if is_good else "dull"]
        place = rng.integers(0, len(words) + 1)
        texts.append(" ".join([*words[:place], *found, *words[place:]]))
        labels.append(int(is_good != is_not))
    return pa.table({"text": texts, "label": labels})


def test_words_are_hashed_alike_everywhere() -> None:
    found = hashed(pa.array(["Good film", "", None]), 64, 10)

    assert (3, 2, 4) == found.shape
    assert 1 + zlib.crc32(b"good") % 16 == found[0, 0, 0]
    assert 17 + zlib.crc32(b"good film") % 32 == found[0, 0, 1]
    assert not found[1:].any()
    assert 64 >= found.max()


def test_only_the_first_words_are_read() -> None:
    assert np.array_equal(hashed(["a b c d"], 64, 2)[:, :1], hashed(["a b"], 64, 9)[:, :1])
    assert (1, 2, 4) == hashed(["a b c d"], 64, 2).shape
    assert (0, 1, 4) == hashed([], 64, 2).shape


def test_what_two_words_say_together_is_learnt(tmp_path: Path) -> None:
    values = config(tmp_path, {"name": "text_cnn", "buckets": 1024, "epochs": 8, "lr": 0.01})
    values["data"] = models.write(tmp_path / "text", train=reviews(400, 0), test=reviews(100, 1))
    done = train(values, progress="none")

    assert done.metrics["accuracy"] > 0.9
    trained = load(done.folder)
    alone = trained.predict({"text": ["a great film"]})["score"].to_pylist()
    long = trained.predict({"text": ["a great film", "the plot " * 20]})["score"].to_pylist()
    assert long[0] == pytest.approx(alone[0], abs=1e-5)
