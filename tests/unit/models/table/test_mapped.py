import json
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tadka.core.error import ConfigError, DataError
from tadka.models.table import mapped as module
from tadka.models.table.mapped import MappedTable, rounded
from tadka.models.table.segment import Layout
from tadka.models.table.table import MemoryTable
from tests.unit.models.table.program import started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "table"


def test_growth_adds_segments_and_moves_no_file(folder: Path) -> None:
    table = MappedTable.create(folder, 5, 2, segment_rows=4)
    before = sorted(path.name for path in folder.glob("*.segment"))
    assert 2 == len(before)
    table.grow(12)
    table.save()
    after = sorted(path.name for path in folder.glob("*.segment"))
    assert 3 == len(after)
    assert before[0] == after[0]  # full: not even its file was written again


def test_what_was_not_saved_is_lost_and_what_was_saved_is_not(folder: Path) -> None:
    table = MappedTable.create(folder, 8, 2, segment_rows=4)
    table.push([0, 7], np.ones((2, 2)), 0.1)
    table.save()
    saved = table.pull(np.arange(8))
    table.push([0, 7], np.ones((2, 2)), 0.1)
    table.grow(20)
    table.close()
    again = MappedTable.open(folder)
    assert np.array_equal(saved, again.pull(np.arange(again.num_rows)))
    assert 2 == len(list(folder.glob("*.segment")))


def test_one_process_writes_and_any_read_what_was_saved(folder: Path) -> None:
    table = MappedTable.create(folder, 8, 2, segment_rows=4)
    with pytest.raises(DataError, match="Another process writes"):
        MappedTable.open(folder)
    reader = MappedTable.open(folder, read_only=True)
    saved = reader.pull([1])
    table.push([1], np.ones((1, 2)), 0.1)
    table.save()  # removes the file that the reader has mapped
    assert np.array_equal(saved, reader.pull([1]))
    assert np.array_equal(table.pull([1]), pickle.loads(pickle.dumps(table)).pull([1]))
    calls: list[Callable[[], None]] = [
        lambda: reader.push([1], np.ones((1, 2)), 0.1),
        lambda: reader.grow(9),
        reader.save,
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="read-only"):
            call()
    table.close()
    MappedTable.open(folder).close()


def test_a_checkpoint_elsewhere_stays_as_it_was(folder: Path, tmp_path: Path) -> None:
    table = MappedTable.create(folder, 8, 2, segment_rows=4)
    table.save(tmp_path / "run")
    saved = table.pull(np.arange(8))
    for _ in range(3):
        table.push(np.arange(8), np.ones((8, 2)), 0.1)
        table.save()
    run = MappedTable.open(tmp_path / "run")
    assert np.array_equal(saved, run.pull(np.arange(8)))
    run.push([0], np.ones((1, 2)), 0.1)
    run.save()
    assert not np.array_equal(run.pull([0]), table.pull([0]))
    assert 2 == len(list((tmp_path / "run").glob("*.segment")))


def test_a_checkpoint_on_another_file_system_is_a_copy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    table = MappedTable.create(folder, 8, 2, segment_rows=4)
    monkeypatch.setattr(os, "link", refuse)
    table.save(tmp_path / "run")
    run = MemoryTable.open(tmp_path / "run")
    assert np.array_equal(table.pull(np.arange(8)), run.pull(np.arange(8)))


KILL = """
import os, signal, sys
import numpy as np
from tadka.models.table import segment
from tadka.models.table.mapped import MappedTable

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
table = MappedTable.open(sys.argv[1])
table.push(np.arange(100), np.ones((100, 4)), 0.1)
table.save()
table.push(np.arange(100), np.ones((100, 4)), 0.1)
table.grow(500)
if sys.argv[2] == "before":
    segment.publish_file = die
else:
    segment.Manifest.sweep = die
table.save()
"""

