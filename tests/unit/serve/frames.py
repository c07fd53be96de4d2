"""An HTTP/2 client whose every frame a test writes by hand."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.unit.serve.echo import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


def message(body: bytes) -> bytes:
    """A gRPC message with its prefix."""
    return b"\0" + struct.pack(">I", len(body)) + body


def block(path: str, headers: Iterable[tuple[str, str]] = GRPC, method: str = "POST") -> bytes:
    """A header block that uses no table."""
    first = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "x")]
    never = [hpack.NeverIndexedHeaderTuple(*pair) for pair in (*first, *headers)]
    return hpack.Encoder().encode(never, huffman=False)


def headers(
    stream: int,
    path: str = "/echo",
    extra: Iterable[tuple[str, str]] = GRPC,
    *,
    end: bool = False,
    method: str = "POST",
) -> bytes:
    frame = HeadersFrame(stream, block(path, extra, method), flags=["END_HEADERS"])
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def data(stream: int, body: bytes, *, end: bool = True) -> bytes:
    """DATA frames of 16 KiB."""
    parts = [body[at : at + 16384] for at in range(0, len(body), 16384)] or [b""]
    frames = [DataFrame(stream, part) for part in parts]
    if end:
        frames[-1].flags.add("END_STREAM")
    return b"".join(frame.serialize() for frame in frames)


def request(stream: int, path: str, body: bytes, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """A whole unary call."""
    return headers(stream, path, (*GRPC, *extra)) + data(stream, message(body))


def settings(**values: int) -> bytes:
    """Such as `settings(INITIAL_WINDOW_SIZE=1)`."""
    return SettingsFrame(
        0, settings={getattr(SettingsFrame, name): value for name, value in values.items()}
    ).serialize()


def reset(stream: int, error: int = 8) -> bytes:
    return RstStreamFrame(stream, error).serialize()


def window(stream: int, size: int) -> bytes:
    return WindowUpdateFrame(stream, size).serialize()


def ping(opaque: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return PingFrame(0, opaque, flags=["ACK"] if ack else []).serialize()


@dataclass
class Answer:
    """What arrived for one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    num_data: int = 0
    is_ended: bool = False
    error: int | None = None

    @property
    def status(self) -> int:
        """Of gRPC."""
        return int((self.trailers or self.headers)["grpc-status"])

    @property
    def text(self) -> str:
        """The grpc-message, still encoded."""
        return (self.trailers or self.headers).get("grpc-message", "")


class Http2Peer(Peer):
    """Keeps what the server sends, by stream."""

    def __init__(self, port: int, *, buffer_bytes: int | None = None) -> None:
        super().__init__(port, buffer_bytes=buffer_bytes)
        self.decoder = hpack.Decoder()
        self.rest = b""
        self.answers: dict[int, Answer] = {}
        self.goaways: list[GoAwayFrame] = []
        self.pings: list[PingFrame] = []
        self.num_settings = 0

    def start(self, *more: bytes, **values: int) -> None:
        """Sends the preface, the settings and what follows."""
        self.send(PREFACE + settings(**values) + b"".join(more))

    def read_frame(self) -> Frame | None:
        """The next frame, noted in the lists too; None at the end."""
        while True:
            if len(self.rest) >= 9:
                frame, size = Frame.parse_frame_header(memoryview(self.rest)[:9])
                if len(self.rest) >= 9 + size:
                    frame.parse_body(memoryview(self.rest)[9 : 9 + size])
                    self.rest = self.rest[9 + size :]
                    self.note(frame)
                    return frame
            got = self.read()
            if not got:
                return None
            self.rest += got

    def note(self, frame: Frame) -> None:
        answer = self.answers.setdefault(frame.stream_id, Answer())
        if isinstance(frame, HeadersFrame):
            assert "END_HEADERS" in frame.flags
            into = answer.trailers if answer.headers else answer.headers
            into.update({str(name): str(value) for name, value in self.decoder.decode(frame.data)})
        elif isinstance(frame, DataFrame):
            answer.body += frame.data
            answer.num_data += 1
        elif isinstance(frame, RstStreamFrame):
            answer.error = frame.error_code
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        elif isinstance(frame, PingFrame):
            self.pings.append(frame)
        elif isinstance(frame, SettingsFrame):
            self.num_settings += 1
        answer.is_ended |= "END_STREAM" in frame.flags

    def read_answer(self, stream: int) -> Answer:
        """Reads until a stream has ended, with an answer or a reset."""
        while True:
            answer = self.answers.get(stream)
            if answer is not None and (answer.is_ended or answer.error is not None):
                return answer
            assert self.read_frame() is not None, "the server closed"

    def read_to_end(self) -> None:
        while self.read_frame() is not None:
            pass

    def call(self, stream: int, path: str = "/echo", body: bytes = b"hello") -> Answer:
        """A whole unary call and its answer."""
        self.send(request(stream, path, body))
        return self.read_answer(stream)


def continuation(stream: int, part: bytes, *, end: bool = False) -> bytes:
    return ContinuationFrame(stream, part, flags=["END_HEADERS"] if end else []).serialize()
