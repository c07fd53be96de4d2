"""What mypy, strict and without a plugin, sees of tasks: typed.py.txt says it line by line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).with_name("typed.py.txt")  # no .py: its errors are none of ours
ROOT = SAMPLE.parents[3]
EXPECTED = re.compile(r"# (?P<kind>[ER]): (?P<text>.+)$")
FOUND = re.compile(
    r"typed\.py:(?P<line>\d+): "
    r"(?:error: .*\[(?P<code>[a-z-]+)\]|note: Revealed type is [\"'](?P<type>.+)[\"'])$"
)


@pytest.mark.timeout(600)
def test_mypy_sees_fields_arguments_and_results(tmp_path: Path) -> None:
    copy = tmp_path / "typed.py"
    copy.write_text(SAMPLE.read_text())
    # what it learned of other modules is kept for the next time, as `make check` does
    command = ["-m", "mypy", "--follow-imports=silent", "--no-error-summary", "--no-pretty"]
    done = subprocess.run(
        [sys.executable, *command, str(copy)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    found = {}
    for line in done.stdout.splitlines():
        if match := FOUND.search(line):
            kind = "E" if match["code"] else "R"
            found[int(match["line"]), kind] = match["code"] or _short(match["type"])

    lines = enumerate(SAMPLE.read_text().splitlines(), 1)
    expected = {
        (number, match["kind"]): match["text"]
        for number, line in lines
        if (match := EXPECTED.search(line))
    }
    assert expected == found, done.stdout + done.stderr


def _short(type_: str) -> str:
    """A type without the modules of its names."""
    return re.sub(r"\b(?:\w+\.)+", "", type_).removesuffix("*")
