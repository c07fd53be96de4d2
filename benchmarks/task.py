"""Cached tasks: what the machinery costs around a body that does nothing.

A chain of 1,000 tasks, and one source, 998 that read it and one total; each system in fresh
processes on an empty folder of the disk. "Fresh" is from the first task's making until the value of
the last is there, and for tadka until all of it is on the disk; "cached" is the same program again
in a second process. Imports are not in either. tadka finds each cached task again: its code is
hashed, its key made, its row read, its file stat'ed. What the others do less is in the table.
100,000 tasks are tadka's alone, in two rounds. Workspaces stay until the end. A frame of 1 million
rows and 10 columns goes through one task and is loaded in a second process, in gokart's Parquet
target and in tadka's.
"""

import sys
import tempfile

import harness

# name, title, system, environment, what it does less than tadka
SYSTEMS = (
    ("tadka", "tadka", "tadka", {}, "-"),
    (
        "gokart",
        "gokart",
        "gokart",
        {},
        "no fsync; looks at the root only; no code in the key; recursion limit raised",
    ),
    (
        "gokart_tuned",
        "gokart, no logs",
        "gokart",
        {"BENCH_TUNED": "1"},
        "as above, and no record of the run",
    ),
    (
        "luigi",
        "luigi, local scheduler",
        "luigi",
        {},
        "no fsync; looks at the root only; neither code nor content in the name",
    ),
    (
        "luigi_tuned",
        "luigi, fewer checks",
        "luigi",
        {"BENCH_TUNED": "1"},
        "as above, and inputs are not looked for before a task runs",
    ),
    (
        "redun",
        "redun, SQLite",
        "redun",
        {},
        "values in the database, no files; helpers not in the key; chain in pieces of 100",
    ),
    (
        "redun_tuned",
        "redun, check_valid=shallow",
        "redun",
        {"BENCH_TUNED": "1"},
        "as above; cached looks at the outermost calls only",
    ),
    (
        "hamilton",
        "Hamilton, cache",
        "hamilton",
        {},
        "no fsync, no locks; files are not looked at before they are read; recursion limit raised",
    ),
    (
        "hamilton_tuned",
        "Hamilton, diskcache",
        "hamilton",
        {"BENCH_TUNED": "1"},
        "as above; keys of values, no record of runs",
    ),
)
SHAPES = ("chain", "fan")
FRAMES = (
    ("tadka", "tadka, Parquet (zstd)", "tadka", {}),
    ("gokart", "gokart, Parquet (gzip)", "gokart", {}),
    ("gokart_tuned", "gokart, Feather", "gokart", {"BENCH_TUNED": "1"}),
    ("pyarrow", "pyarrow alone, Parquet (zstd), fsync", "pyarrow", {}),
)
MODULES = {
    "tadka": "tadka.task",
    "gokart": "gokart",
    "luigi": "luigi",
    "redun": "redun",
    "hamilton": "hamilton.driver",
}
NUM_TASKS, QUICK_TASKS = 1_000, 100
NUM_DEEP, QUICK_DEEP = 100_000, 5_000
NUM_DEEP_ROUNDS = 2
NUM_ROWS, QUICK_ROWS = 1_000_000, 100_000
IN_QUICK = ("tadka", "gokart", "luigi", "redun", "hamilton")


def main() -> int:
    bench = harness.Bench(
        "task",
        __doc__,
        packages=["tadka", "gokart", "luigi", "redun", "sf-hamilton", "pandas", "pyarrow"],
    )
    bench.parser.add_argument("--tasks", type=int, help="tasks in a graph")
    bench.parser.add_argument("--deep", type=int, help="tasks in a deep graph")
    options = bench.parse()
    harness.use_own_environment()
    with tempfile.TemporaryDirectory(prefix="bench-task-", ignore_cleanup_errors=True) as place:
        bench.run(cells(bench, place))
        bench.num_rounds, num_rounds = min(bench.num_rounds, NUM_DEEP_ROUNDS), bench.num_rounds
        bench.run(deep_cells(bench, place), warm_up=False)
        bench.num_rounds = num_rounds
    set_targets(bench)
    notes = remarks(bench, options.tasks, options.deep)
    return bench.finish([graphs(bench), frames(bench), starts(bench)], notes)


def deep_cells(bench: harness.Bench, place: str) -> list[harness.Cell]:
    """tadka's own large graphs; apart, as nobody is compared with them."""
    options = bench.options
    num = str(options.deep or (QUICK_DEEP if options.quick else NUM_DEEP))
    arguments = ["-m", "tasks.cell", "graph", "tadka"]
    env = {"BENCH_PLACE": place}
    return [
        harness.Cell(f"deep_{shape}", [*arguments, shape, num], env, timeout_s=600)
        for shape in SHAPES
        if bench.wants("tadka")
    ]


def cells(bench: harness.Bench, place: str) -> list[harness.Cell]:
    """All measurements of a round, systems side by side."""
    options = bench.options
    num = str(options.tasks or (QUICK_TASKS if options.quick else NUM_TASKS))
    rows = str(QUICK_ROWS if options.quick else NUM_ROWS)

    def cell(name: str, *arguments: str, env: dict[str, str]) -> harness.Cell:
        env = {**env, "BENCH_PLACE": place}
        return harness.Cell(name, ["-m", "tasks.cell", *arguments], env, timeout_s=600)

    def wants(name: str) -> bool:
        return bench.wants(name) and (name in (*IN_QUICK, "pyarrow") or not options.quick)

    found = [
        cell(f"{name}_{shape}", "graph", system, shape, num, env=env)
        for shape in SHAPES
        for name, _, system, env, _ in SYSTEMS
        if wants(name)
    ]
    found += [
        cell(f"{name}_frame", "frame", system, rows, env=env)
        for name, _, system, env in FRAMES
        if wants(name)
    ]
    # of the others' starts only gokart's memory is asked for
    found += [
        cell(f"{name}_empty", "empty", name, env={})
        for name in MODULES
        if wants(name) and (name in ("tadka", "gokart") or not options.quick)
    ]
    found += [
        cell(f"{name}_import", "imports", module, env={})
        for name, module in MODULES.items()
        if wants(name) and (name == "tadka" or not options.quick)
    ]
    return found


