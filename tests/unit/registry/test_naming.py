import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError
from tadka.registry.naming import (
    flat,
    known_metric,
    metric_key,
    metric_name,
    metric_value,
    plain,
    text_of,
    value_of,
)


@pytest.mark.parametrize("name", ["loss", "recall@20", "test/ndcg@5", "a b", "x_at", "at_5"])
def test_a_metric_keeps_its_name(name: str) -> None:
    assert metric_name(metric_key(name)) == name
    assert "@" not in metric_key(name)


@pytest.mark.parametrize("name", ["", "a@b", "a/../b", "/a", "a//b", "é", "x" * 251])
def test_a_name_that_mlflow_refuses_is_refused_before(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be kept"):
        metric_key(name)


@pytest.mark.parametrize(
    "value",
    ["bce", "12", "true", "null", "", " x", "x\n", 'say "hi"', 12, 0.1, True, None, [1, "a"], {}],
)
def test_a_param_keeps_its_value_and_type(value: Any) -> None:
    found = value_of(text_of(value))

    assert found == value
    assert type(found) is type(value)


def test_plain_texts_stay_as_they_are() -> None:
    assert ["bce", '"12"', "12"] == [text_of(value) for value in ("bce", "12", 12)]


def test_values_become_plain() -> None:
    values = {"n": np.int64(3), "path": Path("a/b"), "ks": (5, np.float64(0.5)), "t": object}

    assert {"n": 3, "path": "a/b", "ks": [5, 0.5], "t": "<class 'object'>"} == plain(values)


def test_nested_params_get_dotted_names() -> None:
    nested = {"model": {"lr": 0.1, "net": {"dim": 8}}, "empty": {}}

    assert {"model.lr": 0.1, "model.net.dim": 8, "empty": {}} == dict(flat(nested))


def test_numbers_of_any_kind_are_metrics() -> None:
    assert metric_value("x", np.array([0.5])) == 0.5
    for value in (None, "0.5", np.zeros(2)):
        with pytest.raises(ConfigError, match="Metric 'x' is"):
            metric_value("x", value)
    assert known_metric(-1.7976931348623157e308) == -math.inf
    assert known_metric(3.0) == 3.0
