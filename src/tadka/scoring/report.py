"""A model's page: how it learnt, how good it is, and what it was made from."""

from html import escape
from typing import TYPE_CHECKING, Any

from tadka.core.chart import line_chart
from tadka.core.page import facts_list, legend, page

if TYPE_CHECKING:
    from tadka.scoring.model import Model


def render(model: "Model", record: dict[str, Any]) -> str:
    """One self-contained HTML page.

    Args:
        model: A trained model.
        record: What its `model.json` says.

    Returns:
        The page, to be written as UTF-8.
    """
    saved = record["features"]
    title = f"{type(model).__name__} of {saved['class']}" if saved else type(model).__name__
    facts = {name.replace("_", " "): _number(value) for name, value in model.metrics.items()}
    body = [f"<h1>{escape(title)}</h1>"]
    if facts:
        body.append(facts_list(facts))
    if model.curve:
        body += ["<h2>Learning curve</h2>", *_curves(model)]
    body += ["<h2>What it is made of</h2>", facts_list(_made_of(model, record))]
    if model.definition is not None:
        rows = "".join(
            f"<tr><td>{escape(feature.name)}</td><td>{escape(str(feature.encoding))}</td>"
            f"<td>{span.width:,}</td></tr>"
            for feature, span in zip(model.definition.features, model.definition.spans, strict=True)
        )
        body.append(
            '<div class="scroll"><table><thead><tr><th>feature</th><th>encoding</th>'
            f"<th>slots</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return page(title, body)


def _curves(model: "Model") -> list[str]:
    lines = {
        "training": [(epoch.number, epoch.train_log_loss) for epoch in model.curve],
        "validation": [
            (epoch.number, epoch.valid_log_loss)
            for epoch in model.curve
            if epoch.valid_log_loss is not None
        ],
    }
    areas = {
        "validation": [
            (epoch.number, epoch.valid_auc) for epoch in model.curve if epoch.valid_auc is not None
        ]
    }
    best = model.metrics.get("epochs")
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


def _made_of(model: "Model", record: dict[str, Any]) -> dict[str, str]:
    facts = {"kind": model.kind, "slots": f"{model.num_slots:,}"}
    facts |= {name: str(value) for name, value in record["settings"].items()}
    facts["precision"] = ", ".join(
        sorted({file["precision"] for name, file in record["files"].items() if "bias" not in name})
    )
    facts["calibration"] = record["calibration"] or "none"
    if record["features"]:
        facts["features"] = record["features"]["class"]
        facts["definition"] = record["features"]["hash"][:12]
        facts["group"] = record["features"]["group"] or "all features"
    return facts


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.5f}"
