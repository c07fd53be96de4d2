"""`tadka dataset`: check, plan and write training data by definition; look at what was written."""

import json
import re
import sys
from collections import Counter
from contextlib import AbstractContextManager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tadka.cli.option import JSON, PROGRESS, ProgressMode
from tadka.cli.output import console
from tadka.core.error import ConfigError
from tadka.core.locate import locate
from tadka.core.resource import format_bytes
from tadka.dataset.check.check import CheckResult
from tadka.dataset.define.definition import Dataset
from tadka.dataset.document import from_yaml, merge, to_yaml
from tadka.dataset.plan import plan as plan_of
from tadka.dataset.script import to_python
from tadka.dataset.session import Session, session
from tadka.dataset.version.diff import diff as difference_of
from tadka.dataset.version.store import Store
from tadka.dataset.version.version import Version
from tadka.storage.publish import publish_file

FAILED = 1

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_OLDEST_S = 100 * 366 * 86_400
_NUMBERS = frozenset({"rows", "bytes", "files"})

app = typer.Typer(
    name="dataset",
    help="Write training data by definition, and look at what was written.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_PARAMETERS = {"allow_extra_args": True, "ignore_unknown_options": True}
"""A definition has options of its own: --start 2026-01-01."""


class EngineName(StrEnum):
    """What runs the SQL."""

    DUCKDB = "duckdb"
    SPARK = "spark"


class Level(StrEnum):
    """How closely inputs are looked at."""

    LISTING = "listing"
    FOOTER = "footer"
    CONTENT = "content"


_DEFINITION = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:CLASS",
        help="The definition; MODULE may be dotted, or the path of a .py file; or a YAML file.",
        show_default=False,
    ),
]
_ENGINE = typer.Option(help="What runs the SQL.")
_MERGE = typer.Option(
    "--with", help="A YAML file of paths and parameters, merged over it.", show_default=False
)
_OUT = Annotated[
    str, typer.Argument(help="The folder that versions were written to.", show_default=False)
]
_VERSION = typer.Option(
    help="Its id, the beginning of the id, a tag, or 'latest'.", show_default=True
)


def find_definition(name: str, merged: Path | None = None) -> type[Dataset]:
    """The definition that a command was given.

    Args:
        name: `MODULE:CLASS`, or the path of a YAML file.
        merged: YAML of paths and parameters to put over it.
    """
    if name.endswith((".yaml", ".yml")):
        found = from_yaml(Path(name))
    else:
        found = locate(name, Dataset, "definition", "train:CtrTrain")
    return found if merged is None else merge(found, merged)


def parameters_of(words: list[str]) -> dict[str, str]:
    """The values of a definition's own options.

    Args:
        words: What the command line has besides: `--start 2026-01-01 --end=2026-02-01`.

    Raises:
        ConfigError: A word is no option, or an option has no value or two.
    """
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name:
            raise ConfigError(
                f"{word!r} is not understood; parameters are written --start 2026-01-01."
            )
        if not equals:
            value = next(rest, "")
            if not value or value.startswith("--"):
                raise ConfigError(f"Parameter --{name} has no value.")
        name = name.replace("-", "_")
        if name in found:
            raise ConfigError(f"Parameter --{name} was given twice.")
        found[name] = value
    return found


def age_of(text: str) -> timedelta:
    """A span of time such as `12h`.

    Args:
        text: A whole number and s, m, h or d.

    Raises:
        ConfigError: It is something else.
    """
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found is not None else None
    if seconds is None or seconds > _OLDEST_S:
        raise ConfigError(
            f"--older-than is {text!r}; it must be a whole number with s, m, h or d, such as 12h, "
            "of a hundred years at most."
        )
    return timedelta(seconds=seconds)


