"""Metrics of `tadka model` as people read them."""

from collections.abc import Mapping, Sequence

import typer

from tadka.cli.output import print_rows
from tadka.core.chart import spark_line
from tadka.models.measure.best import best_of


def print_metrics(metrics: Mapping[str, float]) -> None:
    """Metrics with their values, below one another.

    Args:
        metrics: By name.
    """
    print_rows([(name, number(value)) for name, value in metrics.items()])


def print_history(history: Mapping[str, Sequence[float]]) -> None:
    """A small chart for each metric that has a value for several epochs.

    Args:
        history: Values by metric, in the order of the epochs.
    """
    drawn = {
        name: values
        for name, values in history.items()
        if len(set(values)) > 1 and name not in ("epoch", "seconds")
    }
    if not drawn:
        return
    epochs = max(map(len, drawn.values()))
    typer.echo(f"\nby epoch, {epochs} of them")
    print_rows(
        [
            (name, f"{spark_line(values)}  {number(values[0])} to {number(values[-1])}")
            for name, values in drawn.items()
        ]
    )


def number(value: float | None) -> str:
    """A metric's value for people.

    Args:
        value: None where there is none.
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.5g}"


def marked(name: str, values: Sequence[float | None]) -> list[str]:
    """Values of a metric for people, a star behind the best one.

    Args:
        name: Of the metric.
        values: None where there is none.
    """
    best = best_of(name, values)
    return [f"{number(v)}{' *' if at == best else '  '}" for at, v in enumerate(values)]
