"""No stale hit and no needless rerun: a project is edited, and built again by a new process.

Every edit is made in a copy of the project elsewhere, with the workspace of the first build. What
ran is told by the bodies themselves; what came out is compared with calling them by hand.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tadka.task.engine.build import build
from tests.forks import Forks

TASKS, HELPERS, CONFIG, DECO = "shop/tasks.py", "shop/helpers.py", "shop/config.py", "shop/deco.py"
SQL, TRANSFORM = "shop/query.sql", "shop/transform.py"

PROJECT = {
    "shop/__init__.py": "",
    CONFIG: '''
        """Settings of the shop."""
        import os

        LIMIT = 5
        WORDS = {"alpha", "beta", "gamma", "delta", "epsilon"}
        UNUSED = 1

        class Rate:
            def __init__(self, value):
                self.value = value

            def of(self, x):
                return x * self.value

        RATE = Rate(2)

        def note(name):
            """Says that a body runs."""
            with open(os.environ["JOURNAL"], "a") as file:
                print(name, file=file)
    ''',
    DECO: """
        import functools

        def plus(number):
            def around(function):
                @functools.wraps(function)
                def wrapper(x):
                    return function(x) + number * 1
                return wrapper
            return around
    """,
    TRANSFORM: """
        def double(x):
            return x * 2

        def halve(x):
            return x // 2
    """,
    HELPERS: '''
        from shop.deco import plus

        def strip(x):
            low = 0
            return max(x, low)

        def clean(x):
            """Without what is below zero."""
            found = strip(x)  # of one value
            return found

        def scale(x, factor=3):
            return x * factor

        def shift(x, *, by=1):
            return x + by

        @plus(4)
        def lift(x):
            return x

        def unused(x):
            return x
    ''',
    SQL: "SELECT 1\n",
    TASKS: '''
        """Tasks of the shop."""
        import sys
        from pathlib import Path

        from shop.config import LIMIT, RATE, WORDS, note
        from shop.helpers import clean, lift, scale, shift
        from shop.transform import double
        from tadka.task import Task, check, param

        class Base(Task[list[int]]):
            first = 1

            def numbers(self):
                return list(range(self.first, LIMIT))

        class Raw(Base):
            """Numbers as they come."""
            days: int = 3
            folder: str = param(default="", significant=False)
            code_files = ["query.sql"]

            def run(self) -> list[int]:
                note("Raw")
                text = Path(__file__).with_name("query.sql").read_text()
                return [*self.numbers(), self.days, len(text) % 10]

        class Clean(Task[list[int]]):
            raw: Raw
            window = 7
            version = "1"

            @check(severity="warn")
            def is_short(self, value: list[int]) -> bool:
                return len(value) < 100

            def run(self, raw: list[int]) -> list[int]:
                note("Clean")
                known = len(WORDS & {"beta", "gamma", "omega"})
                values = [clean(x) for x in raw]
                return [scale(x) + shift(x) + lift(x) + self.window + known for x in values]

        class Double(Task[list[int]]):
            raw: Raw
            uses = [double]

            def run(self, raw: list[int]) -> list[int]:
                note("Double")
                hidden = vars(sys.modules["shop.transform"])["double"]
                return [hidden(RATE.of(x)) for x in raw]

        class Total(Task[int]):
            clean: Clean
            double: Double

            def run(self, clean: list[int], double: list[int]) -> int:
                note("Total")
                return sum(clean) + sum(double)

        class Alone(Task[int]):
            def run(self) -> int:
                note("Alone")
                return 1

        def goals():
            raw = Raw()
            return [Total(clean=Clean(raw=raw), double=Double(raw=raw)), Alone()]

        def by_hand():
            raw = Raw().run()
            clean, double = Clean(raw=Raw()).run(raw), Double(raw=Raw()).run(raw)
            return [Total(clean=Clean(raw=Raw()), double=Double(raw=Raw())).run(clean, double), 1]
    ''',
}
EVERYTHING = ["Alone", "Clean", "Double", "Raw", "Total"]

PROGRAM = """
import json, os, sys
sys.path.insert(0, os.getcwd())
sys.dont_write_bytecode = True
from shop import tasks
from tadka.task.engine.build import build
goals = tasks.goals()
values = build(goals, workspace={workspace!r})
os.environ["JOURNAL"] = os.devnull
print(json.dumps([values, tasks.by_hand()]))
"""


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return folder


@dataclass(frozen=True)
class Built:
    """What a build in another process did."""

    ran: list[str]
    values: list[int]
    by_hand: list[int]


def read(stdout: str, journal: Path) -> Built:
    ran = sorted(journal.read_text().split()) if journal.exists() else []
    return Built(ran, *json.loads(stdout))


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    made = Forks("from tadka.task.engine.build import build")
    yield made
    made.close()


Rebuild = Callable[[Path, Path], Built]


@pytest.fixture(scope="module")
def rebuild(forks: Forks) -> Rebuild:
    """Builds a project in a process of its own: `rebuild(project, workspace)`."""

    def run(project: Path, workspace: Path) -> Built:
        journal = project / "journal.txt"
        code = PROGRAM.format(workspace=str(workspace))
        done = forks.run(code, project, {"JOURNAL": str(journal)})
        assert 0 == done.returncode, done.stderr
        return read(done.stdout, journal)

    return run


@pytest.fixture(scope="module")
def first(rebuild: Rebuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace of the project as it stands above, built once."""
    place = tmp_path_factory.mktemp("first")
    built = rebuild(write(place / "project", PROJECT), place / "workspace")
    assert EVERYTHING == built.ran
    assert built.by_hand == built.values
    return place / "workspace"


