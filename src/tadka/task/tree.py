"""A graph of tasks as text: a tree from what is wanted down to what it needs, or a table."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tadka.task.define.task import Task
from tadka.task.graph import Node
from tadka.task.look.view import STATUSES, View, parameters_of, views_of
from tadka.task.look.word import count, duration, many, plain, size
from tadka.task.plan import Plan
from tadka.task.store.row import Execution

_MOST_LINES = 1000
_MOST_SIBLINGS = 20  # of one class, in one place
_DEEPEST = 40  # levels: more do not fit beside each other
_LONGEST = 120  # letters of parameters

Ignored = Collection[type[Task[Any]] | str]


def tree(
    plan: Plan,
    *,
    executions: Mapping[str, Execution] | None = None,
    ignore: Ignored = (),
    most_lines: int = _MOST_LINES,
) -> str:
    """What is wanted, and below each task what it needs.

    A task that was told before is told again without what it needs, and ends in `...`.

    Args:
        plan: What is stored, and what is to run.
        executions: What the last run that met a task did with it, by the task's id.
        ignore: Classes, or their names, that are left out with what only they need.
        most_lines: How many lines there are at most; a last one says what is left out.

    Returns:
        One line a task, such as `└─ clicks: Clicks(day=2026-01-31) [stored]`.
    """
    views = views_of(plan, executions)
    left_out = _left_out(plan, ignore)
    lines: list[str] = []
    told: set[int] = set()
    is_whole = True
    roots: list[_Item] = [("", node) for node in plan.graph.roots if node.index not in left_out]
    # Lines that are still to be told, the next one last.
    waiting = [("", "", item) for item in reversed(roots)]
    while waiting:
        if len(lines) >= most_lines:
            is_whole = False
            break
        lead, indent, (place, node) = waiting.pop()
        if isinstance(node, str):
            lines.append(f"{lead}{place}: {node}")
            continue
        items = _items(plan, views, node, left_out)
        is_known = node.index in told
        told.add(node.index)
        too_deep = len(indent) >= 3 * _DEEPEST
        is_whole &= not (items and too_deep and not is_known)
        tail = " ..." if items and (is_known or too_deep) else ""
        where = f"{place}: " if place else ""
        lines.append(f"{lead}{where}{_name(views[node.index])}{tail}")
        if tail:
            continue
        below = []
        for number, item in enumerate(items):
            is_last = number == len(items) - 1
            branch, rail = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
            below.append((indent + branch, indent + rail, item))
        waiting += reversed(below)
    if not is_whole:
        left = len(views) - len(told | left_out)
        lines.append(f"... {many(left, 'more task')}")
    return "\n".join(lines)


def table(
    plan: Plan,
    *,
    executions: Mapping[str, Execution] | None = None,
    ignore: Ignored = (),
    most_lines: int = _MOST_LINES,
) -> str:
    """One line a task, each after what it needs.

    Args:
        plan: What is stored, and what is to run.
        executions: What the last run that met a task did with it, by the task's id.
        ignore: Classes, or their names, that are left out with what only they need.
        most_lines: How many tasks there are at most; a last line says how many are left out.

    Returns:
        Columns with a head.
    """
    left_out = _left_out(plan, ignore)
    views = [view for view in views_of(plan, executions) if view.node.index not in left_out]
    rows = [("task", "status", "time", "rows", "size", "id")]
    rows += [
        (
            _named(view),
            STATUSES[view.status],
            duration(view.seconds),
            count(view.num_rows),
            size(view.num_bytes),
            view.node.id[:8],
        )
        for view in views[:most_lines]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number in {2, 3, 4} else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if len(views) > most_lines:
        lines.append(f"... {many(len(views) - most_lines, 'more task')}")
    return "\n".join(lines)


_Item = tuple[str, Node | str]  # a place with its task, or with words for several tasks


def _items(plan: Plan, views: Sequence[View], node: Node, left_out: Collection[int]) -> list[_Item]:
    """What a task needs, in the order of its fields; many of one class are told as a number."""
    items: list[_Item] = []
    num_told: Counter[tuple[str, type]] = Counter()
    rest: dict[tuple[str, type], list[int]] = {}
    for place, parent in plan.graph.places(node):
        if parent.index in left_out:
            continue
        same = (place.partition("[")[0], type(parent.task))
        num_told[same] += 1
        if num_told[same] <= _MOST_SIBLINGS:
            items.append((plain(place), parent))
        else:
            rest.setdefault(same, []).append(parent.index)
    for (field, _), found in rest.items():
        counts = Counter(STATUSES[views[index].status] for index in found)
        words = ", ".join(f"{number:,} {status}" for status, number in counts.items())
        items.append((field, f"{len(found):,} more {views[found[0]].name} [{words}]"))
    return items


def _name(view: View) -> str:
    return f"{_named(view)} [{STATUSES[view.status]}]"


def _named(view: View) -> str:
    text = parameters_of(view.task)
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"{view.name}({text})"


def _left_out(plan: Plan, ignore: Ignored) -> set[int]:
    """Numbers of tasks that no way leads to but through an ignored class."""
    if not ignore:
        return set()
    nodes = plan.graph.nodes
    waiting = [node for node in plan.graph.roots if not _is_ignored(node, ignore)]
    kept = {node.index for node in waiting}
    while waiting:
        for parent in waiting.pop().parents:
            if parent.index not in kept and not _is_ignored(parent, ignore):
                kept.add(parent.index)
                waiting.append(parent)
    return {node.index for node in nodes} - kept


def _is_ignored(node: Node, ignore: Ignored) -> bool:
    return any(name in ignore for name in _names(type(node.task)))


def _names(cls: type[Task[Any]]) -> Iterator[type[Task[Any]] | str]:
    yield cls
    yield cls.__name__
    yield f"{cls.__module__}.{cls.__qualname__}"
