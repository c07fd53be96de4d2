"""`tadka features`: look at a feature class, prove it on data, write its `.proto`."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tadka.cli.option import JSON, PROGRESS, ProgressMode
from tadka.cli.output import console
from tadka.core.error import ConfigError, DataError, NotFound
from tadka.core.extra import require
from tadka.core.progress import Progress, ProgressRow
from tadka.features.check import Check, texts_of
from tadka.features.locate import find_class
from tadka.features.proto import read, refuse_renumbering, updated, write
from tadka.storage.format import read_piece, scan
from tadka.storage.publish import publish_file
from tadka.storage.uri import expand

if TYPE_CHECKING:
    import pyarrow as pa

FAILED = 1
_STEP_ROWS = 2_000
"""Rows that are checked between two redraws of the progress."""

app = typer.Typer(
    name="features",
    help="Look at a feature class, prove it on data, write its .proto file.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_CLASS = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:CLASS",
        help="The feature class; MODULE may be dotted, or the path of a .py file.",
        show_default=False,
    ),
]


@app.command(
    "check",
    epilog="""\b
    Examples:
      tadka features check rows:Impression --data rows.parquet
      tadka features check rows.py:Impression --data 'day=*/part-*.parquet' --rows 0 --json""",
)
def check(
    name: _CLASS,
    *,
    data: Annotated[
        list[str],
        typer.Option(help="A table, pattern or folder; may be given again.", show_default=False),
    ],
    rows: Annotated[int, typer.Option(help="Rows to check, from the first on; 0: all.", min=0)] = (
        100_000
    ),
    as_json: JSON = False,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Show how each feature is computed, and prove on data that all ways give the same bits.

    Rows go through columns and messages, compiled and as plain Python. Status 1 means that they
    differ, or that a row cannot be encoded; the row is named.
    """
    require("pyarrow", extra="arrow")
    cls = find_class(name)
    found = Check(cls)
    columns = [field.name for field in found.definition.fields]
    with Progress(progress.value) as shown:
        for table, total in _tables(data, columns, rows):
            for at in range(0, table.num_rows, _STEP_ROWS):
                found.add(table.slice(at, _STEP_ROWS))
                shown.show({"check": ProgressRow(done=found.num_rows, total=total)})
    if not found.num_rows:
        raise DataError(f"The data {', '.join(data)} have no rows; a check needs at least one.")
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
    else:
        _print(found, console())
    if found.difference is not None:
        raise typer.Exit(FAILED)


@app.command(
    "proto",
    epilog="""\b
    Examples:
      tadka features proto rows:Impression
      tadka features proto rows.py:Impression --out impression.proto
      tadka features proto rows:Impression --update""",
)
def proto(
    name: _CLASS,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Write this file instead of standard output.", show_default=False),
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Write the class's own file: new fields get new numbers."),
    ] = False,
) -> None:
    """Print or write the .proto file, from which clients in any language make messages.

    A class that is declared with proto="FILE" keeps the numbers of its fields in that file.
    """
    cls = find_class(name)
    if not update:
        text = cls.proto()
        if out is None:
            typer.echo(text, nl=False)
            return
        if out.exists():
            file = repr(str(out))
            old = read(_text_of(out), cls.__name__, file)
            refuse_renumbering(read(text, cls.__name__, "the class"), old, file)
        _write(out, text)
        typer.echo(f"wrote    {out}")
        return
    if out is not None:
        raise ConfigError(
            "--out and --update were both given; --update writes the class's own file."
        )
    declaration = cls._declaration
    path = declaration.proto
    if path is None:
        raise ConfigError(
            f"The class {cls.__name__!r} has no file to update. Declare it as class "
            f'{cls.__name__}(Features, proto="{cls.__name__.lower()}.proto"), or use --out.'
        )
    file = repr(str(path))
    history = read(_text_of(path), cls.__name__, file) if path.exists() else None
    message = updated(cls.__name__, declaration.fields, history, file)
    for field in message.fields:
        before = {f.name: f.number for f in history.fields} if history else {}
        if field.name not in before:
            typer.echo(f"new      {field.name} = {field.number}")
    for field in history.fields if history else ():
        if field.name in message.reserved_names:
            typer.echo(f"removed  {field.name} = {field.number}, reserved from now on")
    _write(path, write(message))
    typer.echo(f"wrote    {path}")


