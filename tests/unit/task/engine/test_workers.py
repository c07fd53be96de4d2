import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError
from tadka.core.resource import Resources
from tadka.launch import LocalLauncher
from tadka.task.define.task import Task
from tadka.task.engine.drive import Build
from tadka.task.engine.job import Job, Outcome, Ready, seed_of
from tadka.task.engine.perform import value_of
from tadka.task.engine.report import BuildError, Report
from tadka.task.engine.serve import _connected
from tadka.task.engine.tokens import Capacity
from tadka.task.engine.workers import Workers
from tadka.task.settings import Settings, use
from tadka.task.store.store import Store
from tests.unit.launch.conftest import DEADLINE_S, Pipe, Watched
from tests.unit.launch.conftest import control_groups as control_groups
from tests.unit.launch.conftest import pipe as pipe
from tests.unit.launch.conftest import temporary as temporary
from tests.unit.launch.conftest import watch as watch
from tests.unit.task.engine.bodies import (
    Chatters,
    Closes,
    Deep,
    Eats,
    Ends,
    Flaky,
    Grows,
    GrowsOnce,
    HoldsLittle,
    HoldsMuch,
    Late,
    Lingers,
    LongText,
    Meeting,
    MeetsAndReads,
    Moves,
    Named,
    NoGpu,
    Noisy,
    Number,
    OnGpu,
    Says,
    Setting,
    Split,
    Sum,
    Where,
    WhereAlone,
    WhereThreads,
)


class Room:
    """Workers with a store, and the numbers of jobs."""

    def __init__(self, store: Store, workers: int = 2, **settings: Any) -> None:
        self.store = store
        self.workers = Workers(store, workers, **settings)
        self.num_jobs = 0

    def submit(
        self, task: Task[Any], inputs: Mapping[str, Ready] | None = None, **settings: Any
    ) -> int:
        self.num_jobs += 1
        settings = {"resources": task.resources, **settings}
        job = Job(self.num_jobs, task, inputs or {}, task.id, seed_of(task), **settings)
        self.workers.submit(job)
        return job.number

    def outcomes(self, number: int) -> list[Outcome]:
        found: list[Outcome] = []
        while len(found) < number:
            new = self.workers.wait(DEADLINE_S)
            assert new, "nothing ended"
            found += new
        return sorted(found, key=lambda outcome: outcome.number)

    def run(self, *tasks: Task[Any]) -> list[Outcome]:
        """Runs tasks without inputs, each as soon as there is room."""
        waiting, found = list(tasks), list[Outcome]()
        while len(found) < len(tasks):
            while waiting and self.workers.has_room(waiting[0].resources):
                self.submit(waiting.pop(0))
            new = self.workers.wait(DEADLINE_S)
            assert new, "nothing ended"
            found += new
        return sorted(found, key=lambda outcome: outcome.number)

    def wait_for(self, line: "Line") -> None:
        """Goes on as a build does, until a job has written a line."""
        until = time.monotonic() + DEADLINE_S
        while line.is_alive() and time.monotonic() < until:
            assert [] == self.workers.wait(0.02)

    def value(self, task: Task[Any], outcome: Outcome) -> Any:
        assert outcome.error is None, outcome.error
        return value_of(task, Ready(type(task), outcome.outputs), self.store)

    def values(self, *tasks: Task[Any]) -> list[Any]:
        return [self.value(*pair) for pair in zip(tasks, self.run(*tasks), strict=True)]


