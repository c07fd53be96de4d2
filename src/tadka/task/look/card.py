"""The card of a task: what it is made from, what came out, how it went, and why it is to run."""

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from tadka.core.page import facts_list
from tadka.task.look.column import columns_table
from tadka.task.look.drawing import sign, style_of
from tadka.task.look.plot import left_table, measured
from tadka.task.look.view import STATUSES, View, value_text
from tadka.task.look.word import (
    NOTHING,
    count,
    duration,
    many,
    many_rows,
    moment,
    plain,
    printed,
    shown,
    size,
)
from tadka.task.store.row import Execution, Output

_MOST_NEIGHBOURS = 24  # that are named one by one
_MOST_CODE = 60  # pieces of code that are named
_NUM_LINES = 30  # of a log
_BOX = 12  # digits of a hash

STYLE = """
.card { border: 1px solid var(--rule); border-left: 5px solid var(--c); border-radius: 7px;
  margin: 0 0 8px; background: var(--page); }
.card > summary { display: flex; gap: 4px 10px; align-items: baseline; flex-wrap: wrap;
  padding: 8px 12px; cursor: pointer; list-style: none; }
.card > summary::-webkit-details-marker { display: none; }
.card > summary::after { content: "+"; color: var(--soft); font-weight: 600; width: 12px;
  text-align: center; }
.card[open] > summary::after { content: "\\2212"; }
.card > summary b { overflow-wrap: anywhere; min-width: 0; }
.card > summary .what { color: var(--soft); flex: 1 1 220px; min-width: 0; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.card > summary .how { color: var(--soft); font-variant-numeric: tabular-nums; font-size: 13px; }
.card > div { padding: 4px 16px 12px; scroll-margin-top: 60px; border-top: 1px solid var(--rule); }
.card:has(:target) { outline: 2px solid var(--c); outline-offset: 1px; }
.card .facts { grid-template-columns: repeat(auto-fill, minmax(178px, 1fr)); }
.card h3 { margin: 18px 0 6px; } .card .facts { margin: 12px 0 0; } .log { max-height: none; }
.card .scroll { margin-bottom: 6px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr));
  gap: 0 32px; align-items: start; } .pair > section { min-width: 0; }
.left th, .left td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.left td:first-child { min-width: 110px; }
.why { margin: 6px 0; padding: 0 0 0 20px; overflow-wrap: anywhere; }
.failure { border-left: 4px solid var(--bad); }
pre { margin: 0; padding: 10px 12px; overflow: auto; max-height: 420px; font-size: 12px;
  line-height: 1.4; background: var(--panel); border: 1px solid var(--rule); border-radius: 6px;
  white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; }
.inner > summary { cursor: pointer; color: var(--soft); font-size: 13px; margin: 6px 0; }
.doc { color: var(--soft); max-width: 74ch; margin: 10px 0 0; }
code { font-size: 12px; overflow-wrap: anywhere; }
"""

_WORD = re.compile(r"(?<=[Cc]heck )(?:\w+\.)*(\w+)")  # the check in "Check Train.is_sane failed."

LogReader = Callable[[Execution], str]
"""Gives what a task printed, or its end; empty where it printed nothing or the file is gone."""


def card(view: View, *, views: Sequence[View], anchors: frozenset[str], log: LogReader) -> str:
    """A task in full, folded until it is asked for.

    Args:
        view: The task.
        views: All of its graph, in the order of the graph.
        anchors: Of the cards that the page has.
        log: Reads what the task printed.

    Returns:
        A `details` element with an element inside that bears the anchor, so that a link opens it.
    """
    figures = [duration(view.seconds), size(view.num_bytes)]
    if view.num_rows is not None:
        figures.insert(1, many_rows(view.num_rows))
    kept = [figure for figure in figures if figure != NOTHING]
    is_open = " open" if len(views) == 1 else ""
    body = [
        _document(view),
        facts_list(_facts(view)),
        _why(view),
        _failure(view),
        f'<div class="pair">{_parameters(view)}{_neighbours(view, views, anchors)}</div>',
        *_outputs(view),
        _checks(view),
        "" if view.execution is None else measured(view.execution),
        _log(view, log),
        _code(view),
    ]
    return (
        f'<details class="card {style_of(view.status)}"{is_open}><summary>{sign(view.status)}'
        f'<b>{shown(view.name)}</b><span class="what">{shown(view.label or "#" + view.node.id[:8])}'
        f'</span><span class="how">{STATUSES[view.status]}'
        f"{''.join(f' · {figure}' for figure in kept)}</span></summary>"
        f'<div id="{view.anchor}">{"".join(body)}</div></details>'
    )


def link(view: View, anchors: frozenset[str], text: str | None = None) -> str:
    """A task as a link to its card, or its name where the page has no card of it.

    Args:
        view: The task.
        anchors: Of the cards that the page has.
        text: What is written; name and label where it is None.
    """
    inside = shown(view.name if text is None else text, 80)
    if text is None:
        inside += f' <span class="note">{shown(view.label or "#" + view.node.id[:8], 60)}</span>'
    if view.anchor not in anchors:
        return inside
    return f'<a href="#{view.anchor}">{inside}</a>'


