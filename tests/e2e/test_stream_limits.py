"""Bounds: memory under a slow trainer, small shared memory, a full disk."""

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tadka.stream import Batches, Run, Stage, Train, TransferConfig, read

MIB = 1 << 20


@pytest.fixture
def few(tmp_path: Path) -> str:
    path = tmp_path / "few.parquet"
    pq.write_table(pa.table({"x": np.arange(8)}), path, row_group_size=1)
    return str(path)


def blow_up(batch: dict[str, Any]) -> Any:
    """25 batches of 1 MiB for each row."""
    for _ in range(25):
        yield {"x": np.full(MIB, batch["x"][0], np.uint8)}


@pytest.mark.parametrize("transport", ["shm", "ipc"])
def test_memory_stays_flat_under_a_slow_trainer(few: str, transport: Any) -> None:
    def slow_train(batches: Batches, run: Run) -> list[int]:
        workers = []
        for process in psutil.Process(os.getppid()).children():
            with contextlib.suppress(psutil.ZombieProcess):  # of another test
                words = process.cmdline()
                is_order = any(word.endswith(".order") for word in words)
                if is_order and process.pid != os.getpid():
                    workers.append(process)
        assert len(workers) == 2
        memory = []
        for batch in batches:
            for _ in range(40):  # many times what making the batch costs
                np.sqrt(batch["x"], dtype=np.float32)
            memory.append(sum(process.memory_info().rss for process in workers))
        return memory

    config = TransferConfig(transport=transport, num_credits=100, credit_bytes=8 * MIB)
    flow = read(few, batch_rows=1, chunk_rows=1) | Stage(blow_up, replicas=2) | Train(slow_train)
    memory = flow.run(transfer=config).result
    assert len(memory) == 200  # MiB in all: more than ten times the credit of both workers
    assert max(memory[50:]) <= max(memory[:50]) + 4 * MIB


def test_little_memory_falls_back_to_ipc_with_one_warning(
    few: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(batches: Batches, run: Run) -> int:
        return sum(int(batch["x"].size) for batch in batches)

    monkeypatch.setattr("tadka.stream.conductor.available_bytes", lambda: 100 * MIB)
    with pytest.warns(UserWarning, match="100 MiB of memory are free") as warned:
        report = (read(few, batch_rows=1) | Stage(blow_up, replicas=2) | Train(count)).run()
    assert len(warned) == 1
    assert report.transport == "ipc"
    assert report.result == 200 * MIB


def in_own_mounts(commands: str, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a script after shell commands in a mount namespace of its own."""
    program = f"{commands}\nexec {sys.executable} - <<'SCRIPT'\n{textwrap.dedent(script)}\nSCRIPT\n"
    command = ["unshare", "--mount", "bash", "-euc", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs_root
def test_a_tiny_dev_shm_does_no_harm(few: str) -> None:
    done = in_own_mounts(
        "mount -t tmpfs -o size=1m tmpfs /dev/shm",
        f"""
        import numpy as np
        from tadka.stream import Stage, Train, read
        def blow_up(batch):
            for _ in range(25):
                yield {{"x": np.full(1 << 20, batch["x"][0], np.uint8)}}
        def count(batches, run):
            return sum(batch["x"].size for batch in batches)
        report = (read({few!r}, batch_rows=1) | Stage(blow_up) | Train(count)).run()
        print(report.transport, report.result)
        """,
    )
    assert done.stdout.split() == ["shm", str(200 * MIB)], done.stderr


@pytest.mark.needs_root
def test_a_full_disk_is_named_and_leaves_no_half_part(few: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = in_own_mounts(
        f"mount -t tmpfs -o size=2m tmpfs {out}",
        f"""
        import os
        import numpy as np
        from tadka.core.error import TadkaError
        from tadka.stream import Stage, read, write
        def noise(batch, rng):
            return {{"x": rng.integers(1 << 60, size=100_000)}}
        try:
            (read({few!r}, batch_rows=1, chunk_rows=1) | Stage(noise) | write({str(out)!r})).run()
        except TadkaError as error:
            print(str(error).splitlines()[0])
        for name in sorted(os.listdir({str(out)!r})):
            if name.endswith(".parquet"):
                import pyarrow.parquet as pq
                print("whole", pq.read_table(os.path.join({str(out)!r}, name)).num_rows)
            else:
                print("other", name)
        """,
    )
    first, *rest = done.stdout.splitlines()
    assert "disk is full" in first, done.stderr
    assert str(out) in first
    assert set(rest) <= {"whole 100000", "other _tadka.json"}
