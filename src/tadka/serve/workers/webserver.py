"""HTTP/1.1 of the fallback: a thread for each connection, within the limits of the settings."""

import contextlib
import io
import json
import re
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tadka.serve.answer.call import JSON, MODELS, REQUEST_ID, Call, is_request_id
from tadka.serve.config import ServeConfig
from tadka.serve.tally import Tally
from tadka.serve.workers.combiner import Combiner

MAX_CONNECTIONS = 256
"""Open at a time: each has a thread."""

_MAX_LINE_BYTES = 1 << 16
_NUMBER = re.compile(r"[0-9]{1,18}\Z")


class WebServer(ThreadingHTTPServer):
    """Takes connections and answers their requests.

    Args:
        combiner: What answers.
        tally: Where connections are counted.
        config: Of the server.
        address: Host and port to bind, with SO_REUSEPORT.
        family: Of the address.

    Raises:
        OSError: The port cannot be bound.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_port = True
    request_queue_size = 1024

    def __init__(
        self,
        combiner: Combiner,
        tally: Tally,
        config: ServeConfig,
        address: tuple[str, int],
        family: socket.AddressFamily,
    ) -> None:
        self.address_family = family
        self.combiner = combiner
        self.config = config
        self.is_draining = False
        self._tally = tally
        self._max_connections = min(config.max_connections, MAX_CONNECTIONS)
        self._open: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, Connection)

    def server_bind(self) -> None:
        """Binds, without asking the resolver for the name of this host."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def start(self) -> None:
        """Answers from now on, in threads of its own."""
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="tadka-http", daemon=True
        ).start()

    def drain(self, grace_s: float) -> None:
        """Takes no new requests, and waits for the answers of those that are there.

        Args:
            grace_s: How long at most.
        """
        self.is_draining = True
        self.shutdown()
        self.server_close()
        with self._changed:
            for idle in self._open - self._busy:
                _hang_up(idle)
            self._changed.wait_for(lambda: not self._busy, grace_s)
            for late in self._open:
                _hang_up(late)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a connection, unless there are too many."""
        with self._changed:
            is_full = len(self._open) >= self._max_connections
            if not is_full:
                self._open.add(request)
                self._tally.add("opened")
        if is_full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        """Forgets a connection."""
        with self._changed:
            if request in self._open:
                self._open.discard(request)
                self._busy.discard(request)
                self._tally.add("closed")
                self._changed.notify_all()
        super().close_request(request)

    def set_busy(self, request: Any, *, is_busy: bool) -> None:
        """Notes whether a connection waits for an answer."""
        with self._changed:
            if is_busy:
                self._busy.add(request)
            else:
                self._busy.discard(request)
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that leave in the middle."""


class Connection(BaseHTTPRequestHandler):
    """One connection and its requests, one after the other."""

    server: WebServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Puts a clock on what is read."""
        super().setup()
        config = self.server.config
        self._input = _Input(self.connection, config.idle_s, config.header_s)
        self.rfile = io.BufferedReader(self._input, _MAX_LINE_BYTES)

    def handle_one_request(self) -> None:
        """Reads one request and answers it."""
        self.close_connection = True
        self._input.begin()
        try:
            self.raw_requestline = self.rfile.readline(_MAX_LINE_BYTES + 1)
            if not self.raw_requestline:
                return
            self.server.set_busy(self.connection, is_busy=True)
            if len(self.raw_requestline) > _MAX_LINE_BYTES:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            elif self.parse_request():
                self._answer()
        except OSError:  # the client left, or took too long
            self.close_connection = True
        finally:
            self.server.set_busy(self.connection, is_busy=False)

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            return
        arrived_ns = time.monotonic_ns()
        path, _, query = self.path.partition("?")
        request_id = self.headers.get(REQUEST_ID, "")
        reply = self.server.combiner.ask(
            Call(
                "http",
                self.command,
                path,
                query,
                self.headers.get("content-type", ""),
                request_id if is_request_id(request_id) else "",
                self.headers.get(MODELS, ""),
                body,
                arrived_ns,
                arrived_ns + self.server.config.deadline_ms * 1_000_000,
            )
        )
        self._send(reply.status, reply.content_type, reply.body)

    def _body(self) -> bytes | None:
        """The body of the request; None where it was refused."""
        lengths = self.headers.get_all("content-length", [])
        if "transfer-encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "Send content-length, not chunks.")
        elif len(lengths) > 1 or (lengths and not _NUMBER.match(lengths[0])):
            self.send_error(HTTPStatus.BAD_REQUEST, f"The content-length is {lengths}.")
        elif lengths and int(lengths[0]) > self.server.config.max_message_bytes:
            self.send_error(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body has {int(lengths[0]):,} bytes; at most "
                f"{self.server.config.max_message_bytes:,} are taken.",
            )
        else:
            size = int(lengths[0]) if lengths else 0
            body = self.rfile.read(size)
            return body if len(body) == size else None
        return None

    def _send(self, code: int, content_type: str, body: bytes) -> None:
        if self.server.is_draining:
            self.close_connection = True
        head = (
            f"HTTP/1.1 {code} {_phrase(code)}\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(body)}\r\n"
        )
        if self.close_connection:
            head += "connection: close\r\n"
        elif self.request_version == "HTTP/1.0":
            head += "connection: keep-alive\r\n"
        # In one piece: the second of two small ones would wait for the client's acknowledgement.
        self.wfile.write(f"{head}\r\n".encode("latin-1") + body)

    def send_error(self, code: int, message: str | None = None, _: str | None = None) -> None:
        """Refuses a request that is no HTTP, and closes the connection.

        Args:
            code: Of HTTP.
            message: What is wrong; None for the phrase of the code.
        """
        self.close_connection = True
        body = json.dumps({"error": message or _phrase(code)}).encode()
        self._send(code, JSON, body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Writes nothing: counters say what happens."""


class _Input(io.RawIOBase):
    """What a client sends: silence may last one time, a request another.

    Args:
        connection: Of the client.
        idle_s: Until the first byte of a request.
        request_s: From then on until its last.
    """

    def __init__(self, connection: socket.socket, idle_s: float, request_s: float) -> None:
        self._connection = connection
        self._idle_s = idle_s
        self._request_s = request_s
        self._is_idle = True
        self._end = 0.0
        self.begin()

    def begin(self) -> None:
        """Waits for a request anew."""
        self._is_idle = True
        self._end = time.monotonic() + self._idle_s

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads what is there, or raises TimeoutError."""
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        size = self._connection.recv_into(buffer)
        if self._is_idle:
            self._is_idle = False
            self._end = time.monotonic() + self._request_s
        self._connection.settimeout(self._request_s)  # of the answer, which the client must take
        return size


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Error"


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has gone already
        connection.shutdown(socket.SHUT_RDWR)
