import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tadka.launch import guard
from tests.unit.launch.conftest import Watched

WAITS = "import sys; print('up', flush=True); sys.stdin.read()"


def start(mark: str, code: str = WAITS) -> "subprocess.Popen[str]":
    """A process in a session of its own, after its first line."""
    popen = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        env={guard.MARK: mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert popen.stdout is not None
    assert "up\n" == popen.stdout.readline()
    return popen


def test_a_lock_is_had_once_and_is_free_again_when_closed(tmp_path: Path) -> None:
    held = guard.lock(tmp_path)

    assert held is not None
    assert guard.lock(tmp_path) is None
    os.close(held)
    again = guard.lock(tmp_path)
    assert again is not None
    os.close(again)


def test_marked_processes_are_ended_and_no_others() -> None:
    ours, others = start("/a/1"), start("/a/12")
    try:
        guard.end_marked("/a/1\0")

        assert -9 == ours.wait(10)
        assert others.poll() is None
        guard.end_marked("/a/")
        assert -9 == others.wait(10)
    finally:
        for popen in (ours, others):
            popen.kill()
            popen.communicate()


def test_who_takes_off_the_mark_is_found_by_the_session() -> None:
    code = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-I', '-S', '-c', {WAITS!r}], env={{}},"
        " process_group=0)\n"
        "sys.stdin.read()\n"
    )
    popen = start("/b/1", code)  # the line is its child's
    try:
        guard.end_marked("/nobody", session=popen.pid)

        assert -9 == popen.wait(10)
    finally:
        popen.kill()
        rest, _ = popen.communicate()
    assert not rest  # the pipe has no writer: the child is gone, too


def test_what_is_started_while_we_look_is_ended() -> None:
    code = (
        "import os, signal\n"
        "print('up', flush=True)\n"
        "for _ in range(200):\n"
        "    if not os.fork():\n"
        "        signal.pause()\n"
        "signal.pause()\n"
    )
    popen = start("/c/1", code)

    guard.end_marked("/c/1\0")

    assert -9 == popen.wait(10)
    rest, _ = popen.communicate(timeout=10)  # ends when no fork holds the pipe
    assert not rest


def test_a_directory_is_cleared_with_its_shared_memory(
    tmp_path: Path, watch: Callable[[int], Watched]
) -> None:
    directory = tmp_path / f"{guard.PREFIX}test-{os.getpid()}"
    shared = guard.SHARED_MEMORY / directory.name / "000001"
    for made in (directory, shared):
        made.mkdir(parents=True)
    (shared / "segment").write_bytes(b"abc")
    popen = start(f"{directory}/000001")

    guard.clear(directory, [tmp_path / "no-groups"])

    assert -9 == popen.wait(10)
    popen.communicate()
    assert not directory.exists()
    assert not shared.parent.exists()


def test_the_guard_waits_for_the_end_of_its_standard_input(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    popen = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(directory), str(os.getpid())],
        stdin=subprocess.PIPE,
    )
    assert popen.poll() is None
    assert directory.exists()

    popen.communicate(timeout=10)

    assert 0 == popen.returncode
    assert not directory.exists()


def test_the_guard_of_a_parent_that_is_gone_does_not_wait(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    popen = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(directory), "1"],
        stdin=subprocess.PIPE,
    )

    assert 0 == popen.wait(10)
    popen.communicate()
    assert not directory.exists()