@pytest.fixture
def workspace(first: Path, tmp_path: Path) -> Path:
    """A copy of its own: what one edit makes may be just what another one asks for."""
    return shutil.copytree(first, tmp_path / "workspace")


# ---------------------------------------------------------------- edits


def edited(file: str, old: str, new: str) -> dict[str, str]:
    """The project with one text in place of another, which must stand there once."""
    assert 1 == PROJECT[file].count(old), f"{old!r} stands {PROJECT[file].count(old)} times"
    return {**PROJECT, file: PROJECT[file].replace(old, new)}


CLEAN = ["Clean", "Total"]
DOUBLE = ["Double", "Total"]
ALL_BELOW = ["Clean", "Double", "Raw", "Total"]

STALE: dict[str, tuple[str, str, str, list[str]]] = {
    "body": (TASKS, "+ self.window", "- self.window", CLEAN),
    "body of the last": (TASKS, "sum(clean) +", "sum(clean) -", ["Total"]),
    "body, equal content": (TASKS, "return [scale(x) +", "return [0 + scale(x) +", ["Clean"]),
    "helper": (HELPERS, "found = strip(x)", "found = strip(x) + 1", CLEAN),
    "helper, equal content": (HELPERS, "found = strip(x)", "found = 0 + strip(x)", ["Clean"]),
    "nested helper": (HELPERS, "low = 0", "low = 2", CLEAN),
    "nested helper, equal content": (HELPERS, "low = 0", "low = -1", ["Clean"]),
    "module constant": (CONFIG, "LIMIT = 5", "LIMIT = 6", ALL_BELOW),
    "set constant": (CONFIG, '"beta", "gamma"', '"beta", "delta2"', CLEAN),
    "set literal": (TASKS, '"beta", "gamma", "omega"', '"beta", "omega"', CLEAN),
    "class constant": (TASKS, "window = 7", "window = 8", CLEAN),
    "constant of a base": (TASKS, "first = 1", "first = 2", ALL_BELOW),
    "method of a base": (TASKS, "range(self.first, LIMIT)", "range(self.first, 9)", ALL_BELOW),
    "default argument": (HELPERS, "factor=3", "factor=4", CLEAN),
    "keyword-only default": (HELPERS, "by=1", "by=2", CLEAN),
    "decorator": (DECO, "number * 1", "number * 2", CLEAN),
    "argument of a decorator": (HELPERS, "@plus(4)", "@plus(5)", CLEAN),
    "decorator taken off": (HELPERS, "@plus(4)\n", "\n", CLEAN),
    "declared file": (SQL, "SELECT 1", "SELECT 10", ALL_BELOW),
    "declared file, equal content": (SQL, "SELECT 1", "SELECT 2", ["Raw"]),
    "version": (TASKS, 'version = "1"', 'version = "2"', ["Clean"]),
    "object": (CONFIG, "RATE = Rate(2)", "RATE = Rate(3)", DOUBLE),
    "class of an object": (CONFIG, "x * self.value", "x + self.value", DOUBLE),
    "uses": (TRANSFORM, "x * 2", "x * 3", DOUBLE),
    "check": (TASKS, "< 100", "< 50", ["Clean"]),
    "field": (TASKS, "days: int = 3", "days: int = 4", ALL_BELOW),
    "new field": (
        TASKS,
        "raw: Raw\n            window",
        "raw: Raw\n            more: int = 0\n            window",
        ["Clean"],
    ),
}

