"""The load generator against real servers: grpcio, http.server, and one that speaks raw frames."""

import contextlib
import http.server
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from tadka.core.error import ConfigError, DataError, MissingExtra, NotFound, Unreachable
from tadka.features import Features
from tadka.serve import load
from tadka.serve.load import LoadConfig, LoadReport, run_load
from tadka.serve.prediction import Prediction, Score
from tadka.serve.store.requests import read_rows

grpc = pytest.importorskip("grpc")
generator = pytest.importorskip("tadka.serve.generator")
Generator = generator.Generator

PATH = "/test.Echo/Call"
MESSAGES = [b"message %05d" % i for i in range(1000)]
Answer = Callable[[bytes, Any], bytes]


@contextlib.contextmanager
def grpc_server(answer: Answer, port: int = 0, threads: int = 4) -> Iterator[tuple[int, Any]]:
    server = grpc.server(futures.ThreadPoolExecutor(threads), maximum_concurrent_rpcs=None)
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Echo", {"Call": method}),)
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield port, server
    finally:
        server.stop(None).wait(10)


def echo(message: bytes, _: Any) -> bytes:
    return message


class TestGrpc:
    def test_every_message_is_sent_and_its_answer_read(self) -> None:
        with grpc_server(echo) as (port, _):
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, keep_answers=True)
            found = sender.run(count=2000)
        assert sender.answers() == MESSAGES
        assert found["grpc"] == {0: 2000}
        assert (found["sent"], found["ok"], found["failed"], found["dropped"]) == (2000, 2000, 0, 0)

    def test_latencies_are_in_order_and_the_series_has_every_request(self) -> None:
        with grpc_server(echo) as (port, _):
            found = Generator("127.0.0.1", port, PATH, MESSAGES).run(seconds=0.5, warmup_s=0.2)
        names = ["min", "p50", "p90", "p95", "p99", "p99.9", "max"]
        values = [found["latency_ms"][name] for name in names]
        assert values == sorted(values)
        assert values[0] > 0
        assert found["ok"] == sum(second["ok"] for second in found["series"])
        assert found["qps"] > 0
        assert found["cpu_s"] > 0

    def test_every_status_is_counted_and_its_message_kept(self) -> None:
        codes = {code.value[0]: code for code in grpc.StatusCode}

        def refuse(message: bytes, context: Any) -> bytes:
            number = int(message) % 17
            if number:
                context.abort(codes[number], f"nr. {number} é")
            return message

        messages = [b"%d" % i for i in range(17)]
        with grpc_server(refuse) as (port, _):
            found = Generator("127.0.0.1", port, PATH, messages).run(count=170)
        assert found["grpc"] == dict.fromkeys(range(17), 10)
        assert (found["ok"], found["failed"]) == (10, 160)
        report = LoadReport(LoadConfig(), found)
        assert report.statuses["INVALID_ARGUMENT"] == 10
        assert "nr. 3 é" in [told["text"] for told in report.to_dict()["complaints"]]

    def test_an_unknown_method_is_unimplemented(self) -> None:
        with grpc_server(echo) as (port, _):
            found = Generator("127.0.0.1", port, "/test.Echo/Other", MESSAGES).run(count=50)
        assert found["grpc"] == {12: 50}

    def test_answers_that_end_otherwise_than_expected_are_wrong(self) -> None:
        ends = [message[-3:] for message in MESSAGES]
        ends[7] = b"xyz"
        with grpc_server(echo) as (port, _):
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, expected=ends)
            found = sender.run(count=2000)
        assert (found["ok"], found["wrong"], found["failed"]) == (1998, 2, 2)

    @pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 1_000_000])
    def test_messages_of_any_size_come_back_whole(self, size: int) -> None:
        messages = [bytes([i]) * size for i in range(4)]
        with grpc_server(echo) as (port, _):
            sender = Generator("127.0.0.1", port, PATH, messages, keep_answers=True)
            found = sender.run(count=8)
        assert found["ok"] == 8
        assert sender.answers() == messages

    def test_versions_that_answers_name_are_counted_and_choose_the_expected_end(self) -> None:
        scores = {1: 0.25, 2: 0.75}

        def predict(message: bytes, _: Any) -> bytes:
            version = 1 + int(message) % 2
            score = Score("ctr", version, scores[version])
            return Prediction("0123456789abcdef", (score,)).to_message()

        messages = [b"%d" % i for i in range(100)]
        ends = [[Prediction("", (Score("m", 1, scores[v]),)).to_message()[-8:]] for v in (2, 1)]
        with grpc_server(predict) as (port, _):
            sender = Generator(
                "127.0.0.1", port, PATH, messages, versions=True, expected=[e * 100 for e in ends]
            )
            found = sender.run(count=200)
        assert found["versions"] == {1: 100, 2: 100}
        assert (found["ok"], found["wrong"]) == (200, 0)

    def test_metadata_and_deadline_arrive(self) -> None:
        seen: list[tuple[dict[str, str], float]] = []

        def look(message: bytes, context: Any) -> bytes:
            seen.append((dict(context.invocation_metadata()), context.time_remaining()))
            return message

        with grpc_server(look) as (port, _):
            sender = Generator(
                "127.0.0.1",
                port,
                PATH,
                [b"x"],
                metadata=[("tadka-models", "a,b")],
                deadline_ms=9000,
            )
            assert sender.run(count=1)["ok"] == 1
        assert seen[0][0]["tadka-models"] == "a,b"
        assert 0 < seen[0][1] <= 9


