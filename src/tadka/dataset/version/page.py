"""A version as one HTML page: its columns, what it was made from, which checks it passed."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from tadka.core.chart import short_number
from tadka.core.extra import require
from tadka.core.page import facts_list
from tadka.core.page import page as frame
from tadka.dataset.define.bound import OutputColumn
from tadka.dataset.expression.kind import BOOL
from tadka.dataset.measure.measure import ColumnStatistics
from tadka.dataset.version.manifest import Manifest

if TYPE_CHECKING:
    from tadka.dataset.version.version import Version

_NONE = "-"
_NUM_TOP = 5  # values of a column: more make the page long and tell little
_LONGEST = 60  # letters of a value: what is longer is shown whole when pointed at
_WIDTH, _HEIGHT = 260, 54  # of a histogram
_STYLE = """
.facts { grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); }
th:first-child, td:first-child { min-width: 130px; }
.columns th:last-child, .columns td:last-child { text-align: left; width: 280px;
  padding: 6px 0 6px 12px; }
.left th, .left td { text-align: left; }
.left .tag { margin-left: 0; }
.left td:last-child, .left th:last-child { white-space: normal; overflow-wrap: anywhere; }
.bar { height: 5px; width: 72px; margin: 3px 0 0 auto; background: var(--panel);
  outline: 1px solid var(--rule); } .bar i { display: block; height: 100%; background: var(--s1); }
.bar.wide { width: 150px; height: 10px; } .bar.wide i { background: var(--s0); }
.columns svg { display: block; width: 260px; height: auto; }
.columns rect { fill: var(--s0); } .columns rect:hover { fill: var(--s1); }
.columns svg text { font-size: 11px; }
.top { display: grid; grid-template-columns: minmax(0, 150px) 60px 44px; gap: 1px 8px;
  align-items: center; font-size: 12px; }
.top b { font-weight: 400; overflow: hidden; text-overflow: ellipsis; }
.top .bar { margin: 0; width: 60px; } .top .bar i { background: var(--s0); }
.top em { font-style: normal; color: var(--soft); text-align: right; }
pre { margin: 0; padding: 12px; overflow-x: auto; font-size: 12px; background: var(--panel);
  border: 1px solid var(--rule); border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; }
