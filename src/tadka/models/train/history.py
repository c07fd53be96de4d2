"""RUN/history.jsonl: numbers of every epoch, in lines of JSON that are added as they come."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tadka.storage.publish import publish_file

_FILE = "history.jsonl"


def add_numbers(folder: Path, epoch: int, numbers: Mapping[str, float]) -> None:
    """Adds numbers of an epoch.

    Args:
        folder: Of the run.
        epoch: That they belong to.
        numbers: By name; those that are not finite become null.
    """
    with (folder / _FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"epoch": epoch, **plain(numbers)}) + "\n")


def rewrite_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Begins the file anew: a run that goes on repeats what came after its last checkpoint.

    Args:
        folder: Of the run.
        history: One entry an epoch, as `read_history` gives them.
    """
    with publish_file(str(folder / _FILE)) as file:
        for numbers in history:
            file.write((json.dumps(plain(numbers)) + "\n").encode())


def read_history(folder: Path) -> list[dict[str, float]]:
    """Every epoch's numbers, NaN where they were not finite.

    Args:
        folder: Of the run.

    Returns:
        One entry an epoch, whose number is at `epoch`.
    """
    path = folder / _FILE
    epochs: dict[int, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            numbers = json.loads(line)
        except ValueError:  # broken off: the machine went down, or its disk was full
            continue
        known = {name: math.nan if value is None else value for name, value in numbers.items()}
        epochs.setdefault(numbers["epoch"], {}).update(known)
    return list(epochs.values())


def plain(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers as JSON has them.

    Args:
        numbers: By name; those that are not finite become None.
    """
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
