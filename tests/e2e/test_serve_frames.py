"""HTTP/2 frames made by hand: what the protocol allows is served, what it forbids is refused.

Most tests are of the native server alone; grpcio's own HTTP/2 is others' work.
"""

import contextlib
import json
import socket
from collections.abc import Sequence

import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tadka.serve.prediction import Prediction
from tadka.serve.server import Server
from tests.clients import PATH, Row, check_alive, is_right, json_row, make_rows, scores_of
from tests.http2 import (
    PREFACE,
    WINDOW,
    Connection,
    Header,
    data,
    grpc_headers,
    grpc_message,
    pack,
    raw_frame,
)
from tests.serving import Impression, make_model

ROWS = make_rows(300)
BODY = grpc_message(ROWS[0].message)
REFUSED_STREAM, CANCEL = 7, 8


def json_headers(size: int) -> list[Header]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/v1/predict"),
        (":authority", "test"),
        ("content-type", "application/json"),
        ("content-length", str(size)),
    ]


# ---------------------------------------------------------------- connection


def test_settings_are_acknowledged_and_pings_answered(server: Server) -> None:
    with Connection(server.port, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 7}) as connection:
        connection.send(PingFrame(0, b"01234567"))
        assert connection.until(lambda: connection.num_acks and connection.pongs)
        connection.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 20}))
        assert connection.until(lambda: connection.num_acks == 2)
        connection.send(PingFrame(0, b"abcdefgh"))
        assert connection.until(lambda: connection.pongs == [b"01234567", b"abcdefgh"])


def test_a_ping_is_answered_while_a_request_is_incomplete(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(*connection.header_frames(1, grpc_headers(PATH)))
        connection.send(data(1, BODY[:9], ends=False), PingFrame(0, b"01234567"))
        assert connection.until(lambda: connection.pongs)
        connection.send(data(1, BODY[9:]))
        assert is_right(connection.finish(1), ROWS[0])


def test_the_server_says_what_it_takes(fast: Server) -> None:
    with Connection(fast.port) as connection:
        assert connection.until(lambda: connection.settings)
        assert connection.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 256
        assert 0 < connection.settings[SettingsFrame.MAX_HEADER_LIST_SIZE] <= 1 << 16


@pytest.mark.parametrize("size", [0, 1, 64, 4096, 65536])
def test_the_hpack_table_of_answers_follows_the_clients_setting(server: Server, size: int) -> None:
    with Connection(server.port) as connection:
        assert is_right(connection.call(1, PATH, ROWS[0].message), ROWS[0])
        for stream, table in ((3, 0), (5, size), (7, 0), (9, 65536), (11, 4096)):
            acks = connection.num_acks
            connection.send(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: table}))
            assert connection.until(lambda acks=acks: connection.num_acks > acks)  # type: ignore[misc]
            connection.decoder.max_allowed_table_size = table
            assert is_right(connection.call(stream, PATH, ROWS[stream].message), ROWS[stream])


def test_the_hpack_table_of_requests_may_shrink_and_grow(server: Server) -> None:
    with Connection(server.port) as connection:
        for at, size in enumerate([4096, 0, 4096, 0, 0, 100, 4096]):
            connection.encoder.header_table_size = size
            answer = connection.call(2 * at + 1, PATH, ROWS[at].message, ("x-request-id", f"i{at}"))
            assert is_right(answer, ROWS[at])
            assert Prediction.from_message(answer.message).request_id == f"i{at}"


