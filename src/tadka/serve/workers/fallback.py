"""The server where the compiled one was not built: grpcio for gRPC, the standard library for HTTP.

It gives the same answers by the same handler, some thirty times slower. Each worker binds to the
ports itself; the kernel spreads connections over the workers.
"""

import logging
import select
import socket
import threading
import time
from typing import Any

from tadka.core.error import LaunchError
from tadka.core.extra import require
from tadka.serve.answer.call import MODELS, OK, REQUEST_ID, Call, is_request_id
from tadka.serve.answer.handler import Handler
from tadka.serve.config import ServeConfig
from tadka.serve.workers.combiner import Combiner
from tadka.serve.workers.threads import Threads
from tadka.serve.workers.webserver import WebServer

NUM_THREADS = 4

_FOREVER_S = 1e8  # grpcio says so many seconds, or more, where a client sent no deadline
_LOOK_S = 1.0

_logger = logging.getLogger("tadka.serve")


class Fallback:
    """One worker's server; it listens from when it is made.

    Args:
        handler: What answers.
        config: Of the server; its ports are bound with SO_REUSEPORT.

    Attributes:
        port: Of gRPC.
        http_port: Of HTTP.

    Raises:
        MissingExtra: grpcio is not there.
        LaunchError: A port cannot be bound.
    """

    def __init__(self, handler: Handler, config: ServeConfig) -> None:
        grpc = require("grpc", extra="serve")
        self._handler = handler
        self._config = config
        self._combiner = Combiner(handler)
        self._combiner.look()
        self._ended = threading.Event()
        self._door = _Door(grpc, self._combiner, config)
        host, family = _address(config.host)
        self._server = grpc.server(
            Threads(NUM_THREADS, "tadka-grpc"),
            handlers=(self._door,),
            options=_options(config),
            maximum_concurrent_rpcs=config.max_queue,
        )
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        try:
            self.port: int = self._server.add_insecure_port(f"{shown}:{config.port}")
        except RuntimeError as error:
            raise LaunchError(
                f"Port {config.port} of {host!r} cannot be bound: {error}."
            ) from error
        try:
            self._web = WebServer(
                self._combiner, handler.tally, config, (host, config.wanted_http_port), family
            )
        except OSError as error:
            self._server.stop(None)
            raise LaunchError(
                f"Port {config.wanted_http_port} of {host!r} cannot be bound: {error.strerror}."
            ) from error
        self.http_port: int = self._web.server_address[1]
        self._server.start()
        self._web.start()
        self._keeper = threading.Thread(target=self._keep, name="tadka-keeper", daemon=True)
        self._keeper.start()

    def run(self, control: socket.socket) -> None:
        """Serves until the parent says that it shall drain, or is dead.

        Args:
            control: The worker's end of the socket to the parent.
        """
        control.setblocking(True)
        said = b"?"
        while said and said[:1] != b"d":
            select.select([control], [], [])
            try:
                said = control.recv(64)
            except ConnectionError:
                said = b""
        self.drain(self._config.grace_s if said else 0)

    def drain(self, grace_s: float) -> None:
        """Takes no new requests, and ends when those that are there are answered.

        Args:
            grace_s: How long they may take.
        """
        end = time.monotonic() + grace_s
        self._handler.is_draining = True
        stopped = self._server.stop(grace_s)
        self._web.drain(max(end - time.monotonic(), 0))
        stopped.wait()
        self._ended.set()
        self._combiner.has_shadows.set()
        self._keeper.join()

    def _keep(self) -> None:
        """What is done beside requests: shadows, and a look at the store."""
        looked = time.monotonic()
        while not self._ended.is_set():
            if self._combiner.has_shadows.wait(_LOOK_S):
                self._combiner.run_shadows()
                time.sleep(0)  # whoever waits for the lock comes first
            if time.monotonic() - looked >= _LOOK_S:
                looked = time.monotonic()
                try:
                    self._combiner.look()
                except Exception:  # a store that cannot be read now; the next look may see it
                    _logger.exception("The store cannot be looked at.")


def _options(config: ServeConfig) -> list[tuple[str, int | str]]:
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.optimization_target", "throughput"),
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_concurrent_streams", config.max_streams),
        ("grpc.max_connection_idle_ms", min(round(config.idle_s * 1000), 2**31 - 1)),
        ("grpc.compression_enabled_algorithms_bitset", 1),  # none, as in the compiled server
    ]


def _address(host: str) -> tuple[str, socket.AddressFamily]:
    """The first address of a host, which the parent holds."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return str(found[0][4][0]), found[0][0]


class _Door:
    """What grpcio asks for a handler of every call, whatever its path."""

    def __init__(self, grpc: Any, combiner: Combiner, config: ServeConfig) -> None:
        self.ask = combiner.ask
        self.deadline_ns = config.deadline_ms * 1_000_000
        self.codes = {code.value[0]: code for code in grpc.StatusCode}

    def service(self, details: Any) -> "_Asked":
        return _Asked(self, details)


class _Asked:
    """A method handler as grpcio wants it, of one call: bytes in, bytes out."""

    __slots__ = ("_arrived_ns", "_details", "_door")

    request_streaming = response_streaming = False
    request_deserializer = response_serializer = None
    unary_stream = stream_unary = stream_stream = None

    def __init__(self, door: _Door, details: Any) -> None:
        self._door = door
        self._details = details
        self._arrived_ns = time.monotonic_ns()

    def unary_unary(self, message: bytes, context: Any) -> bytes:
        """Answers the call in one of the threads; it may have waited for one."""
        door, arrived_ns = self._door, self._arrived_ns
        request_id = models = ""
        for key, value in self._details.invocation_metadata:
            if key == REQUEST_ID:
                request_id = value if is_request_id(value) else ""
            elif key == MODELS:
                models = value
        left_s = context.time_remaining()
        if left_s is None or left_s > _FOREVER_S:
            deadline_ns = arrived_ns + door.deadline_ns
        else:
            deadline_ns = time.monotonic_ns() + int(left_s * 1e9)
        reply = door.ask(
            Call(
                "grpc",
                "POST",
                self._details.method,
                "",
                "application/grpc",
                request_id,
                models,
                message,
                arrived_ns,
                deadline_ns,
            )
        )
        if reply.status != OK:
            context.abort(door.codes[reply.status], reply.message)  # raises
        return reply.body
