"""Several ranks: the same steps on each, the same weights at the end, under torch and under MPI."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import LaunchError, StageError
from tadka.stream import Batches, Flow, Run, Stage, Train, read

NUM_ROWS = 10_300  # 21 batches of 500 at the most, in chunks of 4: odd


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("rows")
    ids = np.arange(NUM_ROWS)
    x = np.random.default_rng(0).normal(size=(NUM_ROWS, 3)).astype(np.float32)
    columns = {"id": ids, **{f"x{i}": x[:, i] for i in range(3)}}
    pq.write_table(pa.table(columns), folder / "all.parquet", row_group_size=2_000)
    return str(folder)


def stack(batch: dict[str, Any]) -> dict[str, Any]:
    return {"id": batch["id"], "x": np.stack([batch[f"x{i}"] for i in range(3)], axis=1)}


class StackAndDie:
    """Like stack, but its process is killed once, after its third batch."""

    def __init__(self, marker: str) -> None:
        self.marker, self.calls = marker, 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        if self.calls == 4:
            try:
                os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)
            except FileExistsError:
                pass
        return stack(batch)


def flow_of(rows: str, function: Any, marker: Path, **options: Any) -> Flow:
    source = read(rows, batch_rows=500, chunk_rows=2_000, shuffle=True)
    stage = Stage(StackAndDie, init={"marker": str(marker)}, replicas=2)
    return source | stage | Train(function, **options)


def train_ddp(batches: Batches, run: Run) -> dict[str, Any]:
    """An ordinary DDP loop; rank 0 returns what all ranks have."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())  # DDP starts all ranks from rank 0's weights
    model = DistributedDataParallel(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    steps, weights = 0, []
    for _ in run.epochs:
        for batch in batches:
            x = torch.from_numpy(batch["x"])
            loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean() * run.weight
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            weights.append(run.weight)
    mine = {"steps": steps, "weight": model.module.weight.tolist(), "weights": weights}
    everybody: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everybody, mine)
    dist.barrier()
    dist.destroy_process_group()
    return {"ranks": everybody}


@pytest.mark.parametrize(("uneven", "steps", "padded"), [("pad", 22, 2), ("drop", 20, 0)])
def test_torch_ddp_trains_in_step_while_a_worker_is_killed(
    rows: str, tmp_path: Path, uneven: Any, steps: int, padded: int
) -> None:
    flow = flow_of(rows, train_ddp, tmp_path / "died", ranks=2, epochs=2, uneven=uneven)
    report = flow.run()
    first, second = report.result["ranks"]
    assert (tmp_path / "died").exists()
    assert report.stages[0].restarts == 1
    assert first["steps"] == second["steps"] == steps
    assert first["weight"] == second["weight"]
    assert first["weights"] == [1.0] * steps
    assert second["weights"].count(0.0) == padded
    assert report.padded_steps == padded
    assert report.rows_out == (2 * NUM_ROWS if uneven == "pad" else report.rows_out)


def train_mpi(batches: Batches, run: Run) -> dict[str, Any]:
    """Gradient steps on a mean, with the gradient summed by MPI."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    weight, steps = np.zeros(3), 0
    for _ in run.epochs:
        for batch in batches:
            gradient = (weight - batch["x"].mean(axis=0)) * run.weight
            total = np.empty_like(gradient)
            world.Allreduce(gradient, total, op=MPI.SUM)
            weight -= 0.1 * total / run.world_size
            steps += 1
    mine = {"steps": steps, "weight": weight.tolist(), "rank": world.Get_rank()}
    return {"ranks": world.allgather(mine), "size": world.Get_size()}


@pytest.mark.needs_mpi
def test_mpi_ranks_train_in_step_while_a_worker_is_killed(rows: str, tmp_path: Path) -> None:
    flow = flow_of(rows, train_mpi, tmp_path / "died", ranks=2, epochs=2, start="mpi")
    report = flow.run()
    first, second = report.result["ranks"]
    assert (tmp_path / "died").exists()
    assert (report.result["size"], first["rank"], second["rank"]) == (2, 0, 1)
    assert first["steps"] == second["steps"] == report.steps == 22
    assert first["weight"] == second["weight"]


def test_repeat_counts_padding_as_data_and_every_row_is_seen(rows: str, tmp_path: Path) -> None:
    def train(batches: Batches, run: Run) -> list[float]:
        return [run.weight for _ in batches]

    flow = flow_of(rows, train, tmp_path / "died", ranks=3, uneven="repeat")
    report = flow.run()
    assert report.result == [1.0] * 7
    assert report.steps == 7
    assert report.rows_out == NUM_ROWS


def test_more_ranks_than_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": np.arange(3)}), tmp_path / "few.parquet")

    def train(batches: Batches, run: Run) -> list[float]:
        return [run.weight for _ in run.epochs for _ in batches]

    flow = read(str(tmp_path / "few.parquet")) | Train(train, ranks=3, epochs=2)
    report = flow.run()
    assert report.result == [1.0, 1.0]
    assert (report.steps, report.padded_steps, report.rows_out) == (2, 4, 6)


def test_a_rank_that_raises_ends_the_run_with_its_traceback(rows: str, tmp_path: Path) -> None:
    def train(batches: Batches, run: Run) -> None:
        for _ in batches:
            if run.rank == 1 and run.step == 3:
                raise ArithmeticError("diverged")

    with pytest.raises(StageError, match=r"failed on rank 1 at step 3 of epoch 0: .*diverged"):
        flow_of(rows, train, tmp_path / "died", ranks=2).run()


def test_a_rank_that_dies_ends_the_run_and_names_the_last_checkpoint(
    rows: str, tmp_path: Path
) -> None:
    def train(batches: Batches, run: Run) -> None:
        for _ in batches:
            run.save({"weight": run.step})
            if run.rank == 1 and run.step == 4:
                os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(LaunchError, match=r"Rank 1 .*SIGKILL.*last checkpoint is .*epoch-000"):
        flow_of(rows, train, tmp_path / "died", ranks=2).run(directory=tmp_path / "run")


def test_resume_with_another_number_of_ranks_loses_and_repeats_no_row(
    rows: str, tmp_path: Path
) -> None:
    def first(batches: Batches, run: Run) -> list[int]:
        ids: list[int] = []
        for batch in batches:
            ids += batch["id"].tolist()
            if run.step == 4:
                run.save({"ids": ids})
                return ids
        return ids

    def rest(batches: Batches, run: Run) -> list[int]:
        return [int(i) for batch in batches for i in batch["id"]]

    source = read(rows, batch_rows=500, chunk_rows=2_000, shuffle=True)
    whole = (source | Stage(stack) | Train(rest)).run()
    begun = (source | Stage(stack) | Train(first, ranks=2)).run(directory=tmp_path / "run")
    resumed = (source | Stage(stack, replicas=2) | Train(rest)).run(
        directory=tmp_path / "run", resume=True
    )
    assert len(begun.result) == 4 * 500
    assert resumed.result == whole.result[8 * 500 :]
