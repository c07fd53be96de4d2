"""`tadka task`, of what is stored: list, look at, load and remove results and runs."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tadka.cli.option import JSON
from tadka.cli.parameter import find_tasks
from tadka.core.error import ConfigError, DataError
from tadka.task.gokart.workspace import from_gokart
from tadka.task.history.clean import gc as gc_of
from tadka.task.history.diff import diff as diff_of
from tadka.task.history.results import Row, find, load, ls
from tadka.task.history.runs import LAST
from tadka.task.history.runs import run as run_of
from tadka.task.history.runs import runs as runs_of
from tadka.task.look.table import Table, aligned
from tadka.task.look.word import size
from tadka.task.plan import opened
from tadka.task.settings import load_settings, use
from tadka.task.store.row import Entry, Output
from tadka.task.store.store import Store

_LONGEST_VALUE = 20_000

app = typer.Typer(rich_markup_mode=None)

WORKSPACE = Annotated[
    str | None,
    typer.Option(
        help="Folder or URI of results; that of the settings, else TADKA_WORKSPACE, else "
        "'workspace'.",
        show_default=False,
    ),
]
SETTINGS = Annotated[
    Path | None,
    typer.Option(
        help="A TOML or YAML file; what TADKA_SETTINGS names, else tadka.toml or tadka.yaml.",
        show_default=False,
    ),
]
_NAME = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Beginning of a key or id, Features#1a2b3c, a class for its newest result, or the "
        "path of a file in the workspace.",
        show_default=False,
    ),
]


_RUN = Annotated[
    str, typer.Argument(metavar="RUN", help="The beginning of its id; or last, last~1 before it.")
]

runs_app = typer.Typer(
    name="runs", help="List, show and compare builds.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(runs_app)


@app.command(
    "ls",
    epilog="""\b
    Examples:
      tadka task ls
      tadka task ls Features --since 7d --where window=7 --where clicks.day=2026-01-31 --json""",
)
def list_results(
    task: Annotated[
        str | None,
        typer.Argument(metavar="CLASS", help="Only of this class.", show_default=False),
    ] = None,
    *,
    since: Annotated[
        str | None,
        typer.Option(help="Made at or after: 2026-01-31, or an age: 7d.", show_default=False),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE",
            help="Only of this value of a field, as JSON or else as text. May stand several times.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Most results, the newest first.", min=1)] = 20,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """List stored results, the newest first."""
    use_settings(settings)
    rows = ls(task, workspace=workspace, since=since, where=_wanted(where), limit=limit)
    _print_table(rows, as_json=as_json)


@app.command(
    "get",
    epilog="""\b
    Examples:
      tadka task get Report
      tadka task get 1a2b3c4d --out report.txt""",
)
def get_result(
    name: _NAME,
    *,
    output: Annotated[
        str | None, typer.Option(help="Which of several outputs.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Copy the output to this path.", show_default=False)
    ] = None,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Show what is known of a stored result, and copy its bytes."""
    use_settings(settings)
    with opened(workspace) as store:
        entry = find(name, store)
        if out is not None:
            _copy(_output(entry, output), out, store)
        if as_json:
            typer.echo(json.dumps(entry.to_json(), default=dict))
            return
        _print_entry(entry, store)
    if out is not None:
        typer.echo(f"wrote    {out}")


