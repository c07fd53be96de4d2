"""A model's page: how it learnt, how good it is, and what it was made from."""

from html import escape
from typing import Any

from tadka.core.chart import line_chart
from tadka.core.page import facts_list, legend, page
from tadka.features.definition import Definition


def render(record: dict[str, Any]) -> str:
    """One self-contained HTML page.

    Args:
        record: What the model's `model.json` says.

    Returns:
        The page, to be written as UTF-8.
    """
    saved = record["features"]
    title = f"{record['kind']} model" + (f" of {saved['class']}" if saved else "")
    facts = {name.replace("_", " "): _number(value) for name, value in record["metrics"].items()}
    body = [f"<h1>{escape(title)}</h1>"]
    if facts:
        body.append(facts_list(facts))
    if record["curve"]:
        body += ["<h2>Learning curve</h2>", *_curves(record)]
    body += ["<h2>What it is made of</h2>", facts_list(_made_of(record))]
    if saved:
        definition = Definition.from_dict(saved["definition"])
        rows = "".join(
            f"<tr><td>{escape(feature.name)}</td><td>{escape(str(feature.encoding))}</td>"
            f"<td>{span.width:,}</td></tr>"
            for feature, span in zip(definition.features, definition.spans, strict=True)
        )
        body.append(
            '<div class="scroll"><table><thead><tr><th>feature</th><th>encoding</th>'
            f"<th>slots</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return page(title, body)


def _curves(record: dict[str, Any]) -> list[str]:
    curve, metrics = record["curve"], record["metrics"]

    def line(key: str) -> list[tuple[float, float]]:
        return [(epoch["number"], epoch[key]) for epoch in curve if epoch[key] is not None]

    lines = {"training": line("train_log_loss"), "validation": line("valid_log_loss")}
    areas = {"validation": line("valid_auc")}
    best = metrics.get("epochs")
    marks = [(float(best), "the epoch that was kept")] if best is not None else []
    figures = []
    for caption, unit, series in (
        ("Log loss", "log loss", {name: line for name, line in lines.items() if line}),
        ("Area under the ROC curve", "AUC", {name: line for name, line in areas.items() if line}),
    ):
        if series:
            chart = line_chart(
                series, x_label="epoch", y_label=unit, label=caption, x_is_whole=True, marks=marks
            )
            colours = {name: number for number, name in enumerate(series)}
            figures.append(
                f"<figure><figcaption>{caption}</figcaption>{legend(colours)}{chart}</figure>"
            )
    return figures


def _made_of(record: dict[str, Any]) -> dict[str, str]:
    facts = {name: str(value) for name, value in record["settings"].items()}
    precisions = {f["precision"] for name, f in record["files"].items() if "bias" not in name}
    if precisions:
        facts["precision"] = ", ".join(sorted(precisions))
    facts["calibration"] = record["calibration"] or "none"
    if record["features"]:
        facts["features"] = record["features"]["class"]
        facts["definition"] = record["features"]["hash"][:12]
        facts["group"] = record["features"]["group"] or "all features"
    return facts


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.5f}"