class TestOpenLoop:
    def test_the_schedule_is_kept(self) -> None:
        with grpc_server(echo) as (port, _):
            found = Generator("127.0.0.1", port, PATH, MESSAGES).run(seconds=1, rate=300)
        assert found["sent"] + found["dropped"] == 300
        assert found["ok"] == found["sent"]

    def test_random_gaps_have_the_same_mean(self) -> None:
        with grpc_server(echo) as (port, _):
            sender = Generator("127.0.0.1", port, PATH, MESSAGES)
            found = sender.run(seconds=1, rate=400, poisson=True, seed=5)
        assert 320 < found["sent"] + found["dropped"] < 480  # four standard deviations

    def test_latency_counts_from_the_schedule_when_the_server_stalls(self) -> None:
        calls = 0

        def stall(message: bytes, _: Any) -> bytes:
            nonlocal calls
            calls += 1
            if calls == 10:
                time.sleep(0.5)
            return message

        with grpc_server(stall) as (port, _):
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, connections=1, streams=1)
            found = sender.run(seconds=1, rate=100)
        # One request is slow. Those due while it ran, half of all, waited for it and say so.
        assert found["sent"] == 100
        assert found["latency_ms"]["p90"] > 300

    def test_what_cannot_be_sent_is_dropped_and_counted(self) -> None:
        release = threading.Event()

        def wait(message: bytes, _: Any) -> bytes:
            release.wait(30)
            return message

        with grpc_server(wait) as (port, _):
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, connections=1, streams=1)
            threading.Timer(1.0, release.set).start()
            found = sender.run(seconds=0.5, rate=10_000, max_backlog=100)
        assert found["sent"] + found["dropped"] == 5000
        assert found["dropped"] >= 4800
        assert found["failed"] == 0


class TestTrouble:
    def test_nothing_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        with pytest.raises(NotFound, match=f"Nothing answers at 127.0.0.1:{port}"):
            Generator("127.0.0.1", port, PATH, MESSAGES)

    def test_a_server_that_never_answers_does_not_hold_the_run(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            sender = Generator(
                "127.0.0.1", silent.getsockname()[1], PATH, MESSAGES, streams=2, timeout_s=0.2
            )
            found = sender.run(seconds=0.5)
            assert found["ok"] == 0
            assert found["timeouts"] == found["sent"] >= 8
            # Without an end of its own, too.
            found = sender.run(count=100_000)
            assert found["ok"] == 0
            assert found["sent"] + found["dropped"] == 100_000

    def test_a_server_that_dies_is_reported_and_a_new_one_found_again(self) -> None:
        reached = threading.Event()

        def count(message: bytes, _: Any) -> bytes:
            reached.set()
            return message

        result: list[dict[str, Any]] = []
        with grpc_server(count) as (port, first):
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, timeout_s=5)
            thread = threading.Thread(target=lambda: result.append(sender.run(seconds=3)))
            thread.start()
            assert reached.wait(10)
            first.stop(0).wait(10)
            reached.clear()
            with grpc_server(count, port):
                assert reached.wait(10)
                thread.join(30)
        found = result[0]
        assert found["reconnects"] >= 4
        assert found["ok"] > 0
        assert found["sent"] == found["ok"] + found["failed"]

    def test_a_run_after_the_server_restarted_opens_new_connections(self) -> None:
        with grpc_server(echo) as (port, _):
            sender = Generator("127.0.0.1", port, PATH, MESSAGES)
            assert sender.run(count=100)["ok"] == 100
        with grpc_server(echo, port):
            assert sender.run(count=100)["ok"] == 100


