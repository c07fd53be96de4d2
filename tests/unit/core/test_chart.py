import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tadka.core.chart import line_chart, nice_ticks, short_number, spark_line

SVG = ET.Element
numbers = st.floats(-1e12, 1e12, allow_nan=False)


def draw(**options: object) -> SVG:
    defaults: dict[str, object] = {
        "series": {"train": [(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]},
        "x_label": "seconds",
        "y_label": "rows/s",
        "label": "Throughput",
    }
    return ET.fromstring(line_chart(**{**defaults, **options}))  # type: ignore[arg-type]


def texts(svg: SVG, css_class: str) -> list[str]:
    return [node.text or "" for node in svg.iter("text") if node.get("class") == css_class]


def test_each_point_has_a_tooltip_with_name_value_and_units() -> None:
    tips = [node.text for node in draw().iter("title")]

    assert ["train: 1 rows/s at 0 seconds", "train: 3 rows/s at 1 seconds"] == tips[:2]


def test_names_are_escaped() -> None:
    svg = line_chart({"<b>&": [(0, 1), (1, 2)]}, x_label="x<", y_label="y", label='"quoted"')

    assert "<b>" not in svg
    assert any("<b>&" in (node.text or "") for node in ET.fromstring(svg).iter("title"))


def test_axes_begin_at_zero_when_asked() -> None:
    svg = draw(series={"a": [(10.0, 100.0), (20.0, 101.0)]}, has_origin=True)

    assert 2 == texts(svg, "tick").count("0")


def test_zero_is_left_out_where_it_is_far() -> None:
    svg = draw(series={"a": [(10.0, 100.0), (20.0, 101.0)]})

    assert "0" not in texts(svg, "tick")


def test_an_axis_that_counts_has_whole_ticks() -> None:
    svg = draw(series={"a": [(1.0, 0.5), (2.0, 0.25)]}, x_is_whole=True)

    assert {"1", "2"} <= set(texts(svg, "tick"))
    assert "1.5" not in texts(svg, "tick")


def test_a_line_of_one_point_is_a_visible_dot() -> None:
    dot = next(draw(series={"a": [(1.0, 1.0)]}).iter("circle"))

    assert dot.get("opacity") is None


def test_a_series_keeps_the_colour_it_is_given() -> None:
    (line,) = draw(series={"a": [(0.0, 1.0), (1.0, 2.0)]}, colours={"a": 3}).iter("polyline")

    assert "line s3" == line.get("class")


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5))
@example([(0.0, 5e-324)])
@example([(0.0, 1.0), (5e-324, 1.0 + 2**-52)])
def test_every_point_lies_inside_the_frame(points: list[tuple[float, float]]) -> None:
    svg = ET.fromstring(line_chart({"a": sorted(points)}, x_label="x", y_label="y", label="l"))

    for circle in svg.iter("circle"):
        assert 0 <= float(circle.get("cx", "nan")) <= 760
        assert 0 <= float(circle.get("cy", "nan")) <= 230


@given(numbers, st.floats(1e-6, 1e9), st.integers(2, 10))
def test_ticks_are_increasing_and_within_the_axis(low: float, length: float, count: int) -> None:
    high = low + length
    if not high > low:
        return
    ticks = nice_ticks(low, high, count)

    assert sorted(ticks) == ticks
    room = 1e-6 * max(abs(low), abs(high), 1)
    assert all(low - room <= tick <= high + room for tick in ticks)
    assert len(ticks) <= 2 * count + 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (999, "999"),
        (1234, "1,234"),
        (12_500, "12.5k"),
        (2_000_000, "2M"),
        (3e9, "3G"),
        (4e12, "4T"),
        (-12_500, "-12.5k"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert text == short_number(value)


def test_all_numbers_of_an_axis_bear_one_unit() -> None:
    assert ["0", "5k", "10k"] == [short_number(v, like=10_000) for v in (0, 5_000, 10_000)]


def test_tick_steps_are_one_two_or_five() -> None:
    for length in (0.07, 3, 42, 1e5):
        ticks = nice_ticks(0, length, 5)
        step = ticks[1] - ticks[0]
        lead = step / 10 ** math.floor(math.log10(step) + 1e-9)
        assert min(abs(lead - good) for good in (1, 2, 5)) < 1e-6


def test_a_line_of_blocks_goes_from_the_lowest_to_the_highest() -> None:
    assert "█▅▁" == spark_line([3.0, 2.0, 1.0])
    assert "" == spark_line([])
    assert "▄▄" == spark_line([5.0, 5.0])


def test_a_line_of_blocks_has_gaps_and_no_more_characters_than_asked() -> None:
    assert "▁ █" == spark_line([0.0, math.nan, 1.0])
    assert " " == spark_line([math.inf])
    line = spark_line([float(number) for number in range(100)], width=10)
    assert 10 == len(line)
    assert ("▁", "█") == (line[0], line[-1])
