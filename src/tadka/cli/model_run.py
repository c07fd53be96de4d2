"""`tadka model`, of what was trained: runs, versions and what they were made from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tadka.cli.model_metric import marked, number, print_history, print_metrics
from tadka.cli.model_option import RUN, TRACKING
from tadka.cli.option import JSON
from tadka.cli.output import echo_json, print_rows, print_table, shown
from tadka.core.error import ConfigError
from tadka.core.extra import require
from tadka.models.data.check import CheckConfig
from tadka.models.data.config import DataConfig
from tadka.models.train.config import StreamConfig
from tadka.models.train.past import Comparison, find
from tadka.registry.kept import address_of
from tadka.registry.naming import flat, plain
from tadka.registry.record import Lineage, ModelVersion, RunRecord
from tadka.registry.registry import Registry

models: Any = require("tadka.models")
"""The room, whose names are imported when a command uses them: most of them need extras."""

_SHORT = 8  # letters of an id
_LIBRARIES = ("torch", "numpy", "pyarrow", "lightgbm")

app = typer.Typer(rich_markup_mode=None)


@app.command(
    "show",
    epilog="""\b
    Examples:
      tadka model show 3f9a1c2b
      tadka model show fm@champion --all
      tadka model show runs/models/fm-20260131-120000-1a2b3c --json""",
)
def show(
    run: RUN,
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Also the settings that are as they are by default.")
    ] = False,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Show a run: parameters, metrics by epoch, data, code, environment, where it comes from."""
    record = find(run, tracking)
    history = {name: record.history(name) for name in record.metrics}
    lineage, versions = _origin(run, record, tracking)
    if as_json:
        told = _record_to_json(record)
        told["history"] = history
        told["parents"] = [one.id for one in lineage.parents]
        told["versions"] = [str(one) for one in versions]
        echo_json(told)
        return
    _tell_run(record, lineage, versions)
    params = record.params if every else _chosen(record.params)
    typer.echo("\nparameters")
    print_rows([(name, shown(value)) for name, value in params.items()])
    typer.echo("\nmetrics")
    print_metrics(record.metrics)
    print_history({name: [value for _, value in points] for name, points in history.items()})


@app.command(
    "compare",
    epilog="""\b
    Examples:
      tadka model compare 3f9a1c2b 77d0e1f2
      tadka model compare fm@champion fm@challenger --json""",
)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN", help="Two runs or more, as in show.", show_default=False),
    ],
    *,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Show how runs differ: parameters, data and code, and metrics with the best marked."""
    if len(runs) < 2:
        raise ConfigError("compare takes two runs or more; name another one.")
    found = models.compare(*runs, tracking=tracking)
    if as_json:
        echo_json(
            {
                "runs": [one.id for one in found.runs],
                "facts": found.facts,
                "params": found.params,
                "metrics": found.metrics,
                "best": {name: found.runs[index].id for name, index in found.best.items()},
            }
        )
        return
    _tell_comparison(found)


@app.command(
    "runs",
    epilog="""\b
    Examples:
      tadka model runs
      tadka model runs --model fm --limit 5 --json""",
)
def runs(
    *,
    model: Annotated[
        str | None, typer.Option(help="Only those of this model.", show_default=False)
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Only those of this experiment.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="Most runs, the newest first.", min=1)] = 20,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """List runs, the newest first."""
    registry = Registry(tracking, experiment=experiment or "tadka")
    found = registry.runs(model, limit, everywhere=experiment is None)
    if as_json:
        echo_json([_record_to_json(one) for one in found])
        return
    if not found:
        typer.echo(f"There are no runs at {registry.uri!r}.")
        return
    print_table(
        ("run", "model", "experiment", "status", "started", "seconds", "data", "metrics"),
        [
            (
                one.id[:_SHORT],
                one.model,
                one.experiment,
                one.status,
                f"{one.started:%Y-%m-%d %H:%M}",
                "" if one.seconds is None else f"{one.seconds:,.1f}",
                one.dataset.name if one.dataset else "",
                _few(one.metrics),
            )
            for one in found
        ],
        right=("seconds",),
    )


@app.command(
    "alias",
    epilog="""\b
    Examples:
      tadka model alias fm/3 champion
      tadka model alias fm@challenger champion""",
)
def alias(
    version: Annotated[
        str,
        typer.Argument(metavar="MODEL/VERSION", help="fm/3, or fm@challenger.", show_default=False),
    ],
    name: Annotated[
        str, typer.Argument(metavar="ALIAS", help="champion, challenger, ...", show_default=False)
    ],
    *,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Point an alias of a model to a version, away from another one."""
    model, slash, number = version.partition("/")
    registry = Registry(tracking)
    if "@" in version and not slash:
        model = version.partition("@")[0]
        run = registry.resolve(version)
        number = next(
            str(one.version)
            for one in registry.models()
            if one.name == model and one.run == run and version.partition("@")[2] in one.aliases
        )
    elif not number.isdigit():
        raise ConfigError(f"{version!r} is no version of a model; write it as fm/3.")
    registry.set_alias(model, name, int(number))
    if as_json:
        echo_json({"model": model, "version": int(number), "alias": name})
        return
    typer.echo(f"{model}@{name} is {model}/{number} now")


