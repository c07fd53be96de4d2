"""Load on one server: ``python -m serving.swap_cell steady|swap DIRECTORY SECONDS RATE``."""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness

WARM_UP_S = 1.0


def measure(way: str, directory: str, seconds: str, rate: str) -> dict[str, Any]:
    """Start the server and, to swap, the publisher; load both to the end."""
    from serving import peers, running, store

    folder, peer = Path(directory), peers.PEERS["plan"]
    messages = running.read(folder)
    # Version n has the weights of model n % 2: an answer that mixes two is wrong.
    ends = [
        [struct.pack("<d", score) for score in model.predict(messages)]
        for model in store.two_models()
    ]
    server_core, client_core = running.cores()
    others = sorted(os.sched_getaffinity(0) - {server_core, client_core})
    # With two cores the publisher shares the server's: the client must be on time.
    publisher_core = others[0] if others else server_core
    os.sched_setaffinity(0, {client_core})
    path = running.path_of(peer)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        shutil.copytree(folder / "swap-store", Path(own, "store"))
        with running.server(peer, Path(own), server_core) as (process, port):
            running.wait_ready(process, peer, port, messages[0], path)
            sender = running.load(peer, port, messages, path, expected=ends, versions=True)
            publisher = _publisher(own, directory, seconds, publisher_core, way)
            sender.run(seconds=WARM_UP_S, rate=float(rate))
            if publisher is not None:
                publisher.stdin.write(b"begin\n")
                publisher.stdin.close()
            meter = harness.Meter(process.pid)
            meter.start()
            found = sender.run(seconds=float(seconds), rate=float(rate))
            meter.stop()
            if publisher is not None and publisher.wait(60):
                raise RuntimeError(f"The publisher ended with status {publisher.returncode}.")
    versions = len(found["versions"])
    if way == "swap" and versions < float(seconds) / 2:
        raise RuntimeError(f"Only {versions} versions were seen in {seconds} s.")
    latency = found["latency_ms"]
    failed = found["failed"] + found["dropped"]
    return {
        "sent": found["sent"],
        "qps": found["qps"],
        "num_failed": failed,
        "wrong": found["wrong"],
        "versions": versions,
        "p50_ms": latency["p50"],
        "p99_ms": latency["p99"],
        "p999_ms": latency["p99.9"],
        "max_ms": latency["max"],
        "core_share": meter.cpu_s / meter.wall_s,
        "publisher_apart": publisher_core != server_core,
        "headline": f"p99 {latency['p99']:.3f} ms, {failed} failed, {versions} versions",
    }


def _publisher(own: str, directory: str, seconds: str, core: int, way: str) -> Any:
    """The process that publishes, ready to begin; None where nothing is published."""
    if way != "swap":
        return None
    publisher = subprocess.Popen(
        [sys.executable, "-m", "serving.publisher", f"{own}/store", directory, seconds],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509
    )
    assert publisher.stdout is not None
    if publisher.stdout.readline() != b"ready\n":
        raise RuntimeError(f"The publisher ended with status {publisher.wait()} as it started.")
    return publisher


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
