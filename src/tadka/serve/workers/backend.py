"""Which of the two servers runs: the compiled one, or grpcio where that was not built."""

import math
import os
import warnings
from typing import Any, Literal

import numpy as np

from tadka.core.error import ConfigError, MissingExtra
from tadka.core.extra import require
from tadka.serve.answer.handler import Handler
from tadka.serve.board import Board
from tadka.serve.config import ServeConfig
from tadka.serve.log.ring import Ring
from tadka.serve.store.live import Live

missing = ""
"""Why the compiled server cannot run; "" where it can."""

try:
    import tadka.serve.loop as native_loop
    import tadka.serve.transport as native_transport
except ImportError as error:
    missing = str(error)

_MAX_HEADER_BYTES = 64 << 10
_MAX_BUFFERED_BYTES = 256 << 20
_WRITE_S = 30
CURE = "Install libnghttp2 (apt-get install libnghttp2-dev) and then tadka again, or a wheel"
"""What helps where compiled modules are missing, to be put at the end of a message."""


def nghttp2_version() -> str:
    """Of the library that the compiled server runs on; "" without it."""
    version: str = "" if missing else native_transport.library_version()
    return version


def make_loop(
    config: ServeConfig, live: Live, handler: Handler, board: Board, worker: int, log: Ring | None
) -> Any:
    """The compiled server of one worker, to be run on the control socket.

    Args:
        config: Its limits.
        live: What is served.
        handler: For what the loop does not answer itself.
        board: Counters of all workers.
        worker: Number of this one.
        log: Where sampled rows go, or None.
    """
    transport = native_transport.Transport(
        board.workers[worker : worker + 1].view(np.uint8),
        max_message_bytes=config.max_message_bytes,
        max_header_bytes=_MAX_HEADER_BYTES,
        max_connections=config.max_connections,
        max_streams=config.max_streams,
        max_queue=config.max_queue,
        max_buffered_bytes=max(_MAX_BUFFERED_BYTES, 4 * config.max_message_bytes),
        deadline_ms=config.deadline_ms,
        request_s=math.ceil(config.header_s),
        idle_s=math.ceil(config.idle_s),
        write_s=_WRITE_S,
    )
    return native_loop.Loop(transport, live, handler, board.counts(worker), log, config)


def choose_transport(config: ServeConfig) -> Literal["native", "grpcio"]:
    """The server that a configuration asks for and this installation has.

    Where `"auto"` finds no compiled server, one RuntimeWarning says why; `TADKA_NATIVE=0` in the
    environment chooses grpcio without it.

    Raises:
        ConfigError: The compiled server was asked for and is not there.
        MissingExtra: grpcio is needed and is not there either.
    """
    is_off = os.environ.get("TADKA_NATIVE") == "0"
    if config.transport == "native":
        if missing:
            raise ConfigError(f"Transport 'native' cannot run: {missing}. {CURE}.")
        return "native"
    if config.transport == "auto" and not missing and not is_off:
        return "native"
    try:
        require("grpc", extra="serve")
        require("google.protobuf", extra="serve")
    except MissingExtra as error:
        if config.transport == "auto" and not is_off:
            raise MissingExtra(
                f"The compiled server was not built ({missing}), and the other one cannot run: "
                f"{error} {CURE} for the compiled one.",
                name=error.name,
            ) from error
        raise
    if config.transport == "auto" and not is_off:
        warnings.warn(
            f"The compiled server was not built ({missing}): grpcio answers with equal scores, but "
            f"some thirty times slower. {CURE}. TADKA_NATIVE=0 turns this warning off.",
            RuntimeWarning,
            stacklevel=4,
        )
    return "grpcio"
