"""SIGKILL while tasks are made: is a result ever wrong, a lock lost, a body run twice?

Processes that build one task are killed at any moment, and every second time between the end of
its body and its being stored: one that writes a file, a folder, or three outputs; one whose body
runs in a worker process; one of four that want the same result at once. After each kill another
process must get the right result within 20 seconds; what was stored must be found and be whole; and
by a journal that bodies write themselves no body may begin while another process makes the same
result, or when it is there. Then stored bytes are emptied, cut and have a bit turned, with the time
of the file kept: another task that reads them must see the right ones, made anew. And on disks that
get full everywhere between the first row and the last byte, nothing half may be published.
"""

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import harness

NUM_KILLS, NUM_KILLS_QUICK = 1_000, 20
NUM_DAMAGES, NUM_DAMAGES_QUICK = 20, 1
"""Of each kind of output and of damage."""

KINDS = ("file", "folder", "several", "worker", "crowd")
OUTPUTS = ("file", "folder", "several")
DAMAGES = ("emptied", "cut", "bit turned")
NUM_CROWD = 4
NUM_TIMED = 3
PER_WORKSPACE = 25
"""Kills; what they leave meets the next ones."""

LONGEST_S = 20.0
COUNTED = ("corrupt_hits", "lost_locks", "double_runs")


@dataclass
class Maker:
    """A process that builds, and how it tells of it."""

    process: BaseProcess
    told: Connection

    def result(self, until: float) -> tuple[str, str]:
        """What it said last: "done", "failed", or "nothing" if it did not until then."""
        try:
            if self.told.poll(max(0.0, until - time.monotonic())):
                return self.told.recv()
        except EOFError:
            return "failed", f"ended with {self.process.exitcode}"
        return "nothing", ""

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.told.close()