def _document(view: View) -> str:
    text = inspect.cleandoc(type(view.task).__doc__ or "").partition("\n\n")[0]
    return f'<p class="doc">{shown(" ".join(text.split()), 400)}</p>' if text else ""


def _facts(view: View) -> dict[str, str]:
    cls, entry, execution = type(view.task), view.entry, view.execution
    before = "" if entry is None or view.is_stored or view.status == "failed" else ", before"
    facts = {
        "status": STATUSES[view.status],
        f"time{before}": duration(view.seconds),
        f"rows{before}": count(view.num_rows),
        f"size{before}": size(view.num_bytes),
        f"peak memory{before}": size(view.peak_bytes),
    }
    facts = {name: value for name, value in facts.items() if value != NOTHING}
    facts["class"] = plain(f"{cls.__module__}.{cls.__qualname__}")
    if entry is not None:
        facts["made" if view.is_stored else "last made"] = moment(entry.created_at)
        facts["run"] = plain(entry.run)
        facts["key" if view.is_stored else "key before"] = plain(entry.key[:_BOX])
        if code := str(entry.parts.get("code") or ""):
            facts["code" if view.is_stored else "code before"] = plain(code[:_BOX])
        if entry.seed is not None:
            facts["seed"] = str(entry.seed)
        if entry.approved_from:
            facts["approved from"] = plain(entry.approved_from[:_BOX])
    facts["task id"] = view.node.id[:_BOX]
    if cls.version:
        facts["version"] = plain(cls.version)
    if view.status == "failed" and execution is not None:
        facts["failed"] = moment(execution.started_at + execution.seconds)
        facts["in run"] = plain(execution.run)
    if execution is not None and execution.attempt > 1:
        facts["attempts"] = str(execution.attempt)
    needs = cls.resources
    wanted = [f"{needs.cpu:g} CPU"] if needs.cpu != 1 else []
    wanted += [f"{size(needs.memory_bytes)} memory"] if needs.memory_bytes else []
    wanted += [f"{needs.gpu} GPU"] if needs.gpu else []
    wanted += [f"at most {duration(needs.timeout_s)}"] if needs.timeout_s else []
    if wanted:
        facts["asks for"] = ", ".join(wanted)
    return facts


def _why(view: View) -> str:
    if not view.reasons:
        return ""
    title = "Changed since" if view.is_stored else "Why it runs"
    title = "Why it may run" if view.status == "waits" else title
    reasons = "".join(f"<li>{shown(reason, 300)}</li>" for reason in view.reasons[:50])
    more = len(view.reasons) - 50
    tail = f"<li>and {more:,} more</li>" if more > 0 else ""
    return f'<h3>{title}</h3><ul class="why">{reasons}{tail}</ul>'


def _failure(view: View) -> str:
    execution = view.execution
    if view.status != "failed" or execution is None or not execution.error:
        return ""
    text, before = printed(execution.error, 60)
    note = f'<p class="note">{many(before, "line")} before are left out.</p>' if before else ""
    kind = str(execution.details.get("kind") or "error")
    title = "Failed with" if kind == "error" else f"Failed: {shown(kind)}"
    return f'<h3>{title}</h3>{note}<pre class="failure">{escape(text)}</pre>'


def _parameters(view: View) -> str:
    rows = []
    for name, field in type(view.task).fields.items():
        if field.holds_tasks:
            continue
        value = getattr(view.task, name, None)
        notes = [field.help] if field.help else []
        if not field.is_significant:
            notes.append("not significant: another value makes no other result")
        elif not field.is_required and value == field.default:
            notes.append("default")
        note = f'<div class="note">{shown("; ".join(notes), 300)}</div>' if notes else ""
        rows.append(f"<tr><td>{shown(name)}{note}</td><td>{_value(value)}</td></tr>")
    if not rows:
        return ""
    return f"<section><h3>Parameters</h3>{left_table(('name', 'value'), rows)}</section>"


def _value(value: Any) -> str:
    text = value_text(value)
    return '<span class="none">empty text</span>' if value == "" else shown(text, 300)


