"""Requests a second of one server core and one client core: 20,000 distinct requests, 30 features.

The request of the benchmark `features` (22 fields, 299 bytes), its class with 10 property features,
LR over 2^20 float32 weights; the answer is the score. The server's whole process tree is pinned to
one core and the load generator (tadka serve load) to another; every answer is parsed and its status
counted, and one failure fails the cell. All have 32 requests in flight: 4 connections x 8 streams,
HTTP/1.1 32 connections. All servers compute with the same hash and weights, and their scores are
compared before timing (1e-6); tadka's must equal the model's to the last bit in every answer. gRPC
peers parse with upb and answer a message with one double; JSON peers read with pydantic. nghttpd
serves a static file of the size of tadka's answer over HTTP/2. tadka runs one worker with
deadlines, request ids and metrics, and no request log except where a row says so. The open loop
sends on a schedule over one gRPC channel (a connection, 64 streams), and latency counts from the
schedule; its targets are those of the row with --coalesce-us, which trades latency for processor
time.
"""

import sys
import tempfile
from pathlib import Path

import harness

CLOSED = {
    "limit": "nghttpd, static file",
    "plan": "tadka, compiled plan",
    "plan_log": "tadka, compiled plan, 1 % logged",
    "python": "tadka, properties in Python",
    "fallback": "tadka on grpcio (fall-back)",
    "grpcio": "grpcio sync, 4 threads",
    "grpcio_tuned": "grpcio sync, tuned",
    "aio": "grpc.aio",
    "aio_uvloop": "grpc.aio, uvloop",
    "fastapi": "FastAPI + uvicorn",
    "litserve": "LitServe",
    "bentoml": "BentoML",
    "mlserver": "MLServer",
    "mlserver_tuned": "MLServer, no second process",
}
OPEN = {
    "open_plan": "tadka, compiled plan",
    "open_plan_coalesced": "tadka, compiled plan, --coalesce-us 1800",
    "open_python": "tadka, properties in Python",
}
RATE = 9_000
GRPCIO = ("grpcio", "grpcio_tuned")
QUICK = ("limit", "plan", "python", "fallback", *GRPCIO, *OPEN)
# Above this share of its core the client may be what limits the figure.
CLIENT_IS_FULL = 0.95


def main() -> int:
    bench = harness.Bench(
        "serve",
        __doc__,
        packages=["tadka", "numpy", "grpcio", "protobuf", "uvloop", "fastapi", "uvicorn"],
    )
    options = bench.parse()
    harness.use_own_environment()
    from serving import store

    wanted = [c for c in (*CLOSED, *OPEN) if bench.wants(c) and (c in QUICK or not options.quick)]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        store.write(Path(directory))
        bench.run([cell(name, directory, quick=options.quick) for name in wanted])
    bench.raw["servers"] = own_versions()
    set_targets(bench)
    return bench.finish([closed_table(bench, wanted), open_table(bench, wanted)], remarks(bench))


def cell(name: str, directory: str, *, quick: bool) -> harness.Cell:
    if name in OPEN:
        # Longer: the server uses so little CPU time that the kernel's ticks of it would be coarse.
        seconds = "3" if quick else "6"
        arguments = ["open", name.removeprefix("open_"), directory, seconds, str(RATE)]
    else:
        arguments = ["closed", name, directory, "1.5" if quick else "3"]
    return harness.Cell(name, ["-m", "serving.cell", *arguments])


def own_versions() -> dict[str, str]:
    """Of peers with an environment of their own."""
    found = {}
    for name in ("bentoml", "mlserver"):
        places = (harness.HERE / f".venv-{name}").glob(f"lib/*/site-packages/{name}-*.dist-info")
        found[name] = next((p.name.removesuffix(".dist-info") for p in places), "missing")
    return found


def set_targets(bench: harness.Bench) -> None:
    bench.target("plan_qps", bench.median("plan", "qps"), ">= 200000")
    bench.target("plan_vs_grpcio", against_grpcio(bench, "plan"), ">= 30")
    bench.target("plan_vs_limit", bench.ratio(("plan", "qps"), ("limit", "qps")), ">= 0.5")
    bench.target("python_qps", bench.median("python", "qps"), ">= 40000")
    bench.target("python_vs_grpcio", against_grpcio(bench, "python"), ">= 8")
    bench.target("p95_ms", bench.median("open_plan_coalesced", "p95_ms"), "<= 2")
    bench.target("core_share", bench.median("open_plan_coalesced", "core_share"), "<= 0.05")
    bench.target("fallback_vs_grpcio", against_grpcio(bench, "fallback"), ">= 1.0")


def against_grpcio(bench: harness.Bench, mine: str) -> float | None:
    """How many times the throughput of the faster grpcio."""
    ratios = [bench.ratio((mine, "qps"), (peer, "qps")) for peer in GRPCIO]
    if None in ratios:
        return None
    return min(ratio for ratio in ratios if ratio is not None)


def row(bench: harness.Bench, name: str, title: str, ratio_to: str) -> list[object]:
    if name in bench.missing or name in bench.failed:
        return [title, "missing" if name in bench.missing else "failed", *["-"] * 6]
    ratio = bench.ratio((name, "qps"), (ratio_to, "qps"))
    return [
        title,
        harness.spread(bench.values(name, "qps"), 0),
        harness.spread(bench.values(name, "per_cpu_s"), 0),
        "-" if ratio is None else f"{ratio:.2f}",
        *(harness.spread(bench.values(name, key), 2) for key in ("p50_ms", "p95_ms", "p99_ms")),
        harness.spread(bench.values(name, "core_share"), 3),
    ]


COLUMNS = ["p50 ms", "p95 ms", "p99 ms", "server cores"]


def closed_table(bench: harness.Bench, wanted: list[str]) -> harness.Table:
    rows = [row(bench, name, CLOSED[name], "grpcio") for name in CLOSED if name in wanted]
    titles = ["server", "requests/s", "per CPU-second", "times grpcio", *COLUMNS]
    return harness.Table("Closed loop, 32 requests in flight", titles, rows)


def open_table(bench: harness.Bench, wanted: list[str]) -> harness.Table:
    rows = [row(bench, name, OPEN[name], "open_plan") for name in OPEN if name in wanted]
    titles = ["server", "requests/s", "per CPU-second", "times plan", *COLUMNS]
    return harness.Table(f"Open loop, {RATE:,} requests a second", titles, rows)


def remarks(bench: harness.Bench) -> list[str]:
    found = ["servers of their own: " + ", ".join(bench.raw["servers"].values())]
    for name, title in (*CLOSED.items(), *OPEN.items()):
        share = bench.median(name, "client_share")
        if share is not None and share > CLIENT_IS_FULL:
            found.append(f"{title}: the client used {share:.2f} of its core and may be the limit")
    rounds = [results["plan"] for results in bench.results if "plan" in results]
    for key, share in (("half", "50"), ("most", "80")):
        for of, told in (("p95_ms", "p95"), ("p99_ms", "p99")):
            values = [figures["at_rates"][key][of] for figures in rounds]
            if values:
                shown = harness.spread(values, 2)
                found.append(f"compiled plan at {share} % of its throughput, {told}: {shown} ms")
    per_cpu = [bench.ratio(("plan", "per_cpu_s"), (peer, "per_cpu_s")) for peer in GRPCIO]
    if None not in per_cpu:
        least = min(ratio for ratio in per_cpu if ratio is not None)
        found.append(f"compiled plan against grpcio, by CPU-second: {least:.1f}")
    return found


if __name__ == "__main__":
    sys.exit(main())