SAME: dict[str, tuple[str, str, str]] = {
    "comment": (HELPERS, "# of one value", "# of a value, not of many"),
    "comment in a body": (TASKS, 'note("Clean")\n', 'note("Clean")  # first of all\n'),
    "white space": (HELPERS, "return x * factor", "return  x*factor\n"),
    "lines": (TASKS, "sum(clean) + sum(double)", "(sum(clean)\n              + sum(double))"),
    "docstring": (HELPERS, "Without what is below zero.", "Values, at least zero."),
    "docstring of a class": (TASKS, "Numbers as they come.", "All numbers."),
    "docstring of a module": (TASKS, "Tasks of the shop.", "What the shop makes."),
    "docstring that is new": (
        HELPERS,
        "def scale(x, factor=3):",
        'def scale(x, factor=3):\n            """More."""',
    ),
    "local renamed": (
        HELPERS,
        "low = 0\n            return max(x, low)",
        "least = 0\n            return max(x, least)",
    ),
    "variable of a loop renamed": (TASKS, "[clean(x) for x in raw]", "[clean(one) for one in raw]"),
    "annotation": (HELPERS, "def clean(x):", "def clean(x: int) -> int:"),
    "annotation of a result": (TASKS, "value: list[int]) -> bool", 'value: "list[int]") -> "bool"'),
    "moved line": (CONFIG, "LIMIT = 5", "\n\n        OTHER = 7\n\n        LIMIT = 5"),
    "order of functions": (
        HELPERS,
        "def strip(x):",
        "def first(x):\n            return x\n\n        def strip(x):",
    ),
    "order of imports": (TASKS, "clean, lift, scale, shift", "shift, scale, lift, clean"),
    "order of a set": (CONFIG, '"alpha", "beta"', '"beta", "alpha"'),
    "constant that is not used": (CONFIG, "UNUSED = 1", "UNUSED = 2"),
    "helper that is not used": (
        HELPERS,
        "def unused(x):\n            return x",
        "def unused(x):\n            return 0",
    ),
    "part of a module that is not used": (TRANSFORM, "x // 2", "x // 3"),
    "new task": (
        TASKS,
        "class Alone",
        "class More(Base):\n            pass\n\n        class Alone",
    ),
    "insignificant default": (TASKS, 'default=""', 'default="elsewhere"'),
    "quotes": (TASKS, '"omega"', "'omega'"),
    "number written otherwise": (CONFIG, "LIMIT = 5", "LIMIT = 0x5"),
}


@pytest.mark.parametrize("name", STALE)
def test_an_edit_that_matters_runs_what_it_reaches(
    name: str, rebuild: Rebuild, workspace: Path, tmp_path: Path
) -> None:
    *edit, expected = STALE[name]

    built = rebuild(write(tmp_path / "copy", edited(*edit)), workspace)

    assert expected == built.ran
    assert built.by_hand == built.values


@pytest.mark.parametrize("name", SAME)
def test_an_edit_of_no_meaning_runs_nothing(
    name: str, rebuild: Rebuild, workspace: Path, tmp_path: Path
) -> None:
    built = rebuild(write(tmp_path / "copy", edited(*SAME[name])), workspace)

    assert [] == built.ran
    assert built.by_hand == built.values


def test_an_edit_that_is_taken_back_runs_nothing(
    rebuild: Rebuild, workspace: Path, tmp_path: Path
) -> None:
    file, old, new, _ = STALE["helper"]
    rebuild(write(tmp_path / "edited", edited(file, old, new)), workspace)

    assert [] == rebuild(write(tmp_path / "back", PROJECT), workspace).ran


