import os
import subprocess
import sys
from pathlib import Path

import pytest

from tadka.core.error import ConfigError
from tadka.task.engine.build import build
from tadka.task.engine.loading import loading
from tests.unit.task.shop import Link

EARLY = """
from tadka.core import Resources
from tadka.task import Task, build


class Early(Task[int]):
    number: int
    resources = Resources({needs})

    def run(self) -> int:
        return self.number


print(build([Early(number=1), Early(number=2)], workspace="ws", workers={workers}))
"""


@pytest.mark.parametrize(("needs", "workers"), [("", 2), ("memory='200M'", 1)])
@pytest.mark.parametrize("start", [["-c", "import early"], ["early.py"]])
def test_a_module_that_builds_when_it_is_imported_does_not_build_in_workers(
    needs: str, workers: int, start: list[str], tmp_path: Path
) -> None:
    text = EARLY.format(needs=needs, workers=workers)
    (tmp_path / "early.py").write_text(text, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *filter(None, sys.path)])}

    done = subprocess.run(
        [sys.executable, *start],
        check=False,
        cwd=tmp_path,
        env=env,
        text=True,
        capture_output=True,
        timeout=60,
    )

    if start == ["early.py"]:  # its names are asked of it, and it is not imported
        assert "[1, 2]\n" == done.stdout
    else:
        assert "ConfigError: Module early builds when it is imported; put that" in done.stderr


def test_a_build_is_refused_only_while_a_task_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Module \S+ builds when it is imported"), loading():
        build(Link(number=1), workspace=tmp_path)

    assert 1 == build(Link(number=1), workspace=tmp_path)
