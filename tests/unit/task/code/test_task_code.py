"""The code of a task is what its body reaches: the tasks of its fields have keys of their own."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tadka.task.code.digest import CodeHash, code_of

TASKS = """
from tadka.task.define.field import param
from tadka.task.define.task import Task

def clean(rows):
    return rows

def shift(rows):
    return rows

class Clicks(Task[list]):
    day: int = 1

    def run(self) -> list:
        return clean([self.day])

class Train(Task[list]):
    clicks: Clicks
    others: list[Clicks] = param(default_factory=list)
    spare: Clicks | None = None
    usual: Clicks = Clicks(day=3)
    rate: float = 0.1

    def run(self, clicks: list) -> list:
        return shift(clicks)

class Reaches(Task[list]):
    def run(self) -> list:
        return [Clicks(day=7).id]
"""


@pytest.fixture(params=["source", "no source"])
def tasks(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """A module with tasks, with its text at hand and without."""
    file = tmp_path / "shop_of_code.py"
    if request.param == "source":
        file.write_text(TASKS)
    module = ModuleType("shop_of_code")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "shop_of_code", module)
    exec(compile(TASKS, str(file), "exec"), vars(module))
    return module


def names(found: CodeHash) -> set[str]:
    return {name.removeprefix("shop_of_code.") for name in found.parts}


def test_types_and_defaults_of_fields_are_no_code(tasks: ModuleType) -> None:
    assert {"Clicks", "Clicks.run", "clean"} == names(code_of(tasks.Clicks))
    assert {"Train", "Train.run", "shift"} == names(code_of(tasks.Train))


def test_a_task_that_the_body_names_is_code(tasks: ModuleType) -> None:
    assert {"Reaches", "Reaches.run", "Clicks", "Clicks.run", "clean"} == names(
        code_of(tasks.Reaches)
    )