@app.command(
    "vocabulary",
    epilog="""\b
    Examples:
      tadka features vocabulary rows:Impression site --data rows.parquet --out sites.txt
      tadka features vocabulary rows:Impression hour --data a.csv --out hours.txt --min-count 5""",
)
def vocabulary(
    name: _CLASS,
    feature: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A field or property of str, int or bool.", show_default=False
        ),
    ],
    *,
    data: Annotated[
        list[str],
        typer.Option(help="A table, pattern or folder; may be given again.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The file: a word a line.", show_default=False)],
    min_count: Annotated[
        int, typer.Option(help="Leave out words that come less often.", min=1)
    ] = 1,
    progress: PROGRESS = ProgressMode.AUTO,
) -> None:
    """Write the words of a field or property for Vocabulary(file=...), frequent ones first."""
    require("pyarrow", extra="arrow")
    cls = find_class(name)
    counts: Counter[str] = Counter()
    done = 0
    members = {field.name for field in cls._declaration.fields}
    columns = [feature] if feature in members else sorted(members)
    with Progress(progress.value) as shown:
        for table, total in _tables(data, columns, 0):
            counts.update(texts_of(cls, feature, table, done))
            done += table.num_rows
            shown.show({"vocabulary": ProgressRow(done=done, total=total)})
    words = [(word, count) for word, count in counts.items() if count >= min_count]
    kept = [(word, count) for word, count in words if "\n" not in word and "\r" not in word]
    if not kept:
        raise DataError(
            f"{feature!r} has no word that comes at least {min_count} times in {done:,} rows."
        )
    kept.sort(key=lambda pair: (-pair[1], pair[0]))
    _write(out, "".join(f"{word}\n" for word, _ in kept))
    left = len(counts) - len(kept)
    typer.echo(f"{len(kept):,} words of {done:,} rows in {out}; {left:,} left out")


def _tables(
    data: list[str], columns: list[str], limit: int
) -> Iterator[tuple["pa.Table", int | None]]:
    """Pieces of the data, and how many rows there will be; at most `limit` rows unless it is 0."""
    scans = [scan(uri, None) for uri in expand(data)]
    totals = [found.num_rows for found in scans]
    total = None if None in totals else sum(n for n in totals if n is not None)
    if limit:
        total = limit if total is None else min(limit, total)
    done = 0
    for found in scans:
        # columns that are missing are left for the class to name, with those of a similar name
        if set(columns) <= set(found.schema.names):
            found = scan(found.uri, columns)
        for index in range(len(found.piece_rows)):
            table = read_piece(found, index)
            if limit:
                table = table.slice(0, limit - done)
            yield table, total
            done += table.num_rows
            if limit and done >= limit:
                return


def _print(found: Check, console: Console) -> None:
    result = found.to_dict()
    console.print(
        f"[bold]{result['class']}[/bold], version {result['version']}, "
        f"definition {result['hash'][:12]}\n"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("feature", "kind", "encoding", "runs", "missing", "distinct", "collisions"):
        is_number = heading in ("missing", "distinct", "collisions")
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for e, row in zip(found.explanations, result["features"], strict=True):
        share = row["missing"] / row["values"] if row["values"] else 0.0
        shown = row["collisions"]
        table.add_row(
            Text(e.name),
            row["kind"],
            Text(_short(row["encoding"])),
            Text(str(e)),
            f"{share:.1%}",
            f"{row['distinct']:,}",
            "" if shown is None else f"{shown:,}",
        )
    console.print(table)
    examples = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("feature", "examples: value -> slot (number)"):
        examples.add_column(heading, overflow="fold")
    for row in result["features"]:
        texts = [_example(e["value"], e["slot"], e["x"]) for e in row["examples"]]
        examples.add_row(Text(row["name"]), Text(", ".join(texts)))
    console.print()
    console.print(examples)
    ways = (
        "columns and messages, compiled and Python"
        if found.is_native
        else (
            "columns and messages, Python only: the compiled engine is not there or is switched off"
        )
    )
    verdict = f"{found.num_rows:,} rows: the same bits by {ways}."
    console.print("\n" + (found.difference or verdict), markup=False, soft_wrap=True)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _example(value: str | None, slot: int, x: float) -> str:
    if value is None:
        return f"missing -> {slot}"
    shown = value if len(value) <= 24 else f"{value[:21]}..."
    return f"{shown!r} -> {slot}" + ("" if x == 1.0 else f" ({x:.6g})")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"File {str(path)!r} does not exist.") from error
    except (OSError, UnicodeError) as error:
        raise DataError(f"File {str(path)!r} cannot be read: {error}.") from error


def _write(path: Path, text: str) -> None:
    with publish_file(path) as file:
        file.write(text.encode())
