"""HTTP/1.1 at the assembled servers: requests on one connection, and ambiguous ones refused."""

import json
import re
import socket

import pytest

from tadka.serve.server import Server
from tests.clients import ask, http, json_row, make_rows

ROWS = make_rows(64)


def test_one_http_connection_serves_many_requests_and_errors_between_them(server: Server) -> None:
    with http(server.http_port) as connection:
        for row in ROWS[:20]:
            connection.request("POST", "/v1/predict", b"{", {"content-type": "application/json"})
            reply = connection.getresponse()
            assert reply.status == 400
            assert json.loads(reply.read())["error"]
            content = json.dumps(json_row(row.impression))
            connection.request("POST", "/v1/predict", content, {"content-type": "application/json"})
            reply = connection.getresponse()
            assert reply.status == 200
            scores = json.loads(reply.read())["scores"]
            assert {name: answer["score"] for name, answer in scores.items()} == row.scores


def test_http_errors_have_their_codes(server: Server) -> None:
    port, row = server.http_port, json_row(ROWS[0].impression)
    assert ask(port, "/nowhere")[0] == 404
    assert ask(port, "/v1/predict")[0] == 405
    assert ask(port, "/metrics", {})[0] == 405
    assert ask(port, "/v1/predict", row, content_type="text/csv")[0] == 415
    assert ask(port, "/v1/predict", row | {"colour": "red"})[0] == 400
    assert ask(port, "/v1/predict", row | {"user": "faulty"})[0] == 500
    assert ask(port, "/v1/predict", row, tadka_models="ltv")[0] == 404
    code, reply = ask(port, "/v1/predict", {"site": "s"})
    assert code == 400
    assert "user" in reply["error"]


def exchange(port: int, request: bytes) -> bytes:
    """All that comes back until the server closes; the request must make it close."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_http_requests_in_one_packet_are_answered_in_order(fast: Server) -> None:
    rows = ROWS[:32]
    parts = []
    for row in rows:
        content = json.dumps(json_row(row.impression)).encode()
        head = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n"
        parts.append(f"{head}content-type: application/json\r\n\r\n".encode() + content)
    last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    received = exchange(fast.http_port, b"".join(parts) + last)
    replies = received.split(b"HTTP/1.1 ")[1:]
    assert len(replies) == len(rows) + 1
    for row, reply in zip(rows, replies, strict=False):
        scores = json.loads(reply.split(b"\r\n\r\n", 1)[1])["scores"]
        assert {name: answer["score"] for name, answer in scores.items()} == row.scores


def test_a_body_in_chunks_is_read(fast: Server) -> None:
    content = json.dumps(json_row(ROWS[0].impression)).encode()
    chunks = b"".join(b"1;ignored=yes\r\n%c\r\n" % byte for byte in content)
    head = (
        b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    received = exchange(fast.http_port, head + chunks + b"0\r\nx-trailer: 1\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200")
    scores = json.loads(received.split(b"\r\n\r\n", 1)[1])["scores"]
    assert scores["ctr"]["score"] == ROWS[0].scores["ctr"]


@pytest.mark.parametrize(
    "head",
    [
        "POST /v1/predict HTTP/1.1\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n",
        "POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n",
        "POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: -4\r\n",
        "POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: +4\r\n",
        "POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n",
        "POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length : 4\r\n",
        "POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n folded: yes\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nno colon\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nna\0me: x\r\n",
        "GET /healthz HTTP/3.0\r\nhost: x\r\n",
        "GET  /healthz HTTP/1.1\r\nhost: x\r\n",
        "GET /healthz\r\nhost: x\r\n",
    ],
)  # fmt: skip
def test_ambiguous_http_is_refused_and_the_connection_closed(fast: Server, head: str) -> None:
    smuggled = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
    received = exchange(fast.http_port, f"{head}\r\n0\r\n\r\n{smuggled}".encode())
    assert len(re.findall(rb"HTTP/1\.1 \d{3} ", received)) == 1, received
    code = int(received.split(b" ")[1])
    assert 400 <= code <= 505
    assert b"tadka_" not in received
