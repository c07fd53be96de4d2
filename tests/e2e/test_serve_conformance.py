"""Clients that others wrote get right scores, statuses and messages from both servers."""

import json
import socket
import struct
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import h2.config
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes

from tadka.serve.prediction import Prediction, service_name, service_proto
from tadka.serve.server import Server
from tests.clients import (
    GRPC_OPTIONS,
    PATH,
    GrpcClient,
    ask,
    h2load,
    json_row,
    make_rows,
    metric,
    run_node,
    run_program,
    scores_of,
)
from tests.http2 import grpc_headers, grpc_message
from tests.serving import Impression

ROWS = make_rows(64)
TRUNCATED = ROWS[0].message[:-1]
UNICODE = "naïve-☃-100%-\U0001f336"


@pytest.fixture
def body(tmp_path: Path) -> Path:
    """A request as h2load, nghttp and curl send it."""
    file = tmp_path / "body"
    file.write_bytes(grpc_message(ROWS[0].message))
    return file


@pytest.fixture
def proto(tmp_path: Path) -> Path:
    file = tmp_path / "impression.proto"
    file.write_text(service_proto(Impression), encoding="utf-8")
    return file


# ---------------------------------------------------------------- grpcio


def test_grpcio_gets_the_scores_of_the_training_side_bit_for_bit(server: Server) -> None:
    with GrpcClient(server.port) as client:
        for row in ROWS:
            prediction = client.predict(row.message)
            assert scores_of(prediction) == row.scores
            assert {score.version for score in prediction.scores} == {1}


def test_the_clients_request_id_comes_back_and_else_one_is_made(server: Server) -> None:
    with GrpcClient(server.port) as client:
        given = client.predict(ROWS[0].message, [("x-request-id", "auction-7/imp 1")])
        made = [client.predict(ROWS[0].message).request_id for _ in range(3)]
        unusable = client.predict(ROWS[0].message, [("x-request-id", "x" * 129)]).request_id
    assert given.request_id == "auction-7/imp 1"
    for request_id in (*made, unusable):
        assert len(request_id) == 16
        int(request_id, 16)
    assert len(set(made)) == 3


def test_metadata_chooses_models_and_their_order(server: Server) -> None:
    with GrpcClient(server.port) as client:
        for asked in ("cvr", "ctr", "cvr,ctr", "ctr, cvr"):
            prediction = client.predict(ROWS[1].message, [("tadka-models", asked)])
            wanted = [name.strip() for name in asked.split(",")]
            assert [score.model for score in prediction.scores] == wanted
            assert all(prediction[name] == ROWS[1].scores[name] for name in wanted)
        code, text = client.failure(ROWS[1].message, [("tadka-models", "ctr,ltv")])
    assert code is grpc.StatusCode.NOT_FOUND
    assert "ltv" in text


def test_statuses_and_messages_reach_grpcio(server: Server) -> None:
    with GrpcClient(server.port) as client:
        code, text = client.failure(TRUNCATED)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert text
        code, text = client.failure(Impression(user="faulty").to_message())
        assert code is grpc.StatusCode.INTERNAL
        assert "initials" in text
        assert scores_of(client.predict(ROWS[0].message)) == ROWS[0].scores
    with GrpcClient(server.port, "/tadka.impression.Predictor/Guess") as client:
        code, text = client.failure(ROWS[0].message)
        assert code is grpc.StatusCode.UNIMPLEMENTED


def test_unicode_in_a_message_arrives_whole(server: Server) -> None:
    metadata = [("tadka-models", "ctr,ltv")]
    with GrpcClient(server.port, f"/{UNICODE}/Predict") as client:
        code, _ = client.failure(ROWS[0].message, metadata)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    status, reply = ask(
        server.http_port, "/v1/predict", json_row(ROWS[0].impression) | {UNICODE: 1}
    )
    assert status == 400
    assert UNICODE in reply["error"]


def test_text_that_is_no_utf8_is_refused_with_the_field(server: Server) -> None:
    with GrpcClient(server.port) as client:
        code, text = client.failure(b"\x0a\x04ab\xff\xfe")
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "user" in text


def test_a_message_that_is_too_long_is_refused_and_the_next_answered(server: Server) -> None:
    huge = Impression(user="u" * (5 << 20)).to_message()
    with GrpcClient(server.port) as client:
        code, _ = client.failure(huge, timeout_s=15)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert scores_of(client.predict(ROWS[2].message)) == ROWS[2].scores


