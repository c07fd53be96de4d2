from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tadka.core.config import load_config
from tadka.core.error import ConfigError, DataError
from tadka.features.features import Features
from tadka.scoring.config import FitConfig, fit
from tadka.scoring.directory import load
from tadka.scoring.learner import Ffm, Fm, Linear


class Visit(Features, size=256, groups={"alone": ["user"]}):
    user: str
    shop: int


@pytest.fixture
def values(tmp_path: Path) -> dict[str, object]:
    random = np.random.default_rng(0)
    user, shop = random.integers(0, 6, 800), random.integers(0, 6, 800)
    table = pa.table(
        {
            "user": [f"u{number}" for number in user],
            "shop": shop,
            "label": random.random(800) < np.where(user < 3, 0.8, 0.2),
        }
    )
    parquet.write_table(table.slice(0, 600), tmp_path / "train.parquet")
    parquet.write_table(table.slice(600), tmp_path / "valid.parquet")
    return {
        "features": "rows:Visit",
        "train": str(tmp_path / "train.parquet"),
        "valid": str(tmp_path / "valid.parquet"),
        "out": str(tmp_path / "model"),
        "training": {"epochs": 2, "threads": 1},
    }


def test_each_kind_is_made_with_its_settings(values: dict[str, object]) -> None:
    def make(**changes: object) -> object:
        return load_config(FitConfig, {**values, **changes}).make_model(Visit)

    linear, fm, ffm = make(), make(model="fm", dim=3), make(model="ffm", normalize=False)

    assert isinstance(linear, Linear)
    assert isinstance(fm, Fm)
    assert isinstance(ffm, Ffm)
    assert 3 == fm.dim
    assert not ffm.normalize


def test_fit_saves_what_it_gives_back(values: dict[str, object], tmp_path: Path) -> None:
    config = load_config(
        FitConfig, {**values, "calibration": "isotonic", "precision": "bfloat16", "group": "alone"}
    )

    model = fit(config, Visit, progress="none")
    loaded = load(tmp_path / "model", Visit)

    rows = [Visit("u1", 2), Visit("u5", 0)]
    assert model.predict(rows).tolist() == loaded.predict(rows).tolist()
    assert "alone" == loaded.group
    assert loaded.metrics["valid_auc"] > 0.7
    assert loaded.metrics["valid_calibration"] == pytest.approx(1.0, abs=0.01)


def test_calibration_without_validation_rows_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="'valid'"):
        load_config(FitConfig, {**values, "valid": None, "calibration": "platt"})


def test_dim_of_a_linear_model_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="'dim' has no meaning"):
        load_config(FitConfig, {**values, "dim": 4})


def test_an_unknown_group_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="'alone'"):
        load_config(FitConfig, {**values, "group": "nobody"}).make_model(Visit)


def test_a_model_directory_is_not_replaced_unasked(values: dict[str, object]) -> None:
    config = load_config(FitConfig, values)
    fit(config, Visit, progress="none")

    with pytest.raises(DataError, match="exists already"):
        fit(config, Visit, progress="none")
    fit(config, Visit, replace=True, progress="none")
