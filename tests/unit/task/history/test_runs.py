import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tadka.core.error import ConfigError, NotFound
from tadka.task.code.digest import CodeHash
from tadka.task.define.task import Task
from tadka.task.history.diff import diff
from tadka.task.history.runs import run, runs
from tadka.task.lookup import Codes
from tadka.task.store.row import Execution, RunRow
from tadka.task.store.store import Store
from tests.unit.task.made import make


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "ws") as made:
        yield made


class Clicks(Task[pd.DataFrame]):
    day: int = 1

    def run(self) -> pd.DataFrame:
        return pd.DataFrame()


class Train(Task[str]):
    clicks: Clicks
    lr: float = 0.1

    def run(self, clicks: pd.DataFrame) -> str:
        return ""


class Changed(Codes):
    def of(self, cls: type[Task[Any]]) -> CodeHash:
        found = super().of(cls)
        parts = {**found.parts, "shop.helpers.clean": "function:other"}
        return dataclasses.replace(found, digest="other", parts=parts)


def frame(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"price": list(values)})


def test_runs_are_listed_newest_first_and_found_by_name(store: Store) -> None:
    for number in range(3):
        task = Train(clicks=Clicks(), lr=number)
        make(store, task, run=f"a{number}", at=1000.0 + number, values={Clicks().id: frame(1.0)})

    assert ["a2", "a1", "a0"] == [one.id for one in runs(workspace=store)]
    assert ["a2"] == [one.id for one in runs(workspace=store, limit=1)]
    assert "a2" == run(workspace=store).run.id
    assert "a0" == run("last~2", workspace=store).run.id
    assert "a1" == run("a1", workspace=store).run.id
    with pytest.raises(ConfigError, match="the beginning of 3 runs"):
        run("a", workspace=store)
    for name in ("b", "", "last~3", "last~x"):
        with pytest.raises(NotFound):
            run(name, workspace=store)
    with pytest.raises(NotFound, match="does not exist"):
        run(workspace=f"{store.folder}-none")
    assert [] == runs(workspace=f"{store.folder}-none")


def test_a_run_that_was_killed_is_told(store: Store) -> None:
    store.index.begin_run(RunRow("r1", "shop.Train", "id", 1.0))
    with store.using(RunRow("r2", "shop.Train", "id", 2.0)):
        assert ["running", "killed"] == [one.status for one in runs(workspace=store)]
    assert "killed" in str(run("r1", workspace=store))


def test_a_run_says_what_it_did_and_took(store: Store) -> None:
    clicks = Clicks()
    make(store, clicks, run="r1", at=1.0, values={clicks.id: frame(1.0)})
    train = Train(clicks=clicks)
    make(store, train, run="r2", at=2.0, metrics={"auc": 0.75})
    failed = Execution(
        "r2", "shop.Eval", "e" * 32, "failed", 2.5, 0.1, error="Traceback\nValueError: no", log="l"
    )
    store.commit([], [failed])

    found = run("r2", workspace=store)

    assert {clicks.id, train.id} == set(found.entries)
    text = str(found)
    assert "Run r2: ok" in text
    assert "auc=0.75" in text
    assert "Eval  #eeeeeeee: ValueError: no" in text
    assert "failed" == text.splitlines()[5].split()[2]
    assert 2 == len(json.loads(json.dumps(found.to_json()))["executions"])
    assert "r2" in str(runs(workspace=store))
    assert 2 == len(runs(workspace=store).to_pandas())


def test_equal_runs_have_no_difference(store: Store) -> None:
    task = Train(clicks=Clicks())
    for name in ("r1", "r2"):
        make(store, task, run=name, at=float(name[1:]), values={Clicks().id: frame(1.0)})

    found = diff(workspace=store)

    assert (0, 2) == (len(found.changed), found.num_same)
    assert "0 tasks changed, 2 the same" in str(found)


def test_other_parameters_metrics_and_statistics_are_told(store: Store) -> None:
    first, second = Train(clicks=Clicks(day=1)), Train(clicks=Clicks(day=2), lr=0.05)
    make(store, first, run="r1", at=1.0, values={Clicks(day=1).id: frame(1, 2)}, metrics={"auc": 1})
    make(
        store,
        second,
        run="r2",
        at=2.0,
        values={Clicks(day=2).id: frame(1, 2, 9)},
        metrics={"auc": 0.5, "loss": 2},
    )

    found = diff("r1", "r2", workspace=store)

    changes = {one.task.rpartition(".")[2]: one.changes for one in found.changed}
    assert ["day 1 -> 2"] == changes["Clicks"]["fields"]
    assert ["column price: max 2 -> 9, mean 1.5 -> 4, distinct 2 -> 3"] == changes["Clicks"][
        "columns"
    ]
    assert "rows 2 -> 3" in changes["Clicks"]["figures"]
    assert ["lr 0.1 -> 0.05"] == changes["Train"]["fields"]
    assert ["metric auc 1 -> 0.5", "metric loss is new: 2"] == changes["Train"]["metrics"]
    assert ["input clicks changed"] == changes["Train"]["inputs"]
    assert [] == list(found.only_before)
    text = str(found)
    assert "2 tasks changed, 0 the same" in text
    json.dumps(found.to_json())


def test_other_code_of_the_same_task_is_told(store: Store) -> None:
    task = Clicks()
    make(store, task, run="r1", at=1.0, values={task.id: frame(1.0)})
    make(store, task, run="r2", at=2.0, values={task.id: frame(2.0)}, codes=Changed())

    (changed,) = diff(workspace=store).changed

    assert ["code: function shop.helpers.clean is new"] == changed.changes["code"]
    assert changed.before == changed.after == task.id


def test_tasks_of_one_run_alone_are_told(store: Store) -> None:
    make(store, Clicks(), run="r1", at=1.0, values={Clicks().id: frame(1.0)})
    make(store, Train(clicks=Clicks()), run="r2", at=2.0)

    found = diff(workspace=store)

    assert ["Train"] == [one.name.partition("(")[0] for one in found.only_after]
    assert 1 == num_same(found)
    assert "only after" in str(found)


def num_same(found: Any) -> int:
    return int(found.num_same)


def test_days_that_moved_are_compared_by_day(store: Store) -> None:
    days = [Clicks(day=number) for number in range(30)]
    values = {task.id: frame(float(task.day)) for task in days}
    make(store, *days[:29], run="r1", at=1.0, values=values)
    make(store, *days[1:], run="r2", at=2.0, values=values)

    found = diff(workspace=store)

    assert 28 == found.num_same
    assert [["day 0 -> 29"]] == [one.changes["fields"] for one in found.changed]


def test_metrics_of_a_result_that_was_stored_are_those_of_the_run_that_made_it(
    store: Store,
) -> None:
    first, second = Train(clicks=Clicks()), Train(clicks=Clicks(), lr=0.2)
    values = {Clicks().id: frame(1.0), first.id: "a", second.id: "b"}
    make(store, first, run="r1", at=1.0, values=values, metrics={"auc": 0.7})
    make(store, second, run="r2", at=2.0, values=values, metrics={"auc": 0.8})
    make(store, first, run="r3", at=3.0)

    (changed,) = diff("r2", "r3", workspace=store).changed

    assert ["metric auc 0.8 -> 0.7"] == changed.changes["metrics"]
