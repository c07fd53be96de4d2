"""HTTP/1.1 as RFC 9112 has it: what is served, and what is refused as it could mean two things."""

import json
from collections.abc import Iterator

import pytest

from tests.unit.serve.echo import Echo, Peer, SanitizedEcho, ThreadEcho

GET = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(
    params=[
        "thread",
        pytest.param("sanitized", marks=[pytest.mark.needs_compiler, pytest.mark.needs_http2]),
    ]
)
def echo(request: pytest.FixtureRequest) -> Iterator[Echo]:
    limits = {"max_message_bytes": 100_000, "max_header_bytes": 4096}
    made = ThreadEcho(**limits) if request.param == "thread" else SanitizedEcho(**limits)
    yield made
    made.stop()


def post(body: bytes, *headers: bytes, path: bytes = b"/echo") -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers, b"", body])


def answers(said: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Code, headers and body of each answer; no byte may be left over."""
    result = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ") for line in lines)
        size = int(headers.get("Content-Length", 0))
        assert len(said) >= size
        result.append((int(first.split()[1]), headers, said[:size]))
        said = said[size:]
    return result


def ask(echo: Echo, said: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """All answers of a connection that the server closes at last."""
    with Peer(echo.port) as peer:
        peer.send(said)
        return answers(peer.read_all())


def test_pipelined_requests_are_answered_in_their_order(echo: Echo) -> None:
    bodies = [b"%d" % number * (number * 37 % 2000) for number in range(200)]
    got = ask(echo, b"".join(map(post, bodies)) + END)
    assert [body for _, _, body in got] == [*bodies, b""]
    assert [headers.get("Connection") for _, headers, _ in got] == [None] * 200 + ["close"]


def test_one_held_request_holds_those_behind_it(echo: Echo) -> None:
    with Peer(echo.port) as peer, Peer(echo.port) as other:
        peer.send(post(b"first", path=b"/hold") + post(b"second") + END)
        while echo.counts()["requests"] < 1:
            pass
        other.send(post(b"", b"Connection: close", path=b"/release"))
        assert answers(other.read_all())[0][2] == b"1 0"
        assert [body for _, _, body in answers(peer.read_all())] == [b"first", b"second", b""]


@pytest.mark.parametrize(
    "said",
    [
        post(b"hello", b"X-Request-Id: 7"),
        CHUNKED + b"2\r\nhe\r\n3;name=value\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
        b"\r\n" + post(b"hello"),
        b"POST http://x/echo?a=b HTTP/1.1\r\nHost: x\r\nContent-length:5 \r\n\r\nhello",
    ],
)
def test_a_request_may_be_split_at_every_byte(echo: Echo, said: bytes) -> None:
    for at in range(1, len(said)):
        with Peer(echo.port) as peer:
            peer.send(said[:at])
            echo.counts()  # the server has looked meanwhile
            peer.send(said[at:])
            assert peer.read_until(b"\r\n\r\nhello").startswith(b"HTTP/1.1 200 OK\r\n")
    with Peer(echo.port) as peer:
        for at in range(len(said)):
            peer.send(said[at : at + 1])
        assert peer.read_until(b"\r\n\r\nhello").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "said",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        b" / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTX/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        post(b"", b"Content-Length: 0"),
        post(b"", b"Transfer-Encoding: chunked"),
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\nhello"
            for length in (b"", b"+5", b"-5", b"5,5", b"0x5", b"5 5", b"1" * 30)
        ),
        *(
            CHUNKED + body
            for body in (
                b"\r\n",
                b"x\r\n",
                b"-1\r\n",
                b"5\nhello\r\n0\r\n\r\n",
                b"5 \r\nhello\r\n0\r\n\r\n",
                b"5\r\nhelloX\r\n0\r\n\r\n",
                b"5\r\nhello\n0\r\n\r\n",
                b"123456789\r\n",
                b"5;" + b"x" * 200 + b"\r\n",
                b"5;a\rb\r\nhello\r\n",
                b"0\r\nbad trailer\r\n\r\n",
            )
        ),
    ],
)
def test_what_could_mean_two_things_is_refused(echo: Echo, said: bytes) -> None:
    ((code, headers, body),) = ask(echo, said + GET)
    assert code in {400, 505}
    assert headers["Connection"] == "close"
    assert json.loads(body)["error"]
    assert echo.counts()["malformed"] == 1


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (post(b"", b"A: " + b"x" * 5000), 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 5000, 431),
        (b"GET /" + b"x" * 5000, 431),
        (post(b"", *[b"A: b"] * 101), 431),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 1000, 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n", 413),
        (CHUNKED + b"186A1\r\n", 413),
        (CHUNKED + b"186A0\r\n" + b"x" * 100_000 + b"\r\n1\r\n", 413),
        (CHUNKED.replace(b"chunked", b"gzip, chunked"), 501),
        (CHUNKED.replace(b"chunked", b"identity"), 501),
        (post(b"", b"Expect: a miracle"), 417),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    ],
)
def test_what_is_too_large_or_unknown_is_refused(echo: Echo, said: bytes, code: int) -> None:
    ((got, headers, body),) = ask(echo, said)
    assert got == code
    assert headers["Connection"] == "close"
    assert json.loads(body)["error"]


def test_the_largest_bodies_pass(echo: Echo) -> None:
    body = b"x" * 100_000
    chunked = CHUNKED + b"186a0\r\n" + body + b"\r\n0\r\n\r\n"
    got = ask(echo, post(body) + chunked + CHUNKED + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n" + END)
    assert [body for _, _, body in got] == [body, body, b"x" * 1000, b""]


def test_a_body_is_asked_for_that_waits_for_it(echo: Echo) -> None:
    with Peer(echo.port) as peer:
        head = post(b"hello", b"Expect: 100-Continue").removesuffix(b"hello")
        peer.send(head)
        assert peer.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"hello")
        assert peer.read_until(b"hello").startswith(b"HTTP/1.1 200 OK\r\n")
        peer.send(head + b"hello")  # it did not wait
        assert peer.read_until(b"hello").startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_gets_no_body(echo: Echo) -> None:
    with Peer(echo.port) as peer:
        peer.send(b"HEAD /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" + END)
        first, second, rest = peer.read_all().split(b"\r\n\r\n")
        assert b"Content-Length: 5" in first
        assert b"Content-Length: 0" in second
        assert rest == b""


def test_http_1_0_closes_unless_it_is_asked_not_to(echo: Echo) -> None:
    keep = b"GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
    got = ask(echo, keep + b"GET /echo HTTP/1.0\r\n\r\n" + GET)
    assert [headers["Connection"] for _, headers, _ in got] == ["keep-alive", "close"]


def test_a_client_that_only_stops_sending_gets_its_answer(echo: Echo) -> None:
    with Peer(echo.port) as peer, Peer(echo.port) as other:
        peer.send(post(b"hello", path=b"/hold"))
        peer.socket.shutdown(1)
        while echo.counts()["requests"] < 1:
            pass
        other.send(post(b"", b"Connection: close", path=b"/release"))
        assert answers(other.read_all())[0][2] == b"1 0"
        assert answers(peer.read_all())[0][2] == b"hello"


def test_a_client_that_left_is_noticed(echo: Echo) -> None:
    with Peer(echo.port) as other:
        peer = Peer(echo.port)
        peer.send(post(b"hello", path=b"/hold"))
        while echo.counts()["requests"] < 1:
            pass
        peer.reset()
        while echo.counts()["closed"] < 1:
            pass
        other.send(post(b"", b"Connection: close", path=b"/release"))
        assert answers(other.read_all())[0][2] == b"1 1"


def test_pipelined_large_answers_wait_for_their_reader(echo: Echo) -> None:
    with Peer(echo.port, buffer_bytes=4096) as peer:
        peer.send(post(b"300000", path=b"/big") * 30 + END)
        assert [len(body) for _, _, body in answers(peer.read_all())] == [300_000] * 30 + [0]