@app.command(
    "load",
    epilog="""\b
    Examples:
      tadka task load Report
      tadka task load Line --json""",
)
def load_result(
    name: _NAME,
    *,
    output: Annotated[
        str | None, typer.Option(help="Which of several outputs.", show_default=False)
    ] = None,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Print the value of a stored result; a pickle is loaded, which can run code."""
    use_settings(settings)
    value = load(name, output=output, workspace=workspace)
    if as_json:
        try:
            typer.echo(json.dumps(value))
        except (TypeError, ValueError):
            raise ConfigError(
                f"The result of {name!r} is a {type(value).__name__}, which is no JSON. Copy its "
                f"bytes: tadka task get {name} --out FILE."
            ) from None
        return
    text = value if isinstance(value, str) else str(value)
    if len(text) > _LONGEST_VALUE:
        text = f"{text[:_LONGEST_VALUE]}\n... {len(text) - _LONGEST_VALUE:,} more characters"
    typer.echo(text, nl=not text.endswith("\n"))


@runs_app.command(
    "list",
    epilog="""\b
    Examples:
      tadka task runs list
      tadka task runs list --limit 100 --json""",
)
def list_runs(
    *,
    limit: Annotated[int, typer.Option(help="Most runs, the newest first.", min=1)] = 20,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """List builds, the newest first."""
    use_settings(settings)
    _print_table(runs_of(workspace=workspace, limit=limit), as_json=as_json)


@runs_app.command(
    "show",
    epilog="""\b
    Examples:
      tadka task runs show
      tadka task runs show 20260131 --json""",
)
def show_run(
    run: _RUN = LAST,
    *,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Show a build: what ran, how long, what failed, and where."""
    use_settings(settings)
    found = run_of(run, workspace=workspace)
    typer.echo(json.dumps(found.to_json()) if as_json else str(found))


@runs_app.command(
    "diff",
    epilog="""\b
    Examples:
      tadka task runs diff
      tadka task runs diff 20260131-1200 last --json""",
)
def diff_runs(
    before: _RUN = f"{LAST}~1",
    after: _RUN = LAST,
    *,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Show how two builds differ: parameters, code, metrics, columns, seconds."""
    use_settings(settings)
    found = diff_of(before, after, workspace=workspace)
    typer.echo(json.dumps(found.to_json()) if as_json else str(found))


@app.command(
    "gc",
    epilog="""\b
    Examples:
      tadka task gc --older-than 30d
      tadka task gc --keep-runs 10 --keep shop.tasks:Report --yes""",
)
def gc(
    *,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Keep what was made or used since: an age as 30d, or a day.", show_default=False
        ),
    ] = None,
    keep_runs: Annotated[
        int | None,
        typer.Option(
            help="Keep what the newest so many runs made or used.", min=0, show_default=False
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:TASK",
            help="Keep what a build of this task would find now. May stand several times.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it; else it is only told what would be removed.")
    ] = False,
    workspace: WORKSPACE = None,
    settings: SETTINGS = None,
    as_json: JSON = False,
) -> None:
    """Remove results that none of the options keeps; without any, only files of no result."""
    use_settings(settings)
    tasks = [task for name in keep or () for task in find_tasks(name, ())]
    removed = gc_of(
        workspace=workspace,
        older_than=older_than,
        keep_runs=keep_runs,
        keep=tasks or None,
        dry=not yes,
    )
    if as_json:
        typer.echo(json.dumps(removed.to_json()))
        return
    typer.echo(str(removed))
    if not yes and (removed.entries or removed.num_objects):
        typer.echo("Nothing was removed yet: say --yes.")


@app.command(
    "gokart",
    epilog="""\b
    Examples:
      tadka task gokart resources
      tadka task gokart s3://team/gokart --json""",
)
def gokart(
    folder: Annotated[
        str, typer.Argument(metavar="WORKSPACE", help="That of gokart.", show_default=False)
    ],
    *,
    as_json: JSON = False,
) -> None:
    """List the results in a workspace of gokart: class, id, parameters, file."""
    found = from_gokart(folder)
    typer.echo(json.dumps(found.to_json()) if as_json else str(found))


# ---------------------------------------------------------------- what several commands do


def use_settings(path: Path | None) -> None:
    """Settings of a file that was named, in the place of those of the folder.

    Args:
        path: None for those of the folder.
    """
    if path is not None:
        use(load_settings(path))


def _print_table(rows: Table[Any], *, as_json: bool) -> None:
    """All rows: whoever asks for so many wants them."""
    if as_json:
        typer.echo(json.dumps(rows.to_json()))
    else:
        typer.echo("\n".join(aligned([row.cells() for row in rows])) if rows else str(rows))


def _wanted(where: Sequence[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in where or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--where {text!r} is not understood; write it as FIELD=VALUE.")
        if name in found:
            raise ConfigError(f"--where has {name!r} twice.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _output(entry: Entry, name: str | None) -> Output:
    named = {one.name: one for one in entry.outputs}
    if name is None and len(named) == 1:
        return entry.outputs[0]
    if name not in named:
        wanted = f"no output {name!r}" if name is not None else "several outputs"
        raise ConfigError(
            f"The result {entry.key[:12]} has {wanted}; say --output with one of "
            f"{', '.join(map(repr, named))}."
        )
    return named[name]


def _copy(output: Output, out: Path, store: Store) -> None:
    if out.exists():
        raise ConfigError(f"{str(out)!r} exists; choose another path, or remove it.")
    path = store.path(output)
    try:
        if output.is_folder:
            shutil.copytree(path, out)
        else:
            shutil.copyfile(path, out)
    except OSError as error:
        raise DataError(f"{str(out)!r} cannot be written: {error.strerror}.") from error


def _print_entry(entry: Entry, store: Store) -> None:
    found = Row(entry)
    cells = found.cells()
    typer.echo(f"task     {entry.task}  #{entry.task_id[:8]}")
    typer.echo(f"fields   {cells['fields'] or 'none'}")
    typer.echo(f"key      {entry.key}")
    typer.echo(f"made     {cells['created']}, {cells['seconds']}, run {entry.run}")
    if entry.seed is not None:
        typer.echo(f"seed     {entry.seed}")
    if entry.approved_from is not None:
        typer.echo(f"approved from {entry.approved_from[:12]}")
    for output in entry.outputs:
        rows = output.description.get("num_rows")
        told = size(output.num_bytes) + (f", {rows:,} rows" if rows else "")
        typer.echo(f"output   {output.name or output.suffix.lstrip('.')}: {told}")
        typer.echo(f"         {store.path(output)}")
