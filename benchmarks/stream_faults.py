"""Random SIGKILL of preprocess workers: are rows lost, doubled, steps uneven, does it hang?

Each run has two ranks that wait for each other at every step, two workers, and a number of kills:
of a random worker at a random step, of a worker that has just announced a batch, and of a worker
in the moment a rank asks it for an announced batch (between ticket and send). Over shared memory,
ZeroMQ ipc and ZeroMQ tcp in turn. A run that has not ended after two minutes counts as hung; a run
that ends in an error counts as hung, too, and its error is printed.
"""

import sys

import harness

KINDS = (
    ("shm", "random"),
    ("ipc", "asked"),
    ("shm", "announced"),
    ("tcp", "random"),
    ("tcp", "asked"),
    ("ipc", "announced"),
)
NUM_KILLS, NUM_KILLS_QUICK = 1_000, 20
KILLS_PER_RUN, KILLS_PER_RUN_QUICK = 20, 4
TIMEOUT_S = 120.0
COUNTED = ("kills", "rows_lost", "rows_duplicated", "unequal_steps", "hung")


def main() -> int:
    bench = harness.Bench("stream_faults", __doc__, packages=["tadka", "pyzmq", "pyarrow", "numpy"])
    bench.parser.add_argument("--kills", type=int, help="how many in all")
    options = bench.parse()
    harness.use_own_environment()
    harness.adopt_orphans()
    wanted = options.kills or (NUM_KILLS_QUICK if options.quick else NUM_KILLS)
    per_run = KILLS_PER_RUN_QUICK if options.quick else KILLS_PER_RUN
    totals = {kind: dict.fromkeys((*COUNTED, "runs", "seconds"), 0.0) for kind in KINDS}
    number = 0
    try:
        while (done := sum(total["kills"] for total in totals.values())) < wanted:
            transport, kind = KINDS[number % len(KINDS)]
            total = totals[transport, kind]
            kills = int(min(per_run, wanted - done))
            arguments = ["-m", "faults.cell", transport, kind, str(number), str(kills)]
            print(
                f"[{int(done)}/{wanted}] {transport} {kind} ...",
                end=" ",
                file=sys.stderr,
                flush=True,
            )
            result = harness.execute(harness.Cell(f"{transport} {kind}", arguments, {}, TIMEOUT_S))
            total["runs"] += 1
            if "failed" in result or "missing" in result:
                total["hung"] += 1
                total["kills"] += kills  # else a flow that always hangs would be tried for ever
                print(result, file=sys.stderr)
            else:
                print(result["headline"], file=sys.stderr)
                for key in (*COUNTED[:-1], "seconds"):
                    total[key] += result[key]
            number += 1
    except KeyboardInterrupt:
        print("stopped: what follows is of the runs so far.", file=sys.stderr)
    bench.num_rounds = number
    sums = {key: int(sum(total[key] for total in totals.values())) for key in COUNTED}
    for key in COUNTED[1:]:
        bench.target(key, float(sums[key]), "== 0")
    bench.raw["totals"] = {f"{t} {k}": total for (t, k), total in totals.items()}
    rows = [
        [
            f"{transport}, {kind}",
            *(int(total[key]) for key in ("runs", *COUNTED)),
            round(total["seconds"], 1),
        ]
        for (transport, kind), total in totals.items()
    ]
    columns = ["transport, kill", "runs", *COUNTED, "seconds"]
    rows.append(
        [
            "all",
            int(sum(t["runs"] for t in totals.values())),
            *sums.values(),
            round(sum(t["seconds"] for t in totals.values()), 1),
        ]
    )
    return bench.finish([harness.Table("Kills", columns, rows)])


if __name__ == "__main__":
    sys.exit(main())
