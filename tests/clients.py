"""What tests of the assembled server share: clients, a witness that calls all the time, memory."""

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import grpc
import psutil
import pytest

from tadka.serve.prediction import Prediction, method_path
from tests.conftest import ROOT, find_program
from tests.http2 import Answer, Connection
from tests.serving import MODELS, Impression, children, eventually, impressions, make_model

MIB = 1 << 20
PATH = method_path(Impression)
Metadata = Sequence[tuple[str, str]]
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True)
class Row:
    """A request and what every door must answer."""

    impression: Impression
    message: bytes
    scores: Mapping[str, float]


def make_rows(num: int, seed: int = 0, version_seed: int = 0) -> list[Row]:
    """Rows that all differ, with the scores that the training side gives them."""
    rows = impressions(num, seed)
    columns = {name: make_model(name, version_seed).predict(rows).tolist() for name in MODELS}
    return [
        Row(row, row.to_message(), {name: columns[name][at] for name in MODELS})
        for at, row in enumerate(rows)
    ]


def scores_of(prediction: Prediction) -> dict[str, float]:
    return {score.model: score.score for score in prediction.scores}


class GrpcClient:
    """grpcio, with a connection of its own."""

    def __init__(self, port: int, path: str = PATH) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OWN_CONNECTION)
        self._method = self.channel.unary_unary(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def predict(self, message: bytes, metadata: Metadata = (), timeout_s: float = 5) -> Prediction:
        return Prediction.from_message(self.send(message, metadata, timeout_s))

    def send(self, message: bytes, metadata: Metadata = (), timeout_s: float = 5) -> bytes:
        reply = self._method(message, metadata=tuple(metadata), timeout=timeout_s)
        assert isinstance(reply, bytes)
        return reply

    def failure(
        self, message: bytes, metadata: Metadata = (), timeout_s: float = 5
    ) -> tuple[grpc.StatusCode, str]:
        """Status and message of a call that must fail."""
        with pytest.raises(grpc.RpcError) as raised:
            self.send(message, metadata, timeout_s)
        error: Any = raised.value  # also a grpc.Call, which its class does not say
        return error.code(), error.details() or ""


class Witness:
    """An honest client in a thread of its own: one call after the other, each answer checked."""

    def __init__(self, port: int, rows: Sequence[Row]) -> None:
        self._port, self._rows = port, rows
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._call, daemon=True)
        self._is_over = False
        self.num_calls = 0
        self.failures: list[str] = []
        self.slowest_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        if kind is None:
            assert not self.failures, self.failures[:3]

    def wait(self, num_calls: int) -> None:
        """Returns when so many more calls were answered."""
        with self._moved:
            goal = self.num_calls + num_calls
            moved = self._moved.wait_for(lambda: self.num_calls >= goal or self.failures, 30)
        assert moved, "the honest client hangs"
        assert not self.failures, self.failures[:3]

    def _call(self) -> None:
        with GrpcClient(self._port) as client:
            while not self._is_over and len(self.failures) < 10:
                row = self._rows[self.num_calls % len(self._rows)]
                began = time.monotonic()
                try:
                    scores = scores_of(client.predict(row.message))
                    failure = "" if scores == row.scores else f"{scores} is not {row.scores}"
                except grpc.RpcError as error:
                    failure = str(error)
                with self._moved:
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                    self.failures += [failure] * bool(failure)
                    self.num_calls += 1
                    self._moved.notify_all()


def workers() -> list[psutil.Process]:
    """The worker processes of the servers of this process."""
    return children()["worker"]


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    return sum(process.memory_info().rss for process in processes)


