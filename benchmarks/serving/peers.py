"""How each server is started, what it is sent and what it answers."""

import json
import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness

COALESCE_US = 1_700
BENCH_PATH = "/bench.Predictor/Predict"


def _end(answer: bytes) -> float:
    """A double at the end of a protobuf message."""
    return float(struct.unpack("<d", answer[-8:])[0])


def _score(answer: bytes) -> float:
    return float(json.loads(answer)["score"])


def _tensor(answer: bytes) -> float:
    return float(json.loads(answer)["outputs"][0]["data"][0])


@dataclass(frozen=True)
class Peer:
    """A server under test.

    Args:
        command: Arguments from the port and the benchmark's directory.
        protocol: Of the load generator.
        path: Of the request.
        body: `"wire"`, or the shape of JSON (`rows.json_bodies`).
        score_of: The score in an answer; None where the answer has none.
        environment: Of its packages: ``benchmarks/.venv-NAME``; "" is the common one.
        num_checked: Answers that are compared before the clock starts.
        store: Of a tadka server, within the directory.
    """

    command: Callable[[int, Path], list[str]]
    protocol: str = "grpc"
    path: str = BENCH_PATH
    body: str = "wire"
    score_of: Callable[[bytes], float] | None = _end
    environment: str = ""
    num_checked: int = 2_000
    store: str = ""


def _module(name: str, *arguments: str) -> Callable[[int, Path], list[str]]:
    return lambda port, _: ["python", "-m", f"serving.{name}", str(port), *arguments]


def _tadka(store: str, transport: str, *, log: bool = False, coalesce_us: int = 0) -> Peer:
    def command(port: int, directory: Path) -> list[str]:
        more = [str(directory / f"log-{port}")] if log else []
        if coalesce_us:
            more = [str(coalesce_us)]
        module = ["python", "-m", "serving.tadka_server"]
        return [*module, str(port), str(directory / store), transport, *more]

    return Peer(command, path="", store=store)


def _nghttpd(port: int, directory: Path) -> list[str]:
    return ["nghttpd", "--no-tls", "-n1", "-d", str(directory / "htdocs"), str(port)]


def _bentoml(port: int, _: Path) -> list[str]:
    service = "serving.bentoml_service:Ctr"
    return ["bentoml", "serve", service, "--host", "127.0.0.1", "--port", str(port)]


def _mlserver(num_processes: int) -> Callable[[int, Path], list[str]]:
    def command(port: int, directory: Path) -> list[str]:
        from serving.mlserver_settings import write_settings

        folder = directory / f"mlserver-{port}"
        write_settings(folder, port, num_processes)
        return ["mlserver", "start", str(folder)]

    return command


def _json(command: Callable[[int, Path], list[str]], **more: Any) -> Peer:
    settings = {"body": "row", "score_of": _score, "path": "/predict", "num_checked": 200, **more}
    return Peer(command, "http1-json", **settings)


_V2 = {"body": "v2", "score_of": _tensor, "path": "/v2/models/ctr/infer"}
PEERS = {
    "limit": Peer(_nghttpd, "h2-bytes", "/reply", score_of=None),
    "grpcio": Peer(_module("grpcio_sync", "default")),
    "grpcio_tuned": Peer(_module("grpcio_sync", "tuned")),
    "aio": Peer(_module("grpcio_aio", "default")),
    "aio_uvloop": Peer(_module("grpcio_aio", "uvloop")),
    "fastapi": _json(_module("fastapi_app")),
    "litserve": _json(_module("litserve_app")),
    "bentoml": _json(_bentoml, body="named", environment="bentoml"),
    "mlserver": _json(_mlserver(1), environment="mlserver", **_V2),
    "mlserver_tuned": _json(_mlserver(0), environment="mlserver", **_V2),
    "plan": _tadka("store", "native"),
    "plan_log": _tadka("store", "native", log=True),
    "plan_coalesced": _tadka("store", "native", coalesce_us=COALESCE_US),
    "python": _tadka("store-python", "native"),
    "fallback": _tadka("store", "grpcio"),
}


def program(peer: Peer, name: str) -> str:
    """Path of a peer's program in its environment.

    Raises:
        ImportError: It is not installed; a cell is then named as missing.
    """
    if name == "python" and not peer.environment:
        return sys.executable
    folder = harness.HERE / f".venv-{peer.environment}" / "bin" if peer.environment else None
    found = shutil.which(name, path=str(folder) if folder else None)
    if found is None:
        where = f"benchmarks/.venv-{peer.environment}" if peer.environment else "PATH"
        raise ImportError(f"{name} is not in {where}")
    return found
