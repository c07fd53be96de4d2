"""`tadka score`: train, apply and look at models without a framework."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from tadka.cli.option import JSON, PROGRESS, ProgressMode, names_of
from tadka.core.config import load_config
from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.core.progress import Progress, ProgressRow
from tadka.features.locate import find_class
from tadka.scoring.config import FitConfig, fit
from tadka.scoring.directory import load
from tadka.scoring.example import tables
from tadka.scoring.model import Model
from tadka.scoring.record import read_record
from tadka.scoring.training import Epoch
from tadka.scoring.trees import Trees
from tadka.storage.format import open_writer, suffix_of
from tadka.storage.publish import publish_file

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(
    name="score",
    help="Train, apply and look at models without a framework.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_FEATURES = typer.Option(
    help="The feature class, as MODULE:CLASS or FILE.py:CLASS; else the one the model names.",
    show_default=False,
)


@app.command(
    "fit",
    epilog="""\b
    Examples:
      tadka score fit config.yaml
      tadka score fit config.yaml --set training.epochs=20 --set out=models/long --json""",
)
def fit_command(
    config: Annotated[Path, typer.Argument(help="A YAML file; see docs/scoring.md for its keys.")],
    *,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting that wins over the file, as KEY=VALUE.", metavar=""),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a model directory that exists.")
    ] = False,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Train a linear model, FM or FFM on a table, and write a model directory."""
    wanted = load_config(FitConfig, config, settings or [])
    if Path(wanted.out).exists() and not replace:
        raise ConfigError(f"{wanted.out!r} exists already. Name another 'out', or add --replace.")

    def tell(epoch: Epoch) -> None:
        if not as_json:
            typer.echo(str(epoch))

    features = find_class(wanted.features)
    model = fit(wanted, features, replace=replace, progress=progress.value, on_epoch=tell)
    if as_json:
        curve = [asdict(epoch) for epoch in model.curve]
        typer.echo(json.dumps({"model": wanted.out, "metrics": model.metrics, "curve": curve}))
        return
    console = Console(highlight=False)
    console.print(_metrics(model.metrics))
    console.print(f"model   {wanted.out}", markup=False, soft_wrap=True)
    console.print(f"report  {Path(wanted.out, 'report.html')}", markup=False, soft_wrap=True)


@app.command(
    "predict",
    epilog="""\b
    Examples:
      tadka score predict models/ctr rows.parquet --out scores.parquet --keep user,item
      tadka score predict models/ctr 'day=01/*.parquet' > scores.csv""",
)
def predict(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    rows: Annotated[list[str], typer.Argument(help="Files, patterns or folders of rows.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A table file (.parquet, .csv, ...); without it CSV goes to standard output.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str, typer.Option(help="Columns of the rows to write beside the score, with commas.")
    ] = "",
    features: Annotated[str | None, _FEATURES] = None,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Score every row of a table."""
    loaded = load(model, find_class(features) if features else None)
    if loaded.definition is None:
        raise ConfigError(f"Model {str(model)!r} has no feature class, so it cannot read a table.")
    kept = names_of(keep)
    names = list(dict.fromkeys([*(f.name for f in loaded.definition.fields), *kept]))
    with Progress(progress.value) as shown:
        scored = _scored(loaded, tables(rows, names), kept, shown)
        if out is None:
            _print_csv(scored)
        else:
            _write_table(out, scored)


def _scored(
    model: Model, pieces: Iterable[tuple["pa.Table", int | None]], kept: list[str], shown: Progress
) -> Iterator["pa.Table"]:
    """The kept columns of each piece with a column of scores."""
    pa = require("pyarrow", extra="arrow")
    done = 0
    for table, total in pieces:
        scores = model.predict(table, first_row=done)
        yield table.select(kept).append_column("score", pa.array(scores))
        done += table.num_rows
        shown.show({"score": ProgressRow(done=done, total=total)})


def _print_csv(pieces: Iterable["pa.Table"]) -> None:
    pa, csv = require("pyarrow", extra="arrow"), require("pyarrow.csv", extra="arrow")
    for number, table in enumerate(pieces):
        sink = pa.BufferOutputStream()
        csv.write_csv(table, sink, csv.WriteOptions(include_header=number == 0))
        typer.echo(sink.getvalue().to_pybytes().decode(), nl=False)


def _write_table(out: Path, pieces: Iterator["pa.Table"]) -> None:
    first = next(pieces, None)
    if first is None:
        raise DataError("There are no rows to score.")
    with publish_file(out) as file:
        writer = open_writer(file, suffix_of(out), first.schema)
        writer.write(first)
        for table in pieces:
            writer.write(table)
        writer.close()


@app.command(
    "show",
    epilog="""\b
    Examples:
      tadka score show models/ctr
      tadka score show models/ctr --json""",
)
def show(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Load the model too, which checks every file of it.")
    ] = False,
    features: Annotated[str | None, _FEATURES] = None,
    as_json: JSON = False,
) -> None:
    """Show what a model is, was trained on and is worth."""
    record = read_record(model)
    if check:
        load(model, find_class(features) if features else None)
    if as_json:
        typer.echo(json.dumps(record))
        return
    console = Console(highlight=False)
    saved = record["features"]
    facts = {"kind": record["kind"], **record["settings"]}
    if saved:
        facts |= {"features": saved["class"], "definition": saved["hash"][:12]}
        facts |= {"group": saved["group"] or "all features"}
    facts["calibration"] = record["calibration"] or "none"
    for name, file in record["files"].items():
        facts[name] = f"{file['precision']} {tuple(file['shape'])}"
    if check:
        facts["check"] = "every file is as saved, and the example has its score"
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(name, str(value))
    console.print(table)
    console.print(_metrics(record["metrics"]))


@app.command(
    "flatten",
    epilog="""\b
    Examples:
      tadka score flatten lightgbm.txt --features rows.py:Impression --out models/trees
      tadka score flatten xgboost.json --out models/trees""",
)
def flatten(
    trees: Annotated[
        Path, typer.Argument(help="LightGBM's text, XGBoost's JSON or CatBoost's JSON.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="The model directory to make.")],
    features: Annotated[str | None, _FEATURES] = None,
    group: Annotated[str | None, typer.Option(help="Group of the features.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a model directory that exists.")
    ] = False,
) -> None:
    """Turn another library's trees into a model directory."""
    found = find_class(features) if features else None
    Trees.from_library(trees, found, group=group).save(out, replace=replace)
    typer.echo(f"model  {out}")


def _metrics(metrics: dict[str, float]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in metrics.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.5f}"
        table.add_row(name.replace("_", " "), shown)
    return table
