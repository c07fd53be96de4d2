"""What git says of a folder."""

import os
import subprocess
from pathlib import Path

_TIMEOUT_S = 10.0


def ask_git(folder: Path, *arguments: str) -> str | None:
    """What `git ARGUMENTS` prints in a folder.

    Args:
        folder: Where it is asked.
        arguments: Command and options.

    Returns:
        The text without spaces around it; None without git, outside of a repository, or where it
        takes longer than ten seconds.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # it may not write, not even its index
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
