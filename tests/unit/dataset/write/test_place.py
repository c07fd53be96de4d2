"""Tests of tadka.dataset.write.place."""

import errno
from pathlib import Path

import pytest

from tadka.core.error import DataError
from tadka.dataset.write.place import misfits, writing
from tadka.dataset.write.sized import Written


def files(*sizes: int, folder: str = "") -> list[Written]:
    return [Written(f"{folder}{i}", folder, 1, size) for i, size in enumerate(sizes)]


def test_one_remainder_of_each_folder_is_no_misfit() -> None:
    assert {} == misfits([*files(95, 105, 7), *files(3, folder="a=1")], 100)


def test_several_remains_and_files_too_large_are_misfits() -> None:
    some = [*files(95, 80, 7), *files(111, folder="a=1"), *files(100, folder="a=2")]
    found = misfits(some, 100)
    assert ["", "a=1"] == list(found)
    assert [80, 7] == [file.num_bytes for file in found[""]]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), RuntimeError("IO Error: No space left on device")]
)
def test_errors_of_the_disk_name_the_folder(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(DataError, match="cannot be written"), writing(tmp_path):
        raise error


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        _ = 1 / 0
