"""Hostile clients: the worker lives, its memory is bounded, and others are answered rightly."""

import contextlib
import json
import random
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hpack import Encoder
from hyperframe.frame import HeadersFrame, RstStreamFrame, SettingsFrame

from tadka.core.error import DataError
from tadka.serve.prediction import Prediction
from tadka.serve.server import Server
from tests.clients import (
    MIB,
    PATH,
    ask,
    h2load,
    json_row,
    make_rows,
    metric,
    resident_bytes,
    scores_of,
    unharmed,
    workers,
)
from tests.http2 import PREFACE, Connection, data, grpc_headers, grpc_message, pack, raw_frame
from tests.serving import Impression, make_model, make_store, serving

ROWS = make_rows(64)
BODY = grpc_message(ROWS[0].message)
REQUEST_S = 2
HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(193))  # how TLS begins
FLOOD = 16 * MIB


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = make_store(tmp_path_factory.mktemp("native"))
    limits = {"header_s": REQUEST_S, "max_message_bytes": MIB}
    with serving(store.path, "native", Impression, **limits) as server:
        yield server


@pytest.fixture(scope="module")
def fallback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    store = make_store(tmp_path_factory.mktemp("fallback"))
    with serving(store.path, "grpcio", Impression, max_message_bytes=MIB) as server:
        yield server


@pytest.fixture
def processes() -> list[psutil.Process]:
    return workers()


def check_served(connection: Connection, stream: int) -> None:
    answer = connection.call(stream, PATH, ROWS[0].message)
    assert scores_of(Prediction.from_message(answer.message)) == ROWS[0].scores


def flood(connection: Connection, piece: bytes, limit: int) -> int:
    """Sends a piece until the server closes or reads no more, at most `limit` bytes; those sent."""
    sent = 0
    connection.socket.settimeout(3)
    with contextlib.suppress(OSError):
        while sent < limit:
            connection.socket.sendall(piece)
            sent += len(piece)
    return sent


