"""What commands print: one JSON value, or rows and tables for people."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def echo_json(value: Any) -> None:
    """One JSON value on standard output; numbers that JSON does not have become null.

    Args:
        value: Plain.
    """
    typer.echo(json.dumps(_finite(value), default=str))


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Names with what is said of them.

    Args:
        rows: Pairs.
    """
    table = Table.grid(padding=(0, 2))
    for name, told in rows:
        table.add_row(Text(name), Text(told))
    console().print(table)


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Rows below their titles.

    Args:
        titles: Of the columns.
        rows: Cells.
        right: Titles of columns of numbers.
    """
    table = Table(box=None, pad_edge=False)
    for title in titles:
        is_number = title.strip() in map(str.strip, right)
        table.add_column(title, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as Text: a value such as "[b]" is no markup
    console().print(table)


def shown(value: Any) -> str:
    """A value for people: a text as it is, others as JSON.

    Args:
        value: Plain; None is nothing.
    """
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def console(file_width: int = 120) -> Console:
    """The terminal.

    Args:
        file_width: Letters of a line where standard output is a file, which has no width.
    """
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=file_width)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
