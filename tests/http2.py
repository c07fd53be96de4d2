"""An HTTP/2 client whose every frame is made by hand, for tests of what a server does with them.

It is no good client: it waits where a test says so, acknowledges settings and pings, gives the
server's windows back unless told not to, and keeps everything that it was sent.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from hpack import Decoder, Encoder
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

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = 65_535  # of a stream and of a connection, until somebody says otherwise
FRAME = 16_384  # the longest frame that everybody takes

Header = tuple[str, str]


def grpc_message(message: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A message with its prefix of five bytes, which may lie."""
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


def grpc_headers(
    path: str, *extra: Header, content_type: str = "application/grpc", te: str | None = "trailers"
) -> list[Header]:
    """Headers of a call as gRPC clients send them."""
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test")]
    if te is not None:
        headers.append(("te", te))
    if content_type:
        headers.append(("content-type", content_type))
    return [*headers, ("user-agent", "grpc-by-hand/1"), *extra]


@dataclass
class Answer:
    """What came back on one stream so far."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    has_headers: bool = False
    is_complete: bool = False  # END_STREAM came
    reset: int | None = None  # the code of RST_STREAM

    @property
    def is_over(self) -> bool:
        return self.is_complete or self.reset is not None

    @property
    def grpc_status(self) -> int | None:
        """Of the trailers, or of the headers where the answer has nothing else."""
        text = self.trailers.get("grpc-status", self.headers.get("grpc-status"))
        return None if text is None else int(text)

    @property
    def grpc_message(self) -> str:
        text = self.trailers.get("grpc-message", self.headers.get("grpc-message", ""))
        return unquote(text, errors="strict")

    @property
    def message(self) -> bytes:
        """The only message of the body."""
        compressed, length = struct.unpack(">BI", bytes(self.body[:5]))
        assert compressed == 0, "nobody asked for compression"
        assert length == len(self.body) - 5, (length, len(self.body))
        return bytes(self.body[5:])


class Connection:
    """One connection to 127.0.0.1; odd streams count from 1.

    Args:
        port: To connect to.
        settings: Of the first SETTINGS frame.
        greet: Whether preface and SETTINGS are sent at once.
        gives_windows: Whether each DATA frame is answered with WINDOW_UPDATE.
        timeout_s: After which a wait for the server fails.
    """

    def __init__(
        self,
        port: int,
        *,
        settings: dict[int, int] | None = None,
        greet: bool = True,
        gives_windows: bool = True,
        timeout_s: float = 15,
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout_s = timeout_s
        self.encoder, self.decoder = Encoder(), Decoder()
        self.gives_windows = gives_windows
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}  # the server's
        self.num_acks = 0  # of our SETTINGS
        self.pongs: list[bytes] = []
        self.goaways: list[GoAwayFrame] = []
        self.is_closed = False
        self._received = bytearray()
        self._block: tuple[int, bytearray, bool] | None = None  # an unfinished block of headers
        self._windows: dict[int, int] = {0: WINDOW}  # what the server lets us send
        if (settings or {}).get(SettingsFrame.HEADER_TABLE_SIZE) is not None:
            self.decoder.max_allowed_table_size = (settings or {})[SettingsFrame.HEADER_TABLE_SIZE]
        if greet:
            self.send(PREFACE, SettingsFrame(0, settings=settings or {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def abort(self) -> None:
        """Closes with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # ------------------------------------------------------------ sending

    def send(self, *parts: Frame | bytes) -> None:
        """All of them in one piece."""
        self.socket.sendall(pack(*parts))

    def block(self, headers: Sequence[Header]) -> bytes:
        """Headers as HPACK; blocks must be sent in the order in which they were made."""
        return self.encoder.encode(headers, huffman=True)

    def header_frames(
        self, stream: int, headers: Sequence[Header], *, ends: bool = False, split: int = FRAME
    ) -> list[Frame]:
        """HEADERS, and CONTINUATION for what is beyond `split` bytes."""
        block = self.block(headers)
        pieces = [block[at : at + split] for at in range(0, len(block), split)] or [b""]
        frames: list[Frame] = [HeadersFrame(stream, pieces[0])]
        frames += [ContinuationFrame(stream, piece) for piece in pieces[1:]]
        if ends:
            frames[0].flags.add("END_STREAM")
        frames[-1].flags.add("END_HEADERS")
        return frames

    def send_body(self, stream: int, body: bytes, *, ends: bool = True) -> None:
        """DATA as the server's windows allow; stops early where the stream is over before."""
        view = memoryview(body)
        while view:
            room = min(self._windows[0], self._window(stream), FRAME)
            if room <= 0:
                if not self.step() or self.answer(stream).is_over:
                    return
                continue
            piece, view = bytes(view[:room]), view[room:]
            for window in (0, stream):
                self._windows[window] -= len(piece)
            self.send(data(stream, piece, ends=ends and not view))
        if not body:
            self.send(data(stream, b"", ends=ends))

    def start(self, stream: int, path: str, body: bytes, *extra: Header) -> None:
        """A whole gRPC call; `body` has its prefix already."""
        self.send(*self.header_frames(stream, grpc_headers(path, *extra)))
        self.send_body(stream, body)

    def call(self, stream: int, path: str, message: bytes, *extra: Header) -> Answer:
        """The answer of a gRPC call."""
        self.start(stream, path, grpc_message(message), *extra)
        return self.finish(stream)

    # ------------------------------------------------------------ receiving

    def answer(self, stream: int) -> Answer:
        return self.answers.setdefault(stream, Answer())

    def finish(self, stream: int) -> Answer:
        """The answer, once it is over or the server has gone."""
        self.until(lambda: self.answer(stream).is_over)
        return self.answer(stream)

    def finish_all(self, streams: Iterable[int]) -> list[Answer]:
        return [self.finish(stream) for stream in streams]

    def until(self, condition: Callable[[], object]) -> bool:
        """Reads frames until the condition holds; False where the server closed before."""
        ends = time.monotonic() + self.timeout_s
        while not condition():
            assert time.monotonic() < ends, f"waited for more than {self.timeout_s} s"
            if not self.step():
                return bool(condition())
        return True

    def until_closed(self) -> None:
        """Reads until the server closes; fails where it does not."""
        self.until(lambda: self.is_closed)

    def step(self) -> bool:
        """Reads and follows one frame; False where the server has closed."""
        frame = self.read()
        if frame is not None:
            self._follow(frame)
        return frame is not None

    def read(self) -> Frame | None:
        """The next frame as it is, or None where the server has closed."""
        while True:
            if len(self._received) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self._received)[:9])
                if len(self._received) >= 9 + length:
                    body = bytes(self._received[9 : 9 + length])
                    del self._received[: 9 + length]
                    frame.parse_body(memoryview(body))
                    return frame
            try:
                piece = self.socket.recv(1 << 16)
            except (ConnectionResetError, BrokenPipeError):
                piece = b""
            if not piece:
                self.is_closed = True
                return None
            self._received += piece

    def _window(self, stream: int) -> int:
        initial = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, WINDOW)
        return self._windows.setdefault(stream, initial)

    def _follow(self, frame: Frame) -> None:
        stream = frame.stream_id
        if isinstance(frame, SettingsFrame):
            self._follow_settings(frame)
        elif isinstance(frame, PingFrame):
            if "ACK" in frame.flags:
                self.pongs.append(bytes(frame.opaque_data))
            else:
                self._reply(PingFrame(0, frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, WindowUpdateFrame):
            if stream:
                self._window(stream)
            self._windows[stream] += frame.window_increment
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        elif isinstance(frame, RstStreamFrame):
            self.answer(stream).reset = frame.error_code
        elif isinstance(frame, HeadersFrame):
            self._block = (stream, bytearray(frame.data), "END_STREAM" in frame.flags)
        elif isinstance(frame, ContinuationFrame):
            assert self._block is not None
            assert self._block[0] == stream
            self._block[1].extend(frame.data)
        elif isinstance(frame, DataFrame):
            self._follow_data(frame)
        if isinstance(frame, HeadersFrame | ContinuationFrame) and "END_HEADERS" in frame.flags:
            self._end_headers()

    def _follow_settings(self, frame: SettingsFrame) -> None:
        if "ACK" in frame.flags:
            self.num_acks += 1
            return
        before = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, WINDOW)
        self.settings |= frame.settings
        change = self.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, WINDOW) - before
        for stream in self._windows:
            self._windows[stream] += change if stream else 0
        self._reply(SettingsFrame(0, flags=["ACK"]))

    def _follow_data(self, frame: DataFrame) -> None:
        answer = self.answer(frame.stream_id)
        assert answer.has_headers, "DATA before HEADERS"
        assert not answer.is_over, "DATA after the end"
        answer.body += frame.data
        answer.is_complete = "END_STREAM" in frame.flags
        length = frame.flow_controlled_length
        if self.gives_windows and length:
            updates = [WindowUpdateFrame(0, window_increment=length)]
            if not answer.is_complete:
                updates.append(WindowUpdateFrame(frame.stream_id, window_increment=length))
            self._reply(*updates)

    def _end_headers(self) -> None:
        assert self._block is not None
        stream, block, ends = self._block
        self._block = None
        answer = self.answer(stream)
        assert not answer.is_over, "HEADERS after the end"
        headers = {str(name): str(value) for name, value in self.decoder.decode(bytes(block))}
        if answer.has_headers:
            assert ends, "trailers that do not end the stream"
            assert not any(name.startswith(":") for name in headers), headers
            answer.trailers = headers
        else:
            answer.headers = headers
            answer.has_headers = True
        answer.is_complete = ends

    def _reply(self, *frames: Frame) -> None:
        # Where the server closed after what is answered here, the next read tells.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(*frames)


def pack(*parts: Frame | bytes) -> bytes:
    """Frames and bytes as they go over the wire."""
    return b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts)


def data(stream: int, body: bytes, *, ends: bool = True, padding: int | None = None) -> DataFrame:
    """A DATA frame; `padding` bytes after it where that is no None."""
    frame = DataFrame(stream, body, flags=["END_STREAM"] if ends else [])
    if padding is not None:
        frame.flags.add("PADDED")
        frame.pad_length = padding
    return frame


def raw_frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    """A frame of any type, also one that does not exist; its length may lie."""
    length = len(body) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + body
