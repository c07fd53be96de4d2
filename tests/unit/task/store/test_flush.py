import os
from pathlib import Path
from typing import Any

import pytest

from tadka.task.store import flush
from tadka.task.store.flush import Disk


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files that were flushed one by one."""
    found: list[str] = []
    monkeypatch.setattr(flush, "sync", lambda path: found.append(Path(path).name))
    return found


def with_syncfs(monkeypatch: pytest.MonkeyPatch, folder: Path, result: int) -> list[int]:
    calls: list[int] = []

    def syncfs(descriptor: int) -> int:
        calls.append(os.fstat(descriptor).st_ino)
        return result

    monkeypatch.setattr(flush, "_syncfs", lambda: syncfs)
    monkeypatch.setattr(flush, "_file_system_of", lambda path: "ext4")
    monkeypatch.setattr(flush, "_dirty_kib", lambda: 1000)
    return calls


def test_many_files_are_flushed_at_once(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = with_syncfs(monkeypatch, tmp_path, 0)

    Disk(tmp_path).flush([tmp_path / str(number) for number in range(10)])

    assert [tmp_path.stat().st_ino] == calls
    assert [] == synced


def test_few_files_are_flushed_one_by_one(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = with_syncfs(monkeypatch, tmp_path, 0)

    Disk(tmp_path).flush([tmp_path / "a", tmp_path / "b"])

    assert [] == calls
    assert ["a", "b"] == synced


def test_an_error_is_looked_for_in_each_file(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_syncfs(monkeypatch, tmp_path, -1)

    Disk(tmp_path).flush([tmp_path / str(number) for number in range(10)])

    assert [str(number) for number in range(10)] == synced


def test_what_other_programs_write_is_not_waited_for(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = with_syncfs(monkeypatch, tmp_path, 0)
    monkeypatch.setattr(flush, "_dirty_kib", lambda: 10**9)

    Disk(tmp_path).flush([tmp_path / str(number) for number in range(10)])

    assert [] == calls
    assert 10 == len(synced)


@pytest.mark.parametrize("kind", ["nfs4", "overlay", "fuse.sshfs", None])
def test_file_systems_that_may_not_wait_are_not_trusted(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch, kind: str | None
) -> None:
    calls = with_syncfs(monkeypatch, tmp_path, 0)
    monkeypatch.setattr(flush, "_file_system_of", lambda path: kind)

    Disk(tmp_path).flush([tmp_path / str(number) for number in range(10)])

    assert [] == calls
    assert 10 == len(synced)


@pytest.mark.parametrize(
    ("system", "release", "is_used"),
    [("Linux", "6.18.44-fc", True), ("Linux", "5.8.0", True), ("Linux", "5.7.19", False),
     ("Darwin", "23.1.0", False), ("Linux", "unknown", False)],
)  # fmt: skip
def test_kernels_that_keep_errors_to_themselves_are_not_trusted(
    monkeypatch: pytest.MonkeyPatch, system: str, release: str, is_used: bool
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.release", lambda: release)

    assert is_used == (flush._syncfs() is not None)


def test_the_file_system_and_what_waits_are_known_here(tmp_path: Path) -> None:
    assert "proc" == flush._file_system_of("/proc")
    assert flush._file_system_of(tmp_path / "none") is None
    assert flush._dirty_kib() >= 0


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    disk: Any = Disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        disk.flush([tmp_path / "none"])
