"""Builds of many processes, and of processes that are killed."""

import errno
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tadka.task.define.task import Task
from tadka.task.engine.build import Build, BuildError, build
from tadka.task.store.objects import Damaged
from tadka.task.store.store import Store
from tests.unit.task.engine import steps
from tests.unit.task.engine.steps import Folder, Half, Number, Pair, Slow, Sum, noted

_fork = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "book"
    monkeypatch.setenv(steps.BOOK, str(path))
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "ws"


def start(function: Callable[..., object], *args: object) -> Any:
    process = _fork.Process(target=function, args=args)
    process.start()
    return process


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def chain(length: int) -> Task[int]:
    task: Task[int] = Number(value=length)
    for number in range(length):
        task = Sum(parts=[task], extra=number)
    return task


def test_sixteen_processes_run_a_body_once(workspace: Path) -> None:
    task = Sum(parts=[Slow(), Number(value=5)])

    def one() -> None:
        assert 6 == build(task, workspace=workspace)

    processes = [start(one) for _ in range(16)]
    for process in processes:
        process.join(60)

    assert [0] * 16 == [process.exitcode for process in processes]
    assert ["Number5", "Slow", "Sum"] == sorted(noted())


def test_other_work_goes_first_while_a_key_is_locked(workspace: Path) -> None:
    process = start(lambda: build(Slow(seconds=1.0), workspace=workspace))
    wait_for(lambda: "Slow" in noted())

    assert [1, 5] == build([Slow(seconds=1.0), Number(value=5)], workspace=workspace)
    process.join(30)

    assert ["Slow", "Number5"] == noted()


def test_who_waits_for_a_killed_process_runs_the_body(workspace: Path) -> None:
    process = start(lambda: build(Slow(seconds=60), workspace=workspace))
    wait_for(lambda: "Slow" in noted())

    waiting = start(lambda: build(Slow(seconds=0), workspace=workspace))
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    waiting.join(30)

    assert 0 == waiting.exitcode
    assert ["Slow", "Slow"] == noted()


def test_a_build_killed_anywhere_leaves_nothing_half_done(workspace: Path) -> None:
    tasks: list[Task[Any]] = [chain(40), Folder(), Pair(), Half(of=Number(value=8))]
    expected = [40 + sum(range(40)), {"a": "1", "b": "2"}, {"first": [1, 2], "second": "two"}, 4]
    chance = random.Random(5)
    for _ in range(6):
        process = start(lambda: build(tasks, workspace=workspace))
        time.sleep(chance.uniform(0.01, 0.25))
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)

        if workspace.exists():
            with Store(workspace, verify="always") as store:
                for entry in store.index.entries():
                    assert store.hit(entry.key) is not None
                    for output in entry.outputs:
                        store.path(output)

    assert expected == build(tasks, workspace=workspace)
    with Store(workspace) as store:
        store.begin()
        assert 1 == len(list(workspace.glob("objects/.aside/*")))


def test_ctrl_c_keeps_what_is_done(workspace: Path) -> None:
    numbers = [Number(value=i) for i in range(6)]
    tasks: list[Task[Any]] = [*numbers, Slow(seconds=60)]

    def one() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            build(tasks, workspace=workspace)
        except KeyboardInterrupt:
            os._exit(130)

    process = start(one)
    wait_for(lambda: "Slow" in noted())
    os.kill(process.pid, signal.SIGINT)
    process.join(30)

    assert 130 == process.exitcode
    with Store(workspace) as store:
        (run,) = store.index.runs()
        assert "interrupted" == run.status
        report = Build(numbers, store=store).run()
    assert {"ran": 0, "hit": 6, "failed": 0, "skipped": 0} == report.counts


def test_a_full_disk_fails_the_task_and_the_next_run_recovers(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(Number(value=0), workspace=workspace)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("tadka.task.store.flush.Disk.flush", full)
        with pytest.raises(BuildError, match="No space left on device") as caught:
            build(Sum(parts=[Number(value=1)]), workspace=workspace)
    assert 1 <= len(caught.value.failures)
    with Store(workspace) as store:
        assert 1 == len(list(store.index.entries()))

    assert 1 == build(Sum(parts=[Number(value=1)]), workspace=workspace)


def test_results_that_are_published_while_they_are_read(workspace: Path) -> None:
    """The names of files change while bodies read them: a group is committed beside the work."""
    tasks = [Sum(parts=[Number(value=i) for i in range(n)], extra=n) for n in range(40)]

    for number in range(3):
        place = workspace / str(number)
        assert [sum(range(n)) + n for n in range(40)] == build(tasks, workspace=place)


def test_damage_that_comes_back_ends(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(Number(value=1), workspace=workspace)

    def damaged(store: Store, output: Any, read: object) -> None:
        raise Damaged("it is always damaged", output.content)

    monkeypatch.setattr(Store, "read", damaged)
    with pytest.raises(BuildError, match="it is always damaged"):
        build(Half(of=Number(value=1)), workspace=workspace)
