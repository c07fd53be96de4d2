import json
from pathlib import Path
from typing import Any

import pytest

from tadka.stream.report import Report, StageReport, find_bottleneck


def report(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "seconds": 2.0,
        "startup_s": 0.5,
        "first_batch_s": 0.1,
        "rows_read": 1000,
        "rows_out": 900,
        "steps": 9,
        "epochs": 1,
        "padded_steps": 0,
        "bottleneck": "prep",
        "stages": [
            StageReport(
                name="prep",
                kind="stage",
                replicas=2,
                rows=12_345,
                rows_per_s=6172.5,
                busy_share=0.957,
                wait_input_share=0.01,
                restarts=2,
            ),
            StageReport(name="fm", kind="train", replicas=1, busy_share=0.2, skipped_chunks=3),
        ],
        "samples": [{"t": 0.25, "stages": {"prep": {"rows": 10, "queue": 1}}}],
        "metrics": [{"step": 1, "epoch": 0, "loss": 0.5}],
        "checkpoints": [],
        "dead_letters": None,
        "outputs": [],
        "reissued_chunks": 0,
        "plan_hash": "a" * 64,
        "transport": "shm",
        "memory_limits": {},
        "result": None,
    }
    return Report(**{**values, **changes})


def test_report_goes_through_json(tmp_path: Path) -> None:
    report().save_json(tmp_path / "r.json")

    assert report().to_dict() == json.loads((tmp_path / "r.json").read_text())


def test_json_has_null_for_what_json_has_no_number_for(tmp_path: Path) -> None:
    losses = [{"step": 1, "epoch": 0, "loss": value} for value in (float("nan"), float("inf"), 1.5)]
    report(metrics=losses, result=(float("nan"), 1)).save_json(tmp_path / "r.json")

    def refuse(text: str) -> None:
        raise AssertionError(text)

    found = json.loads((tmp_path / "r.json").read_text(), parse_constant=refuse)
    assert [None, None, 1.5] == [entry["loss"] for entry in found["metrics"]]
    assert [None, 1] == found["result"]


def test_page_is_written(tmp_path: Path) -> None:
    report().save_html(tmp_path / "r.html", title="My <run>")

    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "My &lt;run&gt;" in text
    assert "prep" in text


def test_text_is_a_table_that_marks_the_bottleneck() -> None:
    head, first, second = str(report()).splitlines()

    assert ["stage", "replicas", "rows", "rows/s", "busy", "waits", "in", "waits", "out"] == (
        head.split()
    )
    assert ["prep", "2", "12,345", "6,172", "96%", "1%", "0%"] == first.split()[:7]
    assert first.rstrip().endswith("bottleneck, 2 restarts")
    assert second.rstrip().endswith("3 chunks skipped")


def test_text_has_no_colours_on_a_terminal_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert "\x1b" not in str(report())


def test_name_of_a_stage_is_no_markup() -> None:
    stage = StageReport(name="prep[bold] :smile:", kind="stage", replicas=1)

    assert "prep[bold] :smile:" in str(report(stages=[stage]))


@pytest.mark.parametrize(
    ("shares", "expected"), [([0.1, 0.9, 0.5], "1"), ([0.5, 0.5], "0"), ([], "")]
)
def test_bottleneck_is_who_is_busiest(shares: list[float], expected: str) -> None:
    stages = [
        StageReport(name=str(i), kind="stage", replicas=1, busy_share=share)
        for i, share in enumerate(shares)
    ]

    assert expected == find_bottleneck(stages)
