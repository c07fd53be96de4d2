"""Small residual network and its pictures."""

from pathlib import Path

import numpy as np
import pytest

from tadka.core.error import DataError
from tadka.models import load, train
from tadka.models.define.catalog import get
from tadka.models.library.pictures import decoded, example, varied
from tests import models
from tests.models import config


def test_pictures_are_decoded_to_one_size() -> None:
    files = example(3)["train"]["image"].combine_chunks()

    assert (3, 3, 12, 12) == decoded(files, 12).shape
    assert (3, 3, 20, 20) == decoded(files, 20).shape
    assert (0, 3, 20, 20) == decoded(files.slice(0, 0), 20).shape
    with pytest.raises(DataError, match="Picture 1 of the batch cannot be decoded"):
        decoded([files[0].as_py(), b"no picture"], 12)


def test_varied_pictures_are_turned_and_moved() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 3, 8, 8), dtype=np.uint8)

    found = varied(pixels, np.random.default_rng(1), 0)
    is_same = (found == pixels).all(axis=(1, 2, 3))
    is_turned = (found == pixels[..., ::-1]).all(axis=(1, 2, 3))
    assert (is_same ^ is_turned).all()
    assert 5 < is_turned.sum() < 35
    moved = varied(pixels, np.random.default_rng(1), 2)
    assert pixels.shape == moved.shape
    middle = moved[..., 2:6, 2:6]
    either = np.stack([pixels, pixels[..., ::-1]])
    is_found = np.zeros(40, bool)
    for row, column in np.ndindex(5, 5):
        cut = either[..., row : row + 4, column : column + 4]
        is_found |= (cut == middle).all(axis=(2, 3, 4)).any(axis=0)
    assert is_found.all()
    assert not (moved == found).all()


@pytest.mark.parametrize("head", ["softmax", "arcface"])
def test_classes_are_learnt(tmp_path: Path, head: str) -> None:
    rows = get("resnet").example(200, seed=0)["train"]
    small = {"size": 12, "width": 4, "blocks": [1, 1], "shift": 1, "head": head}
    values = config(
        tmp_path, {"name": "resnet", "epochs": 4, "batch_rows": 16, "lr": 0.02, **small}
    )
    values["data"] = models.write(
        tmp_path / "pictures", train=rows.slice(0, 150), test=rows.slice(150)
    )
    done = train(values, progress="none")

    assert done.metrics["accuracy"] > 0.9
    found = load(done.folder).predict(rows.slice(0, 5))["score"].combine_chunks()
    largest = np.abs(np.asarray(found.flatten())).max()
    assert (head == "softmax") or largest <= 1 + 1e-6  # cosines