def set_targets(bench: harness.Bench) -> None:
    def worse(peer: str, key: str) -> float | None:
        """The smaller of the ratios of chain and fan; None unless both were measured."""
        ratios = [bench.ratio((f"{peer}_{one}", key), (f"tadka_{one}", key)) for one in SHAPES]
        return None if None in ratios else min(ratio for ratio in ratios if ratio is not None)

    def most(key: str) -> float | None:
        values = [bench.median(f"deep_{shape}", key) for shape in SHAPES]
        return None if None in values else max(value for value in values if value is not None)

    def times(part: str, key: str, *, ours: str = "tadka", theirs: str = "gokart") -> float | None:
        return bench.ratio((f"{theirs}_{part}", key), (f"{ours}_{part}", key))

    bench.target("fresh_vs_gokart", worse("gokart", "fresh_us"), ">= 20")
    bench.target("fresh_vs_luigi", worse("luigi", "fresh_us"), ">= 5")
    bench.target("fresh_vs_redun", worse("redun", "fresh_us"), ">= 40")
    bench.target("fresh_vs_hamilton", worse("hamilton", "fresh_us"), ">= 5")
    bench.target("cached_vs_gokart", worse("gokart", "cached_us"), ">= 30")
    rss = times("empty", "peak_mb", ours="gokart", theirs="tadka")
    bench.target("rss_vs_gokart", rss, "<= 0.25")
    bench.target("deep_s", most("fresh_s"), "<= 60")
    bench.target("deep_mb", most("fresh_mb"), "<= 500")
    bench.target("dump_vs_gokart", times("frame", "dump_s"), ">= 40")
    bench.target("load_vs_gokart", times("frame", "load_s"), ">= 3")
    size = times("frame", "bytes", ours="gokart", theirs="tadka")
    bench.target("size_vs_gokart", size, "<= 1.05")
    bench.target("import_s", bench.median("tadka_import", "import_s"), "<= 0.1")


def graphs(bench: harness.Bench) -> harness.Table:
    rows: list[list[object]] = []
    for name, title, _, _, less in SYSTEMS:
        for shape in SHAPES:
            cell = f"{name}_{shape}"
            rows.append(
                [
                    f"{title}: {shape}",
                    harness.spread(bench.values(cell, "fresh_us"), 0),
                    shown(bench.ratio((cell, "fresh_us"), (f"tadka_{shape}", "fresh_us"))),
                    harness.spread(bench.values(cell, "cached_us"), 1),
                    shown(bench.ratio((cell, "cached_us"), (f"tadka_{shape}", "cached_us"))),
                    harness.spread(bench.values(cell, "fresh_mb"), 0),
                    less if shape == SHAPES[0] else "",
                ]
            )
    for shape in SHAPES:
        cell = f"deep_{shape}"
        rows.append(
            [
                f"tadka, deep: {shape}",
                harness.spread(bench.values(cell, "fresh_us"), 0),
                "-",
                harness.spread(bench.values(cell, "cached_us"), 1),
                "-",
                harness.spread(bench.values(cell, "fresh_mb"), 0),
                "",
            ]
        )
    columns = [
        "system",
        "fresh, us a task",
        "times tadka",
        "cached, us a task",
        "times tadka",
        "peak MB",
        "what it does less",
    ]
    return harness.Table("Graphs", columns, rows)


def frames(bench: harness.Bench) -> harness.Table:
    rows: list[list[object]] = [
        [
            title,
            harness.spread(bench.values(f"{name}_frame", "dump_s"), 3),
            harness.spread(bench.values(f"{name}_frame", "load_s"), 3),
            harness.spread([size / 1e6 for size in bench.values(f"{name}_frame", "bytes")], 1),
        ]
        for name, title, _, _ in FRAMES
    ]
    return harness.Table("A frame", ["way", "dump s", "load s", "MB"], rows)


def starts(bench: harness.Bench) -> harness.Table:
    rows: list[list[object]] = [
        [
            module,
            harness.spread(bench.values(f"{name}_import", "import_s"), 3),
            harness.spread(bench.values(f"{name}_empty", "peak_mb"), 0),
        ]
        for name, module in MODULES.items()
    ]
    return harness.Table("A start", ["module", "import s", "peak MB of one task"], rows)


def remarks(bench: harness.Bench, num: int | None, deep: int | None) -> list[str]:
    found = [
        "ratios of a target are the worse of chain and fan",
        "gokart with strict_check (looks at every task): a chain of 1,000 did not end in 100 s",
    ]
    for name, _, _, _, _ in SYSTEMS:
        if name.endswith("_tuned"):
            ratios = [
                bench.ratio((f"{name}_{shape}", "fresh_us"), (f"tadka_{shape}", "fresh_us"))
                for shape in SHAPES
            ]
            if None not in ratios:
                least = min(ratio for ratio in ratios if ratio is not None)
                found.append(f"fresh_vs_{name}: {least:.1f}")
    if bench.options.quick or num or deep:
        found.append("fewer tasks and rows than the claims are about")
    return found


def shown(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


if __name__ == "__main__":
    sys.exit(main())
