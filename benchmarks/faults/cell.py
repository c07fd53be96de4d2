"""One run with kills: two ranks in step, two workers that die again and again, every row counted.

Arguments: transport, kind of kill, seed, number of kills. Kinds:

- ``random``: rank 0 kills a random worker at random steps, whatever that worker is doing.
- ``announced``: a worker kills itself right after it has announced a batch (its ticket), before
  anybody can have said anything to it.
- ``asked``: a worker kills itself when a rank asks for a batch that it has announced, so between
  ticket and send (transports ``ipc`` and ``tcp``; shared memory is never asked for).
"""

import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import run_cell

from tadka.stream import Stage, Train, TransferConfig, read
from tadka.stream.link import BatchServer, Link
from tadka.stream.wire import Kind

NUM_ROWS = 20_000
BATCH_ROWS = 100
NUM_EPOCHS = 6
NUM_RANKS = 2
MOST_CALLS = 12  # a process lives for 1 to this many announcements or requests


def take_kill(diary: Path, num_kills: int) -> bool:
    """Whether one more kill is allowed; notes it. Workers race for the last ones: no harm."""
    if diary.exists() and diary.stat().st_size >= num_kills:
        return False
    with diary.open("ab") as file:
        file.write(b"x")
    return True


class Fragile:
    """A stage that passes rows on in a process that will not live long."""

    def __init__(self, kind: str, diary: str, num_kills: int, seed: int) -> None:
        self.calls_left = int(np.random.default_rng([seed, os.getpid()]).integers(1, MOST_CALLS))
        if kind == "announced":
            send = Link.send

            def send_and_die(link: Link, what: Kind, *rest: Any, **more: Any) -> None:
                send(link, what, *rest, **more)
                if what is Kind.OUT:
                    self.count(Path(diary), num_kills)

            Link.send = send_and_die  # type: ignore[method-assign]
        elif kind == "asked":
            get = BatchServer.get

            def die_or_get(server: BatchServer, serial: int) -> Any:
                self.count(Path(diary), num_kills)
                return get(server, serial)

            BatchServer.get = die_or_get  # type: ignore[method-assign]

    def count(self, diary: Path, num_kills: int) -> None:
        self.calls_left -= 1
        if self.calls_left == 0 and take_kill(diary, num_kills):
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch


def workers_of(parent: int) -> list[int]:
    """Processes of the stage, by the name in the order that each was started with."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in (task / "children").read_text().split():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                order = next(word for word in words if word.endswith(b".order"))
                if b'"name": "Fragile' in Path(os.fsdecode(order)).read_bytes():
                    found.append(int(pid))
            except (OSError, StopIteration):
                continue  # it has just ended
    return found


class Barrier:
    """Two ranks wait for each other at every step, as in an allreduce."""

    def __init__(self, directory: Path, rank: int) -> None:
        names = [directory / "0", directory / "1"]
        # Both directions open for reading and writing: then opening does not wait.
        self._mine, self._theirs = (os.open(names[i], os.O_RDWR) for i in (rank, 1 - rank))

    def wait(self) -> None:
        os.write(self._theirs, b".")
        os.read(self._mine, 1)


def make_train(kind: str, diary: Path, num_kills: int, seed: int) -> Any:
    def train(batches: Any, run: Any) -> dict[str, Any]:
        random = np.random.default_rng(seed)
        barrier = Barrier(diary.parent, run.rank)
        num_steps = NUM_EPOCHS * NUM_ROWS // BATCH_ROWS // NUM_RANKS
        kill_at = set(random.choice(num_steps, num_kills, replace=False).tolist())
        seen: list[Counter[int]] = []
        for _ in run.epochs:
            seen.append(Counter())
            for batch in batches:
                if run.weight:
                    seen[-1].update(batch["id"].tolist())
                barrier.wait()
                workers = workers_of(os.getppid()) if run.step in kill_at else []
                if kind == "random" and run.rank == 0 and workers and take_kill(diary, num_kills):
                    os.kill(workers[random.integers(len(workers))], signal.SIGKILL)
        target = diary.with_name(f"seen-{run.rank}.npz")
        counts = np.array([[epoch[i] for i in range(NUM_ROWS)] for epoch in seen])
        np.savez(target, counts=counts, steps=run.step)
        return {}

    return train


def run(transport: str, kind: str, seed: int, num_kills: int) -> dict[str, Any]:
    """Run it and count."""
    with tempfile.TemporaryDirectory(prefix="bench-") as text:
        directory = Path(text)
        os.chdir(directory)
        for rank in range(NUM_RANKS):
            os.mkfifo(directory / str(rank))
        diary = directory / "kills"
        table = pa.table({"id": np.arange(NUM_ROWS)})
        pq.write_table(table, directory / "rows.parquet", row_group_size=1_000)
        source = read(
            "rows.parquet", batch_rows=BATCH_ROWS, chunk_rows=1_000, shuffle=True, seed=seed
        )
        init = {"kind": kind, "diary": str(diary), "num_kills": num_kills, "seed": seed}
        train = Train(make_train(kind, diary, num_kills, seed), ranks=NUM_RANKS, epochs=NUM_EPOCHS)
        config = TransferConfig(transport=transport, max_restarts=10 * num_kills)  # type: ignore[arg-type]
        report = (source | Stage(Fragile, init=init, replicas=2) | train).run(
            transfer=config, progress="none"
        )
        results = [np.load(directory / f"seen-{rank}.npz") for rank in range(NUM_RANKS)]
        counts = sum(result["counts"] for result in results)
        steps = [int(result["steps"]) for result in results]
    restarts = report.stages[0].restarts
    return {
        "kills": restarts,
        "rows_lost": int((counts == 0).sum()),
        "rows_duplicated": int(np.maximum(counts - 1, 0).sum()),
        "unequal_steps": max(steps) - min(steps),
        "reissued_chunks": report.reissued_chunks,
        "seconds": report.seconds,
        "headline": f"{restarts} kills, {report.reissued_chunks} chunks leased again",
    }


if __name__ == "__main__":
    name, kind_of_kill, seed_text, kills_text = sys.argv[1:]
    run_cell(lambda: run(name, kind_of_kill, int(seed_text), int(kills_text)))
