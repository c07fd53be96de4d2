"""The command `tadka` as a shell starts it, without the second that its imports take."""

import atexit
import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from tadka.cli.app import app
from tests.forks import Forks

TADKA = Path(sys.executable).with_name("tadka")

_COMMANDS = Forks(
    """
import contextlib, io
# else imported when asked for
from tadka.cli import completion, dataset, demo, features, main, model, new, score, serve, task
from tadka.cli.app import app
with contextlib.redirect_stdout(io.StringIO()):
    app(["--version"], standalone_mode=False)  # the first use of the command imports more
"""
)
atexit.register(_COMMANDS.close)


def run_command(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `tadka WORDS` in a folder to its end; the timeout of the test holds for it.

    Args:
        folder: The working directory.
        words: What follows `tadka`.
        environment: Variables beside those of this process.

    Returns:
        The exit status, negative for a signal, and what was printed.
    """
    code = f"""
import sys
from tadka.cli import main
sys.argv = {[str(TADKA), *words]!r}
sys.path.insert(0, {str(TADKA.parent)!r})
sys.exit(main())
"""
    return _COMMANDS.run(code, folder, environment)


def run_here(
    folder: Path, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same in this process: for commands whose libraries take seconds to import.

    Args:
        folder: The working directory.
        words: What follows `tadka`.
        environment: Variables beside those of this process.

    Returns:
        The exit status, and what was printed.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        mock.patch.dict(os.environ, environment or {}),
    ):
        status = app(list(words), standalone_mode=False)
    return subprocess.CompletedProcess(words, status or 0, stdout.getvalue(), stderr.getvalue())