class Trial:
    """Builds and kills in one workspace after the other.

    Args:
        folder: An empty one.
        seed: Of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        from tasks import journal, kept, victim  # after the environment is the right one

        self.journal, self.kept, self._make = journal, kept, victim.make
        self.folder, self.moments = folder, random.Random(seed)
        self.journal_path = folder / "journal"
        os.environ[journal.PATH] = str(self.journal_path)
        self._context = multiprocessing.get_context("forkserver")
        # what a build imports is no part of it
        preloaded = ["tasks.victim", "tadka.task.engine.workers", "numpy", "sqlite3"]
        self._context.set_forkserver_preload(preloaded)
        self.counts: Counter[str] = Counter()
        self.stages = {kind: Counter[str]() for kind in KINDS}
        self.number = 0
        self.workspace = folder / "0"

    def begin(self, kind: str, number: int, **given: Any) -> Maker:
        """A process that is about to build."""
        output = kind if kind in OUTPUTS else "file"
        workers = 2 if kind == "worker" else None
        ours, theirs = self._context.Pipe(duplex=False)
        arguments = (self.workspace, self.journal_path, output, number, workers, theirs)
        process = self._context.Process(target=self._make, args=arguments, kwargs=given)
        process.start()
        theirs.close()
        assert ours.recv()[0] == "begun"
        return Maker(process, ours)

    def events(self, kind: str, number: int) -> list[tuple[str, str]]:
        output = kind if kind in OUTPUTS else "file"
        return self.journal.events(self.journal_path, self.kept.label_of(output, number))

    def note(self, event: str, kind: str, number: int, maker: int | None = None) -> None:
        label = self.kept.label_of(kind if kind in OUTPUTS else "file", number)
        self.journal.tell(event, label, str(maker or os.getpid()))

    def next(self) -> int:
        """A number that no task had yet, in a workspace that few others used."""
        self.number += 1
        if self.number % PER_WORKSPACE == 0:
            self.leave()
        return self.number

    def leave(self) -> None:
        """Look at what is left in the workspace, and take another."""
        from tadka.task.settings import open_store

        if self.workspace.exists():
            with open_store(self.workspace) as store:
                store.sweep()
                aside = list(self.workspace.rglob("objects/.aside/*/*"))
                self.counts["left_behind"] += len(aside)
                for entry in store.index.entries():
                    self.counts["entries"] += 1
                    self._check(entry)
            shutil.rmtree(self.workspace)
        self.workspace = self.folder / str(self.number)

    def _check(self, entry: Any) -> None:
        """Are the bytes of a row those that it names? By nothing of tadka's but the row."""
        for output in entry.outputs:
            paths = list(self.workspace.glob(f"objects/?/{output.content}*"))
            if len(paths) != 1:
                self._count("corrupt_hits", entry.task, 0, f"a row with {len(paths)} objects")
            elif not output.is_folder:
                found = hashlib.sha256(paths[0].read_bytes()).hexdigest()
                if found != output.content:
                    self._count("corrupt_hits", entry.task, 0, "a row with other bytes")

    # ------------------------------------------------------------ kills

    def seconds(self, kind: str) -> dict[str, float]:
        """How long a build takes, from its begin and from the end of its body."""
        number = self.next()
        maker = self.begin(kind, number)
        begin = time.monotonic()
        self._wait_for_end(kind, number, maker, begin + LONGEST_S)
        middle = time.monotonic()
        said, what = maker.result(begin + 60)
        end = time.monotonic()
        maker.end()
        if said != "done":
            raise RuntimeError(f"A build that nobody killed: {said} {what}")
        return {"any": end - begin, "late": end - middle}

    def kill(self, kind: str, moment: str, after_s: float) -> bool:
        """Kill a build after some seconds; whether that was before its end."""
        number = self.next()
        num = NUM_CROWD if kind == "crowd" else 1
        makers = [self.begin(kind, number) for _ in range(num)]
        if moment == "late":
            self._wait_for_end(kind, number, makers[0], time.monotonic() + LONGEST_S)
        wait([maker.told for maker in makers], after_s) if num == 1 else time.sleep(after_s)
        victim = self._victim(kind, number, makers)
        if victim is None or victim.told.poll(0):
            for maker in makers:
                maker.result(time.monotonic() + LONGEST_S)
                maker.end()
            return False
        pid = victim.process.pid
        self.note("killing", kind, number, pid)
        victim.end()
        self.note("killed", kind, number, pid)
        makers.remove(victim)
        self.counts["kills"] += 1
        self.stages[kind][self._stage(kind, number)] += 1
        self._inspect(kind, number, makers)
        return True

    def _victim(self, kind: str, number: int, makers: list[Maker]) -> Maker | None:
        """Of a crowd every second time the one whose body began, if there is one."""
        if len(makers) > 1 and self.moments.random() < 0.5:
            starts = [maker for event, maker in self.events(kind, number) if event == "start"]
            if starts:
                chosen = [maker for maker in makers if str(maker.process.pid) == starts[-1]]
                return chosen[0] if chosen else None
        return self.moments.choice(makers)

    def _wait_for_end(self, kind: str, number: int, maker: Maker, until: float) -> None:
        """Until a body has ended."""
        while time.monotonic() < until and not maker.told.poll(0.0005):
            if any(event == "end" for event, _ in self.events(kind, number)):
                return

    def _stage(self, kind: str, number: int) -> str:
        """How far it had come; what is stored is noted in the journal."""
        found = self.events(kind, number)
        if self._is_stored(kind, number):
            self.note("stored", kind, number)
            return "stored"
        if any(event == "end" for event, _ in found):
            return "body at its end"
        return "body" if self.journal.num_starts(found) else "before its body"

    def _is_stored(self, kind: str, number: int) -> bool:
        from tadka.task.settings import open_store

        task = self.kept.task_of(kind if kind in OUTPUTS else "file", number)
        if not (self.workspace / "index.sqlite").exists():
            return False
        with open_store(self.workspace) as store:
            return store.index.newest(task.id) is not None

    def _inspect(self, kind: str, number: int, makers: list[Maker]) -> None:
        """Look at what others get, and then another; count what is wrong."""
        was_stored = ("stored", str(os.getpid())) in self.events(kind, number)
        num_starts = self.journal.num_starts(self.events(kind, number))
        until = time.monotonic() + LONGEST_S
        wanted = self.kept.expected(kind if kind in OUTPUTS else "file", number)
        makers = [*makers, self.begin("file" if kind == "crowd" else kind, number)]
        for maker in makers:
            said, what = maker.result(until)
            if said == "nothing":
                self._count("lost_locks", kind, number, "no result in time")
            elif said == "failed":
                self._count("corrupt_hits", kind, number, what)
            elif what != wanted:
                self._count("corrupt_hits", kind, number, "another value")
            maker.end()
        found = self.events(kind, number)
        if was_stored and self.journal.num_starts(found) != num_starts:
            self._count("corrupt_hits", kind, number, "it was stored, and made again")
        for _ in range(self.journal.num_doubles(found)):
            self._count("double_runs", kind, number, " ".join(" ".join(one) for one in found))

    def _count(self, what: str, kind: str, number: int, why: str) -> None:
        self.counts[what] += 1
        print(f"{what}: {kind} {number}: {why}", file=sys.stderr)

    # ------------------------------------------------------------ damages

    def damage(self, kind: str, how: str) -> None:
        """Spoil stored bytes, and let another task read them."""
        number = self.next()
        objects = self.workspace / "objects"
        before = set(objects.rglob("*")) if objects.exists() else set()
        maker = self.begin(kind, number)
        maker.result(time.monotonic() + LONGEST_S)
        maker.end()
        new = [p for p in set(objects.rglob("*")) - before if p.is_file() and p.stat().st_size]
        self._spoil(self.moments.choice(sorted(new)), how)
        self.note("damaged", kind, number)
        maker = self.begin(kind, number, reader=number)
        said, what = maker.result(time.monotonic() + LONGEST_S)
        maker.end()
        self.counts[f"{kind} {how}"] += 1
        wanted = self.kept.expected(kind, number)
        num_starts = self.journal.num_starts(self.events(kind, number))
        if (said, what, num_starts) != ("done", wanted, 2):
            self._count("undetected", kind, number, f"{how}: {said} {what}, {num_starts} bodies")

    def _spoil(self, path: Path, how: str) -> None:
        times = path.stat()
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        if how == "emptied":
            content.clear()
        elif how == "cut":
            del content[self.moments.randrange(len(content)) :]
        else:
            place = self.moments.randrange(8 * len(content))
            content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def full_disks(folder: Path, step: int) -> dict[str, int]:
    """What was seen on disks that got full; nothing where file systems cannot be mounted."""
    (folder / "disk").mkdir()
    command = [sys.executable, "-m", "tasks.full_disk", str(folder / "disk"), str(step)]
    done = subprocess.run(
        ["unshare", "--mount", *command],
        cwd=harness.HERE,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        return {}
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def repeat(trial: Trial, wanted: int) -> dict[str, dict[str, float]]:
    """Kill so many builds, of all kinds in turn."""
    typical: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        timed = [trial.seconds(kind) for _ in range(NUM_TIMED)]
        typical[kind] = {
            moment: statistics.median(one[moment] for one in timed) for moment in ("any", "late")
        }
    print(f"seconds: {typical}", file=sys.stderr)
    for number in range(20 * wanted):
        if trial.counts["kills"] >= wanted:
            break
        kind = KINDS[number % len(KINDS)]
        moment = ("any", "late")[number // len(KINDS) % 2]
        after_s = trial.moments.uniform(0, 1.1 * typical[kind][moment])
        trial.counts["too_late"] += not trial.kill(kind, moment, after_s)
    return typical


def guarded(act: Callable[[], object]) -> None:
    """Until Ctrl-C, which leaves what was found so far."""
    try:
        act()
    except KeyboardInterrupt:
        print("stopped: what follows is of what was done so far.", file=sys.stderr)


def main() -> int:
    bench = harness.Bench("task_faults", __doc__, packages=["tadka", "numpy"])
    bench.parser.add_argument("--kills", type=int, help="how many")
    bench.parser.add_argument("--seed", type=int, default=6, help="of the moments")
    options = bench.parse()
    harness.use_own_environment()
    wanted = options.kills or (NUM_KILLS_QUICK if options.quick else NUM_KILLS)
    num_damages = NUM_DAMAGES_QUICK if options.quick else NUM_DAMAGES
    typical: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as text:
        trial = Trial(Path(text), options.seed)
        begin = time.perf_counter()
        guarded(lambda: typical.update(repeat(trial, wanted)))
        kills_s = time.perf_counter() - begin
        cases = [(kind, how) for kind in OUTPUTS for how in DAMAGES] * num_damages
        guarded(lambda: [trial.damage(kind, how) for kind, how in cases])
        trial.leave()
        disks = full_disks(Path(text), 5 if options.quick else 1)
    counts = trial.counts
    bench.num_rounds = counts["kills"]
    for name in COUNTED:
        bench.target(name, float(counts[name]), "== 0")
    bench.target("undetected", float(counts["undetected"]), "== 0")
    wrong = ("published", "lost", "wrong", "not_recovered")
    full = float(sum(disks.get(name, 0) for name in wrong)) if disks.get("failed") else None
    bench.target("full_disk_wrong", full, "== 0")
    bench.raw.update(counts=dict(counts), disks=disks)
    bench.raw["stages"] = {kind: dict(found) for kind, found in trial.stages.items()}
    notes = [
        f"kills took {kills_s:.0f} s; {counts['too_late']} further builds were done before theirs",
        f"rows whose bytes were looked at besides: {counts['entries']}",
        f"files that sweep() left behind: {counts['left_behind']}",
        f"disks: {disks or 'none could be mounted here'}",
    ]
    notes += [
        f"{kind}: a build takes {one['any']:.3f} s, {one['late']:.3f} s of it after its body"
        for kind, one in typical.items()
    ]
    return bench.finish(tables(trial), notes)


def tables(trial: Trial) -> list[harness.Table]:
    names = ("before its body", "body", "body at its end", "stored")
    kills: list[list[object]] = [
        [name, *(found[name] for found in trial.stages.values())] for name in names
    ]
    kills.append(["all", *(found.total() for found in trial.stages.values())])
    damages: list[list[object]] = [
        [how, *(trial.counts[f"{kind} {how}"] for kind in OUTPUTS)] for how in DAMAGES
    ]
    return [
        harness.Table("Kills, by how far the build had come", ["found", *KINDS], kills),
        harness.Table("Damages", ["bytes were", *OUTPUTS], damages),
    ]


if __name__ == "__main__":
    sys.exit(main())
