import random
import time
from itertools import combinations

import pytest

from tadka.task.look.layout import Layout, arrange

BOX = (200.0, 60.0)


def overlap(layout: Layout) -> list[tuple[int, int]]:
    """Boxes that touch each other."""
    return [
        (i, j)
        for (i, (x, y)), (j, (u, v)) in combinations(enumerate(layout.centres), 2)
        if abs(x - u) < BOX[0] + 1 and abs(y - v) < BOX[1] + 1
    ]


def is_inside(layout: Layout) -> bool:
    return all(
        BOX[0] / 2 <= x <= layout.width - BOX[0] / 2
        and BOX[1] / 2 <= y <= layout.height - BOX[1] / 2
        for x, y in layout.centres
    )


def test_one_box_fills_the_picture() -> None:
    layout = arrange(1, [], box=BOX)

    assert [(104.0, 34.0)] == list(layout.centres)
    assert (208.0, 68.0) == (layout.width, layout.height)
    assert [] == layout.paths


def test_a_diamond_stands_straight() -> None:
    layout = arrange(4, [(0, 1), (0, 2), (1, 3), (2, 3)], box=BOX)
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = layout.centres

    assert layout.is_across
    assert ax < bx == cx < dx
    assert ay == pytest.approx(dy) == pytest.approx((by + cy) / 2)
    assert [(ax, ay), (bx, by)] == list(layout.paths[0])


def test_a_deep_graph_goes_down_and_a_wide_one_across() -> None:
    chain = arrange(40, [(i, i + 1) for i in range(39)], box=BOX)
    fan = arrange(42, [(0, i) for i in range(1, 41)] + [(i, 41) for i in range(1, 41)], box=BOX)

    assert not chain.is_across
    assert 1 == len({x for x, _ in chain.centres})
    assert fan.is_across
    assert fan.width < 1100 < fan.height


def test_crossings_go_where_the_order_can_spare_them() -> None:
    # Two ladders, their boxes numbered so that the first order crosses every link.
    links = [(i, 11 - i) for i in range(6)] + [(11 - i, 12 + i) for i in range(6)]
    layout = arrange(18, links, box=BOX)
    aside = [[y if layout.is_across else x for x, y in path] for path in layout.paths[:6]]

    assert all((a[0] - b[0]) * (a[1] - b[1]) > 0 for a, b in combinations(aside, 2))


def test_a_long_link_passes_between_the_boxes_of_the_levels_that_it_crosses() -> None:
    links = [(0, 1), (1, 2), (2, 3), (0, 3), (4, 2), (5, 1)]
    layout = arrange(6, links, box=BOX)
    bends = layout.paths[3][1:-1]

    assert 2 == len(bends)
    for x, y in bends:
        assert all(abs(x - u) >= BOX[0] / 2 or abs(y - v) >= BOX[1] / 2 for u, v in layout.centres)


def test_what_needs_nothing_stands_before_what_needs_it() -> None:
    layout = arrange(5, [(0, 1), (1, 2), (2, 3), (4, 3)], box=BOX)
    along = [x if layout.is_across else y for x, y in layout.centres]

    assert along[4] == along[2]


def test_circles_are_taken_and_keep_their_direction() -> None:
    links = [(0, 1), (1, 2), (2, 0), (2, 3)]
    layout = arrange(4, links, box=BOX)

    assert [] == overlap(layout)
    for (first, second), path in zip(links, layout.paths, strict=True):
        assert (layout.centres[first], layout.centres[second]) == (path[0], path[-1])


@pytest.mark.parametrize("seed", range(12))
def test_boxes_of_any_graph_are_apart_and_inside(seed: int) -> None:
    rng = random.Random(seed)
    num_boxes = rng.randint(1, 60)
    links = sorted(
        {
            tuple(sorted(rng.sample(range(num_boxes), 2)))
            for _ in range(rng.randint(0, 3 * num_boxes))
            if num_boxes > 1
        }
    )
    layout = arrange(num_boxes, [(a, b) for a, b in links], box=BOX)

    assert [] == overlap(layout)
    assert is_inside(layout)
    assert layout == arrange(num_boxes, [(a, b) for a, b in links], box=BOX)
    along = 0 if layout.is_across else 1
    for a, b in links:
        assert layout.centres[a][along] < layout.centres[b][along]


def test_many_long_links_cost_no_more_than_seconds() -> None:
    links = [(i, i + 1) for i in range(199)] + [(i, 199) for i in range(198)]
    links += [(i, j) for i in range(0, 190, 3) for j in range(i + 2, min(i + 40, 199), 2)]
    began = time.perf_counter()
    layout = arrange(200, links, box=BOX)

    assert [] == overlap(layout)
    assert time.perf_counter() - began < 10
