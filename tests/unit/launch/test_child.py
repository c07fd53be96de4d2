"""What the function sees, and how the child tells its end."""

import atexit
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tadka.core.resource import Resources
from tadka.launch.launcher import Exit
from tests.unit.launch.conftest import run_script


@pytest.fixture
def look(call: Callable[..., Exit], tmp_path: Path) -> Callable[..., object]:
    """The value of a function, called in a child."""

    def look(function: Callable[[], object], **settings: object) -> object:
        path = str(tmp_path / "seen.json")

        def write() -> None:
            with open(path, "w") as file:  # noqa: PTH123
                json.dump(function(), file)

        result = call(write, **settings)
        assert "finished" == result.reason, result.detail
        return json.loads(Path(path).read_text())

    return look


def test_a_function_that_returns_has_finished(call: Callable[..., Exit]) -> None:
    assert Exit(reason="finished", code=0) == call(max, 1, 2)


def test_a_function_that_raises_leaves_its_traceback(call: Callable[..., Exit]) -> None:
    def divide() -> float:
        return 1 / 0

    result = call(divide)

    assert "error" == result.reason
    assert 1 == result.code
    assert "in divide" in result.detail
    assert "ZeroDivisionError: division by zero" == str(result)


@pytest.mark.parametrize(
    ("value", "reason", "code", "text"),
    [
        (None, "finished", 0, "finished"),
        (0, "finished", 0, "finished"),
        (7, "error", 7, "exit status 7"),
        ("no rows", "error", 1, "exit status 1: no rows"),
    ],
)
def test_sys_exit_is_taken_at_its_word(
    call: Callable[..., Exit], value: object, reason: str, code: int, text: str
) -> None:
    result = call(sys.exit, value)

    assert (reason, code, text) == (result.reason, result.code, str(result))


def test_os_exit_is_told_by_its_status(call: Callable[..., Exit]) -> None:
    result = call(os._exit, 3)

    assert ("error", 3, "exit status 3") == (result.reason, result.code, str(result))


def test_a_crash_is_told_by_the_signal_and_the_stack(call: Callable[..., Exit]) -> None:
    def crash() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    result = call(crash)

    assert ("signal", -signal.SIGSEGV, "killed by SIGSEGV") == (
        result.reason,
        result.code,
        str(result),
    )
    assert "in crash" in result.detail


def test_sigkill_is_told_by_its_name(call: Callable[..., Exit]) -> None:
    result = call(os.kill, 0, signal.SIGKILL)  # its whole process group

    assert ("signal", -signal.SIGKILL, "killed by SIGKILL") == (
        result.reason,
        result.code,
        str(result),
    )


def test_exit_handlers_run_and_threads_do_not_hold_the_process(
    call: Callable[..., Exit], tmp_path: Path
) -> None:
    path = tmp_path / "handled"

    def work() -> None:
        atexit.register(path.touch)
        threading.Thread(target=threading.Event().wait).start()

    assert "finished" == call(work).reason
    assert path.exists()


def test_output_goes_where_the_parents_goes_line_by_line(
    call: Callable[..., Exit], capfd: pytest.CaptureFixture[str]
) -> None:
    def speak() -> None:
        print("out")
        print("err", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)  # nothing is flushed after this

    call(speak)

    assert ("out\n", "err\n") == capfd.readouterr()


def test_there_is_nothing_to_read(look: Callable[..., object]) -> None:
    assert [] == look(lambda: list(sys.stdin))


def test_threads_of_libraries_follow_cpu(look: Callable[..., object]) -> None:
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TADKA_CPU"]

    seen = look(lambda: [os.environ[name] for name in names], resources=Resources(cpu=1.5))

    assert ["2"] * 4 == seen


def test_env_is_added_to_the_parents_and_wins(
    look: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADKA_TEST_OLD", "old")
    monkeypatch.setenv("PYTHONPATH", "mine")
    names = ["TADKA_TEST_OLD", "TADKA_TEST_NEW", "OMP_NUM_THREADS", "PYTHONPATH"]

    seen = look(
        lambda: [os.environ[name] for name in names],
        env={"TADKA_TEST_NEW": "new", "OMP_NUM_THREADS": "9"},
    )

    assert ["old", "new", "9", "mine"] == seen


def test_imports_are_searched_where_the_parent_searches(
    look: Callable[..., object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tadka_test_module.py").write_text("value = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert list(map(str, sys.path)) == look(lambda: sys.path)
    assert 5 == look(lambda: __import__("tadka_test_module").value)


def test_a_module_in_the_working_directory_shadows_nothing(
    look: Callable[..., object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')\n")
    monkeypatch.chdir(tmp_path)

    assert str(tmp_path) == look(lambda: str(Path.cwd()))


def test_the_process_bears_its_name(look: Callable[..., object]) -> None:
    assert "trial" == look(lambda: Path("/proc/self/comm").read_text().strip())


SCRIPT = """
import os
import sys

import neighbour
from tadka.launch import LocalLauncher, ProcessSpec

class Adder:
    def __init__(self, summand):
        self.summand = summand

def add(adder, number):
    print(neighbour.double(adder.summand + number))

print("once")
with LocalLauncher() as launcher:
    ended = launcher.start(ProcessSpec(name="add", entry=add, args=(Adder(1), 20))).wait(20)
print(ended.reason, ended.detail)
"""


def test_a_script_needs_no_main_guard_and_has_its_neighbours(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "neighbour.py").write_text("def double(number):\n    return 2 * number\n")
    (folder / "script.py").write_text(SCRIPT)

    done = run_script(folder / "script.py", cwd=tmp_path)

    # Lines of a child are written at once, the parent's wait in its buffer.
    assert ["42", "finished ", "once"] == sorted(done.stdout.splitlines()), done.stderr
