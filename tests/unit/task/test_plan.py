import dataclasses
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadka.core.error import ConfigError
from tadka.task.code.digest import CodeHash
from tadka.task.define.run import Run
from tadka.task.define.task import Task
from tadka.task.engine.build import build
from tadka.task.force import below
from tadka.task.lookup import Codes
from tadka.task.plan import explain, plan
from tadka.task.store.store import Store
from tests.unit.task.made import make
from tests.unit.task.shop import Clicks, Link, Note, Score, Story, Total, Train


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "ws") as made:
        yield made


class Lines(Task[str]):
    number: int = 1

    def run(self) -> str:
        return ""


class Upper(Task[str]):
    lines: Task[str]
    lr: float = 0.1

    def run(self, lines: str) -> str:
        return lines


def statuses(tasks: Any, store: Store, **others: Any) -> dict[str, str]:
    found = plan(tasks, store=store, **others)
    return {type(step.node.task).__name__: step.status for step in found}


class Changed(Codes):
    """Codes in which some classes changed."""

    def __init__(self, *classes: type, digest: str = "other") -> None:
        super().__init__()
        self.classes, self.digest = classes, digest

    def of(self, cls: type[Task[Any]]) -> CodeHash:
        found = super().of(cls)
        if cls not in self.classes:
            return found
        parts = {**found.parts, "shop.helpers.clean": f"function:{self.digest}"}
        return dataclasses.replace(found, digest=self.digest, parts=parts)


def test_what_is_stored_does_not_run(store: Store) -> None:
    task = Upper(lines=Lines())
    assert {"Lines": "runs", "Upper": "runs"} == statuses(task, store)

    entries = make(store, task)

    found = plan([task], store=store)
    assert 0 == found.num_to_run
    assert entries[task.id] == found[task].entry
    assert entries[task.id].key == found[task].key
    assert "Nothing to run: 2 tasks, all stored." == str(found).splitlines()[0]


def test_nothing_is_written_where_nothing_is_stored(tmp_path: Path) -> None:
    found = plan(Lines(), workspace=tmp_path / "none")

    assert ("never built",) == found[Lines()].reasons
    assert [] == list(tmp_path.iterdir())


def test_what_needs_a_task_that_runs_waits_for_its_content(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, codes=Changed(Lines))

    found = plan(task, store=store)

    assert "runs" == found[task.lines.id].status
    assert ("code: function shop.helpers.clean is gone",) == found[task.lines.id].reasons
    assert "waits" == found[task].status
    assert ("input lines is made before",) == found[task].reasons
    assert found[task].key is None
    assert 1 == found.num_to_run


def test_what_changed_itself_runs_whatever_its_inputs_become(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, codes=Changed(Lines, Upper))

    assert {"Lines": "runs", "Upper": "runs"} == statuses(task, store)


def test_other_parameters_are_told_against_the_nearest_that_are_stored(store: Store) -> None:
    make(store, *(Upper(lines=Lines(), lr=lr) for lr in (0.1, 0.2)))

    found = explain(Upper(lines=Lines(), lr=0.05), workspace=store)

    assert "runs" == found.status
    assert "nearest: lr 0.2 -> 0.05" in found.reasons or "nearest: lr 0.1 -> 0.05" in found.reasons
    assert {"stored": 1} == found.counts


def test_an_input_of_another_content_is_told(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, at=1.0, codes=Changed(Lines))  # of the code before
    make(store, Lines(), at=2.0, values={Lines().id: "other"})  # made again by that of now

    found = plan(task, store=store)

    assert "stored" == found[Lines()].status
    assert "runs" == found[task].status
    assert ("input lines changed",) == found[task].reasons


def test_an_input_of_equal_content_spares_what_needs_it(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, at=1.0, codes=Changed(Lines))
    make(store, Lines(), at=2.0)

    assert {"Lines": "stored", "Upper": "stored"} == statuses(task, store)


def test_an_output_that_is_gone_is_told(store: Store, tmp_path: Path) -> None:
    entries = make(store, Lines())
    content = entries[Lines().id].outputs[0].content
    (tmp_path / "ws/objects" / content[0] / content).unlink()

    assert ("its output is gone, or damaged",) == plan(Lines(), store=store)[Lines()].reasons


def test_code_that_may_change_is_served(store: Store) -> None:
    make(store, Lines(), codes=Changed(Lines))

    assert {"Lines": "runs"} == statuses(Lines(), store)
    found = plan(Upper(lines=Lines()), store=store, on_code_change="warn")
    assert "other code" == found[Lines()].status
    assert ("code: function shop.helpers.clean is gone",) == found[Lines()].reasons
    assert found[Lines()].entry is not None


def test_inputs_that_do_not_count_make_nobody_wait(store: Store) -> None:
    story = Story(title=Note(text="x"))
    make(store, story, codes=Changed(Note))

    assert {"Note": "runs", "Story": "stored"} == statuses(story, store)


def test_parts_of_tasks_are_inputs(store: Store) -> None:
    train = Train(clicks=Clicks(day=dt.date(2026, 1, 1)))
    score = Score(weights=train["weights"])
    make(store, score, values={train.id: {"weights": np.zeros(2), "report": {}}})

    assert {"Clicks": "stored", "Train": "stored", "Score": "stored"} == statuses(score, store)
    assert 2 == len(plan(train["weights"], store=store))


