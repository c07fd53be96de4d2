"""SIGKILL at random moments of a write: is there ever half a version?

Each time, a process of its own writes a version of 20,000 rows in two folders of 64 KiB files,
with checks and a tag, into a store that has another version. It is killed after a random share of
the time that a whole write takes or, every second time, of the time that is left once all rows are
written and measured, when the version gets its place and its name. Then: every version in the store
must be whole, by its manifest, its files and their hash. A write that was not killed must give the
same version under the same tag, and `clean` must leave nothing but the two. A process that was done
before its kill does not count.
"""

import multiprocessing
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import harness

NUM_KILLS, NUM_KILLS_QUICK = 200, 20
NUM_TIMED = 3
KINDS = ("random", "late")
LONGEST_S = 60.0
OLD, NEW = 500, 0
"""What must have been spent, in the version that is there and in the one that is written."""

FOUND = (
    "nothing yet",
    "a folder aside",
    "rows being written",
    "files, all rows",
    "files and sample",
    "all but the name",
    "the version without its tag",
    "the version and its tag",
)


class Killer:
    """Starts writes, and ends them before their time.

    Args:
        folder: An empty one, for tables and stores.
    """

    def __init__(self, folder: Path) -> None:
        from faults import writer  # after the environment is the right one

        self.folder = folder
        self._write: Callable[..., str] = writer.write
        self._context = multiprocessing.get_context("forkserver")
        # what a write imports is no part of it; pyarrow imports pandas where that is installed
        preloaded = ["faults.writer", "duckdb", "pyarrow.parquet", "pandas"]
        self._context.set_forkserver_preload(preloaded)
        self.tables, self.scratch = folder / "tables", folder / "scratch"
        self.scratch.mkdir()
        writer.make_tables(self.tables)
        self.base = folder / "base"
        self.old = self.write(self.base, OLD)

    def write(self, store: Path, least: int) -> str:
        """A whole write, in this process."""
        return self._write(self.tables, store, self.scratch, least, None)

    def begin(self, store: Path) -> tuple[ForkServerProcess, Connection]:
        """A process that is about to write."""
        shutil.copytree(self.base, store)
        ours, theirs = self._context.Pipe(duplex=False)
        arguments = (self.tables, store, self.scratch, NEW, theirs)
        process = self._context.Process(target=self._write, args=arguments)
        process.start()
        theirs.close()
        assert ours.recv() == "begun"
        return process, ours

    def seconds(self) -> dict[str, float]:
        """How long a write takes, from its begin and from when all rows are measured."""
        store = self.folder / "timed"
        process, ours = self.begin(store)
        start = time.perf_counter()
        self._wait(store, ours)
        measured = time.perf_counter()
        ours.recv()
        end = time.perf_counter()
        process.join()
        shutil.rmtree(store)
        return {"random": end - start, "late": end - measured}

    def kill(self, kind: str, store: Path, after_s: float) -> bool:
        """Kills a write after some seconds; whether that was before its end."""
        process, ours = self.begin(store)
        if kind == "late":
            self._wait(store, ours)
        is_done = ours.poll(after_s)
        process.kill()
        process.join()
        ours.close()
        for path in self.scratch.iterdir():
            shutil.rmtree(path)
        return not is_done

    def _wait(self, store: Path, ours: Connection) -> None:
        """Until the rows of a version are measured."""
        while not any(store.glob("versions/.*/sample.parquet")):
            if ours.poll(0.001):
                return


def found_in(store: Path, old: str) -> str:
    """How far the process had come."""
    if any(path.stem == f"least-{NEW}" for path in store.glob("tags/[!.]*")):
        return FOUND[7]
    if any(path.name != old for path in store.glob("versions/[!.]*")):
        return FOUND[6]
    aside = list(store.glob("versions/.*"))
    for pattern, name in (
        ("manifest.json", FOUND[5]),
        ("sample.parquet", FOUND[4]),
        ("data/_writing/**/*.parquet", FOUND[2]),
        ("data/**/*.parquet", FOUND[3]),
    ):
        if any(any(folder.glob(pattern)) for folder in aside):
            return name
    return FOUND[1] if aside else FOUND[0]