class Line(threading.Thread):
    """Reads a line of a job."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self.pipe = pipe
        self.text = ""
        self.start()

    def run(self) -> None:
        self.text = self.pipe.read_line()


@pytest.fixture
def store(tmp_path: Path, temporary: Path) -> Iterator[Store]:
    with Store(tmp_path / "workspace") as store:
        yield store


@pytest.fixture
def room(store: Store) -> Iterator[Room]:
    room = Room(store)
    yield room
    room.workers.close()


class TestResults:
    def test_results_are_read_where_the_build_is(self, room: Room) -> None:
        assert [0, 1, 2, 3] == room.values(*(Number(value=value) for value in range(4)))

    def test_a_result_that_is_not_durable_yet_is_an_input(self, room: Room) -> None:
        numbers: list[Task[int]] = [Number(value=1), Number(value=2)]
        made = [Ready(Number, outcome.outputs) for outcome in room.run(*numbers)]
        task = Sum(numbers=numbers)

        room.submit(task, {"numbers[0]": made[0], "numbers[1]": made[1]})

        assert 3 == room.value(task, *room.outcomes(1))

    def test_what_it_prints_and_logs_comes_with_the_outcome(self, room: Room) -> None:
        task = Noisy()
        number, noisy = room.run(Number(value=7), task)

        assert "number 7\n" == number.log
        assert {"auc": 0.5} == noisy.metrics
        assert seed_of(task) == room.value(task, noisy)
        assert 1 << 20 < (number.peak_bytes or 0)

    def test_files_of_a_worker_belong_to_the_session_of_the_build(self, room: Room) -> None:
        small, outcome = room.run(Number(value=7), LongText())
        room.workers.close()

        assert small.outputs[0].data is not None
        aside = outcome.outputs[0].aside
        assert aside is not None
        assert Path(aside).is_file()
        room.store.close()
        assert not Path(aside).exists()

    def test_a_very_deep_task_is_sent_without_its_depth(self, room: Room) -> None:
        task = Deep()
        for level in range(1, 20_000):
            task = Deep(before=task, level=level)
        (made,) = room.run(Number(value=41))

        room.submit(task, {"before": Ready(Number, made.outputs)})

        assert 42 == room.value(task, *room.outcomes(1))

    def test_settings_of_the_build_are_those_of_its_workers(self, room: Room) -> None:
        use(Settings(tasks={"Named": {"name": "of the project"}}))
        try:
            assert ["of the project"] == room.values(Setting())
        finally:
            use(None)
        assert "of the class" == Named().name


class TestProcesses:
    def test_two_jobs_run_at_once(self, room: Room, tmp_path: Path) -> None:
        os.mkfifo(pipe := tmp_path / "pipe")
        tasks = [Meeting(pipe=pipe, is_reader=is_reader) for is_reader in (True, False)]

        assert [5, 5] == room.values(*tasks)

    def test_ordinary_jobs_share_processes(self, room: Room) -> None:
        found = room.values(*(Where(number=number) for number in range(8)))

        assert 2 >= len({one["pid"] for one in found})
        assert os.getpid() not in {one["pid"] for one in found}
        assert {"1"} == {one["threads"] for one in found}

    def test_a_job_that_leaves_the_folder_takes_no_other_with_it(
        self, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "other").mkdir()
        with Store("workspace") as store:
            room = Room(store, 1)
            tasks = [Moves(folder=tmp_path / "other", number=number) for number in range(2)]
            assert [str(tmp_path)] * 2 == room.values(*tasks)
            room.workers.close()

    def test_a_limit_on_memory_makes_a_process_of_its_own(self, room: Room) -> None:
        found = room.values(*(WhereAlone(number=number) for number in range(3)))

        assert 3 == len({one["pid"] for one in found})

    def test_each_gpu_is_given_to_one_job_at_a_time(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tadka.launch.local.visible_gpus", lambda: ["4", "7"])
        room = Room(store, 2, capacity=Capacity(cpu=8, memory_bytes=1 << 30, gpu=2))

        found = room.values(*(OnGpu(number=number) for number in range(5)))

        assert {"4", "7"} == set(found)
        assert [""] == room.values(NoGpu())
        room.workers.close()

    def test_a_process_that_does_not_end_is_ended(
        self, room: Room, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.modules[Workers.__module__], "_END_S", 0.1)

        assert [1] == room.values(Lingers())

    def test_cores_are_numbers_of_threads(self, room: Room) -> None:
        first, second, third = room.values(Where(), WhereThreads(), WhereThreads(number=1))

        assert "1" == first["threads"]
        assert "2" == second["threads"] == third["threads"]
        assert second["pid"] == third["pid"] != first["pid"]

    def test_processes_that_are_of_no_use_end(
        self, store: Store, watch: Callable[[int], Watched]
    ) -> None:
        room = Room(store, 1)
        (first,) = room.values(Where())
        idle = watch(first["pid"])

        room.values(WhereThreads())

        assert idle.has_ended()
        room.workers.close()

    def test_nothing_is_started_before_a_job(self, store: Store, temporary: Path) -> None:
        Workers(store, 2).close()

        assert [] == list(temporary.glob("tadka-launch-*"))

    def test_a_long_name_of_the_folder_for_temporary_files(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / ("x" * 150)
        folder.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr("tempfile.tempdir", None)
        room = Room(store)

        assert [5] == room.values(Number(value=5))

        assert 1 == len(list(folder.iterdir()))
        room.workers.close()
        assert [] == list(folder.iterdir())

    def test_a_given_launcher_stays_open(self, store: Store) -> None:
        with LocalLauncher() as launcher:
            for _ in range(2):
                room = Room(store, launcher=launcher)
                assert [5] == room.values(Number(value=5))
                room.workers.close()
                room.workers.close()

    def test_what_cannot_be_started_is_a_failure_of_its_job(self, store: Store) -> None:
        launcher = LocalLauncher()
        launcher.close()
        room = Room(store, launcher=launcher)

        (outcome,) = room.run(Number())

        assert outcome.error is not None
        assert "No worker process can be started for Number" in outcome.error.message
        room.workers.close()

    def test_a_body_waits_for_one_of_a_build_that_was_killed(self, room: Room) -> None:
        task = Number(value=3)
        with room.store.locks.held(task.id[::-1]):  # as the worker of such a build has it
            room.submit(task)
            assert [] == room.workers.wait(0.3)
        (outcome,) = room.outcomes(1)

        assert 3 == room.value(task, outcome)

    def test_a_process_that_ended_before_it_was_heard(self, room: Room) -> None:
        assert [0] == room.values(Number())
        assert room.workers._address is not None
        with _connected(room.workers._address) as connection:
            connection.send_bytes(pickle.dumps(99))  # of no worker that is left

            assert [1, 2] == room.values(Number(value=1), Number(value=2))


class TestWait:
    def test_it_returns_at_once_where_nothing_runs(self, room: Room) -> None:
        assert [] == room.workers.wait(None)

    def test_it_returns_in_time(self, room: Room, pipe: Pipe) -> None:
        room.submit(Says(pipe=Path(pipe.path)))

        assert [] == room.workers.wait(0)
        assert [] == room.workers.wait(0.02)

    def test_it_sleeps_while_it_waits(self, room: Room) -> None:
        room.run(Number())
        room.submit(Late())
        before = time.process_time()

        room.outcomes(1)

        assert 0.1 > time.process_time() - before


class TestFailures:
    def test_an_exception_leaves_the_process_for_the_next(self, room: Room) -> None:
        failed, number, exited = room.run(Ends(how="raise"), Number(), Ends(how="sys.exit"))

        assert failed.error is not None
        assert exited.error is not None
        assert ("error", "ValueError: no such day") == (failed.error.kind, failed.error.message)
        assert 'raise ValueError("no such day")' in failed.error.traceback
        assert "before the end\n" == failed.log
        assert ("error", "SystemExit: 3") == (exited.error.kind, exited.error.message)
        assert number.error is None

    @pytest.mark.parametrize(
        ("how", "message"),
        [
            ("SIGKILL", "killed by SIGKILL. If the machine had no memory left, declare resources"),
            ("SIGTERM", "killed by SIGTERM."),
            ("segfault", "killed by SIGSEGV."),
            ("3", "exit status 3."),
            ("0", "finished."),
        ],
    )
    def test_the_end_of_a_process_is_that_of_its_job(
        self, room: Room, how: str, message: str
    ) -> None:
        outcomes = room.run(Number(), Ends(how=how), Number(value=1), Number(value=2))

        killed = outcomes[1].error
        assert killed is not None
        assert ("killed", "before the end\n") == (killed.kind, outcomes[1].log)
        assert f"The process of Ends ended before it was done: {message}" in killed.message
        assert [None] * 3 == [outcome.error for outcome in outcomes if outcome.number != 2]
        if how == "segfault":
            assert "in run" in killed.traceback

    def test_the_end_of_what_a_killed_job_printed_is_kept(
        self, room: Room, temporary: Path
    ) -> None:
        (outcome,) = room.run(Chatters())

        assert outcome.log.endswith("line 99998\nline 99999\n")
        assert 200_000 > len(outcome.log)
        assert [] == list(temporary.glob("tadka-launch-*/*.log"))

    def test_a_kill_from_outside_is_seen_at_once(self, room: Room, pipe: Pipe) -> None:
        room.submit(Says(pipe=Path(pipe.path)))
        room.wait_for(line := Line(pipe))
        os.kill(int(line.text), signal.SIGKILL)

        (outcome,) = room.outcomes(1)

        assert outcome.error is not None
        assert "killed" == outcome.error.kind
        assert room.workers.has_room(Resources(cpu=2))

    def test_a_job_that_closes_the_connection_fails_alone(self, room: Room) -> None:
        closed, number = room.run(Closes(), Number())

        assert closed.error is not None
        assert "The process of Closes ended before it was done" in closed.error.message
        assert number.error is None

    def test_a_job_ends_at_its_timeout_and_the_next_one_runs(self, room: Room) -> None:
        late, number = room.run(Late(), Late(number=1))

        assert late.error is not None
        assert ("timeout", "Late was stopped at its timeout of 0.2 s.") == (
            late.error.kind,
            late.error.message,
        )
        assert 0.2 <= late.seconds < 5
        assert number.error is None
        assert [3] == room.values(Late(number=3))

    def test_the_kernel_ends_what_takes_too_much(self, room: Room, control_groups: None) -> None:
        fits, large = room.run(Eats(megabytes=1), Eats(megabytes=400))

        assert fits.error is None
        assert large.error is not None
        assert "out of memory" == large.error.kind
        assert "memory limit of 192M" in large.error.message

    def test_with_more_memory_the_next_attempt_fits(self, room: Room, control_groups: None) -> None:
        task = Eats(megabytes=400)
        room.submit(task, attempt=2, resources=Resources(memory="1G"))

        assert 1 << 20 == room.value(task, *room.outcomes(1))

    def test_a_program_that_the_task_starts_counts(self, room: Room, control_groups: None) -> None:
        (outcome,) = room.run(Eats(megabytes=400, by="program"))

        assert outcome.error is not None
        assert "out of memory" == outcome.error.kind
        assert "CalledProcessError" in outcome.error.message

    def test_a_limit_without_control_groups(self, store: Store) -> None:
        with LocalLauncher(mechanism="rlimit") as launcher:
            room = Room(store, launcher=launcher)
            (outcome,) = room.run(Eats(megabytes=400))
            room.workers.close()

        assert outcome.error is not None
        assert ("out of memory", "MemoryError") == (outcome.error.kind, outcome.error.message)

    def test_what_cannot_be_pickled_is_named(self, room: Room) -> None:
        lock = threading.Lock()

        class Locked(Task[int]):
            def run(self) -> int:
                return id(lock)

        (outcome,) = room.run(Locked())

        assert outcome.error is not None
        assert "error" == outcome.error.kind
        assert "Locked cannot be sent to a worker process" in outcome.error.message
        assert "cannot pickle '_thread.lock' object" in outcome.error.message

    def test_more_than_the_machine_has_is_refused(self, store: Store) -> None:
        workers = Workers(store, capacity=Capacity(cpu=2, memory_bytes=1 << 27, workers=2))

        with pytest.raises(ConfigError, match="Eats has resources with memory='192M'"):
            workers.check(Eats(megabytes=1))
        workers.close()


class TestPrograms:
    """Classes that no other process can import."""

    def test_a_class_within_a_function_travels(self, room: Room) -> None:
        factor = 3

        class Times(Task[int]):
            number: int

            def run(self) -> int:
                return self.number * factor

        assert [6, 9, 12] == room.values(*(Times(number=number) for number in (2, 3, 4)))

    def test_classes_of_a_script_are_the_same_on_both_sides(self, tmp_path: Path) -> None:
        found = script(
            tmp_path,
            """
            from dataclasses import dataclass
            from enum import Enum

            SCALE = 10

            class Mode(Enum):
                FAST = "f"

            @dataclass(frozen=True)
            class Fit:
                auc: float
                mode: Mode

            def helper(number):
                return number * SCALE

            class Train(Task[Fit]):
                number: int
                mode: Mode = Mode.FAST

                def run(self) -> Fit:
                    return Fit(helper(self.number), self.mode)

            class Score(Task[float]):
                fit: Train

                def run(self, fit: Fit) -> float:
                    assert isinstance(fit, Fit) and isinstance(self.fit, Train)
                    assert self.fit.mode is Mode.FAST
                    return fit.auc

            class Asks(Task[str]):
                def run(self, run: Run) -> str:
                    return run.need(Train(number=2))

            train = Train(number=4)
            made = run(train)
            fit = value_of(train, Ready(Train, made.outputs), store)
            assert type(fit) is Fit and fit == Fit(40, Mode.FAST), fit
            score = Score(fit=train)
            scored = run(score, {"fit": Ready(Train, made.outputs)})
            assert 40 == value_of(score, Ready(Score, scored.outputs), store)
            asked = run(Asks())
            assert asked.is_waiting and type(asked.needs[0][0]) is Train
            assert asked.needs[0][0].id == Train(number=2).id
            print(json.dumps([Train(number=2).id, Train.run.__module__]))
            """,
        )

        assert "__main__" == found[1]

    def test_a_name_that_the_script_has_not_is_an_error_of_the_task(self, tmp_path: Path) -> None:
        found = script(
            tmp_path,
            """
            class Looks(Task[int]):
                def run(self) -> int:
                    import __main__
                    assert not hasattr(__main__, "__nothing__")
                    assert __main__.MANY == 70000 * [1]
                    return __main__.NOTHING

            MANY = 70000 * [1]
            print(json.dumps(run(Looks()).error.message))
            """,
        )

        assert "AttributeError: module '__main__' has no attribute 'NOTHING'" == found


SCRIPT = """
import json, sys
from pathlib import Path
from tadka.task.engine.drive import Build
from tadka.task.engine.job import Job, Ready
from tadka.task.engine.perform import value_of
from tadka.task.engine.workers import Workers
from tadka.task.define.run import Run
from tadka.task.define.task import Task
from tadka.task.store.store import Store

