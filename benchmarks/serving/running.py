"""A server on a core of its own, and the client on another."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
from ctr import requests, tadka_features

from serving import peers, python_features, rows
from tadka.core.error import NotFound
from tadka.serve.generator import Generator

START_S = 90.0
CONNECTIONS, STREAMS = 4, 8
ONE_CHANNEL = {"connections": 1, "streams": 64}


def cores() -> tuple[int, int]:
    """That of the server and that of the client."""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        raise RuntimeError(f"Only core {found[0]} may be used; client and server need one each.")
    return found[0], found[1]


def free_port() -> int:
    """A port that nobody listens at, nor at the next one."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
                return port
    raise RuntimeError("No two free ports beside each other were found.")


@contextlib.contextmanager
def server(
    peer: peers.Peer, directory: Path, core: int
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Starts a server pinned to a core; gives its process and port."""
    port = free_port()
    name, *arguments = peer.command(port, directory)
    source = harness.HERE.parent / "src"
    env = {
        **os.environ,
        "PYTHONPATH": f"{harness.HERE}:{source}" if peer.environment else str(harness.HERE),
        "BENTOML_HOME": str(directory / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    process = subprocess.Popen(
        [peers.program(peer, name), *arguments],
        env=env,
        cwd=directory,
        stdout=sys.stderr,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - before any thread
    )
    try:
        _wait(process, port)
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end_at = time.monotonic() + START_S
    while time.monotonic() < end_at:
        if process.poll() is not None:
            # As run_cell has it: a library that is missing makes the cell missing, not failed.
            raise ImportError(f"the server ended with status {process.returncode} as it started")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"The server did not listen within {START_S:.0f} s.")


def load(
    peer: peers.Peer, port: int, messages: Sequence[bytes], path: str, **more: Any
) -> Generator:
    """The load generator for a peer: the same number of requests in flight for all."""
    is_http1 = peer.protocol == "http1-json"
    shape = {
        "connections": CONNECTIONS * STREAMS if is_http1 else CONNECTIONS,
        "streams": 1 if is_http1 else STREAMS,
    }
    return Generator(
        "127.0.0.1",
        port,
        path,
        messages,
        protocol=peer.protocol,
        timeout_s=20,
        **{**shape, **more},
    )


def wait_ready(
    process: "subprocess.Popen[bytes]", peer: peers.Peer, port: int, body: bytes, path: str
) -> None:
    """Waits for a good answer: some servers listen before they are ready."""
    end_at = time.monotonic() + START_S
    first: dict[str, Any] = {}
    while process.poll() is None and time.monotonic() < end_at:
        with contextlib.suppress(NotFound):
            first = load(peer, port, [body], path).run(count=1, seconds=20)
            if first["ok"]:
                return
        time.sleep(0.1)
    raise RuntimeError(f"No good answer within {START_S:.0f} s, or it ended; the last: {first}")


def check(
    peer: peers.Peer, port: int, bodies: Sequence[bytes], path: str, scores: Sequence[float]
) -> float:
    """The largest difference of a server's scores from the model's; every answer must be good."""
    num = min(peer.num_checked, len(bodies))
    sender = load(peer, port, bodies[:num], path, keep_answers=True)
    found = sender.run(count=num, seconds=120)
    if found["ok"] != num or found["sent"] != num:
        raise RuntimeError(f"{found['failed']} of {found['sent']} answers are not good: {found}")
    if peer.score_of is None:
        return 0.0
    answers = sender.answers()
    apart = max(
        abs(peer.score_of(answer or b"") - score)
        for answer, score in zip(answers, scores[:num], strict=True)
    )
    if apart > 1e-6:
        raise RuntimeError(f"Scores differ from the model's by up to {apart}.")
    return apart


def class_of(peer: peers.Peer) -> Any:
    """The feature class of a server; that of the compiled plan for those without one."""
    is_python = peer.store == "store-python"
    return python_features.Impression if is_python else tadka_features.Impression


def model_of(peer: peers.Peer) -> Any:
    """The model whose scores a server must give."""
    from tadka.scoring import Linear

    arrays = {"bias": np.zeros(1), "linear": requests.weights()}
    return Linear(class_of(peer)).take(arrays)


def path_of(peer: peers.Peer) -> str:
    """Of the method; tadka's has the name of its package."""
    if peer.path:
        return peer.path
    from tadka.serve.prediction import method_path

    return method_path(class_of(peer))


def bodies_of(peer: peers.Peer, messages: list[bytes]) -> list[bytes]:
    """What is sent to a server."""
    return messages if peer.body == "wire" else rows.json_bodies(messages, peer.body)


def read(directory: Path) -> list[bytes]:
    """The messages of the benchmark."""
    return requests.read_wire(directory)
