"""Servers that send back what they get: one on Transport in a thread, one in C under sanitizers.

Both know some paths: `/hold` keeps a request until `/release` comes, which tells how many were
kept and how many of their clients had gone; `/big` answers as many bytes as its body says;
`/error` answers a gRPC request with NOT_FOUND and its body as text.
"""

import functools
import os
import queue
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

from tadka.serve.transport import LIMITS, RawCall, Transport

ROOT = Path(__file__).parents[3]
COUNTS = (
    *("opened", "closed", "bytes_in", "bytes_out", "requests", "refused_size", "refused_queue"),
    *("malformed", "resets", "floods", "idle", "slow"),
)


class Echo(Protocol):
    port: int

    def counts(self) -> dict[str, int]:
        """The counters, and `connections` that are open."""

    def drain(self) -> None: ...

    def stop(self) -> None: ...


class ThreadEcho:
    def __init__(self, **limits: int) -> None:
        self.transport = Transport(**limits)  # type: ignore[arg-type]
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listening.setblocking(False)
        self.port: int = self.listening.getsockname()[1]
        self.wake = os.eventfd(0, os.EFD_CLOEXEC)
        self.held: list[RawCall] = []
        self.orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.transport.watch(self.wake, 0)
        self.transport.watch(self.listening.fileno(), 1)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while True:
            bits = self.transport.poll_once()
            if bits & 1:
                os.eventfd_read(self.wake)
                order = self.orders.get()
                if order is None:
                    return
                order()
            if bits & 2:
                self.accept()
            while (call := self.transport.take_call()) is not None:
                self.handle(call)
            self.transport.flush_all()

    def accept(self) -> None:
        while True:
            try:
                connected, _ = self.listening.accept()
            except BlockingIOError:
                return
            self.transport.adopt(connected.detach())

    def handle(self, call: RawCall) -> None:
        if call.path == "/hold":
            self.held.append(call)
        elif call.path == "/release":
            gone = sum(held.is_gone for held in self.held)
            answer(call, f"{len(self.held)} {gone}".encode())
            for held in self.held:
                answer(held, held.body)
            self.held.clear()
        elif call.path == "/big":
            answer(call, b"x" * (int(call.body) if call.body.isdigit() else 0))
        elif call.path == "/error" and call.protocol == "grpc":
            call.answer_grpc(5, call.body.decode(errors="replace"))
        else:
            answer(call, call.body)

    def do(self, order: Callable[[], None]) -> None:
        """Runs something in the thread and waits for it."""
        done = threading.Event()

        def run() -> None:
            order()
            done.set()

        self.orders.put(run)
        os.eventfd_write(self.wake, 1)
        assert done.wait(30)

    def counts(self) -> dict[str, int]:
        result: dict[str, int] = {}

        def look() -> None:
            result.update(self.transport.counts(), connections=self.transport.connections)

        self.do(look)
        return result

    def drain(self) -> None:
        self.do(self.transport.start_drain)

    def stop(self) -> None:
        self.orders.put(None)
        os.eventfd_write(self.wake, 1)
        self.thread.join()
        os.close(self.wake)
        self.listening.close()


def answer(call: RawCall, body: bytes) -> None:
    if call.protocol == "grpc":
        call.answer_grpc(0, "", body)
    else:
        call.answer_http(200, "text/plain", body)


@functools.cache
def sanitized() -> Path:
    """The server of echo.c, built with the address and undefined behaviour sanitizers."""
    folder = Path(tempfile.mkdtemp(prefix="tadka-echo-"))
    engine = ROOT / "src" / "tadka" / "serve" / "engine"
    names = ["memory", "stream", "loop", "http1", "http2"]
    sources = [engine / f"{name}.c" for name in names]
    flags = ["-std=c11", "-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
    flags += ["-fsanitize=address,undefined", f"-I{engine}", "-D_GNU_SOURCE"]
    command = ["gcc", *flags, *map(str, sources), str(Path(__file__).with_suffix(".c"))]
    subprocess.run([*command, "-lnghttp2", "-o", str(folder / "echo")], check=True)
    return folder / "echo"


class SanitizedEcho:
    def __init__(self, **limits: int) -> None:
        numbers = [str(limits.get(name, LIMITS[name])) for name in LIMITS]
        self.process = subprocess.Popen(
            [str(sanitized()), *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        assert self.process.stdout is not None
        self.lines = self.process.stdout
        self.port = int(self.lines.readline())

    def order(self, letter: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(letter)

    def counts(self) -> dict[str, int]:
        self.order(b"c")
        line = self.lines.readline()
        if not line:
            self.stop()
        return dict(zip((*COUNTS, "connections"), map(int, line.split()), strict=True))

    def drain(self) -> None:
        self.order(b"d")

    def stop(self) -> None:
        """Ends it; anything that a sanitizer found fails."""
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said.decode()


class Peer:
    """A client that sends and reads bytes as a test says.

    Args:
        port: Of a server on this machine.
        buffer_bytes: Of its receive buffer; None: as the system has it.
    """

    def __init__(self, port: int, *, buffer_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def try_send(self, data: bytes | bytearray) -> bool:
        """False where the server has closed."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def read(self) -> bytes:
        """What is there, at least a byte; nothing at the end."""
        try:
            return self.socket.recv(1 << 16)
        except ConnectionResetError:
            return b""

    def read_all(self) -> bytes:
        """Until the server closes."""
        result = b""
        while data := self.read():
            result += data
        return result

    def read_until(self, mark: bytes) -> bytes:
        """Until the mark ends what was read."""
        result = b""
        while not result.endswith(mark):
            data = self.read()
            assert data, result
            result += data
        return result

    def reset(self) -> None:
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
