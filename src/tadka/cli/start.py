"""Where `tadka` starts: a shell that completes a word is answered before anything is loaded."""

import sys
from pathlib import Path
from typing import Any

from tadka.cli.complete import Described, Known, candidates
from tadka.core.extra import require


def main() -> None:
    """Runs the command line with the arguments of this process, and exits with its status."""
    words = sys.argv[1:]
    if len(words) == 4 and words[0] == "completion" and words[2] == "--line":
        tell(words[3])
        return
    require("tadka.cli.app").main()


def tell(line: str) -> None:
    """Prints what may follow a line, one word a line, each with what is said of it behind a tab.

    Args:
        line: As typed up to the cursor.
    """
    for value, told in candidates(Known(_describe), line, Path.cwd()):
        sys.stdout.write(f"{value}\t{' '.join(told.split())}\n")


def _describe(name: str) -> Described | None:
    found: Any = require("tadka.cli.completion").describe(name)
    return None if found is None else dict(found)
