"""Programs in processes of their own, without the second that the imports of each would take.

What a program does to modules, threads, the working directory or the environment ends with its
process, as it does when a shell starts it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

# The child leaves the function and goes on to the last line, so that it ends like any program.
_SERVER = """
{before}
import gc, json, os, sys

def next_program():
    while line := sys.stdin.readline():
        if (child := os.fork()) == 0:
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()

gc.freeze()  # else each child copies all objects to look for garbage among them
program = next_program()
os.chdir(program["folder"])
os.environ.clear()
os.environ.update(program["environment"])
for number, path in enumerate((os.devnull, program["stdout"], program["stderr"])):
    opened = os.open(path, os.O_RDWR)
    os.dup2(opened, number)
    os.close(opened)
exec(program["code"], {{"__name__": "__main__"}})
"""
# Libraries have made threads by then, which Python warns of and which take no part.
_QUIET = ("-W", "ignore:This process:DeprecationWarning")


class Forks:
    """A process that forks one child for each program.

    Args:
        before: What it runs first and once, such as imports.
    """

    def __init__(self, before: str) -> None:
        self._before = before
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, code: str, folder: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end; the timeout of the test holds for it.

        Args:
            code: In Python.
            folder: The working directory, which is not on `sys.path`.
            environment: Variables beside those of this process.

        Returns:
            The exit status, negative for a signal, and what was printed.
        """
        with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
            asked = {
                "code": code,
                "folder": str(folder),
                "environment": {**os.environ, **(environment or {})},
                "stdout": stdout.name,
                "stderr": stderr.name,
            }
            try:
                status = int(self._ask(json.dumps(asked)))
            except BaseException:
                self.close()  # its late answer is none to the next program
                raise
            texts = [Path(file.name).read_text(encoding="utf-8") for file in (stdout, stderr)]
        return subprocess.CompletedProcess(code, status, *texts)

    def _ask(self, line: str) -> str:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *_QUIET, "-c", _SERVER.format(before=self._before)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(line, file=self._process.stdin, flush=True)
        return self._process.stdout.readline()

    def close(self) -> None:
        """Ends the process, and the program that it may still run."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None
