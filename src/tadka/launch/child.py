"""First code of every started process: ``python -m tadka.launch.child ORDER PAYLOAD``.

The order of the steps matters: be sure to die with the parent, enter the memory limit, beat,
and only then load the user's function.
"""

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

_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however the parent ends.

    Args:
        parent_pid: Who must still be the parent; if not, it died before we could ask.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
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
    thread = threading.Thread(target=loop, name="heartbeat", daemon=True)
    thread.start()
    return thread


def main(order_path: str, payload_path: str) -> int:
    """Run the function in `payload_path` as `order_path` says.

    Returns:
        0, or 1 after writing the traceback to the order's ``error`` file.
    """
    order = json.loads(Path(order_path).read_text())
    # An MPI rank's parent is the MPI daemon, which lives and dies with mpirun.
    die_with(order["parent_pid"] if not order["num_ranks"] else os.getppid())
    if not order["num_ranks"]:
        beat(order["beat_fd"], order["beat_s"])
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    sys.path[:] = order["sys_path"]
    try:
        if order["limit"] is not None:
            from tadka.launch.memory import MemoryLimit

            MemoryLimit(**order["limit"]).enter()
        import cloudpickle

        entry, args = cloudpickle.loads(Path(payload_path).read_bytes())
        entry(*args)
    except BaseException as error:  # the process boundary: everything is told to the parent
        if isinstance(error, SystemExit) and not error.code:
            return 0
        text = io.StringIO()
        traceback.print_exception(error, file=text)
        kind = "memory" if isinstance(error, MemoryError) else "error"
        with contextlib.suppress(OSError):
            aside = Path(f"{order['error']}.{os.getpid()}")
            aside.write_text(json.dumps({"kind": kind, "traceback": text.getvalue()}))
            aside.rename(order["error"])
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1], sys.argv[2])
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a torch rank now and then aborts in teardown after its work is done.
    os._exit(code)