store = Store(Path(__file__).parent / "workspace")
workers = Workers(store, 2)
numbers = iter(range(100))

def run(task, inputs={}):
    workers.submit(Job(next(numbers), task, inputs, task.id, 1, resources=task.resources))
    (outcome,) = workers.wait(60)
    return outcome

"""


def script(folder: Path, text: str, begin: str = "") -> Any:
    """What a script without `if __name__ == "__main__"` prints, from JSON."""
    path = folder / "flow.py"
    path.write_text(SCRIPT + textwrap.dedent(text) + "\nworkers.close()\nstore.close()\n")
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(begin + done.stdout)


class TestEndOfTheBuild:
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
    def test_its_processes_end_with_it(
        self,
        tmp_path: Path,
        pipe: Pipe,
        watch: Callable[[int], Watched],
        how: signal.Signals,
    ) -> None:
        path = tmp_path / "flow.py"
        path.write_text(
            SCRIPT
            + textwrap.dedent("""
            from tests.unit.task.engine.bodies import Says
            try:
                run(Says(pipe=Path(sys.argv[1])))
            finally:
                workers.close()
            """)
        )
        root = str(Path(__file__).parents[4])
        env = {**os.environ, "PYTHONPATH": f"{root}:{root}/src"}
        build = subprocess.Popen(
            [sys.executable, path, pipe.path], env=env, stderr=subprocess.PIPE, text=True
        )
        worker = watch(int(pipe.read_line()))

        build.send_signal(how)
        _, errors = build.communicate(timeout=DEADLINE_S)

        assert worker.has_ended()
        assert 0 != build.returncode
        assert ("KeyboardInterrupt" in errors) == (how == signal.SIGINT)

    def test_close_ends_what_runs(
        self, room: Room, pipe: Pipe, watch: Callable[[int], Watched], temporary: Path
    ) -> None:
        room.submit(Says(pipe=Path(pipe.path)))
        room.wait_for(line := Line(pipe))
        worker = watch(int(line.text))

        room.workers.close()

        assert worker.has_ended(0)
        assert [] == list(temporary.glob("tadka-launch-*"))


class TestBuild:
    """The same builds with processes as without."""

    def report(self, store: Store, *tasks: Task[Any], **settings: Any) -> Report:
        settings = {"workers": 2, **settings}
        return Build(tasks, store=store, **settings).run()

    def test_processes_give_the_same_results(self, store: Store, tmp_path: Path) -> None:
        numbers: list[Task[int]] = [Number(value=value) for value in range(10)]
        tasks = [Sum(numbers=numbers), Split(number=7), Deep(before=Deep(level=0), level=1)]
        with Store(tmp_path / "other") as other:
            apart, inline = self.report(store, *tasks), self.report(other, *tasks, workers=None)
            values = [[report.value(task) for task in tasks] for report in (apart, inline)]

        assert [45, {"half": 3, "rest": 1}, 2] == values[0] == values[1]
        assert {"ran": 14} == {name: n for name, n in apart.counts.items() if n}
        contents = [
            {
                (result.key, output.name): output.content
                for result in report.results.values()
                for output in (result.entry.outputs if result.entry else ())
            }
            for report in (apart, inline)
        ]
        assert 15 == len(contents[0])
        assert contents[0] == contents[1]
        assert {"hit": 14} == {
            name: n for name, n in self.report(store, *tasks).counts.items() if n
        }

    def test_two_that_read_one_damaged_input_at_once(self, store: Store, tmp_path: Path) -> None:
        text, pipe = LongText(), tmp_path / "pipe"
        os.mkfifo(pipe)
        entry = self.report(store, text).results[text.id].entry
        assert entry is not None
        path = store.path(entry.outputs[0])
        path.chmod(0o644)
        path.write_bytes(b"y" * entry.outputs[0].num_bytes)
        tasks = [MeetsAndReads(texts=[text], pipe=pipe, is_reader=b) for b in (True, False)]

        report = self.report(store, *tasks)

        assert report.is_ok, report.failures
        assert 1 == report.results[text.id].attempts

    @pytest.mark.parametrize("how", ["raise", "exit"])
    def test_a_retry_that_succeeds_is_a_success(
        self, store: Store, tmp_path: Path, how: str
    ) -> None:
        task = Flaky(file=tmp_path / "attempts", failures=1, how=how)

        report = self.report(store, task)

        assert (2, 2) == (report.value(task), report.results[task.id].attempts)

    def test_after_the_last_retry_it_has_failed(self, store: Store, tmp_path: Path) -> None:
        task = Flaky(file=tmp_path / "attempts", failures=3, how="exit")

        result = self.report(store, task).results[task.id]

        assert ("failed", 3) == (result.status, result.attempts)
        assert "exit status 7" in (result.error or "")

    def test_a_failure_stops_only_what_depends_on_it(self, store: Store) -> None:
        killed, late, number = Ends(how="SIGKILL"), Late(), Number(value=3)
        below, beside = Sum(numbers=[killed, number]), Sum(numbers=[number])

        report = self.report(store, below, beside, late)

        statuses = [report.results[t.id].status for t in (killed, late, below, number, beside)]
        assert ["failed", "failed", "skipped", "ran", "ran"] == statuses
        with pytest.raises(BuildError, match="killed by SIGKILL") as info:
            report.raise_failures()
        assert {killed.id, late.id} <= info.value.failures.keys()

    def test_memory_grows_after_it_was_too_little(self, store: Store, control_groups: None) -> None:
        enough, never = Grows(megabytes=250), Grows(megabytes=1000)

        report = self.report(store, enough, never, workers=1)

        assert 250 << 20 == report.value(enough)
        assert 2 == report.results[enough.id].attempts
        assert "memory limit of 384M" in (report.results[never.id].error or "")

    def test_too_little_memory_uses_no_retry_up(
        self, store: Store, tmp_path: Path, control_groups: None
    ) -> None:
        task = GrowsOnce(file=tmp_path / "attempts")

        report = self.report(store, task)

        assert (3, 3) == (report.value(task), report.results[task.id].attempts)

    def test_declared_memory_is_never_more_than_there_is(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        capacity = Capacity(cpu=8, memory_bytes=2400 << 20, workers=8)
        monkeypatch.setattr(Capacity, "of_machine", lambda _: capacity)
        tasks: list[Task[list[float]]] = [HoldsLittle(number=number) for number in range(8)]
        tasks[4:4] = [HoldsMuch(number=number) for number in range(2)]

        report = self.report(store, *tasks)

        spans = [(*report.value(task), task.resources.memory_bytes or 0) for task in tasks]
        for begin, _, _ in spans:
            assert 2400 << 20 >= sum(n for start, end, n in spans if start <= begin < end)
        assert report.is_ok

    @pytest.mark.parametrize("resources", [Resources(replicas=2), Resources(image="x")])
    def test_what_only_a_cluster_has_is_refused_before_anything_runs(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, resources: Resources
    ) -> None:
        monkeypatch.setattr(Split, "resources", resources)
        for workers in (None, 2):
            with pytest.raises(ConfigError, match="Split has resources with"):
                self.report(store, Number(), Split(number=1), workers=workers)
        assert not store.exists

    def test_a_script_that_builds(self, tmp_path: Path) -> None:
        found = script(
            tmp_path,
            """
            from dataclasses import dataclass
            from tadka.task.engine.drive import Build

            @dataclass(frozen=True)
            class Fit:
                auc: float

            class Train(Task[Fit]):
                number: int
                def run(self) -> Fit:
                    return Fit(self.number / 10)

            class Best(Task[Fit]):
                def run(self, run: Run) -> Fit:
                    fits = run.need([Train(number=number) for number in range(5)])
                    return max(fits, key=lambda fit: fit.auc)

            for number in (2, 2, None):
                build = Build([Best()], store=store, workers=number)
                report = build.run()
                assert report.value(Best()) == Fit(0.4)
                print(json.dumps(report.counts["ran"]), end=", " if number else "]")
            """,
            begin="[",
        )

        assert [6, 0, 0] == found


def test_many_small_jobs_keep_order_and_number(room: Room) -> None:
    tasks: Sequence[Task[int]] = [Number(value=value) for value in range(300)]

    assert list(range(300)) == room.values(*tasks)