def test_files_that_were_only_touched_run_nothing(
    rebuild: Rebuild, workspace: Path, tmp_path: Path
) -> None:
    project = write(tmp_path / "copy", PROJECT)
    for file in project.rglob("*"):
        os.utime(file, (1, 1))

    assert [] == rebuild(project, workspace).ran


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_another_seed_of_hashes_runs_nothing(seed: str, workspace: Path, tmp_path: Path) -> None:
    project = write(tmp_path / "copy", PROJECT)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(workspace=str(workspace))],
        cwd=project,
        env={
            **os.environ,
            "JOURNAL": str(project / "journal.txt"),
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert [] == read(done.stdout, project / "journal.txt").ran


# ---------------------------------------------------------------- one process, and a program

NOTEBOOK = """
from tadka.task import Task

RAN = []

def helper(x):
    return x + 1

class Cell(Task[int]):
    def run(self) -> int:
        RAN.append(1)
        return helper(1)
"""


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "stale_notebook.py"
    file.write_text(NOTEBOOK)
    yield file
    sys.modules.pop("stale_notebook", None)


def again(module: ModuleType, workspace: Path) -> tuple[Any, int]:
    """The value of the cell, and how often its body ran for that."""
    module.RAN.clear()
    return build(module.Cell(), workspace=workspace), len(module.RAN)


def test_a_module_that_is_loaded_again_is_seen(notebook: Path, tmp_path: Path) -> None:
    module = importlib.import_module("stale_notebook")

    assert (2, 1) == again(module, tmp_path / "ws")
    assert (2, 0) == again(importlib.reload(module), tmp_path / "ws")
    notebook.write_text(NOTEBOOK.replace("x + 1", "x + 10"))
    assert (11, 1) == again(importlib.reload(module), tmp_path / "ws")


def test_a_file_that_is_only_edited_is_not_what_runs(notebook: Path, tmp_path: Path) -> None:
    module = importlib.import_module("stale_notebook")
    again(module, tmp_path / "ws")
    notebook.write_text(NOTEBOOK.replace("x + 1", "x + 10"))

    assert 2 == again(module, tmp_path / "ws")[0]
    module = importlib.reload(module)

    assert (11, 1) == again(module, tmp_path / "ws")


def test_a_value_that_was_set_in_the_process_is_seen(notebook: Path, tmp_path: Path) -> None:
    notebook.write_text(
        NOTEBOOK.replace("x + 1", "x + STEP").replace("RAN = []", "RAN = []\nSTEP = 1")
    )
    module: Any = importlib.import_module("stale_notebook")

    assert (2, 1) == again(module, tmp_path / "ws")
    module.STEP = 5
    assert (6, 1) == again(module, tmp_path / "ws")
    module.STEP = 1
    assert (2, 0) == again(module, tmp_path / "ws")


def test_a_setting_that_the_program_changes_between_builds_is_seen(
    notebook: Path, tmp_path: Path
) -> None:
    text = NOTEBOOK.replace("x + 1", "x + CONFIG['step']")
    text += "CONFIG = {'step': 1}\ndef main(step):\n    CONFIG['step'] = step\n"
    notebook.write_text(text)
    module: Any = importlib.import_module("stale_notebook")
    found = []
    for step in (1, 2, 1):
        module.main(step)
        found.append(again(module, tmp_path / "ws"))

    assert [(2, 1), (3, 1), (2, 0)] == found


SCRIPT = """
from tadka.task import Task, build

def helper(x):
    return x + 1

class Cell(Task[int]):
    def run(self) -> int:
        print("ran")
        return helper(1)

if __name__ == "__main__":
    value = build(Cell(), workspace="ws")
    open("value.txt", "a").write(f"{value} ")
"""


def test_tasks_of_the_program_itself(tmp_path: Path) -> None:
    file = tmp_path / "main.py"

    def run(text: str) -> int:
        """How many logs there are: each run of the body printed one."""
        file.write_text(text)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "main.py"], cwd=tmp_path, env=environment, check=True)
        return len(list(tmp_path.glob("ws/logs/*/*")))

    assert 1 == run(SCRIPT)
    assert 1 == run(SCRIPT.replace("return x + 1", "return x + 1  # one more"))
    assert 2 == run(SCRIPT.replace("x + 1", "x + 2"))
    assert "2 2 3" == (tmp_path / "value.txt").read_text().strip()


FRAMES_AND_A_FILE = """
import warnings
import pandas as pd
from tadka.task import Task, build

df = pd.DataFrame({"a": [VALUE]}, index=["x"])
when = pd.Timestamp("2026-01-0VALUE")
handle = open(__file__)

class Reads(Task[int]):
    def run(self) -> int:
        print("ran")
        return int(df["a"].sum()) + when.day

class Opaque(Task[int]):
    def run(self) -> int:
        return handle.fileno() * 0

with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    print("value", build(Reads(), workspace="work"))
    assert not told, [str(one.message) for one in told]
    build(Opaque(), workspace="work")
print("told", *[str(one.message) for one in told])
handle.close()
"""


def test_frames_of_a_module_count_and_what_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    found = []
    for value in ("1", "1", "2"):
        (tmp_path / "cells.py").write_text(FRAMES_AND_A_FILE.replace("VALUE", value))
        done = subprocess.run(
            [sys.executable, "cells.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, done.stderr
        found.append((done.stdout.count("ran"), "value 2" in done.stdout, "value 4" in done.stdout))
        assert "Opaque uses cells.handle" in done.stdout.replace("__main__", "cells")

    assert [(1, True, False), (0, True, False), (1, False, True)] == found
