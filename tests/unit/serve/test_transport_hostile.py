"""What careless and hostile clients send: to the transport, and to the same C under sanitizers."""

import contextlib
import itertools
import json
import os
import random
import resource
from collections.abc import Callable, Iterator

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, PriorityFrame, SettingsFrame

import tests.unit.serve.frames as http2
from tests.unit.serve.echo import Echo, Peer, SanitizedEcho, ThreadEcho
from tests.unit.serve.frames import GRPC, Http2Peer

UNIMPLEMENTED, INTERNAL, RESOURCE_EXHAUSTED = 12, 13, 8
ENHANCE_YOUR_CALM, PROTOCOL_ERROR = 11, 1
Start = Callable[..., Echo]
SPOILT = int(os.environ.get("TADKA_SPOILT", "100"))  # connections of each seed


@pytest.fixture(
    params=[
        "thread",
        pytest.param("sanitized", marks=[pytest.mark.needs_compiler, pytest.mark.needs_http2]),
    ]
)
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts a server with these limits; stops it, and fails where it does not end well."""
    with contextlib.ExitStack() as started:

        def make(**limits: int) -> Echo:
            echo = ThreadEcho(**limits) if request.param == "thread" else SanitizedEcho(**limits)
            started.callback(echo.stop)
            return echo

        yield make


def wait_for(echo: Echo, is_reached: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """The counters as soon as they are as said; the server works between two looks."""
    while not is_reached(counts := echo.counts()):
        pass
    return counts


def is_well(echo: Echo) -> None:
    """Another client is served as always."""
    with Http2Peer(echo.port) as peer:
        peer.start()
        answer = peer.call(1, body=b"well")
        assert (answer.status, answer.body) == (0, http2.message(b"well"))


# -------------------------------------------------------------------- gRPC messages


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", UNIMPLEMENTED, "no message"),
        (b"\0", INTERNAL, "ends within"),
        (b"\0\0\0\0", INTERNAL, "ends within"),
        (b"\0\0\0\0\x05abcd", INTERNAL, "ends within"),
        (b"\0\0\0\0\x05abcdef", UNIMPLEMENTED, "exactly one message"),
        (http2.message(b"one") + http2.message(b"two"), UNIMPLEMENTED, "exactly one message"),
        (b"\1" + http2.message(b"packed")[1:], UNIMPLEMENTED, "compressed"),
        (b"\7" + http2.message(b"text")[1:], INTERNAL, "first byte"),
        (b"\0\xff\xff\xff\xffabc", RESOURCE_EXHAUSTED, "larger"),
    ],
)
def test_a_body_that_is_not_one_message_is_refused_with_a_status(
    start: Start, body: bytes, status: int, says: str
) -> None:
    echo = start()
    with Http2Peer(echo.port) as peer:
        peer.start(http2.headers(1), http2.data(1, body))
        answer = peer.read_answer(1)
        assert answer.headers[":status"] == "200"
        assert answer.status == status
        assert says in answer.text
        assert answer.body == b""
        assert peer.call(3).status == 0  # the connection goes on


def test_an_empty_message_is_a_message(start: Start) -> None:
    with Http2Peer(start().port) as peer:
        peer.start()
        answer = peer.call(1, body=b"")
        assert (answer.status, answer.body) == (0, http2.message(b""))


def test_a_message_over_the_limit_is_refused_before_it_is_sent(start: Start) -> None:
    echo = start(max_message_bytes=1000)
    with Http2Peer(echo.port) as peer:
        peer.start(http2.headers(1), http2.data(1, b"\0\0\0\x03\xe9", end=False))
        answer = peer.read_answer(1)
        assert answer.status == RESOURCE_EXHAUSTED
        while answer.error is None:  # and told not to send the rest
            assert peer.read_frame() is not None
        assert answer.error == 0
        assert peer.call(3, body=b"x" * 1000).status == 0
    assert echo.counts()["refused_size"] == 1


def test_an_http_body_over_the_limit_is_refused(start: Start) -> None:
    echo = start(max_message_bytes=1000)
    with Http2Peer(echo.port) as peer:
        peer.start(http2.headers(1, extra=()), http2.data(1, b"x" * 1001, end=False))
        answer = peer.read_answer(1)
        assert answer.headers[":status"] == "413"
        assert "larger" in json.loads(answer.body)["error"]


def test_one_connection_cannot_take_the_memory_of_all(start: Start) -> None:
    echo = start(max_buffered_bytes=8 << 20, max_message_bytes=1 << 20)
    part = http2.message(b"x" * (1 << 20))[: 700 << 10]
    with Http2Peer(echo.port) as peer:
        peer.start()
        for stream in (1, 3, 5, 7):
            peer.send(http2.headers(stream) + http2.data(stream, part, end=False))
        while not (refused := [answer for answer in peer.answers.values() if answer.headers]):
            assert peer.read_frame() is not None
        assert refused[0].status == RESOURCE_EXHAUSTED
        assert "unfinished" in refused[0].text
        is_well(echo)


# -------------------------------------------------------------------- headers


@pytest.mark.parametrize(
    ("extra", "status"), [(GRPC, "200"), ((("content-type", "text/plain"),), "431")]
)
def test_headers_over_the_limit_refuse_their_request_only(
    start: Start, extra: tuple[tuple[str, str], ...], status: str
) -> None:
    echo = start(max_header_bytes=4096)
    with Http2Peer(echo.port) as peer:
        peer.start(http2.headers(1, extra=(("a", "x" * 5000), *extra)))
        answer = peer.read_answer(1)
        assert answer.headers[":status"] == status
        if extra is GRPC:
            assert answer.status == RESOURCE_EXHAUSTED
        assert peer.call(3).status == 0
    assert echo.counts()["refused_size"] == 1


def test_headers_that_the_table_makes_huge_close_the_connection(start: Start) -> None:
    echo = start(max_header_bytes=4096)
    # One literal of 3,900 bytes into the table, then 4,000 references of one byte each: 15 MiB.
    literal = b"\x40\x01a" + b"\x7f" + bytes([0x80 | (3773 & 127), 3773 >> 7]) + b"x" * 3900
    bomb = HeadersFrame(1, literal + b"\xbe" * 4000, flags=["END_HEADERS"]).serialize()
    with Http2Peer(echo.port) as peer:
        peer.start(bomb)
        peer.read_to_end()
        assert [frame.error_code for frame in peer.goaways] == [ENHANCE_YOUR_CALM]
    assert echo.counts()["floods"] == 1
    is_well(echo)


def test_long_header_values_are_kept_whole(start: Start) -> None:
    path = "/" + "long" * 1000
    with Http2Peer(start().port) as peer:
        peer.start()
        ids = [("x-request-id", "i" * 128), ("tadka-models", "m" * 900)]
        peer.send(http2.request(1, path, b"hello", ids))
        assert peer.read_answer(1).body == http2.message(b"hello")


@pytest.mark.parametrize("timeout", ["", "1", "S", "123456789S", "-1S", "1.5S", "1s", "1 S"])
def test_a_malformed_timeout_is_refused(start: Start, timeout: str) -> None:
    with Http2Peer(start().port) as peer:
        peer.start(http2.request(1, "/echo", b"hello", [("grpc-timeout", timeout)]))
        answer = peer.read_answer(1)
        assert answer.status == INTERNAL
        assert "grpc-timeout" in answer.text


@pytest.mark.parametrize(
    "bad",
    [
        [("Upper", "x")],
        [("connection", "close")],
        [("te", "gzip")],
        [("content-length", "1"), ("content-length", "2")],
        [(":path", "/two")],
    ],
)
def test_headers_that_http2_forbids_reset_their_stream(
    start: Start, bad: list[tuple[str, str]]
) -> None:
    echo = start()
    with Http2Peer(echo.port) as peer:
        peer.start(http2.headers(1, extra=(*GRPC, *bad), end=True))
        assert peer.read_answer(1).error == PROTOCOL_ERROR
        assert peer.call(3).status == 0
    assert echo.counts()["malformed"] == 1


# -------------------------------------------------------------------- floods


def continuations() -> Iterator[bytes]:
    block = http2.block("/echo")
    yield HeadersFrame(1, block).serialize()
    yield from itertools.repeat(http2.continuation(1, b""), 20)


def resets(first: int = 1) -> Iterator[bytes]:
    for stream in range(first, first + 80_000, 2):
        yield http2.headers(stream, end=True) + http2.reset(stream)


def wrong_resets() -> Iterator[bytes]:
    """Each makes the server reset the stream, for a window over 2^31."""
    for stream in range(1, 80_000, 2):
        yield http2.headers(stream) + http2.window(stream, (1 << 31) - 1)


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "continuations": continuations,
    "resets": resets,
    "resets of the server": wrong_resets,
    "settings": lambda: itertools.repeat(http2.settings(), 40_000),
    "pings": lambda: itertools.repeat(http2.ping(), 40_000),
    "answers to pings": lambda: itertools.repeat(http2.ping(ack=True), 40_000),
    "windows": lambda: itertools.repeat(http2.window(0, 1), 40_000),
    "priorities": lambda: itertools.repeat(PriorityFrame(1, depends_on=0).serialize(), 40_000),
    "empty data": lambda: itertools.chain(
        [http2.headers(1)], itertools.repeat(http2.data(1, b"", end=False), 40_000)
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_closed_and_counted(start: Start, flood: str) -> None:
    echo = start()
    with Http2Peer(echo.port) as peer, Http2Peer(echo.port) as other:
        other.start()
        peer.start()
        frames = FLOODS[flood]()
        while part := b"".join(itertools.islice(frames, 200)):
            # Answers are read, so that no other limit ends it first.
            peer.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                while peer.socket.recv(1 << 16):
                    pass
            peer.socket.settimeout(60)
            if not peer.try_send(part):
                break
        counts = wait_for(echo, lambda counts: counts["floods"] > 0)
        assert counts["floods"] == 1
        assert other.call(1).status == 0
    is_well(echo)


def test_frames_of_unknown_types_mean_nothing(start: Start) -> None:
    with Http2Peer(start().port) as peer:
        peer.start(b"\0\0\1\x42\0\0\0\0\0x" * 40_000)
        assert peer.call(1).status == 0


def test_pings_whose_answers_nobody_reads_are_closed(start: Start) -> None:
    echo = start(write_s=1)
    with Peer(echo.port, buffer_bytes=4096) as peer:
        peer.send(http2.PREFACE + http2.settings())
        while peer.try_send(http2.ping() * 500):
            pass
    counts = wait_for(echo, lambda counts: counts["closed"] == 1)
    assert counts["floods"] + counts["slow"] == 1


def test_honest_cancellation_is_no_flood(start: Start) -> None:
    echo = start()
    with Http2Peer(echo.port) as peer:
        peer.start()
        for stream in range(1, 6001, 2):
            peer.send(http2.request(stream, "/echo", b"hello") + http2.reset(stream))
        assert peer.call(6001).status == 0
    assert echo.counts()["floods"] == 0


JUNK = {
    "zeros": b"\0" * 100,
    "ones": b"\xff" * 100,
    "an even stream": http2.headers(2),
    "data of no stream": b"\0\0\1\0\0\0\0\0\0x",
    "data of a stream that never was": http2.data(7, b"x"),
    "no header block": HeadersFrame(1, b"\xff" * 5, flags=["END_HEADERS"]).serialize(),
    "a lone continuation": http2.continuation(1, b"", end=True),
    "a frame of 16 MiB": b"\xff\xff\xff\x00\0\0\0\0\1",
    "a window of zero": http2.window(0, 0),
}


@pytest.mark.parametrize("junk", JUNK)
def test_junk_after_the_preface_is_answered_with_goaway(start: Start, junk: str) -> None:
    echo = start()
    with Http2Peer(echo.port) as peer:
        peer.start(JUNK[junk])
        peer.read_to_end()
        assert peer.goaways
    assert echo.counts()["malformed"] == 1
    is_well(echo)


def test_more_streams_than_allowed_are_refused(start: Start) -> None:
    echo = start(max_streams=4)
    with Http2Peer(echo.port) as peer, Http2Peer(echo.port) as other:
        peer.start()  # and does not say that it knows the limit
        peer.send(b"".join(http2.request(stream, "/hold", b"x") for stream in range(1, 11, 2)))
        assert peer.read_answer(9).error == 7  # REFUSED_STREAM: safe to try again
        other.start()
        assert other.call(1, "/release").body == http2.message(b"4 0")
        assert all(peer.read_answer(stream).status == 0 for stream in (1, 3, 5, 7))


def test_who_knows_the_limit_of_streams_and_opens_more_is_closed(start: Start) -> None:
    echo = start(max_streams=4)
    with Http2Peer(echo.port) as peer:
        peer.start()
        while not peer.num_settings:
            peer.read_frame()
        peer.send(SettingsFrame(0, flags=["ACK"]).serialize())
        peer.send(b"".join(http2.request(stream, "/hold", b"x") for stream in range(1, 11, 2)))
        peer.read_to_end()
        assert peer.goaways[-1].error_code == PROTOCOL_ERROR
    is_well(echo)


def test_calls_beyond_the_queue_are_refused_at_once(start: Start) -> None:
    echo = start(max_queue=10)
    with Http2Peer(echo.port) as peer:
        peer.start()
        peer.send(b"".join(http2.request(stream, "/echo", b"x") for stream in range(1, 401, 2)))
        statuses = [peer.read_answer(stream).status for stream in range(1, 401, 2)]
        assert set(statuses) == {0, RESOURCE_EXHAUSTED}
        assert statuses.count(RESOURCE_EXHAUSTED) == echo.counts()["refused_queue"]


# -------------------------------------------------------------------- clients that leave


def test_a_stream_reset_with_its_end_is_answered_nowhere(start: Start) -> None:
    echo = start()
    with Http2Peer(echo.port) as peer:
        peer.start(http2.request(1, "/hold", b"x"), http2.reset(1), http2.request(3, "/hold", b"y"))
        # The first may have gone before it was taken; then nobody sees it.
        assert peer.call(5, "/release").body in (http2.message(b"2 1"), http2.message(b"1 0"))
        assert peer.read_answer(3).body == http2.message(b"y")
        assert not peer.answers.get(1, http2.Answer()).headers
    assert echo.counts()["resets"] == 1


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_may_leave_while_its_calls_are_held(start: Start, how: str) -> None:
    echo = start()
    peer = Http2Peer(echo.port)
    peer.start()
    peer.send(b"".join(http2.request(stream, "/hold", b"x" * 5000) for stream in range(1, 21, 2)))
    wait_for(echo, lambda counts: counts["requests"] == 10)
    peer.send(http2.reset(1))
    wait_for(echo, lambda counts: counts["resets"] == 1)
    if how == "reset":
        peer.reset()
    else:
        peer.socket.close()
    wait_for(echo, lambda counts: counts["connections"] == 0)
    with Http2Peer(echo.port) as other:
        other.start()
        assert other.call(1, "/release").body == http2.message(b"10 10")


def test_calls_never_answered_are_freed_at_the_end(start: Start) -> None:
    echo = start()
    with Http2Peer(echo.port) as peer, Peer(echo.port) as old:
        peer.start()
        peer.send(http2.request(1, "/hold", b"x" * 5000) + http2.headers(3))
        peer.send(http2.data(3, http2.message(b"y" * 90_000)[:50_000], end=False))
        old.send(b"POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HT")
        wait_for(echo, lambda counts: counts["requests"] == 2)


# -------------------------------------------------------------------- slow clients


@pytest.mark.parametrize("window", [1, 7, 1000])
def test_an_answer_passes_a_tiny_window(start: Start, window: int) -> None:
    with Http2Peer(start().port) as peer:
        peer.start(INITIAL_WINDOW_SIZE=window)
        peer.send(http2.request(1, "/big", b"3000"))
        answer = http2.Answer()
        while not answer.is_ended:
            frame = peer.read_frame()
            assert frame is not None
            answer = peer.answers.get(1, answer)
            if isinstance(frame, DataFrame) and len(answer.body) < 3005:
                assert len(frame.data) <= window
                peer.send(http2.window(1, window))
        assert answer.body == http2.message(b"x" * 3000)
        assert answer.status == 0


def test_a_client_that_opens_no_window_is_reset(start: Start) -> None:
    echo = start(write_s=1)
    with Http2Peer(echo.port) as peer:
        peer.start(INITIAL_WINDOW_SIZE=0)
        peer.send(http2.request(1, "/big", b"3000"))
        assert peer.read_answer(1).error == 8
        peer.send(http2.settings(INITIAL_WINDOW_SIZE=65535))
        assert peer.call(3).status == 0
    assert echo.counts()["slow"] == 1


@pytest.mark.parametrize("kind", ["http1", "http2"])
def test_a_client_that_reads_nothing_is_closed(start: Start, kind: str) -> None:
    echo = start(write_s=1)
    with Http2Peer(echo.port, buffer_bytes=4096) as peer:
        if kind == "http2":
            peer.start(http2.window(0, 1 << 30), INITIAL_WINDOW_SIZE=(1 << 31) - 1)
            peer.send(http2.request(1, "/big", b"20000000"))
        else:
            peer.send(b"POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n20000000")
        assert wait_for(echo, lambda counts: counts["closed"] == 1)["slow"] == 1
        is_well(echo)


def test_a_slow_reader_gets_all_of_a_large_answer(start: Start) -> None:
    with Http2Peer(start().port, buffer_bytes=4096) as peer:
        peer.start(http2.window(0, 1 << 30), INITIAL_WINDOW_SIZE=(1 << 31) - 1)
        peer.send(b"".join(http2.request(stream, "/big", b"3000000") for stream in (1, 3)))
        assert peer.read_answer(1).body == http2.message(b"x" * 3_000_000)
        assert peer.read_answer(3).status == 0


@pytest.mark.parametrize(
    ("sent", "count"),
    [
        (b"", "idle"),
        (b"PRI * HT", "slow"),
        (b"GET / HTTP/1.1\r\nHos", "slow"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", "slow"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "slow"),
        (http2.PREFACE + http2.settings() + HeadersFrame(1, b"\x83").serialize(), "slow"),
    ],
)
def test_a_request_that_does_not_end_is_closed(start: Start, sent: bytes, count: str) -> None:
    echo = start(request_s=1)
    with Peer(echo.port) as peer:
        peer.send(sent)
        peer.read_all()
        assert echo.counts()[count] == 1
    is_well(echo)


def test_a_stream_that_does_not_end_is_reset_alone(start: Start) -> None:
    echo = start(request_s=1)
    with Http2Peer(echo.port) as peer:
        peer.start(http2.headers(1), http2.data(1, b"\0\0\0", end=False))
        assert peer.read_answer(1).error == 8
        assert peer.call(3).status == 0
    assert echo.counts()["slow"] == 1


@pytest.mark.parametrize("first", ["http1", "http2", "pings"])
def test_an_idle_connection_is_closed(start: Start, first: str) -> None:
    echo = start(idle_s=1)
    with Http2Peer(echo.port) as peer:
        if first == "http1":
            peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert peer.read_all().startswith(b"HTTP/1.1 200")
        else:
            peer.start()
            assert peer.call(1).status == 0
            while peer.read_frame() is not None:
                if first == "pings":
                    peer.try_send(http2.ping())
            assert [frame.error_code for frame in peer.goaways] == [0]
    assert wait_for(echo, lambda counts: counts["connections"] == 0)["idle"] == 1


def test_more_is_not_read_than_all_may_hold(start: Start) -> None:
    """Answers that nobody takes fill the memory; then reading stops, until they are given up."""
    echo = start(max_buffered_bytes=4 << 20, max_message_bytes=1 << 20, write_s=2)
    with contextlib.ExitStack() as opened:
        for _ in range(8):
            peer = opened.enter_context(Http2Peer(echo.port))
            peer.start(INITIAL_WINDOW_SIZE=0)
            for stream in (1, 3, 5):
                peer.send(http2.request(stream, "/big", b"1000000"))
        wait_for(echo, lambda counts: counts["requests"] == 24)
        is_well(echo)  # it waits until there is room
        assert echo.counts()["slow"] >= 20


# -------------------------------------------------------------------- many, and the end


@pytest.mark.timeout(300)
def test_thousands_of_connections_are_served(start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 7000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 10_000), hard))
    echo = start()
    with contextlib.ExitStack() as opened:
        peers = [opened.enter_context(Http2Peer(echo.port)) for _ in range(3000)]
        for peer in peers:
            peer.start()
        for stream in (1, 3):
            for peer in peers:
                peer.send(http2.request(stream, "/echo", b"hello"))
            for peer in peers:
                assert peer.read_answer(stream).body == http2.message(b"hello")
        assert echo.counts()["connections"] == 3000
    counts = wait_for(echo, lambda counts: counts["connections"] == 0)
    assert counts["requests"] == 6000
    assert counts["opened"] == counts["closed"] == 3000


def test_connections_beyond_the_limit_are_closed(start: Start) -> None:
    echo = start(max_connections=2)
    with Http2Peer(echo.port) as one, Http2Peer(echo.port) as two, Peer(echo.port) as three:
        assert three.read_all() == b""
        for peer in (one, two):
            peer.start()
            assert peer.call(1).status == 0


def test_drain_finishes_what_was_asked_and_closes(start: Start) -> None:
    echo = start()
    with (
        Http2Peer(echo.port) as busy,
        Http2Peer(echo.port) as idle,
        Peer(echo.port) as new,
        Peer(echo.port) as old,
        Peer(echo.port) as old_busy,
    ):
        busy.start(http2.request(1, "/hold", b"x"))
        idle.start()
        assert idle.call(1).status == 0
        get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        old.send(get)
        assert old.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        old_busy.send(get.replace(b"/ ", b"/hold ", 1))
        wait_for(echo, lambda counts: counts["requests"] == 4)
        echo.drain()
        assert new.read_all() == old.read_all() == b""
        while not busy.goaways:
            busy.read_frame()
        assert busy.goaways[0].last_stream_id == (1 << 31) - 1
        busy.send(http2.request(3, "/echo", b"late"))  # was on its way
        assert busy.read_answer(3).status == 0
        while not busy.pings:
            busy.read_frame()
        busy.send(http2.ping(busy.pings[0].opaque_data, ack=True))
        while len(busy.goaways) < 2:
            busy.read_frame()
        assert busy.goaways[1].last_stream_id == 3
        busy.send(http2.request(5, "/echo", b"too late"))
        idle.send(http2.request(3, "/release", b""))  # before it answers the ping
        assert idle.read_answer(3).body == http2.message(b"2 0")
        assert b"Connection: close" in old_busy.read_all()
        busy.read_to_end()
        assert busy.answers[1].body == http2.message(b"x")
        assert 5 not in busy.answers
        idle.read_to_end()
        assert idle.goaways[-1].last_stream_id == 3
    assert wait_for(echo, lambda counts: counts["connections"] == 0)["resets"] == 0


def conversations() -> list[bytes]:
    """What honest clients send, as material to spoil."""
    start = http2.PREFACE + http2.settings(INITIAL_WINDOW_SIZE=100)
    calls = http2.request(1, "/big", b"5000", [("grpc-timeout", "1S")]) + http2.window(1, 9000)
    parts = HeadersFrame(3, http2.block("/echo")[:9]).serialize()
    parts += http2.continuation(3, http2.block("/echo")[9:], end=True)
    more = http2.data(3, http2.message(b"x" * 40_000)) + http2.ping() + http2.reset(1)
    post = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
    chunked = (
        post + b"Transfer-Encoding: chunked\r\nTE: x\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n"
    )
    plain = post + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
    return [start + calls + parts + more, (chunked + plain) * 3]


@pytest.mark.parametrize("seed", range(4))
def test_spoilt_bytes_hurt_nobody_else(start: Start, seed: int) -> None:
    echo = start(max_message_bytes=1 << 20)
    dice = random.Random(seed)
    for _ in range(SPOILT):
        said = bytearray(dice.choice(conversations()))
        for _ in range(dice.choice([1, 1, 2, 5, 20])):
            # The preface is left alone mostly: what is no HTTP/2 is refused by its first line.
            at = dice.randrange(len(said)) if dice.random() < 0.2 else dice.randrange(24, 300)
            at %= len(said)
            kind = dice.randrange(4)
            if kind == 0:
                said[at] = dice.randrange(256)
            elif kind == 1:
                said[at] ^= 1 << dice.randrange(8)
            elif kind == 2:
                del said[at : at + dice.choice([1, 9, 30])]
            else:
                said[at:at] = said[at : at + dice.choice([1, 9, 100])]
        with Peer(echo.port) as peer:
            at = 0
            while at < len(said) and peer.try_send(
                said[at : (at := at + dice.randrange(1, 30_000))]
            ):
                pass
    is_well(echo)
