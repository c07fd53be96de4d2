"""Pictures of a graph as inline SVG: a box a task, or a box a class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from tadka.task.look.layout import Point, arrange
from tadka.task.look.view import STATUSES, View
from tadka.task.look.word import duration, first_line, fitted, many, many_rows, plain, size

WIDTH, HEIGHT = 226.0, 60.0  # of a box
_MOST_LINKS = 3000  # of one picture: with more of them nothing can be seen
_MOST_CLASSES = 150  # of one picture

STYLE = """
.graph { overflow: auto; max-height: 84vh; border: 1px solid var(--rule); border-radius: 8px;
  padding: 12px; margin: 0 0 8px; }
.graph > svg { display: block; margin: 0 auto; }
.graph a { text-decoration: none; } .graph a:focus { outline: none; }
.box { fill: var(--page); stroke: var(--c); stroke-width: 1.5; }
a:hover > .box { fill: var(--panel); } a:focus-visible > .box { stroke-width: 4; }
svg .name { fill: var(--ink); font-size: 13px; font-weight: 600; }
svg .label { fill: var(--ink); font-size: 12px; } svg .small { font-size: 11px; }
.link { fill: none; stroke: var(--soft); stroke-opacity: .55; stroke-width: 1.3; }
.head { fill: var(--soft); }
.stored { --c: var(--s2); } .runs { --c: var(--s0); } .failed { --c: var(--bad); }
.waits { --c: var(--soft); } .other { --c: var(--s4); }
.runs > .box { stroke-width: 2.2; } .waits > .box { stroke-dasharray: 6 4; }
.other > .box { stroke-dasharray: 2 3; } .failed > .box { stroke-width: 3.2; }
.sign { width: 15px; height: 15px; flex: none; vertical-align: -2px; overflow: visible; }
.sign circle, .sign rect { fill: var(--c); stroke: none; }
.sign path { fill: none; stroke: var(--page); stroke-width: 2; stroke-linecap: round;
  stroke-linejoin: round; }
.waits > .sign circle, .sign.waits circle { fill: var(--page); stroke: var(--c);
  stroke-width: 1.6; }
