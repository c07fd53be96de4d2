"""Warnings on a command line: one line each."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


@contextmanager
def short_warnings() -> Iterator[None]:
    """Warnings as one line, without the line of source that they come from."""
    before = warnings.showwarning

    def show(message: Warning | str, *_: Any) -> None:
        typer.echo(f"tadka: {' '.join(str(message).split())}", err=True)

    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = before
