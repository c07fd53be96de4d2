"""Position and model together: a run goes on where it was, whatever ended it."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.core.error import ConfigError, DataError, LaunchError, NotFound
from tadka.stream import Batches, Flow, Run, Stage, Train, read, write

NUM_ROWS = 24_000


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """24,000 rows in 3 files of 4 row groups."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for part, ids in enumerate(np.split(np.arange(NUM_ROWS), 3)):
        table = pa.table({"x": np.sin(ids.astype(np.float64))})
        pq.write_table(table, folder / f"{part}.parquet", row_group_size=2_000)
    return f"{folder}/*.parquet"


def jitter(batch: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    return {"x": batch["x"] + rng.normal(size=len(batch["x"]))}


class Model:
    """One weight and a momentum: its value depends on every batch and on their order."""

    def __init__(self) -> None:
        self.weight, self.momentum = 0.0, 0.0

    def state_dict(self) -> dict[str, float]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, float]) -> None:
        vars(self).update(state)

    def step(self, x: Any) -> float:
        loss = float(((x - self.weight) ** 2).mean())
        self.momentum = 0.9 * self.momentum + float((x - self.weight).mean())
        self.weight += 0.1 * self.momentum
        return loss


def make_train(die_at: int = 0, save_every: int = 10, kill: int = 0) -> Any:
    """A loop that saves every few steps, and may kill itself or another process."""

    def train(batches: Batches, run: Run) -> float:
        model = Model()
        run.restore(model)
        for _ in run.epochs:
            for batch in batches:
                run.log(loss=model.step(batch["x"]))
                if run.step % save_every == 0:
                    run.save(model)
                if run.step == die_at:
                    os.kill(kill or os.getpid(), signal.SIGKILL)
        return model.weight

    return train


def flow_of(rows: str, train: Any, *, replicas: int = 2, epochs: int = 3) -> Flow:
    source = read(rows, batch_rows=300, chunk_rows=2_000, shuffle=True, seed=3)
    return source | Stage(jitter, replicas=replicas) | Train(train, epochs=epochs)


def losses(metrics: list[dict[str, Any]]) -> dict[int, float]:
    return {entry["step"]: entry["loss"] for entry in metrics}


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_resumed_run_at_another_replica_count_has_bit_identical_losses(
    rows: str, tmp_path: Path, replicas: int
) -> None:
    whole = flow_of(rows, make_train()).run(directory=tmp_path / "whole")
    # 84 steps an epoch: step 125 is in the midst of the second.
    with pytest.raises(LaunchError, match=r"Rank 0 .*SIGKILL.*epoch-0001-step-000000036") as death:
        flow_of(rows, make_train(die_at=125)).run(directory=tmp_path / "run")
    assert "checkpoints" in str(death.value)
    resumed = flow_of(rows, make_train(), replicas=replicas).run(
        directory=tmp_path / "run", resume=True
    )
    expected = {step: loss for step, loss in losses(whole.metrics).items() if step > 120}
    assert losses(resumed.metrics) == expected
    assert resumed.result == whole.result
    assert len(expected) == 3 * 84 - 120


SCRIPT = """
    import os, sys
    sys.path.insert(0, {folder!r})
    from test_stream_resume import flow_of, make_train
    flow_of({rows!r}, make_train(die_at=100, kill=os.getpid())).run(directory={directory!r})
"""


@pytest.mark.xdist_group("files in /dev/shm")
def test_the_whole_job_killed_leaves_no_process_and_goes_on(rows: str, tmp_path: Path) -> None:
    whole = flow_of(rows, make_train()).run(directory=tmp_path / "whole")
    directory = str(tmp_path / "run")
    folder = str(Path(__file__).parent)
    before = set(Path("/dev/shm").iterdir())
    script = textwrap.dedent(SCRIPT.format(folder=folder, rows=rows, directory=directory))
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert set(Path("/dev/shm").iterdir()) <= before
    resumed = flow_of(rows, make_train(), replicas=1).run(directory=directory, resume=directory)
    assert resumed.result == whole.result


def test_ctrl_c_stops_within_two_seconds_and_saves(rows: str, tmp_path: Path) -> None:
    whole = flow_of(rows, make_train(save_every=10_000)).run(directory=tmp_path / "whole")
    directory = tmp_path / "run"
    script = f"""
        import os, signal, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_stream_resume import Model, flow_of
        parent = os.getpid()
        def train(batches, run):
            model = Model()
            run.restore(model)
            for _ in run.epochs:
                for batch in batches:
                    model.step(batch["x"])
                    if run.step == 100:
                        os.kill(parent, signal.SIGINT)
                    if run.step >= 100:
                        time.sleep(0.02)  # still at it when the signal is dealt with
        try:
            flow_of({rows!r}, train).run(directory={str(directory)!r})
        except KeyboardInterrupt as interrupt:
            print(interrupt.__notes__[0])
            sys.exit(130)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    assert "Go on with run(resume=" in done.stdout
    resumed = flow_of(rows, make_train(save_every=10_000)).run(directory=directory, resume=True)
    assert 100 <= min(losses(resumed.metrics)) - 1 < 252
    assert resumed.result == whole.result


def test_changed_input_is_refused_and_named(rows: str, tmp_path: Path) -> None:
    flow_of(rows, make_train(), epochs=1).run(directory=tmp_path / "run")
    first = Path(rows).parent / "0.parquet"
    pq.write_table(pa.table({"x": np.zeros(10)}), first)
    with pytest.raises(DataError, match=r"belongs to other input: file '.*0\.parquet' has other"):
        flow_of(rows, make_train()).run(directory=tmp_path / "run", resume=True)


def test_resume_without_checkpoint_or_beyond_the_end_says_so(rows: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no checkpoint in .*run\.save"):
        flow_of(rows, make_train()).run(directory=tmp_path / "none", resume=True)
    flow_of(rows, make_train(save_every=84), epochs=1).run(directory=tmp_path / "run")
    resumed = flow_of(rows, make_train(), epochs=2).run(directory=tmp_path / "run", resume=True)
    assert min(losses(resumed.metrics)) == 85
    with pytest.raises(ConfigError, match="Ask for more epochs"):
        flow_of(rows, make_train(), epochs=1).run(directory=tmp_path / "run", resume=True)


def test_a_sink_goes_on_with_the_missing_parts_only(rows: str, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def fragile(batch: dict[str, Any]) -> dict[str, Any]:
        if (tmp_path / "broken").exists() and out.exists() and len(list(out.glob("part-*"))) > 3:
            raise OSError("no power")
        return batch

    (tmp_path / "broken").touch()
    flow = read(rows, batch_rows=300, chunk_rows=2_000) | Stage(fragile) | write(out)
    with pytest.raises(Exception, match="no power"):
        flow.run(directory=tmp_path / "run")
    times = {part: part.stat().st_mtime_ns for part in out.glob("part-*")}
    assert times
    (tmp_path / "broken").unlink()
    flow = read(rows, batch_rows=300, chunk_rows=2_000) | Stage(fragile, replicas=3) | write(out)
    report = flow.run(directory=tmp_path / "run", resume=True)
    assert {part: part.stat().st_mtime_ns for part in times} == times
    assert report.rows_out == NUM_ROWS - 2_000 * len(times)
    expected = np.sin(np.arange(NUM_ROWS, dtype=np.float64))
    assert np.sort(pq.read_table(out)["x"].to_numpy()).tolist() == np.sort(expected).tolist()
