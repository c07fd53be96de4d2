import math
from typing import Any

from tadka.task.look.plot import measured
from tadka.task.store.row import Execution
from tests.unit.task.look.made import AT, Elements


def test_what_measured_nothing_shows_nothing() -> None:
    assert "" == measured(Execution("r", "x", "x", "ran", AT, 1.0))


def test_metrics_curves_and_plots() -> None:
    metrics: dict[str, Any] = {
        "auc": 0.5, "name": "x", "nan": math.nan, "huge": 10**400, "loss": [3, 2.5, 1],
        "odd": [1, "a", None, math.nan], "nested": {"a": 1},
    }  # fmt: skip
    details = {
        "plots": [
            {"x": "step", "y": "clicks", "points": [[i, i * i] for i in range(2000)]},
            {"x": "city", "y": "share", "points": [["東京", 0.5], ["Paris", 0.25]]},
            {"x": "day", "y": "n", "points": [["2026-01-01", 1], ["2026-02-01", 5]]},
            {"x": "day", "y": "m", "points": []},
            {"x": "x", "y": "y", "points": [[10**400, 1], [1, 10**400], [1, 2, 3]]},
            "no plot",
        ],
    }  # fmt: skip
    made = Execution("r", "x", "x", "ran", AT, 1.0, metrics=metrics, details=details)
    found = Elements(measured(made))

    assert [] == found.open
    labels = found.values("aria-label")
    assert {"loss", "clicks by step", "n by day, days since 2026-01-01"} <= set(labels)
    assert "share by city" in found.text
    assert "東京" in found.text
    assert "auc 0.5" in found.text
    assert "huge" in found.text
    assert found.count("circle", "dot") < 600
    widths = [value for value in found.values("style") if value.startswith("width:")]
    assert {"width:100.0%", "width:50.0%"} <= set(widths)
