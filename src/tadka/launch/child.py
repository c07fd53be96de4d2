"""First code of every started process; the parent hands it an order as a JSON file.

The order of the steps matters: be sure to die with the parent, enter the memory limit, beat,
and only then load the user's function.
"""

import atexit
import contextlib
import ctypes
import faulthandler
import io
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from tadka.launch.memory import MemoryLimit
from tadka.launch.payload import read_payload

# For `python -c`: not `-m`, because only the parent's sys.path is sure to lead to this tadka, and
# PYTHONPATH should stay what it is for the programs that user code starts.
BOOTSTRAP = (
    "import json, sys; order = json.load(open(sys.argv[1], encoding='utf-8')); "
    "sys.path[:] = order['sys_path']; from tadka.launch.child import main; main(order)"
)

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_RANK = "OMPI_COMM_WORLD_RANK"
_LOCAL_RANK = "OMPI_COMM_WORLD_LOCAL_RANK"


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however the parent ends.

    Args:
        parent_pid: Who must still be the parent; if not, it died before we could ask.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def beat(descriptor: int, period_s: float) -> threading.Thread:
    """Write one byte to `descriptor` every `period_s` from a thread of its own."""

    def loop() -> None:
        pause = threading.Event()
        while True:
            # A full pipe means that nobody has read for hours: nothing to tell. A closed
            # one means that the parent is gone, and then so are we.
            with contextlib.suppress(BlockingIOError):
                try:
                    os.write(descriptor, b".")
                except BrokenPipeError:
                    os._exit(1)
            pause.wait(period_s)

    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    thread = threading.Thread(target=loop, name="heartbeat", daemon=True)
    thread.start()
    return thread


def main(order: dict[str, Any]) -> NoReturn:
    """Do as `order` says, and end this process: with 0, with the status of `sys.exit`, or with 1.

    An order with a `program` becomes that program (mpirun), which starts this again as its ranks.
    """
    rank = os.environ.get(_RANK) if order["num_ranks"] else None
    is_rank = rank is not None
    # A rank's parent is the MPI daemon.
    die_with(os.getppid() if is_rank else order["parent_pid"])
    if order["num_ranks"] and not is_rank:
        os.execv(order["program"][0], order["program"])  # noqa: S606
    ctypes.CDLL(None).prctl(_PR_SET_NAME, order["name"].encode(errors="replace")[:15])
    if order["beat_fd"] is not None:
        beat(order["beat_fd"], order["beat_s"])
    _tell_crashes(order["crash"] + (f".{rank}" if is_rank else ""))
    if is_rank and order["gpus"]:
        each = len(order["gpus"]) // order["num_ranks"]
        first = int(os.environ[_LOCAL_RANK]) * each
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(order["gpus"][first : first + each])
    if isinstance(sys.stdout, io.TextIOWrapper):  # it is None where the parent has closed it
        # Whole lines, at once: several processes share it, and a killed one flushes nothing.
        sys.stdout.reconfigure(line_buffering=True)
    sys.argv[:] = [order["name"]]
    limit = None if order["limit"] is None else MemoryLimit(**order["limit"])
    code = _call(order, limit, rank)
    # What multiprocessing, tempfile and tracking libraries do at the end. Not sys.exit: a torch
    # rank now and then aborts in teardown after its work is done.
    atexit._run_exitfuncs()  # noqa: SLF001
    if is_rank and code == 0:
        _finalize_mpi()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


def _call(order: dict[str, Any], limit: MemoryLimit | None, rank: str | None) -> int:
    """Run the user's function; 0, or its exit status after telling the parent why."""
    try:
        if limit is not None:
            limit.enter()
        entry, args = read_payload(order["payload"])
        entry(*args)
    except SystemExit as error:
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        _tell(order, "exit", f"exit status 1: {error.code}")
        return 1
    # The process boundary: everything is told to the parent.
    except BaseException as error:  # noqa: BLE001
        if limit is not None:
            limit.relax()  # room for the message
        text = io.StringIO()
        if rank is not None:
            text.write(f"Rank {rank}:\n")
        traceback.print_exception(error, file=text)
        _tell(order, "memory" if _is_about_memory(error) else "error", text.getvalue())
        return 1
    return 0


def _tell(order: dict[str, Any], kind: str, text: str) -> None:
    """Leave the reason for the parent; of several ranks, the first is heard."""
    aside = Path(f"{order['error']}.{os.getpid()}")
    try:
        aside.write_text(json.dumps({"kind": kind, "text": text}), encoding="utf-8")
        with contextlib.suppress(FileExistsError):
            os.link(aside, order["error"])
        aside.unlink()
    except OSError:  # a full disk: somebody may read it here
        with contextlib.suppress(OSError, AttributeError):
            sys.stderr.write(text)


def _is_about_memory(error: BaseException) -> bool:
    # torch has no MemoryError of its own on a CPU.
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def _tell_crashes(path: str) -> None:
    """Write the Python stack to `path` if a signal such as SIGSEGV ends this process."""
    try:
        # Open for as long as the process lives.
        file = Path(path).open("wb")  # noqa: SIM115
    except OSError:
        if sys.stderr is not None:
            faulthandler.enable()
    else:
        faulthandler.enable(file=file)


def _finalize_mpi() -> None:
    """What mpi4py does at a normal end; without it mpirun takes the rank for dead."""
    mpi: Any = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()
