"""A new version every second under constant load, against the same load without new versions.

The request, class and model size of the benchmark `serve` (2^20 float32 weights, 4 MiB a version),
one server core, the load generator on another. Open loop: requests are sent on a schedule, and
latency counts from there. Two rates: 9,000 and 50,000 a second. A separate process publishes two
models in turn and prunes old versions; it is scheduled as idle and has, on a machine of two cores,
the server's core: what it takes is part of the result. Every answer must end with the score of the
version that it names, bit for bit: an answer that mixes two versions is wrong and counts as failed.
"""

import sys
import tempfile
from pathlib import Path

import harness

WAYS = {"steady": "one version", "swap": "a new version every second"}
RATES = {"low": 9_000, "high": 50_000}


def main() -> int:
    bench = harness.Bench("serve_swap", __doc__, packages=["tadka", "numpy"])
    options = bench.parse()
    harness.use_own_environment()
    from serving import store

    seconds = "4" if options.quick else "6"
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        store.write_swap(Path(directory))
        bench.run(
            [
                harness.Cell(
                    f"{way}_{name}",
                    ["-m", "serving.swap_cell", way, directory, seconds, str(rate)],
                )
                for name, rate in RATES.items()
                for way in WAYS
                if bench.wants(f"{way}_{name}")
            ]
        )
    bench.raw["rates"] = RATES
    set_targets(bench)
    return bench.finish([table(bench, name, rate) for name, rate in RATES.items()], remarks(bench))


def set_targets(bench: harness.Bench) -> None:
    failed = [sum(bench.values(f"swap_{name}", "num_failed")) for name in RATES]
    is_whole = all(bench.values(f"swap_{name}", "num_failed") for name in RATES)
    bench.target("failed", sum(failed) if is_whole else None, "== 0")
    ratios = [
        bench.ratio((f"swap_{name}", "p99_ms"), (f"steady_{name}", "p99_ms")) for name in RATES
    ]
    worse = max((r for r in ratios if r is not None), default=None)
    bench.target("p99_ratio", None if None in ratios else worse, "<= 1.1")


def table(bench: harness.Bench, name: str, rate: int) -> harness.Table:
    rows: list[list[object]] = []
    for way, title in WAYS.items():
        cell = f"{way}_{name}"
        if cell in bench.missing or cell in bench.failed:
            rows.append([title, "missing" if cell in bench.missing else "failed", *["-"] * 7])
            continue
        ratio = bench.ratio((cell, "p99_ms"), (f"steady_{name}", "p99_ms"))
        rows.append(
            [
                title,
                f"{sum(bench.values(cell, 'sent')):,.0f}",
                f"{sum(bench.values(cell, 'num_failed')):,.0f}",
                harness.spread(bench.values(cell, "versions"), 0),
                *(
                    harness.spread(bench.values(cell, key), 3)
                    for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms")
                ),
                "-" if ratio is None else f"{ratio:.2f}",
            ]
        )
    titles = ["run", "requests", "failed", "versions seen", "p50 ms", "p99 ms", "p99.9 ms"]
    return harness.Table(f"{rate:,} requests a second", [*titles, "max ms", "p99 ratio"], rows)


def remarks(bench: harness.Bench) -> list[str]:
    found = []
    for name in RATES:
        shares = [harness.spread(bench.values(f"{way}_{name}", "core_share"), 3) for way in WAYS]
        found.append(f"server cores at the {name} rate, without and with swaps: {shares}")
    apart = [v for name in RATES for v in bench.values(f"swap_{name}", "publisher_apart")]
    if apart:
        where = "a core of its own" if all(apart) else "the server's core, scheduled as idle"
        found.append(f"the publisher ran on {where}")
    return found


if __name__ == "__main__":
    sys.exit(main())
