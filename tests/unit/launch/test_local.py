import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path

import pytest

from tadka.core.error import LaunchError
from tadka.core.resource import Resources
from tadka.launch import guard
from tadka.launch.launcher import Exit, ProcessSpec
from tadka.launch.local import LocalLauncher, num_gpus, visible_gpus
from tests.descriptors import open_descriptors
from tests.unit.launch.conftest import DEADLINE_S, Pipe, Watched, ended


def wait_for_ever(path: str) -> None:
    """Body of a child: says that it runs, and stays."""
    with open(path, "w") as file:  # noqa: PTH123
        file.write("up\n")
    threading.Event().wait()


class TestStop:
    def test_kill_stops_a_process_and_is_no_failure(
        self, launcher: LocalLauncher, pipe: Pipe
    ) -> None:
        process = launcher.start(ProcessSpec(name="a", entry=wait_for_ever, args=(pipe.path,)))
        assert "up" == pipe.read_line()
        assert process.exit() is None

        process.kill()

        assert Exit(reason="stopped", code=-9) == ended(process)

    def test_kill_after_the_end_changes_nothing(self, launcher: LocalLauncher) -> None:
        process = launcher.start(ProcessSpec(name="a", entry=print))
        assert guard.wait_readable([process.fileno()], DEADLINE_S)

        process.kill()

        assert "finished" == ended(process).reason
        process.kill()
        assert "finished" == ended(process).reason

    def test_kill_reaches_what_the_process_has_started(
        self, launcher: LocalLauncher, pipe: Pipe, watch: Callable[[int], Watched]
    ) -> None:
        def work(path: str) -> None:
            # One in our session, one that left it, one whose parent is gone.
            wait = [sys.executable, "-c", "input()"]
            plain = subprocess.Popen(wait, stdin=subprocess.PIPE)
            away = subprocess.Popen(wait, stdin=subprocess.PIPE, start_new_session=True)
            read, write = os.pipe()
            if not (middle := os.fork()):
                os.setsid()
                if not (daemon := os.fork()):
                    threading.Event().wait()
                os.write(write, str(daemon).encode())
                os._exit(0)
            os.waitpid(middle, 0)
            with open(path, "w") as file:  # noqa: PTH123
                file.write(f"{plain.pid} {away.pid} {os.read(read, 20).decode()}\n")
            threading.Event().wait()

        process = launcher.start(ProcessSpec(name="a", entry=work, args=(pipe.path,)))
        started = [watch(int(pid)) for pid in pipe.read_line().split()]
        assert 3 == len(started)

        process.kill()

        assert all(one.has_ended(0) for one in started)
        assert "stopped" == ended(process).reason

    def test_what_a_process_leaves_running_ends_with_it(
        self, launcher: LocalLauncher, pipe: Pipe, watch: Callable[[int], Watched]
    ) -> None:
        def work(path: str) -> None:
            wait = [sys.executable, "-c", "input()"]
            popen = subprocess.Popen(wait, stdin=subprocess.PIPE, start_new_session=True)
            with open(path, "w") as file:  # noqa: PTH123
                file.write(f"{popen.pid}\n")
            with open(path, "w") as file:  # noqa: PTH123
                file.write("end\n")

        process = launcher.start(ProcessSpec(name="a", entry=work, args=(pipe.path,)))
        left = watch(int(pipe.read_line()))

        assert "finished" == ended(process).reason
        assert left.has_ended(0)

    def test_a_timeout_ends_the_process(self, launcher: LocalLauncher, pipe: Pipe) -> None:
        resources = Resources(timeout_s=0.3)
        spec = ProcessSpec(name="a", entry=wait_for_ever, args=(pipe.path,), resources=resources)

        result = ended(launcher.start(spec))

        assert ("timeout", "killed at its timeout of 0.3 s") == (result.reason, str(result))

    def test_wait_returns_none_while_it_runs(self, launcher: LocalLauncher, pipe: Pipe) -> None:
        process = launcher.start(ProcessSpec(name="a", entry=wait_for_ever, args=(pipe.path,)))

        assert process.wait(0.01) is None


class TestHeartbeat:
    def test_a_stopped_process_falls_silent_and_a_running_one_does_not(
        self, launcher: LocalLauncher, pipe: Pipe
    ) -> None:
        process = launcher.start(ProcessSpec(name="a", entry=wait_for_ever, args=(pipe.path,)))
        pipe.read_line()
        least_s = min(process.silence_s() for _ in range(5) if process.wait(0.05) is None)
        assert least_s < 0.1

        os.kill(process.pid, signal.SIGSTOP)
        while process.silence_s() < 0.5:
            assert process.wait(0.05) is None
        process.kill("silent")

        result = ended(process)
        assert ("silent", -9) == (result.reason, result.code)
        assert "killed because it sent no heartbeat" == str(result)
        assert result.is_failure

    def test_an_ended_process_is_not_silent(self, launcher: LocalLauncher) -> None:
        process = launcher.start(ProcessSpec(name="a", entry=print))
        ended(process)

        assert 0 == process.silence_s()
        assert guard.wait_readable([process.fileno()], 0)


