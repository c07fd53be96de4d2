"""Tests of tadka.dataset.disk."""

import errno
import shutil
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


def test_the_folder_of_the_file_that_is_named_is_blamed(tmp_path: Path) -> None:
    out, aside = tmp_path / "out", tmp_path / "aside"
    error = RuntimeError(
        f'File "/usr/lib/python/x.py", line 3\nIO Error: Could not write file "{aside}/1.tmp": '
        "No space left on device"
    )
    told = f"Folder '{aside}' cannot be written: IO Error: Could"
    with pytest.raises(DataError, match=told), writing(out):
        raise error
    with pytest.raises(DataError, match=f"Folder '{tmp_path}' cannot"), writing(out, tmp_path):
        raise error


def test_where_no_file_is_named_the_disk_without_room_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = {tmp_path / "out": 1 << 40, tmp_path / "aside": 4096}
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=room[path]))

    def blamed() -> str:
        with pytest.raises(DataError) as caught, writing(*room):
            raise OSError(errno.ENOSPC, "No space left on device")
        return str(caught.value)

    assert f"Folder '{tmp_path}/aside'" in blamed()
    room[tmp_path / "out"] = 0
    assert f"Folder '{tmp_path}/out'" in blamed()
    room |= dict.fromkeys(room, 1 << 40)  # a quota
    assert f"Folder '{tmp_path}/out'" in blamed()