RUN = """
import sys
import numpy as np
from tadka.models.table.mapped import MappedTable

table = MappedTable.open(sys.argv[1])
while True:
    table.push(np.arange(100), np.ones((100, 4)), 0.1)
    table.save()
    print(flush=True)
"""


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_kill_in_save_leaves_the_old_or_the_new_checkpoint(at: str, folder: Path) -> None:
    table = MappedTable.create(folder, 100, 4, segment_rows=16)
    expected = MemoryTable(100, 4)
    table.close()
    with started(KILL, str(folder), at) as process:
        assert -signal.SIGKILL == process.wait()
    expected.push(np.arange(100), np.ones((100, 4)), 0.1)
    if at == "after":
        expected.push(np.arange(100), np.ones((100, 4)), 0.1)
        expected.grow(500)
    again = MappedTable.open(folder)
    assert expected.num_rows == again.num_rows
    rows = np.arange(again.num_rows)
    assert np.array_equal(expected.pull(rows), again.pull(rows))
    assert -(-again.num_rows // 16) == len(list(folder.glob("*.segment")))


def test_a_kill_at_any_moment_leaves_all_rows_at_the_same_step(folder: Path) -> None:
    MappedTable.create(
        folder, 100, 4, segment_rows=16, init=lambda rows: np.ones((len(rows), 4))
    ).close()
    with started(RUN, str(folder)) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.kill()
    vectors = MappedTable.open(folder).pull(np.arange(100))
    assert (vectors == vectors[0, 0]).all()
    assert vectors[0, 0] < 1 - 0.1 * (1 + 1 / np.sqrt(2) + 1 / np.sqrt(3)) + 1e-6


# ---------------------------------------------------------------- float16


def fitted(table: MappedTable, num_steps: int, lr: float) -> float:
    """Loss of a matrix factorization whose true vectors are known, after some steps."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(60, 8)).astype(np.float32)
    for _ in range(num_steps):
        left, right = rng.integers(0, 30, 64), rng.integers(30, 60, 64)
        a, b = table.pull(left), table.pull(right)
        error = (a * b).sum(axis=1) - (truth[left] * truth[right]).sum(axis=1)
        table.push(np.r_[left, right], np.r_[error[:, None] * b, error[:, None] * a] / 8, lr)
    a, b = table.pull(np.arange(30)), table.pull(np.arange(30, 60))
    return float(np.square(a @ b.T - truth[:30] @ truth[30:].T).mean())


def test_float16_rows_learn_as_float32_rows_do(tmp_path: Path) -> None:
    tables = [
        MappedTable.create(tmp_path / dtype, 60, 8, dtype=dtype, segment_rows=16, scale=0.3)
        for dtype in ("float32", "float16")
    ]
    full, half = (fitted(table, 1500, 0.1) for table in tables)
    assert full < 0.5  # of about 8 at the start
    assert abs(half - full) < 0.05 * full + 0.01
    assert np.float16 == tables[1]._segments[0].values.dtype


@pytest.mark.parametrize(("is_random", "share"), [(True, 1.0), (False, 0.0)])
def test_small_steps_are_not_lost_by_rounding(
    is_random: bool, share: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is a fifth of the distance of two float16 above 1: to the nearest, it is lost."""
    if not is_random:
        monkeypatch.setattr(module, "rounded", lambda values, rng: values.astype(np.float16))
    start = np.full((1, 256), 1.5, np.float32)
    table = MappedTable.create(folder, 1, 256, dtype="float16", init=lambda rows: start)
    expected = MemoryTable(1, 256, init=lambda rows: start)
    for _ in range(100):
        for one in (table, expected):
            one.push([0], np.ones((1, 256)), 2e-4)
    moved = (1.5 - expected.pull([0])).mean()
    assert abs((1.5 - table.pull([0])).mean() - share * moved) < 0.1 * moved


def test_rounding_keeps_what_float16_can_say() -> None:
    rng = np.random.default_rng(0)
    values = np.array([0.0, -0.0, 1.5, -2.25, 65504.0, np.inf, -np.inf, np.nan], np.float32)
    assert np.array_equal(values, rounded(values, rng).astype(np.float32), equal_nan=True)
    third = rounded(np.full(10_000, 1 / 3, np.float32), rng)
    assert 2 == len(np.unique(third))
    assert abs(third.astype(np.float64).mean() - 1 / 3) < 1e-5


def test_a_float16_table_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    straight, stopped = (
        MappedTable.create(tmp_path / name, 60, 8, dtype="float16", segment_rows=16)
        for name in ("straight", "stopped")
    )
    gradients = np.random.default_rng(0).normal(size=(4, 60, 8))
    for number, gradient in enumerate(gradients):
        for table in (straight, stopped):
            table.push(np.arange(60), gradient, 0.1)
        if number == 1:
            stopped.save()
            stopped.close()
            stopped = MappedTable.open(stopped.folder)
    assert np.array_equal(straight.pull(np.arange(60)), stopped.pull(np.arange(60)))


# ---------------------------------------------------------------- wrong input


def test_wrong_settings_and_damaged_folders_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'int8' is not known"):
        MappedTable.create(folder, 4, 2, dtype="int8")
    with pytest.raises(ConfigError, match="at least 1 dimension"):
        MappedTable.create(folder, 4, 0)
    MappedTable.create(folder, 4, 2, segment_rows=2).close()
    with pytest.raises(ConfigError, match="already"):
        MappedTable.create(folder, 4, 2)
    next(folder.glob("*.segment")).unlink()
    with pytest.raises(DataError, match="damaged"):
        MappedTable.open(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    changes: list[dict[str, object]] = [{"num_rows": 5}, {"num_rows": "4"}, {"versions": []}]
    for change in changes:
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(DataError, match="format 1"):
            MappedTable.open(folder)
    (folder / "manifest.json").write_text('{"format": 7}')
    with pytest.raises(DataError, match="format 1"):
        MappedTable.open(folder)
    (folder / "manifest.json").write_text("[")
    with pytest.raises(DataError, match="cannot be read"):
        MappedTable.open(folder)


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    table = MappedTable.create(folder, 4, 2, segment_rows=4)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="cannot be written: No space left"):
        table.grow(5)
    monkeypatch.undo()
    assert 4 == table.num_rows
    table.grow(6)
    assert (2, 2) == table.pull([4, 5]).shape


@pytest.mark.parametrize(("dtype", "row_bytes"), [("float32", 260), ("float16", 132)])
def test_bytes_a_row(dtype: str, row_bytes: int) -> None:
    layout = Layout(64, dtype, 1024)
    assert row_bytes * 1024 == layout.values_bytes + 4 * 1024
    assert 2**25 <= Layout.usual_rows(64, dtype) * row_bytes <= 2**26
