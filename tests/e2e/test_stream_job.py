"""The main job end to end, on real processes: every row once, in a fixed order, whatever dies."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import DataError, LaunchError, StageError
from tadka.stream import Batches, Report, Run, Stage, Train, TransferConfig, read, write

NUM_ROWS = 40_000
TRANSPORTS = {
    "shm": TransferConfig(transport="shm"),
    "ipc": TransferConfig(transport="ipc"),
    "tcp": TransferConfig(
        transport="tcp", coordinator_host="127.0.0.2", worker_host="127.0.0.3", curve=True
    ),
}


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    """40,000 numbered rows in 4 files of 5 row groups."""
    folder = tmp_path_factory.mktemp("rows")
    for part, ids in enumerate(np.split(np.arange(NUM_ROWS), 4)):
        table = pa.table({"id": ids, "x": np.sin(ids.astype(np.float64))})
        pq.write_table(table, folder / f"{part}.parquet", row_group_size=2_000)
    return f"{folder}/*.parquet"


def collect(batches: Batches, run: Run) -> list[list[int]]:
    """All ids, by epoch, in the order they came."""
    return [[int(i) for batch in batches for i in batch["id"]] for _ in run.epochs]


def widen(batch: dict[str, Any]) -> dict[str, Any]:
    return {"id": batch["id"], "y": batch["x"] * 2}


def start_train(rows: str, function: Callable[..., Any] | type, **options: Any) -> Report:
    train = Train(collect, epochs=options.pop("epochs", 1))
    stage = Stage(function, replicas=options.pop("replicas", 2))
    flow = read(rows, batch_rows=500, chunk_rows=2_000, shuffle=True, seed=7) | stage | train
    return flow.run(**options)


@pytest.fixture(scope="session")
def order(rows: str) -> list[list[int]]:
    """The order of two epochs, by an undisturbed run."""
    result: list[list[int]] = start_train(rows, widen, epochs=2).result
    return result


def test_every_row_comes_once_per_epoch_in_an_order_of_its_own(order: list[list[int]]) -> None:
    assert [sorted(ids) for ids in order] == [list(range(NUM_ROWS))] * 2
    assert order[0] != order[1]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_order_is_the_same_by_any_transport(
    rows: str, order: list[list[int]], transport: str
) -> None:
    report = start_train(rows, widen, epochs=2, transfer=TRANSPORTS[transport])
    assert report.result == order
    assert report.transport == transport


class DieOnce:
    """Kills its process at the given call, unless another process has done so before."""

    def __init__(self, marker: str, at_call: int, *, after: bool) -> None:
        self.marker, self.calls_left, self.after = marker, at_call, after

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.calls_left -= 1
        is_time = self.calls_left == 0  # other chunks' calls come in between
        if is_time and not self.after:
            self.die()
        yield widen(batch)
        # Resumed for the next batch: this one has been encoded, and perhaps not yet announced.
        if is_time:
            self.die()

    def die(self) -> None:
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("at_call", "after"), [(1, False), (3, True), (9, True), (17, False)])
def test_a_killed_worker_costs_no_row_and_no_order(
    rows: str, order: list[list[int]], tmp_path: Path, transport: str, at_call: int, after: bool
) -> None:
    init = {"marker": str(tmp_path / "died"), "at_call": at_call, "after": after}
    flow = read(rows, batch_rows=500, chunk_rows=2_000, shuffle=True, seed=7)
    flow |= Stage(DieOnce, init=init, replicas=2)
    report = (flow | Train(collect, epochs=2)).run(transfer=TRANSPORTS[transport])
    assert (tmp_path / "died").exists()
    assert report.result == order
    assert report.stages[0].restarts == 1


def workers_of(parent: int, name: str) -> list[psutil.Process]:
    """Processes of a stage, by the name in the order that each was started with."""
    found = []
    for child in psutil.Process(parent).children():
        try:
            order = next(word for word in child.cmdline() if word.endswith(".order"))
            if f'"name": "{name}' in Path(order).read_text():
                found.append(child)
        except (psutil.Error, OSError, StopIteration):
            continue  # it has just ended
    return found


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("seed", range(2))
def test_kills_at_random_steps_cost_nothing(
    rows: str, order: list[list[int]], seed: int, transport: str
) -> None:
    def collect_and_kill(batches: Batches, run: Run) -> list[list[int]]:
        random = np.random.default_rng(seed)
        ids: list[list[int]] = []
        kills_left = 6
        for _ in run.epochs:
            ids.append([])
            for batch in batches:
                ids[-1] += batch["id"].tolist()
                workers = workers_of(os.getppid(), "widen") if random.random() < 0.1 else []
                if workers and kills_left:
                    kills_left -= 1
                    workers[random.integers(len(workers))].kill()
        assert kills_left == 0
        return ids

    flow = read(rows, batch_rows=500, chunk_rows=2_000, shuffle=True, seed=7)
    flow |= Stage(widen, replicas=2)
    report = (flow | Train(collect_and_kill, epochs=2)).run(transfer=TRANSPORTS[transport])
    assert report.result == order


def test_a_worker_that_always_dies_ends_the_run_and_names_the_rows(rows: str) -> None:
    def die(batch: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LaunchError, match=r"'die' lost 3 processes.*SIGKILL.*0\.parquet' rows 0"):
        (read(rows, batch_rows=500) | Stage(die) | Train(collect)).run(
            transfer=TransferConfig(max_restarts=2)
        )


def test_an_exception_names_stage_rows_and_line(rows: str) -> None:
    def divide(batch: dict[str, Any]) -> dict[str, Any]:
        if batch["id"][0] >= 3_000:
            raise ZeroDivisionError("no such thing")
        return batch

    with pytest.raises(StageError) as caught:
        (read(rows, batch_rows=500, chunk_rows=2_000) | Stage(divide) | Train(collect)).run()
    text = str(caught.value)
    assert "Stage 'divide', replica 0" in text
    assert "0.parquet' rows 3000 to 3499" in text
    assert 'raise ZeroDivisionError("no such thing")' in text
    assert "tadka/stream/worker" not in text


def test_skipped_chunks_are_counted_and_listed(rows: str, tmp_path: Path) -> None:
    def divide(batch: dict[str, Any]) -> dict[str, Any]:
        if 4_000 <= batch["id"][0] < 6_000:
            raise ZeroDivisionError("no such thing")
        return batch

    flow = read(rows, batch_rows=500, chunk_rows=2_000)
    flow |= Stage(divide, on_error="skip", replicas=2)
    report = (flow | write(tmp_path / "out")).run(directory=tmp_path / "run")
    assert report.stages[0].skipped_chunks == 1
    assert report.dead_letters is not None
    assert "rows 4000 to 4499" in Path(report.dead_letters).read_text()
    written = pq.read_table(tmp_path / "out")["id"].to_pylist()
    assert sorted(written) == [i for i in range(NUM_ROWS) if not 4_000 <= i < 6_000]


def test_several_stages_that_drop_and_multiply_rows_keep_the_order(rows: str) -> None:
    def drop(batch: dict[str, Any]) -> dict[str, Any] | None:
        return None if batch["id"][0] % 1_000 else batch

    def double(batch: dict[str, Any]) -> list[dict[str, Any]]:
        return [batch, {"id": -batch["id"], "x": batch["x"]}]

    flow = read(rows, batch_rows=500, chunk_rows=2_000)
    flow = flow | Stage(drop, replicas=2) | Stage(double, replicas=2) | Train(collect)
    once, again = flow.run().result, flow.run().result
    assert once == again
    kept = [i for i in range(NUM_ROWS) if i % 1_000 < 500]
    assert sorted(once[0]) == sorted([*kept, *(-i for i in kept)])


def test_batches_that_are_kept_never_change(rows: str) -> None:
    def keep(batches: Batches, run: Run) -> bool:
        kept = list(batches)
        ids = np.concatenate([batch["id"] for batch in kept])
        return bool((np.sort(ids) == np.arange(NUM_ROWS)).all())

    config = TransferConfig(num_credits=2)
    report = (read(rows, batch_rows=500) | Stage(widen) | Train(keep)).run(transfer=config)
    assert report.result is True


def test_one_credit_is_enough(rows: str, order: list[list[int]]) -> None:
    config = TransferConfig(num_credits=1)
    assert start_train(rows, widen, transfer=config).result == order[:1]


def test_batches_larger_than_the_credit_pass(rows: str, order: list[list[int]]) -> None:
    config = TransferConfig(credit_bytes=1)
    assert start_train(rows, widen, transfer=config).result == order[:1]


def test_more_replicas_than_chunks_and_empty_output(rows: str) -> None:
    def none(batch: dict[str, Any]) -> None:
        return None

    flow = read(rows, batch_rows=40_000, chunk_rows=40_000) | Stage(none, replicas=3)
    report = (flow | Train(collect, epochs=2)).run()
    assert report.result == [[], []]
    assert report.steps == 0


def test_a_stage_with_random_numbers_gives_the_same_at_any_replica_count(rows: str) -> None:
    def jitter(batch: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        return {"id": (batch["id"] * 1_000 + rng.integers(1_000, size=len(batch["id"])))}

    results = []
    for replicas in (1, 3):
        flow = read(rows, batch_rows=500, chunk_rows=40_000, shuffle=True)
        report = (flow | Stage(jitter, replicas=replicas) | Train(collect)).run()
        results.append(sorted(report.result[0]))
    assert results[0] == results[1]


def test_check_mode_finds_the_global_generator(rows: str) -> None:
    def careless(batch: dict[str, Any]) -> dict[str, Any]:
        return {"id": batch["id"] + np.random.randint(2)}  # noqa: NPY002 - the mistake itself

    with pytest.raises(StageError, match=r"'careless' gave two different results.*rng"):
        (read(rows, batch_rows=500) | Stage(careless) | Train(collect)).run(check=1.0)


def test_sink_refuses_the_output_of_another_run(rows: str, tmp_path: Path) -> None:
    (read(rows) | Stage(widen) | write(tmp_path / "out")).run()
    with pytest.raises(DataError, match="already holds the complete output of this very plan"):
        (read(rows) | Stage(widen) | write(tmp_path / "out")).run()
    with pytest.raises(DataError, match="output of another plan"):
        (read(rows, batch_rows=100) | Stage(widen) | write(tmp_path / "out")).run()
