"""One server, measured once.

python -m serving.cell closed|open METHOD DIRECTORY SECONDS [RATE]
"""

import os
import struct
import sys
from pathlib import Path
from typing import Any

import harness

WARM_UP_S = 1.0
# Shares of the throughput just measured, at which latency is looked at too.
SHARES = {"half": 0.5, "most": 0.8}


def measure(
    load: str, method: str, directory: str, seconds: str, rate: str = "0"
) -> dict[str, Any]:
    """Start the server, compare its scores, warm it up, measure."""
    from serving import peers, running

    server_core, client_core = running.cores()
    os.sched_setaffinity(0, {client_core})
    peer, folder = peers.PEERS[method], Path(directory)
    messages = running.read(folder)
    scores = running.model_of(peer).predict(messages).tolist()
    bodies, path = running.bodies_of(peer, messages), running.path_of(peer)
    # tadka's answers end with the score, and must be right to the last bit, all of them.
    ends = [struct.pack("<d", score) for score in scores] if peer.store else None
    with running.server(peer, folder, server_core) as (process, port):
        running.wait_ready(process, peer, port, bodies[0], path)
        apart = running.check(peer, port, bodies, path, scores)
        shape = running.ONE_CHANNEL if load == "open" else {}
        sender = running.load(peer, port, bodies, path, expected=ends, **shape)
        sender.run(seconds=WARM_UP_S, rate=float(rate))
        meter = harness.Meter(process.pid)
        meter.start()
        found = sender.run(seconds=float(seconds), rate=float(rate))
        meter.stop()
        if found["failed"] or found["dropped"]:
            raise RuntimeError(
                f"{found['failed']} failed, {found['dropped']} were dropped: {found}"
            )
        at_rates = {}
        if load == "closed" and method == "plan":
            for name, share in SHARES.items():
                at_rate = sender.run(seconds=float(seconds) / 2, rate=share * found["qps"])
                at_rates[name] = _latency(at_rate)
    used = meter.cpu_s / meter.wall_s
    qps = found["qps"]
    return {
        "qps": qps,
        "per_cpu_s": found["ok"] / meter.cpu_s if meter.cpu_s else None,
        "core_share": used,
        "client_share": found["cpu_s"] / found["seconds"],
        "apart": apart,
        **_latency(found),
        "at_rates": at_rates,
        "headline": f"{qps:,.0f}/s, p95 {found['latency_ms']['p95']:.2f} ms, {used:.2f} cores",
    }


def _latency(found: dict[str, Any]) -> dict[str, float]:
    latency = found["latency_ms"]
    return {
        "p50_ms": latency["p50"],
        "p95_ms": latency["p95"],
        "p99_ms": latency["p99"],
        "p999_ms": latency["p99.9"],
    }


if __name__ == "__main__":
    harness.run_cell(lambda: measure(*sys.argv[1:]))
