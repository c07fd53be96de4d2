"""`tadka serve`: answer live requests; publish versions of models, and say who gets the traffic."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from tadka.cli.option import JSON, names_of
from tadka.cli.output import console
from tadka.core.error import ConfigError, NotFound
from tadka.core.resource import parse_bytes
from tadka.features.features import Features
from tadka.features.locate import find_class
from tadka.serve.config import ServeConfig
from tadka.serve.load import LoadConfig, run_load
from tadka.serve.prediction import method_path, service_proto
from tadka.serve.server import Server
from tadka.serve.store.requests import read_rows
from tadka.serve.store.state import NAME, Traffic
from tadka.serve.store.store import Published, Store, publish_command
from tadka.storage.publish import publish_file

FAILED = 1
_HELP = frozenset({"-h", "--help"})
_WIDTH = 160
_MAX_ROWS = 100_000  # of a load; more do not make it more distinct


class _Group(TyperGroup):
    """`run` is what is meant where the first word is no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in _HELP):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="serve",
    cls=_Group,
    help="Answer live requests. Without a command: run.",
    rich_markup_mode=None,
    add_completion=False,
    epilog="""\b
    Examples:
      tadka serve models/ctr --port 50051 --workers 2
      tadka serve publish models/ctr --alias candidate
      tadka serve split production=90,candidate=10 --key user
      tadka serve rollback""",
)

_DEFAULT = ServeConfig()
_STORE = typer.Option(help="Folder of the model store.", envvar="TADKA_STORE")
_MODEL = typer.Option(
    help="Name of the model; else the store's only one.", show_default=False, metavar="NAME"
)
_FEATURES = typer.Option(
    help="The feature class, as MODULE:CLASS or FILE.py:CLASS; else the one the model names.",
    show_default=False,
)
_REQUESTS = typer.Option(
    help="Rows to try a version with: a table file; else the last logged ones.",
    show_default=False,
)


@app.command(
    "run",
    epilog="""\b
    Examples:
      tadka serve models/ctr
      tadka serve ctr=models/ctr cvr=models/cvr --port 50051 --workers 4
      tadka serve --store serving --log serving/log --log-share 0.05""",
)
def run(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]DIR",
            help="Model directories to publish as production first; none serves the store as it "
            "is.",
            show_default=False,
        ),
    ] = None,
    *,
    store: Annotated[str, _STORE] = _DEFAULT.store,
    features: Annotated[str | None, _FEATURES] = None,
    requests: Annotated[str | None, _REQUESTS] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = _DEFAULT.host,
    port: Annotated[int, typer.Option(help="Of gRPC; 0 takes any.")] = _DEFAULT.port,
    http_port: Annotated[
        int | None,
        typer.Option(help="Of HTTP; else the one after the port.", show_default=False),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; else one a core.", show_default=False)
    ] = None,
    transport: Annotated[
        str, typer.Option(help="native, grpcio, or auto: native where it was built.")
    ] = _DEFAULT.transport,
    deadline_ms: Annotated[
        int, typer.Option(help="How long a call may wait whose client does not say.")
    ] = _DEFAULT.deadline_ms,
    grace_s: Annotated[
        float, typer.Option(help="For calls in flight when the server stops.")
    ] = _DEFAULT.grace_s,
    log: Annotated[
        Path | None,
        typer.Option(help="Folder of the request log; else there is none.", show_default=False),
    ] = None,
    log_share: Annotated[
        float, typer.Option(help="Share of the requests that is logged, 0 to 1.")
    ] = _DEFAULT.log_share,
    log_rotate_s: Annotated[
        float, typer.Option(help="A log file is published after this time.")
    ] = _DEFAULT.log_rotate_s,
    log_rotate_bytes: Annotated[
        str, typer.Option(help="Or when it is this long.", metavar="SIZE")
    ] = "128M",
    max_message_bytes: Annotated[str, typer.Option(help="Longest request.", metavar="SIZE")] = "4M",
    max_connections: Annotated[
        int, typer.Option(help="Open connections of a worker.")
    ] = _DEFAULT.max_connections,
    max_streams: Annotated[
        int, typer.Option(help="Open calls of a connection.")
    ] = _DEFAULT.max_streams,
    max_queue: Annotated[
        int, typer.Option(help="Calls that may wait in a worker.")
    ] = _DEFAULT.max_queue,
    coalesce_us: Annotated[
        int,
        typer.Option(help="Let requests wait up to this long for each other: less CPU time."),
    ] = _DEFAULT.coalesce_us,
    header_s: Annotated[
        float, typer.Option(help="In which a client must have sent a request.")
    ] = _DEFAULT.header_s,
    idle_s: Annotated[
        float, typer.Option(help="After which an unused connection is closed.")
    ] = _DEFAULT.idle_s,
) -> None:
    """Serve the models of a store until SIGTERM or Ctrl-C; calls in flight are finished."""
    config = ServeConfig(
        store=store,
        host=host,
        port=port,
        http_port=http_port,
        workers=workers,
        deadline_ms=deadline_ms,
        max_message_bytes=parse_bytes(max_message_bytes),
        max_connections=max_connections,
        max_streams=max_streams,
        max_queue=max_queue,
        coalesce_us=coalesce_us,
        header_s=header_s,
        idle_s=idle_s,
        grace_s=grace_s,
        log=None if log is None else str(log),
        log_share=log_share,
        log_rotate_s=log_rotate_s,
        log_rotate_bytes=parse_bytes(log_rotate_bytes),
        transport=transport,  # type: ignore[arg-type] # it checks itself
        features=features,
    )
    place, cls = Store(store), find_class(features) if features else None
    named = _named(models or [])
    server = Server(config)
    try:
        server.prepare()  # a server that cannot start shall change nothing
        for name, folder in named:
            if name is None:
                _check_only_model(place, folder)
            done = place.publish(folder, model=name, requests=requests, features=cls)
            typer.echo(_published(done, place))
        status = server.run(on_ready=lambda server: typer.echo(_listening(server, place)))
    finally:
        server.stop()
    if status:
        raise typer.Exit(status)


