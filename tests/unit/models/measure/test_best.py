import math

import pytest

from tadka.models.measure.best import best_of


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("rmse", [0.95, 0.91], 1),
        ("valid_log_loss", [0.3, None, 0.2], 2),
        ("auc", [0.7, 0.8], 1),
        ("recall@20", [0.2, 0.1], 0),
        ("seconds", [3.0, 2.0], 1),
        ("calibration", [0.8, 1.1], 1),  # nearest to 1
        ("auc", [math.nan, 0.6, 0.7], 2),
    ],
)
def test_the_best_value_of_a_metric(name: str, values: list[float | None], expected: int) -> None:
    assert expected == best_of(name, values)


@pytest.mark.parametrize(
    ("name", "values"),
    [("auc", [0.5, 0.5]), ("auc", [0.5, None]), ("num_users", [3, 4]), ("lr", [0.1, 0.2])],
)
def test_nobody_leads(name: str, values: list[float | None]) -> None:
    assert best_of(name, values) is None
