"""Options that several commands share."""

from enum import StrEnum
from typing import Annotated

import typer


class ProgressMode(StrEnum):
    """How a run shows that it moves."""

    AUTO = "auto"
    JSON = "json"
    NONE = "none"


PROGRESS = Annotated[
    ProgressMode,
    typer.Option(help="On standard error: bars on a terminal, JSON lines, or nothing."),
]
JSON = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON value, nothing else.")
]


def names_of(text: str) -> list[str]:
    """Names that stand with commas in one option, without spaces around them.

    Args:
        text: Of the option; empty names are left out.
    """
    return [name for name in map(str.strip, text.split(",")) if name]
