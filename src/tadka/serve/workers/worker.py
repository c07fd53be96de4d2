"""A worker process: models in memory, and one of the two servers in front of them.

The order of the steps matters: be sure to die with the parent, and only then load the user's code.
"""

import atexit
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from tadka.core.error import LaunchError, TadkaError
from tadka.launch.child import die_with
from tadka.serve.answer.handler import Handler
from tadka.serve.board import Board
from tadka.serve.log.ring import Ring
from tadka.serve.order import Order
from tadka.serve.process import (
    FAILURE_STATUS,
    LEAVES,
    READY,
    begin,
    failure_message,
    read_order,
)
from tadka.serve.store.custom import error_text
from tadka.serve.store.live import Live
from tadka.serve.store.store import Store
from tadka.serve.workers.backend import make_loop, nghttp2_version
from tadka.serve.workers.fallback import Fallback

_SWITCH_S = 0.0005


def main(head: Mapping[str, Any], order: BinaryIO) -> None:
    """Serves until the parent says otherwise, and ends this process.

    Args:
        head: Of the order; see `tadka.serve.process.Process`.
        order: Open where the rest of it begins.
    """
    control = begin(head)
    die_with(head["parent_pid"])
    # Blocked in this thread, and so in all that are started later, except for the one that waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_wait_for_end, args=(control,), daemon=True).start()
    try:
        with order:
            serve = _prepare(read_order(order), control)
        control.send(READY)
    except TadkaError as error:
        _give_up(control, error)
    # The process boundary: the user's modules and models raise what they like.
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        _give_up(
            control, LaunchError(f"A worker failed: {type(error).__name__}: {error_text(error)}")
        )
    try:
        # The collector need not look again and again at what was made before the first request.
        gc.collect()
        gc.freeze()
        serve()
    except BaseException:  # noqa: BLE001  the same
        traceback.print_exc()
        _end(1)
    _end(0)


def _prepare(order: Order, control: socket.socket) -> Callable[[], None]:
    """Loads everything; what it gives serves until it is told to drain."""
    config = order.config
    board = Board(config.num_workers, order.board)
    board.workers[order.index]["pid"] = os.getpid()
    ring = None if order.rings is None else Ring(order.rings, order.index)
    live = Live(Store(config.store), order.feature_class())
    handler = Handler(
        live,
        board,
        order.index,
        ring,
        config,
        transport=order.transport,
        nghttp2=nghttp2_version(),
    )
    if order.transport == "native":
        # The loop asks for the interpreter again and again, also while a new version is loaded.
        sys.setswitchinterval(_SWITCH_S)
        loop = make_loop(config, live, handler, board, order.index, ring)
        return lambda: loop.run(control)
    fallback = Fallback(handler, config)
    return lambda: fallback.run(control)


def _wait_for_end(control: socket.socket) -> None:
    """Tells the parent of a SIGTERM that was meant for this process alone; it says what to do."""
    signal.sigwait([signal.SIGTERM])
    with contextlib.suppress(OSError):
        control.send(LEAVES)


def _give_up(control: socket.socket, error: TadkaError) -> None:
    with contextlib.suppress(OSError):
        control.send(failure_message(error))
    _end(FAILURE_STATUS)


def _end(status: int) -> None:
    """Ends the process without waiting for threads that models have left."""
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(status)