def inspect(killer: Killer, store: Path, new: str, counts: Counter[str]) -> None:
    """Looks at a store after a kill, and goes on with it."""
    from tadka.core.error import TadkaError
    from tadka.dataset import Store

    ids = {path.name for path in store.glob("versions/[!.]*")}
    try:
        versions = Store(store).versions()
    except TadkaError as error:
        print(f"unreadable: {error}", file=sys.stderr)
        counts["half_versions"] += 1
        return
    whole = {version.id for version in versions if version.verify().output.status == "same"}
    counts["half_versions"] += len(ids - whole)
    counts["versions_lost"] += killer.old not in whole
    counts["left_behind"] += any(path.name.startswith(".") for path in store.glob("versions/.*"))
    try:
        again = killer.write(store, NEW)
        named = Store(store).version(f"least-{NEW}").id
    except TadkaError as error:
        print(f"cannot go on: {error}", file=sys.stderr)
        counts["not_gone_on"] += 1
        return
    counts["other_versions"] += not again == named == new
    Store(store).clean(older_than=timedelta(0))
    kept = {path.name for path in store.glob("versions/*")}
    counts["not_cleaned"] += len(kept ^ {killer.old, new})
    counts["not_cleaned"] += len(list(store.rglob(".*")))


def main() -> int:
    bench = harness.Bench("dataset_faults", __doc__, packages=["tadka", "duckdb", "pyarrow"])
    bench.parser.add_argument("--kills", type=int, help="how many")
    bench.parser.add_argument("--seed", type=int, default=5, help="of the moments")
    options = bench.parse()
    harness.use_own_environment()
    wanted = options.kills or (NUM_KILLS_QUICK if options.quick else NUM_KILLS)
    moments = random.Random(options.seed)
    counts: Counter[str] = Counter()
    stages: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    too_late = 0
    with tempfile.TemporaryDirectory(prefix="bench-") as text:
        killer = Killer(Path(text))
        new = killer.write(Path(text) / "expected", NEW)
        timed = [killer.seconds() for _ in range(NUM_TIMED)]
        typical_s = {kind: statistics.median(one[kind] for one in timed) for kind in KINDS}
        print(f"seconds: {typical_s}", file=sys.stderr)
        start = time.perf_counter()
        try:
            while counts["kills"] < wanted:
                kind = KINDS[counts["kills"] % len(KINDS)]
                store = Path(text) / f"{counts['kills']}"
                after_s = min(LONGEST_S, moments.uniform(0, 1.1 * typical_s[kind]))
                if killer.kill(kind, store, after_s):
                    counts["kills"] += 1
                    stages[kind][found_in(store, killer.old)] += 1
                    inspect(killer, store, new, counts)
                else:
                    too_late += 1
                shutil.rmtree(store)
        except KeyboardInterrupt:
            print("stopped: what follows is of the kills so far.", file=sys.stderr)
        seconds = time.perf_counter() - start
    bench.num_rounds = counts["kills"]
    bench.target("half_versions", float(counts["half_versions"]), "== 0")
    bench.raw["counts"] = dict(counts)
    bench.raw["stages"] = {kind: dict(found) for kind, found in stages.items()}
    rows: list[list[object]] = [
        [name, *(found[name] for found in stages.values())] for name in FOUND
    ]
    rows.append(["all", *(found.total() for found in stages.values())])
    columns = ["found in the store", "any moment", "after all rows"]
    table = harness.Table("Kills, by how far the process had come", columns, rows)
    again = f"failed: {counts['not_gone_on']}, gave another version: {counts['other_versions']}"
    notes = [
        f"a whole write: {typical_s['random']:.2f} s",
        f"of it when all rows are measured: {typical_s['late']:.3f} s",
        f"kills took {seconds:.0f} s; {too_late} further processes were done before theirs",
        f"versions there before and not whole afterwards: {counts['versions_lost']}",
        f"kills that left folders aside: {counts['left_behind']}",
        f"what clean() did not remove: {counts['not_cleaned']}",
        f"writes afterwards that {again}",
    ]
    return bench.finish([table], notes)


if __name__ == "__main__":
    sys.exit(main())
