"""A graph of tasks as one HTML page: what is stored, what is to run and why, a card per task."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from tadka.core.page import facts_list
from tadka.core.page import page as frame
from tadka.task.look import card as cards
from tadka.task.look import column, drawing, plot
from tadka.task.look.card import LogReader, card, link
from tadka.task.look.drawing import Group, draw_classes, draw_tasks, groups_of, sign
from tadka.task.look.past import executions_of, log_reader
from tadka.task.look.view import MEANINGS, STATUSES, View, views_of
from tadka.task.look.word import NOTHING, count, duration, many, moment, plain, shown, size
from tadka.task.plan import Plan, opened
from tadka.task.store.row import Execution
from tadka.task.store.store import Store

_MOST_DRAWN = 200  # tasks that are drawn one by one
_FEW = 40  # tasks of which a picture by class says nothing more
_MOST_ROWS = 500  # of the table of tasks
_MOST_CARDS = 200
_MOST_NAMES = 5  # of what is wanted, in a heading

_STYLE = f"""
:root {{ --bad: #b3261e; }}
@media (prefers-color-scheme: dark) {{ :root {{ --bad: #ff7b6e; }} }}
@media print {{ :root {{ --bad: #b3261e; }} }}
main {{ max-width: 1200px; }}
a {{ color: inherit; text-decoration-color: var(--soft); text-underline-offset: 2px; }}
a:hover {{ text-decoration-color: currentColor; }}
a:focus-visible, summary:focus-visible, pre:focus-visible, .graph:focus-visible {{
  outline: 2px solid var(--s0); outline-offset: 2px; }}
.skip {{ position: absolute; left: -9999px; }} .skip:focus {{ left: 24px; top: 8px;
  background: var(--page); padding: 4px 8px; z-index: 1; }}
.signs {{ display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 10px; font-size: 13px;
  color: var(--soft); padding: 0; list-style: none; }}
.signs li {{ display: inline-flex; gap: 7px; align-items: center; }} .signs b {{
  color: var(--ink); font-weight: 600; }}
.tasks td:nth-child(2), .tasks th:nth-child(2), .tasks td:last-child, .tasks th:last-child {{
  text-align: left; }}
.tasks td:last-child, .tasks th:last-child {{ padding-left: 16px; }}
.tasks td:last-child {{ white-space: normal; overflow-wrap: anywhere; min-width: 160px; }}
.tasks td:first-child {{ min-width: 180px; }}
.tasks .before {{ color: var(--soft); font-style: italic; }}
.tasks tr:target td {{ background: var(--panel); }}
.tasks tr {{ scroll-margin-top: 40px; }}
.folded > summary {{ cursor: pointer; margin: 0 0 8px; }}
{drawing.STYLE}{column.STYLE}{cards.STYLE}{plot.STYLE}
@media print {{ .graph {{ max-height: none; overflow: visible; border: 0; padding: 0; }}
  .graph > svg {{ width: 100% !important; min-width: 0 !important; }}
  pre {{ max-height: none; }} .card {{ break-inside: auto; }} .card > summary {{
  break-after: avoid; }} .skip {{ display: none; }} .card > summary::after {{ content: ""; }}
  th {{ white-space: normal; }} .tasks td:first-child, .tasks td:last-child {{ min-width: 0; }} }}
"""


def graph_page(
    plan: Plan,
    *,
    title: str | None = None,
    workspace: str | Path | Store | None = None,
    executions: Mapping[str, Execution] | None = None,
    log: LogReader | None = None,
    made_at: float | None = None,
) -> str:
    """One self-contained HTML page about a graph of tasks: no network, no script.

    Up to 200 tasks are drawn one by one, more of them as one box a class. The table has at most
    500 tasks and the cards 200; the page says where it leaves some out.

    Args:
        plan: What is stored, and what is to run.
        title: Heading of the page; the names of what is wanted where it is None.
        workspace: As in `build`: what runs of it did and printed is on the page.
        executions: In its place, what the last run that met a task did with it, by the task's id.
        log: In its place, reads what a task printed, or its end.
        made_at: Seconds since 1970 to say of the page; now where it is None.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        DataError: The index of the workspace cannot be read.
    """
    if workspace is not None:
        with opened(workspace) as store:
            past = executions_of(plan, store) if executions is None else executions
            read = log or log_reader(store)
            return graph_page(plan, title=title, executions=past, log=read, made_at=made_at)
    if title is None:
        wanted = dict.fromkeys(plain(type(node.task).__name__) for node in plan.graph.roots)
        title = ", ".join(list(wanted)[:_MOST_NAMES]) + ("…" if len(wanted) > _MOST_NAMES else "")
    views = views_of(plan, executions)
    groups = groups_of(views)
    chosen = _chosen(views, plan, _MOST_CARDS)
    anchors = frozenset(view.anchor for view in chosen)
    body = [
        '<a class="skip" href="#tasks">Skip the picture</a>',
        f"<h1>{shown(title)}</h1>",
        facts_list(_facts(views, groups, executions or {}, made_at)),
        *_pictures(views, groups, anchors),
    ]
    if len(views) > len(groups) > 1 or len(views) > _FEW:
        body += ["<h2>Classes</h2>", _classes(groups)]
    body += [f'<h2 id="tasks">Tasks</h2>{_tasks(views, plan, anchors)}', "<h2>Cards</h2>"]
    if len(chosen) < len(views):
        body.append(
            f'<p class="note">{len(chosen):,} of {many(len(views), "task")} have a card: what '
            "failed, what is wanted, one of each class, what is to run, then the others.</p>"
        )
    read = log or _no_log
    body += [card(view, views=views, anchors=anchors, log=read) for view in chosen]
    return frame(plain(title), body, style=_STYLE)


def _no_log(_: Execution) -> str:
    return ""


def _chosen(views: Sequence[View], plan: Plan, most: int) -> list[View]:
    """What has a card; in the order of the graph."""
    if len(views) <= most:
        return list(views)
    roots = {node.index for node in plan.graph.roots}
    firsts: dict[type, int] = {}
    for view in views:
        firsts.setdefault(type(view.task), view.node.index)
    first = set(firsts.values())

    def rank(view: View) -> int:
        if view.status == "failed":
            return 0
        if view.node.index in roots:
            return 1
        return 2 if view.node.index in first else 3 + _urgency(view)

    return sorted(sorted(views, key=rank)[:most], key=lambda view: view.node.index)


def _urgency(view: View) -> int:
    return list(STATUSES).index(view.status)


def _facts(
    views: Sequence[View],
    groups: Sequence[Group],
    executions: Mapping[str, Execution],
    made_at: float | None,
) -> dict[str, str]:
    counts = Counter(view.status for view in views)
    facts = {"tasks": f"{len(views):,}", "classes": f"{len(groups):,}"}
    facts |= {STATUSES[status]: f"{counts[status]:,}" for status in STATUSES if counts[status]}
    stored = [view for view in views if view.is_stored]
    if stored:
        facts["stored, size"] = size(sum(view.num_bytes or 0 for view in stored))
        facts["stored, time it took"] = duration(sum(view.seconds or 0.0 for view in stored))
    known = [v.seconds for v in views if not v.is_stored and v.entry is not None and v.seconds]
    if known:
        unknown = sum(1 for v in views if not v.is_stored) - len(known)
        rest = f", {unknown:,} not known" if unknown else ""
        facts["to run, as it took before"] = f"{duration(sum(known))}{rest}"
    last = max(executions.values(), key=lambda execution: execution.started_at, default=None)
    if last is not None:
        facts["last run"] = plain(last.run)
    facts["page made"] = moment(time.time() if made_at is None else made_at)
    return facts


# ---------------------------------------------------------------- pictures


def _pictures(views: Sequence[View], groups: Sequence[Group], anchors: frozenset[str]) -> list[str]:
    signs = "".join(
        f"<li>{sign(status)}<span><b>{words}</b> {MEANINGS[status]}</span></li>"
        for status, words in STATUSES.items()
        if any(view.status == status for view in views)
    )
    parts = ["<h2>Graph</h2>", f'<ul class="signs">{signs}</ul>']
    by_task = draw_tasks(views, anchors) if len(views) <= _MOST_DRAWN else None
    is_short = len(views) <= _FEW or len(groups) == 1
    by_class = None if is_short and by_task is not None else draw_classes(groups)
    if by_class is not None:
        parts.append(_framed(by_class))
        if by_task is None:
            parts.append(
                f'<p class="note">{many(len(views), "task")}, one box a class: they are too many, '
                "or have too many links, to be drawn one by one.</p>"
            )
    if by_task is not None:
        picture = _framed(by_task)
        if by_class is not None:
            picture = (
                f'<details class="folded"><summary>All {len(views):,} tasks, one by one</summary>'
                f"{picture}</details>"
            )
        parts.append(picture)
    elif by_class is None:
        parts.append(
            f'<p class="none">No picture: {many(len(groups), "class", "classes")} are too many, or '
            "have too many links, to be drawn.</p>"
        )
    return parts


def _framed(picture: str) -> str:
    return f'<div class="graph" tabindex="0" role="region" aria-label="Graph">{picture}</div>'


# ---------------------------------------------------------------- tables


def _classes(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups[:_MOST_ROWS]:
        counts = ", ".join(f"{number:,} {STATUSES[name]}" for name, number in group.counts.items())
        rows.append(
            f'<tr id="{group.anchor}">'
            f"<td>{shown(group.name, 120)}</td><td>{sign(next(iter(group.counts)))} {counts}</td>"
            f"<td>{len(group.views):,}</td><td>{duration(group.seconds)}</td>"
            f"<td>{count(group.num_rows)}</td><td>{size(group.num_bytes)}</td>"
            f"<td>{size(group.peak_bytes)}</td><td>{_common(group)}</td></tr>"
        )
    heads = ("class", "status", "tasks", "time", "rows", "size", "peak memory", "why, most often")
    note = _left_out(len(groups), "class", "classes")
    return note + _table(heads, rows)


def _common(group: Group) -> str:
    reasons = Counter(view.reasons[0] for view in group.views if view.reasons)
    if not reasons:
        return ""
    reason, number = reasons.most_common(1)[0]
    share = f'<span class="note"> {number:,} times</span>' if number > 1 else ""
    return shown(reason, 120) + share


def _tasks(views: Sequence[View], plan: Plan, anchors: frozenset[str]) -> str:
    chosen = list(views)
    if len(views) > _MOST_ROWS:
        roots = {node.index for node in plan.graph.roots}
        chosen.sort(key=lambda view: (view.node.index not in roots, _urgency(view)))
    rows = [_task(view, anchors) for view in chosen[:_MOST_ROWS]]
    heads = ("task", "status", "time", "rows", "size", "peak memory", "why")
    note = _left_out(len(views), "task", "tasks")
    has_before = any(v.entry is not None and not v.is_stored for v in chosen[:_MOST_ROWS])
    if has_before:
        note += '<p class="note">Figures in italics are of the result before.</p>'
    return note + _table(heads, rows)


def _task(view: View, anchors: frozenset[str]) -> str:
    figures = (
        duration(view.seconds),
        count(view.num_rows),
        size(view.num_bytes),
        size(view.peak_bytes),
    )
    is_before = view.entry is not None and not view.is_stored
    style = ' class="before"' if is_before and view.status != "failed" else ""
    why = shown(view.reasons[0], 160) if view.reasons else ""
    if len(view.reasons) > 1:
        why += f'<span class="note"> and {len(view.reasons) - 1:,} more</span>'
    if view.status == "failed" and view.execution is not None and view.execution.error:
        why = shown(view.execution.error.strip().rpartition("\n")[2], 160)
    return (
        f"<tr><td>{link(view, anchors)}</td>"
        f"<td>{sign(view.status)} {STATUSES[view.status]}</td>"
        + "".join(
            f"<td{style if figure != NOTHING else ''}>{escape(figure)}</td>" for figure in figures
        )
        + f"<td>{why}</td></tr>"
    )


def _left_out(number: int, word: str, several: str) -> str:
    if number <= _MOST_ROWS:
        return ""
    return (
        f'<p class="note">{_MOST_ROWS:,} of {many(number, word, several)}, what needs a look first.'
        "</p>"
    )


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    return (
        '<div class="scroll"><table class="tasks"><thead><tr>'
        + "".join(f"<th>{head}</th>" for head in heads)
        + f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
