"""What HTTP/2 and gRPC forbid is refused with a reason, and costs at most the one connection.

All of it is of the native server; what grpcio does with it is others' work.
"""

import contextlib

import pytest
from hpack import Encoder
from hyperframe.frame import Frame, HeadersFrame, PingFrame

from tadka.serve.server import Server
from tests.clients import PATH, check_alive, is_right, make_rows
from tests.http2 import (
    PREFACE,
    Connection,
    Header,
    data,
    grpc_headers,
    grpc_message,
    pack,
    raw_frame,
)

ROWS = make_rows(1)
BODY = grpc_message(ROWS[0].message)
BASE = grpc_headers(PATH)
NO_ERROR, PROTOCOL_ERROR = 0, 1


@pytest.mark.parametrize(
    "headers",
    [
        [*BASE, ("X-Upper", "1")],
        [*BASE, (":late", "1")],
        [*BASE, (":path", PATH)],
        [("x-first", "1"), *BASE],
        [*BASE, ("connection", "keep-alive")],
        [*BASE, ("x bad", "1")],
        [*BASE, ("x-bad", "a\0b")],
        [*BASE, ("x-bad", "a\r\nb: c")],
        [header for header in BASE if header[0] != ":path"],
        [header for header in BASE if header[0] != ":method"],
        [*BASE, ("content-length", "1")],
    ],
    ids=[
        "upper-case name", "unknown pseudo-header", "two paths", "pseudo-header after others",
        "connection",
        "space in a name", "zero byte", "line end", "no path", "no method", "wrong content-length",
    ],
)  # fmt: skip
def test_malformed_requests_are_reset_and_the_connection_goes_on(
    fast: Server, headers: list[Header]
) -> None:
    with Connection(fast.port) as connection:
        connection.send(*connection.header_frames(1, headers), data(1, BODY))
        answer = connection.finish(1)
        refused = answer.has_headers and int(answer.headers[":status"]) in {400, 431}
        assert answer.reset == PROTOCOL_ERROR or refused, answer
        assert is_right(connection.call(3, PATH, ROWS[0].message), ROWS[0])


def test_every_wrong_framing_of_a_message_gets_a_status(fast: Server) -> None:
    message = ROWS[0].message
    bodies = [
        b"",
        *(BODY[:size] for size in range(1, 5)),
        BODY[:-1],
        BODY + b"\0",
        BODY + BODY,
        grpc_message(message, length=0),
        grpc_message(message, length=0xFFFF_FFFF),
        grpc_message(message, length=len(message) + 1),
        grpc_message(message, length=len(message) - 1),
        grpc_message(message, compressed=1),
        grpc_message(message, compressed=0xFF),
    ]
    with Connection(fast.port) as connection:
        for at, body in enumerate(bodies):
            stream = 4 * at + 1
            connection.start(stream, PATH, body)
            answer = connection.finish(stream)
            assert answer.is_complete, (body, answer)
            assert answer.grpc_status in {3, 8, 12, 13}, (body, answer)
            assert answer.grpc_message
            assert not answer.body
            assert is_right(connection.call(stream + 2, PATH, message), ROWS[0])


# ---------------------------------------------------------------- what the protocol forbids


def with_headers(*frames: Frame | bytes) -> bytes:
    """Frames after the headers of a call on stream 1."""
    block = Encoder().encode(grpc_headers(PATH))
    return pack(HeadersFrame(1, block, flags=["END_HEADERS"]), *frames)