.waits > .sign path, .sign.waits path { stroke: var(--c); stroke-width: 1.6; }
.part { stroke: none; fill: var(--c); }
"""

_SIGNS = {
    "stored": '<circle cx="7.5" cy="7.5" r="7.5"/><path d="M4 7.8l2.5 2.6L11 5.2"/>',
    "runs": '<circle cx="7.5" cy="7.5" r="7.5"/><path d="M5.8 4.4L10.8 7.5L5.8 10.6z"/>',
    "waits": '<circle cx="7.5" cy="7.5" r="6.7"/><path d="M7.5 3.8V7.7L10 9.2"/>',
    "other code": (
        '<rect width="15" height="15" rx="3"/><path d="M4 5.8h7M4 9.2h7M9.4 3.4L5.6 11.6"/>'
    ),
    "failed": '<rect width="15" height="15" rx="2"/><path d="M4.4 4.4l6.2 6.2M10.6 4.4l-6.2 6.2"/>',
}


@dataclass(frozen=True)
class Box:
    """A box of a picture.

    Args:
        name: First line.
        label: Second line.
        small: Third line.
        status: Of the task; of a class the one that needs a look first.
        href: Where a click leads; nowhere where it is empty.
        tip: What is said when it is pointed at, and by screen readers.
        parts: Number of tasks by status, of a class.
    """

    name: str
    label: str
    small: str
    status: str
    href: str
    tip: str
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Group:
    """The tasks of one class.

    Args:
        name: Of the class.
        views: Its tasks.
        number: Of the group in the page.
    """

    name: str
    views: Sequence[View]
    number: int

    @property
    def anchor(self) -> str:
        """The name of its row in a page."""
        return f"c-{self.number}"

    @property
    def counts(self) -> dict[str, int]:
        """Number of tasks by status, in the order of `STATUSES`."""
        found = Counter(view.status for view in self.views)
        return {status: found[status] for status in STATUSES if found[status]}

    @property
    def seconds(self) -> float | None:
        """That its tasks took together."""
        return _total([view.seconds for view in self.views])

    @property
    def num_bytes(self) -> int | None:
        """Of its results together."""
        total = _total([view.num_bytes for view in self.views])
        return None if total is None else int(total)

    @property
    def num_rows(self) -> int | None:
        """Of its results together."""
        total = _total([view.num_rows for view in self.views])
        return None if total is None else int(total)

    @property
    def peak_bytes(self) -> int | None:
        """The highest of its tasks."""
        return max((v.peak_bytes for v in self.views if v.peak_bytes is not None), default=None)


def groups_of(views: Sequence[View]) -> list[Group]:
    """The tasks by class.

    Args:
        views: Each after what it needs.

    Returns:
        In the order in which the classes are met.
    """
    by_class: dict[type, list[View]] = {}
    for view in views:
        by_class.setdefault(type(view.task), []).append(view)
    return [Group(same[0].name, same, number) for number, same in enumerate(by_class.values())]


def sign(status: str) -> str:
    """The sign of a status, which differs in shape and not only in colour; `svg` for HTML.

    Args:
        status: One of `STATUSES`.
    """
    return (
        f'<svg class="sign {style_of(status)}" viewBox="0 0 15 15" aria-hidden="true">'
        f"{_SIGNS[status]}</svg>"
    )


def style_of(status: str) -> str:
    """The CSS class of a status."""
    return status.partition(" ")[0]


def draw_tasks(views: Sequence[View], anchors: frozenset[str]) -> str | None:
    """A box for each task.

    Args:
        views: All of a graph, in its order.
        anchors: Of the cards that the page has.

    Returns:
        An `svg` element; None where there are too many links to see anything.
    """
    links = [(parent.index, view.node.index) for view in views for parent in view.node.parents]
    if len(links) > _MOST_LINKS:
        return None
    boxes = [
        Box(
            name=view.name,
            label=view.label,
            small=small_print(view),
            status=view.status,
            href=f"#{view.anchor}" if view.anchor in anchors else "",
            tip=_tip(view),
        )
        for view in views
    ]
    return _draw(boxes, links, f"Graph of {many(len(views), 'task')}")


def draw_classes(groups: Sequence[Group]) -> str | None:
    """A box for each class, with the number of its tasks.

    Args:
        groups: All of a graph.

    Returns:
        An `svg` element; None where there are too many classes to see anything.
    """
    group_of = {view.node.index: g.number for g in groups for view in g.views}
    links: Counter[Point] = Counter()
    itself: set[int] = set()
    for group in groups:
        for view in group.views:
            for parent in {group_of[parent.index] for parent in view.node.parents}:
                if parent == group.number:
                    itself.add(parent)
                else:
                    links[parent, group.number] += 1
    if len(groups) > _MOST_CLASSES or len(links) > _MOST_LINKS:
        return None
    boxes = []
    for group in groups:
        counts = group.counts
        words = ", ".join(f"{number:,} {STATUSES[status]}" for status, number in counts.items())
        figures = [duration(group.seconds), size(group.num_bytes)]
        num_tasks = len(group.views)
        name = f"{group.name} \u00d7 {num_tasks:,}" if num_tasks > 1 else group.name
        tip = f"{group.name}: {many(num_tasks, 'task')}, {words}"
        if group.number in itself:
            name += " \u21bb"
            tip += "; some need others of their class"
        boxes.append(
            Box(
                name=name,
                label=words,
                small=" · ".join(figure for figure in figures if figure != "-"),
                status=next(iter(counts)),
                href=f"#{group.anchor}",
                tip=tip,
                parts=counts,
            )
        )
    label = f"Graph of {many(len(groups), 'class', 'classes')}"
    return _draw(boxes, [(int(a), int(b)) for a, b in links], label)


def small_print(view: View) -> str:
    """The figures of a task, or why it is to run, in one line."""
    if view.status == "failed" and view.execution is not None and view.execution.error:
        return plain(first_line(view.execution.error))
    if not view.is_stored and view.reasons:
        return plain(view.reasons[0])
    figures = [duration(view.seconds), size(view.num_bytes)]
    if view.num_rows is not None:
        figures.insert(1, many_rows(view.num_rows))
    return " · ".join(figure for figure in figures if figure != "-")


def _tip(view: View) -> str:
    lines = [f"{view.name} #{view.node.id[:8]}: {STATUSES[view.status]}", view.label]
    if view.is_stored or view.status == "failed":
        lines.append(small_print(view))
    if view.peak_bytes is not None and (view.is_stored or view.status == "failed"):
        lines.append(f"{size(view.peak_bytes)} of memory at most")
    lines += [plain(reason) for reason in view.reasons[:8]]
    return "\n".join(filter(None, lines))


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


# ---------------------------------------------------------------- svg


def _draw(boxes: Sequence[Box], links: Sequence[tuple[int, int]], label: str) -> str:
    plan = arrange(len(boxes), links, box=(WIDTH, HEIGHT))
    head = (
        f'<svg role="group" aria-label="{escape(label)}" width="{plan.width:.0f}" '
        f'height="{plan.height:.0f}" viewBox="0 0 {plan.width:.0f} {plan.height:.0f}" '
        f'style="min-width:{min(plan.width, max(plan.width * 0.72, 300)):.0f}px;max-width:100%;'
        'height:auto">'
    )
    parts = [head]
    half = (WIDTH if plan.is_across else HEIGHT) / 2
    for path in plan.paths:
        line, head = _curve(path, half, is_across=plan.is_across)
        parts.append(f'<path class="link" d="{line}"/><path class="head" d="{head}"/>')
    for box, (x, y) in zip(boxes, plan.centres, strict=True):
        parts.append(_box(box, x - WIDTH / 2, y - HEIGHT / 2))
    return "".join([*parts, "</svg>"])


def _curve(path: Sequence[Point], half: float, *, is_across: bool) -> tuple[str, str]:
    """A link from the edge of its first box to that of its last, and the head of an arrow there."""
    way = list(path) if is_across else [(y, x) for x, y in path]
    step = 1 if way[-1][0] >= way[0][0] else -1
    start, end = (way[0][0] + step * half, way[0][1]), (way[-1][0] - step * half, way[-1][1])
    # Between boxes of a level a link goes straight on, so that it touches none of them.
    stops = [start]
    for along, aside in way[1:-1]:
        stops += [(along - step * half, aside), (along + step * half, aside)]
    stops.append((end[0] - step * 5, end[1]))

    def text(along: float, aside: float) -> str:
        x, y = (along, aside) if is_across else (aside, along)
        return f"{x:.0f} {y:.0f}"

    parts = [f"M{text(*stops[0])}"]
    for place, ((a, b), (c, d)) in enumerate(pairwise(stops)):
        if place % 2 or b == d:
            parts.append(f"L{text(c, d)}")
        else:
            parts.append(f"C{text((a + c) / 2, b)} {text((a + c) / 2, d)} {text(c, d)}")
    back = end[0] - step * 7
    corners = (text(back, end[1] - 4), text(*end), text(back, end[1] + 4))
    return "".join(parts), f"M{'L'.join(corners)}z"


def _box(box: Box, x: float, y: float) -> str:
    room = WIDTH - 18
    lines = (
        ("name", 20, 13.5, room - 24, box.name, 24),
        ("label", 37, 12, room, box.label, 0),
        ("small", 52 if box.label else 38, 11, room, box.small, 0),
    )
    texts = "".join(
        f'<text class="{style}" x="{x + 10 + shift:.0f}" y="{y + down:.0f}">'
        f"{escape(fitted(text, width / letter))}</text>"
        for style, down, letter, width, text, shift in lines
        if text
    )
    bar = ""
    if len(box.parts) > 1 or sum(box.parts.values()) > 1:
        at, total = x + 2, sum(box.parts.values())
        for status, number in box.parts.items():
            wide = (WIDTH - 4) * number / total
            bar += (
                f'<rect class="part {style_of(status)}" x="{at:.1f}" y="{y + HEIGHT - 4:.0f}" '
                f'width="{wide:.1f}" height="3"/>'
            )
            at += wide
    inside = (
        f"<title>{escape(box.tip)}</title>"
        f'<rect class="box" x="{x:.0f}" y="{y:.0f}" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" '
        f'rx="7"/>{bar}<g class="sign" transform="translate({x + 9:.0f} {y + 8:.0f})">'
        f"{_SIGNS[box.status]}</g>{texts}"
    )
    style = style_of(box.status)
    if not box.href:
        return f'<g class="{style}">{inside}</g>'
    return f'<a class="{style}" href="{escape(box.href)}">{inside}</a>'
