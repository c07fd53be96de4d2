"""`tadka model`: train, judge and apply models, check their data, and compare them."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadka.cli.model_catalog import app as catalog_app
from tadka.cli.model_metric import marked, print_history, print_metrics
from tadka.cli.model_option import RUN, TRACKING
from tadka.cli.model_run import app as run_app
from tadka.cli.model_vector import app as vector_app
from tadka.cli.option import JSON, PROGRESS, ProgressMode, names_of
from tadka.cli.output import console, echo_json, print_rows, print_table
from tadka.cli.warning import short_warnings
from tadka.core.config import load_config, read_config
from tadka.core.error import ConfigError, DataError
from tadka.core.extra import require
from tadka.core.resource import format_bytes
from tadka.models.data.config import DataConfig
from tadka.models.data.prepare import prepare
from tadka.models.data.report import print_report
from tadka.models.train.config import Config, read

if TYPE_CHECKING:
    from tadka.models.train.bench import Trial

models: Any = require("tadka.models")
"""The room, whose names are imported when a command uses them: most of them need extras."""

FAILED = 1

app = typer.Typer(
    name="model",
    help="Train, judge and apply models, check their data, and look at runs and versions.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


class Part(StrEnum):
    """Which rows a model is judged by."""

    TEST = "test"
    VALID = "valid"
    TRAIN = "train"


_CONFIG = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="A YAML file with the sections data, model, stream and tracking; see docs/models.md.",
        show_default=False,
    ),
]
_SET = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting that wins over the file, as model.lr=0.1. May stand several times.",
        show_default=False,
    ),
]


@app.command(
    "train",
    epilog="""\b
    Examples:
      tadka model train examples/fm.yaml
      tadka model train examples/fm.yaml --set model.lr=0.1 --set model.epochs=20 --json
      tadka model train monday.yaml --start fm@champion
      tadka model train examples/fm.yaml --resume runs/models/fm-20260131-120000-1a2b3c""",
)
def train(
    config: _CONFIG,
    *,
    settings: _SET = None,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Begin from the weights and vocabularies of this run.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Go on with a run that was stopped, from its last checkpoint; or from the one "
            "that is named.",
            show_default=False,
        ),
    ] = None,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Check the data, train a model, judge it on the test part, and keep the run."""
    wanted = read(config, settings or [])
    with _quiet(), _whole_reports():
        fit = models.train(wanted, start=start, resume=resume, progress=progress.value)
    if as_json:
        echo_json(
            {
                "run": fit.run,
                "folder": str(fit.folder),
                "metrics": fit.metrics,
                "history": fit.history,
                "seconds": fit.seconds,
                "bottleneck": fit.report.bottleneck,
            }
        )
        return
    print_metrics({**fit.metrics, "seconds": fit.seconds})
    print_history(_by_metric(fit.history))
    typer.echo()
    console().print(f"run     {fit.run}\nfolder  {fit.folder}", markup=False, soft_wrap=True)
    _tell_next(wanted, fit.run, fit.folder)


