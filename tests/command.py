"""The command `tadka`, each run in a process of its own, without the second that imports take.

A process that has imported the command and done nothing else forks one child for every run. What a
run does to modules, threads, the working directory or the environment ends with it, as it does
when a shell starts the command.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

TADKA = Path(sys.executable).with_name("tadka")

# The child leaves the function and runs on to the last line, so that it ends like any program.
_FORKING = f"""
import contextlib, gc, json, os, sys
from tadka.cli import main
from tadka.cli.app import app

with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
    app(["--version"], standalone_mode=False)  # the first use of the command imports more
gc.freeze()  # else every child copies all of it to look for garbage

def next_run():
    while line := sys.stdin.readline():
        if (child := os.fork()) == 0:
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()

run = next_run()
os.chdir(run["folder"])
os.environ.clear()
os.environ.update(run["environment"])
for number, path in enumerate((os.devnull, run["stdout"], run["stderr"])):
    opened = os.open(path, os.O_RDWR)
    os.dup2(opened, number)
    os.close(opened)
sys.argv = [{str(TADKA)!r}, *run["words"]]
sys.path[0] = {str(TADKA.parent)!r}
sys.exit(main())
"""


@functools.cache
def _forking() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning:__main__", "-c", _FORKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)  # it ends at the end of its input
    return process


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
    process = _forking()
    assert process.stdin is not None
    assert process.stdout is not None
    with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
        asked = {
            "folder": str(folder),
            "words": words,
            "environment": {**os.environ, **(environment or {})},
            "stdout": stdout.name,
            "stderr": stderr.name,
        }
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        texts = [Path(file.name).read_text(encoding="utf-8") for file in (stdout, stderr)]
    return subprocess.CompletedProcess([TADKA, *words], status, *texts)
