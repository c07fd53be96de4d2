"""Progress of running work: the one place that draws bars and prints progress lines."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tadka.core.error import ConfigError

Mode = Literal["auto", "bars", "json", "none"]

_MODES = ("auto", "bars", "json", "none")
_BARS_PERIOD_S = 1 / 8  # faster flickers and costs a core over ssh
_JSON_PERIOD_S = 1 / 2  # a log collector wants lines, not frames


@dataclass(frozen=True, kw_only=True)
class ProgressRow:
    """Where one stage stands.

    Args:
        done: Units finished so far.
        total: Units in all; None when not known.
        unit: What is counted, in the plural: `"rows"`.
        note: Free text at the end of the line.
    """

    done: int
    total: int | None = None
    unit: str = "rows"
    note: str = ""


class Progress:
    """Shows how far each stage is; a context manager.

    Args:
        mode: `"bars"` draws a table, one line per stage; `"json"` prints one JSON object per line;
            `"none"` prints nothing; `"auto"` is bars on a terminal and nothing elsewhere.
        file: Where to write; standard error unless given.
        clock: Seconds that never go back; tests replace it.

    Raises:
        ConfigError: The mode is unknown.
    """

    def __init__(
        self,
        mode: Mode = "auto",
        file: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if mode not in _MODES:
            raise ConfigError(
                f"Progress mode {mode!r} is unknown; it must be one of {', '.join(_MODES)}."
            )
        self._file = sys.stderr if file is None else file
        self._console = Console(file=self._file)
        if mode == "auto":
            mode = "bars" if self._console.is_terminal else "none"
        self.mode: Mode = mode
        self._clock = clock
        self._start_s = clock()
        self._shown_s = float("-inf")
        self._rows: Mapping[str, ProgressRow] = {}
        self._first: dict[str, tuple[float, int]] = {}  # when and where each stage began to move
        self._is_stale = False
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._start_s = self._clock()
        if self.mode == "bars":
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_stale:  # the last state is shown even when it came too soon for a redraw
            self._draw(self._clock())
        if self._live is not None:
            self._live.stop()
            self._live = None

    def show(self, rows: Mapping[str, ProgressRow]) -> None:
        """Shows the state of every stage; drawn at most 8 times (JSON: twice) a second.

        Args:
            rows: One row per stage, in the order of the flow.
        """
        if self.mode == "none":
            return
        now = self._clock()
        self._rows = dict(rows)
        for name, row in rows.items():
            self._first.setdefault(name, (now, row.done))
        self._is_stale = True
        period_s = _BARS_PERIOD_S if self.mode == "bars" else _JSON_PERIOD_S
        if now - self._shown_s >= period_s:
            self._draw(now)

    def line(self, text: str) -> None:
        """Prints one line that stays, above the bars.

        Args:
            text: The line. In JSON mode it becomes `{"t": ..., "line": text}`.
        """
        if self.mode == "bars":
            self._console.print(Text(text))
        elif self.mode == "json":
            self._print_json({"t": round(self._clock() - self._start_s, 3), "line": text})

    def _draw(self, now: float) -> None:
        self._shown_s = now
        self._is_stale = False
        if self.mode == "json":
            stages = {
                name: {"done": row.done, "total": row.total, "unit": row.unit, "note": row.note}
                for name, row in self._rows.items()
            }
            self._print_json({"t": round(now - self._start_s, 3), "stages": stages})
        elif self._live is not None:
            self._live.update(self._table(now), refresh=True)

    def _print_json(self, record: dict[str, object]) -> None:
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def _table(self, now: float) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, row in self._rows.items():
            since_s, before = self._first[name]
            elapsed_s = now - since_s
            rate = (row.done - before) / elapsed_s if elapsed_s > 0 else 0.0
            bar = ProgressBar(total=row.total or None, completed=row.done, width=24, pulse=False)
            table.add_row(
                Text(name, style="bold"),
                bar,
                Text(_count(row), justify="right"),
                Text(f"{rate:,.0f} {row.unit}/s", justify="right"),
                Text(_remaining(row, rate)),
                Text(row.note, style="dim"),
            )
        return table


def _count(row: ProgressRow) -> str:
    total = "" if row.total is None else f" / {row.total:,}"
    return f"{row.done:,}{total} {row.unit}"


def _remaining(row: ProgressRow, rate: float) -> str:
    if row.total is None or rate <= 0:
        return ""
    if row.done >= row.total:
        return "done"
    minutes, seconds = divmod(round((row.total - row.done) / rate), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left"