@app.command(
    "predict",
    epilog="""\b
    Examples:
      tadka model predict fm@champion 'rows/*.parquet' scores
      tadka model predict 3f9a1c2b rows.parquet scores --keep user,item,time --overwrite""",
)
def predict(
    run: RUN,
    rows: Annotated[
        str,
        typer.Argument(metavar="ROWS", help="A file, pattern or folder.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder for Parquet files.", show_default=False),
    ],
    *,
    keep: Annotated[
        str | None,
        typer.Option(
            help="Columns of the rows that go along, with commas; else all that the model takes "
            "in, but labels and lists.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier run wrote there.")
    ] = False,
    tracking: TRACKING = None,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Write a model's outputs for every row, in their order."""
    kept = None if keep is None else names_of(keep)
    with _quiet():
        report = models.predict(
            run,
            rows,
            out,
            keep=kept,
            overwrite=overwrite,
            tracking=tracking,
            progress=progress.value,
        )
    if as_json:
        echo_json(
            {
                "rows": report.rows_out,
                "out": str(out),
                "files": report.outputs,
                "seconds": report.seconds,
            }
        )
        return
    typer.echo(f"{report.rows_out:,} rows in {report.seconds:,.1f} s: {out}")


@app.command(
    "evaluate",
    epilog="""\b
    Examples:
      tadka model evaluate fm@champion
      tadka model evaluate 3f9a1c2b --part valid
      tadka model evaluate bpr@champion --negatives negatives.parquet
      tadka model evaluate 3f9a1c2b --config other.yaml --json""",
)
def evaluate(
    run: RUN,
    *,
    part: Annotated[Part, typer.Option(help="Of the data.")] = Part.TEST,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file whose section data is to judge by; else the run's own data.",
            show_default=False,
        ),
    ] = None,
    settings: _SET = None,
    negatives: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Judge rankings among these, too: a file of `tadka model negatives` for the part; "
            "else data.negatives.",
            show_default=False,
        ),
    ] = None,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Judge a trained model on a part of its data, or on other data."""
    data = None if config is None else _data_of(config, settings or [])
    if settings and config is None:
        raise ConfigError("--set changes the file of --config, and none was named.")
    with _quiet():
        metrics = models.evaluate(
            run, data, part=part.value, negatives=negatives or "", tracking=tracking
        )
    if as_json:
        echo_json({"run": run, "part": part.value, "metrics": metrics})
        return
    print_metrics(metrics)


@app.command(
    "negatives",
    epilog="""\b
    Examples:
      tadka model negatives ranking.yaml negatives.parquet
      tadka model negatives ranking.yaml negatives.parquet --num 99 --power 0.75 --part valid""",
)
def negatives(
    config: _CONFIG,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A .parquet or .npz file.", show_default=False),
    ],
    *,
    part: Annotated[Part, typer.Option(help="Whose users it is for.")] = Part.TEST,
    num: Annotated[int, typer.Option(help="Items for each user.", min=1)] = 100,
    power: Annotated[
        float,
        typer.Option(
            help="Popularity to this power is how often an item is drawn; 0: all alike.", min=0
        ),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed and data give the same file.")] = 0,
    settings: _SET = None,
    as_json: JSON = False,
) -> None:
    """Draw items that users have not taken, once, for sampled ranking.

    Name the file at data.negatives: rankings are then judged over all items, and as
    sampled_recall@10 among these, whoever asks and whenever.
    """
    wanted = read(config, settings or [])
    with _quiet():
        pairs = models.draw_negatives(wanted, out, part=part.value, num=num, power=power, seed=seed)
    if as_json:
        echo_json({"out": str(out), "pairs": pairs})
        return
    typer.echo(f"{pairs:,} pairs: {out}")


@app.command(
    "check",
    epilog="""\b
    Examples:
      tadka model check examples/fm.yaml
      tadka model check examples/fm.yaml --set data.valid.share=0.2 --json""",
)
def check(config: _CONFIG, *, settings: _SET = None, as_json: JSON = False) -> None:
    """Check whether data suit a model, as training does first; trains nothing.

    Columns, types, missing values, ranges, labels, vocabularies and leakage are looked at. Status 1
    means that training would be refused.
    """
    wanted = read(config, settings or [])
    data = prepare(wanted.data, wanted.tracking.data)
    report = models.check(data, wanted.model.inputs, task=wanted.model.task, config=wanted.check)
    if as_json:
        echo_json(report.to_dict())
    else:
        print_report(report, console())
    if not report.is_ok:
        raise typer.Exit(FAILED)


@app.command(
    "bench",
    epilog="""\b
    Examples:
      tadka model bench examples/fm.yaml --models fm,logistic
      tadka model bench ranking.yaml --models bpr,lightgcn --keep ranking.jsonl
      tadka model bench ranking.yaml --set models.lightgcn.layers=2 --json""",
)
def bench(
    config: _CONFIG,
    *,
    names: Annotated[
        str,
        typer.Option(
            "--models",
            metavar="NAMES",
            help="Models, with commas; else those of the section models of the file.",
            show_default=False,
        ),
    ] = "",
    settings: _SET = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add results to this file as they come, and do not train again what it has.",
            show_default=False,
        ),
    ] = None,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Train several models on the same data, and print one table.

    A model takes from the section model the keys that it has, and its own from models.NAME. One
    that fails is named, and the rest goes on; status 1 means that one failed.
    """

    def tell(trial: "Trial") -> None:
        if not as_json:
            told = f"{trial.seconds:,.1f} s" if trial.is_ok else f"failed: {trial.reason}"
            typer.echo(f"{trial.model}: {told}", err=True)

    wanted = names_of(names)
    with _quiet():
        trials = models.bench(
            config, wanted, settings or [], kept=keep, progress=progress.value, on_trial=tell
        )
    if as_json:
        echo_json([{**asdict(one), "is_ok": one.is_ok} for one in trials])
    else:
        _tell_trials(trials)
    if not all(trial.is_ok for trial in trials):
        raise typer.Exit(FAILED)