# ---------------------------------------------------------------- raw frames

HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


OK_200 = b"\x88" + literal(b"content-type", b"application/grpc")
MESSAGE = frame(0, 0, 0, b"\x00\x00\x00\x00\x02hi")


def answer_frames(
    stream: int, data: bytes = b"\x00\x00\x00\x00\x02hi", status: bytes = b"0"
) -> bytes:
    parts = [frame(HEADERS, 4, stream, OK_200), frame(0, 0, stream, data)]
    return b"".join(parts) + frame(HEADERS, 5, stream, literal(b"grpc-status", status))


@contextlib.contextmanager
def raw_server(answer: Callable[[int, int], bytes | None]) -> Iterator[int]:
    """Answers each HEADERS frame with `answer(stream, number)`; None closes the connection."""
    numbers = iter(range(10_000_000))

    class Raw(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.rfile.read(24)
                self.wfile.write(frame(SETTINGS, 0, 0, b""))
                while len(head := self.rfile.read(9)) == 9:
                    self.rfile.read(int.from_bytes(head[:3], "big"))
                    if head[3] != HEADERS:
                        continue
                    made = answer(int.from_bytes(head[5:], "big"), next(numbers))
                    if made is None:
                        return
                    self.wfile.write(made)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Raw) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class TestFrames:
    @pytest.mark.parametrize(
        "made",
        [
            lambda s: frame(HEADERS, 5, s, OK_200),  # no status
            lambda s: frame(HEADERS, 5, s, OK_200 + literal(b"grpc-status", b"0")),  # no message
            lambda s: answer_frames(s, b"\x00\x00"),
            lambda s: answer_frames(s, b"\x00\x00\x00\x00\x03hi"),
            lambda s: answer_frames(s, b"\x01\x00\x00\x00\x02hi"),  # compressed
            lambda s: answer_frames(s, b"\x00\x00\x00\x00\x02hihi"),
            lambda s: answer_frames(s, status=b"zero"),
        ],
    )
    def test_an_ok_that_is_none_is_malformed(self, made: Callable[[int], bytes]) -> None:
        with raw_server(lambda stream, _: made(stream)) as port:
            found = Generator("127.0.0.1", port, PATH, MESSAGES).run(count=40)
        assert (found["malformed"], found["failed"], found["ok"]) == (40, 40, 0)

    def test_a_status_without_headers_before_is_counted(self) -> None:
        only = OK_200 + literal(b"grpc-status", b"8") + literal(b"grpc-message", b"too%20late")
        with raw_server(lambda stream, _: frame(HEADERS, 5, stream, only)) as port:
            found = Generator("127.0.0.1", port, PATH, MESSAGES).run(count=40)
        assert found["grpc"] == {8: 40}
        assert found["complaints"] == [{"status": 8, "text": b"too%20late", "num": 40}]

    def test_resets_are_counted_by_code(self) -> None:
        with raw_server(lambda s, _: frame(RST_STREAM, 0, s, (2).to_bytes(4, "big"))) as port:
            found = Generator("127.0.0.1", port, PATH, MESSAGES).run(count=40)
        assert (found["resets"], found["failed"]) == ({2: 40}, 40)

    def test_a_refused_stream_is_sent_again_and_counts_once(self) -> None:
        def refuse(stream: int, number: int) -> bytes:
            if number % 2:
                return answer_frames(stream)
            return frame(RST_STREAM, 0, stream, (7).to_bytes(4, "big"))

        with raw_server(refuse) as port:
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, connections=1, streams=1)
            found = sender.run(count=40)
        assert (found["ok"], found["sent"], found["retried"]) == (40, 40, 40)

    def test_a_connection_that_is_going_away_is_replaced_without_loss(self) -> None:
        def leave(stream: int, number: int) -> bytes:
            away = frame(GOAWAY, 0, 0, stream.to_bytes(4, "big") + bytes(4))
            return answer_frames(stream) + (away if number % 10 == 9 else b"")

        with raw_server(leave) as port:
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, connections=2, streams=1)
            found = sender.run(count=100)
        assert (found["ok"], found["sent"]) == (100, 100)
        assert found["goaways"] >= 8
        assert found["reconnects"] >= 8

    def test_requests_on_a_closed_connection_are_lost(self) -> None:
        with raw_server(lambda stream, n: None if n % 10 == 9 else answer_frames(stream)) as port:
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, connections=1, streams=1)
            found = sender.run(count=50)
        assert (found["ok"], found["lost"]) == (45, 5)

    def test_garbage_ends_the_connection_and_not_the_run(self) -> None:
        with raw_server(lambda stream, n: b"\xff" * 64) as port:
            sender = Generator("127.0.0.1", port, PATH, MESSAGES, connections=1, streams=1)
            found = sender.run(count=5)
        assert (found["ok"], found["failed"]) == (0, 5)

    def test_other_answers_than_200_are_counted_as_http(self) -> None:
        with raw_server(lambda s, _: frame(HEADERS, 5, s, b"\x8d")) as port:  # :status 404
            found = Generator("127.0.0.1", port, PATH, MESSAGES).run(count=40)
        assert (found["http"], found["failed"]) == ({404: 40}, 40)

    def test_bytes_over_http2_need_no_grpc(self) -> None:
        def answer(stream: int, _: int) -> bytes:
            return frame(HEADERS, 4, stream, b"\x88") + frame(0, 1, stream, b"body")

        with raw_server(answer) as port:
            sender = Generator(
                "127.0.0.1", port, "/x", MESSAGES[:2], protocol="h2-bytes", keep_answers=True
            )
            found = sender.run(count=40)
        assert found["http"] == {200: 40}
        assert sender.answers() == [b"body", b"body"]


