"""The transport under clients that others wrote, and as its caller sees it."""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import grpc
import numpy as np
import pytest
from hyperframe.frame import HeadersFrame

import tests.unit.serve.frames as http2
from tadka.core.error import ConfigError
from tadka.serve.board import WORKER, Board
from tadka.serve.transport import RawCall, Transport, library_version, now_ns
from tests.unit.serve.echo import Echo, Peer, SanitizedEcho, ThreadEcho
from tests.unit.serve.frames import Http2Peer

SECOND = 1_000_000_000


@pytest.fixture(
    params=[
        "thread",
        pytest.param("sanitized", marks=[pytest.mark.needs_compiler, pytest.mark.needs_http2]),
    ]
)
def echo(request: pytest.FixtureRequest) -> Iterator[Echo]:
    made = ThreadEcho() if request.param == "thread" else SanitizedEcho()
    yield made
    made.stop()


@pytest.fixture
def channel(echo: Echo) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{echo.port}", options=options) as channel:
        yield channel


class Line:
    """One connection to a transport that the test itself turns, step by step."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        theirs, self.socket = socket.socketpair()
        self.socket.settimeout(30)
        assert transport.adopt(theirs.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def take(self, said: bytes) -> RawCall:
        """Sends a request; gives what the transport makes of it."""
        self.socket.sendall(said)
        self.transport.poll_once(10)
        call = self.transport.take_call()
        assert call is not None
        return call

    def read(self) -> bytes:
        self.transport.flush_all()
        return self.socket.recv(1 << 16)


@pytest.fixture
def line() -> Iterator[Line]:
    with Line(Transport(deadline_ms=1500)) as line:
        yield line


def grpc_request(*extra: tuple[str, str], path: str = "/a.B/C", body: bytes = b"hello") -> bytes:
    return http2.PREFACE + http2.settings() + http2.request(1, path, body, extra)


# -------------------------------------------------------------------- grpcio


@pytest.mark.parametrize("size", [0, 1, 570, 571, 572, 5000, 16_379, 70_000, 4 << 20])
def test_grpcio_gets_its_message_back(channel: grpc.Channel, size: int) -> None:
    body = np.random.default_rng(size).bytes(size)
    call = channel.unary_unary("/a.B/C")
    assert call(body, timeout=30, metadata=(("x-request-id", "7"), ("tadka-models", "a,b"))) == body


def test_grpcio_may_have_many_calls_open(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/a.B/C")
    futures = [call.future(b"%d" % number, timeout=30) for number in range(2000)]
    assert [future.result() for future in futures] == [b"%d" % number for number in range(2000)]


@pytest.mark.parametrize("text", ["", "not there", "Größe 100% größer als ☃", "a\nb", " x "])
def test_grpcio_reads_status_and_text_of_an_error(channel: grpc.Channel, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/error")(text.encode(), timeout=30)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == text


def test_a_long_text_of_an_error_is_cut_between_characters(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/error")(("x" + "ü" * 2000).encode(), timeout=30)
    assert caught.value.details() == "x" + "ü" * 511


def test_grpcio_is_told_that_its_message_is_too_large(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/a.B/C")(b"x" * ((4 << 20) + 1), timeout=30)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert channel.unary_unary("/a.B/C")(b"next", timeout=30) == b"next"


def test_grpcio_is_told_that_compression_is_not_spoken(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/a.B/C")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"x" * 5000, timeout=30, compression=grpc.Compression.Gzip)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_grpcio_with_two_messages_is_refused(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary("/a.B/C")(iter([b"one", b"two"]), timeout=30)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_deadline_of_grpcio_ends_a_held_call(channel: grpc.Channel, echo: Echo) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/hold")(b"x", timeout=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert channel.unary_unary("/release")(b"", timeout=30) in {b"1 1", b"0 0"}


def test_grpcio_finishes_its_calls_through_a_drain(channel: grpc.Channel, echo: Echo) -> None:
    held = channel.unary_unary("/hold").future(b"x", timeout=30)
    with Peer(echo.port) as other:
        while echo.counts()["requests"] < 1:
            pass
        # The drain closes connections without requests: this one has begun one.
        other.send(b"POST /release HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        while echo.counts()["bytes_in"] < 1 or echo.counts()["connections"] < 2:
            pass
        other.send(b"x")
        other.read_until(b"1 0")
    assert held.result() == b"x"
    echo.drain()
    while echo.counts()["connections"]:
        pass


# -------------------------------------------------------------------- curl, nghttp, h2load


def run(*command: str, given: bytes = b"") -> bytes:
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60).stdout


@pytest.mark.needs_http2
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
class TestCurl:
    def curl(self, echo: Echo, version: str, *words: str, given: bytes = b"") -> bytes:
        url = f"http://127.0.0.1:{echo.port}/echo?a=b"
        return run("curl", "-sS", "--noproxy", "*", version, *words, url, given=given)

    def test_posts(self, echo: Echo, version: str) -> None:
        body = os.urandom(1 << 20)
        assert self.curl(echo, version, "--data-binary", "@-", given=body) == body

    def test_gets(self, echo: Echo, version: str) -> None:
        said = self.curl(echo, version, "-i")
        assert re.match(rb"HTTP/(1.1 200 OK|2 200)", said)
        assert b"content-length: 0" in said.lower()

    def test_asks_for_the_head(self, echo: Echo, version: str) -> None:
        assert b"content-type: text/plain" in self.curl(echo, version, "-I").lower()

    def test_sends_without_a_length(self, echo: Echo, version: str) -> None:
        body = os.urandom(100_000)
        words = ["-T", "-", "-X", "POST"]
        if version == "--http1.0":  # which has no chunks
            words = ["--data-binary", "@-"]
        assert self.curl(echo, version, *words, given=body) == body

    def test_is_refused_in_http(self, echo: Echo, version: str) -> None:
        said = self.curl(echo, version, "-H", "a: " + "x" * 40_000, "-w", "%{http_code}")
        assert said.endswith(b"431")


@pytest.mark.needs_http2
def test_h2load_gets_every_answer(echo: Echo, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(http2.message(os.urandom(234)))
    words = ["-n", "20000", "-c", "4", "-m", "32", "-H", "content-type: application/grpc"]
    said = run("h2load", *words, "-d", str(body), f"http://127.0.0.1:{echo.port}/a.B/C")
    assert b"20000 succeeded, 0 failed, 0 errored" in said
    assert echo.counts()["requests"] == 20_000


@pytest.mark.needs_http2
def test_nghttp_sends_padding_and_trailers(echo: Echo, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(http2.message(b"hello"))
    words = ["--padding=200", "--trailer", "t: x", "-H:method: POST"]
    words += ["-H", "content-type: application/grpc", "-d", str(body), "--header-table-size=0"]
    assert run("nghttp", *words, f"http://127.0.0.1:{echo.port}/a.B/C") == http2.message(b"hello")


# -------------------------------------------------------------------- the start of a connection


def test_an_http2_request_may_be_split_at_every_byte(echo: Echo) -> None:
    said = http2.PREFACE + http2.settings() + http2.request(1, "/a.B/C", b"hello")
    for at in range(1, len(said)):
        with Http2Peer(echo.port) as peer:
            peer.send(said[:at])
            echo.counts()  # the server has looked meanwhile
            peer.send(said[at:])
            assert peer.read_answer(1).body == http2.message(b"hello")
    with Http2Peer(echo.port) as peer:
        for at in range(len(said)):
            peer.send(said[at : at + 1])
        assert peer.read_answer(1).status == 0


def test_a_header_block_may_come_in_parts(echo: Echo) -> None:
    block = http2.block("/a.B/C")
    parts = [HeadersFrame(1, block[:3]).serialize()]
    parts += [http2.continuation(1, block[at : at + 1]) for at in range(3, 10)]
    with Http2Peer(echo.port) as peer:
        peer.start(*parts, http2.continuation(1, block[10:], end=True))
        peer.send(http2.data(1, http2.message(b"hello")))
        assert peer.read_answer(1).body == http2.message(b"hello")


@pytest.mark.parametrize("at", [1, 2, 3, 4, 14, 23])
def test_a_start_that_only_looks_like_http2_is_http1(echo: Echo, at: int) -> None:
    with Peer(echo.port) as peer:
        peer.send(http2.PREFACE[:at] + b"X / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert peer.read_all().startswith(b"HTTP/1.1 ")


# -------------------------------------------------------------------- what the caller sees


def test_a_grpc_call_shows_what_was_sent(line: Line) -> None:
    extra = (("x-request-id", "id 7~"), ("tadka-models", "ctr,cvr"), ("grpc-timeout", "20S"))
    before = now_ns()
    call = line.take(grpc_request(*extra))
    assert (call.protocol, call.method, call.path, call.query) == ("grpc", "POST", "/a.B/C", "")
    assert (call.content_type, call.body) == ("application/grpc", b"hello")
    assert (call.request_id, call.models, call.is_gone) == ("id 7~", "ctr,cvr", False)
    assert before <= call.arrived_ns <= now_ns()
    assert call.deadline_ns == call.arrived_ns + 20 * SECOND
    assert line.transport.taken == 1
    call.answer_grpc(0, message=b"bye")
    assert line.transport.taken == 0
    assert http2.message(b"bye") in line.read()


def test_an_http_call_shows_what_was_sent(line: Line) -> None:
    call = line.take(
        b"PUT /a/%20b?c=d&e HTTP/1.1\r\nhost: x\r\nCONTENT-TYPE: application/json; x=y\r\n"
        b"X-Request-ID:\t7 \r\ntadka-models: ctr\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert (call.protocol, call.method) == ("http", "PUT")
    assert (call.path, call.query) == ("/a/%20b", "c=d&e")
    assert (call.content_type, call.body) == ("application/json; x=y", b"{}")
    assert (call.request_id, call.models) == ("7", "ctr")
    assert call.deadline_ns == call.arrived_ns + 1_500_000_000
    call.answer_http(418, "text/plain", b"tea")
    assert line.read().endswith(b"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\ntea")


@pytest.mark.parametrize(
    ("content_type", "protocol"),
    [
        ("application/grpc", "grpc"),
        ("application/grpc+proto", "grpc"),
        ("application/grpc;x=y", "grpc"),
        ("application/grpc+proto; x=y", "grpc"),
        ("application/grpc-web", "http"),
        ("application/grpc+json", "http"),
        ("application/json", "http"),
    ],
)
def test_the_content_type_tells_the_protocol(line: Line, content_type: str, protocol: str) -> None:
    start = http2.PREFACE + http2.settings()
    head = http2.headers(1, "/a?b", (("content-type", content_type),))
    call = line.take(start + head + http2.data(1, http2.message(b"hello")))
    assert call.protocol == protocol
    assert (call.path, call.query) == (("/a?b", "") if protocol == "grpc" else ("/a", "b"))


@pytest.mark.parametrize("bad", ["", "x" * 129, "caf\xc3\xa9", "tab\there"])
def test_a_request_id_that_cannot_be_shown_is_left_out(line: Line, bad: str) -> None:
    said = f"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: {bad}\r\n\r\n"
    assert line.take(said.encode("latin-1")).request_id == ""


@pytest.mark.parametrize(
    ("timeout", "span_ns"),
    [
        ("1H", 3600 * SECOND),
        ("2M", 120 * SECOND),
        ("3S", 3 * SECOND),
        ("40m", 40_000_000),
        ("50u", 50_000),
        ("99999999n", 99_999_999),
        ("0S", 1),
        ("99999999H", (1 << 64) // 4 - 1),
    ],
)
def test_timeouts_become_deadlines(line: Line, timeout: str, span_ns: int) -> None:
    call = line.take(grpc_request(("grpc-timeout", timeout)))
    assert abs(call.deadline_ns - call.arrived_ns - span_ns) <= 1


def test_no_deadline_where_neither_side_gives_one() -> None:
    with Line(Transport(deadline_ms=0)) as line:
        assert line.take(grpc_request()).deadline_ns == 0


def test_a_call_is_answered_once(line: Line) -> None:
    call = line.take(grpc_request())
    with pytest.raises(RuntimeError, match="gRPC request"):
        call.answer_http(200)
    call.answer_grpc(0)
    with pytest.raises(RuntimeError, match="answered"):
        call.answer_grpc(0)
    with pytest.raises(RuntimeError, match="answered"):
        _ = call.body


def test_a_call_that_is_dropped_is_answered_with_an_error(line: Line) -> None:
    line.take(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert line.transport.taken == 0
    assert line.read().startswith(b"HTTP/1.1 500 ")


def test_calls_come_in_the_order_of_their_arrival() -> None:
    transport = Transport()
    lines = [Line(transport) for _ in range(20)]
    for number, line in enumerate(lines):
        line.socket.sendall(grpc_request(body=b"%d" % number))
        transport.poll_once(10)
    assert transport.waiting == 20
    calls = [transport.take_call() for _ in lines]
    assert [call and call.body for call in calls] == [b"%d" % number for number in range(20)]
    arrivals = [call.arrived_ns for call in calls if call]
    assert arrivals == sorted(arrivals)
    for line in lines:
        line.socket.close()


def test_poll_tells_of_watched_descriptors_and_does_not_wait_for_waiting_calls(line: Line) -> None:
    reading, writing = os.pipe()
    line.transport.watch(reading, 3)
    os.write(writing, b"x")
    assert line.transport.poll_once(10) == 8
    assert line.transport.poll_once(10) == 8  # until it is read
    line.transport.watch(-1, 3)
    line.socket.sendall(grpc_request())
    assert line.transport.poll_once(10) == 0
    assert line.transport.waiting == 1
    assert line.transport.poll_once(None) == 0
    os.close(reading)
    os.close(writing)


def test_echo_answers_until_it_is_told_to_end() -> None:
    transport = Transport()
    wake = os.eventfd(0)
    transport.watch(wake, 0)
    num: list[int] = []
    with Line(transport) as line:
        thread = threading.Thread(target=lambda: num.append(transport.echo(0)))
        thread.start()
        for _ in range(3):
            line.socket.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            assert line.socket.recv(1 << 16).endswith(b"\r\n\r\nhi")
        os.eventfd_write(wake, 1)
        thread.join()
    os.close(wake)
    assert num == [3]


def test_counters_are_written_where_they_are_wanted() -> None:
    board = Board(2)
    with Line(Transport(board.workers[1:2])) as line:
        line.take(grpc_request()).answer_grpc(0)
        line.read()
    slot = board.workers[1]
    assert (slot["opened"], slot["requests"], slot["closed"]) == (1, 1, 0)
    assert slot["bytes_in"] == len(grpc_request())
    assert slot["bytes_out"] > 0
    assert line.transport.counts()["bytes_out"] == slot["bytes_out"]
    assert board.workers[0] == np.zeros((), WORKER)


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_streams": 0}, "max_streams is 0"),
        ({"idle_s": 1.5}, "idle_s is 1.5"),
        ({"max_queue": 1 << 40}, "max_queue"),
        ({"max_message_bytes": (1 << 30) + 1}, "max_message_bytes"),
        ({"max_dreams": 1}, "max_dreams.*max_streams"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Transport(**limits)  # type: ignore[arg-type]


def test_a_small_or_read_only_buffer_is_refused() -> None:
    with pytest.raises(ConfigError, match="8 bytes"):
        Transport(bytearray(8))
    with pytest.raises(BufferError):
        Transport(bytes(1000))


def test_what_cannot_be_watched_is_refused(line: Line, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="slot 4"):
        line.transport.watch(0, 4)
    with (tmp_path / "file").open("w") as file, pytest.raises(ConfigError, match="cannot be watch"):
        line.transport.watch(file.fileno(), 1)


def test_the_version_of_the_library_is_told() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", library_version())


def test_a_closed_connection_ends_for_its_client_though_a_child_still_holds_the_socket() -> None:
    transport = Transport()
    client, server = socket.socketpair()
    with client, socket.socket(fileno=os.dup(server.fileno())) as held:
        descriptor = server.detach()
        os.set_inheritable(descriptor, True)
        assert transport.adopt(descriptor)
        assert not os.get_inheritable(descriptor)
        client.settimeout(30)
        client.sendall(http2.PREFACE)
        transport.poll_once(1)
        transport.flush_all()
        client.shutdown(socket.SHUT_WR)  # HTTP/2: the client has gone
        while transport.connections:
            transport.poll_once(1)
            transport.flush_all()
        while client.recv(4096):
            pass  # settings, then the end
        assert held.fileno() >= 0
        assert transport.poll_once(0) == 0
