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


HELD = """
from __future__ import annotations
from dataclasses import dataclass
from enum import Enum
from collections.abc import Sequence
from tadka.task.define.task import Task

class Model:
    def predict(self): return 1

class Odd:
    def go(self): return 2

class Mode(Enum):
    FAST = 1
    def cost(self): return 3

@dataclass(frozen=True)
class Setting:
    depth: int = 1
    def twice(self): return self.depth * 4

class Raw(Task[int]):
    def label(self): return 5
    def run(self) -> int: return 6

class Fit(Task[Model]):
    raw: Raw
    scale = 7
    def total(self): return self.part()
    def part(self): return 8
    def unused(self): return 9
    def run(self, raw: int) -> Model: return Model()

class Use(Task[int]):
    fits: Sequence[Fit]
    mode: Mode
    setting: Setting
    odd: Raw
    def run(self, fits, odd: Odd): return BODY
"""


def held(body: str, old: str = "", new: str = "") -> CodeHash:
    module = ModuleType("held_of_code")
    sys.modules["held_of_code"] = module
    try:
        exec(HELD.replace("BODY", body).replace(old or "BODY", new), vars(module))
        return code_of(module.Use)
    finally:
        del sys.modules["held_of_code"]


@pytest.mark.parametrize(
    ("body", "edit"),
    [
        ("fits[0].predict()", "return 1"),  # of what a task of a field gives
        ("odd.go()", "return 2"),
        ("self.mode.cost()", "return 3"),
        ("self.setting.twice()", "depth * 4"),
        ("[fit.raw.label() for fit in self.fits]", "return 5"),
        ("[fit.scale for fit in self.fits]", "scale = 7"),
        ("self.fits[0].total()", "self.part()"),
        ("self.fits[0].total()", "return 8"),
        ("self.fits[0].run(1)", "return Model()"),
    ],
)
def test_what_the_body_calls_on_fields_and_inputs_is_code(body: str, edit: str) -> None:
    assert held(body).digest != held(body, edit, edit + " + 1").digest


@pytest.mark.parametrize("edit", ["return 5", "return 6", "return 8", "return 9", "scale = 7"])
@pytest.mark.parametrize("body", ["fits[0]", "self.fits[0].id"])
def test_what_it_does_not_take_from_tasks_is_no_code(body: str, edit: str) -> None:
    assert held(body).digest == held(body, edit, edit + " + 1").digest


def test_a_class_that_only_type_checkers_import_is_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from checked_value import V\n"
    text += "class T:\n    def run(self, value: 'list[V]'): return value[0].work()\n"
    (tmp_path / "checked_task.py").write_text(text)
    (tmp_path / "checked_value.py").write_text("class V:\n    def work(self): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    found = code_of(__import__("checked_task").T)

    assert "checked_value.V.work" in found.parts
