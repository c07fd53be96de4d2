"""A flow in the calling process gives what one in processes of its own gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, StageError
from tadka.stream import Stage, Train, read, write

NUM_ROWS = 1000


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(NUM_ROWS)}), path, row_group_size=90)
    return path


def noisy(batch: dict[str, Any], rng: np.random.Generator) -> Any:
    """Two batches from one now and then, and random numbers."""
    made = {"x": batch["x"], "noise": rng.random(len(batch["x"]))}
    return (
        [made, {name: column[:1] for name, column in made.items()}] if rng.random() < 0.3 else made
    )


class Weights(dict[str, float]):
    """A model: what it has seen so far."""


def train(batches: Any, run: Any, stop_at: int = -1) -> dict[str, Any]:
    seen = Weights(total=0.0)
    run.restore(seen)
    sums = []
    for _ in run.epochs:
        for batch in batches:
            seen["total"] += float((batch["x"] * batch["noise"]).sum())
            sums.append(seen["total"])
            run.log(total=seen["total"])
            if run.step == stop_at:
                run.save(seen)
                raise RuntimeError("enough")
    return {"sums": sums}


def flow(table: Path, **options: Any) -> Any:
    source = read(table, batch_rows=16, chunk_rows=80, shuffle=True, seed=3)
    return source | Stage(noisy, name="noisy") | Train(train, epochs=2, **options)


def test_the_same_batches_in_the_same_order_as_in_processes(table: Path, tmp_path: Path) -> None:
    here = flow(table).run(on="here", directory=tmp_path / "here")
    local = flow(table).run(directory=tmp_path / "local", progress="none")

    assert here.result == local.result
    assert here.metrics == local.metrics
    assert (here.steps, here.rows_out) == (local.steps, local.rows_out)
    assert "here" == here.transport


def test_a_run_here_goes_on_from_a_checkpoint_in_the_middle_of_an_epoch(
    table: Path, tmp_path: Path
) -> None:
    whole = flow(table).run(on="here", directory=tmp_path / "whole").result["sums"]
    source = read(table, batch_rows=16, chunk_rows=80, shuffle=True, seed=3)

    def stopped(batches: Any, run: Any) -> Any:
        return train(batches, run, stop_at=23)

    with pytest.raises(StageError, match="step 23 of epoch 0: RuntimeError: enough"):
        (source | Stage(noisy, name="noisy") | Train(stopped, epochs=2)).run(
            on="here", directory=tmp_path / "stopped"
        )
    resumed = flow(table).run(on="here", directory=tmp_path / "stopped", resume=True)

    assert whole[23:] == resumed.result["sums"]


def test_what_is_written_here_is_what_processes_write(table: Path, tmp_path: Path) -> None:
    source = read(table, batch_rows=16, chunk_rows=80) | Stage(noisy, name="noisy")
    here = (source | write(tmp_path / "here")).run(on="here")
    local = (source | write(tmp_path / "local")).run(progress="none")

    read_back = [pa.concat_tables([pq.read_table(uri) for uri in r.outputs]) for r in (here, local)]
    assert read_back[0].equals(read_back[1])
    assert here.rows_out == local.rows_out == len(read_back[0])
    assert [Path(uri).name for uri in here.outputs] == [Path(uri).name for uri in local.outputs]


def test_a_stage_that_raises_names_file_and_rows(table: Path, tmp_path: Path) -> None:
    def fail(batch: dict[str, Any]) -> Any:
        raise ValueError(f"row {batch['x'][0]} is odd")

    with pytest.raises(StageError, match=r"rows.parquet.*\n*.*ValueError: row") as caught:
        (read(table) | Stage(fail) | write(tmp_path / "out")).run(on="here")
    assert isinstance(caught.value.__cause__, ValueError)
    assert ["_tadka.json"] == [path.name for path in (tmp_path / "out").iterdir()]


def test_several_ranks_need_processes(table: Path) -> None:
    with pytest.raises(ConfigError, match="ranks=2"):
        flow(table, ranks=2).run(on="here")
