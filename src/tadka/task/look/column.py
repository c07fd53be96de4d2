"""Columns of a result as a table: type, nulls, values that differ, mean, histogram."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tadka.task.look.word import NOTHING, count, many, number, plain, shown

_MOST_ROWS = 40  # of a table: more columns are listed by name and type only
_MOST_NAMES = 200
_WIDTH, _HEIGHT = 200, 40  # of a histogram

STYLE = """
.columns td:first-child { min-width: 110px; }
.columns td:last-child, .columns th:last-child { text-align: left; padding: 4px 0 4px 14px;
  width: 214px; }
.columns td:nth-child(2), .columns th:nth-child(2) { text-align: left; }
.columns svg { display: block; width: 200px; height: 40px; }
.bins { fill: var(--s0); } .columns svg text { font-size: 10.5px; }
.nulls { display: block; height: 4px; width: 56px; margin: 2px 0 0 auto; background: var(--panel);
  outline: 1px solid var(--rule); } .nulls i { display: block; height: 100%;
  background: var(--s1); }
"""


def columns_table(description: Mapping[str, Any]) -> str:
    """The columns of a result.

    Args:
        description: As `Description.to_json` gives it.

    Returns:
        A table; empty where the result has no columns.
    """
    columns = description.get("columns") or {}
    if not columns:
        return ""
    statistics = description.get("statistics") or {}
    num_rows = description.get("num_rows")
    chosen = list(columns)[:_MOST_ROWS]
    rows = "".join(
        _row(name, columns[name], statistics.get(name) or {}, num_rows) for name in chosen
    )
    sampled = max(((statistics.get(n) or {}).get("sampled") or 0 for n in chosen), default=0)
    is_sample = isinstance(num_rows, int) and sampled < num_rows
    note = f'<div class="note">of {sampled:,} rows</div>' if is_sample and sampled else ""
    heads = ("column", "type", "empty", f"distinct{note}", "mean", f"values{note}")
    table = (
        '<div class="scroll"><table class="columns"><thead><tr>'
        + "".join(f"<th>{head}</th>" for head in heads)
        + f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    return table + _rest(columns)


def _row(name: str, type_: str, found: Mapping[str, Any], num_rows: Any) -> str:
    title = shown(name, 80) if name else '<span class="none">values</span>'
    mean = found.get("mean")
    return (
        f"<tr><td>{title}</td><td>{shown(type_, 60)}</td><td>{_empty(found, num_rows)}</td>"
        f"<td>{count(found.get('distinct'))}</td>"
        f"<td>{NOTHING if mean is None else escape(number(mean))}</td>"
        f"<td>{_values(found)}</td></tr>"
    )


def _empty(found: Mapping[str, Any], num_rows: Any) -> str:
    nulls = found.get("nulls")
    if not isinstance(nulls, int):
        return NOTHING
    if not nulls or not isinstance(num_rows, int) or not num_rows:
        return f"{nulls:,}"
    share = min(1.0, nulls / num_rows)
    text = "&lt;0.1 %" if share < 0.001 else f"{100 * share:.3g} %"
    return f'{text}<span class="nulls"><i style="width:{100 * share:.0f}%"></i></span>'


def _values(found: Mapping[str, Any]) -> str:
    low, high = found.get("min"), found.get("max")
    histogram = found.get("histogram") or {}
    counts, edges = histogram.get("counts") or [], histogram.get("edges") or []
    if low is not None and low == high:
        return f'<span class="note">all {shown(_end(low), 40)}</span>'
    if len(edges) == len(counts) + 1 and sum(counts) > 0:
        return _bins(edges, counts)
    if low is None and high is None:
        return ""
    return f'<span class="note">{shown(_end(low), 40)} … {shown(_end(high), 40)}</span>'


def _bins(edges: Sequence[Any], counts: Sequence[int]) -> str:
    """A histogram; one path, as a page may have thousands of them."""
    most, step, base = max(counts), _WIDTH / len(counts), _HEIGHT - 13
    bars = []
    for place, found in enumerate(counts):
        if found:
            height = max(1.0, base * found / most)
            bars.append(
                f"M{place * step + 0.5:.1f} {base}v-{height:.1f}h{max(step - 1, 0.5):.1f}"
                f"v{height:.1f}z"
            )
    top = counts.index(most)
    low, high = _end(edges[0]), _end(edges[-1])
    said = (
        f"{many(sum(counts), 'value')} from {low} to {high}; most, {most:,}, "
        f"from {_end(edges[top])} to {_end(edges[top + 1])}"
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(said)}">'
        f'<title>{escape(said)}</title><path class="bins" d="{"".join(bars)}"/>'
        f'<path class="axis" d="M0 {base}h{_WIDTH}"/>'
        f'<text x="0" y="{_HEIGHT - 2}">{escape(low)}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 2}" text-anchor="end">{escape(high)}</text></svg>'
    )


def _end(value: Any) -> str:
    if isinstance(value, str):  # of times no more than there is room for
        return plain(value[:19].replace("T", " ").removesuffix(" 00:00:00"))
    return plain(number(value))


def _rest(columns: Mapping[str, Any]) -> str:
    rest = list(columns.items())[_MOST_ROWS:]
    if not rest:
        return ""
    names = ", ".join(f"{shown(name, 60)} {shown(type_, 40)}" for name, type_ in rest[:_MOST_NAMES])
    more = len(rest) - _MOST_NAMES
    tail = f", and {more:,} more" if more > 0 else ""
    return (
        f'<details class="inner"><summary>{many(len(rest), "more column")}, by name and type'
        f'</summary><p class="note">{names}{tail}</p></details>'
    )