"""


def page(version: "Version") -> str:
    """One self-contained HTML page about a version; reads its label and split.

    Args:
        version: That is reported on.

    Returns:
        The page, to be written as UTF-8.

    Raises:
        NotFound: A file of the version is gone.
        DataError: A file cannot be read.
    """
    return render(version.manifest, tags=version.tags, labels=labels_of(version))


def render(
    manifest: Manifest,
    *,
    tags: Sequence[str] = (),
    labels: Mapping[str, tuple[int, float | None]] | None = None,
) -> str:
    """One self-contained HTML page about a version.

    Args:
        manifest: Of the version.
        tags: Of the version.
        labels: Number of rows and mean of the label, by split; None where there is no label.

    Returns:
        The page, to be written as UTF-8.
    """
    body = [f"<h1>{escape(manifest.name)}{''.join(map(_tag, tags))}</h1>"]
    body.append(facts_list(_facts(manifest)))
    if manifest.parameters:
        body += ["<h2>Parameters</h2>"]
        body.append(facts_list({name: str(v) for name, v in manifest.parameters.items()}))
    if labels:
        body += ["<h2>Label by split</h2>", _labels(manifest, labels)]
    body += ["<h2>Columns</h2>", _columns(manifest)]
    if manifest.checks:
        body += ["<h2>Checks</h2>", _checks(manifest.checks)]
    if manifest.tables:
        body += ["<h2>Inputs</h2>", _inputs(manifest)]
    body += ["<h2>Definition</h2>", f"<pre>{escape(manifest.definition)}</pre>"]
    return frame(f"{manifest.name} {manifest.id}", body, style=_STYLE)


def labels_of(version: "Version") -> dict[str, tuple[int, float | None]] | None:
    """Number of rows and mean of the label, by split; None without a label that has a mean.

    Args:
        version: Whose files are read.

    Raises:
        NotFound: A file of the version is gone.
        DataError: A file cannot be read.
    """
    roles = {column.role: column for column in version.manifest.columns}
    label, split = roles.get("label"), roles.get("split")
    if label is None or not (label.kind.is_number or label.kind == BOOL):
        return None
    compute = require("pyarrow.compute", extra="dataset")
    names = [label.name] if split is None else [label.name, split.name]
    found: dict[str, list[float]] = {}  # rows, those with a label, sum of the label
    for batch in version.batches(names):
        splits = ["all"] if split is None else compute.unique(batch.column(1)).to_pylist()
        for one in splits:
            values = batch.column(0)
            if split is not None:
                values = values.filter(compute.equal(batch.column(1), one))
            counts = found.setdefault(str(one), [0, 0, 0.0])
            counts[0] += len(values)
            counts[1] += len(values) - values.null_count
            counts[2] += compute.sum(values.cast("float64")).as_py() or 0.0
    return {
        name: (int(num_rows), total / given if given else None)
        for name, (num_rows, given, total) in sorted(found.items())
    }


def _facts(manifest: Manifest) -> dict[str, str]:
    commit = manifest.code.get("commit")
    facts = {
        "version": manifest.id,
        "created": manifest.created_at[:16].replace("T", " ") + " UTC",
        "rows": f"{manifest.num_rows:,}",
        "columns": f"{len(manifest.columns):,}",
        "files": f"{len(manifest.files):,} {manifest.format}",
        "size": _size(manifest.num_bytes),
        "engine": f"{manifest.engine.get('name', '')} {manifest.engine.get('version', '')}".strip(),
        "output hash": manifest.output_hash[:16],
        "definition": manifest.definition_digest[:16],
    }
    if commit:
        facts["commit"] = commit[:12] + (" with changes" if manifest.code.get("is_dirty") else "")
    if manifest.seconds:
        facts["written in"] = f"{sum(manifest.seconds.values()):,.1f} s"
    if not manifest.is_portable:
        facts["portable"] = "no: other engines may give other rows"
    return facts


# ---------------------------------------------------------------- columns


def _columns(manifest: Manifest) -> str:
    rows = "".join(
        _column(column, manifest.statistics.get(column.name), manifest.num_rows)
        for column in manifest.columns
    )
    heads = "".join(
        f"<th>{name}</th>" for name in ("column", "empty", "distinct", "mean", "values")
    )
    return (
        f'<div class="scroll"><table class="columns"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _column(column: OutputColumn, found: ColumnStatistics | None, num_rows: int) -> str:
    notes = [str(column.kind)]
    if column.role != "feature":
        notes.append(column.role)
    if column.is_inexact:
        notes.append("not in the output hash")
    name = f'<td>{escape(column.name)}<div class="note">{escape(", ".join(notes))}</div></td>'
    if found is None:
        return (
            f'<tr>{name}<td>{_NONE}</td><td>{_NONE}</td><td>{_NONE}</td><td class="none"></td></tr>'
        )
    empty = _share(found.num_null, num_rows)
    if found.num_nan:
        empty += f'<div class="note">{_percent(found.num_nan, num_rows)} NaN</div>'
    distinct = _NONE if found.num_distinct is None else short_number(found.num_distinct)
    mean = _NONE if found.mean is None else escape(_value(found.mean))
    return (
        f"<tr>{name}<td>{empty}</td><td>{distinct}</td><td>{mean}</td>"
        f"<td>{_values(found, num_rows)}</td></tr>"
    )


def _values(found: ColumnStatistics, num_rows: int) -> str:
    counts = found.histogram_counts
    is_few = found.num_distinct is not None and found.num_distinct <= _NUM_TOP
    if sum(counts) and not (is_few and found.top):
        return _histogram(found.histogram_edges, counts)
    if found.top:
        return _top(found.top[:_NUM_TOP], num_rows)
    if found.min is not None:
        return f'<span class="note">{_text(found.min)} … {_text(found.max)}</span>'
    return '<span class="none">none</span>'


def _histogram(edges: Sequence[Any], counts: Sequence[int]) -> str:
    most, step, base = max(counts), _WIDTH / len(counts), _HEIGHT - 14
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="histogram">']
    for index, count in enumerate(counts):
        height = base * count / most
        height = max(height, 1.0) if count else 0.0
        said = f"{_value(edges[index])} to {_value(edges[index + 1])}: {count:,} rows"
        parts.append(
            f'<rect x="{index * step + 0.5:.1f}" y="{base - height:.1f}" '
            f'width="{max(step - 1, 0.5):.1f}" height="{height:.1f}">'
            f"<title>{escape(said)}</title></rect>"
        )
    parts.append(
        f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{base}" y2="{base}"/>'
        f'<text x="0" y="{_HEIGHT - 2}">{escape(_end(edges[0]))}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 2}" text-anchor="end">{escape(_end(edges[-1]))}</text>'
        "</svg>"
    )
    return "".join(parts)


def _end(edge: Any) -> str:
    """What stands at an end of the axis: of times no more than there is room for."""
    return edge[:16].replace("T", " ") if isinstance(edge, str) else _value(edge)


def _top(top: Sequence[Sequence[Any]], num_rows: int) -> str:
    cells = [
        f"<b>{_text(value)}</b>{_bar(count, num_rows)}<em>{_percent(count, num_rows)}</em>"
        for value, count in top
    ]
    return f'<div class="top">{"".join(cells)}</div>'


def _labels(manifest: Manifest, labels: Mapping[str, tuple[int, float | None]]) -> str:
    name = next((c.name for c in manifest.columns if c.role == "label"), "label")
    rows = "".join(
        f"<tr><td>{escape(split)}</td><td>{num_rows:,}</td>"
        f"<td>{_percent(num_rows, manifest.num_rows)}</td>"
        f"<td>{_NONE if mean is None else f'{mean:.4g}'}</td>"
        f"<td>{_bar(mean, 1, 'wide') if mean is not None and 0 <= mean <= 1 else ''}</td></tr>"
        for split, (num_rows, mean) in labels.items()
    )
    heads = ("split", "rows", "share of rows", f"mean of {name}", "")
    return (
        '<div class="scroll"><table><thead><tr>'
        + "".join(f"<th>{escape(head)}</th>" for head in heads)
        + f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


# ---------------------------------------------------------------- checks and inputs


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(check.get('name')))}</td><td>{_result(check)}</td>"
        f"<td>{escape(str(check.get('message') or ''))}</td></tr>"
        for check in checks
    )
    return (
        '<div class="scroll"><table class="left"><thead><tr><th>check</th><th>result</th>'
        f"<th>found</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _result(check: Mapping[str, Any]) -> str:
    status = str(check.get("status"))
    return _tag(status) if status in ("failed", "warned") else escape(status)


def _inputs(manifest: Manifest) -> str:
    rows = []
    for name, table in manifest.tables.items():
        source = table.source if isinstance(table.source, str) else _pairs(table.source)
        note = escape(source) + (f", snapshot {escape(table.snapshot)}" if table.snapshot else "")
        level = table.fingerprint.get("level", _NONE)
        num_rows = _NONE if table.num_rows is None else f"{table.num_rows:,}"
        num_bytes = _NONE if table.num_bytes is None else _size(table.num_bytes)
        rows.append(
            f'<tr><td>{escape(name)}<div class="note">{note}</div></td><td>{num_rows}</td>'
            f"<td>{num_bytes}</td><td>{escape(str(level))}</td></tr>"
        )
    heads = "".join(f"<th>{h}</th>" for h in ("table", "rows", "size", "fingerprint"))
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


# ---------------------------------------------------------------- words


def _tag(text: str) -> str:
    return f'<span class="tag">{escape(text)}</span>'


def _share(count: int, total: int) -> str:
    return _percent(count, total) + (_bar(count, total) if count else "")


def _percent(count: float, total: float) -> str:
    if not total or not count:
        return "0 %"
    share = count / total
    return "&lt;0.1 %" if share < 0.001 else f"{100 * share:.3g} %"


def _bar(count: float, total: float, style: str = "") -> str:
    width = 100 * count / total if total else 0.0
    return f'<div class="bar {style}"><i style="width:{width:.1f}%"></i></div>'


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)[:_LONGEST]
    return short_number(value, 4)


def _text(value: Any) -> str:
    text = str(value)
    if text == "":
        return '<span class="none">empty text</span>'
    if len(text) <= _LONGEST:
        return escape(text)
    return f'<span title="{escape(text)}">{escape(text[:_LONGEST])}…</span>'


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.3g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:,.1f} TiB"
