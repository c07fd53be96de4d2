"""Where the boxes of a graph stand: in levels, with few crossings and straight links.

After Sugiyama, Tagawa and Toda (1981): levels by the longest path, order in a level by the mean of
its neighbours (barycentre), long links through a place in every level between. The last step, how
far apart, is a least-squares fit that keeps the order (isotonic regression).
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_ROUNDS = 12  # of sorting, and of placing
_MOST_BENDS = 2000  # places of links between levels: beyond it the longest links go straight

Point = tuple[float, float]
Link = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """Places of boxes and links, in pixels from the top left.

    Args:
        width: Of the picture.
        height: Of the picture.
        centres: Of each box.
        paths: Of each link, the points that it passes in the middle of a level; first that of its
            first box, last that of its second.
        is_across: Whether levels go from left to right; else from top to bottom.
    """

    width: float
    height: float
    centres: Sequence[Point]
    paths: Sequence[Sequence[Point]]
    is_across: bool


def arrange(
    num_boxes: int,
    links: Sequence[Link],
    *,
    box: Point,
    gap: float = 16,
    between: float = 64,
    page_width: float = 1100,
) -> Layout:
    """Places boxes in levels, each to the right of what it needs, or below where that fits better.

    Args:
        num_boxes: How many there are; at least one.
        links: Pairs of boxes: what is needed, what needs it. Circles are taken: some of their links
            then lead back.
        box: Width and height of one.
        gap: Between boxes of a level.
        between: Between levels.
        page_width: What is there without scrolling.

    Returns:
        The same for the same graph.
    """
    forward = _without_circles(num_boxes, links)
    levels = _levels(num_boxes, forward)
    rows = _Rows(num_boxes, forward, levels)
    rows.sort()
    across = len(rows.levels) * (box[0] + between)
    down = max(len(row) for row in rows.levels) * (box[0] + gap)
    is_across = across <= max(page_width, down)
    size, depth = (box[1], box[0]) if is_across else box
    places = rows.place(size, gap)
    low = min(place - rows.room(i, size) / 2 for i, place in enumerate(places))
    high = max(place + rows.room(i, size) / 2 for i, place in enumerate(places))
    margin = 4.0

    def point(item: int) -> Point:
        along = margin + rows.level_of[item] * (depth + between) + depth / 2
        aside = margin + places[item] - low
        return (along, aside) if is_across else (aside, along)

    length = len(rows.levels) * (depth + between) - between + 2 * margin
    breadth = high - low + 2 * margin
    paths = []
    for link, turned in zip(links, forward, strict=True):
        path = [point(item) for item in rows.bends[turned]]
        paths.append(path if link == turned else path[::-1])
    return Layout(
        *((length, breadth) if is_across else (breadth, length)),
        [point(item) for item in range(num_boxes)],
        paths,
        is_across,
    )


def _without_circles(num_boxes: int, links: Sequence[Link]) -> list[Link]:
    """The links, those turned round that lead back to where a walk came from."""
    follow: list[list[int]] = [[] for _ in range(num_boxes)]
    has_before = [False] * num_boxes
    for first, second in links:
        follow[first].append(second)
        has_before[second] = True
    back: set[Link] = set()
    state = [0] * num_boxes  # 1 on the way, 2 done
    for start in sorted(range(num_boxes), key=lambda item: has_before[item]):
        if state[start]:
            continue
        way = [(start, iter(follow[start]))]
        state[start] = 1
        while way:
            item, rest = way[-1]
            other = next(rest, None)
            if other is None:
                state[item] = 2
                way.pop()
            elif state[other] == 1:
                back.add((item, other))
            elif not state[other]:
                state[other] = 1
                way.append((other, iter(follow[other])))
    return [(b, a) if (a, b) in back else (a, b) for a, b in links]


def _levels(num_boxes: int, links: Sequence[Link]) -> list[int]:
    """The longest way to each box; what needs nothing stands just before what needs it."""
    after: list[list[int]] = [[] for _ in range(num_boxes)]
    missing = [0] * num_boxes
    for first, second in links:
        after[first].append(second)
        missing[second] += 1
    sources = [item for item in range(num_boxes) if not missing[item]]
    levels = [0] * num_boxes
    ready = list(sources)
    while ready:
        item = ready.pop()
        for other in after[item]:
            levels[other] = max(levels[other], levels[item] + 1)
            missing[other] -= 1
            if not missing[other]:
                ready.append(other)
    for item in sources:
        if after[item]:
            levels[item] = min(levels[other] for other in after[item]) - 1
    return levels


class _Rows:
    """Boxes and bends of links by level, in their order."""

    def __init__(self, num_boxes: int, links: Sequence[Link], levels: Sequence[int]) -> None:
        self.num_boxes = num_boxes
        self.level_of = list(levels)
        self.levels: list[list[int]] = [[] for _ in range(max(levels) + 1)]
        for item, level in enumerate(levels):
            self.levels[level].append(item)
        self.bends: dict[Link, list[int]] = {}
        num_bends = 0
        for first, second in sorted(set(links), key=lambda k: (levels[k[1]] - levels[k[0]], k)):
            bends = []
            if num_bends + levels[second] - levels[first] <= _MOST_BENDS:
                for level in range(levels[first] + 1, levels[second]):
                    bends.append(len(self.level_of))
                    self.level_of.append(level)
                    self.levels[level].append(bends[-1])
                num_bends += len(bends)
            self.bends[first, second] = [first, *bends, second]
        self.before: list[list[int]] = [[] for _ in self.level_of]
        self.after: list[list[int]] = [[] for _ in self.level_of]
        for way in self.bends.values():
            for one, other in pairwise(way):
                self.after[one].append(other)
                self.before[other].append(one)

    def room(self, item: int, size: float) -> float:
        """What a box, or the bend of a link, takes in its level."""
        return size if item < self.num_boxes else 2.0

    def sort(self) -> None:
        """Orders each level by the mean place of its neighbours, there and back; keeps the best."""
        best, fewest = [list(row) for row in self.levels], self._num_crossings()
        for turn in range(_ROUNDS):
            if not fewest:
                break
            is_forward = turn % 2 == 0
            near = self.before if is_forward else self.after
            place = [0.0] * len(self.level_of)
            for row in self.levels if is_forward else reversed(self.levels):
                for i, item in enumerate(row):
                    others = near[item]
                    mean = sum(place[o] for o in others) / len(others) if others else None
                    place[item] = (i + 0.5) / len(row) if mean is None else mean
                row.sort(key=place.__getitem__)
                for i, item in enumerate(row):
                    place[item] = (i + 0.5) / len(row)
            crossings = self._num_crossings()
            if crossings < fewest:
                best, fewest = [list(row) for row in self.levels], crossings
        self.levels = best

    def _num_crossings(self) -> int:
        rank = {item: i for row in self.levels for i, item in enumerate(row)}
        crossings = 0
        for row in self.levels:
            ends: list[int] = []
            for item in row:
                others = sorted(rank[other] for other in self.after[item])
                crossings += sum(len(ends) - bisect_right(ends, other) for other in others)
                for other in others:
                    insort(ends, other)
        return crossings

    def place(self, size: float, gap: float) -> list[float]:
        """Where each item's middle stands in its level."""
        places = [0.0] * len(self.level_of)
        for row in self.levels:
            at = 0.0
            for item in row:
                places[item] = at + self.room(item, size) / 2
                at += self.room(item, size) + gap
            for item in row:
                places[item] -= (at - gap) / 2
        for turn in range(_ROUNDS):
            near = [self.before, self.after][turn % 2] if turn < _ROUNDS - 2 else None
            for row in self.levels if turn % 2 == 0 else reversed(self.levels):
                wanted, weights = [], []
                for item in row:
                    others = near[item] if near else self.before[item] + self.after[item]
                    mean = sum(places[o] for o in others) / len(others) if others else places[item]
                    wanted.append(mean)
                    # A bend is to be straight before a box is to be in the middle.
                    weights.append(0.2 if not others else 1.0 if item < self.num_boxes else 4.0)
                rooms = [self.room(item, size) for item in row]
                apart = [(a + b) / 2 + gap for a, b in pairwise(rooms)]
                for item, at in zip(row, _settled(wanted, weights, apart), strict=True):
                    places[item] = at
        return places


def _settled(
    wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]
) -> list[float]:
    """The places nearest to the wanted ones, in their order and so far apart (least squares)."""
    shifts = [0.0]
    for distance in apart:
        shifts.append(shifts[-1] + distance)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, number of items
    for want, weight, shift in zip(wanted, weights, shifts, strict=True):
        mean, total, count = want - shift, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_count = blocks.pop()
            mean = (mean * total + other * other_weight) / (total + other_weight)
            total += other_weight
            count += other_count
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + shift for mean, shift in zip(means, shifts, strict=True)]
