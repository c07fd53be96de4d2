"""A test whose needs are not met is skipped by name, and fails where nothing may be missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPECIMEN = """
import pytest

@pytest.mark.needs_data("ml-100k")
def test_reads_ratings(data):
    assert (data / "ml-100k").is_dir()
"""


def run_specimen(folder: Path, repository: Path, *, in_ci: bool, data: Path) -> tuple[int, str]:
    (folder / "test_specimen.py").write_text(SPECIMEN, encoding="utf-8")
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:randomly"]
    config = ["--rootdir", str(repository), "-c", str(repository / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *config, str(folder / "test_specimen.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=repository,
        env={**os.environ, "TADKA_CI": "1" if in_ci else "0", "TADKA_DATA": str(data)},
    )
    return done.returncode, done.stdout


def test_a_missing_data_set_skips_with_its_name_and_the_next_step(
    tmp_path: Path, repository: Path
) -> None:
    code, output = run_specimen(tmp_path, repository, in_ci=False, data=tmp_path)

    assert 0 == code, output
    assert "1 skipped" in output
    assert f"needs_data: no data set ml-100k in {tmp_path}; set TADKA_DATA" in output


def test_a_missing_data_set_fails_in_ci(tmp_path: Path, repository: Path) -> None:
    code, output = run_specimen(tmp_path, repository, in_ci=True, data=tmp_path)

    assert pytest.ExitCode.TESTS_FAILED == code, output
    assert "TADKA_CI=1 allows no skip" in output


def test_a_data_set_that_is_there_is_used(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "ml-100k").mkdir()

    code, output = run_specimen(tmp_path, repository, in_ci=True, data=tmp_path)

    assert 0 == code, output
    assert "1 passed" in output