FORBIDDEN = {
    "DATA on stream 0": pack(raw_frame(0, 0, 0, b"x")),
    "HEADERS on stream 0": pack(raw_frame(1, 4, 0, b"\x82")),
    "HEADERS on an even stream": pack(raw_frame(1, 5, 2, Encoder().encode(BASE))),
    "DATA on an idle stream": pack(raw_frame(0, 0, 5, b"x")),
    "RST_STREAM on an idle stream": pack(raw_frame(3, 0, 5, b"\0\0\0\0")),
    "WINDOW_UPDATE on an idle stream": pack(raw_frame(8, 0, 5, b"\0\0\0\1")),
    "WINDOW_UPDATE of 0": pack(raw_frame(8, 0, 0, b"\0\0\0\0")),
    "window beyond 2**31": pack(raw_frame(8, 0, 0, b"\x7f\xff\xff\xff")),
    "PING of 7 bytes": pack(raw_frame(6, 0, 0, b"1234567")),
    "PING on a stream": pack(raw_frame(6, 0, 1, b"12345678")),
    "SETTINGS of 5 bytes": pack(raw_frame(4, 0, 0, b"12345")),
    "SETTINGS on a stream": pack(raw_frame(4, 0, 1, b"")),
    "SETTINGS ACK with content": pack(raw_frame(4, 1, 0, b"123456")),
    "ENABLE_PUSH of 2": pack(raw_frame(4, 0, 0, b"\0\2\0\0\0\2")),
    "window of 2**31": pack(raw_frame(4, 0, 0, b"\0\4\x80\0\0\0")),
    "MAX_FRAME_SIZE of 1": pack(raw_frame(4, 0, 0, b"\0\5\0\0\0\1")),
    "PUSH_PROMISE": pack(with_headers(raw_frame(5, 4, 1, b"\0\0\0\2\x82"))),
    "CONTINUATION alone": pack(raw_frame(9, 4, 1, b"\x82")),
    "CONTINUATION of another stream": pack(raw_frame(1, 0, 1, b"\x82"), raw_frame(9, 4, 3, b"")),
    "a frame amid headers": pack(raw_frame(1, 0, 1, b"\x82"), PingFrame(0, b"12345678")),
    "a frame of 2**24 - 1 bytes": raw_frame(0, 0, 1, b"", length=(1 << 24) - 1),
    "padding beyond the frame": with_headers(raw_frame(0, 8, 1, b"\xff1234")),
    "HPACK index beyond the table": pack(raw_frame(1, 5, 1, b"\xff\xff\x03")),
    "HPACK integer without end": pack(raw_frame(1, 5, 1, b"\xff" * 20)),
    "HPACK text beyond the frame": pack(raw_frame(1, 5, 1, b"\x00\x7f\xff\x0fab")),
    "HPACK table beyond the setting": pack(raw_frame(1, 5, 1, b"\x3f\xe1\xff\x03\x82")),
    "Huffman code that is none": pack(raw_frame(1, 5, 1, b"\x00\x84\xff\xff\xff\xff\x00")),
    "a second preface": PREFACE,
}


@pytest.mark.parametrize("bytes_sent", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_is_forbidden_closes_the_connection_with_a_reason(
    fast: Server, bytes_sent: bytes
) -> None:
    with Connection(fast.port) as connection, Connection(fast.port) as other:
        connection.until(lambda: connection.num_acks > 0)
        connection.send(bytes_sent)
        connection.until_closed()
        if connection.goaways:  # one is owed, but a peer that cannot frame may be left at once
            assert connection.goaways[-1].error_code != NO_ERROR
        assert is_right(other.call(1, PATH, ROWS[0].message), ROWS[0])


def test_data_beyond_the_windows_is_not_taken(fast: Server) -> None:
    with Connection(fast.port) as connection:
        connection.until(lambda: connection.settings)
        connection.send(*connection.header_frames(1, grpc_headers(PATH)))
        room = max(connection._window(1), connection._windows[0])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(2 * room // 16_384 + 8):
                connection.send(data(1, b"\0" * 16_384, ends=False))
        connection.until(lambda: connection.answer(1).is_over)
        assert connection.is_closed or connection.answer(1).is_over
    check_alive(fast.port, ROWS[0])


@pytest.mark.parametrize(
    "first",
    [
        PREFACE[:-1] + b"X",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        PREFACE + raw_frame(6, 0, 0, b"12345678"),
        PREFACE + raw_frame(1, 5, 1, Encoder().encode(BASE)),
    ],
    ids=["wrong last byte", "wrong middle", "PING before SETTINGS", "HEADERS before SETTINGS"],
)
def test_a_wrong_beginning_is_refused(fast: Server, first: bytes) -> None:
    with Connection(fast.port, greet=False) as connection:
        connection.send(first)
        connection.until_closed()
    check_alive(fast.port, ROWS[0])
