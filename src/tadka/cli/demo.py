"""`tadka demo`: train and predict film ratings through two flows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tadka.cli.option import JSON, PROGRESS, ProgressMode
from tadka.core.extra import require

if TYPE_CHECKING:
    from tadka.demo.run import DemoResult

app = typer.Typer(name="demo", rich_markup_mode=None, add_completion=False)


@app.command(
    epilog="""\b
    Examples:
      tadka demo
      tadka demo --ratings ml-100k --out demo-100k
      tadka demo --epochs 2 --json --progress none"""
)
def demo(
    *,
    ratings: Annotated[
        Path | None,
        typer.Option(
            help="Folder in the layout of ml-100k; without it, ratings are made up.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for everything made. One that an earlier demo made is made anew.",
            file_okay=False,
        ),
    ] = Path("demo-output"),
    epochs: Annotated[int, typer.Option(help="Passes over the training ratings.", min=1)] = 8,
    replicas: Annotated[int, typer.Option(help="Processes that prepare the features.", min=1)] = 2,
    seed: Annotated[
        int, typer.Option(help="Of the order and of the first weights.", min=0, max=2**32 - 1)
    ] = 0,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Train a Factorization Machine on film ratings, predict, and write a report.

    A training flow (read, preprocess, train) and a prediction flow (read, preprocess, predict,
    postprocess, write) run on this machine. The predictions are judged against the test ratings.
    """
    # The libraries first, each with a message of its own, and not before the command runs.
    require("pyarrow", extra="stream")
    require("zmq", extra="stream")
    require("torch", extra="torch")
    movielens = require("tadka.demo.run", extra="stream")
    result: DemoResult = movielens.run_movielens(
        out,
        ratings=ratings,
        epochs=epochs,
        replicas=replicas,
        seed=seed,
        progress=progress.value,
        say=_stay_silent if as_json else typer.echo,
    )
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
    else:
        _print(result, Console(highlight=False))


def _stay_silent(_: str) -> None:
    """Standard output belongs to the JSON object."""


def _print(result: "DemoResult", console: Console) -> None:
    for heading, report in (("training", result.training), ("prediction", result.prediction)):
        console.print(f"\n[bold]{heading}[/bold], {report.seconds:.1f} s")
        console.print(report.table())
    console.print(
        f"\nRMSE on {result.rows_predicted:,} test ratings: [bold]{result.rmse_test:.4f}[/bold]"
        f" (the mean rating alone: {result.rmse_baseline:.4f})"
    )
    console.print(f"predictions  {result.predictions}", markup=False, soft_wrap=True)
    console.print(f"report       {result.report}", markup=False, soft_wrap=True)