@pytest.mark.parametrize(
    ("force", "expected"),
    [
        (Upper, {"Lines": "stored", "Upper": "runs"}),
        ("Lines", {"Lines": "runs", "Upper": "waits"}),
        (f"{Lines.__module__}.Lines", {"Lines": "runs", "Upper": "waits"}),
        (f"Lines#{Lines().id[:6]}", {"Lines": "runs", "Upper": "waits"}),
        (Lines().id[:8], {"Lines": "runs", "Upper": "waits"}),
        (Lines(), {"Lines": "runs", "Upper": "waits"}),
        ([below(Lines)], {"Lines": "stored", "Upper": "runs"}),
        ([below(Lines), "Lines"], {"Lines": "runs", "Upper": "runs"}),
    ],
)
def test_forced_tasks_run(store: Store, force: Any, expected: dict[str, str]) -> None:
    task = Upper(lines=Lines())
    make(store, task)

    assert expected == statuses(task, store, force=force)


@pytest.mark.parametrize("force", ["Line", Train, Lines(number=9), "ffffffffff", [3]])
def test_force_of_what_is_not_there_is_refused(store: Store, force: Any) -> None:
    with pytest.raises(ConfigError, match="force"):
        plan(Upper(lines=Lines()), store=store, force=force)


def test_force_names_the_nearest_class(store: Store) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'Lines'"):
        plan(Upper(lines=Lines()), store=store, force="Line")


def test_an_explanation_says_what_runs_and_against_what_it_is_compared(store: Store) -> None:
    task = Upper(lines=Lines())
    make(store, task, run="abcdef", at=1_700_000_000.0, codes=Changed(Lines))

    text = str(task.explain(store))

    assert text.splitlines() == [
        f"Upper(lines=#{Lines().id[:8]}, lr=0.1)  #{task.id[:8]}",
        "runs if an input turns out different",
        "  input lines is made before",
        "compared with the result made 2023-11-14 22:13:20 UTC by run abcdef (500 ms, 8 B)",
        "",
        "It needs 1 task: 1 to run.",
        f"  runs  Lines(number=1)  #{Lines().id[:8]}  code: function shop.helpers.clean is gone",
    ]
    json.dumps(explain(task, workspace=store).to_json())


def test_a_large_plan_is_told_in_few_lines(store: Store) -> None:
    days = [Link(number=i) for i in range(500)]
    total = Total(parts=days)
    make(store, *days[:400])

    lines = str(plan(total, store=store)).splitlines()

    assert "101 of 501 tasks to run, 400 stored." == lines[0]
    assert len(lines) < 60
    assert "  and 81 tasks more" == lines[-1]
    assert any(line.split() == ["Link", "500", "100", "400"] for line in lines)
    assert 501 == len(json.loads(json.dumps(plan(total, store=store).to_json()))["tasks"])


def test_a_plan_is_as_deep_as_memory_reaches(store: Store) -> None:
    task = Link(number=0)
    make(store, task)
    for number in range(1, 3000):
        task = Link(number=number, before=task)

    found = plan(task, store=store)

    assert 2999 == found.num_to_run
    assert "stored" == found[Link(number=0)].status


# ---------------------------------------------------------------- after builds


class Count(Task[int]):
    number: int

    def run(self) -> int:
        return self.number


class Asks(Task[int]):
    """Asks for tasks that no field holds."""

    def run(self, run: Run) -> int:
        return sum(run.need([Count(number=1), Count(number=2)]))


def test_what_was_built_is_stored(tmp_path: Path) -> None:
    task = Total(parts=[Count(number=number) for number in range(3)])
    assert 4 == plan(task, workspace=tmp_path).num_to_run

    assert 3 == build(task, workspace=tmp_path)

    assert {"stored"} == {step.status for step in plan(task, workspace=tmp_path)}
    assert "stored" == task.explain(tmp_path).status


def test_what_a_body_asked_for_is_looked_at(tmp_path: Path) -> None:
    assert 3 == build(Asks(), workspace=tmp_path)
    assert "stored" == explain(Asks(), workspace=tmp_path).status

    with Store(tmp_path) as store:
        entry = store.index.newest(Count(number=2).id)
        assert entry is not None
        store.index.remove([entry.key])
        found = explain(Asks(), workspace=store)
        assert "waits" == found.status
        assert ("Count(number=2), which it asked for, is made before",) == found.reasons

        make(store, Count(number=2), values={Count(number=2).id: 9})
        found = explain(Asks(), workspace=store)
        assert "runs" == found.status
        assert ("Count(number=2), which it asked for, changed",) == found.reasons

    assert 10 == build(Asks(), workspace=tmp_path)
    assert "stored" == explain(Asks(), workspace=tmp_path).status


class Outside(Task[int]):
    """Reads what no task made."""

    file: Path
    before: Task[int] | None = None

    def fingerprint(self) -> dict[str, str]:
        return {"table": self.file.read_text()}

    def run(self) -> int:
        return 1


def test_what_no_task_made_is_told(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "table.txt"
    file.write_text("a")
    task = Outside(file=file)
    build(task, workspace=store)
    assert "stored" == plan(task, store=store)[task].status

    file.write_text("b")
    (reason,) = plan(task, store=store)[task].reasons
    assert "changed" in reason

    file.unlink()
    (reason,) = plan(task, store=store)[task].reasons
    assert "its fingerprint fails: FileNotFoundError" in reason
    waiting = Outside(file=file, before=Count(number=1))
    assert ("never built with these inputs",) == plan(waiting, store=store)[waiting].reasons