def flood_and_read(connection: Connection, piece: bytes, limit: int) -> int:
    """The same, and reads what comes back meanwhile."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < limit and not connection.is_closed:
            connection.socket.sendall(piece)
            sent += len(piece)
            while select.select([connection.socket], [], [], 0)[0] and connection.step():
                pass
    return sent


# ---------------------------------------------------------------- messages


def broken_messages() -> list[bytes]:
    """Messages of which many, but not all, are malformed."""
    rng = random.Random(5)
    message = make_rows(1, seed=9)[0].message + Impression(user="", tags=["a", "b"]).to_message()
    found = [message[:size] for size in range(len(message))]
    found += [rng.randbytes(rng.randint(1, 60)) for _ in range(500)]
    for _ in range(500):
        changed = bytearray(message)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        found.append(bytes(changed))
    found += [b"\x0a" + b"\xff" * size + b"\x01" for size in range(12)]  # lengths up to 2**84
    found += [b"\x0a" + length for length in (b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x0f")]
    found += [b"\x9b\x06" * depth + b"\x9c\x06" * depth for depth in (1, 63, 64, 65, 100_000)]
    found += [b"\x9b\x06" * 200_000, b"\x9c\x06", b"\x00", b"\x07", b"\x80" * 100]
    return found


def test_every_broken_message_gets_the_verdict_of_the_training_side(
    server: Server, processes: list[psutil.Process]
) -> None:
    models = {name: make_model(name) for name in ROWS[0].scores}
    messages = broken_messages()
    with unharmed(server.port, processes, ROWS), Connection(server.port) as connection:
        for at, message in enumerate(messages):
            answer = connection.call(2 * at + 1, PATH, message)
            assert answer.is_complete, (message[:80], answer)
            try:
                row = Impression.from_message(message)
            except DataError:
                assert answer.grpc_status == 3, (message[:80], answer)
                assert answer.grpc_message
            else:
                assert answer.grpc_status == 0, (message[:80], answer)
                scores = scores_of(Prediction.from_message(answer.message))
                wanted = {name: model.predict([row]).tolist()[0] for name, model in models.items()}
                assert scores == wanted, message[:80]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"user":' * 50_000,
        b'{"rows": [' + b"[" * 200_000,
        b'{"user": "u", "price": 1e999}',
        b'{"user": "u", "price": NaN}',
        b'{"user": "u", "price": ' + b"9" * 10_000 + b"}",
        b'{"user": "u", "price": true}',
        b'{"user": "\xed\xa0\x80"}',
        b'{"user": "\\ud800"}',
        b'{"user": "u", "time": "yesterday"}',
        b'{"user": "u", "time": 99999999999999999999999}',
        b'{"user": "u", "tags": [[]]}',
        b'{"rows": 7}',
        b'{"rows": [null]}',
        b'"user"',
        b"null",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_hostile_json_is_refused_in_words(server: Server, content: bytes) -> None:
    fine = {"user": "u", "site": "s", "price": 1.0, "time": "2026-01-01T00:00:00", "tags": []}
    filled = content
    if content.startswith(b'{"user": ') and content.endswith(b"}"):  # the other fields, too
        given = [name for name in fine if f'"{name}"'.encode() in content]
        others = {name: value for name, value in fine.items() if name not in given}
        filled = content[:-1] + b", " + json.dumps(others).encode()[1:]
    code, reply = ask(server.http_port, "/v1/predict", filled)
    assert code == 400, reply
    assert reply["error"]
    assert ask(server.http_port, "/v1/predict", json_row(ROWS[0].impression))[0] == 200


def test_messages_beyond_the_limit_are_refused_without_being_kept(
    fast: Server, processes: list[psutil.Process]
) -> None:
    long = grpc_message(b"\x0a" + b"x" * (8 * MIB))
    with unharmed(fast.port, processes, ROWS):
        for _ in range(5):
            with Connection(fast.port) as connection:
                with contextlib.suppress(OSError):
                    connection.start(1, PATH, long)
                answer = connection.finish(1)
                assert answer.grpc_status == 8 or answer.reset is not None or connection.is_closed
    code, reply = ask_raw(fast.http_port, 8 * MIB)
    assert code == 413, reply


def ask_raw(port: int, size: int) -> tuple[int, bytes]:
    """Code and reply to a POST whose body is announced as longer than what is sent."""
    head = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(f"{head}content-type: application/json\r\n\r\n{{".encode())
        received = connection.recv(1 << 16)
    return int(received.split(b" ")[1]), received


def test_a_length_that_never_comes_takes_no_memory(
    fast: Server, processes: list[psutil.Process]
) -> None:
    with unharmed(fast.port, processes, ROWS), contextlib.ExitStack() as opened:
        for _ in range(20):
            connection = opened.enter_context(Connection(fast.port))
            for stream in range(1, 200, 2):
                connection.send(*connection.header_frames(stream, grpc_headers(PATH)))
                connection.send(data(stream, grpc_message(b"\x0a", length=MIB), ends=False))


def test_unfinished_messages_of_some_keep_nobody_else_waiting(tmp_path: Path) -> None:
    """More of them than the server holds for all clients together."""
    store = make_store(tmp_path)
    message = grpc_message(b"", length=4 * MIB) + b"x" * (4 * MIB - 1)
    with (
        serving(store.path, "native", Impression, header_s=60) as server,
        unharmed(server.port, workers(), ROWS, growth=320 * MIB) as witness,
        contextlib.ExitStack() as opened,
    ):
        for _ in range(8):
            connection = opened.enter_context(Connection(server.port, timeout_s=0.5))
            with contextlib.suppress(OSError, AssertionError):  # it may cease to read
                for stream in range(1, 2 * 20, 2):
                    connection.send(*connection.header_frames(stream, grpc_headers(PATH)))
                    connection.send_body(stream, message, ends=False)
        witness.wait(10)


# ---------------------------------------------------------------- headers


def test_too_many_and_too_long_headers_are_refused(
    fast: Server, processes: list[psutil.Process]
) -> None:
    plain = Encoder().encode(grpc_headers(PATH))
    many = b"".join(b"\x00\x05%05d\x01v" % number for number in range(20_000))
    long = b"\x00\x06x-long\x7f\x81\xff\x3f" + b"v" * (MIB + 127)
    with unharmed(fast.port, processes, ROWS):
        for extra in (many, long):
            block = plain + extra
            pieces = [block[at : at + 16_384] for at in range(0, len(block), 16_384)]
            with Connection(fast.port) as connection:
                with contextlib.suppress(OSError):
                    connection.send(HeadersFrame(1, pieces[0]))
                    for piece in pieces[1:]:
                        connection.send(raw_frame(9, 0, 1, piece))
                    connection.send(raw_frame(9, 4, 1, b""), data(1, BODY))
                answer = connection.finish(1)
                refused = answer.headers.get(":status") == "431" or answer.grpc_status == 8
                assert refused or answer.reset is not None or connection.is_closed, answer


def test_a_header_bomb_stays_small(fast: Server, processes: list[psutil.Process]) -> None:
    """One long header in the table, named ten thousand times by one byte each."""
    with unharmed(fast.port, processes, ROWS):
        for _ in range(10):
            with Connection(fast.port) as connection:
                block = connection.block([*grpc_headers(PATH), ("x-bomb", "b" * 3900)])
                block += b"\xbe" * (16_000 - len(block))
                with contextlib.suppress(OSError):
                    connection.send(HeadersFrame(1, block, flags=["END_HEADERS"]), data(1, BODY))
                answer = connection.finish(1)
                assert answer.grpc_status != 0
                assert answer.is_over or connection.is_closed


def test_a_flood_of_continuations_is_cut_off(fast: Server, processes: list[psutil.Process]) -> None:
    pieces = [b"", b"\x00\x01a\x01b", b"\x00\x01a\x7f\x80\x7d" + b"v" * 16_127]
    with unharmed(fast.port, processes, ROWS), contextlib.ExitStack() as opened:
        connections = []
        for piece in pieces:
            connection = opened.enter_context(Connection(fast.port))
            connection.send(HeadersFrame(1, connection.block(grpc_headers(PATH))))
            flood(connection, raw_frame(9, 0, 1, piece) * (1 if len(piece) > 99 else 500), FLOOD)
            connections.append(connection)
        for connection in connections:
            connection.until_closed()


# ---------------------------------------------------------------- frames


def test_rapid_resets_are_cut_off(fast: Server, processes: list[psutil.Process]) -> None:
    before = metric(ask(fast.http_port, "/metrics")[1], "tadka_requests_total")
    with unharmed(fast.port, processes, ROWS):
        for _ in range(5):
            with Connection(fast.port) as connection:
                encoder, stream, is_open = Encoder(), 1, True
                connection.socket.settimeout(5)
                with contextlib.suppress(OSError):
                    while is_open and stream < 100_000:
                        parts = []
                        for _ in range(100):
                            block = encoder.encode(grpc_headers(PATH))
                            parts += [
                                HeadersFrame(stream, block, flags=["END_HEADERS"]),
                                RstStreamFrame(stream, error_code=8),
                            ]
                            stream += 2
                        connection.send(*parts)
                        while select.select([connection.socket], [], [], 0)[0]:
                            is_open = connection.step() and not connection.goaways
                            if not is_open:
                                break
                assert not is_open or connection.is_closed, "50,000 resets went through"
    assert metric(ask(fast.http_port, "/metrics")[1], "tadka_requests_total") >= before


def test_a_client_that_cancels_now_and_then_is_no_attacker(fast: Server) -> None:
    with Connection(fast.port) as connection:
        for stream in range(1, 2000, 4):
            connection.start(stream, PATH, BODY)
            connection.send(RstStreamFrame(stream, error_code=8))
            check_served(connection, stream + 2)


FLOODS: dict[str, bytes] = {
    "PING": raw_frame(6, 0, 0, b"12345678") * 1000,
    "SETTINGS": raw_frame(4, 0, 0, b"") * 1000,
    "SETTINGS of every kind": raw_frame(4, 0, 0, b"\0\4\0\0\xff\xff" * 2000),
    "PRIORITY": b"".join(
        raw_frame(2, 0, stream, struct.pack(">IB", 0, 7)) for stream in range(1, 4001, 2)
    ),
    "WINDOW_UPDATE": raw_frame(8, 0, 0, b"\0\0\0\1") * 1000,
    "unknown frames": raw_frame(0xEE, 0, 0, b"x" * 1000) * 100,
    "PING ACK": raw_frame(6, 1, 0, b"12345678") * 1000,
}


@pytest.mark.parametrize("piece", FLOODS.values(), ids=FLOODS.keys())
def test_floods_of_frames_do_not_fill_memory(
    fast: Server, processes: list[psutil.Process], piece: bytes
) -> None:
    with unharmed(fast.port, processes, ROWS):
        with Connection(fast.port) as deaf:  # reads no answer
            flood(deaf, piece, 8 * MIB)
        with Connection(fast.port) as connection:
            flood_and_read(connection, piece, 8 * MIB)


def test_empty_data_frames_do_not_hold_up_others(
    fast: Server, processes: list[psutil.Process]
) -> None:
    with unharmed(fast.port, processes, ROWS), Connection(fast.port) as connection:
        connection.send(*connection.header_frames(1, grpc_headers(PATH)))
        flood(connection, raw_frame(0, 0, 1, b"") * 1000, 8 * MIB)


def test_random_frames_never_harm(fast: Server, processes: list[psutil.Process]) -> None:
    rng = random.Random(7)
    with unharmed(fast.port, processes, ROWS):
        for _ in range(300):
            with Connection(fast.port) as connection, contextlib.suppress(OSError):
                connection.start(1, PATH, BODY)
                for _ in range(rng.randint(1, 20)):
                    kind, flags = rng.randrange(11), rng.choice([0, 1, 4, 5, 8, 0x20, 0xFF])
                    stream, body = rng.choice([0, 1, 3, 5]), rng.randbytes(rng.randrange(30))
                    connection.send(raw_frame(kind, flags, stream, body))


# ---------------------------------------------------------------- connections


BEGINNINGS = {
    "nothing": b"",
    "half a preface": PREFACE[:10],
    "half headers": pack(PREFACE, SettingsFrame(0), raw_frame(1, 0, 1, b"\x82")),
    "no body": pack(
        PREFACE, SettingsFrame(0), raw_frame(1, 4, 1, Encoder().encode(grpc_headers(PATH)))
    ),
    "one byte": b"G",
    "half a head": b"GET /healthz HTTP/1.1\r\nhost: x\r\n",
    "half a body": b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
    "half a chunk": b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5",
}


def test_clients_that_begin_and_go_silent_are_closed(
    fast: Server, processes: list[psutil.Process]
) -> None:
    with unharmed(fast.port, processes, ROWS), contextlib.ExitStack() as opened:
        connections = []
        for name, start in BEGINNINGS.items():
            for _ in range(50):
                connection = opened.enter_context(Connection(fast.port, greet=False))
                connection.socket.sendall(start)
                connections.append((name, connection))
        for name, connection in connections:
            if name == "no body":  # its stream at least
                connection.until(lambda c=connection: c.is_closed or c.answer(1).is_over)  # type: ignore[misc]
            else:
                with contextlib.suppress(ConnectionResetError):
                    while connection.socket.recv(1 << 16):
                        pass


def test_a_request_that_drips_is_cut_off(fast: Server, processes: list[psutil.Process]) -> None:
    """A byte now and then is no sign of life: the time counts from the first one."""
    head = b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 1000
    with unharmed(fast.port, processes, ROWS):
        with socket.create_connection(("127.0.0.1", fast.port)) as connection:
            dripped = drip(connection, head)
            assert dripped < len(head)
        with Connection(fast.port) as second:
            headers = second.header_frames(1, grpc_headers(PATH))
            second.send(*headers, data(1, grpc_message(b"", length=1000), ends=False))
            ends = drip(second.socket, raw_frame(0, 0, 1, b"x") * 900, step=10)
            assert ends < 9000


def drip(connection: socket.socket, content: bytes, step: int = 1) -> int:
    """Sends a step, waits a little for the server to hang up, and so on; bytes sent."""
    for at in range(0, len(content), step):
        try:
            connection.sendall(content[at : at + step])
            if select.select([connection], [], [], 0.05)[0]:
                received = connection.recv(1 << 16)
                closed = not received or b"HTTP/1.1 4" in received
                if closed or any(
                    received[i + 3] in {3, 7}  # RST_STREAM, GOAWAY
                    for i in frame_starts(received)
                ):
                    return at
        except OSError:
            return at
    return len(content)


def frame_starts(received: bytes) -> Iterator[int]:
    """Where the frames of a received piece begin, if it is whole frames."""
    at = 0
    while at + 9 <= len(received):
        yield at
        at += 9 + int.from_bytes(received[at : at + 3])


def test_a_client_that_never_reads_is_bounded(
    fast: Server, processes: list[psutil.Process]
) -> None:
    body = json.dumps({"rows": [json_row(ROWS[0].impression)] * 1000}).encode()
    head = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    request = f"{head}content-type: application/json\r\n\r\n".encode() + body
    with unharmed(fast.port, processes, ROWS, growth=64 * MIB), contextlib.ExitStack() as opened:
        for _ in range(4):
            connection = opened.enter_context(Connection(fast.port, greet=False))
            connection.socket.settimeout(0.5)  # it stops reading us once we read nothing
            with contextlib.suppress(OSError):
                for _ in range(50):
                    connection.socket.sendall(request)


def test_a_client_that_gives_no_window_is_bounded(
    fast: Server, processes: list[psutil.Process]
) -> None:
    settings = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
    with unharmed(fast.port, processes, ROWS), contextlib.ExitStack() as opened:
        for _ in range(20):
            connection = opened.enter_context(Connection(fast.port, settings=settings))
            with contextlib.suppress(OSError):
                for stream in range(1, 800, 2):
                    connection.start(stream, PATH, BODY)


GARBAGE = {
    "TLS": HELLO,
    "zeros": b"\0" * 4096,
    "ones": b"\xff" * 4096,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "empty lines": b"\r\n" * 100,
    "nearly HTTP/2": b"PRI * HTTP/2.0\r\n\r\nXX",
    "random": random.Random(1).randbytes(100_000),
    "a long line": b"A" * 1_000_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_hung_up_on(
    server: Server, processes: list[psutil.Process], garbage: bytes
) -> None:
    with unharmed(server.port, processes, ROWS):
        for port in (server.port, server.http_port) * 10:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
                contextlib.suppress(ConnectionError),
            ):
                connection.sendall(garbage)
                with contextlib.suppress(OSError):  # it has hung up already
                    connection.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
                assert not received.startswith(b"HTTP/1.1 2")


def test_two_thousand_connections_are_served_and_let_go(
    fast: Server, processes: list[psutil.Process]
) -> None:
    def crowd() -> None:
        with contextlib.ExitStack() as opened:
            connections = [opened.enter_context(Connection(fast.port)) for _ in range(2000)]
            for connection in connections:
                connection.start(1, PATH, BODY)
            for connection in connections:
                answer = connection.finish(1)
                assert scores_of(Prediction.from_message(answer.message)) == ROWS[0].scores

    with unharmed(fast.port, processes, ROWS, growth=96 * MIB):
        crowd()
    with unharmed(fast.port, processes, ROWS, growth=24 * MIB):  # what the first left is used
        crowd()


# ---------------------------------------------------------------- memory


@pytest.mark.needs_http2
def test_memory_is_flat_over_hundreds_of_thousands_of_requests(
    fast: Server, processes: list[psutil.Process], tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(BODY)
    options = ("-c", 8, "-m", 32)
    h2load(fast.port, body, "-n", 20_000, *options)
    before = resident_bytes(processes)
    loaded = h2load(fast.port, body, "-n", 300_000, *options)
    assert loaded.num_succeeded == 300_000
    assert resident_bytes(processes) - before < 4 * MIB


@pytest.mark.needs_http2
def test_memory_and_descriptors_are_flat_over_many_connections(
    fast: Server, processes: list[psutil.Process], tmp_path: Path
) -> None:
    body = tmp_path / "body"
    body.write_bytes(BODY)
    options = ("-n", 500, "-c", 500)
    for _ in range(3):
        h2load(fast.port, body, *options)
    before = resident_bytes(processes)
    for _ in range(40):
        assert h2load(fast.port, body, *options).num_succeeded == 500
    assert resident_bytes(processes) - before < 4 * MIB
    with unharmed(fast.port, processes, ROWS):
        pass
    assert sum(process.num_fds() for process in processes) < 100