def test_a_long_message_within_the_limit_is_scored(server: Server) -> None:
    (row,) = make_rows(1, seed=5)
    message = row.message + Impression(user="", tags=["x" * 1000] * 3000).to_message()
    expected = Impression.from_message(message)
    with GrpcClient(server.port) as client:
        prediction = client.predict(message, timeout_s=15)
    status, reply = ask(server.http_port, "/v1/predict", json_row(expected))
    assert status == 200
    assert scores_of(prediction) == {
        name: answer["score"] for name, answer in reply["scores"].items()
    }


def test_health_says_serving_for_the_server_and_the_service(server: Server) -> None:
    for name in ("", service_name(Impression)):
        request = b"\x0a" + bytes([len(name)]) + name.encode() if name else b""
        with GrpcClient(server.port, "/grpc.health.v1.Health/Check") as client:
            assert client.send(request) == b"\x08\x01"
    with GrpcClient(server.port, "/grpc.health.v1.Health/Check") as client:
        code, _ = client.failure(b"\x0a\x04nope")
    assert code is grpc.StatusCode.NOT_FOUND
    with GrpcClient(server.port, "/grpc.health.v1.Health/Watch") as client:
        code, _ = client.failure(b"")
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_a_compressed_message_is_refused_by_name(fast: Server) -> None:
    channel = grpc.insecure_channel(f"127.0.0.1:{fast.port}", compression=grpc.Compression.Gzip)
    with channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(PATH)(Impression(user="u" * 1000).to_message(), timeout=5)
    error = raised.value
    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


# ---------------------------------------------------------------- grpc-js


@pytest.mark.needs_node
def test_the_node_client_gets_scores_statuses_and_trailers(server: Server, proto: Path) -> None:
    calls = [
        {"hex": row.message.hex(), "metadata": {"x-request-id": f"n{at}"}}
        for at, row in enumerate(ROWS)
    ]
    answers = run_node(
        server.port,
        proto,
        [
            *calls,
            {"hex": TRUNCATED.hex()},
            {"request": {"user": "faulty"}},
            {"request": {"user": "u"}, "metadata": {"tadka-models": "cvr"}},
            {"request": {"user": "u"}, "path": "/tadka.impression.Predictor/Guess"},
        ],
    )
    for at, row in enumerate(ROWS):
        reply = answers[at]["reply"]
        assert reply["request_id"] == f"n{at}"
        assert {score["model"]: score["score"] for score in reply["scores"]} == row.scores
    broken, faulty, one, unknown = answers[len(ROWS) :]
    assert broken["code"] == 3
    assert broken["details"]
    assert faulty["code"] == 13
    assert "initials" in faulty["details"]
    assert [score["model"] for score in one["reply"]["scores"]] == ["cvr"]
    assert unknown["code"] == 12