@app.command(
    "check",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka dataset check train:CtrTrain --start 2026-01-01 --end 2026-02-01
      tadka dataset check train.py:CtrTrain --start 2026-01-01 --end 2026-02-01 --json""",
)
def check(
    context: typer.Context,
    definition: _DEFINITION,
    *,
    engine: Annotated[EngineName, _ENGINE] = EngineName.DUCKDB,
    merged: Annotated[Path | None, _MERGE] = None,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Check a definition and its inputs: windows, partitions, columns, types, keys and times.

    Checks of the output run when a version is written. Status 1 means that one failed.
    """
    with _session(context, definition, merged, engine, progress, as_json=as_json) as opened:
        results = opened.check()
    if as_json:
        typer.echo(json.dumps({"checks": [result.to_dict() for result in results]}))


@app.command(
    "plan",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka dataset plan train:CtrTrain --start 2026-01-01 --end 2026-02-01
      tadka dataset plan train:CtrTrain --start 2026-01-01 --end 2026-02-01 --engine spark""",
)
def plan(
    context: typer.Context,
    definition: _DEFINITION,
    *,
    engine: Annotated[EngineName, _ENGINE] = EngineName.DUCKDB,
    merged: Annotated[Path | None, _MERGE] = None,
    as_json: JSON = False,
) -> None:
    """Show what would be read, and the SQL; runs nothing.

    Partitions, files, rows and bytes come from listings and footers.
    """
    found = plan_of(
        find_definition(definition, merged),
        engine=engine.value,
        **parameters_of(context.args),
    )
    typer.echo(json.dumps(found.to_dict()) if as_json else str(found))


@app.command(
    "write",
    context_settings=_PARAMETERS,
    epilog="""\b
    Examples:
      tadka dataset write train:CtrTrain out --start 2026-01-01 --end 2026-02-01 --tag 2026-01
      tadka dataset write ctr.yaml out --start 2026-01-01 --end 2026-02-01 --engine spark""",
)
def write(
    context: typer.Context,
    definition: _DEFINITION,
    out: _OUT,
    *,
    tag: Annotated[
        str | None, typer.Option(help="A name for the version.", show_default=False)
    ] = None,
    engine: Annotated[EngineName, _ENGINE] = EngineName.DUCKDB,
    merged: Annotated[Path | None, _MERGE] = None,
    accept_changed: Annotated[
        bool, typer.Option("--accept-changed", help="Write although inputs have changed since.")
    ] = False,
    fingerprint: Annotated[
        Level, typer.Option(help="How much of the inputs is read, to tell later if they changed.")
    ] = Level.CONTENT,
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Write a version: files of a chosen size, a manifest, fingerprints of all inputs.

    Where the same content was written before, that version is given. Status 1 means that a check
    failed, and nothing was written.
    """
    with _session(context, definition, merged, engine, progress, as_json=as_json) as opened:
        version = opened.write(
            out, tag=tag, accept_changed=accept_changed, fingerprint=fingerprint.value
        )
    if as_json:
        typer.echo(json.dumps(summary(version)))
    else:
        _print_version(version)


@app.command(
    "list",
    epilog="""\b
    Examples:
      tadka dataset list out/ctr
      tadka dataset list out/ctr --json""",
)
def list_versions(out: _OUT, *, as_json: JSON = False) -> None:
    """List the versions in a folder, the newest first."""
    versions = Store(out).versions()[::-1]
    if as_json:
        typer.echo(json.dumps([summary(version) for version in versions]))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("version", "tags", "created", "rows", "bytes", "files", "engine"):
        table.add_column(title, justify="right" if title in _NUMBERS else "left")
    for version in versions:
        found = summary(version)
        table.add_row(
            found["id"],
            ", ".join(found["tags"]),
            found["created_at"],
            f"{found['num_rows']:,}",
            format_bytes(found["num_bytes"]),
            f"{found['num_files']:,}",
            found["engine"],
        )
    console().print(table)


@app.command(
    "show",
    epilog="""\b
    Examples:
      tadka dataset show out/ctr
      tadka dataset show out/ctr --version 2026-01 --page ctr.html
      tadka dataset show out/ctr --version 3f9a --json""",
)
def show(
    out: _OUT,
    *,
    version: Annotated[str, _VERSION] = "latest",
    page: Annotated[
        Path | None,
        typer.Option(help="Write a report of the columns as one HTML file.", show_default=False),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Show a version: its definition, inputs, checks, columns and their statistics."""
    found = Store(out).version(version)
    if page is not None:
        found.save_page(page)
    if as_json:
        typer.echo(json.dumps(found.manifest.to_dict()))
        return
    _print_version(found)
    _print_record(found)
    if page is not None:
        typer.echo(f"wrote    {page}")


@app.command(
    "diff",
    epilog="""\b
    Examples:
      tadka dataset diff out/ctr 2026-01 2026-02
      tadka dataset diff out/ctr 3f9a latest --json""",
)
def diff(
    out: _OUT,
    old: Annotated[str, typer.Argument(help="A version.", show_default=False)],
    new: Annotated[str, typer.Argument(help="Another version.", show_default=False)],
    *,
    as_json: JSON = False,
) -> None:
    """Show how two versions differ: definition, parameters, inputs, counts, columns, statistics.

    Status 1 means that they do.
    """
    store = Store(out)
    found = difference_of(store.version(old), store.version(new))
    typer.echo(json.dumps(found.to_dict()) if as_json else str(found))
    if not found.is_same:
        raise typer.Exit(FAILED)


@app.command(
    "verify",
    epilog="""\b
    Examples:
      tadka dataset verify out/ctr
      tadka dataset verify out/ctr --version 2026-01 --level listing --json""",
)
def verify(
    out: _OUT,
    *,
    version: Annotated[str, _VERSION] = "latest",
    level: Annotated[
        Level, typer.Option(help="How closely; only content can prove that inputs are the same.")
    ] = Level.CONTENT,
    as_json: JSON = False,
) -> None:
    """Look whether a version's inputs and its own files are what they were.

    Status 1 means that something changed, or cannot be read; the partition is named.
    """
    found = Store(out).version(version).verify(level=level.value)
    typer.echo(json.dumps(found.to_dict()) if as_json else str(found))
    if not found.is_unchanged:
        raise typer.Exit(FAILED)


@app.command(
    "pin",
    epilog="""\b
    Examples:
      tadka dataset pin out/ctr --version 2026-01""",
)
def pin(out: _OUT, *, version: Annotated[str, _VERSION] = "latest") -> None:
    """Copy a version's inputs into its folder, so that they cannot get lost."""
    found = Store(out).version(version)
    found.pin()
    typer.echo(f"pinned   {found.path}")


@app.command(
    "clean",
    epilog="""\b
    Examples:
      tadka dataset clean out/ctr --dry-run
      tadka dataset clean out/ctr --older-than 12h --json""",
)
def clean(
    out: _OUT,
    *,
    older_than: Annotated[
        str, typer.Option(help="Only what nobody changed for so long, as 30m, 12h or 1d.")
    ] = "1d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")
    ] = False,
    as_json: JSON = False,
) -> None:
    """Remove what killed processes left in a folder of versions; versions and tags stay.

    What is young may belong to a process at work: say more than a write takes.
    """
    removed = Store(out).clean(older_than=age_of(older_than), is_dry=dry_run)
    if as_json:
        typer.echo(json.dumps({"removed": removed, "dry_run": dry_run}))
        return
    for path in removed:
        typer.echo(f"{'would remove' if dry_run else 'removed'}  {path}")
    if not removed:
        typer.echo("nothing to remove")


@app.command(
    "to-yaml",
    epilog="""\b
    Examples:
      tadka dataset to-yaml train:CtrTrain
      tadka dataset to-yaml train:CtrTrain --out ctr.yaml""",
)
def to_yaml_command(
    definition: _DEFINITION,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Write this file instead of standard output.", show_default=False),
    ] = None,
    merged: Annotated[Path | None, _MERGE] = None,
) -> None:
    """Print or write a definition as YAML, which every command takes in its place."""
    text = to_yaml(find_definition(definition, merged).definition)
    if out is None:
        typer.echo(text, nl=False)
        return
    with publish_file(out) as file:
        file.write(text.encode())
    typer.echo(f"wrote    {out}")


@app.command(
    "from-yaml",
    epilog="""\b
    Examples:
      tadka dataset from-yaml ctr.yaml
      tadka dataset from-yaml ctr.yaml --with paths.yaml > train.py""",
)
def from_yaml_command(
    file: Annotated[Path, typer.Argument(help="A definition as YAML.", show_default=False)],
    *,
    merged: Annotated[Path | None, _MERGE] = None,
) -> None:
    """Print the Python of a definition that is YAML."""
    found = from_yaml(file)
    found = found if merged is None else merge(found, merged)
    typer.echo(to_python(found.definition), nl=False)


# ---------------------------------------------------------------- what several commands do


def _session(
    context: typer.Context,
    definition: str,
    merged: Path | None,
    engine: EngineName,
    progress: ProgressMode,
    *,
    as_json: bool,
) -> AbstractContextManager[Session]:
    found = find_definition(definition, merged)
    # on a terminal the session prints the results, above its bars
    is_shown = progress is ProgressMode.AUTO and sys.stderr.isatty() and sys.stdout.isatty()

    def tell(result: CheckResult) -> None:
        if not as_json and not is_shown:
            typer.echo(f"{result.status:8} {result}")

    parameters: dict[str, Any] = dict(parameters_of(context.args))
    return session(
        found,
        engine=engine.value,
        progress=progress.value,
        on_result=tell,
        **parameters,
    )


def summary(version: Version) -> dict[str, Any]:
    """What a list says of a version."""
    manifest = version.manifest
    return {
        "id": version.id,
        "name": version.name,
        "path": str(version.path),
        "tags": list(version.tags),
        "created_at": f"{version.created_at:%Y-%m-%d %H:%M:%S}",
        "num_rows": manifest.num_rows,
        "num_bytes": manifest.num_bytes,
        "num_files": len(manifest.files),
        "output_hash": manifest.output_hash,
        "engine": f"{manifest.engine['name']} {manifest.engine['version']}",
        "checks": dict(Counter(result["status"] for result in manifest.checks)),
    }


def _print_version(version: Version) -> None:
    found = summary(version)
    tags = f"  ({', '.join(found['tags'])})" if found["tags"] else ""
    typer.echo(f"version  {found['id']}{tags}")
    typer.echo(f"path     {found['path']}")
    typer.echo(
        f"rows     {found['num_rows']:,} in {found['num_files']:,} files, "
        f"{format_bytes(found['num_bytes'])}"
    )
    typer.echo(f"hash     {found['output_hash']}")
    checks = ", ".join(f"{count} {status}" for status, count in found["checks"].items())
    typer.echo(f"checks   {checks or 'none'}")


def _print_record(version: Version) -> None:
    """Where a version comes from, and what its columns hold."""
    manifest = version.manifest
    given = ", ".join(f"{name}={value}" for name, value in manifest.parameters.items())
    typer.echo(f"from     {manifest.name}({given}) on {summary(version)['engine']}")
    for name, table in manifest.tables.items():
        rows = "?" if table.num_rows is None else f"{table.num_rows:,}"
        size = "?" if table.num_bytes is None else format_bytes(table.num_bytes)
        typer.echo(f"input    {name}: {rows} rows, {size}")
    for result in manifest.checks:
        if result["status"] != "passed":
            typer.echo(f"{result['status']:8} {result['name']}: {result['message']}")
    shown = Table(box=None, pad_edge=False)
    for title in ("column", "type", "nulls", "distinct", "least", "greatest", "mean"):
        shown.add_column(title, justify="left" if title in ("column", "type") else "right")
    for column in manifest.columns:
        found = manifest.statistics[column.name]
        values = (found.min, found.max, found.mean)
        shown.add_row(
            column.name,
            str(column.kind),
            f"{found.num_null:,}",
            "" if found.num_distinct is None else f"{found.num_distinct:,}",
            *("" if v is None else f"{v:,.6g}" if isinstance(v, float) else str(v) for v in values),
        )
    console().print(shown)