@app.command(
    "send",
    epilog="""\b
    Examples:
      tadka model send runs/models/fm-20260131-120000-1a2b3c
      tadka model send runs/models/fm-20260131-120000-1a2b3c --tracking http://mlflow:5000""",
)
def send(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Of the run.", show_default=False)
    ],
    *,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Send a run that was trained offline, or whose server was away; twice does no harm."""
    run, version = models.send(folder, tracking)
    if as_json:
        echo_json({"run": run, "version": None if version is None else str(version)})
        return
    typer.echo(f"run      {run}")
    typer.echo(f"version  {version or 'none: the run has not ended well'}")


@app.command(
    "made",
    epilog="""\b
    Examples:
      tadka model made fm@champion
      tadka model made 3f9a1c2b --json""",
)
def made(run: RUN, *, tracking: TRACKING = None, as_json: JSON = False) -> None:
    """Say what made a model: data, code, and the runs that it goes on from."""
    record = find(run, tracking)
    lineage, _ = _origin(run, record, tracking)
    if as_json:
        echo_json(
            {
                "run": _record_to_json(lineage.run),
                "parents": [_record_to_json(one) for one in lineage.parents],
                "missing": lineage.missing,
            }
        )
        return
    typer.echo(str(lineage))


@app.command(
    "fed",
    epilog="""\b
    Examples:
      tadka model fed 1a2b3c4d5e6f
      tadka model fed ../shared/data/ml-100k --json""",
)
def fed(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="Its fingerprint (six letters of it are enough), version or URI.",
            show_default=False,
        ),
    ],
    *,
    tracking: TRACKING = None,
    as_json: JSON = False,
) -> None:
    """Say what a data set fed: runs, those that go on from them, and versions of models."""
    found, versions = Registry(tracking).fed(dataset)
    if as_json:
        echo_json(
            {
                "runs": [_record_to_json(one) for one in found],
                "versions": [str(one) for one in versions],
            }
        )
        return
    if not found:
        typer.echo(f"{dataset!r} fed no run.")
        return
    named: dict[str, list[str]] = {}
    for version in versions:
        named.setdefault(version.run, []).append(str(version))
    print_table(
        ("run", "model", "status", "started", "goes on from", "versions"),
        [
            (
                one.id[:_SHORT],
                one.model,
                one.status,
                f"{one.started:%Y-%m-%d %H:%M}",
                (one.parent or "")[:_SHORT],
                ", ".join(named.get(one.id, [])),
            )
            for one in found
        ],
    )


# ---------------------------------------------------------------- what several commands do


def _record_to_json(record: RunRecord) -> dict[str, Any]:
    """A run as JSON has it, without its history.

    Args:
        record: The run.
    """
    return {
        "id": record.id,
        "model": record.model,
        "experiment": record.experiment,
        "status": record.status,
        "started": record.started.isoformat(),
        "seconds": record.seconds,
        "params": dict(record.params),
        "metrics": dict(record.metrics),
        "dataset": None if record.dataset is None else asdict(record.dataset),
        "code": record.code,
        "folder": record.directory,
        "environment": dict(record.environment),
        "parent": record.parent,
        "tags": dict(record.tags),
    }


def _origin(
    run: str, record: RunRecord, tracking: str | None
) -> tuple[Lineage, Sequence[ModelVersion]]:
    """Lineage and versions; of a folder that was sent nowhere, what the folder says."""
    if Path(run).is_dir() and not record.mlflow_id:
        return Lineage(run=record, missing=record.parent), []
    registry = Registry(tracking or (address_of(run) if Path(run).is_dir() else None))
    versions = [one for one in registry.models() if one.run == record.id]
    if record.parent is None:
        return Lineage(run=record), versions
    return registry.made(record.id), versions


def _tell_run(record: RunRecord, lineage: Lineage, versions: Sequence[ModelVersion]) -> None:
    took = "" if record.seconds is None else f", {record.seconds:,.1f} s"
    packages = record.environment.get("packages") or {}
    libraries = [f"{name} {packages[name]}" for name in _LIBRARIES if name in packages]
    python = record.environment.get("python")
    rows = [
        ("run", f"{record.id}  {record.model}, {record.status}"),
        ("started", f"{record.started:%Y-%m-%d %H:%M:%S} UTC{took}"),
        ("versions", ", ".join(map(str, versions))),
        ("folder", record.directory),
    ]
    if record.dataset is not None:
        data = record.dataset
        count = f", {data.num_rows:,} rows of train" if data.num_rows is not None else ""
        version = f", version {data.version}" if data.version else ""
        rows.append(("data", f"{data.name} {data.fingerprint[:12]}{version}{count} ({data.uri})"))
    rows += [
        ("code", record.code[:12]),
        ("commit", str(record.environment.get("commit", ""))),
        ("with", ", ".join([f"Python {python}", *libraries]) if python else ""),
        ("parent", record.parent or ""),
    ]
    print_rows([(name, told) for name, told in rows if told])
    if lineage.parents:
        typer.echo(f"\nlineage\n{lineage}")


def _tell_comparison(found: Comparison) -> None:
    titles = ["", *(one.id[:_SHORT] for one in found.runs)]
    blocks: list[Mapping[str, Sequence[Any]]] = [found.facts, found.params]
    for name, block in zip(("made of", "parameters"), blocks, strict=True):
        if block:
            titles[0] = name
            rows = [[key, *map(shown, values)] for key, values in block.items()]
            print_table(titles, rows, right=titles[1:])
            typer.echo()
    titles[0] = "metrics"
    rows = [[name, *marked(name, values)] for name, values in found.metrics.items()]
    print_table([titles[0], *(f"{title}  " for title in titles[1:])], rows, right=titles[1:])


def _chosen(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the model, and settings that are not as they are by default."""
    defaults = {
        "data": asdict(DataConfig(train="-")),
        "stream": asdict(StreamConfig()),
        "check": asdict(CheckConfig()),
    }
    usual = {**dict(flat(plain(defaults))), "tracking.offline": False}
    empty: tuple[Any, ...] = (None, "", [], {})
    return {
        name: value
        for name, value in params.items()
        if name.startswith("model.")
        or not (value in empty or (name in usual and usual[name] == value))
    }


def _few(metrics: Mapping[str, float], most: int = 3) -> str:
    """The first metrics of a run, without those of validation and of counting."""
    names = [
        name
        for name in metrics
        if not name.startswith(("valid_", "num_", "warm_", "cold_"))
        and name not in ("seconds", "lr", "loss", "epoch")
    ]
    return ", ".join(f"{name} {number(metrics[name])}" for name in names[:most])