# ---------------------------------------------------------------- HTTP/1.1


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/bad":
            self.send_error(422)
            return
        self.send_response(200)
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (body[:3], body[3:]):
                self.wfile.write(b"%x;x=y\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\nTrailer: x\r\n\r\n")
        elif self.path == "/end":
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        else:
            if self.path == "/close":
                self.send_header("Connection", "close")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class TestHttp1:
    @pytest.mark.parametrize("path", ["/length", "/chunks", "/close", "/end"])
    def test_bodies_of_every_kind_come_back_whole(self, web: int, path: str) -> None:
        messages = [json.dumps({"row": i, "pad": "x" * i}).encode() for i in range(50)]
        sender = Generator(
            "127.0.0.1",
            web,
            path,
            messages,
            streams=1,
            protocol="http1-json",
            keep_answers=True,
        )
        found = sender.run(count=100)
        assert found["http"] == {200: 100}
        assert sender.answers() == messages

    def test_large_bodies_come_back_whole(self, web: int) -> None:
        messages = [b"%d" % i * 300_000 for i in range(3)]
        sender = Generator(
            "127.0.0.1", web, "/x", messages, streams=1, protocol="http1-json", keep_answers=True
        )
        assert sender.run(count=6)["ok"] == 6
        assert sender.answers() == messages

    def test_errors_are_counted_and_their_body_kept(self, web: int) -> None:
        sender = Generator("127.0.0.1", web, "/bad", [b"{}"], streams=1, protocol="http1-json")
        found = sender.run(count=20)
        assert found["http"] == {422: 20}
        assert found["complaints"][0]["num"] == 20

    def test_one_request_at_a_time(self) -> None:
        with pytest.raises(ConfigError, match=r"streams is 8; HTTP/1\.1 has 1"):
            Generator("127.0.0.1", 1, "/x", [b"{}"], protocol="http1-json")