def _neighbours(view: View, views: Sequence[View], anchors: frozenset[str]) -> str:
    inputs = {} if view.entry is None else view.entry.parts.get("inputs") or {}
    needs = []
    place_of: dict[str, list[str]] = {}
    num_more = 0
    for place, task in view.task.tasks():
        if len(place_of) < _MOST_NEIGHBOURS or task.id in place_of:
            place_of.setdefault(task.id, []).append(place)
        else:
            num_more += 1
    parents = {parent.id: views[parent.index] for parent in view.node.parents}
    for id_, places in place_of.items():
        other = parents[id_]
        content = str(inputs.get(places[0]) or "")[:_BOX] if view.is_stored else ""
        rest = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
        note = f' <code class="note">{escape(plain(content))}</code>' if content else ""
        needs.append(
            f"<tr><td>{shown(places[0], 80)}{rest}</td><td>{sign(other.status)} "
            f"{link(other, anchors)}{note}</td></tr>"
        )
    parts = []
    if needs:
        more = f'<p class="note">and {num_more:,} more</p>' if num_more else ""
        table = left_table(("field", "task"), needs)
        parts.append(f"<section><h3>Needs</h3>{table}{more}</section>")
    parts.append(_asked_for(view))
    if view.node.children:
        children = [views[child.index] for child in view.node.children]
        rows = [
            f"<tr><td>{sign(child.status)} {link(child, anchors)}</td></tr>"
            for child in children[:_MOST_NEIGHBOURS]
        ]
        left = len(children) - len(rows)
        more = f'<p class="note">and {left:,} more</p>' if left else ""
        table = left_table(("task",), rows)
        parts.append(f"<section><h3>Needed by</h3>{table}{more}</section>")
    return "".join(parts)


def _asked_for(view: View) -> str:
    """The tasks that the body asked for while it ran."""
    found = {} if view.entry is None else view.entry.parts.get("needs") or {}
    contents = found.get("contents") or {}
    rows = []
    for row in found.get("tasks") or ():
        if row["id"] not in contents:
            continue  # only needed by one of them
        fields = ", ".join(f"{name}={value_text(value)}" for name, value in row["fields"].items())
        name = str(row["task"]).rpartition(".")[2]
        rows.append(
            f'<tr><td>{shown(name, 80)} <span class="note">{shown(fields, 120)}</span></td></tr>'
        )
    if not rows:
        return ""
    left = len(rows) - _MOST_NEIGHBOURS
    more = f'<p class="note">and {left:,} more</p>' if left > 0 else ""
    table = left_table(("task",), rows[:_MOST_NEIGHBOURS])
    return f"<section><h3>Asked for while it ran</h3>{table}{more}</section>"


def _outputs(view: View) -> Iterable[str]:
    if view.entry is None:
        return
    for output in view.entry.outputs:
        title = f"Output {shown(output.name)}" if output.name else "Output"
        title += "" if view.is_stored else ", before"
        yield f"<h3>{title}</h3><p>{_about(output)}</p>"
        yield columns_table(output.description)


def _about(output: Output) -> str:
    description = output.description
    words = [f"{plain(output.suffix)} folder" if output.is_folder else plain(output.suffix)]
    words.append(size(output.num_bytes))
    if isinstance(description.get("num_rows"), int):
        words.append(many(description["num_rows"], "row"))
    if columns := description.get("columns"):
        words.append(many(len(columns), "column"))
    if isinstance(description.get("num_bytes"), int):
        words.append(f"{size(description['num_bytes'])} in memory")
    text = ", ".join(filter(None, words))
    return f"{escape(text)}, content <code>{escape(plain(output.content[:_BOX]))}</code>"


def _checks(view: View) -> str:
    checks = type(view.task).checks
    if not checks:
        return ""
    warned = None if view.execution is None else view.execution.details.get("warnings")
    told = [str(text) for text in warned] if isinstance(warned, list | tuple) else []
    if view.execution is not None and view.status == "failed":
        told.append(view.execution.error or "")
    failed = {word for text in told for word in _WORD.findall(text)}
    rows = []
    for check in checks:
        if check.name in failed:
            result = f'<b class="tag">{"warned" if check.severity == "warn" else "failed"}</b>'
        elif view.is_stored and (check.severity == "error" or view.execution is not None):
            result = "passed"
        else:
            result = '<span class="none">not run</span>'
        rows.append(
            f"<tr><td>{shown(check.name)}</td><td>{check.severity}</td><td>{result}</td></tr>"
        )
    return f"<h3>Checks</h3>{left_table(('check', 'severity', 'result'), rows)}"


def _log(view: View, log: LogReader) -> str:
    if view.execution is None or not view.execution.log:
        return ""
    text, before = printed(log(view.execution), _NUM_LINES)
    if not text.strip():
        return ""
    left = f", after {many(before, 'line')}" if before else ""
    path = shown(view.execution.log, 120)
    return (
        f'<h3>Log</h3><p class="note">end of {path}{left}</p><pre class="log">{escape(text)}</pre>'
    )


def _code(view: View) -> str:
    parts = {} if view.entry is None else view.entry.parts.get("code_parts") or {}
    if not parts:
        return ""
    names = ", ".join(f"<code>{shown(name, 120)}</code>" for name in list(parts)[:_MOST_CODE])
    more = f", and {len(parts) - _MOST_CODE:,} more" if len(parts) > _MOST_CODE else ""
    return (
        f'<details class="inner"><summary>Code: {many(len(parts), "piece")} that the result '
        f"depends on</summary><p>{names}{more}</p></details>"
    )
