"""What a child of a server is told, and what follows from it."""

from pathlib import Path

import pytest

from tadka.features import Features
from tadka.serve.config import ServeConfig
from tadka.serve.order import Order
from tadka.serve.workers.supervisor import _from_anywhere
from tests.serving import Impression, make_store
from tests.unit.serve.rows import Visit


class Own(Features):
    user: str


def order(store: Path, given: type[Features] | None = None, name: str | None = None) -> Order:
    return Order(
        config=ServeConfig(store=str(store), features=name),
        transport="native",
        features=given,
        index=0,
        board=-1,
        rings=None,
    )


def test_the_class_is_the_callers_else_that_of_the_settings_else_the_stores(
    tmp_path: Path,
) -> None:
    store = make_store(tmp_path).path
    name = f"{Visit.__module__}:Visit"

    assert Own is order(store, Own, name).feature_class()
    assert Visit is order(store, None, name).feature_class()
    assert Impression is order(store).feature_class()


def test_paths_hold_for_a_child_that_starts_when_the_program_went_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = _from_anywhere(ServeConfig(store="store", log="../log", features="rows.py:Row"))

    assert str(tmp_path / "store") == found.store
    assert str(tmp_path / ".." / "log") == found.log
    assert f"{tmp_path / 'rows.py'}:Row" == found.features


def test_what_is_no_path_or_an_absolute_one_stays() -> None:
    config = ServeConfig(store="/store", features="package.rows:Row")

    assert config == _from_anywhere(config)
