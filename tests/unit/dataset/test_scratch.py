"""Tests of tadka.dataset.scratch."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tadka.core.error import ConfigError
from tadka.dataset.scratch import scratch_folder

HOLDS = """
import sys
from tadka.dataset.scratch import scratch_folder

with scratch_folder(sys.argv[1]) as folder:
    (folder / "big").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_folder_is_gone_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert tmp_path == folder.parent
        (folder / "below").mkdir()
        with scratch_folder(tmp_path) as other:  # the first one is at work
            assert {folder.name, other.name} == names(tmp_path)
            assert "below" in names(folder)
    assert set() == names(tmp_path)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "tadka-dataset-of-mine").mkdir()  # nothing says that a session made it
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        with scratch_folder(tmp_path):
            assert "big" in names(folder)  # it lives
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert "big" in names(folder)

    with scratch_folder(tmp_path):
        assert not folder.exists()
    assert {"tadka-dataset-of-mine"} == names(tmp_path)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path):
        _ = 1 / 0
    assert set() == names(tmp_path)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"scratch '.*/none': No such file or directory\. Name"),
        scratch_folder(tmp_path / "none"),
    ):
        pytest.fail("there is no folder")
