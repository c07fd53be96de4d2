import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tadka.stream.page import render, render_all
from tests.browser import picture_of

NAMES = ("preprocess", "train")
VOID = {"meta", "link", "br", "hr", "img"}


def make_report(**changes: Any) -> dict[str, Any]:
    """A report such as `Report.to_dict` gives."""
    stages = [
        {
            "name": name,
            "kind": "train" if name == "train" else "stage",
            "replicas": 2,
            "rows": 64_000,
            "batches": 125,
            "rows_per_s": 3200.0,
            "busy_share": busy,
            "wait_input_share": 0.1,
            "wait_output_share": 0.9 - busy,
            "cpu_s": 12.5,
            "peak_memory_bytes": 200 * 2**20,
            "restarts": 0,
            "skipped_chunks": 0,
        }
        for name, busy in zip(NAMES, (0.25, 0.85), strict=True)
    ]
    report = {
        "seconds": 20.0,
        "startup_s": 1.2,
        "first_batch_s": 0.2,
        "rows_read": 64_000,
        "rows_out": 64_000,
        "steps": 125,
        "epochs": 2,
        "bottleneck": "train",
        "stages": stages,
        "samples": [
            {"t": t / 2, "stages": {n: {"rows": 1600 * t, "queue": t % 4} for n in NAMES}}
            for t in range(41)
        ],
        "metrics": [
            {"step": step, "epoch": step // 63, "loss": 1 / step} for step in range(1, 126)
        ],
        "plan_hash": "0123456789abcdef",
        "transport": "shm",
        "dead_letters": None,
        "reissued_chunks": 0,
    }
    return {**report, **changes}


class Elements(HTMLParser):
    """Checks that elements are closed in order, and collects what a browser would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def words(page: str) -> str:
    """The text of a page, without style and tags."""
    text = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    page = render(make_report(), title="run")
    elements = Elements(page)

    assert [] == elements.open
    assert [] == elements.loads
    assert "script" not in elements.tags
    assert "url(" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_chart_each_for_throughput_queues_and_loss() -> None:
    page = render(make_report(), title="run")

    for label in ("Throughput, rows/s", "Waiting in front of each stage, batches", "loss by step"):
        assert f'aria-label="{label}"' in page
    assert "<title>train: 3,200 rows/s" in page


def test_the_bottleneck_is_marked_once() -> None:
    page = render(make_report(), title="run")

    assert 1 == page.count('class="tag"')
    assert "train bottleneck 2 ranks" in words(page)


def test_shares_are_bars_as_wide_as_they_are_large() -> None:
    page = render(make_report(), title="run")

    assert '<i class="busy" style="width:25.00%" title="busy: 25.0%">' in page
    assert '<i class="output" style="width:65.00%" title="waiting for output: 65.0%">' in page


def test_all_text_is_escaped() -> None:
    nasty = '<script>alert("1")</script>'
    report = make_report(bottleneck=nasty, dead_letters=nasty, transport=nasty)
    report["stages"][0]["name"] = nasty
    report["samples"] = [{"t": t, "stages": {nasty: {"rows": t, "queue": t}}} for t in range(5)]
    report["metrics"] = [{"step": step, "epoch": 0, nasty: 1.0} for step in range(3)]

    page = render_all({nasty: report}, title=nasty, facts={nasty: nasty})

    assert "<script" not in page
    assert [] == Elements(page).open


def test_facts_stand_at_the_top() -> None:
    page = words(render(make_report(), title="run", facts={"RMSE": "0.91"}))

    assert page.index("RMSE 0.91") < page.index("rows trained 64,000")


def test_without_samples_a_sentence_says_why_there_is_no_chart() -> None:
    page = render(make_report(samples=[]), title="run")

    assert 2 == words(page).count("No chart: the run was sampled 0 times, too few for a line.")


def test_without_metrics_a_sentence_says_what_to_call() -> None:
    page = words(render(make_report(metrics=[]), title="run"))

    assert "No chart: the training loop logged nothing; call run.log(loss=...) in it." in page


def test_numbers_that_cannot_be_drawn_are_left_out() -> None:
    metrics = [
        {"step": step, "epoch": 0, "loss": value, "other": math.nan}
        for step, value in enumerate((1.0, math.nan, math.inf, 0.5))
    ]
    page = render(make_report(metrics=metrics), title="run")

    assert "nan" not in page
    assert "inf" not in words(page)
    assert "No chart: none of the values logged is a finite number." in page


def test_a_report_of_nothing_is_still_a_page() -> None:
    page = render({}, title="empty")

    assert [] == Elements(page).open
    assert "No table of stages" in page


def test_a_flow_that_writes_has_rows_written_and_no_loss() -> None:
    report = make_report(metrics=[])
    report["stages"][-1]["kind"] = "write"
    page = words(render(report, title="run"))

    assert "rows written 64,000" in page
    assert "Loss" not in page
    assert "epochs" not in page


def test_long_runs_are_thinned() -> None:
    samples = [
        {"t": t / 4, "stages": {n: {"rows": 100 * t, "queue": 1} for n in NAMES}}
        for t in range(40_000)
    ]
    metrics = [{"step": step, "epoch": 0, "loss": 1.0} for step in range(40_000)]

    page = render(make_report(samples=samples, metrics=metrics), title="run")

    assert len(page) < 300_000
    assert ">minutes</text>" in page
    assert ">seconds</text>" not in page
    assert "line: mean of 500 steps" in page


def test_the_last_short_span_makes_no_spike() -> None:
    report = make_report()
    report["samples"].append(
        {"t": 20.001, "stages": {n: {"rows": 1600 * 40 + 800, "queue": 0} for n in NAMES}}
    )

    rates = re.findall(r"<title>train: (\S+) rows/s", render(report, title="run"))

    assert "3,200" == rates[0]
    assert not [rate for rate in rates if rate.endswith(("k", "M"))]


def test_several_reports_follow_under_their_headings() -> None:
    page = words(render_all({"Training": make_report(), "Again": make_report()}, title="both"))

    assert page.index("Training") < page.index("Again")


# ---------------------------------------------------------------- in a browser


@pytest.mark.needs_chromium
def test_a_browser_draws_the_lines_and_the_bars(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(make_report(), title="run"), encoding="utf-8")

    picture, _ = picture_of(chromium, page, 600, 1200)

    assert (600, 1200) == (picture.width, picture.height)
    counts = picture.colours
    blue, orange, vermilion = b"\x00\x72\xb2", b"\xe6\x9f\x00", b"\xd5\x5e\x00"
    assert counts[blue] > 1000, "the bars of busy time, and the first line"
    assert counts[orange] > 200, "the bars of waiting for input"
    assert counts[vermilion] > 100, "the second line"
