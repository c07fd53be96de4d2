"""The frame of every HTML page: no network, no script, light and dark, fit for paper."""

from collections.abc import Mapping, Sequence
from html import escape

from tadka.core.chart import NUM_COLOURS

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #5b6470; --rule: #d9dee4;
  --panel: #f6f7f9; --busy: #0072b2; --input: #e69f00; --output: #b9c0c9; --s0: #0072b2;
  --s1: #d55e00; --s2: #009e73; --s3: #b4568f; --s4: #9a6a00; --s5: #3d8fbf; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e7eaee; --soft: #9aa4b0;
  --rule: #323a44; --panel: #1c2127; --busy: #56b4e9; --input: #e69f00; --output: #59636f;
  --s0: #56b4e9; --s1: #ff8c42; --s2: #2fc79a; --s3: #e08fc0; --s4: #e6b84a; --s5: #a5d4f2; } }
@media print { :root { color-scheme: light; --page: #fff; --ink: #000; --soft: #444; --rule: #bbb;
  --panel: #fff; --busy: #0072b2; --input: #e69f00; --output: #b9c0c9; --s0: #0072b2;
  --s1: #d55e00; --s2: #009e73; --s3: #b4568f; --s4: #9a6a00; --s5: #3d8fbf; }
  body { font-size: 10pt; } main { padding: 0; max-width: none; }
  figure, table, .facts { break-inside: avoid; } }
* { box-sizing: border-box; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 28px 24px 48px; }
h1 { font-size: 24px; line-height: 1.2; margin: 0 0 16px; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 36px 0 10px; padding-top: 14px; border-top: 1px solid var(--rule); }
h3, figcaption { font-size: 14px; font-weight: 600; margin: 0 0 6px; }
p { margin: 6px 0; } .none { color: var(--soft); margin: 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 1px;
  margin: 0 0 18px; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px;
  overflow: hidden; }
.facts div { padding: 8px 12px; box-shadow: 0 0 0 1px var(--rule); }
.facts dt { color: var(--soft); font-size: 12px; }
.facts dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 18px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px 6px 0; text-align: right; white-space: nowrap; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-size: 12px; font-weight: 500; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.tag { display: inline-block; margin-left: 6px; padding: 0 6px; border: 1px solid currentColor;
  border-radius: 9px; font-size: 11px; font-weight: 600; color: var(--s1); white-space: nowrap; }
.note { color: var(--soft); font-size: 12px; font-weight: 400; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0 0 4px; font-size: 12px;
  color: var(--soft); } .legend span { display: inline-flex; align-items: center; gap: 6px;
  overflow-wrap: anywhere; } .legend svg { width: 26px; height: 8px; flex: none; }
.legend i { width: 10px; height: 10px; flex: none; }
figure { margin: 0 0 22px; overflow-x: auto; }
figcaption span { font-weight: 400; color: var(--soft); }
figure > svg { display: block; width: 100%; min-width: 560px; height: auto; }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); } .axis { stroke: var(--soft); }
.mark { stroke: var(--soft); stroke-dasharray: 2 4; opacity: .6; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.band { stroke: none; opacity: .16; } .hit { fill: transparent; stroke: none; }
.point:hover .dot { opacity: 1; }
.s0 { stroke: var(--s0); fill: var(--s0); } .s1 { stroke: var(--s1); fill: var(--s1); }
.s2 { stroke: var(--s2); fill: var(--s2); } .s3 { stroke: var(--s3); fill: var(--s3); }
.s4 { stroke: var(--s4); fill: var(--s4); } .s5 { stroke: var(--s5); fill: var(--s5); }
.line.s1 { stroke-dasharray: 8 4; } .line.s2 { stroke-dasharray: 2 4; }
.line.s3 { stroke-dasharray: 10 4 2 4; } .line.s4 { stroke-dasharray: 14 5; }
.line.s5 { stroke-dasharray: 5 3; } .line { fill: none; } .band { stroke: none; }
"""


def page(title: str, body: Sequence[str], *, style: str = "") -> str:
    """One self-contained page.

    Args:
        title: Of the window; the heading is the body's.
        body: HTML of the parts, one below the other.
        style: CSS beside the common one.

    Returns:
        The page, to be written as UTF-8.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def facts_list(facts: Mapping[str, str]) -> str:
    """Names with their values, as a row of boxes.

    Args:
        facts: Values by name.

    Returns:
        A `dl` element.
    """
    cells = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts.items()
    ]
    return f'<dl class="facts">{"".join(cells)}</dl>'


def legend(colours: Mapping[str, int]) -> str:
    """Which line of a chart is which.

    Args:
        colours: Number of each series' colour, as given to `line_chart`.

    Returns:
        A `div` element.
    """
    return (
        '<div class="legend">'
        + "".join(
            f'<span><svg viewBox="0 0 26 8"><polyline class="line s{number % NUM_COLOURS}" '
            f'points="1,4 25,4"/></svg>{escape(name)}</span>'
            for name, number in colours.items()
        )
        + "</div>"
    )
