"""Launchers for the tests of this room, and what tests may wait for instead of sleeping."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tadka.launch import guard
from tadka.launch.launcher import Exit, ProcessSpec
from tadka.launch.local import LocalLauncher, LocalProcess
from tadka.launch.memory import limit_parents, make_limit

DEADLINE_S = 20.0


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files that nobody else looks into."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def launcher(temporary: Path) -> Iterator[LocalLauncher]:
    with LocalLauncher(beat_s=0.02) as launcher:
        yield launcher


@pytest.fixture
def call(launcher: LocalLauncher) -> Callable[..., Exit]:
    """Runs a function in a process of its own to its end."""

    def call(entry: Callable[..., object], *args: Any, **settings: Any) -> Exit:
        spec = ProcessSpec(name="trial", entry=entry, args=args, **settings)
        return ended(launcher.start(spec))

    return call


@pytest.fixture
def control_groups() -> None:
    """For tests of limits by control group; skips where none can be made."""
    try:
        limit = next(
            make_limit(f"{guard.PREFIX}probe-{os.getpid()}", 1 << 26, parent.mechanism)
            for parent in limit_parents()
        )
    except Exception:  # noqa: BLE001  any reason is a reason to skip
        pytest.skip("no control group with a memory limit can be made here")
    limit.remove()


def ended(process: LocalProcess) -> Exit:
    result = process.wait(DEADLINE_S)
    assert result is not None, f"{process.name} still runs after {DEADLINE_S} s"
    return result


class Watched:
    """A process known by its id; the descriptor keeps the id from meaning another one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def has_ended(self, timeout_s: float = DEADLINE_S) -> bool:
        return guard.wait_readable([self._descriptor], timeout_s)

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def watch() -> Iterator[Callable[[int], Watched]]:
    watched = []

    def watch(pid: int) -> Watched:
        watched.append(Watched(pid))
        return watched[-1]

    yield watch
    for one in watched:
        one.close()


class Pipe:
    """A named pipe: children write lines, the test waits for them."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        # Writable, too, so that opening does not wait and no writer's end is the end.
        self._descriptor = os.open(path, os.O_RDWR)

    def read_line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            assert guard.wait_readable([self._descriptor], DEADLINE_S), "nobody wrote a line"
            line += os.read(self._descriptor, 1)
        return line.decode().rstrip("\n")

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.close()


def run_script(path: Path, *args: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(path), *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
    )