# ---------------------------------------------------------------- load.py


class Clicked(Features):
    user: str
    price: float


class TestRun:
    @pytest.mark.parametrize(
        ("setting", "told"),
        [
            ({"target": "localhost"}, "'target' is 'localhost'; it must be HOST:PORT"),
            ({"target": "a:99999"}, "'target'"),
            ({"rate": 0}, "'rate' is 0"),
            ({"rate": float("nan")}, "'rate' is nan"),
            ({"seconds": 0}, "'seconds' is 0"),
            ({"warmup_s": -1}, "'warmup_s' is -1"),
            ({"connections": 0}, "'connections' is 0"),
            ({"streams": 1.5}, "'streams' is 1.5"),
            ({"deadline_ms": 0}, "'deadline_ms' is 0"),
        ],
    )
    def test_settings_out_of_range_are_named(self, setting: dict[str, Any], told: str) -> None:
        with pytest.raises(ConfigError, match=told.replace("(", r"\(")):
            LoadConfig(**setting)

    def test_an_address_of_version_6(self) -> None:
        assert LoadConfig(target="[::1]:50051").address == ("::1", 50051)

    def test_the_report_tells_all(self, tmp_path: Path) -> None:
        answer = Prediction("id", (Score("ctr", 3, 0.5),)).to_message()

        def predict(message: bytes, context: Any) -> bytes:
            if message == b"0":
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "<field>")
            return answer

        config_of: dict[str, Any] = {"seconds": 0.5, "warmup_s": 0, "rate": 200.0}
        with grpc_server(predict) as (port, _):
            config = LoadConfig(target=f"127.0.0.1:{port}", models=("ctr",), **config_of)
            report = run_load(config, [b"0", b"1"], PATH)
        assert report.num_failed == 50
        assert report.statuses == {"OK": 50, "INVALID_ARGUMENT": 50}
        assert json.loads(json.dumps(report.to_dict()))["versions"] == {"3": 50}
        for word in ("200 a second", "INVALID_ARGUMENT", "p99", "version 3", "<field>"):
            assert word in report.text()
        report.html(tmp_path / "new" / "load.html")
        (file,) = (tmp_path / "new").iterdir()
        page = file.read_text(encoding="utf-8")
        assert file.name == "load.html"
        assert "&lt;field&gt;" in page
        assert "<field>" not in page
        assert "<svg" in page
        with pytest.raises(DataError, match=r"new' is not a regular file"):
            report.html(tmp_path / "new")

    def test_nobody_at_the_target_is_unreachable(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        wanted = f"Nothing answers at 127.0.0.1:{port}"
        with pytest.raises(Unreachable, match=wanted) as caught:
            run_load(LoadConfig(target=f"127.0.0.1:{port}"), MESSAGES, PATH)
        assert caught.value.status == "UNAVAILABLE"

    def test_without_the_extension_it_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(load, "Generator", None)
        monkeypatch.setattr(load, "_missing", "no such module", raising=False)
        with pytest.raises(MissingExtra, match="libnghttp2-dev"):
            run_load(LoadConfig(), [b""], PATH)


class TestMessages:
    def test_rows_of_a_table_become_messages(self, tmp_path: Path) -> None:
        (tmp_path / "rows.csv").write_text("user,price\na,1.5\nb,2.5\nc,3.5\n")
        wanted = [Clicked(user=u, price=p).to_message() for u, p in (("a", 1.5), ("b", 2.5))]
        assert read_rows(tmp_path / "rows.csv", Clicked, max_rows=2) == wanted

    def test_the_request_log_is_sent_as_it_came(self, tmp_path: Path) -> None:
        pa = pytest.importorskip("pyarrow")
        table = pa.table({"log.message": pa.array([b"one", b"two"], pa.binary())})
        with pa.ipc.new_file(str(tmp_path / "log.arrow"), table.schema) as writer:
            writer.write_table(table)
        assert read_rows(tmp_path / "log.arrow", Clicked, max_rows=9) == [b"one", b"two"]