class TestStart:
    def test_what_cannot_be_pickled_is_refused_by_name(self, launcher: LocalLauncher) -> None:
        lock = threading.Lock()

        def locked() -> object:
            return lock

        with pytest.raises(LaunchError, match=r"'.*locked' of process 'a' cannot be sent to it: T"):
            launcher.start(ProcessSpec(name="a", entry=locked))
        assert ["launcher"] == [file.name for file in launcher.directory.iterdir()]

    def test_an_error_in_pickling_is_a_launch_error_whatever_it_is(
        self, launcher: LocalLauncher
    ) -> None:
        class Stubborn:
            def __getstate__(self) -> object:
                raise KeyError("no")

        with pytest.raises(LaunchError, match="KeyError: 'no'"):
            launcher.start(ProcessSpec(name="a", entry=print, args=(Stubborn(),)))

    def test_a_value_that_cannot_be_read_again_is_an_error_of_the_child(
        self, call: Callable[..., Exit]
    ) -> None:
        class Broken:
            def __reduce__(self) -> tuple[object, ...]:
                return (int, ("no number",))

        result = call(print, Broken())

        assert "error" == result.reason
        assert "invalid literal for int()" in str(result)

    def test_more_gpus_than_there_are_are_refused(self, launcher: LocalLauncher) -> None:
        wanted = num_gpus() + 1
        resources = Resources(gpu=wanted)

        with pytest.raises(LaunchError, match=rf"'a' asks for {wanted} GPUs, and \d+ of this"):
            launcher.start(ProcessSpec(name="a", entry=print, resources=resources))

    def test_an_image_is_not_used_and_that_is_said(self, launcher: LocalLauncher) -> None:
        spec = ProcessSpec(name="a", entry=print, resources=Resources(image="python:3.11"))

        with pytest.warns(UserWarning, match="'a' asks for the image 'python:3.11'"):
            launcher.start(spec)

    def test_a_program_that_cannot_start_leaves_nothing(
        self, launcher: LocalLauncher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = launcher.start(ProcessSpec(name="first", entry=print))  # brings the guard
        ended(first)
        before = open_descriptors()
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        resources = Resources(memory="64M")

        with pytest.raises(LaunchError, match=r"Process 'a' cannot be started: .*/nowhere/python"):
            launcher.start(ProcessSpec(name="a", entry=print, resources=resources))

        assert ["launcher"] == [file.name for file in launcher.directory.iterdir()]
        assert open_descriptors() <= before

    def test_a_child_outlives_the_thread_that_started_it(
        self, launcher: LocalLauncher, pipe: Pipe
    ) -> None:
        started = []
        spec = ProcessSpec(name="a", entry=wait_for_ever, args=(pipe.path,))
        thread = threading.Thread(target=lambda: started.append(launcher.start(spec)))

        thread.start()
        thread.join()

        assert "up" == pipe.read_line()
        assert started[0].wait(0.1) is None

    def test_no_file_and_no_descriptor_stays_of_what_has_ended(
        self, launcher: LocalLauncher
    ) -> None:
        def fail() -> None:
            raise ValueError

        ended(launcher.start(ProcessSpec(name="a", entry=print)))
        before = open_descriptors()
        for entry in (print, fail, os.abort):
            ended(launcher.start(ProcessSpec(name="a", entry=entry)))

        assert ["launcher"] == [file.name for file in launcher.directory.iterdir()]
        assert open_descriptors() <= before


class TestClose:
    def test_close_kills_all_and_removes_the_directory(
        self, temporary: Path, pipe: Pipe, watch: Callable[[int], Watched]
    ) -> None:
        launcher = LocalLauncher()
        spec = ProcessSpec(name="a", entry=wait_for_ever, args=(pipe.path,))
        started = [launcher.start(spec) for _ in range(2)]
        watched = [watch(process.pid) for process in started]
        pipe.read_line()

        launcher.close()

        assert all(one.has_ended(0) for one in watched)
        assert ["stopped"] * 2 == [ended(process).reason for process in started]
        assert not launcher.directory.exists()
        launcher.close()  # once more is harmless

    def test_a_closed_launcher_starts_nothing(self, temporary: Path) -> None:
        with LocalLauncher() as launcher:
            pass

        with pytest.raises(LaunchError, match="the launcher is closed"):
            launcher.start(ProcessSpec(name="a", entry=print))

    def test_folders_of_other_people_are_not_swept(self, temporary: Path) -> None:
        other = temporary / f"{guard.PREFIX}my-own-notes"
        other.mkdir()

        with LocalLauncher() as living, LocalLauncher():
            assert living.directory.exists()

        assert other.exists()


PARENT = """
import os, subprocess, sys, threading
from multiprocessing.shared_memory import SharedMemory
from tadka.core.resource import Resources
from tadka.launch.launcher import ProcessSpec
from tadka.launch.local import LocalLauncher

def work():
    wait = [sys.executable, "-c", "input()"]
    plain = subprocess.Popen(wait, stdin=subprocess.PIPE)
    away = subprocess.Popen(wait, stdin=subprocess.PIPE, start_new_session=True)
    memory = SharedMemory(create=True, size=4096)
    # in one write: children and parent tell at the same time
    os.write(1, f"child {os.getpid()} {plain.pid} {away.pid} {memory.name}\\n".encode())
    threading.Event().wait()

launcher = LocalLauncher()
processes = [
    launcher.start(ProcessSpec(name="a", entry=work)),
    launcher.start(ProcessSpec(name="b", entry=work, resources=Resources(memory="128M"))),
]
group = processes[1].limit.group
os.write(1, f"parent {launcher._guard.pid} {launcher.directory} {group}\\n".encode())
threading.Event().wait()
"""


class TestParentIsKilled:
    @pytest.fixture
    def script(self, temporary: Path) -> Path:
        path = temporary / "parent.py"
        path.write_text(PARENT)
        return path

    def start(
        self, script: Path
    ) -> tuple["subprocess.Popen[str]", int, Path, str, list[int], list[Path]]:
        popen = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert popen.stdout is not None
        guard_pid, directory, group = 0, Path(), ""
        pids: list[int] = []
        segments = []
        for _ in range(3):
            kind, *words = popen.stdout.readline().split()
            if kind == "parent":
                guard_pid, directory, group = int(words[0]), Path(words[1]), words[2]
            else:
                pids += map(int, words[:3])
                segments.append(guard.SHARED_MEMORY / words[3])
        assert 6 == len(pids)
        assert all(segment.exists() for segment in segments)
        return popen, guard_pid, directory, group, pids, segments

    def test_nothing_is_left(self, script: Path, watch: Callable[[int], Watched]) -> None:
        popen, guard_pid, directory, group, pids, segments = self.start(script)
        watched = [watch(pid) for pid in (*pids, guard_pid)]

        popen.kill()
        popen.communicate()

        assert all(one.has_ended() for one in watched)
        assert [] == [segment for segment in segments if segment.exists()]
        assert not directory.exists()
        assert group == "None" or not Path(group).exists()

    def test_without_the_guard_the_next_launcher_clears_up(
        self, script: Path, watch: Callable[[int], Watched]
    ) -> None:
        popen, guard_pid, directory, group, pids, segments = self.start(script)
        children = [watch(pid) for pid in (pids[0], pids[3])]
        watched = [watch(pid) for pid in pids]
        guards = watch(guard_pid)
        popen.send_signal(signal.SIGSTOP)
        os.kill(guard_pid, signal.SIGKILL)
        popen.kill()
        popen.wait()

        assert guards.has_ended()
        assert all(child.has_ended() for child in children)
        assert directory.exists()
        with LocalLauncher():
            assert not directory.exists()
            assert all(one.has_ended(0) for one in watched)
            assert [] == [segment for segment in segments if segment.exists()]
            assert group == "None" or not Path(group).exists()
        popen.communicate()


def test_shared_memory_of_a_crashed_process_is_removed(launcher: LocalLauncher, pipe: Pipe) -> None:
    def work(path: str) -> None:
        memory = shared_memory.SharedMemory(create=True, size=4096)
        with open(path, "w") as file:  # noqa: PTH123
            file.write(f"{memory.name}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    process = launcher.start(ProcessSpec(name="a", entry=work, args=(pipe.path,)))
    name = pipe.read_line()

    assert "killed by SIGKILL" == str(ended(process))
    assert not (guard.SHARED_MEMORY / name).exists()


class TestGpus:
    def test_where_there_are_none_nothing_is_visible(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if list(Path("/dev").glob("nvidia[0-9]*")):
            pytest.skip("this machine has a GPU")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

        assert [] == visible_gpus()
        assert 0 == num_gpus()

    @pytest.mark.needs_gpu
    def test_one_process_at_a_time_has_a_gpu(
        self, launcher: LocalLauncher, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

        def work(path: str) -> None:
            with open(path, "w") as file:  # noqa: PTH123
                file.write(os.environ["CUDA_VISIBLE_DEVICES"] + "\n")
            threading.Event().wait()

        spec = ProcessSpec(name="a", entry=work, args=(pipe.path,), resources=Resources(gpu=1))
        first = launcher.start(spec)
        assert "0" == pipe.read_line()
        with pytest.raises(LaunchError, match="asks for 1 GPUs, and 0 of this machine's 1 are"):
            launcher.start(spec)
        launcher.start(ProcessSpec(name="b", entry=work, args=(pipe.path,)))
        assert "" == pipe.read_line()

        first.kill()
        ended(first)

        launcher.start(spec)
        assert "0" == pipe.read_line()

    @pytest.mark.needs_gpu
    def test_hidden_gpus_do_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for value, seen in (("", []), ("-1", []), ("0", ["0"]), ("GPU-a,-1,1", ["GPU-a"])):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
            assert seen == visible_gpus()


@pytest.mark.needs_mpi
class TestMpi:
    def run(self, launcher: LocalLauncher, entry: Callable[..., object], *args: object) -> Exit:
        spec = ProcessSpec(name="job", entry=entry, args=args, num_ranks=2)
        process = launcher.start(spec)
        assert 0 == process.silence_s()
        return ended(process)

    def test_ranks_find_each_other_and_finish(
        self, launcher: LocalLauncher, tmp_path: Path
    ) -> None:
        def work(path: str) -> None:
            from mpi4py import MPI

            total = MPI.COMM_WORLD.allreduce(MPI.COMM_WORLD.rank + 1)
            with open(f"{path}-{MPI.COMM_WORLD.rank}", "w") as file:  # noqa: PTH123
                file.write(f"{total} of {MPI.COMM_WORLD.size}")

        result = self.run(launcher, work, str(tmp_path / "rank"))

        assert Exit(reason="finished", code=0) == result
        for rank in range(2):
            assert "3 of 2" == (tmp_path / f"rank-{rank}").read_text()
        assert ["launcher"] == [file.name for file in launcher.directory.iterdir()]

    def test_a_killed_rank_ends_the_job(
        self, launcher: LocalLauncher, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def work() -> None:
            from mpi4py import MPI

            MPI.COMM_WORLD.Barrier()
            if MPI.COMM_WORLD.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            MPI.COMM_WORLD.Barrier()

        result = self.run(launcher, work)

        assert ("signal", -9, "killed by SIGKILL") == (result.reason, result.code, str(result))
        assert [] == list((guard.SHARED_MEMORY / launcher.directory.name).iterdir())

    def test_a_rank_that_raises_ends_the_job_and_is_named(
        self, launcher: LocalLauncher, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def work() -> None:
            from mpi4py import MPI

            MPI.COMM_WORLD.Barrier()
            if MPI.COMM_WORLD.rank == 1:
                raise ValueError("no rows")
            MPI.COMM_WORLD.Barrier()

        result = self.run(launcher, work)

        assert "error" == result.reason
        assert result.detail.startswith("Rank 1:\nTraceback")
        assert "ValueError: no rows" == str(result)

    def test_kill_reaches_the_ranks(
        self, launcher: LocalLauncher, pipe: Pipe, watch: Callable[[int], Watched]
    ) -> None:
        def work(path: str) -> None:
            with open(path, "w") as file:  # noqa: PTH123
                file.write(f"{os.getpid()}\n")
            threading.Event().wait()

        process = launcher.start(
            ProcessSpec(name="job", entry=work, args=(pipe.path,), num_ranks=2)
        )
        ranks = [watch(int(pipe.read_line())) for _ in range(2)]

        process.kill()

        assert all(rank.has_ended(0) for rank in ranks)
        assert "stopped" == ended(process).reason

    def test_killing_the_parent_ends_the_job(
        self, temporary: Path, watch: Callable[[int], Watched]
    ) -> None:
        script = temporary / "parent.py"
        script.write_text(MPI_PARENT)
        popen = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert popen.stdout is not None
        lines = [popen.stdout.readline().split() for _ in range(3)]
        ranks = [watch(int(words[1])) for words in lines if words[0] == "rank"]
        owner = next(words for words in lines if words[0] == "parent")
        guards = watch(int(owner[1]))

        popen.kill()

        assert 2 == len(ranks)
        assert all(rank.has_ended() for rank in ranks)
        assert guards.has_ended()
        assert not Path(owner[2]).exists()
        assert not (guard.SHARED_MEMORY / Path(owner[2]).name).exists()
        popen.communicate(timeout=10)  # ends when nothing of the job holds the pipe


MPI_PARENT = """
import os, threading
from tadka.launch.launcher import ProcessSpec
from tadka.launch.local import LocalLauncher

def work():
    from mpi4py import MPI
    MPI.COMM_WORLD.Barrier()
    os.write(1, f"rank {os.getpid()}\\n".encode())
    threading.Event().wait()

launcher = LocalLauncher()
process = launcher.start(ProcessSpec(name="a", entry=work, num_ranks=2))
os.write(1, f"parent {launcher._guard.pid} {launcher.directory}\\n".encode())
threading.Event().wait()
"""
