"""From requests to slots and scores: one feature class, 30 hashed features, 2^20 weights.

The request has 22 fields (a time, a recency, 20 strings; 299 bytes on average) and 20,000 distinct
rows; the class has 10 property features. `plan` takes a message to its score through the public
call for one row; plain Python is the same class as a dataclass: upb's parser, properties, a hash in
C called for each feature, weights looked up and summed. Columns go from Arrow to slots: tadka, a
Python loop over rows, and scikit-learn's FeatureHasher, which is given the properties as Arrow
expressions and counts what makes its input. All cells are pinned to one core, and the ratios are of
one thread on each side; tadka with all cores is printed besides. Before timing, tadka's scores are
compared with those of plain Python under the same hash (2,000 rows, to 1e-6) and its slots with the
loop's (all rows, equal). The faster way of each peer counts.
"""

import sys
import tempfile
from pathlib import Path

import harness

WIRE = {
    "plan": "tadka, compiled plan",
    "plain_xxhash": "plain Python, xxhash",
    "plain_tadka_hash": "plain Python, tadka's hash",
}
COLUMNS = {
    "columns": "tadka, one thread",
    "loop_xxhash": "Python loop, xxhash",
    "loop_tadka_hash": "Python loop, tadka's hash",
    "hasher_string": "FeatureHasher, strings",
    "hasher_dict": "FeatureHasher, dicts",
    "hasher_pair": "FeatureHasher, pairs",
}
PLAIN = ("plain_xxhash", "plain_tadka_hash")
LOOPS = ("loop_xxhash", "loop_tadka_hash")
HASHERS = ("hasher_string", "hasher_dict", "hasher_pair")


def main() -> int:
    bench = harness.Bench(
        "features",
        __doc__,
        packages=["tadka", "numpy", "pyarrow", "protobuf", "scikit-learn", "xxhash"],
    )
    bench.parse()
    harness.use_own_environment()
    from ctr import requests

    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        requests.write_requests(Path(directory))
        bench.run(
            [
                harness.Cell(method, ["-m", "ctr.cell", "feature_cells", method, directory])
                for method in (*WIRE, *COLUMNS)
                if bench.wants(method)
            ]
        )
    bench.target("plan_us", bench.median("plan", "us"), "<= 1.5")
    for name, mine, peers, aim in (
        ("plan_vs_python", "plan", PLAIN, ">= 8"),
        ("columns_vs_loop", "columns", LOOPS, ">= 20"),
        ("columns_vs_hasher", "columns", HASHERS, ">= 20"),
    ):
        bench.target(name, against(bench, peers, (mine, "us")), aim)
    return bench.finish([wire_table(bench), column_table(bench)], remarks(bench))


def against(bench: harness.Bench, peers: tuple[str, ...], mine: tuple[str, str]) -> float | None:
    """How many times as long the fastest of the peers takes."""
    ratios = [bench.ratio((peer, "us"), mine) for peer in peers]
    return min((ratio for ratio in ratios if ratio is not None), default=None)


def row(bench: harness.Bench, cell: str, title: str, key: str = "us") -> list[object]:
    """Microseconds, rows a second and what a peer's time is of tadka's."""
    if cell in bench.missing or cell in bench.failed:
        return [title, "missing" if cell in bench.missing else "failed", "-", "-"]
    middle = bench.median(cell, key)
    mine = ("plan" if cell in WIRE else "columns", "us")
    ratio = bench.ratio((cell, key), mine)
    return [
        title,
        harness.spread(bench.values(cell, key), 3),
        "-" if middle is None else f"{1e6 / middle:,.0f}",
        "-" if ratio is None else f"{ratio:.2f}",
    ]


def wire_table(bench: harness.Bench) -> harness.Table:
    rows = [row(bench, cell, title) for cell, title in WIRE.items() if bench.wants(cell)]
    rows.append(row(bench, "plan", "tadka, the same message again and again", "repeated_us"))
    rows.append(row(bench, "plan", "tadka, all messages in one call", "batch_us"))
    titles = ["method", "us a row", "rows/s", "times tadka's"]
    return harness.Table("From a message to its score, one core", titles, rows)


def column_table(bench: harness.Bench) -> harness.Table:
    rows = [row(bench, cell, title) for cell, title in COLUMNS.items() if bench.wants(cell)]
    rows.append(row(bench, "columns", "tadka, all cores", "all_us"))
    titles = ["method", "us a row", "rows/s", "times tadka's"]
    return harness.Table("From Arrow columns to slots, one core", titles, rows)


def remarks(bench: harness.Bench) -> list[str]:
    found = []
    for name, peers in (("the loop", LOOPS), ("FeatureHasher", HASHERS)):
        ratio = against(bench, peers, ("columns", "all_us"))
        if ratio is not None:
            found.append(f"tadka with all cores against {name}, which uses one: {ratio:.1f}")
    for cell in ("plan", "columns"):
        left = bench.median(cell, "num_python")
        if left:
            found.append(f"{cell}: {left:.0f} features RAN AS PYTHON; no claim")
    apart = bench.median("plan", "apart")
    if apart is not None:
        found.append(f"largest difference of scores, tadka and plain Python: {apart:.1e}")
    return found


if __name__ == "__main__":
    sys.exit(main())