def _named(words: Sequence[str]) -> list[tuple[str | None, Path]]:
    """Name and folder of each model; several without a name take that of their folder."""
    found: list[tuple[str | None, Path]] = []
    for word in words:
        path = Path(word)
        name, equals, folder = word.partition("=")
        if equals and not path.exists():
            found.append((name, Path(folder)))
            continue
        if not path.exists():
            commands = [command.name or "" for command in app.registered_commands]
            close = difflib.get_close_matches(word, commands, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else " See: tadka serve --help."
            raise ConfigError(f"{word!r} is neither a model directory nor a command.{hint}")
        own = path.resolve().name if len(words) > 1 else None
        if own is not None and NAME.fullmatch(own) is None:
            raise ConfigError(
                f"Model directory {word!r} has a name that no model can have. Name the model: "
                f"NAME={word}."
            )
        found.append((own, path))
    names = [given for given, _ in found]
    twice = [given for given in names if names.count(given) > 1]
    if twice:
        raise ConfigError(f"Two models are named {twice[0]!r}. Name them apart: NAME=DIR.")
    return found


def _check_only_model(store: Store, folder: Path) -> None:
    """Refuses a model directory without a name where the store cannot tell which model it is."""
    names = sorted(store.state().models)
    if len(names) > 1:
        raise ConfigError(
            f"Store {str(store.path)!r} has several models: {', '.join(names)}. Say which one "
            f"{str(folder)!r} is: NAME={folder}."
        )


def _listening(server: Server, store: Store) -> str:
    """The one line that says that the server is ready."""
    config = server.config
    host = f"[{config.host}]" if ":" in config.host else config.host
    models = "; ".join(
        f"{name} {_traffic(traffic)}" for name, traffic in sorted(store.state().models.items())
    )
    workers = f"{config.num_workers} worker{'s' if config.num_workers > 1 else ''}"
    return (
        f"serving {models}, at {host}:{server.port} (gRPC) and {host}:{server.http_port} (HTTP), "
        f"transport {config.transport}, {workers}"
    )


def _traffic(traffic: Traffic) -> str:
    """Who answers for a model, and who only scores."""
    versions = traffic.aliases
    arms = [f"{versions[a]} ({percent:g}%)" for a, percent in traffic.split.items() if percent]
    shadows = [f"{versions[alias]} (shadow)" for alias in traffic.shadow]
    if len(arms) == 1 and not shadows:
        return f"version {arms[0].partition(' ')[0]}"
    return f"version {', '.join(arms + shadows)}"


@app.command(
    "publish",
    epilog="""\b
    Examples:
      tadka serve publish models/ctr
      tadka serve publish models/new --alias candidate --model ctr
      tadka serve publish models/ctr --requests 'requests/*.parquet'""",
)
def publish(
    model_dir: Annotated[Path, typer.Argument(help="A model directory.", show_default=False)],
    *,
    alias: Annotated[str, typer.Option(help="That shall point to the version.")] = "production",
    model: Annotated[str | None, _MODEL] = None,
    store: Annotated[str, _STORE] = _DEFAULT.store,
    requests: Annotated[str | None, _REQUESTS] = None,
    features: Annotated[str | None, _FEATURES] = None,
    as_json: JSON = False,
) -> None:
    """Copy a model into the store, try it with requests, and point an alias at it.

    Servers of the store follow within a second, without losing a request. A model that is damaged,
    or gives a request no score, is refused, and the old version goes on.
    """
    place = Store(store)
    cls = find_class(features) if features else None
    done = place.publish(model_dir, alias=alias, model=model, requests=requests, features=cls)
    typer.echo(json.dumps(asdict(done)) if as_json else _published(done, place))


def _published(done: Published, store: Store) -> str:
    what = f"{done.model}: version {done.version}"
    if not done.is_new:
        return f"{what} is {done.alias} already; nothing to do"
    requests = f"{done.replayed:,} request{'s' if done.replayed != 1 else ''}"
    text = f"{what} is {done.alias} now, tried with {requests}"
    is_shadow = done.alias in store.state().models[done.model].shadow
    if done.share or is_shadow:
        return text
    return (
        f"{text}; it gets no requests until tadka serve split or tadka serve shadow names "
        f"{done.alias}"
    )


@app.command(
    "rollback",
    epilog="""\b
    Examples:
      tadka serve rollback
      tadka serve rollback --model ctr --alias candidate""",
)
def rollback(
    *,
    model: Annotated[str | None, _MODEL] = None,
    alias: Annotated[str, typer.Option(help="The alias to point back.")] = "production",
    store: Annotated[str, _STORE] = _DEFAULT.store,
) -> None:
    """Point an alias at the version it had before, at once.

    A second rollback goes forward again.
    """
    place = Store(store)
    name = place.model(model)
    version = place.rollback(name, alias).models[name].aliases[alias]
    typer.echo(f"{name}: version {version} is {alias} again")


@app.command(
    "split",
    epilog="""\b
    Examples:
      tadka serve split production=90,candidate=10 --key user
      tadka serve split production=100""",
)
def split(
    shares: Annotated[
        str,
        typer.Argument(
            metavar="ALIAS=PERCENT,...",
            help="Shares of the requests, 100 together.",
            show_default=False,
        ),
    ],
    *,
    key: Annotated[
        str | None,
        typer.Option(
            help="Field by which requests are assigned, so that a user keeps to a version; '' for "
            "the whole request. Else as before.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, _MODEL] = None,
    store: Annotated[str, _STORE] = _DEFAULT.store,
) -> None:
    """Divide a model's requests among aliases."""
    place = Store(store)
    name = place.model(model)
    traffic = place.split(shares, model=name, key=key).models[name]
    by = f"by {traffic.key}" if traffic.key else "by request"
    typer.echo(f"{name}: {_traffic(traffic)}, {by}")


@app.command(
    "shadow",
    epilog="""\b
    Examples:
      tadka serve shadow candidate
      tadka serve shadow --off""",
)
def shadow(
    aliases: Annotated[
        list[str] | None, typer.Argument(help="Aliases that score too.", show_default=False)
    ] = None,
    *,
    off: Annotated[bool, typer.Option("--off", help="No shadow any more.")] = False,
    model: Annotated[str | None, _MODEL] = None,
    store: Annotated[str, _STORE] = _DEFAULT.store,
) -> None:
    """Let aliases score requests without answering; their scores are in the metrics and the log.

    Shadows work when the server is idle, and leave requests out when it is not.
    """
    if bool(aliases) is off:
        raise ConfigError("Name the aliases that shall be shadows, or give --off for none.")
    place = Store(store)
    name = place.model(model)
    traffic = place.shadow(aliases or [], model=name).models[name]
    typer.echo(f"{name}: {_traffic(traffic)}")


@app.command(
    "status",
    epilog="""\b
    Examples:
      tadka serve status
      tadka serve status --store serving --json""",
)
def status(
    *,
    store: Annotated[str, _STORE] = _DEFAULT.store,
    as_json: JSON = False,
) -> None:
    """Show every alias: its version, share of the requests, and what the model is worth."""
    place = Store(store)
    state, rows = place.state(), place.status()
    if as_json:
        keys = {name: traffic.key for name, traffic in state.models.items()}
        found = {"store": store, "generation": state.generation, "keys": keys}
        typer.echo(json.dumps({**found, "aliases": [asdict(row) for row in rows]}))
        return
    if not rows:
        typer.echo(f"{store} serves nothing yet; run: {publish_command(store)}")
        return
    shown = console(_WIDTH)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "alias", "version", "share", "before", "since (UTC)", "kind"):
        is_number = heading in {"version", "share", "before"}
        table.add_column(heading, justify="right" if is_number else "left")
    table.add_column("metrics", overflow="fold")
    for row in rows:
        since = "" if row.since is None else f"{datetime.fromtimestamp(row.since, UTC):%F %T}"
        table.add_row(
            row.model,
            row.alias,
            str(row.version),
            "shadow" if row.is_shadow and not row.share else f"{row.share:g}%",
            "" if row.previous is None else str(row.previous),
            since,
            row.kind,
            _metrics(row.metrics),
        )
    shown.print(table)
    for name, traffic in state.models.items():
        if traffic.key:
            shown.print(f"{name} is split by {traffic.key}", markup=False)


def _metrics(metrics: Any) -> str:
    shown = {
        name: value
        for name, value in metrics.items()
        if name == "rows" or name.endswith(("auc", "log_loss"))
    }
    return ", ".join(
        f"{name.replace('_', ' ')} " + (f"{value:,}" if isinstance(value, int) else f"{value:.5f}")
        for name, value in shown.items()
    )


@app.command(
    "proto",
    epilog="""\b
    Examples:
      tadka serve proto
      tadka serve proto --features rows:Impression --out predictor.proto""",
)
def proto(
    *,
    store: Annotated[str, _STORE] = _DEFAULT.store,
    features: Annotated[str | None, _FEATURES] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write this file instead of standard output.", show_default=False),
    ] = None,
) -> None:
    """Print the .proto file from which clients in any language are made."""
    text = service_proto(_class(store, features))
    if out is None:
        typer.echo(text, nl=False)
        return
    with publish_file(out) as file:
        file.write(text.encode())
    typer.echo(f"wrote  {out}")


@app.command(
    "prune",
    epilog="""\b
    Examples:
      tadka serve prune
      tadka serve prune --keep 0 --model ctr""",
)
def prune(
    *,
    keep: Annotated[
        int, typer.Option(help="Versions to keep beside those in use, the newest.", min=0)
    ] = 2,
    model: Annotated[
        str | None, typer.Option(help="Of this model only.", show_default=False, metavar="NAME")
    ] = None,
    store: Annotated[str, _STORE] = _DEFAULT.store,
) -> None:
    """Delete versions that no alias points to, nor would after a rollback."""
    deleted = Store(store).prune(keep, model=model)
    for folder in deleted:
        typer.echo(f"deleted  {folder}")
    if not deleted:
        typer.echo("nothing to delete")


@app.command(
    "load",
    epilog="""\b
    Examples:
      tadka serve load --rows requests.parquet --rate 9000
      tadka serve load --rows requests.parquet --target 10.0.0.7:50051 --seconds 60 --html load.html
      tadka serve load --rows 'serving/log/*.arrow' --json""",
)
def load(
    *,
    rows: Annotated[
        str, typer.Option(help="A table, pattern or folder of requests.", show_default=False)
    ],
    target: Annotated[str, typer.Option(help="HOST:PORT of the server.")] = "localhost:50051",
    rate: Annotated[
        float | None,
        typer.Option(help="Requests a second; else as many as it answers.", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long.")] = 10.0,
    connections: Annotated[int, typer.Option(help="To the server.")] = 4,
    streams: Annotated[int, typer.Option(help="Requests in flight on each connection.")] = 8,
    deadline_ms: Annotated[
        int | None, typer.Option(help="That requests bring; else none.", show_default=False)
    ] = None,
    poisson: Annotated[
        bool, typer.Option("--poisson", help="Random times of the same rate, as real traffic.")
    ] = False,
    models: Annotated[
        str, typer.Option(help="Models to ask for, with commas; else all.", show_default=False)
    ] = "",
    features: Annotated[str | None, _FEATURES] = None,
    store: Annotated[str, _STORE] = _DEFAULT.store,
    html: Annotated[
        Path | None, typer.Option(help="Write the report as a page.", show_default=False)
    ] = None,
    as_json: JSON = False,
) -> None:
    """Send distinct requests to a server, and show how fast and how well it answers.

    Status 1 means that requests failed, or could not be sent in time.
    """
    config = LoadConfig(
        target=target,
        rate=rate,
        seconds=seconds,
        connections=connections,
        streams=streams,
        deadline_ms=deadline_ms,
        poisson=poisson,
        models=tuple(names_of(models)),
    )
    cls = _class(store, features)
    report = run_load(config, read_rows(rows, cls, max_rows=_MAX_ROWS), method_path(cls))
    if html is not None:
        report.html(html)
    typer.echo(json.dumps(report.to_dict()) if as_json else report.text(), nl=as_json)
    if report.num_failed:
        raise typer.Exit(FAILED)


def _class(store: str, features: str | None) -> type[Features]:
    if features:
        return find_class(features)
    try:
        return Store(store).features()
    except NotFound as error:
        raise NotFound(f"{error} Or name the feature class: --features MODULE:CLASS.") from error
