"""Tests of tadka.dataset.disk."""

import errno
from pathlib import Path

import pytest

from tadka.core.error import DataError
from tadka.dataset.disk import writing


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), RuntimeError("IO Error: No space left on device")]
)
def test_errors_of_the_disk_name_the_folder(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(DataError, match="cannot be written"), writing(tmp_path):
        raise error


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        _ = 1 / 0
