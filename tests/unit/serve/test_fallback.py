import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tadka.core.error import LaunchError
from tadka.serve.config import ServeConfig
from tadka.serve.prediction import Prediction
from tadka.serve.store.custom import PythonModel
from tadka.serve.workers.fallback import Fallback
from tadka.serve.workers.webserver import MAX_CONNECTIONS
from tests.unit.serve.rows import GOOD, PREDICT, Served, Visit, as_json, hostile_rows, make_model

MESSAGE = GOOD.to_message()
BODY = json.dumps(as_json(GOOD)).encode()
JSON = {"content-type": "application/json"}


class Gate:
    """A user's own model that waits until a test lets it go on."""

    is_inside = threading.Event()
    may_go = threading.Event()
    batches: list[int] = []

    def predict(self, rows: Any) -> Any:
        if rows[0].user == "wait":
            Gate.is_inside.set()
            assert Gate.may_go.wait(30)
        Gate.batches.append(len(rows))
        return np.full(len(rows), 0.5)


def waiting() -> bytes:
    return Visit(**{**vars(GOOD), "user": "wait"}).to_message()


class Running:
    """A server with a client for each protocol."""

    def __init__(self, served: Served, **settings: Any) -> None:
        self.served = served
        self.config = ServeConfig(**{"port": 0, "http_port": 0, "grace_s": 10.0, **settings})
        self.fallback = Fallback(served.handler, self.config)
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.fallback.port}", options=options)

    def call(self, message: bytes, path: str = PREDICT, **values: Any) -> bytes:
        reply = self.channel.unary_unary(path)(message, timeout=20, **values)
        assert isinstance(reply, bytes)
        return reply

    def failure(self, message: bytes, path: str = PREDICT, **values: Any) -> tuple[Any, str]:
        with pytest.raises(grpc.RpcError) as raised:
            self.call(message, path, **values)
        error: Any = raised.value
        return error.code(), error.details()

    @contextlib.contextmanager
    def http(self) -> Iterator[HTTPConnection]:
        connection = HTTPConnection("127.0.0.1", self.fallback.http_port, timeout=20)
        try:
            yield connection
        finally:
            connection.close()

    def post(self, body: bytes = BODY, headers: Mapping[str, str] = JSON) -> Any:
        with self.http() as connection:
            connection.request("POST", "/v1/predict", body, {**JSON, **headers})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())

    def raw(self, request: bytes) -> bytes:
        """All that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.fallback.http_port), 20) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextlib.contextmanager
def running(served: Served, **settings: Any) -> Iterator[Running]:
    server = Running(served, **settings)
    try:
        yield server
    finally:
        server.channel.close()
        server.fallback.drain(0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(Served(tmp_path_factory.mktemp("fallback")), max_message_bytes=100_000) as server:
        yield server


@pytest.fixture
def gated(tmp_path: Path) -> Served:
    Gate.is_inside.clear()
    Gate.may_go.clear()
    served = Served(tmp_path, {"own": PythonModel(Gate(), Visit)})
    Gate.batches.clear()
    return served


# ---------------------------------------------------------------- answers


def test_every_door_gives_the_scores_of_the_training_side(server: Running) -> None:
    models = server.served.models
    with server.http() as connection:
        for row in hostile_rows():
            wanted = {name: model.score(row) for name, model in models.items()}
            prediction = Prediction.from_message(server.call(row.to_message()))
            assert {s.model: s.score for s in prediction.scores} == wanted
            connection.request("POST", "/v1/predict", json.dumps(as_json(row)), JSON)
            scores = json.loads(connection.getresponse().read())["scores"]
            assert {name: found["score"] for name, found in scores.items()} == wanted


def test_metadata_names_the_request_and_the_models(server: Running) -> None:
    metadata = (("x-request-id", "mine"), ("tadka-models", "cvr,ctr"))

    prediction = Prediction.from_message(server.call(MESSAGE, metadata=metadata))

    assert prediction.request_id == "mine"
    assert [score.model for score in prediction.scores] == ["cvr", "ctr"]
    long = Prediction.from_message(server.call(MESSAGE, metadata=(("x-request-id", "a" * 129),)))
    assert len(long.request_id) == 16
    code, found = server.post(headers={"x-request-id": "mine", "tadka-models": "cvr"})
    assert (code, found["request_id"], list(found["scores"])) == (200, "mine", ["cvr"])


def test_statuses_and_messages_reach_the_client(server: Running) -> None:
    code, text = server.failure(b"\x0a\x01\xff")
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "field 'user' is not UTF-8" in text
    code, text = server.failure(MESSAGE, "/no.such.Service/Method")
    assert code == grpc.StatusCode.UNIMPLEMENTED
    assert PREDICT in text
    code, text = server.failure(MESSAGE, metadata=(("tadka-models", "ltv"),))
    assert code == grpc.StatusCode.NOT_FOUND
    code, text = server.failure(b"\x0a\x06faulty")
    assert code == grpc.StatusCode.INTERNAL
    assert "a property that fails" in text
    code, text = server.failure(b"x" * 200_000)
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    code, text = server.failure(MESSAGE, compression=grpc.Compression.Gzip)
    assert code == grpc.StatusCode.UNIMPLEMENTED


def test_health_and_inference_protocol_are_there(server: Running) -> None:
    assert server.call(b"", "/grpc.health.v1.Health/Check") == b"\x08\x01"
    assert server.call(b"", "/inference.GRPCInferenceService/ServerReady") == b"\x08\x01"


# ---------------------------------------------------------------- load


def test_calls_that_wait_for_the_same_model_become_one_batch(gated: Served) -> None:
    with running(gated) as server, ThreadPoolExecutor(4) as threads:
        first = threads.submit(server.call, waiting())
        assert Gate.is_inside.wait(30)
        others = [threads.submit(server.call, MESSAGE) for _ in range(3)]
        assert _eventually(lambda: len(server.fallback._combiner._waiting) == 3)
        Gate.may_go.set()
        for done in (first, *others):
            assert Prediction.from_message(done.result(30)).score == 0.5

    assert Gate.batches == [1, 3]


def test_what_waited_beyond_the_deadline_is_shed(gated: Served) -> None:
    with running(gated, deadline_ms=1) as server, ThreadPoolExecutor(8) as threads:
        first = threads.submit(server.call, waiting())
        assert Gate.is_inside.wait(30)
        # without a deadline of its own: the setting counts
        late = threads.submit(server.channel.unary_unary(PREDICT), MESSAGE)
        assert _eventually(lambda: server.fallback._combiner._waiting)
        assert _eventually(lambda: _is_old(server, 2_000_000))
        Gate.may_go.set()
        first.result(30)
        with pytest.raises(grpc.RpcError) as raised:
            late.result(30)

    error: Any = raised.value
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert gated.slot["shed"] == 1
    assert Gate.batches == [1]


def _is_old(server: Running, age_ns: int) -> bool:
    (first, *_) = server.fallback._combiner._waiting
    return time.monotonic_ns() - first.call.arrived_ns > age_ns


def _eventually(is_so: Callable[[], object]) -> bool:
    pause = threading.Event()
    for _ in range(3000):
        if is_so():
            return True
        pause.wait(0.01)
    return False


def test_shadows_score_while_nothing_waits(tmp_path: Path) -> None:
    served = Served(tmp_path, {"ctr": make_model(1)})
    served.publish("ctr", make_model(2), "candidate")
    served.store.shadow(["candidate"], model="ctr")
    served.follow()
    with running(served) as server:
        for _ in range(100):
            server.call(MESSAGE)

        assert _eventually(lambda: served.arm("ctr", 2)["shadowed"] == 100)
        assert not served.handler.num_shadows


def test_a_new_version_is_taken_up_and_rolled_back_at_the_next_request(tmp_path: Path) -> None:
    served = Served(tmp_path, {"ctr": make_model(1)})
    with running(served) as server:
        assert served.slot["generation"] == served.store.state().generation

        served.publish("ctr", make_model(2))

        def version() -> int:
            return Prediction.from_message(server.call(MESSAGE)).scores[0].version

        assert _eventually(lambda: version() == 2)
        served.store.rollback("ctr")
        assert version() == 1
        assert served.slot["generation"] == served.store.state().generation
        assert served.slot["swaps"] == 2


# ---------------------------------------------------------------- HTTP


def test_one_connection_serves_many_requests(server: Running) -> None:
    with server.http() as connection:
        for body, code in ((BODY, 200), (b"{", 400), (BODY, 200)):
            connection.request("POST", "/v1/predict", body, JSON)
            reply = connection.getresponse()
            assert reply.status == code
            assert json.loads(reply.read())
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"


def test_http_1_0_closes_unless_told_otherwise(server: Running) -> None:
    assert server.raw(b"GET /healthz HTTP/1.0\r\n\r\n").endswith(b"connection: close\r\n\r\nok\n")
    with socket.create_connection(("127.0.0.1", server.fallback.http_port), 20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        assert b"connection: keep-alive" in connection.recv(65536)


def test_requests_in_one_packet_are_answered_in_order(server: Running) -> None:
    pages = [b"/healthz", b"/v2", b"/nowhere", b"/healthz"]
    parts = [b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % page for page in pages]
    last = b"GET /proto HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

    replies = server.raw(b"".join(parts) + last).split(b"HTTP/1.1 ")[1:]

    assert [reply[:3] for reply in replies] == [b"200", b"200", b"404", b"200", b"200"]


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"POST /v1/predict HTTP/1.1\r\ncontent-length: 200000\r\n\r\n", 413),
        (b"POST /v1/predict HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST /v1/predict HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST /v1/predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\n\r\n", 505),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(
    server: Running, request_bytes: bytes, code: int
) -> None:
    reply = server.raw(request_bytes)

    assert int(reply.split(b" ")[1]) == code
    assert json.loads(reply.split(b"\r\n\r\n", 1)[1])["error"]
    assert server.post()[0] == 200


def test_a_client_that_leaves_in_the_middle_harms_nobody(server: Running) -> None:
    for part in (b"POST", b"POST /v1/predict HTTP/1.1\r\ncontent-length: 10\r\n\r\n12345"):
        with socket.create_connection(("127.0.0.1", server.fallback.http_port)) as connection:
            connection.sendall(part)
    assert server.post()[0] == 200


def test_a_slow_request_and_a_silent_connection_are_closed(tmp_path: Path) -> None:
    with running(Served(tmp_path), header_s=0.2, idle_s=0.3) as server:
        address = ("127.0.0.1", server.fallback.http_port)
        with socket.create_connection(address, 20) as slow:
            slow.sendall(b"GET / HT")
            assert slow.recv(1) == b""
        with socket.create_connection(address, 20) as silent:
            assert silent.recv(1) == b""
        assert server.post()[0] == 200


def test_connections_beyond_the_limit_are_closed_and_counted(tmp_path: Path) -> None:
    served = Served(tmp_path)
    with running(served, max_connections=2) as server, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.fallback.http_port)
        first, second, third = (
            stack.enter_context(socket.create_connection(address, 20)) for _ in range(3)
        )
        assert third.recv(1) == b""
        first.close()
        assert _eventually(lambda: served.slot["closed"] == 1)
        second.sendall(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n")
        assert b"ok" in second.recv(65536)
        assert server.post()[0] == 200
    assert served.slot["opened"] == 3
    assert MAX_CONNECTIONS >= 2


# ---------------------------------------------------------------- start and end


def test_calls_in_flight_finish_when_the_server_drains(gated: Served) -> None:
    with running(gated) as server, ThreadPoolExecutor(4) as threads:
        by_grpc = threads.submit(server.call, waiting())
        assert Gate.is_inside.wait(30)
        by_http = threads.submit(server.post)
        assert _eventually(lambda: server.fallback._combiner._waiting)
        ended = threads.submit(server.fallback.drain, 20)
        assert _eventually(lambda: gated.handler.is_draining)
        Gate.may_go.set()
        assert Prediction.from_message(by_grpc.result(30)).score == 0.5
        assert by_http.result(30)[0] == 200
        ended.result(30)
        with pytest.raises(OSError, match="refused"):
            server.post()


def test_a_parent_ends_it(tmp_path: Path) -> None:
    for message in (b"d", b""):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with mine, theirs:
            server = Running(Served(tmp_path / (message.decode() or "dead")))
            runner = threading.Thread(target=server.fallback.run, args=(theirs,))
            runner.start()
            assert Prediction.from_message(server.call(MESSAGE))["ctr"] > 0
            if message:
                mine.send(message)
            else:
                mine.close()
            runner.join(30)
            assert not runner.is_alive()
            server.channel.close()


def test_workers_share_their_ports(tmp_path: Path) -> None:
    with running(Served(tmp_path / "one")) as one:
        ports = {"port": one.fallback.port, "http_port": one.fallback.http_port}
        with running(Served(tmp_path / "two"), **ports) as two:
            assert two.fallback.port == one.fallback.port
            assert two.post()[0] == 200


def test_a_port_that_another_program_holds_is_named(tmp_path: Path) -> None:
    served = Served(tmp_path)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        with pytest.raises(LaunchError, match=f"Port {port} of '127.0.0.1' cannot be bound"):
            Fallback(served.handler, ServeConfig(port=port, http_port=0))
        with pytest.raises(LaunchError, match=f"Port {port} of '127.0.0.1' cannot be bound"):
            Fallback(served.handler, ServeConfig(port=0, http_port=port))
