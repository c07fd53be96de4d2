"""A run's report as one HTML page: no network, no script, light and dark, fit for paper."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from tadka.core.chart import Points, line_chart, short_number
from tadka.core.page import facts_list, legend, page

_MOST_POINTS = 80  # of a line: more cannot be told apart on the page
_SHARES = (
    ("busy_share", "busy", "busy"),
    ("wait_input_share", "input", "waiting for input"),
    ("wait_output_share", "output", "waiting for output"),
)
_NOT_MEASURED = "-"

_STYLE = """
th:last-child, td:last-child { text-align: left; padding-right: 0; width: 38%; min-width: 200px; }
.slow td:first-child { font-weight: 600; } .slow td { background: var(--panel); }
.bar { display: flex; height: 12px; margin-top: 5px; background: var(--page);
  outline: 1px solid var(--rule); }
.bar i { display: block; height: 100%; } .busy { background: var(--busy); }
.input { background: var(--input); } .output { background: var(--output); }
"""


def render(
    report_dict: Mapping[str, Any], *, title: str, facts: Mapping[str, str] | None = None
) -> str:
    """One self-contained HTML page about one run.

    Args:
        report_dict: What `Report.to_dict` gives; what is missing is left out.
        title: Heading of the page.
        facts: Further values to show at the top, by name.

    Returns:
        The page, to be written as UTF-8.
    """
    return render_all({"": report_dict}, title=title, facts=facts)


def render_all(
    reports: Mapping[str, Mapping[str, Any]],
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
) -> str:
    """One page about several runs, one after the other.

    Args:
        reports: `Report.to_dict` of each run, by its heading; "" for none.
        title: Heading of the page.
        facts: Values to show at the top, by name.

    Returns:
        The page, to be written as UTF-8.
    """
    body = [f"<h1>{escape(title)}</h1>"]
    if facts:
        body.append(facts_list(facts))
    for heading, report in reports.items():
        body.append("<section>")
        if heading:
            body.append(f"<h2>{escape(heading)}</h2>")
        body += [facts_list(_summary(report)), _stages(report), *_over_time(report)]
        body += [*_metrics(report), "</section>"]
    return page(title, body, style=_STYLE)


def _summary(report: Mapping[str, Any]) -> dict[str, str]:
    """The facts of a run that are worth a look before anything else."""
    seconds = report.get("seconds") or 0.0
    rows = report.get("rows_out") or 0
    end = "written" if _ends_with_write(report) else "trained"
    facts = {
        f"rows {end}": f"{rows:,}",
        "rows per second": f"{rows / seconds:,.0f}" if seconds else _NOT_MEASURED,
        "time": _duration(seconds),
        "start-up": _duration(report.get("startup_s")),
        "first batch after": _duration(report.get("first_batch_s")),
    }
    if not _ends_with_write(report):
        facts["epochs"] = f"{report.get('epochs') or 0:,}"
        facts["steps of each rank"] = f"{report.get('steps') or 0:,}"
    facts["bottleneck"] = str(report.get("bottleneck") or "none")
    facts["transport"] = str(report.get("transport") or _NOT_MEASURED)
    if report.get("plan_hash"):
        facts["plan"] = str(report["plan_hash"])[:12]
    if report.get("reissued_chunks"):
        facts["chunks leased again"] = f"{report['reissued_chunks']:,}"
    if report.get("dead_letters"):
        facts["dead letters"] = str(report["dead_letters"])
    return facts


def _ends_with_write(report: Mapping[str, Any]) -> bool:
    stages = report.get("stages") or [{}]
    return bool(stages[-1].get("kind") == "write")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return _NOT_MEASURED
    if seconds < 120:
        return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


# ---------------------------------------------------------------- stages


def _stages(report: Mapping[str, Any]) -> str:
    stages = report.get("stages") or []
    if not stages:
        return '<p class="none">No table of stages: the report names none.</p>'
    legend = "".join(f'<span><i class="{style}"></i>{words}</span>' for _, style, words in _SHARES)
    heads = ("stage", "rows", "rows/s", "CPU", "peak memory")
    rows = "".join(_stage_row(stage, report.get("bottleneck")) for stage in stages)
    return (
        '<div class="scroll"><table><thead><tr>'
        + "".join(f"<th>{head}</th>" for head in heads)
        + f'<th>time of its processes<div class="legend">{legend}</div></th></tr></thead>'
        + f"<tbody>{rows}</tbody></table></div>"
    )


def _stage_row(stage: Mapping[str, Any], bottleneck: str | None) -> str:
    is_slowest = bool(bottleneck) and stage.get("name") == bottleneck
    tag = '<span class="tag">bottleneck</span>' if is_slowest else ""
    replicas = stage.get("replicas") or 1
    word = {"train": "rank"}.get(str(stage.get("kind")), "replica")
    notes = [_counted(replicas, word)]
    if stage.get("restarts"):
        notes.append(_counted(stage["restarts"], "restart"))
    if stage.get("skipped_chunks"):
        notes.append(_counted(stage["skipped_chunks"], "chunk") + " skipped")
    memory = stage.get("peak_memory_bytes")
    cells = (
        f"{stage.get('rows') or 0:,}",
        f"{stage.get('rows_per_s') or 0:,.0f}",
        _duration(stage.get("cpu_s")),
        f"{memory / 2**20:,.0f} MiB" if memory else _NOT_MEASURED,
    )
    return (
        f'<tr class="{"slow" if is_slowest else ""}"><td>{escape(str(stage.get("name")))}{tag}'
        f'<div class="note">{", ".join(notes)}</div></td>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + f"<td>{_bar(stage)}</td></tr>"
    )


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _bar(stage: Mapping[str, Any]) -> str:
    shares = [
        (style, words, min(max(_finite(stage.get(key)) or 0.0, 0.0), 1.0))
        for key, style, words in _SHARES
    ]
    total = max(1.0, sum(share for _, _, share in shares))
    segments = "".join(
        f'<i class="{style}" style="width:{100 * share / total:.2f}%" '
        f'title="{words}: {share:.1%}"></i>'
        for style, words, share in shares
        if share > 0
    )
    figures = " · ".join(f"{share:.0%}" for _, _, share in shares)
    said = ", ".join(f"{words} {share:.0%}" for _, words, share in shares)
    return (
        f'<div class="bar" role="img" aria-label="{said}">{segments}</div>'
        f'<div class="note" title="{said}">{figures}</div>'
    )


# ---------------------------------------------------------------- charts


def _over_time(report: Mapping[str, Any]) -> list[str]:
    samples = [
        sample for sample in report.get("samples") or [] if _finite(sample.get("t")) is not None
    ]
    rates = {name: _rates(line) for name, line in _by_stage(samples, "rows").items()}
    queues = {name: _thinned(line) for name, line in _by_stage(samples, "queue").items()}
    first = next(iter(queues), None)
    if first is not None and not any(depth for _, depth in queues[first]):
        queues[first] = []  # it reads from storage, where nothing waits
    few = f"the run was sampled {_counted(len(samples), 'time')}, too few for a line"
    end_s = max((sample["t"] for sample in samples), default=0.0)
    unit, divisor = ("minutes", 60.0) if end_s >= 180 else ("seconds", 1.0)
    if end_s >= 3 * 3600:
        unit, divisor = "hours", 3600.0
    return [
        _figure("Throughput", "rows/s", rates, few, x_label=unit, divisor=divisor),
        _figure("Waiting in front of each stage", "batches", queues, few, unit, divisor),
    ]


def _by_stage(
    samples: Sequence[Mapping[str, Any]], key: str
) -> dict[str, list[tuple[float, float]]]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        for name, values in (sample.get("stages") or {}).items():
            value = _finite(values.get(key))
            if value is not None:
                lines.setdefault(str(name), []).append((float(sample["t"]), value))
    return lines


def _rates(line: Points) -> Points:
    """Rows per second between samples of the rows so far, over at most `_MOST_POINTS` spans."""
    if len(line) < 3:
        return []
    spans_s = sorted(after - before for (before, _), (after, _) in pairwise(line))
    # A run's last sample comes when it ends; a rate over such a short span is mostly noise.
    shortest_s = max((line[-1][0] - line[0][0]) / _MOST_POINTS, spans_s[len(spans_s) // 2] / 2)
    kept = [line[0]]
    for point in line[1:]:
        if point[0] - kept[-1][0] >= shortest_s:
            kept.append(point)
    if len(kept) > 1:
        kept[-1] = line[-1]
    return [
        ((before + after) / 2, max(0.0, (high - low) / (after - before)))
        for (before, low), (after, high) in pairwise(kept)
        if after > before
    ]


def _thinned(line: Points) -> Points:
    return [(x, mean) for x, mean, _, _ in _bins(line)]


def _bins(line: Points) -> list[tuple[float, float, float, float]]:
    """(x, mean, low, high) of at most `_MOST_POINTS` neighbouring parts of a line."""
    size = max(1, -(-len(line) // _MOST_POINTS))
    bins = []
    for start in range(0, len(line), size):
        part = line[start : start + size]
        ys = [y for _, y in part]
        bins.append((sum(x for x, _ in part) / len(part), sum(ys) / len(ys), min(ys), max(ys)))
    return bins


def _figure(
    heading: str,
    unit: str,
    lines: Mapping[str, Points],
    why_empty: str,
    x_label: str,
    divisor: float = 1.0,
) -> str:
    colours = {name: number for number, name in enumerate(lines)}  # of a stage, in all figures
    lines = {
        name: [(x / divisor, y) for x, y in line] for name, line in lines.items() if len(line) > 1
    }
    caption = f"<figcaption>{escape(heading)} <span>({escape(unit)})</span></figcaption>"
    if not lines:
        return f'<figure>{caption}<p class="none">No chart: {escape(why_empty)}.</p></figure>'
    chart = line_chart(
        lines,
        x_label=x_label,
        y_label=unit,
        label=f"{heading}, {unit}",
        colours=colours,
        has_origin=True,
    )
    return f"<figure>{caption}{legend({name: colours[name] for name in lines})}{chart}</figure>"


def _metrics(report: Mapping[str, Any]) -> list[str]:
    """One figure for each metric that the training loop logged."""
    if _ends_with_write(report):
        return []
    metrics = report.get("metrics") or []
    names = list(dict.fromkeys(name for entry in metrics for name in entry))
    figures = []
    marks = _epoch_marks(metrics)
    for name in names:
        if name in {"step", "epoch"}:
            continue
        line = [
            (step, value)
            for entry in metrics
            if (step := _finite(entry.get("step"))) is not None
            and (value := _finite(entry.get(name))) is not None
        ]
        caption = f"<figcaption>{escape(name)} <span>{{}}</span></figcaption>"
        if not line:
            caption = caption.format("")
            why = "No chart: none of the values logged is a finite number."
            figures.append(f'<figure>{caption}<p class="none">{why}</p></figure>')
            continue
        bins = _bins(line)
        is_mean = len(bins) < len(line)
        last = f"last {short_number(line[-1][1], 4)}"
        dashed = ", dotted lines: epochs" if marks else ""
        how = f"(line: mean of {-(-len(line) // _MOST_POINTS)} steps, band: range{dashed}; {last})"
        chart = line_chart(
            {name: [(x, mean) for x, mean, _, _ in bins]},
            x_label="steps",
            y_label="",
            label=f"{name} by step",
            x_is_whole=True,
            bands={name: [(x, low, high) for x, _, low, high in bins]} if is_mean else None,
            marks=marks,
        )
        figures.append(f"<figure>{caption.format(how if is_mean else f'({last})')}{chart}</figure>")
    if not figures:
        figures.append(
            '<figure><figcaption>Loss</figcaption><p class="none">No chart: the training loop '
            "logged nothing; call run.log(loss=...) in it.</p></figure>"
        )
    return figures


def _epoch_marks(metrics: Sequence[Mapping[str, Any]]) -> list[tuple[float, str]]:
    """Where a new epoch begins; none when there are too many to be told apart."""
    marks = []
    for before, after in pairwise(metrics):
        step = _finite(after.get("step"))
        if after.get("epoch") != before.get("epoch") and step is not None:
            marks.append((step, f"epoch {after.get('epoch')} begins"))
    return marks if len(marks) <= _MOST_POINTS else []


def _finite(value: Any) -> float | None:
    """The number, or None for what cannot be drawn: absent, text, NaN, infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
