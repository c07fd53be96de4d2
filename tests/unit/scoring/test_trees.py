"""Trees of a library behind a feature class: from bytes and from columns as the library itself."""

from pathlib import Path
from typing import Annotated, Literal

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.features.encoding import Hashed, Log, Vocabulary
from tadka.features.features import Features
from tadka.scoring.directory import load
from tadka.scoring.matrix import category_columns, feature_matrix
from tadka.scoring.trees import Trees


class Room(Features):
    price: float | None
    area: Annotated[int, Log()]
    kind: Annotated[str | None, Vocabulary(("flat", "house", "boat"))]
    street: Annotated[str, Hashed(40)]


def rooms(num_rows: int) -> tuple[pa.Table, np.ndarray]:
    random = np.random.default_rng(0)
    price, area = random.normal(size=num_rows), random.integers(0, 500, num_rows)
    kind = random.integers(0, 5, num_rows)
    is_let = price + (kind == 1) + area / 500 + random.normal(size=num_rows) > 1
    words = ["flat", "house", "boat", "tent", None]
    table = pa.table(
        {
            "price": pa.array(price, mask=random.random(num_rows) < 0.1),
            "area": area,
            "kind": pa.array([words[number] for number in kind]),
            "street": pa.array([f"s{number}" for number in random.integers(0, 60, num_rows)]),
        }
    )
    return table, is_let


TABLE, IS_LET = rooms(2000)
MATRIX = feature_matrix(Room, TABLE)


def grow(names: list[str] | Literal["auto"] = "auto") -> lightgbm.Booster:
    categories = category_columns(Room.definition())
    data = lightgbm.Dataset(
        MATRIX, IS_LET, feature_name=names, categorical_feature=categories, free_raw_data=False
    )
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 5}
    return lightgbm.train(settings, data, 20)


def raw(booster: lightgbm.Booster) -> np.ndarray:
    return np.asarray(booster.predict(MATRIX, raw_score=True))


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    return grow()


def test_scores_are_the_librarys_from_columns_messages_and_the_matrix(
    booster: lightgbm.Booster,
) -> None:
    model = Trees.from_library(booster, Room)
    expected = raw(booster)
    messages = [Room(**row).to_message() for row in TABLE.to_pylist()]

    assert expected.tolist() == model.margins(TABLE).tolist()
    assert expected.tolist() == model.margins(messages).tolist()
    assert expected.tolist() == model.margins(MATRIX).tolist()
    assert model.predict(TABLE).tolist() == [model.score(message) for message in messages]
    assert np.abs(booster.predict(MATRIX) - model.predict(TABLE)).max() < 1e-15


@pytest.mark.parametrize("features", [Room, None])
def test_a_saved_forest_scores_as_before(
    booster: lightgbm.Booster, features: type[Features] | None, tmp_path: Path
) -> None:
    model = Trees.from_library(booster, features)

    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", features)

    assert model.predict(MATRIX).tolist() == loaded.predict(MATRIX).tolist()


def test_a_model_file_will_do(booster: lightgbm.Booster, tmp_path: Path) -> None:
    booster.save_model(tmp_path / "model.txt")

    model = Trees.from_library(tmp_path / "model.txt", Room)

    assert raw(booster).tolist() == model.margins(TABLE).tolist()


def test_columns_in_another_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="Column 0 of the trees is 'area'"):
        Trees.from_library(grow(["area", "price", "kind", "street"]), Room)


def test_another_number_of_columns_is_refused(booster: lightgbm.Booster) -> None:
    class Small(Features, size=10):
        price: float

    with pytest.raises(ConfigError, match=r"4 columns; 'Small' has 1 features"):
        Trees.from_library(booster, Small)
    with pytest.raises(DataError, match=r"shape \(2000, 3\)"):
        Trees.from_library(booster).predict(MATRIX[:, :3])


def test_trees_that_predict_no_probability_are_refused() -> None:
    data = lightgbm.Dataset(MATRIX, IS_LET.astype(float))
    booster = lightgbm.train({"objective": "regression", "verbose": -1}, data, 2)

    with pytest.raises(ConfigError, match="identity"):
        Trees.from_library(booster, Room)


def test_calibration_applies_to_trees_too(booster: lightgbm.Booster) -> None:
    table = TABLE.append_column("label", pa.array(IS_LET))
    model = Trees.from_library(booster, Room).calibrate(table, "isotonic")

    assert model.evaluate(table)["calibration"] == pytest.approx(1.0, abs=0.01)