def test_goaway_of_the_client_lets_open_calls_finish(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(*connection.header_frames(1, grpc_headers(PATH)))
        connection.send(data(1, BODY[:9], ends=False), GoAwayFrame(0, last_stream_id=0))
        connection.send(data(1, BODY[9:]))
        assert is_right(connection.finish(1), ROWS[0])
    check_alive(server.port, ROWS[0])


def test_priorities_and_unknown_frames_are_ignored(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(
            PriorityFrame(5, depends_on=0, stream_weight=200, exclusive=True),
            PriorityFrame(7, depends_on=5, stream_weight=1),
            raw_frame(0x10, 0, 0, b"\0\0\0\x01u=1"),  # PRIORITY_UPDATE
            raw_frame(0xEE, 0xFF, 0, b"of a later version"),
            raw_frame(0xEF, 0xFF, 9, b"on an idle stream"),
            raw_frame(0xF0, 0, 0, b""),
        )
        frames = connection.header_frames(11, grpc_headers(PATH))
        assert isinstance(frames[0], HeadersFrame)
        frames[0].flags.add("PRIORITY")
        frames[0].depends_on, frames[0].stream_weight = 7, 16
        connection.send(*frames, raw_frame(0xEE, 0, 11, b"between"), data(11, BODY))
        assert is_right(connection.finish(11), ROWS[0])


def test_unknown_settings_are_ignored(server: Server) -> None:
    with Connection(server.port, settings={0xABCD: 7, 0x9: 1}) as connection:
        assert is_right(connection.call(1, PATH, ROWS[0].message), ROWS[0])


# ---------------------------------------------------------------- requests in pieces


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_is_dropped(fast: Server, padding: int) -> None:  # grpcio refuses any
    with Connection(fast.port) as connection:
        (head,) = connection.header_frames(1, grpc_headers(PATH))
        assert isinstance(head, HeadersFrame)
        head.flags.add("PADDED")
        head.pad_length = padding
        pieces = [BODY[at : at + 7] for at in range(0, len(BODY), 7)]
        connection.send(head, *(data(1, piece, ends=False, padding=padding) for piece in pieces))
        connection.send(data(1, b"", padding=padding))
        assert is_right(connection.finish(1), ROWS[0])


def test_padding_counts_as_received_and_windows_come_back(fast: Server) -> None:
    with Connection(fast.port) as connection:
        connection.until(lambda: connection.settings)
        stream = connection.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, WINDOW)
        connection.send(*connection.header_frames(1, grpc_headers(PATH)))
        for _ in range(2 * stream // 256):  # twice the window, nearly all of it padding
            while min(connection._windows[0], connection._window(1)) < 256:
                assert connection.step()
            connection._windows[0] -= 256
            connection._windows[1] -= 256
            connection.send(data(1, b"", ends=False, padding=255))
        connection.send(data(1, BODY))
        assert is_right(connection.finish(1), ROWS[0])


@pytest.mark.parametrize("num_frames", [2, 3, 8])
def test_headers_are_put_together_from_continuations(server: Server, num_frames: int) -> None:
    with Connection(server.port) as connection:
        headers = grpc_headers(PATH, ("x-request-id", "in-pieces"), ("x-more", "m" * 300))
        block = connection.block(headers)
        split = -(-len(block) // num_frames)
        pieces = [block[at : at + split] for at in range(0, len(block), split)]
        frames: list[Frame] = [HeadersFrame(1, pieces[0])]
        frames += [ContinuationFrame(1, piece) for piece in pieces[1:]]
        frames[-1].flags.add("END_HEADERS")
        connection.send(*frames, data(1, BODY))
        answer = connection.finish(1)
        assert is_right(answer, ROWS[0])
        assert Prediction.from_message(answer.message).request_id == "in-pieces"


def first_call() -> bytes:
    """All bytes of a client that calls once."""
    block = Encoder().encode(grpc_headers(PATH))
    headers = HeadersFrame(1, block, flags=["END_HEADERS"])
    return pack(PREFACE, SettingsFrame(0), headers, data(1, BODY))


def test_a_call_may_be_split_at_every_byte(fast: Server) -> None:
    call = first_call()
    with Connection(fast.port) as probe:
        for at in range(1, len(call)):
            with Connection(fast.port, greet=False) as connection:
                connection.send(call[:at])
                pongs = len(probe.pongs)
                probe.send(PingFrame(0, b"so far??"))  # once answered, the first part was read
                assert probe.until(lambda pongs=pongs: len(probe.pongs) > pongs)  # type: ignore[misc]
                connection.send(call[at:])
                assert is_right(connection.finish(1), ROWS[0]), at


def test_a_call_may_come_byte_by_byte(server: Server) -> None:
    with Connection(server.port, greet=False) as connection:
        for byte in first_call():
            connection.send(bytes([byte]))
        assert is_right(connection.finish(1), ROWS[0])


def test_many_calls_in_one_packet_are_each_answered(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.until(lambda: connection.settings)
        num = min(256, connection.settings.get(SettingsFrame.MAX_CONCURRENT_STREAMS, 256))
        parts: list[Frame] = []
        for at in range(num):
            stream = 2 * at + 1
            parts += connection.header_frames(stream, grpc_headers(PATH))
            parts.append(data(stream, grpc_message(ROWS[at].message)))
        connection.send(*parts)
        answers = connection.finish_all(range(1, 2 * num, 2))
        assert all(is_right(answer, row) for answer, row in zip(answers, ROWS, strict=False))


def test_256_streams_may_be_open_at_once_and_interleave(fast: Server) -> None:
    with Connection(fast.port) as connection:
        streams = range(1, 512, 2)
        for stream in streams:
            connection.send(*connection.header_frames(stream, grpc_headers(PATH)))
        for part in (slice(0, 3), slice(3, 20), slice(20, None)):
            connection.send(
                *(
                    data(stream, grpc_message(row.message)[part], ends=part.stop is None)
                    for stream, row in zip(streams, ROWS, strict=False)
                )
            )
        answers = connection.finish_all(streams)
        assert all(is_right(answer, row) for answer, row in zip(answers, ROWS, strict=False))


def test_streams_of_a_client_that_does_not_know_the_limit_are_refused(fast: Server) -> None:
    """The others are answered; a client has to see the server's settings before it can obey."""
    with Connection(fast.port, greet=False) as connection:
        streams = range(1, 2 * 300, 2)
        parts: list[Frame | bytes] = [PREFACE, SettingsFrame(0)]
        for stream in streams:
            parts += connection.header_frames(stream, grpc_headers(PATH))
        allowed, beyond = streams[:256], streams[256:]
        connection.send(*parts, *(data(stream, BODY) for stream in allowed))
        assert all(is_right(answer, ROWS[0]) for answer in connection.finish_all(allowed))
        resets = {answer.reset for answer in connection.finish_all(beyond)}
        assert resets == {REFUSED_STREAM}
        assert is_right(connection.call(streams[-1] + 2, PATH, ROWS[0].message), ROWS[0])


def test_streams_beyond_a_limit_that_is_known_cost_at_most_their_connection(fast: Server) -> None:
    with Connection(fast.port) as connection, Connection(fast.port) as other:
        connection.send(PingFrame(0, b"01234567"))
        connection.until(lambda: connection.settings and connection.pongs)
        for stream in range(1, 2 * 300, 2):
            with contextlib.suppress(OSError):
                connection.send(*connection.header_frames(stream, grpc_headers(PATH)))
        connection.until(lambda: connection.answer(599).is_over)
        assert connection.goaways or connection.answer(599).reset is not None
        assert is_right(other.call(1, PATH, ROWS[0].message), ROWS[0])


def test_trailers_in_a_request_are_taken(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(*connection.header_frames(1, grpc_headers(PATH)))
        connection.send(data(1, BODY, ends=False))
        connection.send(*connection.header_frames(1, [("x-checksum", "1")], ends=True))
        assert is_right(connection.finish(1), ROWS[0])


def test_an_empty_last_frame_ends_a_request(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(*connection.header_frames(1, grpc_headers(PATH)))
        connection.send(data(1, BODY, ends=False), data(1, b"", ends=False), data(1, b""))
        assert is_right(connection.finish(1), ROWS[0])


# ---------------------------------------------------------------- headers


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto"])
def test_content_types_of_grpc_are_taken(server: Server, kind: str) -> None:
    with Connection(server.port) as connection:
        headers = grpc_headers(PATH, content_type=kind)
        connection.send(*connection.header_frames(1, headers), data(1, BODY))
        assert is_right(connection.finish(1), ROWS[0])


@pytest.mark.parametrize("kind", ["application/json", "application/grpcs", "text/plain", ""])
def test_other_content_types_on_a_grpc_path_get_an_http_error(fast: Server, kind: str) -> None:
    with Connection(fast.port) as connection:
        headers = grpc_headers(PATH, content_type=kind)
        connection.send(*connection.header_frames(1, headers), data(1, BODY))
        answer = connection.finish(1)
        assert answer.is_complete
        assert 400 <= int(answer.headers[":status"]) < 500, answer
        assert is_right(connection.call(3, PATH, ROWS[0].message), ROWS[0])


@pytest.mark.parametrize("te", [None, "trailers, deflate", "gzip"])
def test_te_is_not_insisted_on_by_force(fast: Server, te: str | None) -> None:
    with Connection(fast.port) as connection:
        headers = grpc_headers(PATH, te=te)
        connection.send(*connection.header_frames(1, headers), data(1, BODY))
        answer = connection.finish(1)
        assert answer.is_over
        if answer.grpc_status == 0:
            assert is_right(answer, ROWS[0])
        assert is_right(connection.call(3, PATH, ROWS[0].message), ROWS[0])


def test_a_request_that_ends_with_its_headers_gets_a_status(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.send(*connection.header_frames(1, grpc_headers(PATH), ends=True))
        answer = connection.finish(1)
        assert answer.grpc_status not in {0, None}, answer
        assert is_right(connection.call(3, PATH, ROWS[0].message), ROWS[0])


def test_an_empty_message_is_a_row_of_defaults(server: Server) -> None:
    empty = Impression.from_message(b"")
    with Connection(server.port) as connection:
        answer = connection.call(1, PATH, b"")
    assert answer.grpc_status == 0
    scores = scores_of(Prediction.from_message(answer.message))
    assert scores == {name: make_model(name).predict([empty]).tolist()[0] for name in scores}


# ---------------------------------------------------------------- deadlines and resets


@pytest.mark.parametrize("text", ["1S", "99999999H", "500000u", "5M", "2000m", "99999999n"])
def test_every_unit_of_a_timeout_is_understood(server: Server, text: str) -> None:
    with Connection(server.port) as connection:
        answer = connection.call(1, PATH, ROWS[0].message, ("grpc-timeout", text))
        if not text.endswith(("n", "u")):
            assert is_right(answer, ROWS[0])
        assert answer.grpc_status in {0, 4, 8}


def test_a_call_whose_time_is_over_is_refused(fast: Server) -> None:
    with Connection(fast.port) as connection:
        for stream, text in ((1, "0n"), (3, "1n"), (5, "0S")):
            answer = connection.call(stream, PATH, ROWS[0].message, ("grpc-timeout", text))
            assert answer.grpc_status in {4, 8}, answer
        assert is_right(connection.call(7, PATH, ROWS[0].message), ROWS[0])


@pytest.mark.parametrize("text", ["", "S", "1", "-1S", "1.5S", "123456789S", "1s", "1x"])
def test_a_timeout_that_is_none_does_no_harm(fast: Server, text: str) -> None:
    with Connection(fast.port) as connection:
        answer = connection.call(1, PATH, ROWS[0].message, ("grpc-timeout", text))
        assert answer.is_over
        assert answer.grpc_status in {0, 3, 13}, answer
        assert is_right(connection.call(3, PATH, ROWS[0].message), ROWS[0])


@pytest.mark.parametrize("moment", ["headers", "half", "end", "answer"])
def test_a_reset_at_any_moment_leaves_the_others_alone(server: Server, moment: str) -> None:
    with Connection(server.port) as connection:
        for stream in range(1, 80, 4):
            head = connection.header_frames(stream, grpc_headers(PATH))
            other = connection.header_frames(stream + 2, grpc_headers(PATH))
            reset = RstStreamFrame(stream, error_code=CANCEL)
            rest = [*other, data(stream + 2, BODY)]
            if moment == "headers":
                connection.send(*head, reset, *rest)
            elif moment == "half":
                connection.send(*head, data(stream, BODY[:9], ends=False), reset, *rest)
            elif moment == "end":  # in the same packet as the end of the request
                connection.send(*head, data(stream, BODY), reset, *rest)
            else:
                connection.send(*head, data(stream, BODY))
                connection.finish(stream)
                connection.send(reset, *rest)
            assert is_right(connection.finish(stream + 2), ROWS[0])
    check_alive(server.port, ROWS[0])


def test_a_client_that_leaves_amid_its_calls_is_forgotten(server: Server) -> None:
    for leave in (Connection.close, Connection.abort):
        for _ in range(20):
            connection = Connection(server.port)
            for stream in (1, 3, 5):
                connection.start(stream, PATH, BODY)
            connection.send(*connection.header_frames(7, grpc_headers(PATH)))
            leave(connection)
    check_alive(server.port, ROWS[0])


def test_a_client_that_has_said_all_still_gets_its_answers(server: Server) -> None:
    with Connection(server.port) as connection:
        connection.until(lambda: connection.num_acks > 0)
        for at in range(50):
            connection.start(2 * at + 1, PATH, grpc_message(ROWS[at].message))
        answers = connection.finish_all(range(1, 100, 2))
        connection.socket.shutdown(socket.SHUT_WR)
        assert all(is_right(answer, row) for answer, row in zip(answers, ROWS, strict=False))
        connection.until_closed()
    check_alive(server.port, ROWS[0])


# ---------------------------------------------------------------- windows


def test_large_answers_fit_through_small_windows(fast: Server) -> None:
    content = json.dumps({"rows": [json_row(row.impression) for row in ROWS]}).encode()
    for window in (1, 3, 1000):
        num_rows = 5 if window < 1000 else len(ROWS)
        body = json.dumps({"rows": json.loads(content)["rows"][:num_rows]}).encode()
        small = {SettingsFrame.INITIAL_WINDOW_SIZE: window}
        with Connection(fast.port, settings=small) as connection:
            connection.send(*connection.header_frames(1, json_headers(len(body))))
            connection.send_body(1, body)
            answer = connection.finish(1)
            assert answer.headers[":status"] == "200"
            check_json(bytes(answer.body), ROWS[:num_rows])


def check_json(body: bytes, rows: Sequence[Row]) -> None:
    predictions = json.loads(body)["predictions"]
    assert len(predictions) == len(rows)
    for row, prediction in zip(rows, predictions, strict=True):
        scores = prediction["scores"]
        assert {name: scores[name]["score"] for name in scores} == row.scores


def test_an_answer_waits_for_a_window_while_others_pass(fast: Server) -> None:
    """An exhausted stream does not stop the connection; the connection's own window stops all."""
    body = json.dumps({"rows": [json_row(row.impression) for row in ROWS]}).encode()
    empty = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}
    with Connection(fast.port, settings=empty, gives_windows=False) as connection:
        connection.send(*connection.header_frames(1, json_headers(len(body))))
        connection.send_body(1, body)
        assert connection.until(lambda: connection.answer(1).has_headers)
        connection.start(3, PATH, BODY)
        connection.send(WindowUpdateFrame(3, window_increment=1000))
        assert is_right(connection.finish(3), ROWS[0])
        assert not connection.answer(1).body
        connection.gives_windows = True
        connection.send(WindowUpdateFrame(1, window_increment=1 << 20))
        check_json(bytes(connection.finish(1).body), ROWS)


def test_a_window_below_zero_is_waited_out(fast: Server) -> None:
    body = json.dumps({"rows": [json_row(row.impression) for row in ROWS]}).encode()
    start = {SettingsFrame.INITIAL_WINDOW_SIZE: 5000}
    with Connection(fast.port, settings=start, gives_windows=False) as connection:
        connection.send(*connection.header_frames(1, json_headers(len(body))))
        connection.send_body(1, body)
        assert connection.until(lambda: len(connection.answer(1).body) == 5000)
        connection.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
        connection.send(WindowUpdateFrame(1, window_increment=4999), PingFrame(0, b"01234567"))
        assert connection.until(lambda: connection.pongs)
        assert len(connection.answer(1).body) == 5000
        connection.send(WindowUpdateFrame(1, window_increment=8))
        assert connection.until(lambda: len(connection.answer(1).body) == 5007)
        connection.gives_windows = True
        connection.send(WindowUpdateFrame(1, window_increment=1 << 20))
        check_json(bytes(connection.finish(1).body), ROWS)


def test_no_frame_is_longer_than_the_client_takes(fast: Server) -> None:
    body = json.dumps({"rows": [json_row(row.impression) for row in ROWS]}).encode()
    with Connection(fast.port) as connection:
        connection.send(*connection.header_frames(1, json_headers(len(body))))
        connection.send_body(1, body)
        longest = total = 0
        while not connection.answer(1).is_over:
            frame = connection.read()
            assert frame is not None
            connection._follow(frame)
            if isinstance(frame, DataFrame):
                longest = max(longest, len(frame.data))
                total += len(frame.data)
        assert total > 16_384 >= longest


def test_a_long_request_is_let_in_as_windows_come_back(server: Server) -> None:
    message = Impression(user="u", tags=["t" * 997] * 2000).to_message()
    with Connection(server.port) as connection:
        answer = connection.call(1, PATH, message)
    assert answer.grpc_status == 0, answer
