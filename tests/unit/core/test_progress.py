import io
import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.core.progress import Progress, ProgressRow


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def records(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_auto_is_silent_without_a_terminal() -> None:
    file = io.StringIO()

    with Progress(file=file) as progress:
        progress.show({"read": ProgressRow(done=1, total=2)})
        progress.line("finished")

    assert "none" == progress.mode
    assert not file.getvalue()


def test_standard_error_is_the_default_and_none_is_silent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("json") as progress:
        progress.line("to stderr")
    with Progress("none") as silent:
        silent.line("nowhere")

    captured = capsys.readouterr()
    assert not captured.out
    assert ["to stderr"] == [json.loads(line)["line"] for line in captured.err.splitlines()]


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="'loud' is unknown; it must be one of auto, bars, json"):
        Progress("loud")  # type: ignore[arg-type]


def test_json_shows_at_most_two_lines_a_second_and_always_the_last_state() -> None:
    file, clock = io.StringIO(), Clock()

    with Progress("json", file, clock=clock) as progress:
        for done in range(11):
            progress.show({"é": ProgressRow(done=done, total=None, unit="steps", note="n")})
            clock.now_s += 0.125

    stage = {"total": None, "unit": "steps", "note": "n"}
    assert [
        {"t": 0.0, "stages": {"é": {"done": 0, **stage}}},
        {"t": 0.5, "stages": {"é": {"done": 4, **stage}}},
        {"t": 1.0, "stages": {"é": {"done": 8, **stage}}},
        {"t": 1.375, "stages": {"é": {"done": 10, **stage}}},
    ] == records(file)


def test_json_line_carries_the_time_since_entry() -> None:
    file, clock = io.StringIO(), Clock()

    with Progress("json", file, clock=clock) as progress:
        clock.now_s += 2
        progress.line("[bold]worker died[/bold]")

    assert [{"t": 2.0, "line": "[bold]worker died[/bold]"}] == records(file)


def test_bars_draw_one_line_a_stage_with_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    file, clock = Terminal(), Clock()

    with Progress(file=file, clock=clock) as progress:
        assert "bars" == progress.mode
        progress.show({"read": ProgressRow(done=0, total=4000), "train": ProgressRow(done=0)})
        clock.now_s += 1
        progress.show(
            {
                "read": ProgressRow(done=1000, total=4000),
                "train": ProgressRow(done=5, unit="steps", note="loss 0.5 [x]"),
            }
        )
        clock.now_s += 1
        progress.show({"read": ProgressRow(done=4000, total=4000)})

    text = file.getvalue()
    assert "1,000 / 4,000 rows" in text
    assert "1,000 rows/s" in text
    assert "0:00:03 left" in text
    assert "5 steps" in text
    assert "loss 0.5 [x]" in text
    assert "done" in text


def test_bars_are_redrawn_at_most_eight_times_a_second_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    file, clock = Terminal(), Clock()

    with Progress("bars", file, clock=clock) as progress:
        for done in range(1, 10):
            progress.show({"read": ProgressRow(done=done)})
        text = file.getvalue()
        assert "1 rows" in text
        assert "2 rows" not in text

    assert "9 rows" in file.getvalue()


def test_line_stays_above_the_bars() -> None:
    code = (
        "from tadka.core.progress import Progress, ProgressRow\n"
        "with Progress() as p:\n"
        "    p.show({'read': ProgressRow(done=1, total=2)})\n"
        "    p.line('worker [1] restarted')\n"
    )
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", code],
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
        )
        text = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)

    assert "worker [1] restarted\r\n" in text
    assert text.rindex("read") > text.index("restarted")