@contextlib.contextmanager
def unharmed(
    port: int, processes: Sequence[psutil.Process], rows: Sequence[Row], *, growth: int = 16 * MIB
) -> Iterator[Witness]:
    """Whatever the block does, the same workers go on, a witness is answered, memory stays."""
    with GrpcClient(port) as client:
        client.predict(rows[0].message)
    before = resident_bytes(processes)
    with Witness(port, rows) as witness:
        witness.wait(10)
        yield witness
        witness.wait(10)
    assert all(process.is_running() for process in processes), "a worker died"
    now = resident_bytes(processes)
    if now - before >= growth:  # connections may still be closing
        eventually(lambda: resident_bytes(processes) - before < growth, 5)
        now = resident_bytes(processes)
    assert now - before < growth, f"workers grew by {(now - before) / MIB:.1f} MiB"


# ---------------------------------------------------------------- HTTP/2 by hand


def is_right(answer: Answer, row: Row) -> bool:
    """Whether a call was answered with the scores of its row."""
    assert answer.grpc_status == 0, answer
    assert answer.headers[":status"] == "200"
    assert answer.headers["content-type"].startswith("application/grpc")
    return scores_of(Prediction.from_message(answer.message)) == row.scores


def check_alive(port: int, row: Row) -> None:
    """A new client is served."""
    with Connection(port) as connection:
        assert is_right(connection.call(1, PATH, row.message), row)


# ---------------------------------------------------------------- HTTP


@contextlib.contextmanager
def http(port: int) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        yield connection
    finally:
        connection.close()


def ask(port: int, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Code and content of one HTTP/1.1 request: POST of JSON, or GET where there is no body."""
    with http(port) as connection:
        sent = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            data = body if isinstance(body, bytes) else json.dumps(body)
            connection.request("POST", path, data, sent)
        reply = connection.getresponse()
        content = reply.read()
        kind = reply.headers.get_content_type()
        return reply.status, json.loads(content) if kind == "application/json" else content.decode()


def json_row(row: Impression) -> dict[str, Any]:
    """A row as the JSON door takes it."""
    return {
        "user": row.user,
        "site": row.site,
        "price": row.price,
        "time": row.time.isoformat(),
        "tags": row.tags,
    }


def metric(text: str, name: str, **labels: str) -> float:
    """Sum of the samples of a metric that have these labels; 0 where there are none."""
    total = 0.0
    for line in text.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
        if not line.startswith("#") and found and found[1] == name:
            has = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            if all(has.get(label) == value for label, value in labels.items()):
                total += float(found[3])
    return total


# ---------------------------------------------------------------- programs


def run_program(*command: str | Path, stdin: str | None = None) -> str:
    """What a program prints; it must succeed."""
    program = find_program(str(command[0]))
    assert program is not None, f"mark the test with what needs {command[0]}"
    done = subprocess.run(
        [program, *map(str, command[1:])],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


GRPC_OPTIONS = ("-H", "content-type: application/grpc", "-H", "te: trailers")


@dataclass(frozen=True)
class Loaded:
    """What h2load says of a run."""

    num_requests: int
    num_succeeded: int  # of HTTP status 2xx, which says nothing about grpc-status
    num_failed: int
    body_bytes: int


def h2load(port: int, body: Path, *options: str | int, path: str = PATH) -> Loaded:
    """Sends one body again and again, as gRPC."""
    url = f"http://127.0.0.1:{port}{path}"
    text = run_program("h2load", "-d", body, *GRPC_OPTIONS, *map(str, options), url)
    counts = re.search(r"requests: (\d+) total.* (\d+) done, (\d+) succeeded, (\d+) failed", text)
    sizes = re.search(r"space savings [^)]*\), \S+ \((\d+)\) data", text)
    assert counts, text
    assert sizes, text
    return Loaded(int(counts[1]), int(counts[3]), int(counts[4]), int(sizes[1]))


def run_node(port: int, proto: Path, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Answers of the gRPC client of Node, one for each call."""
    script = ROOT / "tests" / "node" / "client.js"
    lines = "".join(json.dumps(call) + "\n" for call in calls)
    printed = run_program("node", script, f"127.0.0.1:{port}", proto, stdin=lines)
    return [json.loads(line) for line in printed.splitlines()]