@pytest.mark.needs_node
def test_the_node_client_sends_fields_by_the_served_proto(server: Server, tmp_path: Path) -> None:
    status, text = ask(server.http_port, "/proto")
    assert status == 200
    assert text == service_proto(Impression)
    proto = tmp_path / "served.proto"
    proto.write_text(text, encoding="utf-8")
    row = ROWS[3].impression
    fields = {"user": row.user, "site": row.site, "price": row.price, "tags": row.tags}
    microseconds = (row.time - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001
    sent = fields | {"time": str(microseconds)}  # as JSON writes 64 bits
    (answer,) = run_node(server.port, proto, [{"request": sent}])
    scores = {score["model"]: score["score"] for score in answer["reply"]["scores"]}
    assert scores == ROWS[3].scores


# ---------------------------------------------------------------- h2load, nghttp, curl


@pytest.mark.needs_http2
def test_h2load_gets_whole_answers_and_every_one_counts_as_ok(server: Server, body: Path) -> None:
    num = 4000
    before = metric(ask(server.http_port, "/metrics")[1], "tadka_requests_total", status="OK")
    loaded = h2load(server.port, body, "-n", num, "-c", 4, "-m", 16)
    after = metric(ask(server.http_port, "/metrics")[1], "tadka_requests_total", status="OK")
    assert (loaded.num_requests, loaded.num_succeeded, loaded.num_failed) == (num, num, 0)
    with GrpcClient(server.port) as client:
        size = 5 + len(client.send(ROWS[0].message))
    assert loaded.body_bytes == num * size
    assert num <= after - before <= num + 2  # the requests for metrics themselves


@pytest.mark.needs_http2
def test_nghttp_with_its_priorities_sees_trailers(server: Server, body: Path) -> None:
    url = f"http://127.0.0.1:{server.port}{PATH}"
    printed = run_program("nghttp", "-v", "-n", "-d", body, *GRPC_OPTIONS, url)
    assert "grpc-status: 0" in printed
    assert "recv (stream_id=13) :status: 200" in printed  # its first 11 streams are for priorities


@pytest.mark.needs_http2
def test_nghttp_sends_padding_and_splits_headers(fast: Server, body: Path) -> None:
    url = f"http://127.0.0.1:{fast.port}{PATH}"
    options = ["-b", "250", "--continuation", "-w", "10", "-W", "12", "--header-table-size=0"]
    printed = run_program("nghttp", "-v", "-n", *options, "-d", body, *GRPC_OPTIONS, url)
    assert "grpc-status: 0" in printed


@pytest.mark.needs_http2
def test_curl_speaks_grpc_over_http2(server: Server, body: Path, tmp_path: Path) -> None:
    heads, reply = tmp_path / "heads", tmp_path / "reply"
    url = f"http://127.0.0.1:{server.port}{PATH}"
    options = ["-s", "-S", "--http2-prior-knowledge", "-D", str(heads), "-o", str(reply)]
    run_program("curl", *options, "--data-binary", f"@{body}", *GRPC_OPTIONS, url)
    content = reply.read_bytes()
    assert struct.unpack(">BI", content[:5]) == (0, len(content) - 5)
    assert scores_of(Prediction.from_message(content[5:])) == ROWS[0].scores
    assert "grpc-status: 0" in heads.read_text()


@pytest.mark.needs_http2
@pytest.mark.parametrize(
    "version", ["--http2-prior-knowledge", "--http2", "--http1.1", "--http1.0"]
)
def test_curl_gets_json_by_every_version_of_http(
    fast: Server, tmp_path: Path, version: str
) -> None:
    sent = tmp_path / "row.json"
    sent.write_text(json.dumps({"rows": [json_row(ROWS[0].impression)]}), encoding="utf-8")
    url = f"http://127.0.0.1:{fast.http_port}/v1/predict"
    options = ["-s", "-S", version, "-H", "content-type: application/json", "-w", "\n%{http_code}"]
    printed = run_program("curl", *options, "--data-binary", f"@{sent}", url)
    reply, code = printed.rsplit("\n", 1)
    assert code == "200"
    assert json.loads(reply)["predictions"][0]["scores"]["ctr"]["score"] == ROWS[0].scores["ctr"]


def test_both_ports_of_the_native_server_speak_both_protocols(fast: Server) -> None:
    for port in (fast.port, fast.http_port):
        with GrpcClient(port) as client:
            assert scores_of(client.predict(ROWS[0].message)) == ROWS[0].scores
        assert ask(port, "/healthz")[0] == 200


# ---------------------------------------------------------------- h2: what is sent, judged


def test_a_strict_state_machine_finds_no_fault_in_what_is_sent(server: Server) -> None:
    judge = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    judge.initiate_connection()
    judge.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0, SettingCodes.MAX_FRAME_SIZE: 1 << 15})
    paths = [PATH, "/unknown.Service/Method", PATH, PATH]
    bodies = [ROWS[0].message, b"", TRUNCATED, ROWS[1].message]
    streams = range(1, 2 * len(paths), 2)
    for stream, path, message in zip(streams, paths, bodies, strict=True):
        judge.send_headers(stream, grpc_headers(path))
        judge.send_data(stream, grpc_message(message), end_stream=True)
    judge.ping(b"are-you?")
    statuses: dict[int, str] = {}
    ended: set[int] = set()
    was_pinged = False
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        while len(ended) < len(paths) or not was_pinged:
            connection.sendall(judge.data_to_send())
            received = connection.recv(1 << 16)
            assert received, "the server closed"
            for event in judge.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    headers = {str(name): str(value) for name, value in event.headers or ()}
                    assert event.stream_id is not None
                    if "grpc-status" in headers:
                        statuses[event.stream_id] = headers["grpc-status"]
                elif isinstance(event, h2.events.StreamEnded):
                    assert event.stream_id is not None
                    ended.add(event.stream_id)
                elif isinstance(event, h2.events.PingAckReceived):
                    was_pinged = event.ping_data == b"are-you?"
                assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated)
    assert statuses == {1: "0", 3: "12", 5: "3", 7: "0"}
