"""Line charts as inline SVG: nothing to load, light and dark by the page's CSS variables."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 760, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 10, 40
_MIN_LENGTH = 1e-290
"""Of an axis: steps of a shorter one would be subnormal numbers, which lose digits."""
NUM_COLOURS = 6
"""Classes `s0` to `s5` carry a series' colour and dashes; the page's CSS defines them."""


def line_chart(
    series: Mapping[str, Points],
    *,
    x_label: str,
    y_label: str,
    label: str,
    x_is_whole: bool = False,
    bands: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    marks: Sequence[tuple[float, str]] = (),
    colours: Mapping[str, int] | None = None,
    has_origin: bool = False,
) -> str:
    """A chart of lines over one horizontal axis, with tooltips at its points.

    Args:
        series: Points by name, each in increasing x; at least one point in all, all finite.
        x_label: Text below, with the unit.
        y_label: Text of tooltips, with the unit.
        label: What the chart shows, for screen readers.
        x_is_whole: Whether x counts something, so that the axis has whole numbers only.
        bands: (x, low, high) by name, drawn behind the line of that name.
        marks: (x, text) of vertical lines.
        colours: Number of each series' colour; its place in `series` unless given.
        has_origin: Whether both axes begin at zero; otherwise the vertical one does where zero is
            near.

    Returns:
        An `svg` element.
    """
    points = [point for line in series.values() for point in line]
    bands = bands or {}
    colours = colours or {name: number for number, name in enumerate(series)}
    classes = {name: f"s{colours[name] % NUM_COLOURS}" for name in series}
    highs = [high for band in bands.values() for _, _, high in band]
    lows = [low for band in bands.values() for _, low, _ in band]
    x_low = 0.0 if has_origin else min(x for x, _ in points)
    x_low, x_high = _spread(x_low, max(x for x, _ in points))
    # Zero is in sight where it is near, so that small wiggles of a large number stay small.
    y_low = min([y for _, y in points] + lows)
    y_high = max([y for _, y in points] + highs)
    if has_origin or 0 <= y_low < 0.6 * y_high or y_low == y_high:
        y_low = min(y_low, 0.0)
    y_low, y_high = _spread(y_low, y_high)
    y_ticks = nice_ticks(y_low, y_high, 4)
    y_low, y_high = min(y_low, y_ticks[0]), max(y_high, y_ticks[-1])

    def x_at(x: float) -> float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)

    def y_at(y: float) -> float:
        return _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    base, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">',
        *(
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y_at(y):.1f}" y2="{y_at(y):.1f}"/>'
            f'<text class="tick" x="{_LEFT - 8}" y="{y_at(y) + 4:.1f}" text-anchor="end">'
            f"{short_number(y, like=y_ticks[-1])}</text>"
            for y in y_ticks
        ),
        f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{base}" y2="{base}"/>',
    ]
    x_ticks = nice_ticks(x_low, x_high, 8, is_whole=x_is_whole)
    for x in x_ticks:
        at = x_at(x)
        parts.append(
            f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{base}" y2="{base + 4}"/>'
            f'<text class="tick" x="{at:.1f}" y="{base + 17}" text-anchor="middle">'
            f"{short_number(x, like=x_ticks[-1])}</text>"
        )
    parts.append(
        f'<text class="label" x="{(_LEFT + right) / 2}" y="{_HEIGHT - 5}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    for x, text in marks:
        parts.append(
            f'<line class="mark" x1="{x_at(x):.1f}" x2="{x_at(x):.1f}" y1="{_TOP}" y2="{base}">'
            f"<title>{escape(text)}</title></line>"
        )
    for name, line in series.items():
        colour = classes[name]
        if band := bands.get(name):
            upper = " ".join(f"{x_at(x):.1f},{y_at(high):.1f}" for x, _, high in band)
            lower = " ".join(f"{x_at(x):.1f},{y_at(low):.1f}" for x, low, _ in reversed(band))
            parts.append(f'<polygon class="band {colour}" points="{upper} {lower}"/>')
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="line {colour}" points="{path}"/>')
    for name, line in series.items():
        hidden = "" if len(line) == 1 else ' opacity="0"'  # a line of one point has no length
        for x, y in line:
            tip = f"{name}: {short_number(y, 4)} {y_label} at {short_number(x, 4)} {x_label}"
            parts.append(
                f'<g class="point {classes[name]}">'
                f'<circle class="dot" cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3"{hidden}/>'
                f'<circle class="hit" cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="7">'
                f"<title>{escape(tip)}</title></circle></g>"
            )
    return "".join([*parts, "</svg>"])


def nice_ticks(low: float, high: float, count: int, *, is_whole: bool = False) -> list[float]:
    """About `count` round numbers from below `low` or at it to `high`; steps of 1, 2 or 5 x 10^n.

    Args:
        low: Start of the axis.
        high: End of the axis, above `low`.
        count: How many are wanted; between half and twice as many come.
        is_whole: Whether the numbers must be whole.

    Returns:
        Increasing numbers within [low, high].
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    if is_whole:
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)] or [low]


def short_number(value: float, digits: int = 3, *, like: float | None = None) -> str:
    """A number for an axis: 12.5k, 2M, 0.25.

    Args:
        value: The number.
        digits: Significant digits at least.
        like: The axis's largest number, whose unit all of its numbers bear.

    Returns:
        The shortened text.

    >>> short_number(12_500), short_number(5_000), short_number(5_000, like=10_000)
    ('12.5k', '5,000', '5k')
    """
    size = abs(value if like is None else like)
    units = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
    for limit, unit, letter in units:
        if size >= limit and value:
            return f"{value / unit:.{digits}g}{letter}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def _spread(low: float, high: float) -> tuple[float, float]:
    """An axis needs a length, also for one value or for values that differ by rounding only."""
    size = max(abs(low), abs(high))
    if high - low > max(1e-12 * size, _MIN_LENGTH):
        return low, high
    room = 0.1 * size if size > _MIN_LENGTH else 1.0
    return (low, high + room) if low >= 0 else (low - room, high)


_BLOCKS = "▁▂▃▄▅▆▇█"


def spark_line(values: Sequence[float], width: int = 40) -> str:
    """A line of blocks for a terminal, from the lowest value to the highest.

    Args:
        values: In order; those that are not finite leave a gap.
        width: Most characters; of more values, evenly spaced ones are drawn, the last one always.

    Returns:
        One character a value; nothing for none.

    >>> spark_line([1.0, 2.0, math.nan, 8.0])
    '▁▂ █'
    """
    if len(values) > width:
        step = (len(values) - 1) / max(width - 1, 1)
        values = [values[round(number * step)] for number in range(width - 1)] + [values[-1]]
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    top = len(_BLOCKS) - 1

    def block(value: float) -> str:
        if not math.isfinite(value):
            return " "
        return _BLOCKS[round((value - low) / (high - low) * top) if high > low else top // 2]

    return "".join(map(block, values))
