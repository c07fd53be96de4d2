"""What a task measured and plotted: numbers, curves and bars."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tadka.core.chart import line_chart
from tadka.core.page import facts_list
from tadka.task.look.word import number, plain, shown
from tadka.task.store.row import Execution

_MOST_PLOTS = 12
_MOST_POINTS = 500  # of a line
_MOST_BARS = 30

STYLE = """
.card figure { margin: 0; } .card figure > svg { min-width: 0; }
.charts { display: grid; gap: 0 32px; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); }
.charts > section { min-width: 0; } .charts figure text { font-size: 16px; }
.share { display: block; width: 100%; min-width: 90px; margin-top: 7px; height: 9px;
  background: var(--panel); outline: 1px solid var(--rule); } .share i { display: block;
  height: 100%; background: var(--s0); }
"""


def measured(execution: Execution) -> str:
    """What a task logged as numbers and curves, and its plots.

    Args:
        execution: Of the task.
    """
    single, charts = {}, []
    for name, value in execution.metrics.items():
        if isinstance(value, int | float | str | None):  # as `run.log` takes them
            single[plain(name)] = plain(number(value, 5))
        elif isinstance(value, list | tuple) and value:
            points = [(float(i + 1), item) for i, item in enumerate(value)]
            lines = _line(points)
            if len(lines) > 1:
                charts.append(_chart(plain(name), lines, "call", plain(name), is_whole=True))
    plots = execution.details.get("plots")
    if isinstance(plots, list | tuple):
        charts += filter(None, map(_plot, plots[:_MOST_PLOTS]))
    numbers = f"<h3>Metrics</h3>{facts_list(single)}" if single else ""
    return numbers + (f'<div class="charts">{"".join(charts)}</div>' if charts else "")


def _plot(plot: Any) -> str:
    """A chart of what `run.plot` was given."""
    if not isinstance(plot, Mapping):
        return ""
    x, y = plain(plot.get("x", "x")), plain(plot.get("y", "y"))
    pairs = plot.get("points") or []
    if isinstance(plot.get("xs"), list) and isinstance(plot.get("ys"), list):
        pairs = list(zip(plot["xs"], plot["ys"], strict=False))
    pairs = [tuple(pair) for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2]
    if (times := _times(pairs)) is not None:
        pairs, since = times
        x = f"{x}, {since}"
    lines = _line(pairs)
    if lines:
        return _chart(f"{y} by {x}", lines, x, y)
    numbers = [(name, value) for name, value in pairs if _is_number(value)]
    if not numbers:
        return ""
    most = max(abs(value) for _, value in numbers) or 1.0
    rows = [
        f"<tr><td>{shown(name, 60)}</td><td>{escape(number(value))}</td>"
        f'<td><span class="share"><i style="width:{100 * (abs(value) / most):.1f}%"></i></span>'
        "</td></tr>"
        for name, value in numbers[:_MOST_BARS]
    ]
    table = left_table((escape(x), escape(y), ""), rows)
    return f"<section><h3>{shown(f'{y} by {x}')}</h3>{table}</section>"


def _times(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[tuple[float, Any]], str] | None:
    """Pairs whose first is a time, with numbers in its place and words for what they count."""
    try:
        moments = [dt.datetime.fromisoformat(x) for x, _ in pairs]
        first = min(moments)
        seconds = [(moment - first).total_seconds() for moment in moments]
    except (TypeError, ValueError):  # no text, no time, or times with and without a zone
        return None
    units = (("days", 86400.0), ("hours", 3600.0), ("seconds", 1.0))
    word, unit = next((u for u in units if max(seconds) >= 3 * u[1]), units[-1])
    since = f"{first:%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00")
    return [
        (s / unit, y) for s, (_, y) in zip(seconds, pairs, strict=True)
    ], f"{word} since {since}"


def _line(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[float, float]]:
    """Points from left to right, no more than can be told apart; none where they are no numbers."""
    pairs = list(pairs)
    points = [(float(x), float(y)) for x, y in pairs if _is_number(x) and _is_number(y)]
    if len(points) < len(pairs) / 2:
        return []
    points.sort()
    step = -(-len(points) // _MOST_POINTS) or 1
    return points[::step]


def _is_number(value: object) -> bool:
    try:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and abs(float(value)) < 1e300
        )
    except OverflowError:
        return False


def _chart(
    title: str, points: Sequence[tuple[float, float]], x: str, y: str, *, is_whole: bool = False
) -> str:
    drawn = line_chart({title: points}, x_label=x, y_label=y, label=title, x_is_whole=is_whole)
    return f"<section><h3>{shown(title)}</h3><figure>{drawn}</figure></section>"


def left_table(heads: Sequence[str], rows: Sequence[str]) -> str:
    """A table whose cells begin at the left.

    Args:
        heads: HTML of its head.
        rows: HTML of its rows.
    """
    return (
        '<div class="scroll"><table class="left"><thead><tr>'
        + "".join(f"<th>{head}</th>" for head in heads)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