app.add_typer(catalog_app)
app.add_typer(run_app)
app.add_typer(vector_app)

# ---------------------------------------------------------------- what several commands do


@dataclass(frozen=True, kw_only=True)
class _Other:
    """The part of a configuration that `evaluate` takes."""

    data: DataConfig


def _data_of(config: Path, settings: Sequence[str]) -> DataConfig:
    values = read_config(config, settings)
    if "data" not in values:
        raise ConfigError(f"Configuration {str(config)!r} has no section 'data'.")
    name = f"Configuration {str(config)!r}"
    return load_config(_Other, {"data": values["data"]}, name=name).data


@contextmanager
def _quiet() -> Iterator[None]:
    """Standard output is for the result: what models print goes to standard error."""
    with redirect_stdout(sys.stderr), short_warnings():
        yield


@contextmanager
def _whole_reports() -> Iterator[None]:
    """What is wrong with data is many lines, of which the main command would make one."""
    try:
        yield
    except DataError as error:
        if "\n" not in str(error):
            raise
        typer.echo(f"tadka: {error}", err=True)
        raise typer.Exit(FAILED) from error


def _by_metric(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    names = dict.fromkeys(name for epoch in history for name in epoch)
    return {name: [epoch[name] for epoch in history if name in epoch] for name in names}


def _tell_next(config: Config, run: str, folder: Path) -> None:
    tracking = config.tracking
    where = f" --tracking {tracking.uri}" if tracking.uri else ""
    ref = str(folder) if tracking.offline else run[:8]
    rows = [("next", f"tadka model show {ref}{'' if tracking.offline else where}")]
    if tracking.offline:
        rows.append(("", f"tadka model send {folder}{where}"))
    rows.append(("", f"tadka model predict {ref} ROWS OUT{'' if tracking.offline else where}"))
    for name, told in rows:
        typer.echo(f"{name:8}{told}")


def _tell_trials(trials: Sequence["Trial"]) -> None:
    """A column for each model: metrics are many, and models to compare are few."""
    done = [trial for trial in trials if trial.is_ok]
    facts = {
        "run": [trial.run[:8] for trial in done],
        "data": [trial.data[:8] for trial in done],
        "commit": [trial.commit[:8] for trial in done],
        "seconds": [f"{trial.seconds:,.1f}" for trial in done],
        "memory": [format_bytes(t.memory_bytes) if t.memory_bytes else "" for t in done],
        "rows/s": [f"{trial.rows_per_s:,.0f}" for trial in done],
    }
    rows = [[name, *(f"{cell}  " for cell in cells)] for name, cells in facts.items() if any(cells)]
    for name in dict.fromkeys(name for trial in done for name in trial.metrics):
        rows.append([name, *marked(name, [trial.metrics.get(name) for trial in done])])
    if done:
        titles = ["", *(f"{trial.model}  " for trial in done)]
        print_table(titles, rows, right=titles[1:])
    failed = [(one.model, f"failed: {one.reason}") for one in trials if not one.is_ok]
    left_out = [
        (t.model, f"has no {', '.join(t.left_out)}: left out") for t in trials if t.left_out
    ]
    if failed or left_out:
        print_rows([*failed, *left_out])
